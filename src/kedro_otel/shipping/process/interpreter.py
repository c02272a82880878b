"""Which program is a Python interpreter that can run this package?

``sys.executable`` need not be one. In a frozen application it is the application, in an embedded
Python the program around it: started with our arguments it would run the user's program once more.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from typing import TYPE_CHECKING, Any, Final

from kedro_otel import guard
from kedro_otel.config import files, paths

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAMED: Final = re.compile(r"(python|pypy)[\d.]*[a-z]{0,2}(\.exe)?", re.IGNORECASE)
_LARGEST_NOTE: Final = 64 * 1024


class NotFoundError(OSError):
    """There is no interpreter for the detached process."""


def find() -> str:
    """Return the path of an interpreter, this process's own if it has one.

    Raises:
        NotFoundError: No program here is known to be one.
    """
    for path in _candidates():
        named = _NAMED.fullmatch(os.path.basename(path)) is not None
        if named and os.path.isabs(path) and _is_program(path):
            return path
    raise NotFoundError(f"{sys.executable or 'this process'} is no Python interpreter")


def _is_program(path: str) -> bool:
    """Return whether an executable file is at ``path``: ``os.access`` would leave capabilities out of account."""
    try:
        found = os.stat(path)
    except OSError as error:
        guard.let_through(error)
        return False
    return stat.S_ISREG(found.st_mode) and bool(found.st_mode & 0o111)


def _candidates() -> Iterator[str]:
    """Yield paths that may be interpreters, the most likely first."""
    if sys.executable and not is_frozen():
        yield sys.executable
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    names = ["python.exe"] if os.name == "nt" else [f"python{version}", "python3", "python"]
    folder = "Scripts" if os.name == "nt" else "bin"
    environ = os.environ
    prefixes = [sys.prefix, environ.get("VIRTUAL_ENV"), environ.get("CONDA_PREFIX")]
    for prefix in filter(None, prefixes):
        yield from (os.path.join(prefix, folder, name) for name in names)
    if not is_frozen():
        yield getattr(sys, "_base_executable", None) or ""
        yield from (os.path.join(sys.base_exec_prefix, folder, name) for name in names)


def is_frozen() -> bool:
    """Return whether this program was made by PyInstaller, cx_Freeze, Nuitka or the like."""
    main = sys.modules.get("__main__")
    return bool(getattr(sys, "frozen", False)) or hasattr(main, "__compiled__")


def note_missing(reason: str) -> None:
    """Leave word for ``kedro otel status`` that nothing is sent from here, and why."""
    with guard.suppress(OSError):
        files.replace(_note(), json.dumps({"reason": reason}).encode(), mode=0o600, ours=True)


def note_found() -> None:
    """Take that word back: a process was started."""
    with guard.suppress(OSError):
        os.unlink(_note())


def problems() -> list[str]:
    """Return one sentence for ``kedro otel status`` if nothing was sent for want of an interpreter."""
    try:
        found: Any = json.loads(files.read(_note(), _LARGEST_NOTE))
        reason = str(found["reason"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        guard.let_through(error)
        return []
    sentence = (
        f"A program sends nothing by itself: {reason}. What it recorded is kept, and is sent by the "
        "next kedro command in an environment with kedro-otel. To send it now: kedro otel ship"
    )
    return [sentence]


def _note() -> Path:
    return paths.home() / "no-interpreter.json"
