"""README: its commands and links are those that work."""

from __future__ import annotations

import re
from pathlib import Path

from conftest import load_toml

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_two_commands_from_a_clone() -> None:
    """README's two commands are targets of the Makefile, and CI runs the second as it is written there."""
    block = README.partition("## Try it from a clone")[2].partition("```console\n")[2]
    commands = re.findall(r"^\$ (.*?)(?: +#.*)?$", block.partition("```")[0], re.MULTILINE)
    assert commands == ["make demo", "make test"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(f"\n{command.split()[1]}: " in makefile for command in commands)
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert re.search(rf"^step \"[^\"]+\" {commands[1]}$", ci, re.MULTILINE)


def test_links_and_images_exist() -> None:
    """What README links to or shows is in the repository."""
    targets = re.findall(r"\]\(([^)]+)\)", README)
    local = [target.partition("#")[0] for target in targets if "://" not in target]
    assert local
    assert [target for target in local if not (ROOT / target).exists()] == []


def test_only_what_was_run_is_claimed() -> None:
    """Classifiers name Linux and the Pythons of the matrix, and nothing that no test ran on."""
    project = load_toml(ROOT / "pyproject.toml")["project"]
    claimed = [one for one in project["classifiers"] if "::" in one]
    systems = [one for one in claimed if one.startswith("Operating System")]
    assert systems == ["Operating System :: POSIX :: Linux"]
    pythons = [one.rpartition(" ")[2] for one in claimed if "Python :: 3." in one]
    assert f"Python {pythons[0]}–{pythons[-1].removeprefix('0')}" in README
    assert all(url.startswith("https://") for url in project["urls"].values())
