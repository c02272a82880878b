"""Keeps the recordings within their bounds, once everything in them is counted.

Folding needs no network, so a receiver that stays away costs traces in the end, never a count.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kedro_otel.config import paths
from kedro_otel.recording import reader, retention
from kedro_otel.shipping.process.lock import Lock
from kedro_otel.shipping.state import destination_paths, journal
from kedro_otel.shipping.state.journal import NOT_OURS, Journal
from kedro_otel.shipping.state.segment_feed import OURS, SegmentFeed, header_of

if TYPE_CHECKING:
    from kedro_otel.config.settings import Settings

UNSENT: Final = "recordings dropped unsent"
_DAY: Final = 86400.0


def prune(known: Settings, held: Mapping[str, Journal] | None = None) -> Counter[str]:
    """Count what is not counted yet, then remove what is beyond the bounds; return how many segments went, by reason.

    For whatever process has time for it, a shipper or a reading command. ``held`` are the journals whose locks the caller
    has, by destination id; the caller commits them. A segment stays, whatever the bounds say, while it cannot be counted
    because a shipper of its destination is at work elsewhere.
    """
    folder = paths.recordings()
    limits = retention.Limits(
        known.value("max_bytes"), known.value("max_age_days"), known.value("max_segments")
    )
    if not _exceeded(folder, limits):
        return Counter()
    with contextlib.ExitStack() as stack:
        journals = dict(held or {})
        for identifier in _destinations(folder) - journals.keys():
            opened = stack.enter_context(_opened(identifier))
            if opened is not None:
                journals[identifier] = opened
        for identifier, found in journals.items():
            _fold(found, identifier, known)
            if identifier not in (held or {}):
                found.commit()  # counted before it goes
        unsent = {
            path: owing
            for path in reader.segments(folder)
            if (owing := _unsent(path, journals)) is not None
        }
        gone = retention.prune(folder, limits, lambda path: _needed(path, journals, limits))
        for path, owing in unsent.items():
            if not path.exists():
                owing.counts[UNSENT] += 1
        for identifier, found in journals.items():
            if identifier not in (held or {}):
                found.commit()
    return gone


def _exceeded(folder: Path, limits: retention.Limits) -> bool:
    listed = reader.listing(folder)
    oldest = min((known.st_mtime for _, known in listed), default=time.time())
    return (
        len(listed) > limits.max_segments
        or sum(known.st_size for _, known in listed) > limits.max_bytes
        or (time.time() - oldest) / _DAY > limits.max_age_days
    )


def _destinations(folder: Path) -> set[str]:
    headers = [header_of(path) for path in reader.segments(folder)]
    return {
        header.destination
        for header in headers
        if header is not None and header.destination is not None and header.owner == OURS
    }


@contextlib.contextmanager
def _opened(identifier: str) -> Iterator[Journal | None]:
    """Open a destination's journal, if no shipper has it."""
    where = destination_paths.of(identifier)
    lock = Lock(where.lock)
    taken = False
    with contextlib.suppress(OSError):
        where.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        taken = lock.take(0.0)
    try:
        yield journal.load(where.journal) if taken else None
    finally:
        lock.release()


def _fold(found: Journal, identifier: str, known: Settings) -> None:
    reading = SegmentFeed(
        found,
        lambda header: (
            header.destination == identifier and destination_paths.mine(header.machine_id)
        ),
        known.value("detail"),
    )
    for _ in reading.round(spans=False):
        pass


def _needed(path: Path, journals: Mapping[str, Journal], limits: retention.Limits) -> bool:
    """Tell whether a segment is still to be counted."""
    header = header_of(path)
    if header is None or header.destination is None or header.owner != OURS:
        return False
    if not destination_paths.mine(header.machine_id):
        return (
            time.time() - path.stat().st_mtime
        ) / _DAY < limits.max_age_days  # that machine counts it, if it still exists
    found = journals.get(header.destination)
    cursor = found.segments.get(path.stem) if found is not None else None
    if cursor is None:
        return True
    return cursor.size != NOT_OURS and cursor.size < 0 and cursor.folded < path.stat().st_size


def _unsent(path: Path, journals: Mapping[str, Journal]) -> Journal | None:
    """Return the journal whose receiver lacks spans of a segment."""
    for found in journals.values():
        cursor = found.segments.get(path.stem)
        if cursor is not None and cursor.size == journal.UNDONE and cursor.spans < cursor.folded:
            return found
    return None
