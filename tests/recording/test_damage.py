"""A recording that changed on the disk is told from one that was cut off, and from one that could not be read for a moment."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fabricate import Tape

from kedro_otel.recording import encoder, locking, machine, reader, scan
from kedro_otel.recording.model import NewerFormatError, SegmentError, UnreadableError
from kedro_otel.recording.writer import Writer

FACTS = {"detail": "run", "destination": None, "ephemeral": False}
TRACE = "ab" * 16


@pytest.fixture
def folder(home: Path) -> Path:
    """Return where recordings go; it does not exist."""
    return home / "recordings"


@pytest.fixture
def path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a recording made by the real writer: a command, a run, a node with a dataset, and a command that died."""
    monkeypatch.setattr(machine, "runs", lambda *_: False)  # as if this process had ended
    writer = Writer(folder, {"service.name": "kedro"}, FACTS, pytest.fail)
    for number, operation in enumerate(("command", "run", "node")):
        span = f"{number + 1:016x}"
        parent = f"{number:016x}" if number else ""
        writer.start(span, encoder.start(operation, TRACE, span, parent, operation, 10, {"n": 1}))
    dataset = encoder.span(
        "dataset", TRACE, "000000000000000a", f"{3:016x}", "load", (11, 12), {}, error=False
    )
    for number, operation in reversed(list(enumerate(("command", "run", "node")))):
        span = f"{number + 1:016x}"
        line = encoder.end(operation, TRACE, span, 20, "[]", error=False)
        writer.end(span, line, dataset if operation == "node" else b"")
    died = "00000000000000dd"
    writer.start(died, encoder.start("command", TRACE, died, "", "second", 30, {}))
    writer.abandon()
    return folder / f"{writer.stem}.jsonl"


def told(path: Path, read: Callable[[Path], Any]) -> Any:
    """Return all that a recording says, or None and how many of its lines say nothing."""
    try:
        segment = read(path)
    except SegmentError:
        return None
    return segment.skipped, [
        (one.operation, one.span_id, one.name, one.state, one.end_ns, one.attributes)
        for one in segment.operations
    ]


@pytest.mark.parametrize("read", [reader.read, scan.glance])
def test_a_change_at_every_byte_is_noticed(
    path: Path, read: Callable[[Path], Any], full: bool
) -> None:
    """Whatever byte of a recording changes, and however: it says the same, or it says that it is damaged."""
    whole = path.read_bytes()
    intact = told(path, read)
    assert intact == ({}, intact[1])
    for place in range(len(whole)):
        for change in range(1, 256) if full else (1 << place % 8,):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ change]) + whole[place + 1 :])
            found = told(path, read)
            assert found is None or found == intact or sum(found[0].values()), (place, change)


def test_damage_on_a_line_that_is_passed_over_is_counted(path: Path) -> None:
    """Who looks for commands and runs alone notices a change at every byte of the other lines, too."""
    whole = path.read_bytes()
    begin = whole.index(b'{"end":"node"')
    for place in range(begin, whole.index(b"\n", begin)):
        changed = bytes([whole[place] ^ 1])
        path.write_bytes(whole[:place] + changed + whole[place + 1 :])
        assert sum(scan.glance(path).skipped.values()), whole[begin:place]


def test_bytes_that_are_exchanged_lost_or_doubled_are_noticed(path: Path) -> None:
    """So is a stretch that a disk put elsewhere, left out, or wrote twice."""
    whole = path.read_bytes()
    intact = told(path, reader.read)
    for place in range(0, len(whole) - 16, 7):
        before, piece, after = whole[:place], whole[place : place + 16], whole[place + 16 :]
        for changed in (before + after, before + piece * 2 + after, before + piece[::-1] + after):
            path.write_bytes(changed)
            found = told(path, reader.read)
            # a line that is lost or doubled as a whole, with its newline, leaves nothing that could be noticed
            assert found is None or found == intact or sum(found[0].values()), place


def test_damage_is_told_from_a_torn_tail(path: Path) -> None:
    """What was cut off at the end is torn; what changed in the middle is damaged; neither has died there."""
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert reader.read(path).skipped == {"torn": 1}
    lines = whole.splitlines(keepends=True)
    ends = next(place for place, line in enumerate(lines) if line.startswith(b'{"end":"command"'))
    lines[ends] = lines[ends].replace(b'"20"', b'"21"')
    path.write_bytes(b"".join(lines))
    segment = reader.read(path)
    assert segment.skipped == {"damaged: its checksum does not match": 1}
    assert {one.name: one.state for one in segment.operations if one.operation == "command"} == {
        "command": "unknown",
        "second": "died",
    }


def test_a_line_without_a_checksum_is_damage_where_the_first_has_one(folder: Path) -> None:
    """A recording of an older version has no checksums and is read; one that has them has one on every line."""
    tape = Tape(folder)
    tape.end(tape.start("run", "run", 0), 1)
    assert reader.read(tape.path).skipped == {}
    first, *others = tape.path.read_bytes().splitlines(keepends=True)
    tape.path.write_bytes(encoder.sealed(first) + b"".join(others))
    assert reader.read(tape.path).skipped == {"damaged: its checksum does not match": 2}


def test_the_checksum_is_of_all_before_it() -> None:
    """As docs/recording-format.md says, so that anybody can verify it."""
    line = encoder.sealed(b'{"start":"run","name":"x"}\n')
    assert line == b'{"start":"run","name":"x","crc32":"%08x"}\n' % zlib.crc32(
        b'{"start":"run","name":"x"'
    )


def test_a_newer_format_is_named_and_damage_is_not_taken_for_it(path: Path) -> None:
    """A version that is higher is a newer one's; a header that does not match its checksum is damaged, whatever it says."""
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'{"kedro-otel":1', b'{"kedro-otel":2', 1))
    with pytest.raises(SegmentError, match="damaged header"):
        reader.read(path)
    path.write_bytes(encoder.sealed(b'{"kedro-otel":2,"anything":"else"}\n'))
    with pytest.raises(NewerFormatError, match="written in format 2, this"):
        reader.read(path)


@pytest.mark.parametrize("error", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENOENT])
@pytest.mark.parametrize("call", ["open", "fstat", "read", "lseek"])
def test_an_error_of_the_system_says_nothing_about_the_file(
    call: str, error: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told apart from damage, and the next look at the same follower goes on where it was."""
    intact = told(path, reader.read)
    real = getattr(os, call)
    for number in range(1, 12):
        follower, calls = reader.Follower(path), [0]

        def once(*args: Any, calls: list[int] = calls, number: int = number, **more: Any) -> Any:
            calls[0] += 1
            if calls[0] == number:
                raise OSError(error, os.strerror(error))
            return real(*args, **more)

        monkeypatch.setattr(os, call, once)
        ended = []
        try:
            ended = follower.poll()
        except UnreadableError:
            ended = follower.poll()
        monkeypatch.setattr(os, call, real)
        assert len(ended) == 4
        segment = follower.close()
        found = [
            (one.operation, one.span_id, one.name, one.state, one.end_ns, one.attributes)
            for one in segment.operations
        ]
        assert (segment.skipped, found) == intact
        if calls[0] < number:
            break


def test_less_than_there_is_is_not_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that ends too early is an error that may pass, never the end of the recording."""
    real = os.read
    answers = [b""]
    monkeypatch.setattr(os, "read", lambda *args: answers.pop() if answers else real(*args))
    follower = reader.Follower(path)
    with pytest.raises(UnreadableError, match="less could be read than there is"):
        follower.poll()
    assert len(follower.poll()) == 4


def test_a_folder_that_cannot_be_listed_is_not_empty(
    path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that passes is waited for; one that stays is told from a folder without recordings."""
    real, failures = os.scandir, [1]

    def scandir(where: Any) -> Any:
        if failures[0]:
            failures[0] -= 1
            raise OSError(errno.EIO, "Input/output error")
        return real(where)

    monkeypatch.setattr(os, "scandir", scandir)
    assert [found for found, _ in reader.look(folder).found] == [path]
    failures[0] = 99
    assert reader.look(folder) == ([], 0, 1)
    monkeypatch.setattr(os, "scandir", real)
    assert reader.look(folder / "nowhere") == ([], 0, 0)


def test_a_backup_of_hard_links_hides_nothing(path: Path, folder: Path, tmp_path: Path) -> None:
    """A recording with a second name elsewhere is read; the second name beside it is not another recording."""
    os.link(path, tmp_path / "backup")
    assert reader.segments(folder) == [path]
    assert told(path, reader.read) is not None
    beside = folder / f"{5:020d}-1-0123abcd.jsonl"
    os.link(path, beside)
    assert (reader.segments(folder), reader.strangers(folder)) == ([path], 1)
    with pytest.raises(SegmentError, match="second name"):
        reader.read(beside)
    path.unlink()
    assert reader.segments(folder) == [beside]  # moved: the backup has the other name
    assert told(beside, reader.read) is not None


# --- machines ----------------------------------------------------------------------------------------------------


@pytest.fixture
def boots(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a way to be another machine, under another name, in another boot."""

    def boots(system: str = "", name: str = "", boot: str = "") -> None:
        machine._known.clear()
        if system:
            monkeypatch.setattr(machine, "_linux_id", lambda: system)
            monkeypatch.setattr(machine, "system_id", lambda: system)
        if name:
            monkeypatch.setattr(machine, "_host_name", lambda: name)
        if boot:
            monkeypatch.setattr(machine, "boot_id", lambda: boot)

    yield boots
    machine._known.clear()


def test_a_machine_keeps_its_id_when_it_is_renamed(
    boots: Callable[..., None], folder: Path
) -> None:
    """What it was called when it first recorded here decides, for good; another machine in the same folder has another id."""
    boots("system", "laptop.home")
    Writer(folder, {}, FACTS, pytest.fail).close()
    first = machine.machine_id()
    boots("system", "dhcp-17.office")
    Writer(folder, {}, FACTS, pytest.fail).close()
    assert machine.machine_id() == first
    boots("another", "laptop.home")
    Writer(folder, {}, FACTS, pytest.fail).close()
    assert machine.machine_id() != first
    assert len({scan.glance(path).header.machine_id for path in reader.segments(folder)}) == 2
    assert "laptop" not in "".join(
        path.name + path.read_text() for path in (folder.parent / "machines").iterdir()
    )


def test_whoever_only_looks_writes_no_id(boots: Callable[..., None], home: Path) -> None:
    """A command that reads creates nothing."""
    boots("system", "laptop")
    assert machine.machine_id() == machine.machine_id()
    assert not home.exists()


def test_what_ran_before_a_crash_of_this_machine_has_died(
    boots: Callable[..., None], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing outlives its machine's boot; of another machine's, and where ids are shared, nobody knows."""
    boots("system", "laptop", "first boot")
    monkeypatch.setattr(machine, "certain", lambda: True)
    writer = Writer(folder, {}, FACTS, pytest.fail)
    writer.start("0" * 15 + "1", encoder.start("run", TRACE, "0" * 15 + "1", "", "run", 10, {}))
    writer.abandon()
    (path,) = reader.segments(folder)
    boots(boot="second boot")
    assert [one.state for one in reader.read(path).operations] == ["died"]
    monkeypatch.setattr(machine, "certain", lambda: False)
    assert [one.state for one in reader.read(path).operations] == ["unknown"]
    monkeypatch.setattr(machine, "certain", lambda: True)
    boots("another", "other", "third boot")
    assert [one.state for one in reader.read(path).operations] == ["unknown"]


def test_a_lock_that_cannot_be_asked_for_a_moment_is_asked_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One refusal proves neither that the folder has no locks nor that the process lives."""
    real, failures = locking.fcntl.flock, [0]
    for error in (errno.EIO, errno.ENOLCK, errno.ESTALE):

        def flock(descriptor: int, how: int, error: int = error) -> None:
            if failures[0]:
                failures[0] -= 1
                raise OSError(error, os.strerror(error))
            real(descriptor, how)

        monkeypatch.setattr(locking.fcntl, "flock", flock)
        failures[0] = 1
        assert reader.read(path).alive is False
    failures[0] = 99
    with pytest.raises(UnreadableError):
        reader.read(path)
