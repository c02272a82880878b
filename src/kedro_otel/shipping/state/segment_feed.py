"""Reads segments as they grow, folds what ended into the totals, and hands on what is to be sent as spans.

Folding needs no network. Everything here moves cursors in a journal that the caller commits: until then nothing happened.
A segment is known by the id in its first line; its name is a hint. That a file cannot be read, or is not there, says nothing
about what is in it: the first is tried again, the second remembered.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from kedro_otel.config import paths
from kedro_otel.facts import redaction
from kedro_otel.recording import decoder, reader
from kedro_otel.recording.model import (
    DIED,
    Header,
    Operation,
    Segment,
    SegmentError,
    UnreadableError,
)
from kedro_otel.semconv import measurements as m
from kedro_otel.semconv import names
from kedro_otel.shipping.failpoints import reached
from kedro_otel.shipping.state import aggregation
from kedro_otel.shipping.state.journal import NOT_OURS, TAKEN, UNDONE, Cursor, Journal, renew

_ID: Final = re.compile(r"\d{20}-\d{1,10}-[0-9a-f]{8}")
ENVIRONMENT: Final = "environment"
"""Says in a header that the command's environment named the detail."""

OURS: Final = "kedro-otel"
"""Owner of a segment that is ours to ship; one whose spans the user's own TracerProvider sends says ``user``."""

QUIET: Final = 60.0
"""Seconds without a new line after which a segment whose liveness cannot be told (no locks) is no longer followed."""

RELIST: Final = 30.0
"""Seconds after which the folder is listed again even if it looks unchanged: some file systems keep times coarsely."""


RETRY: Final = (0.1, 60.0)
"""Seconds after which a segment that could not be read is tried again: at first, and at most; in between twice as long each time."""

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
    ``alive`` is whether more may come. ``failures`` counts how often in a row it could not be read, ``retry_at`` is when it
    may be tried again, by the monotonic clock. ``limit`` is the widest detail that its project allows, None where it says no; nothing
    of the segment is read then. ``came_at`` is the detail that was in force when it came, None for one that was
    there before.
    """

    __slots__ = (
        "alive",
        "behind",
        "came_at",
        "cursor",
        "failures",
        "follower",
        "header",
        "id",
        "limit",
        "path",
        "resource",
        "retry_at",
    )

    def __init__(self, identifier: str, path: Path, cursor: Cursor) -> None:
        self.id = identifier
        self.path = path
        self.cursor = cursor
        self.follower = reader.Follower(path)
        self.behind = False
        self.alive = True
        self.resource = ""
        self.failures = 0
        self.retry_at = 0.0
        self.came_at: str | None = None
        self.header: Header | None = None
        self.limit: str | None = names.FULL


class SegmentFeed:
    """All segments that one journal is responsible for.

    Args:
        journal: Whose cursors and totals move.
        wants: Tells from a header whether a segment is to be shipped with this journal.
        level: The detail in force; a segment recorded at a narrower one stays at that.
        traced: Whether spans are sent at all, so that exemplars may point at them.
        reconsider: Whether to look again at segments that were not wanted before.
        limit: Tells from a header the widest detail that the segment's project allows now, None where it says no.

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
        limit: Callable[[Header], str | None] = lambda _: names.FULL,
    ) -> None:
        self.journal = journal
        self.limit = limit
        self.wants = wants
        self.level = level
        self.traced = traced
        self.reconsider = reconsider
        self.touched = False
        self._spans = False
        self._began = False
        self.now: Callable[[], int] = time.time_ns
        self._watched: dict[str, TrackedSegment] = {}
        self._listed = (0, 0.0)
        self._names: dict[str, str] = {}
        """Id of the segment in each file that was looked into."""
        self._refused: dict[str, int] = {}
        """Size of each file that is no segment of this version's, as it was looked into."""
        self.unseen = 0
        """How many entries of the folder could not be looked at; the whole folder counts as one."""

    @property
    def alive(self) -> bool:
        """Whether a segment is watched that may still grow."""
        return any(watched.alive and watched.limit for watched in self._watched.values())

    @property
    def unsent(self) -> bool:
        """Whether spans wait that have been read."""
        return any(watched.behind and watched.limit for watched in self._watched.values())

    @property
    def unread(self) -> int:
        """How many segments could not be looked at or read when that was last tried."""
        return self.unseen + sum(bool(watched.failures) for watched in self._watched.values())

    @property
    def retry_s(self) -> float:
        """Seconds until what could not be read is due again."""
        due = [watched.retry_at for watched in self._watched.values() if watched.failures]
        return max(min(due) - time.monotonic(), 0.0) if due and not self.unseen else RETRY[0]

    def round(self, *, spans: bool) -> Iterator[Item]:
        """Read what is new in every segment and fold it; with ``spans``, yield what is to be acknowledged, in order.

        The caller may stop wanting spans on the way, by :meth:`abandon`.
        """
        self.touched = False
        self._list()
        self._spans = spans
        for watched in list(self._watched.values()):
            due = watched.failures == 0 or time.monotonic() >= watched.retry_at
            if due and (watched.alive or watched.failures or self._spans):
                yield from self._segment(watched)

    def waiting(self) -> bool:
        """Return whether a segment that is to be shipped has something new; nothing is read but first lines."""
        self._list()
        return any(
            watched.cursor.size != NOT_OURS and self._wanted(watched) and self._allowed(watched)
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
            if item.operation is not None and item.operation.span_id in cursor.dead:
                cursor.dead_shipped.append(item.operation.span_id)
        for watched in {id(item.watched): item.watched for item in items}.values():
            self._finish(watched)

    def again(self, span_ids: set[str]) -> Iterator[tuple[Operation, str]]:
        """Yield those operations of this journal's segments that have one of ``span_ids``, each with its resource's key.

        Nothing moves: they were counted and sent once.
        """
        for path, _ in reader.look().found:
            try:
                segment = reader.read(path)
            except SegmentError:
                continue
            if segment.header.owner != OURS or not self.wants(segment.header):
                continue
            limit = self.limit(segment.header)
            if limit is None:
                continue
            level = redaction.narrowest(segment.header.detail, self.level, limit)
            key = aggregation.resource_key(redaction.resource_at(segment.header.resource, level))
            for operation in segment.operations:
                if operation.span_id in span_ids and operation.sampled and operation.end_ns:
                    left = redaction.at(operation, segment.header, level)
                    if left is not None:
                        span_ids.discard(operation.span_id)
                        yield left, key

    def _list(self) -> None:
        """Look for new segments, if the folder has changed."""
        folder = paths.recordings()
        try:
            changed_ns = folder.stat().st_mtime_ns
        except OSError:
            changed_ns = 0
        if not self.unseen and self._listed[0] == changed_ns and time.monotonic() < self._listed[1]:
            return
        # listed before it is read: what comes meanwhile changes the time again
        self._listed = (changed_ns, time.monotonic() + RELIST)
        headers: dict[str, Header | None] = {}
        present = self._present(folder, headers)
        if not self.unseen:
            self.journal.missing(set(present))
            for identifier in self._watched.keys() - present.keys():
                del self._watched[identifier]
        fresh = [
            (headers.get(path.name), self._tracked(identifier, path))
            for identifier, (path, known) in present.items()
            if identifier not in self._watched and self._unfinished(identifier, path, known)
        ]
        for tracked in _ordered(fresh):
            tracked.came_at = self.level if self._began else None
            self._watched[tracked.id] = tracked
        self._began = True

    def _present(
        self, folder: Path, headers: dict[str, Header | None]
    ) -> dict[str, tuple[Path, os.stat_result]]:
        """Return the file of each segment that is there; ``headers`` takes the first lines that were read."""
        listing = reader.look(folder)
        self.unseen = listing.failed
        present: dict[str, tuple[Path, os.stat_result]] = {}
        for path, known in listing.found:
            identifier = self._identified(path, known, headers)
            if identifier is None:
                continue
            other = present.get(identifier)
            # one of two is a copy: rather that one which has another name than its process gave it, if they are alike
            if other is None or (known.st_size, path.stem == identifier) > (
                other[1].st_size,
                other[0].stem == identifier,
            ):
                present[identifier] = path, known
        return present

    def _tracked(self, identifier: str, path: Path) -> TrackedSegment:
        cursor = self.journal.cursor(identifier)
        if cursor.size == NOT_OURS:
            cursor.size = UNDONE
        return TrackedSegment(identifier, path, cursor)

    def _identified(
        self, path: Path, known: os.stat_result, headers: dict[str, Header | None]
    ) -> str | None:
        """Return the id of the segment in a file: by its name if what is known of that one fits, else by its first line."""
        stem = path.stem
        cursor = self.journal.segments.get(stem)
        if (
            cursor is not None
            and cursor.size in (NOT_OURS, known.st_size)
            and (cursor.done or (cursor.size == NOT_OURS and not self.reconsider))
        ):
            return stem
        found = self._names.get(path.name)
        if found is not None:
            return found
        try:
            header = read_header(path)
        except UnreadableError:
            self.unseen += 1
            self.journal.counts["read errors"] += 1
            return None
        except SegmentError:
            return stem  # polling will tell what is the matter
        headers[path.name] = header
        found = header.segment if _ID.fullmatch(header.segment) else stem
        self._names[path.name] = found
        return found

    def _unfinished(self, identifier: str, path: Path, known: os.stat_result) -> bool:
        if self._refused.get(path.name) == known.st_size:
            return False
        cursor = self.journal.segments.get(identifier)
        if cursor is None:
            return not self._forgotten(identifier, path, known)
        if cursor.size == NOT_OURS:
            return self.reconsider
        unfinished = cursor.size in (UNDONE, TAKEN) or not cursor.folded
        return unfinished or known.st_size != cursor.size

    def _forgotten(self, identifier: str, path: Path, known: os.stat_result) -> bool:
        """Return whether a segment without a cursor was finished once, or is so old that nobody knows."""
        gone = self.journal.gone
        if gone.forgotten(identifier):
            self.journal.counts["recordings too old to be told from counted ones"] += 1
            self._refused[path.name] = known.st_size
            return True
        return identifier in gone

    def _segment(self, watched: TrackedSegment) -> Iterator[Item]:
        if watched.follower.segment is None and not self._wanted(watched):
            return
        if not self._allowed(watched):
            watched.behind = True  # to send it when its project says yes again, reading begins anew
            return
        if self._spans and watched.behind:
            watched.follower, watched.behind = reader.Follower(watched.path), False
        found = self._polled(watched)
        if found is None:
            return
        segment, ended = found
        reached("read")
        watched.alive = self._may_grow(segment, watched.path)
        cursor = watched.cursor
        self._take_for_counted(watched, segment)
        ended = ended + _died(watched)
        segment.operations.clear()  # they were handed on; a long-lived process would fill our memory
        watched.resource = watched.resource or self._resource(segment.header, watched)
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

    def _polled(self, watched: TrackedSegment) -> tuple[Segment, list[Operation]] | None:
        """Return a segment and what has ended in it since; None where it cannot be read now, or is not to be shipped."""
        try:
            ended = watched.follower.poll()
        except UnreadableError:
            self._later(watched)
            return None
        except SegmentError:
            self._unreadable(watched)
            return None
        watched.failures = 0
        segment = watched.follower.segment
        if segment is None:
            watched.alive = self._fresh(watched.path)
            if not watched.alive:
                self._unreadable(watched)
            return None
        if segment.header.owner != OURS or not self.wants(segment.header):
            self._leave(watched)  # an owner may be told later than in the header
            return None
        return segment, ended

    def _take_for_counted(self, watched: TrackedSegment, segment: Segment) -> None:
        """Pass over what a former life of this journal has counted: the original of a copy, or what came after a backup."""
        journal, cursor = self.journal, watched.cursor
        generation, _, sequence = segment.header.generation.partition(":")
        if (
            generation == journal.generation
            and sequence.isdecimal()
            and int(sequence) > journal.sequence
        ):
            # the recordings are newer than the journal: it was put back
            renew(journal, counted=True)
        first = cursor.size == UNDONE and not cursor.folded and not cursor.spans
        if cursor.size != TAKEN and not (
            first and journal.counted_before(segment.header.generation)
        ):
            return
        cursor.size = UNDONE
        dead = (
            set() if watched.alive else {one.span_id for one in watched.follower.open_operations()}
        )
        dead -= set(cursor.dead)
        if dead or cursor.folded < watched.follower.offset:
            journal.counts["recordings taken for counted"] += 1
        cursor.folded = max(cursor.folded, watched.follower.offset)
        cursor.dead += sorted(dead)

    def _later(self, watched: TrackedSegment) -> None:
        """Try a segment again after a while, longer each time: it could not be read now."""
        self.touched = True
        self.journal.counts["read errors"] += 1
        first, most = RETRY
        watched.retry_at = time.monotonic() + min(first * 2.0**watched.failures, most)
        watched.failures += 1

    def _wanted(self, watched: TrackedSegment) -> bool:
        """Tell by its first line whether a segment is to be shipped with this journal; if not, leave it alone for good."""
        header = header_of(watched.path)
        if header is None or (self.wants(header) and header.owner == OURS):
            return True
        self._leave(watched)
        return False

    def _allowed(self, watched: TrackedSegment) -> bool:
        """Ask again what a segment's project allows; return whether it may leave."""
        watched.header = watched.header or header_of(watched.path)
        now = self.limit(watched.header) if watched.header is not None else names.FULL
        if now != watched.limit:
            watched.limit, watched.resource = now, ""
        return now is not None

    def unchanged(self) -> bool:
        """Return whether every project allows what it did when its segments were last read."""
        return all(
            watched.header is None or self.limit(watched.header) == watched.limit
            for watched in self._watched.values()
        )

    def _leave(self, watched: TrackedSegment) -> None:
        self.touched = True
        watched.cursor.size = NOT_OURS
        del self._watched[watched.id]

    def _to_send(
        self, ended: list[Operation], header: Header, watched: TrackedSegment
    ) -> Iterator[Item]:
        cursor = watched.cursor
        end = watched.follower.offset
        level = self._at(header, watched)
        for operation in ended:
            if not self._spans:
                watched.behind = True
                return
            left = redaction.at(operation, header, level) if operation.sampled else None
            if operation.state == DIED or operation.span_id in cursor.dead:
                # judged dead, from an earlier state of the file too: what is known of it now goes, once
                if operation.span_id in cursor.dead_shipped:
                    continue
                if left is None:
                    cursor.dead_shipped.append(operation.span_id)
                yield Item(watched, end, left, watched.resource if left else "")
            elif operation.offset > cursor.spans and left is not None:
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
        level = self._at(header, watched)
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
        self.journal.counted(totals, level, header.project)
        totals.counts_at(operation.end_ns or 0)
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
        cursor.size = watched.follower.end
        cursor.spans = max(cursor.spans, end)
        skipped = watched.follower.known().skipped
        for reason, count in skipped.items():
            if reason != "torn":
                self.journal.counts["lines damaged"] += count
        self._watched.pop(watched.id, None)

    def _unreadable(self, watched: TrackedSegment) -> None:
        """Leave a file alone that is no segment of a format known here; another process looks at it again."""
        self.touched = True
        watched.alive = False
        try:
            size = os.lstat(watched.path).st_size
        except OSError:
            size = 0
        self._refused[watched.path.name] = size
        if watched.cursor.size != size:
            self.journal.counts["segments unreadable"] += 1
            watched.cursor.size = size
        self._watched.pop(watched.id, None)

    def _resource(self, header: Header, watched: TrackedSegment) -> str:
        level = self._at(header, watched)
        return aggregation.resource_key(redaction.resource_at(header.resource, level))

    def change(self, level: str) -> None:
        """Take ``level`` for what is in force from now on."""
        self.level = level
        for watched in self._watched.values():
            watched.resource = ""

    def _at(self, header: Header, watched: TrackedSegment) -> str:
        """Return the detail at which a segment leaves: the narrowest of that recorded, its project's and that in force.

        Where a command's own environment said it, and the segment came after this shipper's settings were taken, that
        counts, as long as nobody narrows.
        """
        limit = watched.limit or names.USAGE
        own = watched.came_at is not None and header.detail_from == ENVIRONMENT
        if own and redaction.narrowest(self.level, watched.came_at or "") == watched.came_at:
            return redaction.narrowest(header.detail, limit)
        return redaction.narrowest(header.detail, self.level, limit)

    def _may_grow(self, segment: Segment, path: Path) -> bool:
        if segment.continued:
            return False
        return segment.alive if segment.alive is not None else self._fresh(path)

    def _fresh(self, path: Path) -> bool:
        try:
            return time.time() - path.stat().st_mtime < QUIET
        except OSError:
            return False


def read_header(path: Path) -> Header:
    """Return the first line of a segment. Raises :class:`SegmentError`, as :class:`UnreadableError` where that may pass."""
    try:
        with os.fdopen(reader.opened(path), "rb") as file:
            line = file.readline(MAX_HEADER)
    except OSError as error:
        raise UnreadableError(f"{path.name}: {error.strerror or error}") from error
    if not line.endswith(b"\n") and len(line) < path_size(path):
        raise UnreadableError(f"{path.name}: less could be read than there is")
    return decoder.first_line(line.rstrip(b"\n"), path.name)


def headers_in(
    listing: reader.Listing,
) -> Iterator[tuple[Path, os.stat_result, Header | UnreadableError]]:
    """Yield each segment of a listing with its first line, or with why that cannot be read now; what is no segment is left out."""
    for path, known in listing.found:
        header: Header | UnreadableError
        try:
            header = read_header(path)
        except UnreadableError as error:
            header = error
        except SegmentError:
            continue
        yield path, known, header


def header_of(path: Path) -> Header | None:
    """Return the first line of a segment; None where it cannot be read, and where polling will tell what is the matter."""
    try:
        return read_header(path)
    except SegmentError:
        return None


def path_size(path: Path) -> int:
    """Return the size of a file, 0 where it cannot be asked."""
    try:
        return min(path.stat().st_size, MAX_HEADER)
    except OSError:
        return 0


def _ordered(found: list[tuple[Header | None, TrackedSegment]]) -> list[TrackedSegment]:
    """Return what was found at the same time in the order in which it began.

    Segments of one boot are ordered by the clock that nobody sets; boots, and what older versions wrote, by their names.
    """
    first: dict[str, str] = {}
    for header, tracked in found:
        boot = header.boot_id if header is not None and header.since_boot_ns else ""
        first[boot] = min(first.get(boot, tracked.id), tracked.id) if boot else ""

    def key(row: tuple[Header | None, TrackedSegment]) -> tuple[str, int, str]:
        header, tracked = row
        if header is None or not header.boot_id or not header.since_boot_ns:
            return tracked.id, 0, tracked.id
        return first[header.boot_id], header.since_boot_ns, tracked.id

    return [tracked for _, tracked in sorted(found, key=key)]


def _died(watched: TrackedSegment) -> list[Operation]:
    """Return what was open in a process that is gone, and is therefore dead.

    A file that ends before what was read of it once is an earlier state of it: nothing in it has died.
    """
    follower = watched.follower
    if watched.alive or follower.segment is None or follower.offset < watched.cursor.folded:
        return []
    known = len(follower.segment.operations)
    return [
        operation for operation in follower.close().operations[known:] if operation.state == DIED
    ]
