"""The parts of one run that several processes made: what is recorded here of them, and how the whole went."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kedro_otel.recording.model import DIED, ENDED, OPEN, UNKNOWN, SegmentError
from kedro_otel.recording.reader import listing, read
from kedro_otel.recording.scan import mentions
from kedro_otel.semconv import names

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kedro_otel.recording.model import Operation, Segment
    from kedro_otel.viewing.model.find import Entry

LONGEST_NS = 7 * 24 * 3600 * 10**9
"""A run in parts takes no longer: older recordings are not searched for parts of it."""

_RANK = {ENDED: 3, DIED: 2, OPEN: 1, UNKNOWN: 0}
_OURS = (names.COMMAND, names.RUN, names.NODE)


class Extent(NamedTuple):
    """What is known of a run as a whole.

    Attributes:
        start_ns: When its first process began, in nanoseconds since 1970.
        end_ns: When the last one ended, or last wrote something.
        failed: Whether something of it failed and was not done again.
        error_type: The class of its first failure, or "".
        pipeline: The pipeline's name if all parts have the same, or "".
        parts: How many pipeline runs of single processes it is made of.
        running: Whether a process of it still runs.
        root: Its root span, where `kedro otel finish` recorded one.
    """

    start_ns: int
    end_ns: int
    failed: bool
    error_type: str
    pipeline: str
    parts: int
    running: bool
    root: Operation | None


def segments_of(trace_id: str, folder: Path | None = None, since_ns: int = 0) -> list[Segment]:
    """Return what is recorded of a trace, process by process, in recordings that began at ``since_ns`` or later."""
    return segments_in(trace_id, (path for path, _ in listing(folder, since_ns)))


def around(entry: Entry, folder: Path | None = None) -> list[Segment]:
    """Return what is recorded of the run of which ``entry`` is the newest part."""
    return segments_of(entry.operation.trace_id, folder, entry.operation.start_ns - LONGEST_NS)


def segments_in(trace_id: str, paths: Iterable[Path]) -> list[Segment]:
    """Return what segments hold of a trace; what cannot be read is left out."""
    found: list[Segment] = []
    for path in paths:
        try:
            if mentions(path, trace_id):
                found.append(read(path))
        except SegmentError:
            continue
    return found


def extent(trace_id: str, segments: list[Segment]) -> Extent | None:
    """Return the extent and outcome of the run with this trace, or None where nothing of it is known.

    Args:
        trace_id: The trace that follows from the run's key.
        segments: What is recorded of it.
    """
    known: dict[str, tuple[Operation, int]] = {}
    for segment in segments:
        for one in segment.operations:
            if one.trace_id != trace_id or one.operation not in _OURS:
                continue
            before = known.get(one.span_id)
            if before is None or _RANK[one.state] > _RANK[before[0].state]:
                known[one.span_id] = (one, one.end_ns or max(segment.last_ns, one.start_ns))
    if not known:
        return None
    operations = [one for one, _ in known.values()]
    around = {one.parent_id for one in operations if one.operation == names.COMMAND}
    running = any(
        one.trace_id == trace_id and one.state == OPEN and segment.alive
        for segment in segments
        for one in segment.operations
    )
    first = _failure(operations)
    pipelines = {str(one.attributes.get(names.PIPELINE_NAME, "")) for one in _runs(operations)}
    return Extent(
        min(one.start_ns for one in operations),
        max(end_ns for _, end_ns in known.values()),
        first is not None,
        _error_type(first) if first is not None else "",
        pipelines.pop() if len(pipelines) == 1 else "",
        sum(one.operation == names.RUN and one.span_id not in around for one in operations),
        running,
        next((one for one in _runs(operations) if one.span_id in around), None),
    )


def _failure(operations: list[Operation]) -> Operation | None:
    """Return what failed first and was not done again.

    Of the tries of a node, or of an orchestrator's task, the last counts. A command or run that
    failed because of a node is judged by that node.
    """
    last: dict[tuple[str, str], Operation] = {}
    by_id = {one.span_id: one for one in operations}
    explained: set[str] = set()
    for one in sorted(operations, key=lambda one: one.start_ns):
        name = one.attributes.get(names.NODE_NAME) or one.attributes.get(names.TASK_NAME)
        last[one.operation, str(name or one.span_id)] = one
        if _bad(one):
            above = by_id.get(one.parent_id)
            while above is not None and above.span_id not in explained:
                explained.add(above.span_id)
                above = by_id.get(above.parent_id)
    bad = [one for one in last.values() if _bad(one) and one.span_id not in explained]
    return min(bad, key=lambda one: one.end_ns or one.start_ns, default=None)


def _bad(operation: Operation) -> bool:
    return operation.error or operation.state != ENDED


def _runs(operations: list[Operation]) -> list[Operation]:
    return [one for one in operations if one.operation == names.RUN]


def _error_type(operation: Operation) -> str:
    if operation.state != ENDED:
        return names.PROCESS_DIED
    return str(operation.attributes.get(names.ERROR_TYPE, "")) or names.OTHER
