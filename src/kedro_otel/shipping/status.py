"""What the journals say, for ``kedro otel status``: per receiver what was sent, what waits, what was refused, and why."""

from __future__ import annotations

from typing import Any, Final

from kedro_otel.recording import reader
from kedro_otel.shipping.process import lock
from kedro_otel.shipping.state import destination_paths, journal
from kedro_otel.shipping.state.journal import OK, Journal
from kedro_otel.shipping.state.segment_feed import OURS, header_of

_LOST: Final = (
    "spans refused",
    "points refused",
    "metrics refused",
    "recordings dropped unsent",
    "segments unreadable",
    "journals damaged",
    "resources forgotten",
)


def summary() -> list[dict[str, Any]]:
    """Return one row per journal: JSON, without credentials."""
    listed = journals()
    waiting = _waiting(listed)
    return [
        {
            "destination": identifier,
            "address": found.address,
            "machine": "this one" if destination_paths.mine(machine) else machine,
            "shipping now": lock.held(
                destination_paths.DestinationPaths(
                    destination_paths.of(identifier).folder, machine
                ).lock
            ),
            "sent": {word: count for word, count in found.counts.items() if word not in _LOST},
            "waiting recordings": waiting.get((identifier, machine), 0),
            "counters waiting": any(totals.pending for totals in found.totals.values()),
            "held": {
                name: one.why or one.state for name, one in found.signals.items() if one.state != OK
            },
            "lost": {word: found.counts[word] for word in _LOST if found.counts[word]},
        }
        for identifier, machine, found in listed
    ]


def journals() -> list[tuple[str, str, Journal]]:
    """Return every journal here with its destination's id and its machine."""
    return [
        (identifier, machine, journal.load(path))
        for identifier, machine, path in destination_paths.journals()
    ]


def _waiting(listed: list[tuple[str, str, Journal]]) -> dict[tuple[str, str], int]:
    """Count the recordings that are not delivered yet, by destination and machine."""
    by_place = {(identifier, machine): found for identifier, machine, found in listed}
    counts: dict[tuple[str, str], int] = {}
    for path in reader.segments():
        header = header_of(path)
        if header is None or header.destination is None or header.owner != OURS:
            continue
        machine = (
            destination_paths.sender()
            if destination_paths.mine(header.machine_id)
            else header.machine_id
        )
        found = by_place.get((header.destination, machine))
        cursor = found.segments.get(path.stem) if found else None
        if cursor is None or cursor.size == journal.UNDONE:
            counts[header.destination, machine] = counts.get((header.destination, machine), 0) + 1
    return counts
