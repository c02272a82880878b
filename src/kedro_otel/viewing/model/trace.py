"""One trace, put together from the segments of every process that had a part in it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

from kedro_otel.recording.model import DIED, ENDED, OPEN, UNKNOWN, SegmentError
from kedro_otel.recording.reader import listing, read
from kedro_otel.recording.scan import mentions
from kedro_otel.semconv import names
from kedro_otel.viewing.model.find import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from kedro_otel.private.reader import LogLines, PlannedNode
    from kedro_otel.recording.model import Header, Operation, Segment
    from kedro_otel.viewing.model.find import Entry

_SLACK_NS: Final = 2 * 10**9
"""File systems and clocks are this exact: a file is looked into when it was written to this long around a run."""

_RANK: Final = {ENDED: 3, DIED: 2, OPEN: 1, UNKNOWN: 0}
"""What to believe where two segments have one operation."""


class Span:
    """An operation in its tree: ``end_ns`` is always known here, being now (or the last sign of life) where it has not ended."""

    __slots__ = ("children", "end_ns", "header", "operation", "parent")

    def __init__(self, operation: Operation, header: Header, end_ns: int) -> None:
        """Begin alone."""
        self.operation = operation
        self.header = header
        self.end_ns = end_ns
        self.parent: Span | None = None
        self.children: list[Span] = []

    @property
    def duration_ns(self) -> int:
        """How long it took, in nanoseconds, or has taken so far."""
        return self.end_ns - self.operation.start_ns

    def walk(self) -> Iterator[Span]:
        """Yield this span and all below it, parents first, by start."""
        waiting = [self]
        while waiting:
            span = waiting.pop()
            yield span
            waiting.extend(reversed(span.children))


class Trace:
    """What one command, or one run without a command, did in all its processes.

    ``root`` is the outermost operation, ``run`` the pipeline run asked for (None if there is none), ``segments`` those that hold a
    part of it, ``now_ns`` when it was read. ``logs`` are the log lines by span id, ``planned`` the nodes of each run's pipeline by
    the run's span id: both are empty until :mod:`~kedro_otel.viewing.model.private_facts` adds them. ``root_recorded`` is None but for a run
    that several processes made: then it says whether its root span is recorded, or drawn around its parts.
    """

    __slots__ = (
        "_by_kind",
        "logs",
        "now_ns",
        "planned",
        "root",
        "root_recorded",
        "run",
        "segments",
    )

    def __init__(self, root: Span, run: Span | None, segments: list[Segment], now_ns: int) -> None:
        """Hold what was put together."""
        self.root = root
        self.root_recorded: bool | None = None
        self.run = run
        self.segments = segments
        self.now_ns = now_ns
        self.logs: dict[str, LogLines] = {}
        self.planned: dict[str, list[PlannedNode]] = {}
        self._by_kind: dict[str, list[Span]] = {}
        for span in root.walk():
            self._by_kind.setdefault(span.operation.operation, []).append(span)

    @property
    def trace_id(self) -> str:
        """32 hex digits."""
        return self.root.operation.trace_id

    @property
    def alive(self) -> bool:
        """Whether something in it still runs."""
        return any(
            span.operation.state == OPEN
            for span in self.spans(names.COMMAND, names.RUN, names.NODE)
        )

    def spans(self, *operations: str) -> list[Span]:
        """Return the spans of these kinds, kind by kind, each parents first and by start."""
        return [span for operation in operations for span in self._by_kind.get(operation, ())]


class NodeCount(NamedTuple):
    """How many nodes of a run completed, of how many it has."""

    done: int
    total: int


def node_count(trace: Trace) -> NodeCount:
    """Return the nodes of the trace's run that completed, and all that the run was to have.

    All is what the run said at its start, or what was recorded where that is more or it said nothing.
    """
    run = trace.run or trace.root
    nodes = [child for child in run.children if child.operation.operation == names.NODE]
    if not nodes and run is trace.root:  # a run in parts: its nodes are below those
        nodes = trace.spans(names.NODE)
    done = sum(node.operation.ok for node in nodes)
    planned = run.operation.attributes.get(names.RUN_NODES)
    return NodeCount(done, max(len(nodes), planned if isinstance(planned, int) else 0))


def pages(trace: Trace) -> list[tuple[str, str]]:
    """Return the pages elsewhere that belong to the trace: a label and an HTTP address each."""
    run = trace.run.operation.attributes if trace.run else {}
    ci_run = trace.root.operation.attributes.get(names.CI_RUN_URL) or run.get(names.CI_RUN_URL)
    found = (("Task", run.get(names.TASK_URL)), ("CI run", ci_run))
    return [
        (label, str(url)) for label, url in found if str(url).startswith(("http://", "https://"))
    ]


def load(entry: Entry, folder: Path | None = None, now_ns: int | None = None) -> Trace:
    """Return the whole trace of an entry. Raises :class:`NotFoundError` where its recording has gone meanwhile."""
    now_ns = time.time_ns() if now_ns is None else now_ns
    outermost = entry.outermost
    begin, end = outermost.start_ns, outermost.end_ns if outermost.state == ENDED else None
    segments: dict[Path, Segment] = {}
    while True:
        for path in _written_between(folder, begin, end):
            if path not in segments and (
                path == entry.segment.path or mentions(path, outermost.trace_id)
            ):
                try:
                    segments[path] = read(path)
                except SegmentError:
                    continue
        trace = assemble(segments.values(), entry.operation, now_ns)
        root = trace.root.operation
        if root.start_ns >= begin and (
            end is None or (root.state == ENDED and (root.end_ns or 0) <= end)
        ):
            return trace
        # What was found is part of something larger, so its other processes are to be looked for in that one's time.
        begin, end = (
            min(begin, root.start_ns),
            (max(end or 0, root.end_ns or 0) if root.state == ENDED else None),
        )


def assemble(segments: Iterable[Segment], wanted: Operation, now_ns: int) -> Trace:
    """Return the tree around one operation of a trace: from its outermost recorded ancestor down.

    Raises :class:`NotFoundError` where the operation is in none of the segments.
    """
    segments = list(segments)
    spans: dict[str, Span] = {}
    for segment in segments:
        for operation in segment.operations:
            if operation.trace_id == wanted.trace_id:
                _judge(operation, segment)
                known = spans.get(operation.span_id)
                if known is None or _RANK[operation.state] > _RANK[known.operation.state]:
                    spans[operation.span_id] = Span(
                        operation, segment.header, _end(operation, segment, now_ns)
                    )
    target = spans.get(wanted.span_id)
    if target is None:
        raise NotFoundError(
            "its recording has just been removed: `kedro otel list` shows what there is"
        )
    _connect(spans)
    root = _top(target)
    for span in root.walk():
        span.children.sort(key=lambda child: (child.operation.start_ns, child.end_ns))
    has = {span.header.segment for span in root.walk()}
    return Trace(
        root,
        target if target.operation.operation == names.RUN else None,
        [segment for segment in segments if segment.header.segment in has],
        now_ns,
    )


def _judge(operation: Operation, segment: Segment) -> None:
    """Believe that something runs only where its process does: a segment may be continued by one that is lost."""
    if operation.state == OPEN and not segment.alive:
        operation.state = UNKNOWN


def _end(operation: Operation, segment: Segment, now_ns: int) -> int:
    if operation.end_ns is not None:
        return operation.end_ns
    return max(operation.start_ns, now_ns if operation.state == OPEN else segment.last_ns)


def _connect(spans: dict[str, Span]) -> None:
    """Give each span its parent. What belongs to a lost parent goes under the run that it fell into, so that nothing is left out."""
    for span in spans.values():
        span.parent = spans.get(span.operation.parent_id)
    _cut_circles(spans)
    runs = [
        span for span in spans.values() if span.operation.operation in (names.RUN, names.COMMAND)
    ]
    for span in [
        span
        for span in spans.values()
        if span.parent is None and span.operation.operation not in (names.COMMAND, names.RUN)
    ]:
        around = [
            run for run in runs if run.operation.start_ns <= span.operation.start_ns <= run.end_ns
        ]
        span.parent = min(around, key=lambda run: run.duration_ns, default=runs[0])
    for span in spans.values():
        if span.parent is not None:
            span.parent.children.append(span)


def _cut_circles(spans: dict[str, Span]) -> None:
    """Parents that a damaged or hostile recording lays in a circle: let the last link go."""
    safe: set[int] = set()
    for span in spans.values():
        path: set[int] = set()
        at: Span | None = span
        while at is not None and id(at) not in safe:
            path.add(id(at))
            if at.parent is not None and id(at.parent) in path:
                at.parent = None
            at = at.parent
        safe |= path


def _top(span: Span) -> Span:
    while span.parent is not None:
        span = span.parent
    return span


def _written_between(folder: Path | None, begin: int, end: int | None) -> list[Path]:
    """Return the segments of which a line may have been written in a time: begun before its end, last written after its beginning."""
    return [
        path
        for path, known in listing(folder)
        if known.st_mtime_ns >= begin - _SLACK_NS
        and (end is None or int(path.name.partition("-")[0]) <= end + _SLACK_NS)
    ]
