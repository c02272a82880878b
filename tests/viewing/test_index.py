"""The index of all recordings: it says what they say, and costs nothing but time where it cannot be used."""

from __future__ import annotations

import gc
import os
import random
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import Result
from fabricate import Tape, a_run

from kedro_otel.cli import otel
from kedro_otel.config import paths
from kedro_otel.recording import node_scan
from kedro_otel.recording.encoder import sealed
from kedro_otel.recording.model import SegmentError
from kedro_otel.recording.reader import listing, read
from kedro_otel.viewing import index, index_file
from kedro_otel.viewing.model.find import newest_first
from kedro_otel.viewing.model.scope import Scope
from kedro_otel.viewing.model.summary import summaries

NODES = [("load_cars", 0.9, 0.05, 0.1), ("train", 0.2, 1.5, 0.2)]
BUSY = 0.25
"""Seconds of processor time that a machine takes more for the same while others use it, too."""

ODD = ['a"b\\c', "línea", "😀", "\x1b[31m", "</script>", "x" * 500, "\ud800", '{"key":"error.type"']


@pytest.fixture
def folder(home: Path) -> Path:
    """Return the folder of recordings, which is empty."""
    (home / "recordings").mkdir(parents=True, mode=0o700)
    return home / "recordings"


def asked(**how: Any) -> tuple[list[index.Run], list[index.Node]]:
    """Return all runs and their nodes."""

    def question(table: index.Index) -> tuple[list[index.Run], list[index.Node]]:
        runs = table.runs(**how)
        return runs, table.nodes(runs)

    return index_file.answer(question)


def read_in_full(path: Path) -> list[tuple[Any, ...]]:
    """Return the figures of a segment's nodes as the reader has them."""
    return [node_scan._figures(one) for one in read(path).operations if one.operation == "node"]


def test_patterns_and_the_reader_answer_alike(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a segment holds, damage and odd names too, its nodes are those that the reader finds."""
    for number, odd in enumerate(ODD):
        a_run(
            folder, [(odd, 0.1, 0.2, 0.1), ("b", 0, 1, 0)], error=("b", odd) if number % 2 else None
        )
    a_run(folder, NODES, dies=True)
    tape = Tape(folder)
    run = tape.start("run", "run", 0)
    node = tape.start("node", "node n", 0, run, kedro_node_name="n")
    tape.end(
        node, 1, "E", kedro_node_cpu_time=0.5, kedro_node_memory_peak=123, kedro_outcome="unknown",
        mine={"error.type": "x"},
    )  # fmt: skip
    tape.end(run, 2)
    wholes = [path for path, _ in listing(folder)]
    for path in wholes:
        assert node_scan.nodes(path)[1] == read_in_full(path)
    # As the package's own writer seals its lines, then with a byte changed in each of them.
    path = wholes[0]
    lines = [sealed(line + b"\n") for line in path.read_bytes().splitlines()]
    for place in range(1, len(lines)):
        damaged = lines[place].replace(b'"', b"'", 1) if place % 2 else lines[place][:-3] + b'x"}\n'
        path.write_bytes(b"".join([*lines[:place], damaged, *lines[place + 1 :]]))
        assert node_scan.nodes(path)[1] == read_in_full(path)
    # One byte anywhere: among others the last one before the brace, which no checksum covers.
    whole = b"".join(lines)
    chance = random.Random(1)
    for place in (whole.index(b"\n", len(lines[0])) - 2, *chance.sample(range(len(whole)), 200)):
        path.write_bytes(whole[:place] + bytes([chance.randrange(256)]) + whole[place + 1 :])
        try:
            expected = read_in_full(path)
        except SegmentError:
            with pytest.raises(SegmentError):
                node_scan.nodes(path)
        else:
            assert node_scan.nodes(path)[1] == expected, place
    path.write_bytes(whole)
    by_patterns: list[Path] = []
    closed = node_scan._closed
    monkeypatch.setattr(node_scan, "read", lambda path: by_patterns.append(path) or read(path))
    assert node_scan.nodes(path)[1] == closed(path)[1] == read_in_full(path)  # type: ignore[index]
    assert by_patterns == [], "a whole segment is not parsed"


def test_what_a_run_writes_fits_the_patterns(
    project: Callable[..., Path],
    kedro: Callable[..., Result],
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A real run's nodes, with and without figures of their memory, are read without parsing a line of theirs."""
    slow = "import time\ndef greet(x): return time.sleep(0.1) or x\nshout = greet\ndef tell(x, fail): return {}\n"
    path = project(nodes=slow)
    for usage in ("exact", "off"):
        kedro("run", cwd=path, env={"KEDRO_OTEL_MEMORY": usage})
    monkeypatch.setattr(node_scan, "_ATTRIBUTE", None)
    monkeypatch.setattr(node_scan, "read", None)
    found = [node_scan.nodes(path)[1] for path, _ in listing(home / "recordings")]
    assert found == [read_in_full(path) for path, _ in listing(home / "recordings")]
    assert [len(nodes) for nodes in found] == [3, 3]
    assert [nodes[0].memory is not None for nodes in found] == [True, False]


def test_it_lists_what_list_lists_and_reads_each_recording_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs come as `list` has them; a recording is read again only when it has changed."""
    a_run(folder, NODES)
    a_run(folder, NODES, error=("train", "shop.StockError"))
    a_run(folder, NODES, dies=True)
    live = Tape(folder, time.time_ns())
    live.live()
    run = live.start("run", "run", 0, kedro_pipeline_name="live")
    runs, nodes = asked(commands=True)
    listed = list(summaries(newest_first(), time.time_ns()))
    assert [one.known["outcome"] for one in runs] == [one.outcome for one in listed]
    assert [one.known["trace_id"] for one in runs] == [one.trace_id for one in listed]
    assert [one.start_ns for one in runs] == [one.start_ns for one in listed]
    assert {one.known["outcome"] for one in runs} == {"ok", "failed", "killed", "running"}
    assert [(one.name, one.outcome) for one in nodes if one.run == runs[-1].span_id][1][
        0
    ] == "train"
    counted: list[str] = []
    monkeypatch.setattr(
        index, "nodes", lambda path: counted.append(path.name) or node_scan.nodes(path)
    )
    asked()
    assert counted == [live.path.name]
    live.node("n", run, 0.1, 0, 0.3, 0)
    live.end(run, 0.5)
    live.dead()
    counted.clear()
    runs, nodes = asked()
    assert counted == [live.path.name]
    assert runs[0].known["outcome"] == "ok"
    assert [one.took_ns for one in nodes if one.run == runs[0].span_id] == [300_000_000]
    counted.clear()
    live.path.unlink()
    runs, nodes = asked()
    assert counted == []
    assert live.trace not in {one.known["trace_id"] for one in runs}
    assert not any(one.name == "n" for one in nodes)


def test_whose_runs(folder: Path) -> None:
    """Projects are told apart by their ids, by their names where one has no id."""
    for name, ident in (("one", "1"), ("two", "2"), ("one", "")):
        resource = {"kedro.project.name": name} | ({"kedro.project.id": ident} if ident else {})
        tape = Tape(folder, resource=resource)
        tape.end(tape.start("run", "run", 0), 1)
    for scope in (
        Scope("1", "one"),
        Scope("2", "other"),
        Scope(None, "one"),
        Scope("9", "one"),
        None,
    ):
        wanted = {one.operation.span_id for one in newest_first(scope=scope)}
        assert {one.span_id for one in asked(scope=scope)[0]} == wanted


def test_it_is_the_owners_alone_and_holds_nothing_private(folder: Path, home: Path) -> None:
    """The file has the mode 0600, also where another was there; no message is in it; purge erases it."""
    tape = a_run(folder, NODES, error=("train", "E"))
    private = tape.path.with_suffix(".private")
    private.write_text(
        '{"kedro-otel-private":1}\n{"error":"x","message":"a secret","stacktrace":""}\n'
    )
    event = {
        "name": "exception",
        "timeUnixNano": "1",
        "attributes": [{"key": "exception.message", "value": {"stringValue": "a secret"}}],
    }
    full = Tape(folder)
    full.end(full.start("run", "run", 0), 1, "E", more={"events": [event]})
    for mode in (None, 0o644):
        if mode:
            paths.index().chmod(mode)
        asked()
        assert stat.S_IMODE(paths.index().stat().st_mode) == 0o600
        assert b"secret" not in paths.index().read_bytes()
    elsewhere = home / "elsewhere"
    elsewhere.write_bytes(b"mine")
    paths.index().unlink()
    paths.index().symlink_to(elsewhere)
    asked()
    assert elsewhere.read_bytes() == b"mine"
    assert not paths.index().is_symlink()
    done = CliRunner().invoke(otel, ["purge", "--yes"])
    assert done.exit_code == 0, done.output
    assert not paths.index().exists()


@contextmanager
def locked() -> Iterator[None]:
    """Hold the index as another process does that writes it."""
    with sqlite3.connect(paths.index()) as other:
        other.execute("begin exclusive")
        yield
    other.close()


@pytest.mark.parametrize(
    "fault",
    [
        "garbage",
        "torn",
        "its end torn",
        "a word",
        "other tables",
        "a folder",
        "locked",
        "read-only",
    ],
)
def test_a_fault_costs_nothing_but_time(
    fault: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damaged, of another make, no file, locked or not to be written: the answers are the same."""
    for number in range(5):
        a_run(folder, [(f"n{number}_{index}", 0, 0.1, 0) for index in range(40)])
    expected = asked()
    place = paths.index()
    if fault == "garbage":
        place.write_bytes(os.urandom(40_000))
    elif fault == "torn":
        place.write_bytes(place.read_bytes()[:9000] + b"\xff" * 4096)
    elif fault == "its end torn":
        place.write_bytes(place.read_bytes()[:-4096] + b"\xff" * 4096)
    elif fault == "a word":
        place.write_bytes(place.read_bytes().replace(b'{"outcome"', b'("outcome"'))
    elif fault == "other tables":
        place.unlink()
        other = sqlite3.connect(place)
        other.executescript("create table run(x); pragma user_version = 99")
        other.close()
    elif fault == "a folder":
        place.unlink()
        place.mkdir()
    elif fault == "read-only":  # root writes whatever the permissions say
        connect = sqlite3.connect
        monkeypatch.setattr(
            sqlite3,
            "connect",
            lambda place, **how: (
                connect(place, **how)
                if place == ":memory:"
                else connect(f"file:{place}?mode=ro", uri=True, **how)
            ),
        )
        a_run(folder, NODES)
        (runs, _), (before, _) = asked(), expected
        assert len(runs) == len(before) + 1
        return
    if fault == "locked":
        with locked():
            assert asked() == expected
    else:
        assert asked() == expected
    assert asked() == expected


def test_a_hundred_thousand_nodes_in_under_a_second(folder: Path, full: bool) -> None:
    """A hundred runs of a thousand nodes, each with a load and a save, are indexed in at most 1.25 s of processor time; without FULL=1 a fiftieth of them."""
    runs, nodes = (100, 1000) if full else (4, 500)
    tape = Tape(folder)
    lines: list[bytes] = []
    tape.raw = lines.append  # type: ignore[method-assign]
    run = tape.start("run", "run", 0, span="1" * 16)
    for number in range(nodes):
        node = tape.node(f"space.node_{number}", run, number, 0.1, 0.5, 0.1)
        figures = {
            f"kedro.node.{one}.duration": 0.1 for one in ("load", "compute", "save", "hooks")
        }
        figures |= {"kedro.node.cpu.time": 0.1, "kedro.node.memory.peak": 300_000_000}
        lines.pop()
        tape.end(node, number + 0.7, **figures)
    tape.end(run, nodes)
    header = tape.path.read_bytes()
    tape.path.unlink()
    for number in range(runs):
        path = folder / f"{tape.at + number:020d}-1-{number:08x}.jsonl"
        own = (line.replace(b"1" * 16, b"%016x" % (number + 1)) for line in lines)
        path.write_bytes(header + b"".join(map(sealed, own)))
    took = []
    for _ in range(5):
        paths.index().unlink(missing_ok=True)
        gc.collect()
        gc.disable()
        began = time.process_time()
        names = index_file.answer(lambda table: table.node_names(table.runs(limit=1)))
        took.append(time.process_time() - began)
        gc.enable()
        assert len(names) == nodes
        counted = index_file.answer(
            lambda table: table._connection.execute("select count(*) from node").fetchone()
        )
        assert counted == (runs * nodes,)
    assert min(took) < (1 + BUSY), took
