"""OTLP/JSON messages made by hand, as an installation of Kedro would send them."""

from __future__ import annotations

import time

RESOURCE = {
    "attributes": [
        {"key": "service.name", "value": {"stringValue": "kedro"}},
        {"key": "service.instance.id", "value": {"stringValue": "a1"}},
        {"key": "kedro.project.id", "value": {"stringValue": "p1"}},
        {"key": "kedro.ci", "value": {"boolValue": False}},
    ]
}


def span(trace: int) -> dict[str, object]:
    """One OTLP/JSON message with a root span."""
    now = time.time_ns()
    one = {
        "traceId": f"{trace:032x}",
        "spanId": f"{trace:016x}",
        "name": "kedro run",
        "kind": 1,
        "startTimeUnixNano": str(now - 10**9),
        "endTimeUnixNano": str(now),
        "attributes": [{"key": "kedro.command.name", "value": {"stringValue": "run"}}],
        "status": {},
    }
    return {
        "resourceSpans": [
            {
                "resource": RESOURCE,
                "scopeSpans": [{"scope": {"name": "kedro_otel"}, "spans": [one]}],
            }
        ]
    }


def count(number: int, *, at: int) -> dict[str, object]:
    """One OTLP/JSON message with the cumulative counter of commands."""
    point = {
        "asInt": str(number),
        "timeUnixNano": str(at),
        "startTimeUnixNano": str(at - 10**10),
        "attributes": [],
    }
    total = {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": [point]}
    metric = {"name": "kedro.commands", "unit": "{command}", "sum": total}
    return {
        "resourceMetrics": [
            {
                "resource": RESOURCE,
                "scopeMetrics": [{"scope": {"name": "kedro_otel"}, "metrics": [metric]}],
            }
        ]
    }
