"""Reading recordings: what is whole is read, what is damaged is skipped and counted, and the dead are told from the living."""

from __future__ import annotations

import errno
import os
import random
import secrets
from pathlib import Path
from typing import Any

import pytest
from fabricate import SECOND, Tape, a_run, attributes

from kedro_otel.recording import encoder, locking, machine, reader, writer
from kedro_otel.recording.model import Operation, Segment, SegmentError


@pytest.fixture
def folder(home: Path) -> Path:
    """Return where recordings are kept; it exists."""
    found = home / "recordings"
    found.mkdir(parents=True, mode=0o700)
    return found


def plain(operation: Operation) -> dict[str, Any]:
    """Return an operation as a dictionary, whole."""
    return {key: getattr(operation, key) for key in Operation.__slots__}


def names(segment: Segment) -> list[str]:
    """Return the names and states of a segment's operations, in order."""
    return [f"{operation.name} {operation.state}" for operation in segment.operations]


def test_an_operation_is_read_with_everything_that_its_two_lines_say(folder: Path) -> None:
    """An operation is read with everything that its two lines say, the end's attributes winning."""
    tape = Tape(folder)
    node = tape.start(
        "node",
        "node a",
        1,
        "ab" * 8,
        kedro_node_tags=["x", "y"],
        kedro_node_compute_duration=0.0,
        error_type="first",
    )
    event = {
        "timeUnixNano": "5",
        "name": "exception",
        "attributes": attributes({"exception.type": "ValueError"}),
    }
    tape.end(
        node,
        2.5,
        "ValueError",
        kedro_node_compute_duration=1.5,
        kedro_error_line_number=42,
        more={"events": [event]},
    )
    segment = reader.read(tape.path)
    assert [plain(operation) for operation in segment.operations] == [
        {
            "operation": "node",
            "trace_id": tape.trace,
            "span_id": node,
            "parent_id": "ab" * 8,
            "name": "node a",
            "kind": 1,
            "start_ns": tape.ns(1),
            "end_ns": tape.ns(2.5),
            "attributes": {
                "kedro.node.tags": ["x", "y"],
                "kedro.node.compute.duration": 1.5,
                "error.type": "ValueError",
                "kedro.error.line.number": 42,
            },
            "error": True,
            "status_message": "",
            "state": "ended",
            "events": [event],
            "links": [],
            "trace_state": "",
            "project_command": False,
            "sampled": True,
            "offset": tape.path.stat().st_size,
        },
    ]
    assert segment.path == tape.path
    assert (segment.size, segment.last_ns, segment.alive, segment.continued) == (
        tape.path.stat().st_size,
        tape.ns(2.5),
        False,
        False,
    )
    assert (segment.header.pid, segment.header.owner, segment.header.destination) == (
        4711,
        "kedro-otel",
        None,
    )
    assert segment.header.resource["kedro.project.name"] == "demo"


def test_what_the_writer_writes_the_reader_reads(folder: Path) -> None:
    """What the writer writes, the reader reads back: every kind of value, and texts of every script."""
    values = {
        "text": 'é "漢字" \x1b[31m \U0001f600 \0',
        "yes": True,
        "whole": -(2**63),
        "part": 0.1,
        "list": ["a", "b"],
        "numbers": [1, 2],
        "endless": float("inf"),
        "none": None,
    }
    tape = writer.Writer(
        folder,
        {"service.name": "kedro"},
        {"detail": "run", "destination": None, "ephemeral": False},
        pytest.fail,
    )
    tape.start(
        "1" * 16,
        encoder.start(
            "command", "a" * 32, "1" * 16, "", "kedro run", 5, {}, more=',"projectCommand":true'
        ),
    )
    tape.span(
        "foreign",
        encoder.span(
            "foreign",
            "a" * 32,
            "2" * 16,
            "1" * 16,
            "x",
            (6, 7),
            values,
            error=True,
            kind=3,
            more=',"flags":0,"traceState":"k=v"',
        ),
    )
    (path,) = reader.segments()
    alive = reader.read(path)
    tape.end(
        "1" * 16,
        encoder.end(
            "command",
            "a" * 32,
            "1" * 16,
            9,
            encoder.attributes({"process.exit.code": 0}),
            error=False,
        ),
    )
    tape.close()
    ended = reader.read(path)
    assert (names(alive), alive.alive) == (["x ended", "kedro run open"], True)
    assert (names(ended), ended.alive, ended.skipped) == (["x ended", "kedro run ended"], False, {})
    foreign, command = ended.operations
    assert foreign.attributes == {key: value for key, value in values.items() if value is not None}
    assert (
        foreign.kind,
        foreign.error,
        foreign.sampled,
        foreign.trace_state,
        foreign.parent_id,
    ) == (3, True, False, "k=v", "1" * 16)
    assert (command.project_command, command.sampled, command.attributes) == (
        True,
        True,
        {"process.exit.code": 0},
    )


def test_rotation_leaves_nothing_dead_and_nothing_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recording that grew over its limit goes on in the next file: nothing in the first is dead, everything is there."""
    monkeypatch.setattr(writer, "ROTATE_BYTES", 2000)
    tape = writer.Writer(folder, {}, {"detail": "run"}, pytest.fail)
    tape.start("1" * 16, encoder.start("run", "a" * 32, "1" * 16, "", "run", 5, {}))
    for number in range(20):
        tape.span(
            "dataset",
            encoder.span(
                "dataset",
                "a" * 32,
                f"{number + 16:016x}",
                "1" * 16,
                f"load {number}",
                (6, 7),
                {},
                error=False,
            ),
        )
    tape.end("1" * 16, encoder.end("run", "a" * 32, "1" * 16, 9, "[]", error=False))
    tape.close()
    found = [reader.read(path) for path in reader.segments()]
    assert len(found) > 2
    assert [segment.continued for segment in found] == [True] * (len(found) - 1) + [False]
    assert [segment.header.sequence for segment in found] == list(range(len(found)))
    assert len({segment.header.process for segment in found}) == 1
    assert [
        operation.state
        for segment in found
        for operation in segment.operations
        if operation.operation == "run"
    ] == ["open"] * (len(found) - 1) + ["ended"]
    assert [
        operation.name
        for segment in found
        for operation in segment.operations
        if operation.operation == "dataset"
    ] == [f"load {number}" for number in range(20)]


def test_no_line_is_lost_wherever_it_rotates(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever line is the one before which a recording goes on in the next file, every operation has one beginning there, and its end."""
    for limit in range(300, 1600, 25):
        monkeypatch.setattr(writer, "ROTATE_BYTES", limit)
        tape = writer.Writer(folder, {}, {"detail": "run"}, pytest.fail)
        ids = [f"{number:016x}" for number in range(1, 9)]
        for span_id in ids:
            tape.start(
                span_id, encoder.start("node", "a" * 32, span_id, "", f"node {span_id}", 5, {})
            )
            tape.end(span_id, encoder.end("node", "a" * 32, span_id, 9, {}, error=False))
        tape.close()
        found = [reader.read(path) for path in reader.segments()]
        assert (
            sorted(
                one.span_id
                for segment in found
                for one in segment.operations
                if one.state == "ended"
            )
            == ids
        )
        for segment in found:
            begun = [
                line
                for line in segment.path.read_bytes().splitlines()
                if line.startswith(b'{"start"')
            ]
            assert len(begun) == len(set(begun))
            segment.path.unlink()


def test_what_is_open_is_judged_by_the_lock(folder: Path) -> None:
    """What is open is running while the lock is held, and died in the process that ended without a word."""
    tape = a_run(folder, [("a", 0.1, 1, 0.1), ("b", 0.2, 9, 0.1)], dies=True)
    tape.live()
    living = reader.read(tape.path)
    tape.dead()
    dead = reader.read(tape.path)
    assert names(living)[-3:] == ["kedro run open", "run __default__ open", "node b open"]
    assert [operation.end_ns for operation in living.operations[-3:]] == [None] * 3
    assert names(dead)[-3:] == ["kedro run died", "run __default__ died", "node b died"]
    for operation in dead.operations[-3:]:
        assert (operation.error, operation.attributes["error.type"], operation.end_ns) == (
            True,
            "kedro_otel.process_died",
            dead.last_ns,
        )
    assert dead.last_ns == tape.ns(0.4 + 1.2 + 0.2)


@pytest.mark.parametrize(
    "header",
    [{"bootId": "another", "machineId": "another"}, {"locked": False}],
    ids=["another boot", "no locks"],
)
def test_nothing_is_taken_for_dead_where_that_cannot_be_told(
    folder: Path, header: dict[str, Any]
) -> None:
    """On another host, after another boot, or without locks, what is open is unknown and never dead."""
    tape = Tape(folder, **header)
    tape.start("run", "run", 1)
    segment = reader.read(tape.path)
    assert (names(segment), segment.alive, segment.operations[0].end_ns) == (
        ["run unknown"],
        None,
        None,
    )


def test_a_lock_says_who_lives(tmp_path: Path) -> None:
    """Held by another open file, free, or none to be had; asking leaves it as it was."""
    path = tmp_path / "x"
    with path.open("w+") as one, path.open("w+") as other:
        assert locking.held(other.fileno()) is False
        assert locking.hold(one.fileno()) is True
        assert locking.held(other.fileno()) is True
        assert locking.hold(other.fileno()) is False
    with path.open() as again:
        assert locking.hold(again.fileno()) is True
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    assert locking.hold(reading) is None
    with pytest.raises(OSError, match="Bad file descriptor"):
        locking.held(reading)


@pytest.mark.parametrize(
    ("here", "there", "same"),
    [
        (("b", "m"), ("b", "m"), True),
        (("b", "m"), ("b", "other"), True),
        (("b", "m"), ("other", "m"), False),
        (("b", "m"), ("", "m"), False),
        (("", "m"), ("b", "m"), False),
        (("", "m"), ("", "m"), True),
        (("", "m"), ("", "other"), False),
    ],
)
def test_the_kernel_is_told_by_its_boot_and_else_by_the_machine(
    here: tuple[str, str],
    there: tuple[str, str],
    same: bool,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where either side knows its boot that decides; where neither does, the machine has to do."""
    header = reader.read(Tape(folder, bootId=there[0], machineId=there[1]).path).header
    monkeypatch.setattr(machine, "boot_id", lambda: here[0])
    monkeypatch.setattr(machine, "machine_id", lambda: here[1])
    assert locking.same_kernel(header) is same


def test_an_operation_says_what_it_is(folder: Path) -> None:
    """A failing test shows kind, name, state, error and ids."""
    tape = Tape(folder, trace="ab" * 16)
    tape.end(tape.start("node", "node a", 1, span="cd" * 8), 2, "ValueError")
    tape.end(tape.start("node", "node b", 1, span="ef" * 8), 2)
    told = [repr(operation) for operation in reader.read(tape.path).operations]
    assert told == [
        "<node 'node a' ended error abababab/cdcdcdcdcdcdcdcd>",
        "<node 'node b' ended abababab/efefefefefefefef>",
    ]


def test_a_snapshot_leaves_its_follower_as_it_is(folder: Path) -> None:
    """What is seen in between has what is open, judged; the follower goes on as if nobody had looked."""
    tape = Tape(folder)
    tape.live()
    follower = reader.Follower(tape.path)
    with pytest.raises(SegmentError, match="empty"):
        follower.snapshot()
    run = tape.start("run", "run", 1)
    tape.span("dataset", "load", run, 1, 2)
    follower.poll()
    assert names(follower.snapshot()) == names(follower.snapshot()) == ["load ended", "run open"]
    assert names(follower.known()) == ["load ended"]
    tape.dead()
    follower.poll()
    seen = follower.snapshot()
    assert names(seen) == ["load ended", "run died"]
    assert names(reader.read(tape.path)) == names(seen)
    assert [operation.state for operation in follower.open_operations()] == ["open"]
    tape.end(run, 3)
    assert [operation.state for operation in follower.poll()] == ["ended"]
    assert "error.type" not in follower.known().operations[-1].attributes
    late = tape.start("run", "run", 4)
    follower.poll()
    assert [operation.span_id for operation in follower.open_operations()] == [late]
    follower.close()
    assert follower.open_operations() == []


def test_a_follower_tells_what_ended_since_and_keeps_what_is_open(folder: Path) -> None:
    """A follower tells what ended since it last looked; a line half written is left for the next time."""
    tape = Tape(folder)
    tape.live()
    follower = reader.Follower(tape.path)
    run = tape.start("run", "run", 1)
    node = tape.start("node", "node a", 1, run)
    assert follower.poll() == []
    assert [operation.name for operation in follower.open_operations()] == ["run", "node a"]
    tape.end(node, 2)
    tape.raw(b'{"drop":"')
    (first,) = follower.poll()
    assert (first.name, first.offset) == ("node a", follower.offset)
    tape.raw(run.encode() + b'"}\n')
    assert follower.poll() == []
    assert follower.open_operations() == []
    assert follower.segment is not None
    assert follower.segment.alive is True
    tape.dead()
    assert follower.poll() == []
    assert follower.close().skipped == {}
    assert follower.segment.alive is False


def test_lines_about_the_segment_itself_are_understood(folder: Path) -> None:
    """A segment says whose it is to send, what it lost, and which operation is void."""
    tape = Tape(folder)
    void = tape.start("node", "node void", 1)
    tape.line(drop=void)
    tape.line(owner="user")
    tape.line(lost={"foreign_too_much": 3})
    tape.line(lost={"foreign_too_much": 2, "odd": -1, "none": 0, "one": 1})
    segment = reader.read(tape.path)
    assert (segment.operations, segment.header.owner, segment.skipped) == ([], "user", {})
    assert dict(segment.lost) == {"foreign_too_much": 5, "one": 1}


def test_what_is_void_is_as_if_it_had_never_been(folder: Path) -> None:
    """A drop takes back what had ended too, and that alone."""
    tape = Tape(folder)
    kept, void = (tape.start("node", f"node {name}", 1) for name in ("kept", "void"))
    tape.end(kept, 2)
    tape.end(void, 2)
    tape.line(drop=void)
    follower = reader.Follower(tape.path)
    assert [operation.name for operation in follower.poll()] == ["node kept"]
    assert names(follower.close()) == ["node kept ended"]


def test_a_damaged_line_costs_itself_alone(folder: Path) -> None:
    """A damaged line costs itself and is counted by reason; its neighbours are read."""
    tape = Tape(folder)
    tape.span("dataset", "load a", "", 1, 2)
    for damage in (
        b"\0\0\0\n",
        b"[]\n",
        b"{}\n",
        b'{"newer":1}\n',
        b'{"span":"dataset"}\n',
        b"[" * 100_000 + b"\n",
        b'{"end":"node","spanId":"x"}\n',
        b'{"end":"node","spanId":[]}\n',
        b'{"newer":"dataset"}\n',
        b'{"span":"newer"}\n',
        b'{"newer":"node"}\n',
        b'{"start":"newer"}\n',
        b'{"drop":"unheard"}\n',
        b"\xff\xfe\n",
        b"1" * 9999 + b"\n",
        b'{"lost":[]}\n',
    ):
        tape.raw(damage)
    tape.span("dataset", "load b", "", 2, 3, a_nan=float("nan"))
    tape.span("dataset", "load \ud800", "", 2, 3)
    tape.raw(b'{"span":"dataset","traceId')
    segment = reader.read(tape.path)
    assert names(segment) == [
        "load a ended",
        "load b ended",
        "load \N{REPLACEMENT CHARACTER} ended",
    ]
    assert segment.skipped == {
        "not JSON": 4,
        "not an object": 2,
        "not known": 6,
        "not as the format says": 1,
        "end without start": 2,
        "torn": 1,
    }


def test_a_line_without_end_is_not_held_in_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line longer than the limit is skipped, counted, and what follows it is read at the right offset."""
    monkeypatch.setattr(reader, "MAX_LINE", 3000)
    monkeypatch.setattr(reader, "_CHUNK", 1000)
    tape = Tape(folder)
    tape.span("dataset", "load a", "", 1, 2)
    tape.raw(b"x" * 50_000 + b"\n")
    tape.span("dataset", "load b", "", 1, 2)
    segment = reader.read(tape.path)
    assert names(segment) == ["load a ended", "load b ended"]
    assert segment.skipped == {"too long": 1}
    assert segment.operations[-1].offset == segment.size == tape.path.stat().st_size
    tape.raw(b"x" * 3001 + b"\n" + b"x" * 9999 + b"\n")
    follower = reader.Follower(tape.path)
    assert len(follower.poll()) == 2
    assert follower.poll() == []
    assert (follower.close().skipped, follower.offset) == (
        {"too long": 3},
        tape.path.stat().st_size,
    )


@pytest.mark.parametrize("chunk", [1, 1 << 20])
def test_a_line_as_long_as_the_limit_is_read(
    chunk: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is the longest line that is read, in whatever pieces it comes."""
    tape = Tape(folder)
    header = tape.path.stat().st_size
    tape.span("dataset", "load a" + "a" * 1000, "", 1, 2)
    length = tape.path.stat().st_size - header - 1
    monkeypatch.setattr(reader, "_CHUNK", chunk)
    for limit, read in ((length, 1), (length - 1, 0)):
        monkeypatch.setattr(reader, "MAX_LINE", limit)
        segment = reader.read(tape.path)
        assert (len(segment.operations), segment.skipped) == (read, {} if read else {"too long": 1})


def test_times_never_run_backwards(folder: Path) -> None:
    """A clock that is set back makes no negative duration."""
    tape = Tape(folder)
    node = tape.start("node", "node a", 100)
    tape.end(node, 1)
    tape.span("dataset", "load", node, 50, 40)
    assert [
        (operation.end_ns or 0) - operation.start_ns
        for operation in reader.read(tape.path).operations
    ] == [0, 0]


def test_only_plain_files_of_ours_are_read(folder: Path, tmp_path: Path) -> None:
    """Links, pipes, folders and files with other names are not recordings."""
    good = Tape(folder, at=1 * SECOND).path
    other = Tape(tmp_path, at=2 * SECOND).path
    linked, hard, pipe, inside, new = (
        folder / f"{number:020d}-1-{secrets.token_hex(4)}.jsonl" for number in range(5)
    )
    linked.symlink_to(other)
    os.link(good, hard)
    os.mkfifo(pipe)
    inside.mkdir()
    (folder / f".new-{new.stem}").write_bytes(good.read_bytes())
    (folder / "notes.txt").write_text("mine")
    assert reader.segments() == [good]
    assert reader.segments(tmp_path / "nowhere") == []
    assert (
        reader.strangers(),
        reader.strangers(folder),
        reader.strangers(tmp_path),
        reader.strangers(tmp_path / "nowhere"),
    ) == (4, 4, 0, 0)
    absent = os.strerror(errno.ENOENT)
    refusals = {
        linked: os.strerror(errno.ELOOP),
        hard: "has a second name (hard link)",
        pipe: "not a file",
        inside: "not a file",
        new: absent,
    }
    if os.geteuid() == 0:
        os.chown(good, 4711, 4711)
        refusals[good] = refusals[hard] = "belongs to somebody else"
        assert reader.segments() == []
    for path, reason in refusals.items():
        with pytest.raises(SegmentError) as refused:
            reader.read(path)
        assert str(refused.value) == f"{path.name}: {reason}"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"{", "empty"),
        (b"hello\n", "no header"),
        (b'{"start":"run"}\n', "no header"),
        (b'{"kedro-otel":2}\n', "format 2"),
        (b'{"kedro-otel":1}\n', "damaged header"),
        (
            b'{"kedro-otel":1,"startTimeUnixNano":"1","resource":{"attributes":7}}\n',
            "damaged header",
        ),
    ],
)
def test_what_is_no_recording_is_said_so(folder: Path, content: bytes, says: str) -> None:
    """A file that is empty, foreign, damaged at its head or of a newer format is refused with a sentence."""
    path = folder / f"{1:020d}-1-00000000.jsonl"
    path.write_bytes(content)
    with pytest.raises(SegmentError, match=f"^{path.name}: .*{says}"):
        reader.read(path)


def test_cut_at_every_byte_the_rest_is_read(folder: Path) -> None:
    """Cut at any byte, a segment gives every operation whose lines are whole."""
    tape = a_run(folder, [("a", 0.1, 1, 0.1)])
    whole = tape.path.read_bytes()
    ends = [index + 1 for index, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(ends[0], len(whole)):
        os.truncate(tape.path, 0)
        tape.path.write_bytes(whole[:length])
        segment = reader.read(tape.path)
        complete = sum(end <= length for end in ends) - 1
        assert segment.size == ends[complete]
        assert (
            len(segment.operations)
            + sum(
                operation.state == "ended" and operation.operation != "dataset"
                for operation in segment.operations
            )
            == complete
        )
        assert segment.skipped == ({} if length in ends else {"torn": 1})


def test_flipped_at_every_byte_nothing_breaks(folder: Path, full: bool) -> None:
    """A bit flipped anywhere raises nothing but SegmentError and costs at most what its line tells."""
    tape = a_run(folder, [("a", 0.1, 1, 0.1)])
    whole = tape.path.read_bytes()
    head = whole.index(b"\n")
    chance = random.Random(1)
    for index in range(len(whole)):
        for bit in range(8) if full else [chance.randrange(8)]:
            damaged = bytearray(whole)
            damaged[index] ^= 1 << bit
            tape.path.write_bytes(damaged)
            try:
                segment = reader.read(tape.path)
            except SegmentError:
                assert index <= head
            else:
                assert len(segment.operations) + sum(segment.skipped.values()) >= 4
