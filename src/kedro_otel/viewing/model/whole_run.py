"""One trace of all parts of a run that several processes made, and where its time went."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from kedro_otel.recording.model import ENDED, OPEN, Operation, Segment, SegmentError
from kedro_otel.recording.scan import glance
from kedro_otel.semconv import names
from kedro_otel.viewing.model import run_parts
from kedro_otel.viewing.model.find import NotFoundError, entries_of
from kedro_otel.viewing.model.trace import assemble

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from kedro_otel.viewing.model.find import Entry
    from kedro_otel.viewing.model.trace import Span, Trace


_NOBODY: Final = "f" * 16
"""Id of a root that is drawn around parts which have no parent."""


class Shares(NamedTuple):
    """Where the time of a run went, in nanoseconds: the three add up to its extent.

    Attributes:
        nodes_ns: At least one node ran.
        starting_ns: None did, and at least one process of the run did: Python and Kedro start or end.
        waiting_ns: No process did.
    """

    nodes_ns: int
    starting_ns: int
    waiting_ns: int


def segments_below(trace_id: str, places: Iterable[Path]) -> list[Segment]:
    """Return what files and folders, with all folders below, hold of a trace."""
    return run_parts.segments_in(trace_id, _paths(places))


def newest_below(run: str | None, places: Iterable[Path]) -> Trace:
    """Return the newest run that files and folders, with all folders below, hold, with all its parts.

    Args:
        run: Kedro's id of the run, or the beginning of its trace id; None for any.
        places: The files and folders.

    Raises:
        NotFoundError: No such run is in them.
    """
    paths = list(_paths(places))
    found = [
        entry
        for path in paths
        for entry in _entries(path)
        if entry.run and (not run or run == entry.run_id or entry.run.trace_id.startswith(run))
    ]
    if not found:
        which = f"the run {run}" if run else "a run"
        raise NotFoundError(f"nothing of {which} is recorded in what --from names")
    newest = max(found, key=lambda one: one.operation.start_ns)
    segments = run_parts.segments_in(newest.operation.trace_id, paths)
    together = _together(newest, segments)
    return together or assemble(segments, newest.operation, time.time_ns())


def _paths(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        yield from sorted(place.rglob("*.jsonl")) if place.is_dir() else [place]


def _entries(path: Path) -> list[Entry]:
    try:
        return entries_of(glance(path))
    except SegmentError:
        return []


def of_entry(entry: Entry, folder: Path | None = None) -> Trace | None:
    """Return the trace of all parts of the run of which ``entry`` is one, None where no other part is recorded here."""
    return _together(entry, run_parts.around(entry, folder))


def _together(entry: Entry, segments: list[Segment]) -> Trace | None:
    trace_id = entry.operation.trace_id
    found = run_parts.extent(trace_id, segments)
    if found is None or found.parts < 2:
        return None
    return whole(trace_id, entry.outermost.parent_id or _NOBODY, segments)


def whole(trace_id: str, root_id: str, segments: list[Segment]) -> Trace:
    """Return the trace of all parts below one root.

    Args:
        trace_id: The trace that follows from the run's key.
        root_id: The root span that follows from it.
        segments: What is recorded of it.

    Raises:
        NotFoundError: Nothing of it is recorded.
    """
    known = [one for part in segments for one in part.operations if one.trace_id == trace_id]
    root = next((one for one in known if one.span_id == root_id), None)
    recorded = root is not None
    if root is None:
        root = _root(trace_id, root_id, segments)
        made = Segment(segments[0].path, segments[0].header, Counter(), Counter())
        made.operations, made.alive = [root], root.state == OPEN
        segments = [*segments, made]
    ids = {one.span_id for one in known}
    for one in known:
        if one is not root and one.parent_id not in ids:
            one.parent_id = (
                root_id  # also what an orchestrator's span, not recorded here, is around
            )
    trace = assemble(segments, root, time.time_ns())
    trace.root_recorded = recorded
    return trace


def shares(trace: Trace) -> Shares:
    """Return where the time of the trace's root went."""
    root = trace.root
    nodes = _covered(trace.spans(names.NODE), root)
    processes = [
        one for one in trace.spans(names.COMMAND, names.RUN, names.NODE) if one is not root
    ]
    running = _covered(processes, root)
    return Shares(nodes, running - nodes, root.duration_ns - running)


def _root(trace_id: str, root_id: str, segments: list[Segment]) -> Operation:
    """Return a root span of our own around all parts."""
    found = run_parts.extent(trace_id, segments)
    if found is None:
        raise NotFoundError(
            "no part of this run is recorded here: bring its recordings together and name them with --from"
        )
    alive = found.running
    return Operation(
        names.RUN,
        trace_id,
        root_id,
        "",
        f"run {found.pipeline or 'in parts'}",
        found.start_ns,
        end_ns=None if alive else found.end_ns,
        error=found.failed and not alive,
        state=OPEN if alive else ENDED,
        attributes={names.ERROR_TYPE: found.error_type} if found.failed and not alive else {},
    )


def _covered(spans: Iterable[Span], root: Span) -> int:
    """Return for how long, within the root's time, at least one of the spans ran."""
    covered, reached = 0, root.operation.start_ns
    for begin, end in sorted(_times(spans, root)):
        covered += max(end - max(begin, reached), 0)
        reached = max(reached, end)
    return covered


def _times(spans: Iterable[Span], root: Span) -> Iterator[tuple[int, int]]:
    for one in spans:
        begin = max(one.operation.start_ns, root.operation.start_ns)
        yield begin, min(one.end_ns, root.end_ns)
