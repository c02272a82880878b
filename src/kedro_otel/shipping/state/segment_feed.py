"""Reads segments as they grow, folds what ended into the totals, and hands on what is to be sent as spans.

Folding needs no network. Everything here moves cursors in a journal that the caller commits: until then nothing happened.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from kedro_otel.config import paths
from kedro_otel.facts import redaction
from kedro_otel.recording import decoder, reader
from kedro_otel.recording.model import DIED, Header, Operation, Segment, SegmentError
from kedro_otel.semconv import measurements as m
from kedro_otel.semconv import names
from kedro_otel.shipping.failpoints import reached
from kedro_otel.shipping.process import launch
from kedro_otel.shipping.state import aggregation
from kedro_otel.shipping.state.journal import NOT_OURS, UNDONE, Cursor, Journal

OURS: Final = "kedro-otel"
"""Owner of a segment that is ours to ship; one whose spans the user's own TracerProvider sends says ``user``."""

QUIET: Final = 60.0
"""Seconds without a new line after which a segment whose liveness cannot be told (no locks) is no longer followed."""

RELIST: Final = 30.0
"""Seconds after which the folder is listed again even if it looks unchanged: some file systems keep times coarsely."""


MAX_HEADER: Final = 1 << 20
"""Bytes of a segment's first line that are read to tell whose it is."""


class Item(NamedTuple):
    """Something to acknowledge in order: an operation that is to be sent, or (None) a stretch of segment with nothing to send."""

    watched: TrackedSegment
    offset: int
    operation: Operation | None
    resource: str


class TrackedSegment:
    """A segment that is not finished.

    ``behind`` tells that its follower has read beyond what was acknowledged: to send the rest, reading must begin anew.
    ``alive`` is whether more may come.
    """

    __slots__ = ("alive", "behind", "cursor", "follower", "path", "resource")

    def __init__(self, path: Path, cursor: Cursor) -> None:
        self.path = path
        self.cursor = cursor
        self.follower = reader.Follower(path)
        self.behind = False
        self.alive = True
        self.resource = ""


class SegmentFeed:
    """All segments that one journal is responsible for.

    Args:
        journal: Whose cursors and totals move.
        wants: Tells from a header whether a segment is to be shipped with this journal.
        level: The detail in force; a segment recorded at a narrower one stays at that, and one begun after it was asked for has its own.
        traced: Whether spans are sent at all, so that exemplars may point at them.
        reconsider: Whether to look again at segments that were not wanted before.

    ``touched`` tells whether the last round moved anything that is worth a commit.
    """

    def __init__(
        self,
        journal: Journal,
        wants: Callable[[Header], bool],
        level: str,
        *,
        traced: bool = True,
        reconsider: bool = False,
    ) -> None:
        self.journal = journal
        self.wants = wants
        self.level = level
        self._level_ns = launch.settings_taken_ns()
        self.traced = traced
        self.reconsider = reconsider
        self.touched = False
        self._spans = False
        self.now: Callable[[], int] = time.time_ns
        self._watched: dict[str, TrackedSegment] = {}
        self._listed = (0, 0.0)
        self.present: set[str] = set()

    @property
    def alive(self) -> bool:
        """Whether a segment is watched that may still grow."""
        return any(watched.alive for watched in self._watched.values())

    @property
    def unsent(self) -> bool:
        """Whether spans wait that have been read."""
        return any(watched.behind for watched in self._watched.values())

    def round(self, *, spans: bool) -> Iterator[Item]:
        """Read what is new in every segment and fold it; with ``spans``, yield what is to be acknowledged, in order.

        The caller may stop wanting spans on the way, by :meth:`abandon`.
        """
        self.touched = False
        self._list()
        self._spans = spans
        for watched in list(self._watched.values()):
            if watched.alive or self._spans:
                yield from self._segment(watched)

    def waiting(self) -> bool:
        """Tell whether a segment that is to be shipped has something new; nothing is read but first lines."""
        self._list()
        return any(
            watched.cursor.size != NOT_OURS and self._wanted(watched)
            for watched in list(self._watched.values())
        )

    def abandon(self, items: list[Item]) -> None:
        """Take back ``items``, which were not acknowledged, and yield no more of them in this round."""
        self._spans = False
        for item in items:
            item.watched.behind = True

    def acknowledge(self, items: list[Item]) -> None:
        """Move the cursors past ``items``, which are in order; what is finished is no longer watched."""
        self.touched = True
        for item in items:
            cursor = item.watched.cursor
            cursor.spans = max(cursor.spans, item.offset)
            if item.operation is not None and item.operation.state == DIED:
                cursor.dead_shipped.append(item.operation.span_id)
        for watched in {id(item.watched): item.watched for item in items}.values():
            self._finish(watched)

    def _list(self) -> None:
        """Look for new segments, if the folder has changed."""
        folder = paths.recordings()
        try:
            changed_ns = folder.stat().st_mtime_ns
        except OSError:
            changed_ns = 0
        if self._listed[0] == changed_ns and time.monotonic() < self._listed[1]:
            return
        # listed before it is read: what comes meanwhile changes the time again
        self._listed = (changed_ns, time.monotonic() + RELIST)
        found = reader.segments(folder)
        self.present = {path.stem for path in found}
        if found:
            self.journal.forget(self.present)
        for stem in self._watched.keys() - self.present:
            del self._watched[stem]
        for path in found:
            if path.stem not in self._watched and self._unfinished(path):
                self._watched[path.stem] = TrackedSegment(path, self.journal.cursor(path.stem))

    def _unfinished(self, path: Path) -> bool:
        cursor = self.journal.segments.get(path.stem)
        if cursor is None or cursor.size == UNDONE:
            return True
        if cursor.size == NOT_OURS:
            return self.reconsider
        try:
            return path.stat().st_size != cursor.size
        except OSError:
            return False

    def _segment(self, watched: TrackedSegment) -> Iterator[Item]:
        if watched.follower.segment is None and not self._wanted(watched):
            return
        if self._spans and watched.behind:
            watched.follower, watched.behind = reader.Follower(watched.path), False
        try:
            ended = watched.follower.poll()
        except SegmentError:
            self._unreadable(watched)
            return
        segment = watched.follower.segment
        if segment is None:
            watched.alive = self._fresh(watched.path)
            if not watched.alive:
                self._unreadable(watched)
            return
        if segment.header.owner != OURS or not self.wants(segment.header):
            self._leave(watched)  # an owner may be told later than in the header
            return
        reached("read")
        watched.alive = self._may_grow(segment, watched.path)
        ended = ended + ([] if watched.alive else _died(watched.follower))
        segment.operations.clear()  # they were handed on; a long-lived process would fill our memory
        watched.resource = watched.resource or self._resource(segment.header)
        cursor = watched.cursor
        for operation in ended:
            if operation.state == DIED or operation.offset > cursor.folded:
                self._fold(operation, segment.header, watched)
        self.touched = self.touched or bool(ended) or cursor.folded < watched.follower.offset
        cursor.folded = max(cursor.folded, watched.follower.offset)
        reached("folded")
        if not self._spans:
            unsent = cursor.spans < watched.follower.offset or bool(
                set(cursor.dead) - set(cursor.dead_shipped)
            )
            watched.behind = self.traced and (watched.behind or unsent)
            self._finish(watched)
            return
        yield from self._to_send(ended, segment.header, watched)

    def _wanted(self, watched: TrackedSegment) -> bool:
        """Tell by its first line whether a segment is to be shipped with this journal; if not, leave it alone for good."""
        header = header_of(watched.path)
        if header is None or (self.wants(header) and header.owner == OURS):
            return True
        self._leave(watched)
        return False

    def _leave(self, watched: TrackedSegment) -> None:
        self.touched = True
        watched.cursor.size = NOT_OURS
        del self._watched[watched.path.stem]

    def _to_send(
        self, ended: list[Operation], header: Header, watched: TrackedSegment
    ) -> Iterator[Item]:
        cursor = watched.cursor
        end = watched.follower.offset
        level = self._at(header)
        for operation in ended:
            if not self._spans:
                watched.behind = True
                return
            left = redaction.at(operation, header, level) if operation.sampled else None
            if operation.state == DIED:
                if operation.span_id not in cursor.dead_shipped:
                    yield (
                        Item(watched, end, left, watched.resource)
                        if left
                        else Item(watched, end, None, "")
                    )
                    if left is None:
                        cursor.dead_shipped.append(operation.span_id)
            elif (
                operation.offset > cursor.spans
                and left is not None
                and operation.span_id not in cursor.dead
            ):
                yield Item(watched, operation.offset, left, watched.resource)
        yield Item(watched, end, None, "")

    def _fold(self, operation: Operation, header: Header, watched: TrackedSegment) -> None:
        cursor = watched.cursor
        if operation.span_id in cursor.dead:
            return  # counted as dead before; what it says later does not count
        if operation.state == DIED:
            cursor.dead.append(operation.span_id)
        if (operation.end_ns or 0) <= self.journal.folded_before_ns:
            return
        level = self._at(header)
        left = (
            operation
            if operation.operation in (names.NODE, names.DATASET)
            else redaction.at(operation, header, level)
        )
        if left is None:
            return
        totals = self.journal.totals.get(watched.resource) or self.journal.resource(
            redaction.resource_at(header.resource, level), self.now()
        )
        exemplars = self.traced and operation.sampled
        aggregation.add(
            totals, m.measure(left, level), exemplars=exemplars, ephemeral=header.ephemeral
        )

    def _finish(self, watched: TrackedSegment) -> None:
        """If nothing is left to do for a segment, write down its size and stop watching it."""
        cursor = watched.cursor
        end = watched.follower.offset
        if (
            watched.alive
            or watched.behind
            or cursor.folded < end
            or (self.traced and cursor.spans < end)
        ):
            return
        if self.traced and set(cursor.dead) - set(cursor.dead_shipped):
            return
        self.touched = True
        try:
            cursor.size = watched.path.stat().st_size
        except OSError:
            cursor.size = end
        cursor.spans = max(cursor.spans, end)
        self._watched.pop(watched.path.stem, None)

    def _unreadable(self, watched: TrackedSegment) -> None:
        """Leave a file alone that is no segment, until it changes."""
        self.touched = True
        self.journal.counts["segments unreadable"] += 1
        watched.alive = False
        try:
            watched.cursor.size = watched.path.lstat().st_size
        except OSError:
            watched.cursor.size = 0
        self._watched.pop(watched.path.stem, None)

    def _resource(self, header: Header) -> str:
        return aggregation.resource_key(redaction.resource_at(header.resource, self._at(header)))

    def _at(self, header: Header) -> str:
        later = (
            header.start_ns > self._level_ns
        )  # by a command that had other settings, and whose own shipper found this one at work
        return redaction.narrowest(header.detail, header.detail if later else self.level)

    def _may_grow(self, segment: Segment, path: Path) -> bool:
        if segment.continued:
            return False
        return segment.alive if segment.alive is not None else self._fresh(path)

    def _fresh(self, path: Path) -> bool:
        try:
            return time.time() - path.stat().st_mtime < QUIET
        except OSError:
            return False


def header_of(path: Path) -> Header | None:
    """Return the first line of a segment; None where it cannot be read, and where polling will tell what is the matter."""
    try:
        with os.fdopen(reader.opened(path), "rb") as file:
            return decoder.header(decoder.parse(file.readline(MAX_HEADER).rstrip(b"\n")), path.name)
    except (OSError, SegmentError, decoder.BadLineError):
        return None


def _died(follower: reader.Follower) -> list[Operation]:
    """Return what was open in a process that is gone, and is therefore dead."""
    known = len(follower.segment.operations) if follower.segment else 0
    return [
        operation for operation in follower.close().operations[known:] if operation.state == DIED
    ]
