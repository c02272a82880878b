"""The log lines of a run while they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kedro_otel.private.reader import LogFollower
from kedro_otel.semconv import names

if TYPE_CHECKING:
    from pathlib import Path

    from kedro_otel.private.reader import LogLine
    from kedro_otel.viewing.model.trace import Span, Trace


class NewLine(NamedTuple):
    """A log line and the node or run that it belongs to; ``left_out`` is how many before it are not kept."""

    span: Span
    line: LogLine
    left_out: int


class LiveLogs:
    """What the runs and nodes of a trace log; of one node only where ``node`` is a node's name."""

    def __init__(self, node: str = "") -> None:
        self._node = node
        self._followers: dict[Path, LogFollower] = {}
        self._waiting: list[tuple[str, LogLine]] = []
        self._last: dict[str, int] = {}

    def look(self, trace: Trace) -> list[NewLine]:
        """Return the lines since the last call, by time; those of a node that ``trace`` does not have yet come later."""
        found = self._waiting
        for segment in trace.segments:
            if segment.path not in self._followers:
                self._followers[segment.path] = LogFollower(segment.path)
            found += self._followers[segment.path].poll()
        spans = {span.operation.span_id: span for span in trace.spans(names.RUN, names.NODE)}
        self._waiting = [one for one in found if one[0] not in spans]
        fresh = []
        for span_id, line in sorted(found, key=lambda one: one[1].time):
            span = spans.get(span_id)
            if span is not None and self._wanted(span):
                left_out = line.number - self._last.get(span_id, 0) - 1
                self._last[span_id] = line.number
                fresh.append(NewLine(span, line, max(left_out, 0)))
        return fresh

    def _wanted(self, span: Span) -> bool:
        operation = span.operation
        return self._node in ("", operation.attributes.get(names.NODE_NAME), operation.name)
