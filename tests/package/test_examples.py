"""The documentation's examples and commands: whole, current, and run where it says so."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import yaml
from conftest import BIN, Result

from kedro_otel.cli import otel

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def test_the_page_has_the_files() -> None:
    """docs/examples.md shows every file of docs/examples as it is."""
    page = (ROOT / "docs/examples.md").read_text(encoding="utf-8")
    files = [path for path in EXAMPLES.iterdir() if path.is_file()]
    assert len(files) >= 6
    missing = [path.name for path in files if path.read_text(encoding="utf-8").rstrip() not in page]
    assert missing == []


def test_pytest_example(project: Callable[..., Path], run: Callable[..., Result]) -> None:
    """The example for pytest passes in a real project, and fails where a node fails."""
    path = project()
    shutil.copy(EXAMPLES / "pytest_conftest.py", path / "conftest.py")
    shutil.copy(EXAMPLES / "test_runs.py", path / "test_runs.py")
    words = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert "1 passed" in run(*words, cwd=path).out
    (path / "conf/base/parameters.yml").write_text("name: world\nfail: true\n")
    assert "told to fail" in run(*words, cwd=path, code=1).out


@pytest.mark.parametrize("name", ["github-actions.yml", "pre-commit-config.yaml"])
def test_commands_of_an_example(
    name: str, project: Callable[..., Path], run: Callable[..., Result]
) -> None:
    """The commands of the examples for GitHub Actions and pre-commit exit 0, one after another."""
    content = yaml.safe_load((EXAMPLES / name).read_text(encoding="utf-8"))
    if "jobs" in content:
        steps = [step["run"] for step in content["jobs"]["run"]["steps"] if "run" in step]
    else:
        steps = [hook["entry"] for repo in content["repos"] for hook in repo["hooks"]]
    commands = [step for step in steps if not step.startswith("pip ")]
    assert len(commands) >= 2
    path = project()
    for command in commands:
        program, *words = shlex.split(command)
        run(BIN / program, *words, cwd=path)
    assert ("run.html" in " ".join(commands)) == (path / "run.html").exists()


def documented() -> list[tuple[str, str]]:
    """Return every `kedro otel …` of README and docs, with its page."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8").partition("<!-- begin commands")
        text = text[0] + text[2].partition("<!-- end commands -->")[2]
        for block in re.findall(r"```(?:console|sh|bash)\n(.*?)```|`([^`\n]+)`", text, re.DOTALL):
            for line in "".join(block).splitlines():
                for part in re.split(r"&&|\|\||;|\|", line.partition(" #")[0]):
                    typed = re.match(r"\s*\$? ?(?:kedro otel|kedro-otel) (.*)", part)
                    if typed and "…" not in typed[1]:
                        found.append((page.name, typed[1].strip()))
    return found


def test_documented_commands_exist() -> None:
    """Every command and option that README and docs name is one that there is."""
    found = documented()
    assert len(found) > 40
    context = click.Context(otel)
    wrong = []
    for page, line in found:
        name, *words = re.split(r"\s+", line)
        if not re.fullmatch(r"[a-z-]+", name):
            continue
        options = {"--version", "-V", "--help", "-h"}
        command = otel.get_command(context, name) if not name.startswith("-") else otel
        if command is not None:
            options |= {option for param in command.params for option in param.opts}
        used = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        if command is None or not used <= options:
            wrong.append((page, line))
    assert wrong == []
