"""Read segments: whole, or as they grow. Damage costs the damaged line, never its neighbours, and is counted.

The format is described in docs/recording-format.md.
"""

from __future__ import annotations

import copy
import os
import re
import stat
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kedro_otel.config import paths
from kedro_otel.recording import decoder, locking
from kedro_otel.recording.decoder import BadLineError
from kedro_otel.recording.model import (
    DIED,
    OPEN,
    SUFFIX,
    UNKNOWN,
    Operation,
    Segment,
    SegmentError,
)
from kedro_otel.semconv import names

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Follower", "SegmentError", "listing", "opened", "read", "segments"]

MAX_LINE: Final = 16 << 20
"""Bytes of a line that is still read; a longer one is skipped without being held in memory."""

_READ: Final = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)
_CHUNK: Final = 1 << 20
_NAME: Final = re.compile(r"\d{20}-\d{1,10}-[0-9a-f]{8}" + re.escape(SUFFIX))
_OPENED: Final = (names.COMMAND, names.RUN, names.NODE)
_SPANS: Final = (names.DATASET, names.FOREIGN)


def segments(folder: Path | None = None) -> list[Path]:
    """Return the segments in ``folder`` (the user's recordings unless given), oldest first: regular files of ours, rightly named."""
    return [path for path, _ in listing(folder)]


def listing(folder: Path | None = None, since_ns: int = 0) -> list[tuple[Path, os.stat_result]]:
    """Return the segments in ``folder`` that began at ``since_ns`` or later, oldest first, each with what the file system knows of it."""
    since = f"{max(since_ns, 0):020d}"
    folder = paths.recordings() if folder is None else folder
    try:
        with os.scandir(folder) as entries:
            named = [
                entry for entry in entries if entry.name >= since and _NAME.fullmatch(entry.name)
            ]
            found = [(entry.name, known) for entry in named if (known := _ours(entry))]
    except OSError:
        return []
    return [(folder / name, known) for name, known in sorted(found)]


def strangers(folder: Path | None = None) -> int:
    """Return how many entries of ``folder`` have a segment's name and are no plain files of ours."""
    try:
        with os.scandir(paths.recordings() if folder is None else folder) as entries:
            return sum(bool(_NAME.fullmatch(entry.name)) and not _ours(entry) for entry in entries)
    except OSError:
        return 0


def read(path: Path) -> Segment:
    """Read a segment as far as it is whole. Raises :class:`SegmentError`, and nothing else.

    What is open in it is ``open`` while its process lives (or goes on in the next segment), ``died`` if that process ended
    without a word, and ``unknown`` where neither can be told.
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
            self.segment.alive = locking.alive(descriptor, self.segment.header)
            self._read(descriptor)
        except OSError as error:
            raise SegmentError(f"{self.path.name}: {error.strerror or error}") from error
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
            elif segment.alive is None:
                operation.state = UNKNOWN
            else:
                die(operation, segment.last_ns)
        return judged

    def _read(self, descriptor: int) -> None:
        for line, offset in self._lines(descriptor):
            self.take(line, offset)
            self.offset = offset

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

    def take(self, line: bytes, offset: int = 0) -> None:
        """Take in one line, which ends at ``offset``, if that is known. Raises :class:`SegmentError` where the first is no header."""
        if self.segment is None:
            try:
                header = decoder.header(decoder.parse(line), self.path.name)
            except BadLineError:
                raise SegmentError(
                    f"{self.path.name}: no header, not a recording of kedro-otel"
                ) from None
            self.segment = Segment(self.path, header, self._skipped, Counter())
            return
        try:
            self._line(self.segment, decoder.parse(line), offset)
        except BadLineError as error:
            self._skipped[str(error)] += 1

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
            self._ended(segment, decoder.span(fields), offset)
        elif first == "start" and word in _OPENED:
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


def die(operation: Operation, last_ns: int) -> None:
    """Close what was open in a process that ended without a word: an error, at the last time that its segment tells."""
    operation.state = DIED
    operation.error = True
    operation.end_ns = max(last_ns, operation.start_ns)
    operation.attributes[names.ERROR_TYPE] = names.PROCESS_DIED


def opened(path: Path) -> int:
    """Return a descriptor for reading a segment. Raises :class:`SegmentError` unless it is a plain file of ours, with one name."""
    try:
        descriptor = os.open(path, _READ)
    except OSError as error:
        raise SegmentError(f"{path.name}: {error.strerror or error}") from error
    found = os.fstat(descriptor)
    reason = _refused(found)
    if reason:
        os.close(descriptor)
        raise SegmentError(f"{path.name}: {reason}")
    return descriptor


def _refused(found: os.stat_result) -> str:
    if not stat.S_ISREG(found.st_mode):
        return "not a file"
    if found.st_nlink > 1:
        return "has a second name (hard link)"
    if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
        return "belongs to somebody else"
    return ""


def _ours(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Return what the file system knows of a file of ours, None of any other."""
    try:
        known = entry.stat(follow_symlinks=False)
    except OSError:
        return None
    return None if _refused(known) else known
