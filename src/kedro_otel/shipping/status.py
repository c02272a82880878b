"""What the journals say, for ``kedro otel status``: per receiver what was sent, what waits, what was refused, and why."""

from __future__ import annotations

from typing import Any, Final

from kedro_otel.config.destination import METRICS
from kedro_otel.recording import reader
from kedro_otel.recording.model import UnreadableError
from kedro_otel.shipping.process import lock
from kedro_otel.shipping.state import dead_letters, destination_paths, journal
from kedro_otel.shipping.state.journal import OK, Journal, Signal
from kedro_otel.shipping.state.segment_feed import OURS, headers_in
from kedro_otel.shipping.transport import responses

_LOST: Final = (
    "spans refused",
    "points refused",
    "log records refused",
    "metrics refused",
    "recordings dropped unsent",
    "segments unreadable",
    "journals damaged",
    "resources forgotten",
    "lines damaged",
    "recordings taken for counted",
    "counters taken for sent",
    "recordings too old to be told from counted ones",
)
_READING: Final = ("read errors", "journals copied")
"""Counts that are neither of what was sent nor of what was lost."""


def summary() -> list[dict[str, Any]]:
    """Return one row per journal: JSON, without credentials."""
    listed = journals()
    waiting, unread = _waiting(listed)
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
            "sent": {
                word: count
                for word, count in found.counts.items()
                if word not in _LOST and word not in _READING
            },
            "waiting recordings": waiting.get((identifier, machine), 0),
            "recordings that could not be read now": unread,
            "counters waiting": any(totals.pending for totals in found.streams()),
            "notes": {
                **{word: found.counts[word] for word in _READING if found.counts[word]},
                **({"journal": found.note} if found.note else {}),
            },
            "held": {
                name: _why(name, one)
                for name, one in found.signals.items()
                if one.state != OK or one.why  # a partial success has a reason, too
            },
            "refused spans kept": dead_letters.number(
                destination_paths.DestinationPaths(
                    destination_paths.of(identifier).folder, machine
                ).letters
            ),
            "lost": {word: found.counts[word] for word in _LOST if found.counts[word]},
        }
        for identifier, machine, found in listed
    ]


def _why(name: str, signal: Signal) -> str:
    why = signal.why or signal.state
    if name == METRICS and responses.wants_deltas(why):
        return f"{why}. {responses.TAKES_DELTAS}"
    return why


def journals() -> list[tuple[str, str, Journal]]:
    """Return every journal here with its destination's id and its machine."""
    return [
        (identifier, machine, journal.load(path))
        for identifier, machine, path in destination_paths.journals()
    ]


def _waiting(
    listed: list[tuple[str, str, Journal]],
) -> tuple[dict[tuple[str, str], int], int]:
    """Count the recordings that are not delivered yet, by destination and machine, and those that could not be looked at."""
    by_place = {(identifier, machine): found for identifier, machine, found in listed}
    counts: dict[tuple[str, str], int] = {}
    listing = reader.look()
    unread = listing.failed
    for path, _, header in headers_in(listing):
        if isinstance(header, UnreadableError):
            unread += 1
            continue
        if header.destination is None or header.owner != OURS:
            continue
        machine = (
            destination_paths.sender()
            if destination_paths.mine(header.machine_id)
            else header.machine_id
        )
        identifier = header.segment or path.stem
        found = by_place.get((header.destination, machine))
        for (taker, machine_), one in by_place.items():
            if identifier in one.adopted and one.segments[identifier].size == journal.UNDONE:
                counts[taker, machine_] = counts.get((taker, machine_), 0) + 1
        cursor = found.segments.get(identifier) if found else None
        if cursor is None and found is not None and identifier in found.gone:
            continue
        if cursor is None or cursor.size in (journal.UNDONE, journal.TAKEN):
            counts[header.destination, machine] = counts.get((header.destination, machine), 0) + 1
    return counts, unread
