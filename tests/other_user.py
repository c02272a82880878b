"""Another user of this machine, and files as they would have them, for tests that root runs.

The development environment may be root's alone. Then a command of the other user runs in a mount
namespace of its own in which the folder of Python can be reached, and nothing else changes.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

USER = 4711
"""User and group id of the other user."""

_REACHABLE = """
set -e
mount --bind "$1" "$2"
mount -t tmpfs -o mode=755 none "$3"
mkdir -p "$1"
mount --bind "$2" "$1"
shift 3
exec "$@"
"""


@pytest.fixture
def others_folder() -> Iterator[Path]:
    """Yield an empty folder that belongs to the other user, below folders that everybody may pass."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or not _works():
        pytest.skip("needs root, setpriv, and a Python that another user can start")
    folder = Path(tempfile.mkdtemp(prefix="kedro-otel-other-"))
    os.chown(folder, USER, USER)
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def give(folder: Path) -> None:
    """Give ``folder`` and all in it to the other user."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, USER, USER, follow_symlinks=False)


def as_user(*words: str | Path, user: int = USER) -> list[str]:
    """Return the words that run ``words`` as the user with this id, in no other group."""
    return [
        *_namespace(),
        "setpriv",
        f"--reuid={user}",
        f"--regid={user}",
        "--clear-groups",
        *map(str, words),
    ]


def seen(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Return owner, group, mode, links, attributes and content of every entry below ``folder``."""
    return {str(path.relative_to(folder)): _seen(path) for path in sorted(folder.rglob("*"))}


def owners(folder: Path) -> Mapping[int, list[str]]:
    """Return the entries below ``folder`` by the id of their user."""
    found: dict[int, list[str]] = {}
    for path in sorted(folder.rglob("*")):
        found.setdefault(path.lstat().st_uid, []).append(str(path.relative_to(folder)))
    return found


def _seen(path: Path) -> tuple[Any, ...]:
    found = path.lstat()
    content: Any = None
    if path.is_symlink():
        content = str(path.readlink())
    elif path.is_file():
        content = path.read_bytes()
    attributes = {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in os.listxattr(path, follow_symlinks=False)
    }
    links = None if path.is_dir() else found.st_nlink
    return oct(found.st_mode), found.st_uid, found.st_gid, links, attributes, content


@functools.cache
def _namespace() -> tuple[str, ...]:
    """Return what makes Python reachable for the other user, nothing where it is."""
    prefix = Path(sys.base_prefix)
    closed = [folder for folder in reversed(prefix.parents) if not folder.stat().st_mode & 0o001]
    if not closed:
        return ()
    place = tempfile.mkdtemp(prefix="kedro-otel-python-")
    atexit.register(os.rmdir, place)
    return ("unshare", "--mount", "sh", "-c", _REACHABLE, "sh", str(prefix), place, str(closed[0]))


@functools.cache
def _works() -> bool:
    if not shutil.which("setpriv"):
        return False
    words = as_user(sys.executable, "-c", "import kedro_otel, kedro")
    return subprocess.run(words, cwd="/", capture_output=True, check=False).returncode == 0
