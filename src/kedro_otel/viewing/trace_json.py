"""A trace as plain data: what ``kedro otel show --json`` prints. Nothing is folded, nothing left out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from kedro_otel.semconv import names
from kedro_otel.viewing.model import outcome
from kedro_otel.viewing.model.critical_path import critical_path
from kedro_otel.viewing.model.not_run import not_run, resume_command
from kedro_otel.viewing.model.phases import totals
from kedro_otel.viewing.model.summary import of_trace
from kedro_otel.viewing.model.trace import node_count
from kedro_otel.viewing.text import timestamp

if TYPE_CHECKING:
    from kedro_otel.recording.model import Value
    from kedro_otel.viewing.model.trace import Span, Trace


def document(trace: Trace) -> dict[str, Any]:
    """Return a dictionary ready for JSON: the run as a whole, its failures, its critical path, and every span, parents first."""
    run = trace.run
    path = critical_path(
        [child for child in (run or trace.root).children if child.operation.operation == names.NODE]
    )
    critical = {id(node) for node in path.nodes}
    return {
        **of_trace(trace).plain(),
        "what": outcome.title(trace.root.operation),
        "sentence": outcome.sentence(trace),
        "nodes_done": node_count(trace).done,
        "nodes_not_run": [node.name for node in not_run(trace)],
        "resume_command": resume_command(trace) or None,
        "failures": [
            {
                "span_id": one.span.operation.span_id,
                "name": one.span.operation.name,
                "type": one.type,
                "where": one.where,
                "message": one.message,
            }
            for one in outcome.failures(trace)
        ],
        "critical_path": {
            "duration_seconds": path.duration_ns / 1e9,
            "nodes": [node.operation.attributes.get(names.NODE_NAME) for node in path.nodes],
        },
        "resource": {key: finite(value) for key, value in trace.root.header.resource.items()},
        "skipped_lines": sum(sum(segment.skipped.values()) for segment in trace.segments),
        "lost": sum(sum(segment.lost.values()) for segment in trace.segments),
        "spans": [_span(span, critical) for span in trace.root.walk()],
    }


def _span(span: Span, critical: set[int]) -> dict[str, Any]:
    operation = span.operation
    found: dict[str, Any] = {
        "operation": operation.operation,
        "name": operation.name,
        "span_id": operation.span_id,
        "parent_span_id": span.parent.operation.span_id
        if span.parent
        else (operation.parent_id or None),
        "start": timestamp(operation.start_ns),
        "duration_seconds": span.duration_ns / 1e9,
        "state": operation.state,
        "error": operation.error,
        "pid": span.header.pid,
        "attributes": {key: finite(value) for key, value in operation.attributes.items()},
    }
    if operation.operation == names.NODE:
        spent = totals(span)
        found |= {
            "load_seconds": spent.load_ns / 1e9,
            "compute_seconds": spent.compute_ns / 1e9,
            "save_seconds": spent.save_ns / 1e9,
            "hooks_seconds": spent.hooks_ns / 1e9,
            "critical": id(span) in critical,
        }
    return found


def finite(value: Value) -> Value:
    """Return an attribute for JSON, which has no NaN and no infinity: those are words."""
    if isinstance(value, list):
        return [finite(item) for item in value]
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
