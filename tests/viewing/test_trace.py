"""A trace put together from all its processes: one tree, nothing left out, nothing that belongs to another."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from fabricate import SECOND, Tape, a_run

from kedro_otel.recording.model import DIED, OPEN, UNKNOWN
from kedro_otel.viewing.model import outcome
from kedro_otel.viewing.model.critical_path import critical_path
from kedro_otel.viewing.model.find import NotFoundError, find
from kedro_otel.viewing.model.phases import Totals, phases, totals
from kedro_otel.viewing.model.trace import Span, Trace, load

BEGAN = time.time_ns() - 86400 * SECOND
ABC = [("a", 0.1, 0.2, 0.1), ("b", 0.1, 0.5, 0.1), ("c", 0.1, 0.3, 0.1)]


@pytest.fixture
def folder(home: Path) -> Path:
    """Return where recordings are kept."""
    return home / "recordings"


def shown(run: str | None = None) -> Trace:
    """Return the trace of a run."""
    return load(find(run).entry)


def tree(span: Span) -> object:
    """Return a span and what is below it: name alone, or name and list."""
    return (
        (span.operation.name, [tree(child) for child in span.children])
        if span.children
        else span.operation.name
    )


def test_a_run_is_a_tree_of_command_run_nodes_and_datasets(folder: Path) -> None:
    """A command holds its run, the run its nodes in order, a node its loads and saves."""
    a_run(folder, ABC[:2])
    assert tree(shown().root) == (
        "kedro run",
        [
            (
                "run __default__",
                [("node a", ["load d0", "save d1"]), ("node b", ["load d1", "save d2"])],
            )
        ],
    )


def test_worker_processes_join_their_run(folder: Path) -> None:
    """What worker processes recorded is under the run that they worked for, wherever their files are."""
    tape = Tape(folder, BEGAN)
    run = tape.start("run", "run", 0)
    for number in range(3):
        worker = Tape(
            folder, BEGAN + (number + 1) * SECOND // 10, trace=tape.trace, pid=5000 + number
        )
        worker.node(f"w{number}", run, 0, 0, 1, 0)
        worker.node(f"x{number}", run, 2, 0, 1, 0)
    Tape(folder, BEGAN + SECOND).node("stranger", run, 0, 0, 1, 0)
    tape.end(run, 5)
    trace = shown()
    assert tree(trace.root) == (
        "run",
        [f"node {name}" for name in ("w0", "w1", "w2", "x0", "x1", "x2")],
    )
    assert len(trace.segments) == 4


def test_a_long_lived_process_shows_the_run_that_is_meant(folder: Path) -> None:
    """Of several runs in one process, each in a trace of its own, only the one asked for is shown."""
    server = Tape(folder, BEGAN)
    for number in range(3):
        trace = f"{number + 1:032x}"
        run = server.start("run", f"run {number}", number * 10, trace=trace)
        node = server.start("node", f"node {number}", number * 10 + 1, run, trace=trace)
        server.end(node, number * 10 + 2, trace=trace)
        server.end(run, number * 10 + 3, trace=trace)
    assert [tree(shown(run).root) for run in ("-1", "-2", "-3")] == [
        (f"run {number}", [f"node {number}"]) for number in (2, 1, 0)
    ]


def test_two_runs_of_one_command_are_shown_together(folder: Path) -> None:
    """A command that ran two pipelines is shown whole, whichever was asked for."""
    tape = Tape(folder, BEGAN)
    top = tape.start("command", "kedro both", 0)
    for number in (1, 2):
        tape.end(tape.start("run", f"run {number}", number, top), number + 0.5)
    tape.end(top, 4)
    for run, name in (("-1", "run 2"), ("-2", "run 1")):
        trace = shown(run)
        assert tree(trace.root) == ("kedro both", ["run 1", "run 2"])
        assert trace.run is not None
        assert trace.run.operation.name == name


def test_commands_that_share_a_trace_are_told_apart(folder: Path) -> None:
    """Under one TRACEPARENT each command is shown by itself: they have a parent that is recorded nowhere."""
    for number in range(2):
        tape = Tape(folder, BEGAN + number * 60 * SECOND, trace="5" * 32)
        top = tape.start("command", f"kedro {number}", 0, "e" * 16)
        tape.end(tape.start("run", f"run {number}", 1, top), 2)
        tape.end(top, 3)
    assert tree(shown("-1").root) == ("kedro 1", ["run 1"])
    assert tree(shown("-2").root) == ("kedro 0", ["run 0"])


def test_a_run_inside_a_node_of_another_is_shown_within_it(folder: Path) -> None:
    """A ``kedro run`` started by a node is part of the run around it, and so are that one's other processes."""
    outer = Tape(folder, BEGAN)
    run = outer.start("run", "run outer", 0)
    node = outer.start("node", "node a", 1, run)
    Tape(folder, BEGAN + SECOND // 2, trace=outer.trace, pid=1).node("worker", run, 0, 0, 1, 0)
    inner = Tape(folder, BEGAN + 20 * SECOND, trace=outer.trace, pid=2)
    top = inner.start("command", "kedro run", 0, node)
    inner.end(inner.start("run", "run inner", 1, top), 2)
    inner.end(top, 3)
    outer.end(node, 40)
    outer.end(run, 41)
    for path in folder.iterdir():
        end = {4711: 41, 1: 2, 2: 23}[int(path.name.split("-")[1])]
        os.utime(path, ns=(BEGAN + end * SECOND, BEGAN + end * SECOND))
    assert tree(shown().root) == (
        "run outer",
        ["node worker", ("node a", [("kedro run", ["run inner"])])],
    )


def test_what_lost_its_parent_is_kept(folder: Path) -> None:
    """A span whose parent's line is lost is shown under the run that it fell into."""
    tape = Tape(folder, BEGAN)
    run = tape.start("run", "run", 0)
    tape.span("dataset", "load a", "e" * 16, 1, 2)
    tape.span("foreign", "mine", "e" * 16, 2, 3)
    tape.end(run, 5)
    assert tree(shown().root) == ("run", ["load a", "mine"])


def test_a_circle_of_parents_ends_nowhere(folder: Path) -> None:
    """A damaged recording that makes spans each other's parents is still a tree, with each of them once."""
    tape = Tape(folder, BEGAN)
    run = tape.start("run", "run", 0)
    ids = ["1" * 16, "2" * 16, "3" * 16]
    for number, span in enumerate(ids):
        tape.end(
            tape.start("node", f"node {number}", 1 + number, ids[(number + 1) % 3], span=span), 4
        )
    tape.end(run, 5)
    assert sorted(span.operation.name for span in shown().root.walk()) == [
        "node 0",
        "node 1",
        "node 2",
        "run",
    ]


def test_a_tree_as_deep_as_a_recording_is_walked(folder: Path) -> None:
    """Ten thousand spans, each in the one before, are no deeper than the reader can go."""
    tape = Tape(folder, BEGAN)
    parent = tape.start("run", "run", 0)
    top = parent
    for number in range(10_000):
        parent = tape.span("foreign", str(number), parent, 0, 1)
    tape.end(top, 2)
    assert sum(1 for _ in shown().root.walk()) == 10_001


def test_a_recording_removed_meanwhile_is_said(folder: Path) -> None:
    """A recording that is pruned between finding and reading is said to be gone."""
    tape = a_run(folder, ABC)
    entry = find(None).entry
    tape.path.unlink()
    with pytest.raises(NotFoundError, match="removed"):
        load(entry)


def test_an_operation_in_two_segments_is_one_span(folder: Path) -> None:
    """What was open when a recording was continued is one span, as the later segment tells it; what is lost with that one is unknown."""
    first = Tape(folder, BEGAN)
    run = first.start("run", "run", 0)
    first.node("a", run, 0, 0, 1, 0)
    second = Tape(folder, BEGAN + 2 * SECOND, trace=first.trace, sequence=1)
    second.start("run", "run", -2, span=run)
    first.line(continued=second.path.stem)
    second.node("b", run, 0, 0, 1, 0)
    second.end(run, 3)
    assert tree(shown().root) == ("run", ["node a", "node b"])
    assert shown().root.duration_ns == 5 * SECOND
    second.path.unlink()
    assert (tree(shown().root), shown().root.operation.state) == (("run", ["node a"]), UNKNOWN)


def test_what_still_runs_lasts_until_now(folder: Path) -> None:
    """What still runs has taken the time until now, what died the time until its last line."""
    tape = a_run(folder, ABC, at=BEGAN, dies=True)
    tape.live()
    alive = load(find(None).entry, now_ns=BEGAN + 60 * SECOND)
    assert (alive.alive, alive.root.operation.state, alive.root.duration_ns) == (
        True,
        OPEN,
        60 * SECOND,
    )
    tape.dead()
    dead = shown()
    assert (dead.alive, dead.root.operation.state, dead.root.duration_ns) == (
        False,
        DIED,
        round(1.6 * SECOND),
    )


@pytest.mark.parametrize(
    ("told", "word", "sentence"),
    [
        ({}, "ok", "kedro run"),
        ({"error": ("b", "ValueError")}, "failed", "kedro run failed in node b"),
        (
            {"error": ("b", "KeyboardInterrupt")},
            "interrupted",
            "kedro run was interrupted in node b",
        ),
        ({"dies": True}, "killed", "kedro run was killed while running node c"),
        (
            {"command": None, "error": ("c", "ValueError")},
            "failed",
            "run __default__ failed in node c",
        ),
    ],
)
def test_the_outcome_is_told_in_a_sentence(
    folder: Path, told: dict[str, object], word: str, sentence: str
) -> None:
    """What happened is told in one word for machines and one sentence for people, the innermost place named."""
    a_run(folder, ABC, at=BEGAN, **told)  # type: ignore[arg-type]
    assert (outcome.of(shown()), outcome.sentence(shown())) == (word, sentence)


def test_a_failed_load_is_told_as_such(folder: Path) -> None:
    """Where a load failed, the load is named and the node that it was for; the message is told where it was recorded."""
    tape = Tape(folder, BEGAN)
    run = tape.start("run", "run", 0)
    node = tape.start("node", "node a", 1, run)
    event = {
        "name": "exception",
        "timeUnixNano": "1",
        "attributes": [{"key": "exception.message", "value": {"stringValue": "no such file"}}],
    }
    facts = {"kedro_dataset_name": "cars", "kedro_dataset_operation": "load"}
    tape.span("dataset", "load cars", node, 1, 2, "DatasetError", more={"events": [event]}, **facts)
    tape.end(node, 2, "DatasetError")
    tape.end(run, 3, "DatasetError")
    (failure,) = outcome.failures(shown())
    assert outcome.sentence(shown()) == "run failed loading cars in node a"
    assert (failure.type, failure.message, failure.span.operation.name) == (
        "DatasetError",
        "no such file",
        "load cars",
    )


@pytest.mark.parametrize(
    ("kill", "sentence"),
    [
        ("worker", "kedro run failed: a worker was killed while running node w"),
        ("before", "kedro run was killed before a node ran"),
        ("between", "kedro run was killed after node a"),
        (
            "elsewhere",
            "kedro run has not ended, and cannot be asked from here whether it still runs",
        ),
        ("running", "kedro run is running"),
        ("command", "kedro new failed"),
    ],
)
def test_deaths_are_told_by_where_they_happened(folder: Path, kill: str, sentence: str) -> None:
    """A death is told by whose it was and what ran then; what cannot be known is not guessed."""
    tape = Tape(
        folder,
        BEGAN,
        **({"bootId": "another", "machineId": "another"} if kill == "elsewhere" else {}),
    )
    if kill == "command":
        tape.end(tape.start("command", "kedro new", 0), 1, "ModuleNotFoundError")
    else:
        top = tape.start("command", "kedro run", 0)
        run = tape.start("run", "run", 1, top)
        if kill == "between":
            tape.node("a", run, 1, 0, 1, 0)
        if kill == "worker":
            Tape(folder, BEGAN + SECOND, trace=tape.trace, pid=5).start("node", "node w", 1, run)
            tape.end(run, 3, "BrokenProcessPool")
            tape.end(top, 4, "BrokenProcessPool")
        if kill == "running":
            tape.live()
    assert outcome.sentence(shown("last")) == sentence


def test_the_critical_path_follows_the_data(folder: Path) -> None:
    """The critical path is the longest chain through the datasets, transcoded names being one, and no chain through a circle."""
    tape = Tape(folder, BEGAN)
    run = tape.start("run", "run", 0)
    tape.node("start", run, 0, 0, 1, 0, outputs=["x@pandas", "y"])
    tape.node("short", run, 1, 0, 1, 0, inputs=["y"], outputs=["s"])
    tape.node("long", run, 1, 0, 3, 0, inputs=["x@spark", "params:p"], outputs=["l"])
    tape.node("alone", run, 1, 0, 3.5, 0)
    tape.node("end", run, 4, 0, 1, 0, inputs=["s", "l"], outputs=["e"])
    tape.node("round", run, 4, 0, 9, 0, inputs=["about"], outputs=["turn"])
    tape.node("about", run, 4, 0, 9, 0, inputs=["turn"], outputs=["about"])
    tape.end(run, 20)
    path = critical_path(shown().root.children)
    assert ([node.operation.name for node in path.nodes], path.duration_ns) == (
        ["node start", "node long", "node end"],
        5 * SECOND,
    )
    assert critical_path([]) == ((), 0)


def test_a_node_is_load_compute_and_save(folder: Path) -> None:
    """A node's time is compute with its loads and saves laid over it; its measured figures win, and stand in where no dataset was recorded."""
    tape = Tape(folder, BEGAN)
    run = tape.start("run", "run", 0)
    tape.node("both", run, 0, 1, 2, 3)
    tape.end(
        tape.start("node", "node figures", 10, run),
        16,
        kedro_node_load_duration=1.0,
        kedro_node_compute_duration=2.0,
        kedro_node_save_duration=3.0,
    )
    bare = tape.start("node", "node bare", 20, run)
    tape.span("dataset", "load x", bare, 20, 21, kedro_dataset_operation="load")
    tape.end(bare, 25)
    tape.end(run, 30)
    second = SECOND
    for node, expected in zip(
        shown().root.children, [(1, 2, 3), (1, 2, 3), (1, 4, 0)], strict=True
    ):
        start = node.operation.start_ns
        told = {
            phase.kind: ((phase.begin_ns - start) / second, (phase.end_ns - start) / second)
            for phase in phases(node)
        }
        whole = sum(expected)
        assert totals(node) == Totals(*(seconds * second for seconds in expected))
        assert told == {
            "compute": (0, whole),
            "load": (0, 1),
            **({"save": (3, 6)} if expected[2] else {}),
        }


def test_a_death_is_told_before_failures_that_came_first(folder: Path) -> None:
    """Of several things that went wrong, deaths come first: what failed beside them may be their consequence; then by time."""
    tape = Tape(folder, BEGAN)
    run = tape.start("run", "run", 0)
    tape.node("second", run, 2, 0, 1, 0, "ValueError")
    tape.node("first", run, 1, 0, 1, 0, "ValueError")
    Tape(folder, BEGAN + SECOND, trace=tape.trace, pid=5).start("node", "node killed", 8, run)
    tape.end(run, 10, "BrokenProcessPool")
    assert [failure.span.operation.name for failure in outcome.failures(shown())] == [
        "node killed",
        "node first",
        "node second",
    ]
