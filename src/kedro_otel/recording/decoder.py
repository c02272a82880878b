"""From one line of a segment to what it says: the inverse of :mod:`kedro_otel.recording.encoder`, and as suspicious as it is trusting."""

from __future__ import annotations

import base64
import json
import re
from binascii import crc32
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kedro_otel import guard
from kedro_otel.recording.model import (
    Base64,
    Header,
    NewerFormatError,
    Operation,
    SegmentError,
)
from kedro_otel.recording.segment_file import FORMAT, GOES_ON, HEADER_BEGINS, STOP_MARK_AT
from kedro_otel.semconv import names

if TYPE_CHECKING:
    from kedro_otel.recording.model import Value

_TRACE_ID: Final = re.compile("(?!0{32})[0-9a-f]{32}")
_SPAN_ID: Final = re.compile("(?!0{16})[0-9a-f]{16}")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_INT_LIMIT: Final = 1 << 63
"""Times and integers stay below: OTLP's are 64 bits with a sign."""

_NOT_FINITE: Final = ("NaN", "Infinity", "-Infinity")
_ERROR: Final = (2, "STATUS_CODE_ERROR")
_NOT_JSON: Final = "not JSON"
_NOT_AS_SAID: Final = "not as the format says"
_HEADER: Final = b'{"kedro-otel":'
_STOP_MARK: Final = HEADER_BEGINS.encode()
_CHECKSUM: Final = b',"crc32":"'
DAMAGED: Final = "damaged: its checksum does not match"
"""Reason of a line that was whole when it was written, and has changed since."""

_decode: Final = json.JSONDecoder().raw_decode
_KINDS: Final = 5
_FATAL4: Final = 24
"""The largest number of a severity."""


class BadLineError(ValueError):
    """A line is JSON but not what the format says; the message is the reason under which it is counted."""


def has_checksum(line: bytes) -> bool:
    """Return whether the last member of ``line``, which is without its newline, is a checksum."""
    return line[-20:-10] == _CHECKSUM


def whole(line: bytes, *, checked: bool = False) -> bool:
    """Tell, without parsing it, whether ``line`` is as it was written: by its checksum, or where it needs none by its end.

    Args:
        line: The line, without its newline.
        checked: Whether each line of its segment has a checksum.
    """
    if has_checksum(line):
        body = line[:-20]
        if body.startswith(_STOP_MARK):  # the only byte that is written twice
            body = _STOP_MARK + GOES_ON.encode() + body[STOP_MARK_AT + 1 :]
        return line[-10:] == b'%08x"}' % crc32(body)
    return not checked and line.endswith(b"}")


def parse(line: bytes, *, checked: bool = False) -> dict[str, Any]:
    """Return the object on a line, also where it has no checksum unless it is ``checked``.

    Raises:
        BadLineError: It is no object, or not what its checksum says.
    """
    if (checked or has_checksum(line)) and not whole(line, checked=checked):
        raise BadLineError(DAMAGED)
    try:
        text = line.decode()
        found, end = _decode(text)
    except (ValueError, RecursionError) as error:
        guard.let_through(error)
        raise BadLineError(_NOT_JSON) from None
    if end != len(text):
        raise BadLineError(_NOT_JSON)
    if type(found) is not dict or not found:
        raise BadLineError("not an object")
    if b"\\ud" in line or b"\\uD" in line:
        try:
            found = _whole_characters(found)
        except RecursionError:
            raise BadLineError(_NOT_JSON) from None
    fields: dict[str, Any] = found
    return fields


def first_line(line: bytes, name: str) -> Header:
    """Return the header that ``line``, the first of the file ``name``, holds. Raises :class:`SegmentError`."""
    try:
        fields = parse(line)
    except BadLineError:
        what = "damaged header" if line.startswith(_HEADER) else "no header"
        raise SegmentError(f"{name}: {what}, not a recording of kedro-otel") from None
    return header(fields, name)


def header(fields: dict[str, Any], name: str) -> Header:
    """Return the header that a segment's first line holds. Raises :class:`SegmentError` with the file's ``name``."""
    version = fields.get("kedro-otel")
    if type(version) is not int:
        raise SegmentError(f"{name}: no header, not a recording of kedro-otel")
    if version != FORMAT:
        raise (NewerFormatError if version > FORMAT else SegmentError)(
            f"{name}: written in format {version}, this kedro-otel reads format {FORMAT}; upgrade it"
        )
    destination = fields.get("destination")
    resource = fields.get("resource")
    try:
        return Header(
            segment=_text(fields, "segment"),
            process=_text(fields, "process"),
            sequence=_whole(fields.get("sequence", 0)),
            pid=_whole(fields.get("pid", 0)),
            boot_id=_text(fields, "bootId"),
            machine_id=_text(fields, "machineId"),
            start_ns=_time(fields, "startTimeUnixNano"),
            detail=_text(fields, "detail"),
            destination=destination if type(destination) is str else None,
            ephemeral=fields.get("ephemeral") is True,
            owner=_text(fields, "owner"),
            resource=attributes(resource.get("attributes", []) if type(resource) is dict else []),
            locked=fields.get("locked") is not False,
            since_boot_ns=_whole(fields.get("sinceBootNano", 0)),
            generation=_text(fields, "generation"),
            process_start=_text(fields, "processStart"),
            detail_from=_text(fields, "detailFrom"),
            project=_text(fields, "project"),
            root=_text(fields, "root"),
            logs=fields.get("logs") is True,
        )
    except BadLineError as error:
        raise SegmentError(f"{name}: damaged header ({error})") from None


def start(fields: dict[str, Any]) -> Operation:
    """Return the operation that a ``start`` line opens. Raises :class:`BadLineError`."""
    return _begun(fields["start"], fields)


def span(fields: dict[str, Any]) -> Operation:
    """Return the operation that a ``span`` line tells whole. Raises :class:`BadLineError`."""
    operation = _begun(fields["span"], fields)
    end(operation, fields)
    links = fields.get("links")
    if type(links) is list:
        operation.links = [link for link in links if type(link) is dict]
    return operation


def end(operation: Operation, fields: dict[str, Any]) -> None:
    """Close ``operation`` with an ``end`` line: its end, status, and what attributes it adds. Raises :class:`BadLineError`."""
    when = _time(fields, "endTimeUnixNano")
    status = fields.get("status", {})
    events = fields.get("events", [])
    if type(status) is not dict or type(events) is not list:
        raise BadLineError(_NOT_AS_SAID)
    more = attributes(fields.get("attributes", []))
    operation.attributes.update(more)
    operation.end_ns = max(when, operation.start_ns)
    operation.error = status.get("code") in _ERROR
    operation.status_message = _text(status, "message")
    operation.events = [event for event in events if type(event) is dict]
    operation.state = "ended"


EXCEPTION: Final = "exception"
"""Name of the event of an error, on a span and among logs."""

LOG: Final = b'{"log":'
"""How the line of a log record begins."""


class LogRecord(NamedTuple):
    """A log record that may leave: ids in hex, nanoseconds since 1970, OTLP's number of the severity and its name."""

    trace_id: str
    span_id: str
    time_ns: int
    severity: int
    level: str
    logger: str
    body: str
    attributes: dict[str, Value]
    event: str = ""


def exceptions(fields: dict[str, Any]) -> list[LogRecord]:
    """Return the ``exception`` events of a line that ends an operation, as log records. Raises :class:`BadLineError`."""
    trace_id, span_id = _text(fields, "traceId"), _text(fields, "spanId")
    events = fields.get("events", [])
    if (
        not _TRACE_ID.fullmatch(trace_id)
        or not _SPAN_ID.fullmatch(span_id)
        or type(events) is not list
    ):
        raise BadLineError(_NOT_AS_SAID)
    found = []
    for event in events:
        if type(event) is dict and event.get("name") == EXCEPTION:
            values = attributes(event.get("attributes", []))
            body = str(values.get(names.EXCEPTION_MESSAGE, ""))
            when = _time(event, "timeUnixNano")
            found.append(
                LogRecord(
                    trace_id, span_id, when, 17, "ERROR", names.SCOPE, body, values, EXCEPTION
                )
            )
    return found


def log_record(fields: dict[str, Any]) -> LogRecord:
    """Return the log record that a ``log`` line holds. Raises :class:`BadLineError`."""
    trace_id, span_id = _text(fields, "traceId"), _text(fields, "spanId")
    if not _TRACE_ID.fullmatch(trace_id) or not _SPAN_ID.fullmatch(span_id):
        raise BadLineError(_NOT_AS_SAID)
    severity = _whole(fields.get("severityNumber", 0))
    return LogRecord(
        trace_id,
        span_id,
        _time(fields, "timeUnixNano"),
        severity if severity <= _FATAL4 else 0,
        _text(fields, "log"),
        _text(fields, "logger"),
        _text(fields, "body"),
        attributes(fields.get("attributes", [])),
    )


def when(fields: dict[str, Any]) -> int:
    """Return the time that a line tells, in nanoseconds: its end, else its beginning, else 0. Raises :class:`BadLineError`."""
    for key in ("endTimeUnixNano", "startTimeUnixNano"):
        if key in fields:
            return _time(fields, key)
    return 0


def attributes(rows: Any) -> dict[str, Value]:
    """Return OTLP/JSON attributes as a dictionary; one of a kind not known here is left out. Raises :class:`BadLineError`."""
    try:
        found = {row["key"]: _value(row["value"]) for row in rows}
    except (
        TypeError,
        KeyError,
        ValueError,
        OverflowError,
        RecursionError,
        AttributeError,
    ) as error:
        guard.let_through(error)
        raise BadLineError(_NOT_AS_SAID) from None
    return {key: value for key, value in found.items() if value is not None and type(key) is str}


def _value(wrapped: dict[str, Any]) -> Any:  # noqa: PLR0911 -- one for each kind
    ((kind, value),) = wrapped.items()
    if kind == "stringValue":
        return value if type(value) is str else None
    if kind == "intValue":
        number = int(value) if type(value) in (str, int) else _INT_LIMIT
        return number if -_INT_LIMIT <= number < _INT_LIMIT else None
    if kind == "boolValue":
        return value if type(value) is bool else None
    if kind == "doubleValue":
        return float(value) if type(value) in (float, int) or value in _NOT_FINITE else None
    if kind == "arrayValue":
        rows = value.get("values", [])
        return [item for row in rows if (item := _value(row)) is not None or "nullValue" in row]
    if kind == "bytesValue":
        base64.b64decode(value, validate=True)
        return Base64(value)
    if kind == "kvlistValue":
        inner = {str(row["key"]): row["value"] for row in value.get("values", [])}
        items = {key: _value(one) for key, one in inner.items()}
        return {k: one for k, one in items.items() if one is not None or "nullValue" in inner[k]}
    return None


def _begun(word: Any, fields: dict[str, Any]) -> Operation:
    try:
        trace_id, span_id, parent_id, name = (
            fields["traceId"],
            fields["spanId"],
            fields.get("parentSpanId") or "",
            fields["name"],
        )
    except KeyError:
        raise BadLineError(_NOT_AS_SAID) from None
    kind, flags = fields.get("kind"), fields.get("flags")
    if (
        not (type(word) is type(trace_id) is type(span_id) is type(parent_id) is type(name) is str)
        or not _TRACE_ID.fullmatch(trace_id)
        or not _SPAN_ID.fullmatch(span_id)
        or (parent_id and not _SPAN_ID.fullmatch(parent_id))
    ):
        raise BadLineError(_NOT_AS_SAID)
    return Operation(
        word,
        trace_id,
        span_id,
        parent_id if parent_id != span_id else "",
        name,
        _time(fields, "startTimeUnixNano"),
        kind=kind if type(kind) is int and 0 <= kind <= _KINDS else 1,
        attributes=attributes(fields.get("attributes", [])),
        trace_state=_text(fields, "traceState"),
        sampled=type(flags) is not int or bool(flags & 1),
        project_command=fields.get("projectCommand") is True,
    )


def _time(fields: dict[str, Any], key: str) -> int:
    when = _whole(fields.get(key))
    if not 0 <= when < _INT_LIMIT:
        raise BadLineError(_NOT_AS_SAID)
    return when


def _whole(value: Any) -> int:
    if type(value) is int or (
        type(value) is str and value.isascii() and value.isdigit() and len(value) <= 20
    ):
        return int(value)
    raise BadLineError(_NOT_AS_SAID)


def _text(fields: dict[str, Any], key: str) -> str:
    value = fields.get(key)
    return value if type(value) is str else ""


def _whole_characters(value: Any) -> Any:
    """Replace halves of characters, which JSON can spell but neither a terminal nor protobuf can take."""
    if type(value) is str:
        return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value)
    if type(value) is list:
        return [_whole_characters(item) for item in value]
    if type(value) is dict:
        return {_whole_characters(key): _whole_characters(item) for key, item in value.items()}
    return value
