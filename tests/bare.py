"""The same Kedro without this package: what every comparison is made against."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LOGGING = """
version: 1
disable_existing_loggers: false
formatters: {plain: {format: "%(levelname)s %(name)s %(message)s"}}
handlers: {console: {class: logging.StreamHandler, formatter: plain}}
loggers: {kedro: {level: INFO}}
root: {handlers: [console], level: INFO}
"""
"""Plain lines on stderr, for KEDRO_LOGGING_CONFIG: what rich draws depends on a terminal's width."""

OURS = re.compile(r"_*(editable_impl_)?kedro_otel", re.IGNORECASE)
"""Entries of site-packages that make up this package, installed or editable."""


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Python that has every installed package but this one."""
    return linked(tmp_path_factory.mktemp("bare"), without_us=True)


@pytest.fixture(scope="session")
def at_one_path(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function from "bare" or "ours" to a ``kedro`` command: two installations that take turns at one path.

    Output names folders, and where its lines wrap depends on how long they are: here both are the same to the letter.
    """
    folder = tmp_path_factory.mktemp("turns")
    for name in ("bare", "ours"):
        linked(folder / "env", without_us=name == "bare")
        (folder / "env").rename(folder / name)

    def turn(name: str) -> Path:
        (folder / "env").unlink(missing_ok=True)
        (folder / "env").symlink_to(folder / name)
        return folder / "env" / "bin" / "kedro"

    return turn


def linked(folder: Path, *, without_us: bool) -> Path:
    """Make a virtual environment of links to the installed packages, with a ``kedro`` command, and return its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    where = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    theirs = Path(subprocess.run(where, capture_output=True, text=True, check=True).stdout.strip())
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not (without_us and OURS.match(entry.name)):
            (theirs / entry.name).symlink_to(entry)
    script = folder / "bin" / "kedro"
    _, _, rest = (Path(sys.executable).parent / "kedro").read_text().partition("\n")
    script.write_text(f"#!{python}\n{rest}")
    script.chmod(0o755)
    return python


@pytest.fixture
def bare_kedro(run: Callable[..., Any], bare_python: Path) -> Callable[..., Any]:
    """Return ``bare_kedro(*words, …)``: the ``kedro`` command without this package."""

    def bare_kedro(*words: str, **options: Any) -> Any:
        return run(bare_python.parent / "kedro", *words, **options)

    return bare_kedro


@pytest.fixture
def unchanged(run: Callable[..., Any], bare_python: Path) -> Callable[..., Any]:
    """Return ``unchanged(*words, order=True, …)``: run Python with and without this package, and hold that nobody can tell the difference.

    Exit code, stdout and stderr are compared; ``order`` is False where processes or threads write them side by side. The first word may name
    a program beside Python (``kedro``). What the program leaves in ``data`` of its folder is taken away in between, but for ``stored.*``.
    """

    def unchanged(*words: str | Path, order: bool = True, **options: Any) -> Any:
        given = options.pop("code", 0)
        results = []
        for python in (bare_python, Path(sys.executable)):
            for left in (options["cwd"] / "data").glob("*"):
                if left.is_file() and left.stem != "stored":
                    left.unlink()
            program = (
                [python.parent / words[0], *words[1:]]
                if (python.parent / str(words[0])).exists()
                else [python, *words]
            )
            results.append(run(*program, code=None, **options))
        bare, ours = results
        folders = (options["cwd"], bare_python.parent.parent, sys.prefix)
        assert given is None or ours.code == given, f"expected {given}: {ours}"
        assert ours.code == bare.code, f"{bare}\n\n{ours}"
        for one, other in ((ours.out, bare.out), (ours.err, bare.err)):
            texts = [normal(text, *folders) for text in (one, other)]
            assert (
                texts[0] == texts[1]
                if order
                else sorted(texts[0].splitlines()) == sorted(texts[1].splitlines())
            ), f"{bare}\n\n{ours}"
        return ours

    return unchanged


_CHANGING = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d[.:]\d\d[.:]\d\d\.\d+Z"), "RUN-ID"),
    (
        re.compile(r"\[\d\d/\d\d/\d\d \d\d:\d\d:\d\d\]"),
        " " * 19,
    ),  # Rich leaves a time out that is the same as the line's above
    (
        re.compile(r"\d+\.\d+(\x1b\[[\d;]*m)? ?(sec|seconds|s)\b"),
        "DURATION",
    ),  # on a terminal Rich colours the number
    (re.compile(r"0x[0-9a-f]{6,}"), "ADDRESS"),
    (re.compile(r"\]8;id=\d+;"), "]8;id=LINK;"),
)


def normal(text: str, *folders: Path | str) -> str:
    """Return ``text`` with only times, durations, run ids, addresses and ``folders`` replaced."""
    for folder in sorted(map(str, folders), key=len, reverse=True):
        text = text.replace(folder, "FOLDER")
    for pattern, word in _CHANGING:
        text = pattern.sub(word, text)
    return text
