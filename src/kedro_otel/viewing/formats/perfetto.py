"""A trace in the Trace Event Format, which ui.perfetto.dev, chrome://tracing and Speedscope open.

Source: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU (its JSON object format).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kedro_otel.semconv import names
from kedro_otel.viewing.model import outcome
from kedro_otel.viewing.trace_json import finite

if TYPE_CHECKING:
    from kedro_otel.viewing.model.trace import Span, Trace

_MAIN: Final = "main"
_BESIDE: Final = "beside"
_ARROW: Final = {"name": "data", "cat": "dataset"}
_PID_LIMIT: Final = 2**22
"""Linux gives no process a higher number, so numbers from here on are free for tracks."""


class _Track:
    """One row of the picture. What is on it is nested, or follows one another."""

    __slots__ = ("number", "open", "pid")

    def __init__(self, pid: int, number: int) -> None:
        self.pid = pid
        self.number = number
        self.open: list[Span] = []

    def takes(self, span: Span) -> bool:
        """Return whether a span fits: below its own ancestor, or where nothing else is open."""
        begin = span.operation.start_ns
        while self.open and self.open[-1].end_ns <= begin:
            self.open.pop()
        if not self.open:
            return True
        around = self.open[-1]
        return span.end_ns <= around.end_ns and _is_below(span, around)


class _Tracks:
    """The tracks of every process; a process's first bears its number, each further one a number of its own."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._of: dict[str, list[_Track]] = {}
        self._pids: set[int] = set()
        self._next = _PID_LIMIT

    def place(self, span: Span) -> _Track:
        """Return the track of a span: its parent's where it fits, else the first of its process that has room."""
        tracks = self._of.get(span.header.process)
        if tracks is None:
            tracks = self._of[span.header.process] = [self._begin(span)]
        track = next((track for track in tracks if track.takes(span)), None)
        if track is None:
            track = _Track(tracks[0].pid, self._number())
            self._name("thread_name", track, f"{_BESIDE} {len(tracks)}")
            tracks.append(track)
        track.open.append(span)
        return track

    def _begin(self, span: Span) -> _Track:
        """Begin a process. Two containers may each have a process 1: the second gets another number."""
        pid = span.header.pid
        if pid in self._pids:
            pid = self._number()
        self._pids.add(pid)
        track = _Track(pid, pid)
        what = span.operation.name if span.parent is None else "worker"
        self._name("process_name", track, f"{what} (process {span.header.pid})")
        self._name("thread_name", track, _MAIN)
        return track

    def _number(self) -> int:
        self._next += 1
        return self._next

    def _name(self, what: str, track: _Track, name: str) -> None:
        self.events.append(
            {"ph": "M", "name": what, "pid": track.pid, "tid": track.number, "args": {"name": name}}
        )


def document(trace: Trace) -> dict[str, Any]:
    """Return a dictionary ready for JSON. Times are microseconds after the trace's beginning, with three decimals.

    A process is a process there. Loads, saves and other spans lie inside their node. Which thread ran a node is
    not recorded: what overlaps in one process is laid on tracks beside each other. An arrow leads from the save of
    a dataset to each later load of it.
    """
    began = trace.root.operation.start_ns
    spans = sorted(trace.root.walk(), key=lambda span: span.operation.start_ns)
    tracks = _Tracks()
    out, into = _flows(spans)
    events: list[dict[str, Any]] = []
    for span in spans:
        track = tracks.place(span)
        common = {
            "ts": (span.operation.start_ns - began) / 1000,
            "pid": track.pid,
            "tid": track.number,
        }
        events.append(_slice(span) | common)
        events += [_ARROW | {"ph": "s", "id": number} | common for number in out.get(span, ())]
        if span in into:
            events.append(_ARROW | {"ph": "f", "bp": "e", "id": into[span]} | common)
    events = tracks.events + events
    return {
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {
            "trace_id": trace.trace_id,
            "startTimeUnixNano": str(began),
            "outcome": outcome.of(trace),
            "sentence": outcome.sentence(trace),
        },
    }


def _flows(spans: list[Span]) -> tuple[dict[Span, list[int]], dict[Span, int]]:
    """Return the numbers of the arrows that leave a save, and the one that reaches a load."""
    out: dict[Span, list[int]] = {}
    into: dict[Span, int] = {}
    saved: dict[str, Span] = {}
    for span in spans:
        operation = span.operation
        if operation.operation != names.DATASET:
            continue
        name = str(operation.attributes.get(names.DATASET_NAME, ""))
        if operation.attributes.get(names.DATASET_OPERATION) == "save":
            saved[name] = span
        elif name in saved and saved[name].end_ns <= operation.start_ns:
            into[span] = len(into) + 1
            out.setdefault(saved[name], []).append(into[span])
    return out, into


def _slice(span: Span) -> dict[str, Any]:
    operation = span.operation
    colour = {"cname": "terrible"} if operation.error else {}  # a colour of chrome://tracing
    return {
        "ph": "X",
        "name": operation.name,
        "cat": operation.operation,
        "dur": max(span.duration_ns, 0) / 1000,  # a damaged recording may say anything
        "args": _args(span),
        **colour,
    }


def _args(span: Span) -> dict[str, Any]:
    operation = span.operation
    return {
        "outcome": outcome.word(operation),
        "span_id": operation.span_id,
        "parent_span_id": span.parent.operation.span_id if span.parent else operation.parent_id,
        **{key: finite(value) for key, value in operation.attributes.items()},
    }


def _is_below(span: Span, other: Span) -> bool:
    above = span.parent
    while above is not None and above is not other:
        above = above.parent
    return above is not None
