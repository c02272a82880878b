"""Values of attributes on their whole way: written, read, shown, and sent as the SDK's own exporter sends them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext

from kedro_otel.recording import decoder, encoder
from kedro_otel.recording.model import Operation
from kedro_otel.shipping.transport import otlp
from kedro_otel.viewing import otlp_json
from kedro_otel.viewing.trace_json import finite

VALUES: dict[str, Any] = {
    "text": "a",
    "bytes": b"\x00\xff",
    "no bytes": b"",
    "map": {"a": 1, "b": {"c": [True, b"d"]}},
    "empty map": {},
    "list": ["a", 1, 2.5],
    "nested lists": [[1], [["b"]], []],
    "maps in a list": [{"a": "b"}, {"c": "d"}],
}
NULLS: dict[str, Any] = {"null in a list": ["a", None, "b"], "null in a map": {"a": None}}


def read(values: dict[str, Any]) -> dict[str, Any]:
    """Return ``values`` as a reader has them from the line that a writer wrote."""
    return decoder.attributes(json.loads(encoder.attributes(values)))


def encoded(values: dict[str, Any]) -> Any:
    """Return ``values`` as the official exporter encodes them, as attributes of a span."""
    context = SpanContext(1, 2, is_remote=False)
    span = ReadableSpan("a", context=context, attributes=values, resource=Resource({}))
    span._start_time, span._end_time = 1, 2
    request = encode_spans([span])
    return list(request.resource_spans[0].scope_spans[0].spans[0].attributes)


@pytest.mark.parametrize("name", [*VALUES, *NULLS])
def test_a_value_is_sent_as_the_sdk_sends_it(name: str) -> None:
    """Null, bytes, nested lists and maps reach the exporter as they were given to the span."""
    values = {name: {**VALUES, **NULLS}[name]}
    wanted = encoded(values)
    if not wanted:
        pytest.skip("this version of the exporter has no such value")
    operation = Operation("span", "ab" * 16, "cd" * 8, "", "a", 1, attributes=read(values))
    operation.end_ns = 2
    sent = encode_spans([otlp.span(operation, Resource({}))])
    assert list(sent.resource_spans[0].scope_spans[0].spans[0].attributes) == wanted


def test_an_exported_value_is_the_same_in_json() -> None:
    """OTLP/JSON, read back by protobuf, is what the exporter would send."""
    values = {**VALUES, "null in a map": {"a": None, "b": 1}}
    spelled = otlp_json._attributes(read(values))
    assert "nullValue" not in json.dumps(spelled)
    parsed = ParseDict({"attributes": spelled}, Span())
    assert list(parsed.attributes)[:-1] == encoded(VALUES)
    nulls = parsed.attributes[-1].value.kvlist_value.values
    assert [one.value.WhichOneof("value") for one in nulls] == [None, "int_value"]


def test_every_view_can_print_a_value() -> None:
    """Bytes are base64 text wherever a person or a program reads them as JSON."""
    found = json.loads(json.dumps(read({**VALUES, **NULLS})))
    assert base64.b64decode(found["bytes"]) == VALUES["bytes"]
    assert found["map"] == {"a": 1, "b": {"c": [True, base64.b64encode(b"d").decode()]}}
    assert found["null in a list"] == ["a", None, "b"]
    numbers = {"a": {"b": [float("nan")], "c": float("inf")}}
    assert finite(read(numbers)["a"]) == {"b": ["nan"], "c": "inf"}


def test_a_value_without_end_is_cut() -> None:
    """Lists and maps in each other are kept to a depth, whatever their size; the line stays one that readers take."""
    endless: list[Any] = []
    endless.append(endless)
    looped: dict[str, Any] = {}
    looped["a"] = looped
    found = read(
        {"a": endless, "b": looped, "c": {str(n): n for n in range(1000)}, "d": b"x" * 10**6}
    )
    assert str(found["a"]).count("[") == str(found["b"]).count("{") == encoder.MAX_DEPTH + 1
    assert len(found["c"]) == encoder.MAX_ITEMS
    assert len(base64.b64decode(found["d"])) == encoder.MAX_TEXT


@pytest.mark.parametrize(
    "spelled",
    [
        {"bytesValue": "no base64!"},
        {"bytesValue": 1},
        {"kvlistValue": {"values": [{"value": {"intValue": "1"}}]}},
        {"kvlistValue": {"values": 1}},
        {"kvlistValue": []},
    ],
)
def test_a_damaged_value_spoils_its_line_alone(spelled: Any) -> None:
    """What is no such value is refused as any line is that is not as the format says."""
    with pytest.raises(decoder.BadLineError):
        decoder.attributes([{"key": "a", "value": spelled}])
