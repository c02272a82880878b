"""TOML files, read once: several facts come from the same pyproject.toml and parsing is what they cost."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from kedro_otel import guard
from kedro_otel.config import files

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES: Final = 4 * 1024 * 1024
"""Bytes of a settings file, a project's or a user's, beyond which it is not read."""

_read: dict[str, tuple[tuple[int, int, int], dict[str, Any] | None]] = {}


def read(path: Path) -> dict[str, Any] | None:
    """Return what ``path`` says, ``{}`` if it does not exist, None if it cannot be read or is not TOML.

    The answer is remembered for as long as the file stays the same; callers must not change it.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        guard.let_through(error)
        return {} if files.absent(path, error) else None
    key = str(path)
    stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
    known = _read.get(key)
    if known is None or known[0] != stamp:
        known = _read[key] = (stamp, _parsed(path))
    return known[1]


def read_settings(path: Path) -> dict[str, Any] | None:
    """Return what the settings file ``path`` of a user or a site says, as :func:`read`; None too if another user could have written it."""
    found = read(path)
    return found if not found or not refusal(path) else None


def refusal(path: Path) -> str:
    """Return why the settings file ``path`` is not followed, empty where it is or where it cannot be asked."""
    try:
        return files.distrusted(path)
    except (OSError, ValueError) as error:
        guard.let_through(error)
        return ""


def loads(text: str) -> dict[str, Any] | None:
    """Return what ``text`` says, None if it is not TOML."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        content: dict[str, Any] = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        guard.let_through(error)
        return None
    return content


def table(document: dict[str, Any] | None, *names: str) -> dict[str, Any]:
    """Return the table ``names`` of ``document``, ``{}`` where there is no such table."""
    found: Any = document or {}
    for name in names:
        found = found.get(name)
        if not isinstance(found, dict):
            return {}
    inner: dict[str, Any] = found
    return inner


def same(one: Any, other: Any) -> bool:
    """Return whether two documents say the same; unlike with ``==``, a number that is none equals itself."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other or (one != one and other != other))  # noqa: PLR0124 (not a number)


def parse_bool(raw: Any) -> bool | None:
    """Return what ``raw``, a value of such a file or a word of the environment, means as yes or no, None if it means neither."""
    if isinstance(raw, bool):
        return raw
    return _TRUTH.get(raw.strip().lower()) if isinstance(raw, str) else None


def _parsed(path: Path) -> dict[str, Any] | None:
    try:
        text = files.read(path, MAX_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        guard.let_through(error)
        return None
    return loads(text)


_TRUTH: Final = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}
