"""Read segments: whole, or as they grow. Damage costs the damaged line, never its neighbours, and is counted.

The format is described in docs/recording-format.md.
"""

from __future__ import annotations

import copy
import errno
import os
import re
import stat
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kedro_otel import guard
from kedro_otel.config import paths
from kedro_otel.recording import decoder, locking, machine
from kedro_otel.recording.decoder import BadLineError
from kedro_otel.recording.model import (
    DIED,
    OPEN,
    SUFFIX,
    UNKNOWN,
    Operation,
    Segment,
    SegmentError,
    UnreadableError,
)
from kedro_otel.semconv import names

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Follower",
    "Listing",
    "SegmentError",
    "UnreadableError",
    "listing",
    "look",
    "opened",
    "read",
    "segments",
]

MAX_LINE: Final = 16 << 20
"""Bytes of a line that is still read; a longer one is skipped without being held in memory."""

_READ: Final = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)
_SEGMENT: Final = re.compile(rb'"segment":"([0-9A-Za-z-]{1,64})"')
_CHUNK: Final = 1 << 20
_WAITS: Final = (0.01, 0.1, 0.0)
"""Seconds to wait after each look that failed."""

_NAME: Final = re.compile(r"\d{20}-\d{1,10}-[0-9a-f]{8}" + re.escape(SUFFIX))
_OPENED: Final = (names.COMMAND, names.RUN, names.NODE)
_SPANS: Final = (names.DATASET, names.FOREIGN)
_STARTED: Final = (*_OPENED, names.DATASET)


class Listing(NamedTuple):
    """What a folder of recordings holds.

    Attributes:
        found: The segments, by name, hence oldest first: regular files of ours, rightly named, each with what the file
            system knows of it.
        refused: How many entries have a segment's name and are no plain files of ours.
        failed: How many could not be looked at, for a reason that may pass; the whole folder counts as one.
    """

    found: list[tuple[Path, os.stat_result]]
    refused: int
    failed: int


def segments(folder: Path | None = None) -> list[Path]:
    """Return the segments in ``folder`` (the user's recordings unless given), oldest first: regular files of ours, rightly named."""
    return [path for path, _ in listing(folder)]


def listing(folder: Path | None = None, since_ns: int = 0) -> list[tuple[Path, os.stat_result]]:
    """Return the segments in ``folder`` that began at ``since_ns`` or later, oldest first, each with what the file system knows of it."""
    return look(folder, since_ns).found


def look(folder: Path | None = None, since_ns: int = 0) -> Listing:
    """Return the segments in ``folder`` (the user's recordings unless given) that began at ``since_ns`` or later, and what could not be seen.

    An error is waited for and asked again: the folder of a busy or a network file system may fail for a moment.
    """
    folder = paths.recordings() if folder is None else folder
    since = f"{max(since_ns, 0):020d}"
    found = Listing([], 0, 1)
    for wait_s in _WAITS:
        found = _look(folder, since)
        if not found.failed:
            break
        time.sleep(wait_s)
    return found


def _look(folder: Path, since: str) -> Listing:
    found: list[tuple[str, os.stat_result]] = []
    refused = failed = 0
    try:
        with os.scandir(folder) as entries:
            named = [
                entry for entry in entries if entry.name >= since and _NAME.fullmatch(entry.name)
            ]
    except FileNotFoundError:
        # Nothing was recorded yet, unless the parent knows better: one answer alone may be wrong.
        return Listing([], 0, int(_named(folder)))
    except OSError as error:
        guard.let_through(error)
        return Listing([], 0, 1)
    for entry in named:
        try:
            known = entry.stat(follow_symlinks=False)
        except OSError as error:
            guard.let_through(error)
            failed += 1
            continue
        try:
            reason = _refused(known) or (_linked(folder / entry.name) if known.st_nlink > 1 else "")
        except OSError as error:
            guard.let_through(error)
            failed += 1
            continue
        if reason:
            refused += 1
        else:
            found.append((entry.name, known))
    return Listing([(folder / name, known) for name, known in sorted(found)], refused, failed)


def _named(folder: Path) -> bool:
    """Return whether ``folder`` is there by its parent's list of names, or may be."""
    try:
        return folder.name in os.listdir(folder.parent)
    except FileNotFoundError:
        return False
    except OSError as error:
        guard.let_through(error)
        return True


def strangers(folder: Path | None = None) -> int:
    """Return how many entries of ``folder`` have a segment's name and are no plain files of ours."""
    return look(folder).refused


def read(path: Path) -> Segment:
    """Read a segment as far as it is whole. Raises :class:`SegmentError`, and nothing else.

    What is open in it is ``open`` while its process lives (or goes on in the next segment), ``died`` if that process ended
    without a word, and ``unknown`` where neither can be told, or where the segment says that recording stopped.
    """
    follower = Follower(path)
    follower.poll()
    return follower.close()


class Follower:
    """A segment read while it grows.

    ``segment`` is None until there is a header; ``offset`` is the number of bytes read, up to the last whole line.
    """

    def __init__(self, path: Path) -> None:
        """Read nothing yet."""
        self.path = path
        self.segment: Segment | None = None
        self.offset = 0
        self._open: dict[str, Operation] = {}
        self._fresh: list[Operation] = []
        self._skipped: Counter[str] = Counter()
        self._tail = False
        self._rest = 0
        self.end = 0
        """Number of bytes seen, the torn last line included."""
        self.checked = False
        """Whether every line has a checksum, as the first one has."""
        self._doubtful: set[str] = set()
        """What was open where a line could not be read: that line may have ended it."""

    def poll(self) -> list[Operation]:
        """Return the operations that ended since the last call, in order. Raises :class:`SegmentError`.

        Sets ``segment.alive``, by the lock *before* the last read: once it says False, nothing more can come, and
        :meth:`close` tells what has died.
        """
        descriptor = opened(self.path)
        try:
            if self.segment is None:
                self._read(descriptor)
            if self.segment is None:
                return []
            alive = locking.alive(descriptor, self.segment.header)
            self._read(descriptor)
            settle(self.segment, descriptor, alive=alive, has_open=bool(self._open))
        except OSError as error:
            guard.let_through(error)
            raise UnreadableError(f"{self.path.name}: {error.strerror or error}") from error
        finally:
            os.close(descriptor)
        self.segment.size = self.offset
        fresh, self._fresh = self._fresh, []
        return fresh

    def known(self) -> Segment:
        """Return the segment as it is known so far. Raises :class:`SegmentError` while there is no header."""
        if self.segment is None:
            raise SegmentError(f"{self.path.name}: empty, no header")
        return self.segment

    def open_operations(self) -> list[Operation]:
        """Return what has begun and not ended, in the order in which it began."""
        return list(self._open.values())

    def close(self) -> Segment:
        """Return the segment with what is still open in it, judged, at the end of its operations.

        Call it once, after the last poll. Raises :class:`SegmentError` where there is no header.
        """
        segment = self.known()
        if self._tail and not segment.alive:
            segment.skipped["torn"] = 1
        segment.operations += self._judged(segment)
        self._open = {}
        return segment

    def snapshot(self) -> Segment:
        """Return the same as :meth:`close` as of now, apart from this follower, which goes on. Raises :class:`SegmentError` likewise."""
        segment = copy.copy(self.known())
        segment.operations = segment.operations + self._judged(segment)
        return segment

    def _judged(self, segment: Segment) -> list[Operation]:
        judged = [copy.copy(operation) for operation in self._open.values()]
        for operation in judged:
            operation.attributes = dict(operation.attributes)
            if segment.continued or segment.alive:
                operation.state = OPEN
            elif segment.alive is None or segment.stopped or operation.span_id in self._doubtful:
                operation.state = UNKNOWN
            else:
                die(operation, segment.last_ns)
        return judged

    def _read(self, descriptor: int) -> None:
        """Take in what is there. Raises OSError, also where less can be read than there is."""
        size = os.fstat(descriptor).st_size
        for line, offset in self._lines(descriptor):
            self.take(line, offset)
            self.offset = offset
        self.end = self.offset + self._rest
        if self.end < size:
            raise OSError(errno.EIO, "less could be read than there is")

    def _lines(self, descriptor: int) -> Iterator[tuple[bytes, int]]:
        """Yield each whole line, without its newline, and the offset just past it."""
        offset = self.offset
        os.lseek(descriptor, offset, os.SEEK_SET)
        rest = b""
        skipping = False
        while chunk := os.read(descriptor, _CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                offset += len(line) + 1
                if skipping or len(line) > MAX_LINE:
                    self._skipped["too long"] += 1
                    skipping = False
                    self.offset = offset
                else:
                    yield line, offset
            if len(rest) > MAX_LINE:
                offset += len(rest)
                rest, skipping = b"", True
        self._tail = bool(rest) or skipping
        self._rest = offset - self.offset + len(rest)

    def take(self, line: bytes, offset: int = 0) -> None:
        """Take in one line, which ends at ``offset``, if that is known. Raises :class:`SegmentError` where the first is no header."""
        if self.segment is None:
            self.segment = Segment(
                self.path, decoder.first_line(line, self.path.name), self._skipped, Counter()
            )
            self.checked = decoder.has_checksum(line)
            return
        if line.startswith(decoder.LOG):
            return  # no operation: shipping/state/log_feed.py reads these
        try:
            self._line(self.segment, decoder.parse(line, checked=self.checked), offset)
        except BadLineError as error:
            self._skipped[str(error)] += 1
            self._doubtful.update(self._open)

    def _line(self, segment: Segment, fields: dict[str, Any], offset: int) -> None:
        first = next(iter(fields))
        word = fields[first]
        if first == "end" and word in _OPENED:
            key = fields.get("spanId")
            operation = self._open.get(key) if type(key) is str else None
            if operation is None:
                raise BadLineError("end without start")
            decoder.end(operation, fields)
            del self._open[operation.span_id]
            self._ended(segment, operation, offset)
        elif first == "span" and word in _SPANS:
            operation = decoder.span(fields)
            self._open.pop(operation.span_id, None)  # where a line said that it is under way
            self._ended(segment, operation, offset)
        elif first == "start" and word in _STARTED:
            operation = decoder.start(fields)
            self._open[operation.span_id] = operation
            segment.last_ns = max(segment.last_ns, operation.start_ns)
        elif first == "drop" and type(word) is str:
            self._open.pop(word, None)
            for found in (segment.operations, self._fresh):
                found[:] = [operation for operation in found if operation.span_id != word]
        elif first == "owner" and type(word) is str:
            segment.header = segment.header._replace(owner=word)
        elif first == "continued":
            segment.continued = True
        elif first == "lost" and type(word) is dict:
            segment.lost.update(
                {
                    reason: count
                    for reason, count in word.items()
                    if type(count) is int and count > 0
                }
            )
        else:
            raise BadLineError("not known")

    def _ended(self, segment: Segment, operation: Operation, offset: int) -> None:
        operation.offset = offset
        segment.operations.append(operation)
        self._fresh.append(operation)
        segment.last_ns = max(segment.last_ns, operation.end_ns or 0)


def settle(segment: Segment, descriptor: int, *, alive: bool | None, has_open: bool) -> None:
    """Set whether more may come, from what the lock said *before* the last read.

    A free lock means that the process ended, but for two cases: the segment says that recording
    stopped, or something is open and the process that wrote it still runs. Then a program closed our
    descriptor, and the process opens the segment again at its next line.
    """
    segment.alive = alive
    if alive is True:
        return
    segment.stopped = locking.stopped(descriptor)
    if segment.stopped:
        segment.alive = False
    elif alive is False and has_open and segment.header.boot_id == machine.boot_id():
        segment.alive = machine.runs(segment.header.pid, segment.header.process_start)


def die(operation: Operation, last_ns: int) -> None:
    """Close what was open in a process that ended without a word: an error, at the last time that its segment tells."""
    operation.state = DIED
    operation.error = True
    operation.end_ns = max(last_ns, operation.start_ns)
    operation.attributes[names.ERROR_TYPE] = names.PROCESS_DIED


def opened(path: Path) -> int:
    """Return a descriptor for reading a segment. Raises :class:`SegmentError` unless it is a plain file of ours.

    A file with several names, as a backup of hard links gives it, is read under the name that its process gave it,
    under another where that one is not there.
    """
    try:
        descriptor = os.open(path, _READ)
    except OSError as error:
        guard.let_through(error)
        reason = f"{path.name}: {error.strerror or error}"
        raise (SegmentError if error.errno == errno.ELOOP else UnreadableError)(reason) from error
    try:
        found = os.fstat(descriptor)
        refused = _refused(found)
        if not refused and found.st_nlink > 1:
            refused = _second_name(descriptor, path)
    except OSError as error:
        guard.let_through(error)
        os.close(descriptor)
        raise UnreadableError(f"{path.name}: {error.strerror or error}") from error
    if refused:
        os.close(descriptor)
        raise SegmentError(f"{path.name}: {refused}")
    return descriptor


def _refused(found: os.stat_result) -> str:
    if not stat.S_ISREG(found.st_mode):
        return "not a file"
    if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
        return "belongs to somebody else"
    return ""


def _linked(path: Path) -> str:
    """Return why a file with several names is not read under this one, "" where it is. Raises OSError."""
    descriptor = os.open(path, _READ)
    try:
        return _second_name(descriptor, path)
    finally:
        os.close(descriptor)


def _second_name(descriptor: int, path: Path) -> str:
    """Return why the open file is not read as ``path``: the name that its process gave it is in the folder, too."""
    line = os.read(descriptor, _CHUNK).partition(b"\n")[0]
    os.lseek(descriptor, 0, os.SEEK_SET)
    given = _SEGMENT.search(line)
    if given is None:
        return "has a second name (hard link)"
    own = path.with_name(f"{given[1].decode()}.jsonl")
    if own.name == path.name:
        return ""
    try:
        first = os.lstat(own)
    except FileNotFoundError:
        return ""  # moved, and a backup has the other name
    known = os.fstat(descriptor)
    same = (first.st_dev, first.st_ino) == (known.st_dev, known.st_ino)
    return "has a second name (hard link)" if same else ""
