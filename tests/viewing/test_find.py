"""Which run is meant: the last, the one before, one by its id; and reading no more than it takes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from fabricate import SECOND, Tape, a_run

from kedro_otel.recording import reader
from kedro_otel.viewing.model import find
from kedro_otel.viewing.model.find import NotFoundError

BEGAN = time.time_ns() - 86400 * SECOND
NODES = [("a", 0.1, 0.2, 0.1)]


@pytest.fixture
def folder(home: Path) -> Path:
    """Return where recordings are kept."""
    return home / "recordings"


def history(folder: Path) -> dict[str, Tape]:
    """Fabricate three runs and two other commands, a minute apart."""
    minute = 60 * SECOND
    tapes = {
        "first": a_run(
            folder,
            NODES,
            at=BEGAN,
            pipeline="first",
            trace="aaaa" + "1" * 28,
            run_id="2026-01-01T00.00.00.000Z",
        ),
        "second": a_run(
            folder,
            NODES,
            at=BEGAN + minute,
            pipeline="second",
            trace="abcd" + "2" * 28,
            command=None,
        ),
        "list": command(folder, BEGAN + 2 * minute, "kedro registry list"),
        "third": a_run(
            folder, NODES, at=BEGAN + 3 * minute, pipeline="third", trace="abcd" + "3" * 28
        ),
        "version": command(folder, BEGAN + 4 * minute, "kedro --version"),
    }
    Tape(folder, BEGAN + 3 * minute + 1, trace=tapes["third"].trace).node(
        "in a worker", "f" * 16, 0, 0, 1, 0
    )
    return tapes


def command(folder: Path, at: int, line: str) -> Tape:
    """Fabricate a command that ran no pipeline."""
    tape = Tape(folder, at)
    tape.end(tape.start("command", line, 0, kedro_command_line=line), 1)
    os.utime(tape.path, ns=(tape.ns(1), tape.ns(1)))
    return tape


def name(entry: find.Entry) -> str:
    """Return what tells an entry in these tests."""
    return entry.operation.name


@pytest.mark.parametrize(
    ("run", "found"),
    [
        (None, "run third"),
        ("", "run third"),
        ("-1", "run third"),
        ("-2", "run second"),
        ("-3", "run first"),
        ("last", "kedro --version"),
        ("2026-01-01T00.00.00.000Z", "run first"),
        ("aaaa", "run first"),
        ("AAAA1", "run first"),
        ("abcd" + "2" * 28, "run second"),
    ],
)
def test_a_run_is_found_by_what_it_is_called(folder: Path, run: str | None, found: str) -> None:
    """Nothing is the last pipeline run, ``last`` the last command, -2 the run before; else a run id, a trace id or its beginning."""
    history(folder)
    assert (name(find.find(run).entry), find.find(run).note) == (found, "")


def test_of_several_the_newest_is_taken_and_said(folder: Path) -> None:
    """Where a beginning fits several traces, or one trace holds several commands, the newest is taken, and that is said."""
    history(folder)
    found = find.find("abcd")
    assert (name(found.entry), found.note) == (
        "run third",
        "2 commands match abcd; this is the newest",
    )
    for minute in (10, 11):
        a_run(
            folder,
            NODES,
            at=BEGAN + minute * 60 * SECOND,
            pipeline=f"shared {minute}",
            trace="5" * 32,
        )
    found = find.find("5555")
    assert (name(found.entry), found.note) == (
        "run shared 11",
        "2 commands share this trace; this is the newest",
    )


@pytest.mark.parametrize(
    ("run", "says"),
    [
        ("-4", "only 3 pipeline runs are recorded"),
        ("abc", "at least four characters"),
        ("0", "or a number such as -2"),
        ("ffff", "no recorded run has this"),
        ("zzzz", "no recorded run has this"),
        ("-0", "no recorded run has this"),
        ("no-such-run", "no recorded run has this"),
        ("\x1b[31m", "no recorded run has this"),
    ],
)
def test_what_is_not_found_is_said_with_what_to_type(folder: Path, run: str, says: str) -> None:
    """What is not found is said with the command that shows what there is."""
    history(folder)
    with pytest.raises(NotFoundError, match=says) as raised:
        find.find(run)
    assert "kedro otel list" in str(raised.value)


def test_with_nothing_recorded_the_first_step_is_said(folder: Path) -> None:
    """With nothing recorded the message says what to do, and with commands alone that there is no run."""
    for run in (None, "last", "-2", "abcd"):
        with pytest.raises(NotFoundError, match="type `kedro run` in a project"):
            find.find(run)
    command(folder, BEGAN, "kedro --version")
    with pytest.raises(NotFoundError, match="kedro otel show last"):
        find.find(None)


def test_entries_come_by_start_whatever_their_files_are_called(folder: Path) -> None:
    """A run that began late in a process that began early is the last one; a worker's segment is no entry of its own."""
    history(folder)
    notebook = Tape(folder, BEGAN - 3600 * SECOND)
    for at, label in ((0, "morning"), (7200, "evening")):
        notebook.end(
            notebook.start("run", f"run {label}", at, trace=f"{at + 1:032x}"),
            at + 1,
            trace=f"{at + 1:032x}",
        )
    os.utime(notebook.path, ns=(notebook.ns(7201), notebook.ns(7201)))
    assert [name(entry) for entry in find.newest_first()] == [
        "run evening",
        "kedro --version",
        "run third",
        "kedro registry list",
        "run second",
        "run first",
        "run morning",
    ]


def test_a_recording_in_two_segments_is_one_entry(folder: Path) -> None:
    """A run that goes on in a second segment is listed once, as that one tells it."""
    first = Tape(folder, BEGAN)
    top = first.start("command", "kedro run", 0)
    run = first.start("run", "run", 1, top)
    second = Tape(folder, BEGAN + 60 * SECOND, trace=first.trace, sequence=1)
    second.start("command", "kedro run", -60, span=top)
    second.start("run", "run", -59, top, span=run)
    first.line(continued=second.path.stem)
    second.end(run, 5)
    second.end(top, 6)
    os.utime(first.path, ns=(first.ns(60), first.ns(60)))
    assert [
        (name(entry), entry.operation.state, entry.outermost.state) for entry in find.newest_first()
    ] == [("run", "ended", "ended")]


def test_no_older_recording_is_read_than_needed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last run is found without reading what is older."""
    for hour in range(20):
        a_run(folder, NODES, at=BEGAN + hour * 3600 * SECOND)
    read: list[Path] = []
    glance = find.glance
    monkeypatch.setattr(find, "glance", lambda path: read.append(path) or glance(path))
    find.find("-2")
    assert len(read) == 2


def test_damaged_neighbours_are_passed_over(folder: Path) -> None:
    """A recording that cannot be read hides none of the others."""
    history(folder)
    (folder / f"{time.time_ns():020d}-1-00000000.jsonl").write_bytes(b"\0\n\0")
    assert name(find.find(None).entry) == "run third"
    assert len(reader.segments()) == 7
