"""How one line of a segment is spelled when it is written: OTLP/JSON, without building a dictionary first.

The format is described in docs/recording-format.md; :mod:`kedro_otel.recording.reader` is its other half.
"""

from __future__ import annotations

from binascii import b2a_base64, crc32
from itertools import islice
from json.encoder import encode_basestring_ascii as _quote
from math import isfinite, log10
from typing import TYPE_CHECKING, Any, Final

from kedro_otel import guard
from kedro_otel.semconv import names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_TEXT: Final = 8192
"""Characters kept of one text."""

MAX_ITEMS: Final = 256
"""Items kept of one list or map."""

MAX_DEPTH: Final = 16
"""Lists and maps inside each other that are kept."""

_NAME, _TYPE, _OPERATION = names.DATASET_NAME, names.DATASET_TYPE, names.DATASET_OPERATION
_NODE, _TAGS, _NAMESPACE, _FUNCTION, _FILE = (
    names.NODE_NAME,
    names.NODE_TAGS,
    names.NODE_NAMESPACE,
    names.FUNCTION_NAME,
    names.FILE_PATH,
)
_INPUTS, _OUTPUTS = names.NODE_INPUTS, names.NODE_OUTPUTS

_LAZY: Final = f',{{"key":"{names.DATASET_LAZY}","value":{{"boolValue":true}}}}'
_LISTS: Final = (list, tuple)
_ERROR: Final = '{"code":2}'
_NANO: Final = 1_000_000_000


def sealed(line: bytes) -> bytes:
    """Return ``line`` with its checksum as the last member: CRC-32 of all bytes before that member.

    Args:
        line: One whole line, a JSON object and its newline.
    """
    body = line[:-2]
    return b'%b,"crc32":"%08x"}\n' % (body, crc32(body))


def text(value: str) -> str:
    """Return ``value`` as a JSON string: cut at :data:`MAX_TEXT` characters, lone surrogates replaced."""
    if len(value) > MAX_TEXT:
        value = value[: MAX_TEXT - 1] + "…"
    return _quote(value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8"))


def any_value(value: Any, depth: int = 0) -> str:  # noqa: PLR0911 -- one for each kind
    """Return ``value`` as an OTLP/JSON ``AnyValue``; what has no counterpart there is written as its type's name.

    Null has an empty ``AnyValue`` in OTLP. It is spelled ``nullValue`` here, which a reader that does not know it leaves out.
    """
    if isinstance(value, str):
        return f'{{"stringValue":{text(value)}}}'
    if isinstance(value, _LISTS):
        return (
            '{"arrayValue":{"values":['
            + ",".join([_inner(item, depth) for item in value[:MAX_ITEMS]])
            + "]}}"
        )
    if value is True or value is False:
        return '{"boolValue":true}' if value else '{"boolValue":false}'
    if isinstance(value, int):
        return (
            f'{{"intValue":"{int(value)}"}}'
            if -(2**63) <= value < 2**63
            else f'{{"stringValue":"{_far(int(value))}"}}'
        )
    if isinstance(value, float):
        return (
            f'{{"doubleValue":{float(value)!r}}}'
            if isfinite(value)
            else f'{{"doubleValue":"{_NOT_FINITE[repr(float(value))]}"}}'
        )
    if value is None:
        return '{"nullValue":null}'
    if isinstance(value, bytes):
        return f'{{"bytesValue":"{b2a_base64(value[:MAX_TEXT], newline=False).decode()}"}}'
    if isinstance(value, dict):
        pairs = [
            f'{{"key":{text(_word(key))},"value":{_inner(item, depth)}}}'
            for key, item in islice(value.items(), MAX_ITEMS)
        ]
        return f'{{"kvlistValue":{{"values":[{",".join(pairs)}]}}}}'
    return f'{{"stringValue":{text(type(value).__name__)}}}'


def _word(key: Any) -> str:
    """Return the key of a map as text, without asking a class of the user's for it."""
    return str(key) if type(key) in (str, int, float, bool) else type(key).__name__


def _inner(value: Any, depth: int) -> str:
    """Return what is inside a list or map; below :data:`MAX_DEPTH` of them its type's name alone."""
    return any_value(value, depth + 1) if depth < MAX_DEPTH else any_value(type(value).__name__)


def _far(value: int) -> str:
    """Return a whole number that OTLP has no place for: rounded, and past what a float can hold only its order of magnitude."""
    try:
        return f"{value:e}"
    except OverflowError:
        return f"{'-' if value < 0 else ''}1e+{round(log10(abs(value)))}"


_NOT_FINITE: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def attributes(values: Mapping[str, Any]) -> str:
    """Return ``values`` as an OTLP/JSON list of key and value; ``None`` is left out."""
    return (
        "["
        + ",".join(
            [
                f"{_KEYS.get(key) or _key(key)}{any_value(value)}}}"
                for key, value in values.items()
                if value is not None
            ]
        )
        + "]"
    )


_KEYS: Final[dict[str, str]] = {}
"""How the keys that were written before are spelled: they are few, and our own."""

_TYPES: Final[dict[str, str]] = {}
"""The same of the types of datasets."""


def _key(key: str) -> str:
    return _remembered(_KEYS, key, f'{{"key":{_quote(key)},"value":')


def _remembered(known: dict[str, str], word: str, spelled: str) -> str:
    if len(known) < MAX_ITEMS:
        known[word] = spelled
    return spelled


def members(values: Mapping[str, Any]) -> str:
    """Return ``values`` as :func:`attributes` does, to be put after others: without the brackets, each after a comma."""
    return "".join(
        [f",{_KEYS.get(key) or _key(key)}{any_value(value)}}}" for key, value in values.items()]
    )


def times(load: int, compute: int, save: int, hooks: int, more: str = "") -> str:
    """Return a node's times, given in nanoseconds, as attributes in seconds with nine digits after the point, and ``more`` attributes."""
    return (
        f'[{{"key":"{names.NODE_LOAD}","value":{{"doubleValue":{load // _NANO}.{load % _NANO:09}}}}},'
        f'{{"key":"{names.NODE_COMPUTE}","value":{{"doubleValue":{compute // _NANO}.{compute % _NANO:09}}}}},'
        f'{{"key":"{names.NODE_SAVE}","value":{{"doubleValue":{save // _NANO}.{save % _NANO:09}}}}},'
        f'{{"key":"{names.NODE_HOOKS}","value":{{"doubleValue":{hooks // _NANO}.{hooks % _NANO:09}}}}}{more}]'
    )


def start(
    operation: str,
    trace_id: str,
    span_id: str,
    parent_id: str,
    name: str,
    start_ns: int,
    values: Mapping[str, Any],
    *,
    more: str = "",
) -> bytes:
    """Return the line that says that an operation began at ``start_ns`` (nanoseconds since 1970); ``more`` is further JSON members."""
    return (
        f'{{"start":"{operation}","traceId":"{trace_id}","spanId":"{span_id}","parentSpanId":"{parent_id}","name":{text(name)},"kind":1,'
        f'"startTimeUnixNano":"{start_ns}","attributes":{attributes(values)}{more}}}\n'
    ).encode()


def node(operation: Any, parent_id: str, more: str) -> bytes:
    """Return the line that says that a node began: what :func:`start` would of its ``operation``, without its generality."""
    name = text(operation.node_name)
    said = f'{{"key":"{_NODE}","value":{{"stringValue":{name}}}}}'
    if operation.tags:
        said += f',{{"key":"{_TAGS}","value":{_texts(operation.tags)}}}'
    if operation.namespace is not None:
        said += f',{{"key":"{_NAMESPACE}","value":{any_value(operation.namespace)}}}'
    said += f',{{"key":"{_FUNCTION}","value":{{"stringValue":{text(operation.function)}}}}}'
    if operation.file is not None:
        said += f',{{"key":"{_FILE}","value":{{"stringValue":{text(operation.file)}}}}}'
    if operation.inputs:
        said += f',{{"key":"{_INPUTS}","value":{_texts(operation.inputs)}}}'
    if operation.outputs:
        said += f',{{"key":"{_OUTPUTS}","value":{_texts(operation.outputs)}}}'
    return (
        f'{{"start":"node","traceId":"{operation.trace_id}","spanId":"{operation.span_id}","parentSpanId":"{parent_id}",'
        f'"name":"node {name[1:]},"kind":1,"startTimeUnixNano":"{operation.start_ns}","attributes":[{said}]{more}}}\n'
    ).encode()


def _texts(values: Sequence[str]) -> str:
    """Return ``values``, of which there are some, as :func:`any_value` would."""
    return (
        '{"arrayValue":{"values":[{"stringValue":'
        + '},{"stringValue":'.join([text(value) for value in values[:MAX_ITEMS]])
        + "}]}}"
    )


def end(
    operation: str,
    trace_id: str,
    span_id: str,
    end_ns: int,
    said: str,
    *,
    error: bool,
    events: str = "",
) -> bytes:
    """Return the line that says that an operation ended; ``said`` is its attributes as a JSON list, ``events`` another."""
    more = f',"events":{events}' if events else ""
    return (
        f'{{"end":"{operation}","traceId":"{trace_id}","spanId":"{span_id}","endTimeUnixNano":"{end_ns}",'
        f'"status":{_ERROR if error else "{}"},"attributes":{said}{more}}}\n'
    ).encode()


def span(
    operation: str,
    trace_id: str,
    span_id: str,
    parent_id: str,
    name: str,
    times: tuple[int, int],
    values: Mapping[str, Any],
    *,
    error: bool,
    kind: int = 1,
    more: str = "",
) -> bytes:
    """Return the line of an operation that is written once, when it ended; ``more`` is further JSON members."""
    return (
        f'{{"span":"{operation}","traceId":"{trace_id}","spanId":"{span_id}","parentSpanId":"{parent_id}","name":{text(name)},"kind":{kind},'
        f'"startTimeUnixNano":"{times[0]}","endTimeUnixNano":"{times[1]}","status":{_ERROR if error else "{}"},'
        f'"attributes":{attributes(values)}{more}}}\n'
    ).encode()


def dataset(operation: Any, end_ns: int) -> bytes:
    """Return the line of a dataset's ``operation`` that ended well at ``end_ns``: what :func:`span` would, without its generality."""
    name, type_ = text(operation.dataset), operation.type
    return (
        f'{{"span":"dataset","traceId":"{operation.trace_id}","spanId":"{operation.span_id}","parentSpanId":"{operation.parent.span_id}",'
        f'"name":"{operation.verb} {name[1:]},"kind":1,"startTimeUnixNano":"{operation.start_ns}","endTimeUnixNano":"{end_ns}","status":{{}},'
        f'"attributes":[{{"key":"{_NAME}","value":{{"stringValue":{name}}}}},'
        f'{{"key":"{_TYPE}","value":{{"stringValue":{_TYPES.get(type_) or _remembered(_TYPES, type_, text(type_))}}}}},'
        f'{{"key":"{_OPERATION}","value":{{"stringValue":"{operation.verb}"}}}}'
        f"{_LAZY if operation.lazy else ''}{members(operation.described) if operation.described else ''}]}}\n"
    ).encode()


def dataset_start(operation: Any, more: str) -> bytes:
    """Return the line that says that a dataset's ``operation`` is under way."""
    name = text(operation.dataset)
    known = (
        f'{{"key":"{_TYPE}","value":{{"stringValue":{text(operation.type)}}}}},'
        if operation.type is not None
        else ""
    )
    return (
        f'{{"start":"dataset","traceId":"{operation.trace_id}","spanId":"{operation.span_id}",'
        f'"parentSpanId":"{operation.parent.span_id}","name":"{operation.verb} {name[1:]},"kind":1,'
        f'"startTimeUnixNano":"{operation.start_ns}","attributes":['
        f'{{"key":"{_NAME}","value":{{"stringValue":{name}}}}},{known}'
        f'{{"key":"{_OPERATION}","value":{{"stringValue":"{operation.verb}"}}}}]{more}}}\n'
    ).encode()


def rare(*, sampled: bool, state: str) -> str:
    """Return the members that few spans have, for ``more``: that a sampler decided not to send it, and its trace state."""
    return ("" if sampled else ',"flags":0') + (f',"traceState":{text(state)}' if state else "")


def links(rows: Sequence[tuple[str, str, Mapping[str, Any]]]) -> str:
    """Return links (trace id, span id, attributes) as an OTLP/JSON list."""
    return (
        "["
        + ",".join(
            [
                f'{{"traceId":"{trace}","spanId":"{span}","attributes":{attributes(values)}}}'
                for trace, span, values in rows
            ]
        )
        + "]"
    )


def events(rows: Sequence[tuple[str, int, Mapping[str, Any]]]) -> str:
    """Return events (name, nanoseconds since 1970, attributes) as an OTLP/JSON list."""
    return (
        "["
        + ",".join(
            [
                f'{{"timeUnixNano":"{_nano(when)}","name":{text(name)},"attributes":{attributes(values)}}}'
                for name, when, values in rows
            ]
        )
        + "]"
    )


def _nano(when: Any) -> int:
    """Return a time that a user gave, or 0, which means unknown, where OTLP has no place for it."""
    try:
        whole = int(when)
    except (TypeError, ValueError, OverflowError) as error:
        guard.let_through(error)
        return 0
    return whole if 0 <= whole < 1 << 63 else 0
