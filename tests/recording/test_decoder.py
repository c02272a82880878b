"""One line of a recording, and what it says: only what the format promises is believed."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from kedro_otel.recording import decoder
from kedro_otel.recording.decoder import BadLineError
from kedro_otel.recording.model import Base64, Header, Operation, Segment, SegmentError

TRACE, SPAN, PARENT = "ab" * 16, "cd" * 8, "ef" * 8
BEGUN = {
    "start": "node",
    "traceId": TRACE,
    "spanId": SPAN,
    "parentSpanId": PARENT,
    "name": "node a",
    "startTimeUnixNano": "5",
}
LIMIT = 2**63


def plain(operation: Operation) -> dict[str, Any]:
    """Return an operation as a dictionary, whole."""
    return {key: getattr(operation, key) for key in Operation.__slots__}


def begun(**changes: Any) -> Operation:
    """Return what a start line says with some members changed; None takes one away."""
    return decoder.start(
        {key: value for key, value in {**BEGUN, **changes}.items() if value is not None}
    )


def ended(**members: Any) -> Operation:
    """Return a node that an end line with these members closed."""
    operation = begun()
    decoder.end(operation, {"end": "node", "endTimeUnixNano": "9", **members})
    return operation


def deep(levels: int) -> Any:
    """Return a list in a list in a list."""
    found: Any = {"boolValue": True}
    for _ in range(levels):
        found = {"arrayValue": {"values": [found]}}
    return found


def refused(reason: str) -> Any:
    """Expect a line to be refused with this reason."""
    return pytest.raises(BadLineError, match=f"^{reason}$")


def test_an_operation_has_only_begun_unless_told_otherwise() -> None:
    """What is not said is nothing, and nobody else's list."""
    bare = Operation("node", TRACE, SPAN, PARENT, "node a", 5)
    facts = {
        "operation": "node",
        "trace_id": TRACE,
        "span_id": SPAN,
        "parent_id": PARENT,
        "name": "node a",
        "start_ns": 5,
    }
    told: dict[str, Any] = {
        "kind": 1,
        "end_ns": None,
        "attributes": {},
        "error": False,
        "status_message": "",
        "state": "open",
        "events": [],
        "links": [],
        "trace_state": "",
        "project_command": False,
        "sampled": True,
        "offset": 0,
    }
    assert plain(bare) == facts | told
    assert bare.events is not Operation("node", TRACE, SPAN, PARENT, "node a", 5).events
    told = {
        "kind": 3,
        "end_ns": 9,
        "attributes": {"k": 1},
        "error": True,
        "status_message": "why",
        "state": "ended",
        "events": [{"e": 1}],
        "links": [{"l": 1}],
        "trace_state": "a=b",
        "project_command": True,
        "sampled": False,
        "offset": 7,
    }
    assert plain(Operation("node", TRACE, SPAN, PARENT, "node a", 5, **told)) == facts | told


def test_a_segment_begins_with_nothing_but_its_header(tmp_path: Path) -> None:
    """Its last time is the header's until a line tells a later one, and nobody knows yet whether it is alive."""
    skipped, lost = Counter(torn=1), Counter(x=1)
    header = decoder.header(HEADER, "x")
    found = Segment(tmp_path, header, skipped, lost)
    assert {key: getattr(found, key) for key in Segment.__slots__} == {
        "alive": None,
        "continued": False,
        "header": header,
        "last_ns": 5,
        "lost": lost,
        "operations": [],
        "path": tmp_path,
        "size": 0,
        "stopped": "",
        "skipped": skipped,
    }


@pytest.mark.parametrize(
    "line", [b"", b"{", b"\xff", b'{"a":1} ', b'{"a":1}{', b"nothing", b'"a', b"[" * 100_000]
)
def test_what_is_no_json_is_refused(line: bytes) -> None:
    """A line is one JSON text in UTF-8, and nothing more."""
    with refused("not JSON"):
        decoder.parse(line)


@pytest.mark.parametrize("line", [b"{}", b"[]", b"1", b"null", b'"a"', b'[{"a":1}]'])
def test_what_is_no_object_is_refused(line: bytes) -> None:
    """A line without a first key says nothing."""
    with refused("not an object"):
        decoder.parse(line)


@pytest.mark.parametrize("spelling", ["\\ud800", "\\uD800", "\\udfff"])
def test_halves_of_characters_are_made_whole_everywhere(spelling: str) -> None:
    """Neither a terminal nor protobuf can take them: in keys, values and lists they are replaced, whole characters are not."""
    text = f'{{"a{spelling}":["{spelling}b",{{"c":"{spelling}"}},1,null],"d":true}}'
    assert decoder.parse(text.encode()) == {
        "a\ufffd": ["\ufffdb", {"c": "\ufffd"}, 1, None],
        "d": True,
    }
    assert decoder.parse(b'{"a":"\\ud83d\\ude00"}') == {"a": "\U0001f600"}


HEADER = {
    "kedro-otel": 1,
    "segment": "s",
    "process": "p",
    "sequence": 3,
    "pid": "47",
    "bootId": "b",
    "machineId": "m",
    "startTimeUnixNano": "5",
    "detail": "run",
    "destination": "d",
    "ephemeral": True,
    "owner": "user",
    "resource": {"attributes": [{"key": "k", "value": {"stringValue": "v"}}]},
    "locked": False,
}


def test_a_header_says_who_where_and_for_whom() -> None:
    """Each member of the header, and what stands for it where it is not there."""
    full = Header("s", "p", 3, 47, "b", "m", 5, "run", "d", True, "user", {"k": "v"}, False)
    assert decoder.header(HEADER, "x") == full
    least = Header("", "", 0, 0, "", "", 5, "", None, False, "", {}, True)
    assert decoder.header({"kedro-otel": 1, "startTimeUnixNano": 5}, "x") == least
    odd = dict.fromkeys(
        (
            "segment",
            "process",
            "bootId",
            "machineId",
            "detail",
            "destination",
            "ephemeral",
            "owner",
            "resource",
            "locked",
        ),
        7,
    )
    assert decoder.header({"kedro-otel": 1, "startTimeUnixNano": 5, **odd}, "x") == least
    assert decoder.header({**HEADER, "resource": {}}, "x") == full._replace(resource={})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kedro-otel": 2}, "x: written in format 2, this kedro-otel reads format 1; upgrade it"),
        ({"kedro-otel": True}, "x: no header, not a recording of kedro-otel"),
        ({"kedro-otel": None}, "x: no header, not a recording of kedro-otel"),
        ({"kedro-otel": "1"}, "x: no header, not a recording of kedro-otel"),
        ({"startTimeUnixNano": None}, "x: damaged header (not as the format says)"),
        ({"startTimeUnixNano": "-1"}, "x: damaged header (not as the format says)"),
        ({"sequence": []}, "x: damaged header (not as the format says)"),
        ({"pid": "many"}, "x: damaged header (not as the format says)"),
        ({"resource": {"attributes": 7}}, "x: damaged header (not as the format says)"),
    ],
)
def test_a_header_that_is_none_is_named(changes: dict[str, Any], says: str) -> None:
    """The reason names the file and what to do."""
    with pytest.raises(SegmentError) as found:
        decoder.header({**HEADER, **changes}, "x")
    assert str(found.value) == says


def test_a_start_says_this() -> None:
    """Each member of a start line, and what stands for it where it is not there."""
    more = {
        "kind": 3,
        "flags": 0,
        "traceState": "a=b",
        "projectCommand": True,
        "attributes": [{"key": "k", "value": {"intValue": "1"}}],
    }
    assert plain(begun(**more)) == plain(
        Operation(
            "node",
            TRACE,
            SPAN,
            PARENT,
            "node a",
            5,
            kind=3,
            attributes={"k": 1},
            trace_state="a=b",
            sampled=False,
            project_command=True,
            state="open",
        )
    )
    assert plain(begun(parentSpanId=None)) == plain(Operation("node", TRACE, SPAN, "", "node a", 5))
    odd = {"traceState": 1, "projectCommand": 1, "flags": "x"}
    assert plain(begun(**odd)) == plain(begun())


@pytest.mark.parametrize(
    ("kind", "read"),
    [(-1, 1), (0, 0), (1, 1), (5, 5), (6, 1), (True, 1), ("2", 1), (None, 1), (2.0, 1)],
)
def test_a_kind_is_one_of_otlps(kind: Any, read: int) -> None:
    """A kind that OTLP does not know is internal."""
    assert begun(kind=kind).kind == read


@pytest.mark.parametrize(
    ("flags", "sampled"), [(0, False), (1, True), (2, False), (3, True), (None, True), ("0", True)]
)
def test_the_lowest_flag_says_whether_it_is_sent(flags: Any, sampled: bool) -> None:
    """What says nothing of it is sent."""
    assert begun(flags=flags).sampled is sampled


def test_its_own_parent_is_none() -> None:
    """A span below itself would have no beginning."""
    assert begun(parentSpanId=SPAN).parent_id == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"traceId": None},
        {"spanId": None},
        {"name": None},
        {"traceId": 1},
        {"spanId": 1},
        {"name": 1},
        {"parentSpanId": 1},
        {"start": 1},
        {"traceId": TRACE.upper()},
        {"traceId": TRACE[1:]},
        {"traceId": "0" * 32},
        {"spanId": SPAN + "0"},
        {"spanId": "0" * 16},
        {"parentSpanId": "parent"},
        {"startTimeUnixNano": None},
        {"startTimeUnixNano": -1},
        {"startTimeUnixNano": str(LIMIT)},
        {"startTimeUnixNano": 1.5},
        {"startTimeUnixNano": True},
        {"startTimeUnixNano": "٣"},
        {"startTimeUnixNano": "0" * 20 + "1"},
        {"attributes": 1},
    ],
)
def test_a_start_that_is_none_is_refused(changes: dict[str, Any]) -> None:
    """An id, a name or a time that the format does not allow makes the line void."""
    with refused("not as the format says"):
        begun(**changes)


@pytest.mark.parametrize("time", [0, "0", LIMIT - 1, str(LIMIT - 1), "0" * 19 + "1"])
def test_times_are_whole_numbers_of_64_bits(time: Any) -> None:
    """As a number or as a text of at most twenty digits."""
    assert begun(startTimeUnixNano=time).start_ns == int(time)


def test_an_end_says_this() -> None:
    """Each member of an end line, and what stands for it where it is not there."""
    bare = ended()
    assert (
        bare.end_ns,
        bare.error,
        bare.status_message,
        bare.events,
        bare.attributes,
        bare.state,
    ) == (9, False, "", [], {}, "ended")
    event = {"name": "exception"}
    full = ended(
        status={"code": 2, "message": "why"},
        events=[event, "odd"],
        attributes=[{"key": "k", "value": {"stringValue": "v"}}],
        endTimeUnixNano="3",
    )
    assert (full.end_ns, full.error, full.status_message, full.events, full.attributes) == (
        5,
        True,
        "why",
        [event],
        {"k": "v"},
    )
    assert ended(status={"message": 7}).status_message == ""
    assert [
        ended(status={"code": code}).error for code in ("STATUS_CODE_ERROR", 1, 0, "2", None)
    ] == [True, False, False, False, False]


@pytest.mark.parametrize(
    "members", [{"endTimeUnixNano": None}, {"status": []}, {"events": {}}, {"attributes": 1}]
)
def test_an_end_that_is_none_is_refused_and_changes_nothing(members: dict[str, Any]) -> None:
    """The operation stays as it was, open."""
    operation = begun()
    before = plain(operation)
    with refused("not as the format says"):
        decoder.end(
            operation,
            {
                "end": "node",
                "endTimeUnixNano": "9",
                "attributes": [{"key": "k", "value": {"boolValue": True}}],
                **members,
            },
        )
    assert plain(operation) == before


def test_a_span_is_a_start_and_an_end_and_has_links() -> None:
    """What is told at once; a link that is none is left out."""
    line = {**BEGUN, "span": "foreign", "endTimeUnixNano": "9", "links": [{"traceId": TRACE}, 7]}
    found = decoder.span(line)
    assert (found.operation, found.start_ns, found.end_ns, found.state, found.links) == (
        "foreign",
        5,
        9,
        "ended",
        [{"traceId": TRACE}],
    )
    assert (
        decoder.span({**line, "links": {}}).links
        == decoder.span({key: line[key] for key in line if key != "links"}).links
        == []
    )


@pytest.mark.parametrize(
    ("wrapped", "value"),
    [
        ({"stringValue": "v"}, "v"),
        ({"stringValue": 1}, None),
        ({"intValue": "7"}, 7),
        ({"intValue": 7}, 7),
        ({"intValue": True}, None),
        ({"intValue": 7.5}, None),
        ({"intValue": str(LIMIT - 1)}, LIMIT - 1),
        ({"intValue": -LIMIT}, -LIMIT),
        ({"intValue": LIMIT}, None),
        ({"intValue": -LIMIT - 1}, None),
        ({"boolValue": False}, False),
        ({"boolValue": 1}, None),
        ({"doubleValue": 1}, 1.0),
        ({"doubleValue": 1.5}, 1.5),
        ({"doubleValue": "1.5"}, None),
        ({"doubleValue": True}, None),
        ({"doubleValue": "-Infinity"}, float("-inf")),
        ({"doubleValue": "Infinity"}, float("inf")),
        (
            {
                "arrayValue": {
                    "values": [{"intValue": 1}, {"futureValue": {}}, {"stringValue": "a"}]
                }
            },
            [1, "a"],
        ),
        ({"arrayValue": {}}, []),
        ({"bytesValue": "AA=="}, Base64("AA==")),
    ],
)
def test_each_kind_of_value_is_what_it_says(wrapped: dict[str, Any], value: Any) -> None:
    """A value of a kind that is not known, or not what its kind says, is left out."""
    found = decoder.attributes(
        [{"key": "k", "value": wrapped}, {"key": "last", "value": {"stringValue": "x"}}]
    )
    assert found == ({"last": "x"} if value is None else {"k": value, "last": "x"})
    assert value is None or type(found["k"]) is type(value)


def test_what_is_no_number_is_a_number_of_its_own() -> None:
    """NaN comes back as such."""
    (found,) = decoder.attributes([{"key": "k", "value": {"doubleValue": "NaN"}}]).values()
    assert found != found  # noqa: PLR0124 (not a number)


@pytest.mark.parametrize(
    "rows",
    [
        7,
        [7],
        [{}],
        [{"key": "k"}],
        [{"key": "k", "value": {}}],
        [{"key": "k", "value": {"a": 1, "b": 2}}],
        [{"key": [], "value": {"boolValue": True}}],
        [{"key": "k", "value": {"intValue": "x"}}],
        [{"key": "k", "value": {"doubleValue": 10**400}}],
        [{"key": "k", "value": {"arrayValue": 7}}],
        [{"key": "k", "value": deep(5000)}],
    ],
)
def test_attributes_that_are_none_are_refused(rows: Any) -> None:
    """A list of keys and values, or the line is void."""
    with refused("not as the format says"):
        decoder.attributes(rows)


def test_a_key_that_is_no_text_is_left_out() -> None:
    """Its neighbours are read."""
    assert decoder.attributes(
        [{"key": 7, "value": {"boolValue": True}}, {"key": "k", "value": {"boolValue": True}}]
    ) == {"k": True}


def test_when_is_the_end_else_the_beginning() -> None:
    """A line that tells no time tells 0."""
    assert decoder.when({"startTimeUnixNano": "5", "endTimeUnixNano": "9"}) == 9
    assert decoder.when({"startTimeUnixNano": "5"}) == 5
    assert decoder.when({"owner": "user"}) == 0
    with refused("not as the format says"):
        decoder.when({"startTimeUnixNano": "x"})


@pytest.mark.parametrize("depth", [400, 600, 5_000, 100_000])
def test_a_deep_line_with_half_a_character_costs_itself_alone(depth):
    """No depth of nesting ends a reader."""
    line = b'{"a":' + b"[" * depth + b'"\\ud800"' + b"]" * depth + b"}"
    with contextlib.suppress(BadLineError):  # how deep is too deep differs between Pythons
        decoder.parse(line)
