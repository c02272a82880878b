"""Where the index is: a file beside the recordings, readable by its owner alone, or memory where that cannot be used.

The file may be removed at any time, and damage costs nothing but the time to make it anew.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from typing import TYPE_CHECKING, Final, TypeVar

from kedro_otel import guard
from kedro_otel.config import files, paths
from kedro_otel.viewing.index import COLUMNS, LOOKED_UP, Index

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_T = TypeVar("_T")

_VERSION: Final = 5
"""Of the tables: a file of another version is made anew."""

_WAIT_S: Final = 0.5
_PARTS: Final = ("", "-journal", "-wal", "-shm")


class IndexFile:
    """The index for as long as it is asked. One thread at a time asks, but it may be another each time."""

    def __init__(self) -> None:
        """Open nothing yet."""
        self._index: Index | None = None

    def answer(self, question: Callable[[Index], _T]) -> _T:
        """Return the answer of an index that has read what is recorded."""
        for last in (False, True):
            try:
                if self._index is None:
                    self._index = Index(_file(paths.index()))
                self._index.refresh()
                return question(self._index)
            except sqlite3.OperationalError as error:  # locked, or the folder cannot be written
                guard.let_through(error)
                self.close()
                break
            except sqlite3.Error as error:
                guard.let_through(error)
                self.close()
                _remove(paths.index())
                if last:
                    break
            except OSError as error:
                if self._index is not None:
                    raise
                guard.let_through(error)
                break
        self._index = Index(_prepared(_connected(":memory:")))
        self._index.refresh()
        return question(self._index)

    def close(self) -> None:
        """Close the file."""
        if self._index is not None:
            with contextlib.suppress(sqlite3.Error):
                self._index.close()
        self._index = None


def answer(question: Callable[[Index], _T]) -> _T:
    """Return one answer."""
    index = IndexFile()
    try:
        return index.answer(question)
    finally:
        index.close()


def _file(path: Path) -> sqlite3.Connection:
    """Return a connection to the file at ``path``, made anew where it is not ours alone. Raises OSError and sqlite3.Error."""
    try:
        known = path.lstat()
    except FileNotFoundError:
        known = None
    if known is not None and not _ours_alone(known, path.parent.stat()):
        _remove(path)
        known = None
    if known is None:
        files.replace(path, b"")
    return _prepared(_connected(str(path)))


def _ours_alone(known: os.stat_result, folder: os.stat_result) -> bool:
    """Return whether a file is this user's, or the folder's owner's, for whom root makes it, and nobody else may open it."""
    if not stat.S_ISREG(known.st_mode) or known.st_nlink > 1 or known.st_mode & 0o077:
        return False
    return not hasattr(os, "geteuid") or known.st_uid in (os.geteuid(), folder.st_uid)


def _connected(place: str) -> sqlite3.Connection:
    return sqlite3.connect(place, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)


def _prepared(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Make the tables where they are not there, or are of another version."""
    try:
        connection.execute("pragma synchronous = off")  # what a crash damages is made anew
        connection.execute("pragma secure_delete = on")
        (version,) = connection.execute("pragma user_version").fetchone()
        if version != _VERSION:
            made = [
                f"drop table if exists {name}; create table {name}({columns});"
                for name, columns in COLUMNS.items()
            ]
            made += [
                f"create index {one.replace('(', '_').rstrip(')')} on {one};" for one in LOOKED_UP
            ]
            connection.executescript(
                f"begin immediate; {''.join(made)} pragma user_version = {_VERSION}; commit;"
            )
    except BaseException:
        connection.close()
        raise
    return connection


def _remove(path: Path) -> None:
    for part in _PARTS:
        with contextlib.suppress(OSError):
            path.with_name(path.name + part).unlink()
