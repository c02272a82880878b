"""Every node of a segment in a few figures, and one dataset's loads and saves, without parsing what is not asked for.

A segment that is whole and closed is read by patterns. Any line that they do not fit sends the
segment to :mod:`kedro_otel.recording.reader`, which decides: the two answer alike.
"""

from __future__ import annotations

import json
import os
import re
from binascii import crc32
from contextlib import suppress
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kedro_otel import guard
from kedro_otel.recording import decoder, locking
from kedro_otel.recording.decoder import BadLineError
from kedro_otel.recording.model import ENDED, OPEN, SegmentError, UnreadableError
from kedro_otel.recording.reader import MAX_LINE, Follower, opened, read
from kedro_otel.recording.scan import glance, whole_file
from kedro_otel.semconv import names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kedro_otel.recording.model import Operation, Segment

_TEXT: Final = rb'[^"\\]*(?:\\.[^"\\]*)*'
_TIME: Final = rb"([0-8]?\d{1,18})"
_BEGUN: Final = re.compile(
    rb'\{"start":"node","traceId":"[0-9a-f]{32}","spanId":"([0-9a-f]{16})","parentSpanId":"([0-9a-f]{16})","name":"'
    + _TEXT
    + rb'","kind":1,"startTimeUnixNano":"'
    + _TIME
    + rb'","attributes":\[\{"key":"kedro\.node\.name","value":\{"stringValue":"('
    + _TEXT
    + rb')"\}'
).match
_ENDED: Final = re.compile(
    rb'\{"end":"node","traceId":"[0-9a-f]{32}","spanId":"([0-9a-f]{16})","endTimeUnixNano":"'
    + _TIME
    + rb'","status":\{(?:"code":(2)(?:,"message":"'
    + _TEXT
    + rb'")?)?\}'
).match
_FIGURES: Final = {
    key.encode(): key
    for key in (
        names.NODE_CPU,
        names.NODE_PEAK,
        names.OUTCOME,
        names.ERROR_TYPE,
    )
}
_ATTRIBUTE: Final = re.compile(
    rb'\{"key":"('
    + b"|".join(re.escape(key) for key in _FIGURES)
    + rb')","value":\{"(?:double|int|string)Value":(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|"'
    + _TEXT
    + rb'")\}'
).findall
_NUMBER: Final = rb"\d+(?:\.\d+)?(?:e-?\d+)?"
_OURS: Final = re.compile(
    b',"attributes":\\['
    + b",".join(
        rb'\{"key":"%b","value":\{"doubleValue":[\d.]+\}\}' % re.escape(key).encode()
        for key in (names.NODE_LOAD, names.NODE_COMPUTE, names.NODE_SAVE, names.NODE_HOOKS)
    )
    + rb'(?:,\{"key":"kedro\.node\.cpu\.time","value":\{"doubleValue":('
    + _NUMBER
    + rb")\}\})?"
    rb'(?:,\{"key":"kedro\.node\.io\.(?:read|write)","value":\{"intValue":"\d+"\}\})*'
    rb'(?:,\{"key":"kedro\.node\.memory\.peak","value":\{"intValue":"(\d{1,18})"\}\}'
    rb'(?:,\{"key":"kedro\.node\.memory\.method","value":\{"stringValue":"\w+"\}\})?'
    rb'(?:,\{"key":"kedro\.node\.memory\.growth","value":\{"intValue":"-?\d+"\}\})?)?\],"crc32":"\w{8}"\}'
).fullmatch
"""What most lines have after a node's status: our own attributes, as the writer orders them, and the checksum."""

_CHECKSUM: Final = b',"crc32":"'
_PASSED: Final = frozenset((b'{"span":"datase', b'{"start":"datas', b'{"span":"foreig'))
_CHUNK: Final = 1 << 18
_DIGITS: Final = 20
_DATASET: Final = b'{"span":"dataset"'
_NAMED: Final = b'{"key":"kedro.dataset.name","value":{"stringValue":%b}'


class NodeFigures(NamedTuple):
    """A node: ``end_ns`` is None while it is open, and what was not recorded is None or ""."""

    span_id: str
    parent_id: str
    name: str
    start_ns: int
    end_ns: int | None
    state: str
    error: bool
    cpu_s: float | None
    memory: float | None
    outcome: str
    error_type: str


def nodes(path: Path) -> tuple[Segment, list[NodeFigures]]:
    """Return a segment of which ``operations`` has commands and runs, and its nodes in the order in which they ended.

    While its process lives and something is open there are no nodes. Raises :class:`SegmentError`.
    """
    if _lives(path):
        segment = glance(path)
        if segment.alive:
            return segment, []
    found = _closed(path)
    if found is not None:
        return found
    segment = read(path)
    if segment.alive and any(one.state == OPEN for one in segment.operations):
        return glance(path), []
    figures = [_figures(one) for one in segment.operations if one.operation == names.NODE]
    segment.operations = [
        one for one in segment.operations if one.operation in (names.COMMAND, names.RUN)
    ]
    return segment, figures


def dataset_operations(path: Path, name: str) -> list[Operation]:
    """Return the loads and saves of one dataset that ended; none where the segment cannot be read."""
    try:
        data = _content(path)
    except SegmentError:
        return []
    spelled = json.dumps(name.encode("utf-8", "replace").decode()).encode()
    needle = _NAMED % spelled
    found = []
    at = data.find(needle)
    while at >= 0:
        begin, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at)
        if data.startswith(_DATASET, begin) and end >= 0:
            with suppress(BadLineError):
                found.append(decoder.span(decoder.parse(data[begin:end])))
        at = data.find(needle, end) if end >= 0 else -1
    return found


def _lives(path: Path) -> bool:
    """Tell, from its first line and its lock, whether the process that wrote a segment lives."""
    descriptor = opened(path)
    try:
        header = decoder.first_line(os.read(descriptor, _CHUNK).partition(b"\n")[0], path.name)
        return locking.alive(descriptor, header) is True
    except OSError as error:
        guard.let_through(error)
        raise UnreadableError(f"{path.name}: {error.strerror or error}") from error
    finally:
        os.close(descriptor)


def _closed(path: Path) -> tuple[Segment, list[NodeFigures]] | None:
    """Return the answer for a segment in which nothing is open, torn or unusual; None for any other."""
    descriptor = opened(path)
    try:
        return _closed_file(path, descriptor)
    except OSError as error:
        guard.let_through(error)
        raise UnreadableError(f"{path.name}: {error.strerror or error}") from error
    finally:
        os.close(descriptor)


def _closed_file(path: Path, descriptor: int) -> tuple[Segment, list[NodeFigures]] | None:
    follower = Follower(path)
    begun: dict[bytes, re.Match[bytes]] = {}
    found: list[NodeFigures] = []
    rest = b""
    while chunk := os.read(descriptor, _CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > MAX_LINE:
            return None
        for line in lines:
            if line[:15] not in _PASSED and not _taken(line, follower, begun, found):
                return None
    if rest or begun or follower.segment is None:
        return None
    segment = follower.segment
    return None if segment.skipped or follower.open_operations() else (segment, found)


def _taken(
    line: bytes,
    follower: Follower,
    begun: dict[bytes, re.Match[bytes]],
    found: list[NodeFigures],
) -> bool:
    """Take in one line; False for one that the patterns do not fit."""
    first = line[:15]
    if first == b'{"start":"node"':
        match = _BEGUN(line)
        if match is None or not _sound(line) or b"\\u" in match[4]:
            return False
        begun[match[1]] = match
    elif first == b'{"end":"node","':
        match = _ENDED(line)
        start = begun.pop(match[1], None) if match else None
        if match is None or start is None or not _sound(line):
            return False
        usage = _usage(line, match.end())
        if usage is None:
            return False
        found.append(_node(start, match, usage))
    elif first.startswith(b'{"drop"') or len(line) > MAX_LINE:
        return False
    else:
        follower.take(line)
    return True


def _sound(line: bytes) -> bool:
    """Return whether a line that is not the first is as it was written: patterns do not see its end."""
    return (
        line[-20:-10] == _CHECKSUM
        and line[-2:] == b'"}'
        and line[-10:-2] == b"%08x" % crc32(line[:-20])
    )


def _usage(line: bytes, at: int) -> tuple[float | None, float | None, str, str] | None:
    """Return the last four of a node's figures, from ``at`` on; None where that is for the reader."""
    ours = _OURS(line, at)
    if ours is not None:
        cpu, peak = ours.groups()
        return (None if cpu is None else float(cpu), None if peak is None else int(peak), "", "")
    found = _ATTRIBUTE(line, at)
    if found and b"kvlistValue" in line:
        return None  # the words of an attribute may stand in a map, too
    return _last_four({_FIGURES[key]: _value(value) for key, value in found})


def _node(
    start: re.Match[bytes],
    end: re.Match[bytes],
    usage: tuple[float | None, float | None, str, str],
) -> NodeFigures:
    span_id, parent_id, begin, name = start.groups()
    text, begin_ns = name.decode(), int(begin)
    return NodeFigures(
        span_id.decode(),
        parent_id.decode(),
        json.loads(f'"{text}"') if "\\" in text else text,
        begin_ns,
        max(int(end[2]), begin_ns),
        ENDED,
        end[3] is not None,
        *usage,
    )


def _value(spelled: bytes) -> Any:
    """Return a figure or a word; an integer is spelled as a string, as OTLP/JSON has it."""
    if not spelled.startswith(b'"'):
        return float(spelled)
    if len(spelled) < _DIGITS and spelled[1:-1].isdigit():
        return int(spelled[1:-1])
    return json.loads(spelled)


def _figures(one: Operation) -> NodeFigures:
    return NodeFigures(
        one.span_id,
        one.parent_id,
        str(one.attributes.get(names.NODE_NAME) or one.name),
        one.start_ns,
        one.end_ns,
        one.state,
        one.error,
        *_last_four(one.attributes),
    )


def _last_four(known: Mapping[str, Any]) -> tuple[float | None, float | None, str, str]:
    return (
        number(known.get(names.NODE_CPU)),
        number(known.get(names.NODE_PEAK)),
        str(known.get(names.OUTCOME, "")),
        str(known.get(names.ERROR_TYPE, "")),
    )


def number(value: object) -> float | None:
    """Return a figure, None for what is none."""
    if type(value) not in (int, float):
        return None
    found = float(value)  # type: ignore[arg-type]
    return found if isfinite(found) else None


def _content(path: Path) -> bytes:
    descriptor = opened(path)
    try:
        return whole_file(descriptor)
    except OSError as error:
        guard.let_through(error)
        raise UnreadableError(f"{path.name}: {error.strerror or error}") from error
    finally:
        os.close(descriptor)
