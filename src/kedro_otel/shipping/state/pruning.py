"""Keeps the recordings within their bounds, once everything in them is counted.

Folding needs no network, so a receiver that stays away costs traces in the end, never a count.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kedro_otel.config import files, paths
from kedro_otel.recording import reader, retention
from kedro_otel.recording.model import NewerFormatError, SegmentError, UnreadableError
from kedro_otel.shipping.process.lock import Lock
from kedro_otel.shipping.state import destination_paths, journal
from kedro_otel.shipping.state.journal import NOT_OURS, UNDONE, Cursor, Journal
from kedro_otel.shipping.state.segment_feed import OURS, SegmentFeed, header_of, read_header

if TYPE_CHECKING:
    from kedro_otel.config.settings import Settings

UNSENT: Final = "recordings dropped unsent"

CROWDED: Final = 2
"""Times the limits on bytes and number, beyond which what another machine has not counted yet goes too."""

KEEP_DAYS: Final = 400
"""Days since its last change for which a journal that is not in use is kept: what it remembers may come back."""

MAX_JOURNALS: Final = 16
"""Journals of other machines kept for one destination."""

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
        for identifier in _all_of(folder) - journals.keys():
            opened = stack.enter_context(_opened(identifier))
            if opened is not None:
                journals[identifier] = opened
        for identifier, found in list(journals.items()):
            unread = _fold(found, identifier, known)
            found.commit(twice=True)  # counted before it goes, also by the commit before the last
            if unread:
                del journals[identifier]  # what could not be read is not counted
        return _remove(folder, limits, journals)


def _remove(
    folder: Path, limits: retention.Limits, journals: Mapping[str, Journal]
) -> Counter[str]:
    """Remove what is beyond the limits and counted; return how many segments went, by reason."""
    listed = reader.listing(folder)
    size = sum(found.st_size for _, found in listed)
    crowded = len(listed) > CROWDED * limits.max_segments or size > CROWDED * limits.max_bytes
    removed: list[tuple[Path, str]] = []

    def keep(path: Path) -> bool:
        if _needed(path, journals, limits, crowded=crowded):
            return True
        header = header_of(path)
        removed.append((path, header.segment if header is not None else path.stem))
        return False

    gone = retention.prune(folder, limits, keep)
    for path, identifier in removed:
        if not os.path.lexists(path) and not os.path.lexists(folder / f"{identifier}.jsonl"):
            for found in journals.values():
                found.counts[UNSENT] += _unsent(found, identifier)
                found.deleted(identifier)
    for found in journals.values():
        found.commit()
    return gone


def tidy() -> int:
    """Remove what other machines and former destinations left long ago: journals and all beside them; return how many files went.

    A journal also goes where there are too many, the oldest first: never this machine's, nor one that is in use.
    """
    here = destination_paths.sender()
    now = time.time()
    removed = 0
    used = _destinations(paths.recordings())
    found: dict[Path, list[tuple[float, str]]] = {}
    for identifier, owner, path in destination_paths.journals():
        with contextlib.suppress(OSError):
            found.setdefault(path.parent, []).append((path.stat().st_mtime, owner))
            if owner == here and identifier in used:
                found[path.parent].remove((path.stat().st_mtime, owner))
    for folder, journals in found.items():
        journals.sort(reverse=True)
        for place, (changed, owner) in enumerate(journals):
            days = (now - changed) / _DAY
            if days > KEEP_DAYS or (owner != here and place >= MAX_JOURNALS and days > 1):
                removed += _removed(destination_paths.DestinationPaths(folder, owner))
    return removed


def _removed(where: destination_paths.DestinationPaths) -> int:
    """Remove all files of one machine in a destination's folder, and the folder if it is then empty, unless they are in use."""
    lock = Lock(where.lock)
    number = 0
    with contextlib.suppress(OSError):
        if not lock.take(0.0):
            return 0
        for path in where.folder.iterdir():
            if where.machine in path.name:
                path.unlink()
                number += 1
        where.folder.rmdir()
    lock.release()
    return number


def _exceeded(folder: Path, limits: retention.Limits) -> bool:
    listed = reader.listing(folder)
    oldest = min((known.st_mtime for _, known in listed), default=time.time())
    return (
        len(listed) > limits.max_segments
        or sum(known.st_size for _, known in listed) > limits.max_bytes
        or (time.time() - oldest) / _DAY > limits.max_age_days
    )


def _all_of(folder: Path) -> set[str]:
    """Return the ids of all destinations of this machine: each may have been given segments of another."""
    here = destination_paths.sender()
    ours = {identifier for identifier, owner, _ in destination_paths.journals() if owner == here}
    return _destinations(folder) | ours


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
        files.make_folders(where.folder)
        taken = lock.take(0.0)
    try:
        yield journal.take(where.journal) if taken else None
    except journal.JournalError:
        yield None
    finally:
        lock.release()


def _fold(found: Journal, identifier: str, known: Settings) -> int:
    """Count what is not counted yet; return how many segments could not be read."""
    reading = SegmentFeed(
        found,
        lambda header: (
            found.wants(header, identifier) and destination_paths.mine(header.machine_id)
        ),
        known.value("detail"),
    )
    for _ in reading.round(spans=False):
        pass
    return reading.unread


def _needed(
    path: Path, journals: Mapping[str, Journal], limits: retention.Limits, *, crowded: bool
) -> bool:
    """Return whether a segment is still to be counted, or may be."""
    try:
        known = path.stat()
        young = (time.time() - known.st_mtime) / _DAY <= limits.max_age_days
    except OSError:
        return True
    try:
        header = read_header(path)
    except UnreadableError:
        return True
    except SegmentError as error:
        return isinstance(error, NewerFormatError) and young
    identifier = header.segment or path.stem
    if header.destination is None or header.owner != OURS:
        return False
    found = journals.get(header.destination)
    for one in journals.values():
        if identifier in one.adopted and not _counted(one.segments.get(identifier), known.st_size):
            found = one
    if destination_paths.mine(header.machine_id):
        return found is None or not _known(found, identifier, known.st_size)
    # that machine counts it, if it still exists
    counted = found is not None and _counted(found.elsewhere.get(identifier), known.st_size)
    return young and not counted and not crowded


def _known(found: Journal, identifier: str, size: int) -> bool:
    """Return whether a journal has counted all of a segment, or is not to count it."""
    cursor = found.segments.get(identifier)
    if cursor is None:
        return identifier in found.gone
    return cursor.size == NOT_OURS or _counted(cursor, size)


def _counted(cursor: Cursor | None, size: int) -> bool:
    return cursor is not None and (cursor.size >= 0 or cursor.folded >= size)


def _unsent(found: Journal, identifier: str) -> int:
    """Return 1 if the receiver lacks spans of a segment, else 0."""
    cursor = found.segments.get(identifier)
    if cursor is None or cursor.size != UNDONE:
        return 0
    return int(cursor.spans < cursor.folded or bool(set(cursor.dead) - set(cursor.dead_shipped)))
