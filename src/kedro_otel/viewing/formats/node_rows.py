"""Nodes as flat rows, one JSON line each: for DuckDB, pandas and whatever else asks questions in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kedro_otel.semconv import names
from kedro_otel.viewing.model import outcome
from kedro_otel.viewing.model.phases import totals
from kedro_otel.viewing.model.summary import of_trace
from kedro_otel.viewing.text import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedro_otel.viewing.model.trace import Span, Trace


def rows(trace: Trace) -> Iterator[dict[str, Any]]:
    """Yield a row for each node of the trace's run; every row has the same keys.

    ``start`` is ISO 8601 in UTC, durations are seconds. What was not recorded is None.
    """
    run = of_trace(trace)
    about = {
        "project": run.project or None,
        "pipeline": run.pipeline or None,
        "runner": run.runner or None,
        "environment": run.environment or None,
        "run_id": run.run_id or None,
        "trace_id": run.trace_id,
        "run_outcome": run.outcome,
    }
    inside = set((trace.run or trace.root).walk())
    for span in trace.spans(names.NODE):
        if span in inside:
            yield about | _row(span)


def _row(span: Span) -> dict[str, Any]:
    operation, spent = span.operation, totals(span)
    known = operation.attributes
    return {
        "node": known.get(names.NODE_NAME, operation.name),
        "namespace": known.get(names.NODE_NAMESPACE),
        "tags": known.get(names.NODE_TAGS, []),
        "inputs": known.get(names.NODE_INPUTS, []),
        "outputs": known.get(names.NODE_OUTPUTS, []),
        "outcome": outcome.word(operation),
        "error_type": known.get(names.ERROR_TYPE) if operation.error else None,
        "start": timestamp(operation.start_ns),
        "duration_seconds": span.duration_ns / 1e9,
        "load_seconds": spent.load_ns / 1e9,
        "compute_seconds": spent.compute_ns / 1e9,
        "save_seconds": spent.save_ns / 1e9,
        "hooks_seconds": spent.hooks_ns / 1e9,
        "cpu_seconds": known.get(names.NODE_CPU),
        "memory_peak_bytes": known.get(names.NODE_PEAK),
        "span_id": operation.span_id,
        "pid": span.header.pid,
    }
