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

OURS = re.compile(r"_*(editable_impl_)?kedro_otel", re.IGNORECASE)
"""Entries of site-packages that make up this package, installed or editable."""


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Python that has every installed package but this one: a virtual environment of links."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    theirs = Path(
        subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, text=True, check=True
        ).stdout.strip()
    )
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not OURS.match(entry.name):
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


_CHANGING = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d[.:]\d\d[.:]\d\d\.\d+Z"), "RUN-ID"),
    (re.compile(r"\d\d/\d\d/\d\d \d\d:\d\d:\d\d"), "TIME    "),
    (re.compile(r"\d+\.\d+ ?(sec|seconds|s)\b"), "DURATION"),
    (re.compile(r"0x[0-9a-f]{6,}"), "ADDRESS"),
)


def normal(text: str, *folders: Path | str) -> str:
    """Return ``text`` with only times, durations, run ids, addresses and ``folders`` replaced."""
    for folder in sorted(map(str, folders), key=len, reverse=True):
        text = text.replace(folder, "FOLDER")
    for pattern, word in _CHANGING:
        text = pattern.sub(word, text)
    return text
