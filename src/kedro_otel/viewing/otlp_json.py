"""A trace as OTLP/JSON: one message per segment, as any OTLP/HTTP receiver takes it.

Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

from kedro_otel.recording.decoder import BadLineError, attributes
from kedro_otel.recording.model import Base64
from kedro_otel.semconv import names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kedro_otel.recording.model import Operation, Value
    from kedro_otel.viewing.model.trace import Trace

_ERROR: Final = 2
_HEX: Final = re.compile("[0-9a-f]{32} [0-9a-f]{16}")


def messages(trace: Trace) -> Iterator[dict[str, Any]]:
    """Yield ``{"resourceSpans": …}`` for each segment of the trace, with what has ended in it (or died)."""
    by_segment: dict[str, list[Operation]] = {}
    for span in trace.root.walk():
        if span.operation.end_ns is not None:
            by_segment.setdefault(span.header.segment, []).append(span.operation)
    for segment in trace.segments:
        operations = by_segment.get(segment.header.segment)
        if operations:
            yield message(segment.header.resource, operations)


def message(resource: Mapping[str, Value], operations: list[Operation]) -> dict[str, Any]:
    """Return one message: our operations in this package's scope, the user's spans in one without a name."""
    version = resource.get(names.DISTRO_VERSION)
    scope = {"name": names.SCOPE, **({"version": version} if isinstance(version, str) else {})}
    ours = [operation for operation in operations if operation.operation != names.FOREIGN]
    theirs = [operation for operation in operations if operation.operation == names.FOREIGN]
    scopes = [
        {"scope": where, "spans": [_span(operation) for operation in found], **schema}
        for where, found, schema in (
            (scope, ours, {"schemaUrl": names.SCHEMA_URL}),
            ({}, theirs, {}),
        )
        if found
    ]
    return {
        "resourceSpans": [{"resource": {"attributes": _attributes(resource)}, "scopeSpans": scopes}]
    }


def _span(operation: Operation) -> dict[str, Any]:
    status: dict[str, Any] = {"code": _ERROR} if operation.error else {}
    if operation.status_message and operation.error:
        status["message"] = operation.status_message
    found: dict[str, Any] = {
        "traceId": operation.trace_id,
        "spanId": operation.span_id,
        "parentSpanId": operation.parent_id,
        "traceState": operation.trace_state,
        "name": operation.name,
        "kind": operation.kind,
        "startTimeUnixNano": str(operation.start_ns),
        "endTimeUnixNano": str(operation.end_ns),
        "attributes": _attributes(operation.attributes),
        "events": [_event(event) for event in operation.events],
        "links": [link for link in map(_link, operation.links) if link],
        "status": status,
    }
    return {key: value for key, value in found.items() if value not in ("", []) or key == "name"}


def _event(event: dict[str, Any]) -> dict[str, Any]:
    when = str(event.get("timeUnixNano", ""))
    return {
        "timeUnixNano": when if when.isascii() and when.isdigit() else "0",
        "name": str(event.get("name", "")),
        "attributes": _again(event.get("attributes", [])),
    }


def _link(link: dict[str, Any]) -> dict[str, Any] | None:
    trace_id, span_id = link.get("traceId"), link.get("spanId")
    if not (
        isinstance(trace_id, str)
        and isinstance(span_id, str)
        and _HEX.fullmatch(f"{trace_id} {span_id}")
    ):
        return None
    return {
        "traceId": trace_id,
        "spanId": span_id,
        "attributes": _again(link.get("attributes", [])),
    }


def _again(rows: Any) -> list[dict[str, Any]]:
    try:
        return _attributes(attributes(rows))
    except BadLineError:
        return []


def _attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Any) -> dict[str, Any]:  # noqa: PLR0911 -- one for each kind
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {
            "doubleValue": value
            if math.isfinite(value)
            else {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
        }
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": _attributes(value)}}
    if isinstance(value, Base64):
        return {"bytesValue": value}
    if value is None:
        return {}
    return {"stringValue": str(value)}
