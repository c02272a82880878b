"""`kedro otel export --as-sent`: the very messages that leave."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Result
from google.protobuf.json_format import ParseDict
from loopback import Loopback, loopback
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from kedro_otel.semconv import names

__all__ = ["loopback"]


def exported(done: Result) -> list[Any]:
    """Return the printed messages as protocol buffers: what any OTLP/HTTP receiver makes of the JSON."""

    def encoded(fields: dict[str, Any]) -> dict[str, Any]:
        return {
            key: base64.b64encode(bytes.fromhex(value)).decode()
            if key in {"traceId", "spanId", "parentSpanId"}
            else value
            for key, value in fields.items()
        }

    lines = [
        json.loads(line, object_hook=encoded)
        for line in done.out.splitlines()
        if line.startswith("{")
    ]
    return [
        ParseDict(
            line,
            ExportTraceServiceRequest()
            if "resourceSpans" in line
            else ExportMetricsServiceRequest(),
        )
        for line in lines
    ]


def flat(messages: list[Any]) -> Iterator[str]:
    """Yield each span and each point with its resource and scope, as text."""
    for message in messages:
        for of_resource in getattr(message, "resource_spans", None) or message.resource_metrics:
            for scope in getattr(of_resource, "scope_spans", None) or of_resource.scope_metrics:
                here = f"{sorted(map(str, of_resource.resource.attributes))} {scope.scope}"
                if hasattr(scope, "spans"):
                    yield from (f"{here} {span}" for span in scope.spans)
                else:
                    for metric in scope.metrics:
                        kind = metric.WhichOneof("data")
                        yield from (
                            f"{here} {metric.name} {metric.unit} {kind} {point}"
                            for point in getattr(metric, kind).data_points
                        )


@pytest.mark.parametrize("level", names.DETAILS)
def test_it_is_what_a_receiver_gets(
    level: str,
    project: Callable[..., Path],
    kedro: Callable[..., Result],
    environment: dict[str, str],
    loopback: Loopback,
) -> None:
    """The messages that are printed are, span by span and point by point, those that arrived."""
    environment.update(
        OTEL_EXPORTER_OTLP_ENDPOINT=loopback.url, KEDRO_OTEL_DETAIL=level, KEDRO_OTEL_SHIP="manual"
    )
    path = project()
    kedro("run", "--params", "fail=true", cwd=path, code=1)
    kedro("otel", "ship", cwd=path)
    arrived = [request.message for request in loopback.requests]
    assert sorted(flat(exported(kedro("otel", "export", "--as-sent", cwd=path)))) == sorted(
        flat(arrived)
    )
    assert len(loopback.of("traces")) == 1


def test_before_anything_is_sent(
    project: Callable[..., Path], kedro: Callable[..., Result], loopback: Loopback
) -> None:
    """Without an endpoint it says so, and shows what would leave; nothing leaves by that, and nothing is written."""
    path = project()
    kedro("run", cwd=path)
    done = kedro("otel", "export", "--as-sent", cwd=path)
    assert '"schemaUrl":"https://opentelemetry.io/schemas/' in done.out.replace(" ", "")
    assert "no endpoint is named" in done.err
    spans = [
        line for line in flat(exported(done)) if "span_id" in line and 'name: "kedro run"' in line
    ]
    assert len(spans) == 1
    shipped = kedro(
        "otel", "export", "--as-sent", cwd=path, env={"OTEL_EXPORTER_OTLP_ENDPOINT": loopback.url}
    )
    assert "endpoint" not in shipped.err
    assert loopback.requests == []


def test_what_does_not_leave_is_not_shown(
    project: Callable[..., Path], kedro: Callable[..., Result]
) -> None:
    """A signal that is switched off, and spans that were not sampled, are not among the messages; counters still count."""
    path = project()
    kedro("run", cwd=path, env={"OTEL_TRACES_SAMPLER": "always_off"})
    messages = exported(kedro("otel", "export", "--as-sent", cwd=path))
    assert {type(message).__name__ for message in messages} == {"ExportMetricsServiceRequest"}
    assert any("kedro.pipeline.runs" in line for line in flat(messages))
    assert (
        exported(
            kedro("otel", "export", "--as-sent", cwd=path, env={"OTEL_METRICS_EXPORTER": "none"})
        )
        == []
    )
