"""The log lines of a trace, by the node or run that logged them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kedro_otel.semconv import names

if TYPE_CHECKING:
    from kedro_otel.private.reader import LogLine, LogLines
    from kedro_otel.viewing.model.trace import Span, Trace


class Logged(NamedTuple):
    """The lines of one span."""

    span: Span
    lines: LogLines


def logged(trace: Trace, node: str = "") -> list[Logged]:
    """Return what the runs and nodes of a trace logged, by their start; only what ``node`` did where that is a node's name."""
    spans = [
        span
        for span in trace.spans(names.RUN, names.NODE)
        if span.operation.span_id in trace.logs
        and (
            not node
            or node in (span.operation.attributes.get(names.NODE_NAME), span.operation.name)
        )
    ]
    spans.sort(key=lambda span: span.operation.start_ns)
    return [Logged(span, trace.logs[span.operation.span_id]) for span in spans]


def lines_of(trace: Trace, failed: Span) -> list[LogLine]:
    """Return the lines of the node that failed, or in which ``failed``, a load or save, did."""
    span: Span | None = failed
    if failed.operation.operation == names.DATASET:
        span = failed.parent
    if span is None or span.operation.operation != names.NODE:
        return []
    return trace.logs.get(span.operation.span_id) or []
