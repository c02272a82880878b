"""Log records of the segments, as far as they have not been sent: an own cursor for each segment, in the journal.

Only segments are read that say in their header that they may have some. What the detail in force keeps here is passed over,
as spans are.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from kedro_otel import guard
from kedro_otel.facts import redaction
from kedro_otel.recording import decoder, reader
from kedro_otel.recording.decoder import BadLineError
from kedro_otel.recording.model import SegmentError
from kedro_otel.semconv import names
from kedro_otel.shipping.state.segment_feed import OURS, header_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kedro_otel.recording.decoder import LogRecord
    from kedro_otel.recording.model import Header
    from kedro_otel.shipping.permission import Permission
    from kedro_otel.shipping.state.journal import Journal

CHUNK: Final = 1 << 20
"""Bytes of a segment that are read, and whose records are sent, at a time."""

MOST: Final = 1000
"""Records of one request."""


_ENDS: Final = (b'{"end":"', b'{"span":"dataset"')
_EXCEPTION: Final = b'"name":"exception"'


class Found(NamedTuple):
    """A record, and its place in its segment: with the segment's id what it is known by, however often it is sent."""

    record: LogRecord
    place: str


class Batch(NamedTuple):
    """Records of one segment, and the offset up to which it is done with once they are taken; there may be none."""

    header: Header
    offset: int
    records: list[Found]


class LogFeed:
    """The log records that one journal is responsible for.

    Args:
        journal: Whose cursors move.
        wants: Tells from a header whether a segment is to be shipped with this journal.
        permission: Tells what the project of a segment allows now. With its no, or without its yes to logs, they wait.
        exceptions: Whether errors of operations are log records, too.
    """

    def __init__(
        self,
        journal: Journal,
        wants: Callable[[Header], bool],
        permission: Permission,
        *,
        exceptions: bool,
    ) -> None:
        self._permission = permission
        self._journal = journal
        self._wants = wants
        self._exceptions = exceptions
        self._headers: dict[str, Header | None] = {}

    def batches(self, level: str) -> Iterator[Batch]:
        """Yield what is new, segment by segment; the caller acknowledges each, or stops."""
        for path, known in reader.listing():
            header = self._header(path)
            if header is None or not self._permission.lets_logs(header):
                continue
            while (start := self._journal.logs.get(header.segment, 0)) < known.st_size:
                limit = self._permission.limit(header) or names.USAGE
                leave = redaction.logs_leave(header, redaction.narrowest(level, limit))
                batch = self._next(path, header, start, known.st_size, leave=leave)
                if batch is None:
                    break
                yield batch
                if self._journal.logs.get(header.segment, 0) == start:
                    break

    def acknowledge(self, batch: Batch) -> None:
        """Move the cursor past ``batch``."""
        self._journal.logs[batch.header.segment] = batch.offset

    def _header(self, path: Path) -> Header | None:
        """Return the header of a segment with log records that is this journal's."""
        if path.name not in self._headers:
            found = header_of(path)
            wanted = found is not None and found.logs and found.owner == OURS
            self._headers[path.name] = found if wanted else None
        header = self._headers[path.name]
        return header if header is not None and self._wants(header) else None

    def _next(
        self, path: Path, header: Header, start: int, size: int, *, leave: bool
    ) -> Batch | None:
        """Return the records from ``start`` on; None where no whole line is there yet, or none can be read now."""
        data = _bytes(path, start)
        whole = data.rfind(b"\n") + 1
        if not whole:  # a torn line, which nothing will complete once the segment is finished
            cursor = self._journal.segments.get(header.segment)
            finished = data and cursor is not None and cursor.size == size
            return Batch(header, size, []) if finished else None
        records: list[Found] = []
        offset = start
        for line in data[: whole - 1].split(b"\n"):
            offset += len(line) + 1
            if leave:
                records += _of_line(line, offset, exceptions=self._exceptions)
            if len(records) >= MOST:
                break
        return Batch(header, offset, records)


def _of_line(line: bytes, offset: int, *, exceptions: bool) -> list[Found]:
    """Return the records of a line that ends at ``offset``; none of a damaged one, which whoever reads operations counts."""
    try:
        if line.startswith(decoder.LOG):
            return [Found(decoder.log_record(decoder.parse(line, checked=True)), str(offset))]
        if exceptions and line.startswith(_ENDS) and _EXCEPTION in line:
            found = decoder.exceptions(decoder.parse(line))
            return [Found(one, f"{offset}-{place}") for place, one in enumerate(found)]
    except BadLineError:
        pass
    return []


def of_segments(
    paths: list[Path], trace_id: str, *, exceptions: bool
) -> Iterator[tuple[Header, list[Found]]]:
    """Yield the log records that segments hold of a trace, with each one's header."""
    for path in paths:
        header = header_of(path)
        if header is None or not header.logs or header.owner != OURS:
            continue
        found: list[Found] = []
        offset = 0
        for line in _bytes(path, 0, 2 * reader.MAX_LINE).split(b"\n")[:-1]:
            offset += len(line) + 1
            found += _of_line(line, offset, exceptions=exceptions)
        yield header, [one for one in found if one.record.trace_id == trace_id]


def _bytes(path: Path, start: int, most: int = CHUNK) -> bytes:
    """Return bytes of a segment from ``start`` on: a whole line at least where there is one; none where it cannot be read now."""
    try:
        descriptor = reader.opened(path)
    except SegmentError:
        return b""
    try:
        with os.fdopen(descriptor, "rb") as file:
            file.seek(start)
            data = file.read(most)
            return data if b"\n" in data else data + file.readline(reader.MAX_LINE)
    except OSError as error:
        guard.let_through(error)
        return b""
