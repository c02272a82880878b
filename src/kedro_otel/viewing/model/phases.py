"""What a node did when: load, compute, save."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from kedro_otel.semconv import names

if TYPE_CHECKING:
    from kedro_otel.viewing.model.trace import Span

LOAD: Final = "load"
COMPUTE: Final = "compute"
SAVE: Final = "save"


class Phase(NamedTuple):
    """A stretch of a node's time, in nanoseconds since the epoch."""

    kind: str
    begin_ns: int
    end_ns: int


class Totals(NamedTuple):
    """Nanoseconds that a node spent in each phase."""

    load_ns: int
    compute_ns: int
    save_ns: int


def phases(node: Span) -> list[Phase]:
    """Return the node's whole time as compute, with its loads and saves laid over it in the order in which they began.

    Where no dataset operation was recorded, the node's own figures place them at its beginning and end.
    """
    begin, end = node.operation.start_ns, node.end_ns
    found = [Phase(COMPUTE, begin, end)]
    for child in node.children:
        kind = child.operation.attributes.get(names.DATASET_OPERATION)
        if child.operation.operation == names.DATASET and kind in (LOAD, SAVE):
            found.append(Phase(str(kind), child.operation.start_ns, child.end_ns))
    if len(found) == 1:
        told = totals(node)
        if told.load_ns:
            found.append(Phase(LOAD, begin, min(begin + told.load_ns, end)))
        if told.save_ns:
            found.append(Phase(SAVE, max(end - told.save_ns, begin), end))
    return found


def totals(node: Span) -> Totals:
    """Return how long the node spent in each phase: as it was measured, else (it has not ended) as its recorded loads and saves tell."""
    measured = [
        node.operation.attributes.get(key)
        for key in (names.NODE_LOAD, names.NODE_COMPUTE, names.NODE_SAVE)
    ]
    if any(isinstance(seconds, int | float) for seconds in measured):
        load, compute, save = (
            round(seconds * 1e9) if isinstance(seconds, int | float) and 0 <= seconds < 1e9 else 0
            for seconds in measured
        )
        return Totals(load, compute, save)
    spent = {LOAD: 0, SAVE: 0}
    for child in node.children:
        kind = child.operation.attributes.get(names.DATASET_OPERATION)
        if child.operation.operation == names.DATASET and kind in (LOAD, SAVE):
            spent[str(kind)] += child.duration_ns
    return Totals(spent[LOAD], max(node.duration_ns - spent[LOAD] - spent[SAVE], 0), spent[SAVE])
