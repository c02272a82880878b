"""Writing recordings: what is in the file, byte by byte, who may see it, and what happens when it cannot be."""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import re
import resource
import stat
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kedro_otel.facts.clock import clock
from kedro_otel.facts.trace_context import Remote
from kedro_otel.recording import (
    encoder,
    in_memory_writer,
    locking,
    machine,
    reader,
    segment_file,
    worker_context,
    writer,
)
from kedro_otel.recording.segment_file import NOT_WRITTEN
from kedro_otel.recording.writer import RecordingError, Writer, private_folder
from kedro_otel.tracing.run_nodes import ActiveNode

FACTS = {"detail": "run", "destination": None, "ephemeral": True}
RESOURCE = {"service.name": "kedro", "n": 1, "absent": None}


@pytest.fixture
def folder(home: Path) -> Path:
    """Return where recordings go; it does not exist."""
    return home / "recordings"


@pytest.fixture
def said() -> list[str]:
    """Return what a writer complains of."""
    return []


@pytest.fixture
def tape(folder: Path, said: list[str]) -> Writer:
    """Return a writer with nothing but a header."""
    return Writer(folder, RESOURCE, FACTS, said.append)


SEAL = len(encoder.sealed(b"{}\n")) - len(b"{}\n")
"""Bytes that a checksum adds to a line."""


def unsealed(line: bytes) -> dict[str, Any]:
    """Return what is on a line whose checksum is right, without it."""
    *body, number = line.rpartition(b',"crc32":"')
    written = re.sub(rb'^({"kedro-otel":1,"stopped":)\d', rb"\g<1>0", body[0])
    assert int(number[:-2], 16) == zlib.crc32(written)
    found: dict[str, Any] = json.loads(line)
    del found["crc32"]
    return found


def rows(folder: Path) -> list[list[dict[str, Any]]]:
    """Return the lines of every segment without their checksums, the oldest first."""
    return [
        [unsealed(line) for line in path.read_bytes().splitlines()]
        for path in sorted(folder.glob("*.jsonl"))
    ]


def test_the_header_says_who_writes_where_and_for_whom(tape: Writer, folder: Path) -> None:
    """The first line, whole; it is there at once, under the segment's own name, and nothing else is."""
    (path,) = folder.iterdir()
    header = rows(folder)[0][0]
    stem = path.name.removesuffix(".jsonl")
    begun, pid, random = stem.split("-")
    assert (len(begun), int(pid), len(random), len(bytes.fromhex(random))) == (
        20,
        os.getpid(),
        8,
        4,
    )
    assert abs(int(begun) - time.time_ns()) < 60 * 10**9
    assert len(bytes.fromhex(tape.process)) == 8
    assert 0 < int(header.pop("sinceBootNano")) <= machine.since_boot_ns()
    assert header == {
        "kedro-otel": 1,
        "stopped": 0,
        "sequence": 0,
        "pid": os.getpid(),
        "segment": stem,
        "process": tape.process,
        "bootId": machine.boot_id(),
        "machineId": machine.machine_id(),
        "processStart": machine.process_start(os.getpid()),
        "startTimeUnixNano": str(int(begun)),
        "owner": "kedro-otel",
        "detail": "run",
        "locked": True,
        "destination": None,
        "ephemeral": True,
        "resource": {
            "attributes": [
                {"key": "service.name", "value": {"stringValue": "kedro"}},
                {"key": "n", "value": {"intValue": "1"}},
            ]
        },
    }
    assert (tape.stem, tape.on, tape.resource, tape.facts, tape.folder) == (
        stem,
        True,
        RESOURCE,
        FACTS,
        folder,
    )


def test_every_call_is_a_line(tape: Writer, folder: Path) -> None:
    """Lines appear as they are written, in order; a drop only for what is open, the owner once, what was lost at the end."""
    tape.start("a", b'{"start":1}\n')
    assert rows(folder)[0][1:] == [{"start": 1}]
    tape.end("a", b'{"end":1}\n')
    tape.drop("a")
    tape.start("b", b'{"start":2}\n')
    tape.drop("b")
    tape.drop("b")
    tape.owned_by_user()
    tape.owned_by_user()
    tape.span("dataset", b'{"span":3}\n')
    tape.lost["x"] += 2
    tape.lost["y"] += 1
    tape.close()
    assert rows(folder)[0][1:] == [
        {"start": 1},
        {"end": 1},
        {"start": 2},
        {"drop": "b"},
        {"owner": "user"},
        {"span": 3},
        {"lost": {"x": 2, "y": 1}},
    ]
    assert not tape.on
    assert not tape.lost
    tape.close()
    assert len(rows(folder)[0]) == 8


def test_a_nodes_last_dataset_takes_the_write_of_its_end(
    tape: Writer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two lines, one write, in this order; where the recording is far too long for the dataset's, the end goes alone."""
    writes: list[bytes] = []
    write = os.write
    monkeypatch.setattr(
        os, "write", lambda descriptor, data: writes.append(data) or write(descriptor, data)
    )
    tape.start("a", b'{"start":1}\n')
    tape.end("a", b'{"end":3}\n', b'{"span":2}\n')
    start, span, end = map(encoder.sealed, (b'{"start":1}\n', b'{"span":2}\n', b'{"end":3}\n'))
    assert writes == [start, span + end]
    tape._drop_after = {"dataset": tape._size}
    tape.end("b", b'{"end":5}\n', b'{"span":4}\n')
    tape.end("b", b'{"end":7}\n', b'{"span":6}\n')
    tape.end("b", b'{"end":9}\n', b'{"span":8}\n')
    assert tape.lost == {"dataset_too_much": 2}
    tape.close()
    assert rows(folder)[0][1:] == [
        {"start": 1},
        {"span": 2},
        {"end": 3},
        {"span": 4},
        {"end": 5},
        {"end": 7},
        {"end": 9},
        {"lost": {"dataset_too_much": 2}},
    ]


def test_a_fork_child_lets_go_of_its_parents_segment(tape: Writer, folder: Path) -> None:
    """It is the parent's to write, and the parent's lock, which another thread may have had, is not the child's."""
    tape._lock.acquire()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            tape.abandon()
            tape.close()
            code = int(tape.on)
        finally:
            os._exit(code)
    tape._lock.release()
    assert os.waitpid(child, 0)[1] == 0
    tape.span("dataset", b'{"span":1}\n')
    tape.close()
    assert rows(folder)[0][1:] == [{"span": 1}]


def test_what_is_the_users_from_now_on_is_a_segment_of_its_own(tape: Writer, folder: Path) -> None:
    """Asked for anew, the segment so far stays ours to ship, and goes on in one that is the user's; a stopped one stays stopped."""
    tape.start("a", b'{"start":1}\n')
    tape.owned_by_user(anew=True)
    tape.owned_by_user(anew=True)
    tape.end("a", b'{"end":2}\n')
    tape.close()
    ours, theirs = rows(folder)
    assert ours[1:] == [{"start": 1}, {"continued": theirs[0]["segment"]}]
    assert [segment[0]["owner"] for segment in (ours, theirs)] == ["kedro-otel", "user"]
    assert theirs[1:] == [{"start": 1}, {"end": 2}]
    other = Writer(folder, {}, FACTS, pytest.fail)
    other.close()
    other.owned_by_user(anew=True)
    assert len(rows(folder)) == 3
    assert other.lost == {"recording_stopped": 1}


def test_nothing_lost_is_no_line(tape: Writer, folder: Path) -> None:
    """A recording from which nothing is missing ends with its last operation."""
    tape.close()
    assert len(rows(folder)[0]) == 1


def test_only_the_user_may_look(folder: Path, said: list[str]) -> None:
    """Folder 0700 and file 0600, also where the folder was there and open to others, under any umask."""
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    before = os.umask(0)
    try:
        Writer(folder, {}, FACTS, said.append)
        private_folder(folder.parent / "another" / "deep")
    finally:
        os.umask(before)
    (path,) = folder.iterdir()
    assert [
        stat.S_IMODE(each.stat().st_mode)
        for each in (folder, path, folder.parent / "another" / "deep")
    ] == [0o700, 0o600, 0o700]
    assert said == []


def test_it_counts_as_alive_until_it_is_closed(tape: Writer, folder: Path) -> None:
    """The lock is held from before the name is there until the end; a fork child lets go without a word, and without the parent's lock."""
    (path,) = folder.iterdir()
    with path.open("rb") as file:
        assert locking.held(file.fileno()) is True
        child = os.fork()
        if child == 0:
            tape.abandon()
            os._exit(0 if not tape.on else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert locking.held(file.fileno()) is True
        tape.close()
        assert locking.held(file.fileno()) is False
    assert len(rows(folder)[0]) == 1


def test_a_lock_is_told_from_none(tmp_path: Path) -> None:
    """A lock that somebody else has, or that the file system does not have, is none."""
    path = tmp_path / "x"
    with path.open("w") as one, path.open("w") as other:
        assert segment_file.lock(one.fileno())
        assert not segment_file.lock(other.fileno())
        fcntl.flock(one, fcntl.LOCK_UN)
        assert segment_file.lock(other.fileno())
    reading, writing = os.pipe()
    os.close(writing)
    os.close(reading)
    assert not segment_file.lock(reading)


@pytest.mark.parametrize("mode", ["file", "link", "parent"])
def test_a_folder_that_is_none_is_refused(
    mode: str, folder: Path, tmp_path: Path, said: list[str]
) -> None:
    """What is refused is named, with the reason, and nothing is left behind."""
    folder.parent.mkdir(parents=True)
    if mode == "file":
        folder.write_text("")
        says = f"{folder} cannot be made (File exists)"
    elif mode == "link":
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to(tmp_path / "elsewhere")
        says = f"{folder} is not a folder"
    else:
        folder.parent.rmdir()
        folder.parent.write_text("")
        says = f"{folder} cannot be made (Not a directory)"
    with pytest.raises(RecordingError) as refused:
        Writer(folder, {}, FACTS, said.append)
    assert str(refused.value) == says
    assert said == []
    assert not (tmp_path / "elsewhere").exists() or not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_a_folder_of_somebody_else_is_refused(folder: Path, said: list[str]) -> None:
    """Even where we could write into it."""
    folder.mkdir(parents=True)
    os.chown(folder, 4711, 4711)
    with pytest.raises(RecordingError, match=r"belongs to another user$"):
        Writer(folder, {}, FACTS, said.append)


def test_rotation_goes_on_where_it_was(
    tape: Writer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the limit a new segment begins with what is open; the old one says which, and both are one process's."""
    monkeypatch.setattr(writer, "ROTATE_BYTES", 1)
    tape.lost["kept"] += 1
    tape.start("a", b'{"start":"a"}\n')
    monkeypatch.setattr(writer, "ROTATE_BYTES", 1 << 20)
    tape.start("b", b'{"start":"b"}\n')
    monkeypatch.setattr(writer, "ROTATE_BYTES", 1)
    tape.end("a", b'{"end":"a"}\n')
    monkeypatch.setattr(writer, "ROTATE_BYTES", 1 << 20)
    tape.close()
    first, second, third = rows(folder)
    assert [row[0]["sequence"] for row in (first, second, third)] == [0, 1, 2]
    assert {row[0]["process"] for row in (first, second, third)} == {tape.process}
    assert first[1:] == [{"continued": second[0]["segment"]}]
    assert second[1:] == [{"start": "a"}, {"start": "b"}, {"continued": third[0]["segment"]}]
    assert third[1:] == [{"start": "a"}, {"start": "b"}, {"end": "a"}, {"lost": {"kept": 1}}]


def test_size_counts_the_header_and_every_line(
    tape: Writer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment is as long as its limit, and one line."""
    (path,) = folder.iterdir()
    line = b'{"end":"x"}\n'
    monkeypatch.setattr(writer, "ROTATE_BYTES", path.stat().st_size + 3 * (len(line) + SEAL) - 1)
    for _ in range(3):
        tape.end("x", line)
    assert len(rows(folder)) == 1
    tape.end("x", line)
    assert [len(found) for found in rows(folder)] == [5, 2]
    monkeypatch.setattr(writer, "ROTATE_BYTES", tape._size)
    tape.end("x", line)
    assert [len(found) for found in rows(folder)] == [5, 3]
    tape.end("x", line)
    assert [len(found) for found in rows(folder)] == [5, 4, 2]


def test_all_that_is_open_goes_along(
    tape: Writer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new segment begins with every operation that is open, and its size counts them."""
    for name in "abc":
        tape.start(name, f'{{"start":"{name}"}}\n'.encode())
    monkeypatch.setattr(writer, "ROTATE_BYTES", 1)
    tape.end("a", b'{"end":"a"}\n')
    _, second = rows(folder)
    assert second[1:] == [{"start": "a"}, {"start": "b"}, {"start": "c"}, {"end": "a"}]
    assert tape._size == (folder / f"{tape.stem}.jsonl").stat().st_size


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), OSError("odd")], ids=str
)
def test_a_rotation_that_cannot_be_written_stops_it(
    error: OSError, tape: Writer, folder: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where what is open cannot go along, recording stops with the reason."""
    write = os.write

    def refuse(descriptor: int, data: bytes) -> int:
        if data.startswith(b'{"kedro-otel"'):
            return write(descriptor, data)
        raise error

    monkeypatch.setattr(writer, "ROTATE_BYTES", 1)
    monkeypatch.setattr(os, "write", refuse)
    tape.end("a", b'{"end":"a"}\n')
    assert said == [stopped(error.strerror or "odd")]
    assert not tape.on


@pytest.mark.parametrize("short", ["head", "continued"])
def test_a_rotation_that_is_half_written_stops_it(
    short: str, tape: Writer, folder: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk has room for only half of it, recording stops, and what is open is told in the segment before, once."""
    line = b'{"start":"a","spanId":"a"}\n'
    tape.start("a", line)
    before = (folder / f"{tape.stem}.jsonl").read_bytes()
    before = before.replace(b'"stopped":0', b'"stopped":2')
    write = os.write

    def half(descriptor: int, data: bytes) -> int:
        wanted = (
            data.endswith(encoder.sealed(line))
            if short == "head"
            else data.startswith(b'{"continued"')
        )
        return write(descriptor, data[:-9] if wanted else data)

    monkeypatch.setattr(writer, "ROTATE_BYTES", 1)
    monkeypatch.setattr(os, "write", half)
    tape.end("a", b'{"end":"a"}\n')
    (path,) = folder.iterdir()
    assert path.read_bytes().startswith(before)
    assert (path.read_bytes() == before) == (short == "head")
    assert len(said) == 1
    assert re.search(r"no space left( on device)?\)", said[0])
    assert (tape.on, tape.lost) == (False, {"recording_stopped": 1})


def test_a_rotation_whose_last_word_is_refused_stops_it(
    tape: Writer, folder: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old segment cannot say that it is continued, and the new one cannot even be taken away: recording ends, and says why."""
    tape.start("a", b'{"start":"a","spanId":"a"}\n')
    write = os.write

    def refused(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(writer, "ROTATE_BYTES", 1)
    monkeypatch.setattr(
        os,
        "write",
        lambda descriptor, data: (
            refused() if data.startswith(b'{"continued"') else write(descriptor, data)
        ),
    )
    monkeypatch.setattr(os, "unlink", refused)
    tape.end("a", b'{"end":"a"}\n')
    assert (len(said), "(Input/output error)" in said[0]) == (1, True)
    assert (tape.on, tape.lost) == (False, {"recording_stopped": 1})


@pytest.mark.parametrize("where", ["open", "write", "rename"])
def test_a_folder_that_cannot_be_written_is_refused(
    where: str, folder: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason names folder and error; no descriptor and no half segment is left, where that can be removed."""

    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    folder.mkdir(parents=True, mode=0o700)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with monkeypatch.context() as broken:
        broken.setattr(os, where, refuse)
        with pytest.raises(RecordingError) as refused:
            Writer(folder, {}, FACTS, said.append)
        assert str(refused.value) == f"{folder} cannot be written ({os.strerror(errno.EROFS)})"
        assert list(folder.iterdir()) == []
        broken.setattr(os, "unlink", refuse)
        with pytest.raises(RecordingError, match="cannot be written"):
            Writer(folder, {}, FACTS, said.append)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_header_that_is_half_written_is_refused(
    folder: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk with room for half a header has none."""
    monkeypatch.setattr(os, "write", lambda _, data: len(data) - 1)
    with pytest.raises(RecordingError) as refused:
        Writer(folder, {}, FACTS, said.append)
    assert str(refused.value) == f"{folder} cannot be written (no space left on device)"
    assert list(folder.iterdir()) == []


def test_a_process_without_standard_input_is_recorded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Descriptor 0 is as good as any, for the first segment and for the next."""
    kept = os.dup(0)
    try:
        os.close(0)
        tape = Writer(folder, {}, FACTS, pytest.fail)
        tape.end("a", b'{"end":1}\n')
        tape.owned_by_user(anew=True)
        with monkeypatch.context() as small:
            small.setattr(writer, "ROTATE_BYTES", 1)
            tape.end("a", b'{"end":2}\n')
        with pytest.raises(OSError):
            os.fstat(0)
        tape.close()
    finally:
        os.dup2(kept, 0)
        os.close(kept)
    first, second, third = rows(folder)
    assert ([*first[1:-1], second[0]["owner"]], third[1:]) == ([{"end": 1}, "user"], [{"end": 2}])


def number(tape: Writer) -> int:
    """Return the number of the segment's descriptor."""
    assert tape._file is not None
    return tape._file._descriptor


def test_its_descriptor_is_out_of_the_way(tape: Writer) -> None:
    """The lowest numbers are the program's: what it opens has the number that it would have without us."""
    assert number(tape) >= 64
    assert not os.get_inheritable(number(tape))
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    assert free < 64


def test_where_few_descriptors_are_allowed_it_has_one_of_those(folder: Path) -> None:
    """A limit below the numbers that are asked for, or no free one among them, costs nothing."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    top = max(int(name.name) for name in Path("/proc/self/fd").iterdir()) + 4
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (top, before[1]))
        tape = Writer(folder, RESOURCE, FACTS, pytest.fail)
        assert number(tape) < top
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    tape.close()


@pytest.mark.parametrize("marks", [True, False])
@pytest.mark.parametrize("how", ["closed", "replaced"])
def test_a_program_that_closes_its_descriptor_gets_nothing_in_its_files(
    how: str,
    marks: bool,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The segment is opened again, locked as before, and goes on; that it happened is counted, and the program's file stays as it is.

    So it is with and without the kernel's mark on the open file.
    """
    if not marks:
        monkeypatch.setattr(segment_file, "mark", lambda _: None)
    tape = Writer(folder, RESOURCE, FACTS, pytest.fail)
    tape.start("a", b'{"start":"a"}\n')
    taken = number(tape)
    os.close(taken)
    if how == "replaced":
        with (tmp_path / "theirs").open("wb") as theirs:
            os.dup2(theirs.fileno(), taken)
    tape.end("a", b'{"end":"a"}\n')
    with (folder / f"{tape.stem}.jsonl").open("rb") as file:
        assert locking.held(file.fileno())
    tape.close()
    assert rows(folder)[0][1:] == [{"start": "a"}, {"end": "a"}, {"lost": {"descriptor_closed": 1}}]
    if how == "replaced":
        os.close(taken)  # it is the program's still
        assert (tmp_path / "theirs").read_bytes() == b""


@pytest.mark.parametrize("way", ["close", "abandon"])
def test_a_descriptor_that_is_not_ours_is_never_closed(
    way: str, tape: Writer, tmp_path: Path
) -> None:
    """At the end, and in a fork, the program's file under our number stays open."""
    taken = number(tape)
    with (tmp_path / "theirs").open("wb") as theirs:
        os.dup2(theirs.fileno(), taken)
    if way == "abandon":
        tape.abandon()
    else:
        (tape.folder / f"{tape.stem}.jsonl").unlink()
        tape.close()
    assert not tape.on
    assert os.fstat(taken).st_ino == (tmp_path / "theirs").stat().st_ino
    os.close(taken)


def test_a_closed_descriptor_of_a_segment_that_is_gone_stops_it_in_silence(
    tape: Writer, folder: Path, said: list[str]
) -> None:
    """After a purge there is nothing to open again, and nothing to tell."""
    os.close(number(tape))
    (folder / f"{tape.stem}.jsonl").unlink()
    tape.end("a", b'{"end":"a"}\n')
    assert (said, tape.on, list(folder.iterdir())) == ([], False, [])


def test_a_segment_that_cannot_be_opened_again_stops_it(
    tape: Writer, folder: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file is there and may not be opened, recording stops with the reason; another file of its name is left alone."""
    path = folder / f"{tape.stem}.jsonl"
    os.close(number(tape))
    with monkeypatch.context() as refused:
        refused.setattr(os, "open", lambda *_: exec("raise OSError(13, 'no')"))
        tape.end("a", b'{"end":"a"}\n')
    assert said == [stopped("its file was closed by the program")]
    assert len(rows(folder)[0]) == 1
    assert path.exists()


def test_an_error_without_a_name_is_told_in_its_own_words(
    tape: Writer, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the system does not name is told as it is."""

    def refuse(*_: object) -> int:
        raise OSError("odd")

    monkeypatch.setattr(os, "write", refuse)
    tape.end("a", b'{"end":"a"}\n')
    assert said == [stopped("odd")]


def stopped(reason: str) -> str:
    """Return the one sentence that tells that recording stopped."""
    return f"kedro-otel stopped recording ({reason}); your run goes on unchanged, and what was recorded before is kept: kedro otel status"


def answering(
    monkeypatch: pytest.MonkeyPatch, tape: Writer, answer: Callable[[bytes], int]
) -> None:
    """Let writes to the segment be answered by ``answer``; others are real."""
    write, ours = os.write, number(tape)
    monkeypatch.setattr(
        os, "write", lambda to, data: answer(data) if to == ours else write(to, data)
    )


def test_no_space_stops_it_once(
    tape: Writer, folder: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: one sentence, everything after it is counted, what was written stays, and it no longer counts as alive."""
    tape.start("a", b'{"start":"a"}\n')
    full = os.open("/dev/full", os.O_WRONLY)
    write = os.write
    answering(monkeypatch, tape, lambda data: write(full, data))
    for _ in range(3):
        tape.end("a", b'{"end":"a"}\n')
    os.close(full)
    assert said == [stopped(os.strerror(errno.ENOSPC))]
    assert not tape.on
    assert tape.lost == {"recording_stopped": 3}
    assert rows(folder)[0][0]["stopped"] == int(NOT_WRITTEN)
    assert rows(folder)[0][1:] == [{"start": "a"}]


def test_half_a_line_stops_it(
    tape: Writer, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that took less than the line is the last."""
    answering(monkeypatch, tape, lambda data: len(data) - 1)
    tape.end("a", b"x" * 8191 + b"\n")
    assert said == [stopped("no space left on device")]
    assert tape.lost["recording_stopped"] == 1


def test_a_folder_that_goes_while_it_rotates_stops_it(
    tape: Writer, folder: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no next segment can be begun, recording stops with the reason."""
    monkeypatch.setattr(writer, "ROTATE_BYTES", 1)
    moved = folder.rename(folder.with_name("moved"))
    folder.write_text("")
    tape.end("a", b'{"end":"a"}\n')
    assert said == [stopped(f"{folder} cannot be made (File exists)")]
    assert len(rows(moved)[0]) == 1


def test_far_too_much_is_dropped_in_order_of_worth(
    tape: Writer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Foreign spans go first, then datasets; commands, runs and nodes never; each is counted."""
    line = b"{%s}\n" % (b'"x":' + b"1" * 95)
    three, five = (number * (len(line) + SEAL) for number in (3, 5))
    tape._drop_after = {"foreign": tape._size + three - 1, "dataset": tape._size + five - 1}
    for _ in range(8):
        tape.span("foreign", line)
    for _ in range(8):
        tape.span("dataset", line)
    tape.start("a", line)
    tape.close()
    assert len(rows(folder)[0]) == 1 + 3 + 2 + 1 + 1
    assert rows(folder)[0][-1] == {"lost": {"foreign_too_much": 5, "dataset_too_much": 6}}
    exact = Writer(folder, {}, FACTS, pytest.fail)
    exact._drop_after = {"dataset": exact._size + len(line) + SEAL}
    for _ in range(3):
        exact.span("dataset", line)
    assert exact.lost == {"dataset_too_much": 1}


def test_far_too_much_is_of_all_segments_together(
    tape: Writer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written to segments that are continued counts too."""
    line = b"{%s}\n" % (b'"x":' + b"1" * 95)
    monkeypatch.setattr(writer, "ROTATE_BYTES", tape._size + len(line) + SEAL)
    tape._drop_after = {"dataset": 3 * tape._size + 6 * (len(line) + SEAL)}
    for _ in range(9):
        tape.span("dataset", line)
    assert tape._sequence == 3
    assert tape.lost == {"dataset_too_much": 2}


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_what_is_dropped_is_counted_by_one_at_a_time(
    kind: str, tape: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever counts has the lock that whoever tells the counts has too, so that none is lost between the two."""
    recorder = in_memory_writer.InMemoryWriter({}, FACTS) if kind == "memory" else tape
    alone: list[bool] = []

    class Counts(Counter[str]):
        """Notes whether the lock is taken when it counts."""

        def __setitem__(self, reason: str, count: int) -> None:
            alone.append(recorder._lock._is_owned())  # type: ignore[attr-defined]
            super().__setitem__(reason, count)

    recorder.lost = Counts()
    recorder._drop_after = {"dataset": -1}
    recorder.span("dataset", b"{}\n")
    assert (recorder.lost, alone) == ({"dataset_too_much": 1}, [True])


def test_the_bounds_are_what_the_documentation_says() -> None:
    """Sixteen MiB a segment; foreign spans until 256 MiB, datasets until 288; half a second between two looks."""
    assert writer.ROTATE_BYTES == 16 << 20
    assert writer._DROP_AFTER == {"foreign": 256 << 20, "dataset": 288 << 20}
    assert (writer.LOOK_SECONDS, in_memory_writer.MAX_BYTES) == (0.5, 8 << 20)


@pytest.mark.parametrize("why", ["off", "purged", "moved", "neither"])
def test_it_stops_soon_when_it_is_no_longer_wanted(
    why: str, folder: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks at most every so often; switched off or purged, it stops without a word and nothing comes back."""
    asked: list[int] = []

    def wanted() -> bool:
        asked.append(1)
        return why != "off"

    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    tape = Writer(folder, {}, FACTS, said.append, wanted)
    (path,) = folder.iterdir()
    clock[0] += writer.LOOK_SECONDS
    tape.end("a", b'{"end":"a"}\n')
    assert asked == []
    size = path.stat().st_size
    if why == "purged":
        path.unlink()
    elif why == "moved":
        path = path.rename(path.with_suffix(".aside"))
    clock[0] += 0.001
    tape.end("a", b'{"end":"a"}\n')
    tape.end("a", b'{"end":"a"}\n')
    assert tape.on == (why in {"neither", "moved"})
    assert asked == ([] if why == "purged" else [1])
    assert said == []
    assert list(folder.iterdir()) == ([] if why == "purged" else [path])
    if why != "purged":
        assert path.stat().st_size == size + (2 * (12 + SEAL) if tape.on else 0)
    clock[0] += writer.LOOK_SECONDS + 0.001
    tape.end("a", b'{"end":"a"}\n')
    assert asked == {"purged": [], "off": [1]}.get(why, [1, 1])


# --- lines -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "spelled"),
    [
        ("a", {"stringValue": "a"}),
        ('"\\\n\x00é\u202e', {"stringValue": '"\\\n\x00é\u202e'}),
        ("\ud800x", {"stringValue": "?x"}),
        ("x" * 8192, {"stringValue": "x" * 8192}),
        ("x" * 8193, {"stringValue": "x" * 8191 + "…"}),
        (True, {"boolValue": True}),
        (False, {"boolValue": False}),
        (0, {"intValue": "0"}),
        (-(2**63), {"intValue": str(-(2**63))}),
        (2**63 - 1, {"intValue": str(2**63 - 1)}),
        (2**63, {"stringValue": "9.223372e+18"}),
        (-(2**63) - 1, {"stringValue": "-9.223372e+18"}),
        pytest.param(10**400 + 1, {"stringValue": "1e+400"}, id="past a float"),
        pytest.param(-(10**400) - 1, {"stringValue": "-1e+400"}, id="past a float, negative"),
        pytest.param(10**5000, {"stringValue": "1e+5000"}, id="more digits than Python spells"),
        pytest.param(1 << 10**7, {"stringValue": "1e+3010300"}, id="a megabyte"),
        (0.5, {"doubleValue": 0.5}),
        (1e300, {"doubleValue": 1e300}),
        (math.inf, {"doubleValue": "Infinity"}),
        (-math.inf, {"doubleValue": "-Infinity"}),
        (math.nan, {"doubleValue": "NaN"}),
        (["a", 1], {"arrayValue": {"values": [{"stringValue": "a"}, {"intValue": "1"}]}}),
        (("a",), {"arrayValue": {"values": [{"stringValue": "a"}]}}),
        (list(range(257)), {"arrayValue": {"values": [{"intValue": str(n)} for n in range(256)]}}),
        (object(), {"stringValue": "object"}),
        (
            {"a": {"b": [None]}, 1: b"c", object(): 2},
            {
                "kvlistValue": {
                    "values": [
                        {
                            "key": "a",
                            "value": {
                                "kvlistValue": {
                                    "values": [
                                        {
                                            "key": "b",
                                            "value": {
                                                "arrayValue": {"values": [{"nullValue": None}]}
                                            },
                                        }
                                    ]
                                }
                            },
                        },
                        {"key": "1", "value": {"bytesValue": "Yw=="}},
                        {"key": "object", "value": {"intValue": "2"}},
                    ]
                }
            },
        ),
        (b"\x00\xff", {"bytesValue": "AP8="}),
        (None, {"nullValue": None}),
    ],
)
def test_every_value_has_one_spelling(value: object, spelled: dict[str, Any]) -> None:
    """OTLP/JSON for what has a counterpart there; for the rest the name of its type, and nothing of what is in it."""
    text = encoder.any_value(value)
    assert text.isascii()
    assert json.loads(text) == spelled


def test_each_kind_of_line_is_spelled_so() -> None:
    """Lines, byte by byte: readers rely on the first key and word."""
    assert encoder.start("node", "t", "s", "p", "n", 5, {"a": 1, "b": None}, more=',"x":1') == (
        b'{"start":"node","traceId":"t","spanId":"s","parentSpanId":"p","name":"n","kind":1,"startTimeUnixNano":"5",'
        b'"attributes":[{"key":"a","value":{"intValue":"1"}}],"x":1}\n'
    )
    assert encoder.start("node", "t", "s", "", "n", 5, {}).endswith(b'"attributes":[]}\n')
    assert encoder.end("node", "t", "s", 6, "[]", error=False) == (
        b'{"end":"node","traceId":"t","spanId":"s","endTimeUnixNano":"6","status":{},"attributes":[]}\n'
    )
    told = encoder.events([("exception", 7, {"k": "v"}), ("é", 8, {})])
    assert encoder.end(
        "node", "t", "s", 6, encoder.attributes({"a": "b"}), error=True, events=told
    ) == (
        b'{"end":"node","traceId":"t","spanId":"s","endTimeUnixNano":"6","status":{"code":2},'
        b'"attributes":[{"key":"a","value":{"stringValue":"b"}}],"events":[{"timeUnixNano":"7","name":"exception",'
        b'"attributes":[{"key":"k","value":{"stringValue":"v"}}]},{"timeUnixNano":"8","name":"\\u00e9","attributes":[]}]}\n'
    )
    assert encoder.span(
        "foreign", "t", "s", "p", "n", (5, 6), {}, error=True, kind=3, more=',"x":1'
    ) == (
        b'{"span":"foreign","traceId":"t","spanId":"s","parentSpanId":"p","name":"n","kind":3,'
        b'"startTimeUnixNano":"5","endTimeUnixNano":"6","status":{"code":2},"attributes":[],"x":1}\n'
    )
    assert b'"kind":1,' in encoder.span("foreign", "t", "s", "", "n", (5, 6), {}, error=False)
    assert b'"status":{},"attributes":[]}\n' in encoder.span(
        "foreign", "t", "s", "", "n", (5, 6), {}, error=False
    )


def test_what_few_spans_have_is_spelled_so() -> None:
    """Nothing for most; the sampler's no, the trace state, and links, as further members."""
    assert encoder.rare(sampled=True, state="") == ""
    assert encoder.rare(sampled=False, state="") == ',"flags":0'
    assert encoder.rare(sampled=False, state='a="') == ',"flags":0,"traceState":"a=\\""'
    assert encoder.links([("t", "s", {"k": "v"}), ("u", "r", {})]) == (
        '[{"traceId":"t","spanId":"s","attributes":[{"key":"k","value":{"stringValue":"v"}}]},{"traceId":"u","spanId":"r","attributes":[]}]'
    )


class Load:
    """What the short way of writing a dataset's line looks at."""

    trace_id, span_id, start_ns = "t", "s", 5
    dataset, type, verb, lazy = "é", "json.JSONDataset", "load", False
    described = None

    class parent:  # noqa: N801 (stands in for an attribute)
        """What it belongs to."""

        span_id = "p"


class Node(ActiveNode):
    """A node that says all that one can say of itself."""

    def __init__(self) -> None:
        """Set what the line tells."""
        self.kind, self.trace_id, self.span_id, self.start_ns, self.name, self.node_name = (
            "node",
            "t",
            "s",
            5,
            "node é",
            "é",
        )
        self.tags, self.namespace, self.function, self.file, self.inputs, self.outputs = (
            ["a", 'b"'],
            "n.é",
            "m.f",
            "src/é.py",
            ["x", "é"],
            ["y"],
        )


class Plain(Node):
    """One that has neither tags nor namespace, a built-in for its function, no inputs and no outputs."""

    def __init__(self) -> None:
        """Set nothing that may be missing."""
        super().__init__()
        self.tags, self.namespace, self.file, self.inputs, self.outputs = [], None, None, [], []


TIMES = (
    ("load", "0.100000000"),
    ("compute", "12.000000000"),
    ("save", "0.000000001"),
    ("hooks", "0.000000000"),
)


def test_the_short_way_says_the_same() -> None:
    """A dataset's line is what the general one would be, and so are a node's times."""
    values = {
        "kedro.dataset.name": "é",
        "kedro.dataset.type": "json.JSONDataset",
        "kedro.dataset.operation": "load",
    }
    assert encoder.dataset(Load(), 6) == encoder.span(
        "dataset", "t", "s", "p", "load é", (5, 6), values, error=False
    )
    for node in (Node(), Plain()):
        begun = encoder.start("node", "t", "s", "p", node.name, 5, node.values, more=',"flags":0')
        assert encoder.node(node, "p", ',"flags":0') == begun
    assert encoder.times(100_000_000, 12_000_000_000, 1, 0) == (
        "["
        + ",".join(
            f'{{"key":"kedro.node.{kind}.duration","value":{{"doubleValue":{said}}}}}'
            for kind, said in TIMES
        )
        + "]"
    )


def test_a_type_is_spelled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """How a dataset's type is spelled is remembered as that of a key is."""
    monkeypatch.setattr(encoder, "_TYPES", {})
    said = [encoder.dataset(Load(), 6) for _ in range(2)]
    assert said[0] == said[1]
    assert b'{"stringValue":"json.JSONDataset"}' in said[0]
    assert encoder._TYPES == {"json.JSONDataset": '"json.JSONDataset"'}
    monkeypatch.setattr(encoder, "_remembered", pytest.fail)
    assert encoder.dataset(Load(), 6) == said[0]


def test_a_key_is_spelled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """How a key is spelled is remembered, for as many as may be ours; strangers' beyond that are spelled anew."""
    monkeypatch.setattr(encoder, "_KEYS", {})
    monkeypatch.setattr(encoder, "MAX_ITEMS", 2)
    for _ in range(2):
        assert encoder.attributes({'a"': 1, "b": None, "é": 2, "c": 3}) == (
            '[{"key":"a\\"","value":{"intValue":"1"}},{"key":"\\u00e9","value":{"intValue":"2"}},{"key":"c","value":{"intValue":"3"}}]'
        )
        assert encoder._KEYS == {'a"': '{"key":"a\\"","value":', "é": '{"key":"\\u00e9","value":'}
    monkeypatch.setattr(encoder, "_key", pytest.fail)
    assert encoder.attributes({"é": 2}) == '[{"key":"\\u00e9","value":{"intValue":"2"}}]'


# --- host, memory, handoff -----------------------------------------------------------------------------------------------------


def test_host_ids_tell_machines_apart_and_name_none() -> None:
    """The boot's own id; a machine's as a hash without its name; a process's start, and none for a process that is not there."""
    import socket

    assert machine.boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip() != ""
    assert len(bytes.fromhex(machine.machine_id())) == 8
    assert socket.gethostname() not in machine.machine_id()
    began = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    assert machine.process_start(os.getpid()) == str(began)
    assert machine.process_start(2**22 + 1) == machine._text("/nowhere") == ""
    name = Path("/proc/self/comm")
    before = name.read_bytes()
    try:
        name.write_bytes(b"a) 1 2 \xff")
        assert machine.process_start(os.getpid()) == str(began)
    finally:
        name.write_bytes(before)


def test_memory_hands_out_whole_segments() -> None:
    """What is taken is a segment of what has ended since; with something open only on demand; closed, nothing more is taken in."""
    kept = in_memory_writer.InMemoryWriter(RESOURCE, FACTS)
    assert (kept.on, kept.take()) == (True, b"")
    kept.start("a", b'{"start":"a"}\n')
    assert kept.take() == b""
    kept.end("a", b'{"end":"a"}\n')
    kept.lost["x"] += 1
    header, *rest = [unsealed(line) for line in kept.take().splitlines()]
    assert (header["kedro-otel"], header["locked"], header["process"], header["owner"]) == (
        1,
        False,
        kept.process,
        "kedro-otel",
    )
    assert rest == [{"start": "a"}, {"end": "a"}, {"lost": {"x": 1}}]
    assert 0 <= time.time_ns() - int(header["startTimeUnixNano"]) < 60 * 10**9
    assert kept.take() == b""
    kept.start("b", b'{"start":"b"}\n')
    assert [unsealed(line) for line in kept.take(whole=True).splitlines()][1:] == [{"start": "b"}]
    kept.close()
    assert kept.on is False
    for _ in range(2):
        kept.end("b", b'{"end":"b"}\n')
    assert kept.lost == {"memory_full": 2}
    other = in_memory_writer.InMemoryWriter(RESOURCE, FACTS)
    other.span("dataset", b'{"span":1}\n')
    other.abandon()
    assert (other.on, other.take(whole=True)) == (False, b"")


def test_memory_takes_a_nodes_last_dataset_with_its_end() -> None:
    """In memory too the two are one line after the other."""
    kept = in_memory_writer.InMemoryWriter({}, FACTS)
    kept.start("a", b'{"start":1}\n')
    kept.end("a", b'{"end":3}\n', b'{"span":2}\n')
    assert [unsealed(line) for line in kept.take().splitlines()][1:] == [
        {"start": 1},
        {"span": 2},
        {"end": 3},
    ]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Datasets and foreign spans stop at three quarters, everything at the whole, each counted."""
    monkeypatch.setattr(in_memory_writer, "MAX_BYTES", 4 * (100 + SEAL))
    kept = in_memory_writer.InMemoryWriter({}, FACTS)
    line = b"x" * 99 + b"\n"
    for _ in range(6):
        kept.span("dataset", line)
    assert kept.lost == {"dataset_too_much": 2}
    kept.end("a", line, line)
    assert kept.lost == {"dataset_too_much": 3, "memory_full": 1}


@pytest.fixture
def left(folder: Path) -> Callable[..., worker_context.WorkerContextFile]:
    """Return a way to leave word for workers."""
    folder.mkdir(parents=True, mode=0o700)
    shared = worker_context.WorkerContext((), {"a": 1}, {"detail": "run"}, "/project", "run")
    return lambda: worker_context.WorkerContextFile(folder, shared)


class Run:
    """An open run, as far as its workers need to know it."""

    trace_id, span_id, sampled, state = "ab" * 16, "cd" * 8, True, "x=y"

    class family:  # noqa: N801 (stands in for an attribute)
        """Where it belongs."""

        run_id = "r1"


def test_a_worker_finds_what_its_parent_left(
    left: Callable[..., worker_context.WorkerContextFile], folder: Path
) -> None:
    """By the parent's process id, and only while it is that process; removed at its end."""
    word = left()
    word.note([Run()], for_strangers=False)
    assert list(folder.iterdir()) == []
    word.note([Run()], for_strangers=True)
    path = folder / worker_context._name(os.getpid())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    run = Remote("ab" * 16, "cd" * 8, True, "x=y")
    found = worker_context.of_parent(folder, os.getpid())
    assert (
        found
        == worker_context.WorkerContext(
            (("r1", run),), {"a": 1}, {"detail": "run"}, "/project", "run", clock.offset_ns
        )
        == word.forked()
    )
    assert found is not None
    assert found.run(None) == found.run("r1") == run
    assert found.run("a later run's") is None
    assert found._replace(runs=(("r1", run), ("r2", run))).run("r3") is None
    assert found._replace(runs=(("r1", run), ("r2", run._replace(state="")))).run(
        "r2"
    ) == run._replace(state="")
    assert found._replace(runs=()).run("r1") is None
    text = path.read_text()
    path.write_text(text.replace(machine.process_start(os.getpid()), "1"))
    assert worker_context.of_parent(folder, os.getpid()) is None
    path.write_text("{}")
    assert worker_context.of_parent(folder, os.getpid()) is None
    assert worker_context.of_parent(folder, 1) is None
    word.note([], for_strangers=False)
    again = worker_context.of_parent(folder, os.getpid())
    assert again is not None
    assert again.runs == ()
    word.remove()
    word.remove()
    assert list(folder.iterdir()) == []


def test_a_workers_own_children_know_what_it_knows(
    left: Callable[..., worker_context.WorkerContextFile], folder: Path
) -> None:
    """Without a run of its own a process hands on those of its parent, if it has one."""
    assert left().forked().runs == ()
    theirs = worker_context.WorkerContext(
        (("r0", Remote("ab" * 16, "cd" * 8, True, "")),), {}, {}, None, "run"
    )
    worker = worker_context.WorkerContextFile(folder, left().forked(), theirs)
    assert (worker.inherited, worker.forked().runs) == (theirs, theirs.runs)


def test_a_word_that_cannot_be_left_or_taken_back_costs_nothing(
    left: Callable[..., worker_context.WorkerContextFile], folder: Path
) -> None:
    """A folder that is gone, or a word that somebody took away, is no error."""
    word = left()
    word.note([Run()], for_strangers=True)
    (folder / worker_context._name(os.getpid())).unlink()
    word.remove()
    folder.rmdir()
    word.note([Run()], for_strangers=True)
    word.remove()
    assert not folder.exists()


def test_a_word_is_whole_or_as_it_was(
    left: Callable[..., worker_context.WorkerContextFile],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of two threads that leave word at once none moves what the other has half written; one that finds no room changes nothing."""
    word = left()
    word.note([], for_strangers=True)
    (path,) = folder.iterdir()
    write, main = os.write, threading.current_thread()
    writes, moved = threading.Event(), threading.Event()
    other = threading.Thread(target=word.note, args=([Run()],), kwargs={"for_strangers": True})

    def both(descriptor: int, data: bytes) -> int:
        if threading.current_thread() is main:
            other.start()
            writes.wait(0.3)  # in vain, where they take turns
        else:
            writes.set()
            moved.wait()
        return write(descriptor, data)

    with monkeypatch.context() as at_once:
        at_once.setattr(os, "write", both)
        word.note([], for_strangers=True)
        first = path.read_bytes()
        moved.set()
        other.join()
    assert json.loads(first)["root"] == "/project"
    assert json.loads(path.read_bytes())["runs"][0][0] == "r1"
    whole = path.read_bytes()
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:5]))
    word.note([], for_strangers=True)
    assert path.read_bytes() == whole
    assert list(folder.iterdir()) == [path]


def test_a_planted_word_is_not_believed(
    left: Callable[..., worker_context.WorkerContextFile], folder: Path, tmp_path: Path
) -> None:
    """A link in its place is neither read nor written through."""
    word = left()
    target = tmp_path / "target"
    target.write_text("{}")
    path = folder / worker_context._name(os.getpid())
    path.symlink_to(target)
    assert worker_context.of_parent(folder, os.getpid()) is None
    word.note([Run()], for_strangers=True)
    assert target.read_text() == "{}"
    assert list(folder.iterdir()) == [path]
    assert not path.is_symlink()
    if os.geteuid() == 0:
        os.chown(path, 4711, 4711)
        assert worker_context.of_parent(folder, os.getpid()) is None


def test_what_is_written_is_what_is_read(tape: Writer, folder: Path) -> None:
    """Reader and writer agree."""
    trace, span = "ab" * 16, "cd" * 8
    tape.start(span, encoder.start("command", trace, span, "", "kedro run", 5, {"a": [1.5]}))
    tape.end(
        span, encoder.end("command", trace, span, 9, encoder.attributes({"b": "é"}), error=True)
    )
    tape.close()
    (path,) = folder.iterdir()
    segment = reader.read(path)
    (one,) = segment.operations
    assert (one.name, one.start_ns, one.end_ns, one.error, one.attributes) == (
        "kedro run",
        5,
        9,
        True,
        {"a": [1.5], "b": "é"},
    )
    assert (segment.alive, segment.header.resource, segment.skipped) == (
        False,
        {"service.name": "kedro", "n": 1},
        {},
    )
