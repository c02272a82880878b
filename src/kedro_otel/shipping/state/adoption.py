"""What waits for the same receiver with other credentials: it goes with the present ones where a person says so.

A renewed token makes another destination, since nobody can tell it from somebody else's. ``kedro otel ship`` takes over what
an older version of this package recorded, which did not know credentials; ``kedro otel ship --all`` what waits for the
receiver with whatever credentials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedro_otel.recording import reader
from kedro_otel.recording.model import UnreadableError
from kedro_otel.recording.writer import private_folder
from kedro_otel.shipping.process.lock import Lock
from kedro_otel.shipping.state import destination_paths, journal
from kedro_otel.shipping.state.segment_feed import OURS, headers_in

if TYPE_CHECKING:
    from kedro_otel.config.destination import Destination
    from kedro_otel.shipping.state.journal import Journal


def others(target: Destination) -> list[str]:
    """Return the ids of the destinations that have the receiver of ``target`` and other credentials."""
    return [
        identifier
        for identifier, machine, path in destination_paths.journals()
        if identifier != target.id
        and machine == destination_paths.sender()
        and journal.load(path).address == destination_paths.receiver(target)
    ]


def adopt(target: Destination, identifiers: list[str]) -> list[str]:
    """Let ``target`` go on where other destinations are; return the ids of those that are being sent to just now.

    The caller holds the lock of ``target``. What is taken over is the recordings of now: later ones of those destinations
    stay theirs.

    Raises:
        OSError: A journal cannot be read or written.
    """
    waiting = _recorded(identifiers)
    busy = []
    for identifier in identifiers:
        where = destination_paths.of(identifier)
        if identifier == target.id or not (waiting[identifier] or where.journal.exists()):
            continue
        private_folder(where.folder)
        lock = Lock(where.lock)
        if not lock.take(1.0):
            busy.append(identifier)
            continue
        try:
            _move(target, waiting[identifier], journal.take(where.journal))
        finally:
            lock.release()
    return busy


def _move(target: Destination, recorded: list[str], theirs: Journal) -> None:
    """Move what waits from one journal to that of ``target``: what is given is taken first, so that nothing is lost."""
    segments = [one for one in recorded if not _finished(theirs, one)]
    if not segments and not any(totals.pending for totals in theirs.streams()):
        return
    mine = journal.take(destination_paths.of(target.id).journal)
    mine.address = destination_paths.receiver(target)
    mine.adopt(segments, theirs)
    mine.commit()
    theirs.give(segments)
    theirs.commit()


def _finished(found: Journal, segment: str) -> bool:
    cursor = found.segments.get(segment)
    if cursor is None:
        return segment in found.gone
    return cursor.done or cursor.size == journal.NOT_OURS


def _recorded(identifiers: list[str]) -> dict[str, list[str]]:
    """Return the segments of each destination that were recorded on this machine. Raises OSError where one cannot be read."""
    found: dict[str, list[str]] = {identifier: [] for identifier in identifiers}
    for path, _, header in headers_in(reader.look()):
        if isinstance(header, UnreadableError):
            raise OSError(str(header)) from header
        if (
            header.destination in found
            and header.owner == OURS
            and destination_paths.mine(header.machine_id)
        ):
            found[header.destination].append(header.segment or path.stem)
    return found
