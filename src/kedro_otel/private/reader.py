"""Reads the private file beside a segment, as far as it is whole."""

from __future__ import annotations

import json
import os
import shlex
import stat
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kedro_otel import guard
from kedro_otel.private.writer import FORMAT
from kedro_otel.recording.model import PRIVATE_SUFFIX

if TYPE_CHECKING:
    from pathlib import Path

_READ: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_LOG: Final = b'{"log":'
_MOST: Final = 64 * 1024 * 1024
"""Bytes that are read of one file: no file that this package writes is longer."""


class Failure(NamedTuple):
    """The text of an exception: its message, and its stack trace with the chain and the notes."""

    message: str
    stacktrace: str


class Private(NamedTuple):
    """What one private file holds, by span id."""

    commands: dict[str, list[str]]
    failures: dict[str, Failure]
    pipelines: dict[str, list[PlannedNode]]
    logs: dict[str, LogLines]


class PlannedNode(NamedTuple):
    """A node of a run's pipeline, whether it ran or not; ``namespace`` is empty where it is in none."""

    name: str
    namespace: str
    inputs: list[str]
    outputs: list[str]


class LogLine(NamedTuple):
    """A log line: its number among its node's, seconds since the epoch, level, logger, text, stack trace."""

    number: int
    time: float
    level: str
    logger: str
    text: str
    stacktrace: str


class LogLines(list[LogLine]):
    """The log lines of a node, or of a run outside of its nodes, that are kept, in order."""

    @property
    def dropped(self) -> int:
        """How many were left out, from between the first and the last."""
        return self[-1].number - len(self) if self else 0


def read(segment: Path, *, logs: bool = False) -> Private:
    """Return what is kept beside the segment at ``segment``; nothing where there is no such file of this user's.

    ``logs`` asks for log lines too. A line that cannot be understood is skipped, as is the torn last one of a process that died.
    """
    found = Private({}, {}, {}, {})
    for members in _lines(segment.with_suffix(PRIVATE_SUFFIX), logs=logs):
        try:
            _take(found, members)
        except (KeyError, TypeError, ValueError) as error:
            guard.let_through(error)
    return found


def _take(found: Private, members: dict[str, Any]) -> None:
    if "command" in members:
        words = [shlex.quote(str(word)) for word in members["args"]]
        found.commands[str(members["command"])] = ["kedro", *words]
    elif "error" in members:
        failure = (
            found.failures[members["as"]]
            if "as" in members
            else Failure(str(members["message"]), str(members["stacktrace"]))
        )
        found.failures[str(members["error"])] = failure
    elif "pipeline" in members:
        found.pipelines[str(members["pipeline"])] = [
            PlannedNode(
                str(name), str(namespace or ""), list(map(str, inputs)), list(map(str, outputs))
            )
            for name, namespace, inputs, outputs in members["nodes"]
        ]
    elif "log" in members:
        found.logs.setdefault(str(members["log"]), LogLines()).append(_log_line(members))


def _log_line(members: dict[str, Any]) -> LogLine:
    return LogLine(
        int(members["n"]),
        float(members.get("t", 0)),
        str(members.get("level", "")),
        str(members.get("logger", "")),
        str(members["text"]),
        str(members.get("stacktrace", "")),
    )


def _lines(path: Path, *, logs: bool) -> list[dict[str, Any]]:
    """Return the whole lines after the header."""
    lines = _content(path).split(b"\n")[:-1]
    lines = [line for line in lines if logs or not line.startswith(_LOG)]
    parsed = (_parsed(line) for line in lines)
    header = next(parsed, None)
    if header is None or header.get("kedro-otel-private") != FORMAT:
        return []
    return [members for members in parsed if members is not None]


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        members = json.loads(line)
    except (ValueError, RecursionError) as error:
        guard.let_through(error)
        return None
    return members if isinstance(members, dict) else None


def _content(path: Path) -> bytes:
    """Return the file's bytes; none where it is no plain file of this user's."""
    return _read_from(path, 0, 0)[1]


def _read_from(path: Path, inode: int, offset: int) -> tuple[int, bytes, int]:
    """Return the file's inode, its bytes from ``offset`` on and where they begin: at 0 unless the file is still ``inode``."""
    try:
        with os.fdopen(os.open(path, _READ), "rb") as file:
            known = os.fstat(file.fileno())
            own = not hasattr(os, "geteuid") or known.st_uid == os.geteuid()
            if not own or not stat.S_ISREG(known.st_mode):
                return 0, b"", 0
            begin = offset if known.st_ino == inode and known.st_size >= offset else 0
            file.seek(begin)
            return known.st_ino, file.read(_MOST), begin
    except OSError as error:
        guard.let_through(error)
        return 0, b"", 0


class LogFollower:
    """The log lines beside one segment, read on as they are written; also where the file is written anew without some."""

    def __init__(self, segment: Path) -> None:
        self._path = segment.with_suffix(PRIVATE_SUFFIX)
        self._inode = self._offset = 0
        self._seen: dict[str, int] = {}

    def poll(self) -> list[tuple[str, LogLine]]:
        """Return the lines since the last call, each with the span id of its node or run."""
        self._inode, data, begin = _read_from(self._path, self._inode, self._offset)
        whole = data.rpartition(b"\n")[0]
        self._offset = begin + len(whole) + 1 if whole else begin
        found = []
        for line in whole.split(b"\n"):
            members = _parsed(line) if line.startswith(_LOG) else None
            try:
                one = (str(members["log"]), _log_line(members)) if members else None
            except (KeyError, TypeError, ValueError) as error:
                guard.let_through(error)
                continue
            if one is not None and one[1].number > self._seen.get(one[0], 0):
                self._seen[one[0]] = one[1].number
                found.append(one)
        return found
