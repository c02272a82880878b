"""What ran, told without reading a whole recording: the same as the reader tells, at a fraction of the work."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from fabricate import Tape, a_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kedro_otel.recording import locking, reader
from kedro_otel.recording import scan as glance_module
from kedro_otel.recording.model import Operation, Segment, SegmentError
from kedro_otel.recording.scan import glance, mentions
from kedro_otel.semconv import names

NODES = [("a", 0.1, 0.2, 0.1), ("b", 0.1, 0.5, 0.1)]


@pytest.fixture
def folder(home: Path) -> Path:
    """Return where recordings are kept; it exists."""
    found = home / "recordings"
    found.mkdir(parents=True)
    return found


def shown(segment: Segment) -> list[dict[str, Any]]:
    """Return commands and runs as dictionaries, without their offsets."""
    return [
        {key: getattr(operation, key) for key in Operation.__slots__ if key != "offset"}
        for operation in segment.operations
        if operation.operation in (names.COMMAND, names.RUN)
    ]


@pytest.mark.parametrize(
    "told",
    [{}, {"error": ("b", "ValueError")}, {"dies": True}, {"command": None}],
    ids=["ok", "failed", "killed", "in Python"],
)
def test_it_tells_commands_and_runs_as_the_reader_does(folder: Path, told: dict[str, Any]) -> None:
    """Commands and runs are told exactly as a full reading tells them, also those of a killed process."""
    tape = a_run(folder, NODES, **told)
    tape.line(owner="user")
    tape.raw(b'{"start":"node","tra\n{"newer":1}\nnonsense}\n')
    tape.raw(b'{"torn')
    assert (
        glance(tape.path).skipped
        == reader.read(tape.path).skipped
        == {"not JSON": 2, "not known": 1, "torn": 1}
    )
    assert shown(glance(tape.path)) == shown(reader.read(tape.path))
    assert glance(tape.path).header == reader.read(tape.path).header
    assert glance(tape.path).size == reader.read(tape.path).size


def test_the_living_are_told_as_such(folder: Path) -> None:
    """A run of a living process is running."""
    tape = a_run(folder, NODES, dies=True)
    tape.live()
    tape.raw(b'{"torn')
    assert [operation["state"] for operation in shown(glance(tape.path))] == ["open", "open"]
    assert glance(tape.path).skipped == {}
    tape.dead()
    assert [operation["state"] for operation in shown(glance(tape.path))] == ["died", "died"]


def test_a_run_that_ends_while_it_is_looked_at_has_not_died(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that writes its last lines and ends between the reading and the asking for its lock is read again, and not taken for dead."""
    tape = Tape(folder)
    run = tape.start("run", "run", 0)
    alive = locking.alive
    asked: list[int] = []

    def ends_just_now(descriptor: int, header: Any) -> bool | None:
        if not asked:
            tape.end(run, 1)
        asked.append(descriptor)
        return alive(descriptor, header)

    monkeypatch.setattr(glance_module.locking, "alive", ends_just_now)
    assert [operation["state"] for operation in shown(glance(tape.path))] == ["ended"]


def test_no_lock_is_asked_for_where_nothing_is_open(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where everything has ended, nobody's lock is touched."""
    tape = a_run(folder, NODES)
    monkeypatch.setattr(glance_module.locking, "alive", lambda *_: pytest.fail("asked"))
    whole = glance_module.whole_file
    looks: list[int] = []
    monkeypatch.setattr(
        glance_module,
        "whole_file",
        lambda descriptor: looks.append(descriptor) or whole(descriptor),
    )
    assert len(glance(tape.path).operations) == 2
    assert len(looks) == 1


def test_a_disk_that_fails_is_said_with_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where reading fails the reason names file and error; nothing is found in it."""
    tape = a_run(folder, NODES, trace="ab" * 16)

    def refuse(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "lseek", refuse)
    for look in (glance, reader.read):
        with pytest.raises(SegmentError, match=f"^{tape.path.name}: {os.strerror(errno.EIO)}$"):
            look(tape.path)
    assert not mentions(tape.path, "ab" * 16)


def test_whose_a_segment_is_can_be_asked(folder: Path) -> None:
    """A segment tells whether anything in it belongs to a trace; one that cannot be read does not."""
    tape = a_run(folder, NODES, trace="ab" * 16)
    assert mentions(tape.path, "ab" * 16)
    assert not mentions(tape.path, "cd" * 16)
    assert not mentions(folder / "nowhere", "ab" * 16)


@pytest.mark.parametrize("content", [b"", b"\n", b"{}\n", b"\0" * 99, b'{"kedro-otel":9}\n'])
def test_what_is_no_recording_is_refused(folder: Path, content: bytes) -> None:
    """What is no recording is refused, as the reader refuses it."""
    path = folder / f"{1:020d}-1-00000000.jsonl"
    path.write_bytes(content)
    for look in (glance, reader.read):
        with pytest.raises(SegmentError):
            look(path)


WORDS = st.sampled_from(
    [
        "start",
        "end",
        "span",
        "drop",
        "owner",
        "continued",
        "lost",
        "traceId",
        "spanId",
        "name",
        "attributes",
        "status",
        "events",
        "kind",
    ]
)
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["run", "node", "dataset", "a" * 32, "b" * 16, "1"]),
    lambda inner: st.lists(inner) | st.dictionaries(WORDS | st.text(max_size=3), inner),
    max_leaves=20,
)


@given(
    lines=st.lists(st.dictionaries(WORDS, ANYTHING, min_size=1) | ANYTHING, max_size=5),
    noise=st.binary(max_size=40),
)
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_line_is_more_than_it_can_bear(folder: Path, lines: list[Any], noise: bytes) -> None:
    """Whatever is on a line, the run before and after it is read, and nothing is raised."""
    for path in folder.iterdir():
        path.unlink()
    tape = Tape(folder)
    run = tape.start("run", "run", 1, span="c" * 16)
    for line in lines:
        tape.line(**line) if isinstance(line, dict) else tape.line(odd=line)
    tape.raw(noise.replace(b"\n", b"") + b"\n")
    tape.end(run, 2)
    for look in (glance, reader.read):
        assert any(
            operation.name == "run" and operation.state == "ended"
            for operation in look(tape.path).operations
        )
