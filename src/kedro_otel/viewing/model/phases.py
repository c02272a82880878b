"""What a node did when: load, compute, save, and wait for hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from kedro_otel.recording.model import ENDED
from kedro_otel.semconv import names

if TYPE_CHECKING:
    from kedro_otel.viewing.model.trace import Span

LOAD: Final = "load"
COMPUTE: Final = "compute"
SAVE: Final = "save"
HOOKS: Final = "hooks"

_SHARE: Final = 20
"""Hooks are drawn where they took more than one part in so many of a node's time."""


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
    hooks_ns: int = 0


def phases(node: Span) -> list[Phase]:
    """Return the node's whole time as compute, with its loads and saves laid over it in the order in which they began.

    Where hooks took a part that can be seen, the whole is theirs, and the function's time is laid
    over it where it ended at the latest: when hooks ran before and after it is not recorded. Where
    no dataset operation was recorded, the node's own figures place them at its beginning and end.
    """
    begin, end = node.operation.start_ns, node.end_ns
    spent = totals(node)
    found = [Phase(COMPUTE, begin, end)]
    for child in node.children:
        kind = child.operation.attributes.get(names.DATASET_OPERATION)
        if child.operation.operation == names.DATASET and kind in (LOAD, SAVE):
            found.append(Phase(str(kind), child.operation.start_ns, child.end_ns))
    if len(found) == 1:
        if spent.load_ns:
            found.append(Phase(LOAD, begin, min(begin + spent.load_ns, end)))
        if spent.save_ns:
            found.append(Phase(SAVE, max(end - spent.save_ns, begin), end))
    if spent.hooks_ns * _SHARE > end - begin:
        loaded = max((one.end_ns for one in found[1:] if one.kind == LOAD), default=begin)
        saving = min((one.begin_ns for one in found[1:] if one.kind == SAVE), default=end)
        if spent.compute_ns <= saving - loaded:  # else it computed between its saves, too
            compute = Phase(COMPUTE, saving - spent.compute_ns, saving)
            found[:1] = [Phase(HOOKS, begin, end), compute]
    return found


def totals(node: Span) -> Totals:
    """Return how long the node spent in each phase: as it was measured, else from its recorded loads and saves.

    Of a node that has not ended nobody has measured the hooks; one whose load is under way has
    not computed.
    """
    keys = (names.NODE_LOAD, names.NODE_COMPUTE, names.NODE_SAVE, names.NODE_HOOKS)
    measured = [node.operation.attributes.get(key) for key in keys]
    if any(isinstance(seconds, int | float) for seconds in measured):
        return Totals(
            *(
                round(seconds * 1e9)
                if isinstance(seconds, int | float) and 0 <= seconds < 1e9
                else 0
                for seconds in measured
            )
        )
    spent = {LOAD: 0, SAVE: 0}
    loading = False
    until = 0
    for child in sorted(node.children, key=lambda child: child.operation.start_ns):
        kind = child.operation.attributes.get(names.DATASET_OPERATION)
        if child.operation.operation == names.DATASET and kind in (LOAD, SAVE):
            begin = child.operation.start_ns
            spent[str(kind)] += max(child.end_ns - max(begin, until), 0)  # several may overlap
            until = max(until, child.end_ns)
            loading |= kind == LOAD and child.operation.state != ENDED
    rest = max(node.duration_ns - spent[LOAD] - spent[SAVE], 0)
    return Totals(spent[LOAD], 0 if loading else rest, spent[SAVE], rest if loading else 0)
