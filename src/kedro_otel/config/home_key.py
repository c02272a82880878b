"""The random key of this home, with which only its owner can find out from two hashes whether they are of the same thing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from kedro_otel import guard
from kedro_otel.config import paths

if TYPE_CHECKING:
    from pathlib import Path

_BYTES: Final = 32
_keys: Final[dict[str, bytes]] = {}


def make() -> None:
    """Make the key if there is none."""
    from kedro_otel.config import files

    try:
        files.create(paths.destination_key(), os.urandom(_BYTES))
    except OSError as error:
        guard.let_through(error)


def kept() -> bytes | None:
    """Return the key, None where there is none."""
    path = paths.destination_key()
    if str(path) not in _keys:
        found = _read(path)
        if len(found) != _BYTES:
            return None
        _keys[str(path)] = found
    return _keys[str(path)]


def key() -> bytes:
    """Return the key; where there is none, one of this process alone, so that who only reads makes no file."""
    return kept() or _keys.setdefault("", os.urandom(_BYTES))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_BYTES)
    except OSError as error:
        guard.let_through(error)
        return b""
