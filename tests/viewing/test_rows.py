"""Which lines are worth a screen: every node of a small run; of a large one those that matter, and namespaces."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fabricate import SECOND, Tape

from kedro_otel.viewing.model.find import find
from kedro_otel.viewing.model.trace import Trace, load
from kedro_otel.viewing.terminal.rows import ROWS, Row, brief, folded, levels, rows

BEGAN = time.time_ns() - 86400 * SECOND


@pytest.fixture
def tape(home: Path) -> Tape:
    """Return a segment with a run under way."""
    return Tape(home / "recordings", BEGAN)


def shown(tape: Tape, run: str, end: float = 10_000) -> Trace:
    """End the run and return its trace."""
    tape.end(run, end)
    return load(find().entry)


def tree(row: Row) -> object:
    """Return a line and those below it: label alone, or label and list."""
    return (row.label, [tree(below) for below in row.below]) if row.below else row.label


def labels(row: Row) -> list[str]:
    """Return the labels just below a line."""
    return [below.label for below in row.below]


def test_a_small_run_shows_its_nodes_and_the_users_spans(tape: Tape) -> None:
    """A small run shows every node and the user's own spans; loads and saves only where they failed, or where the user's spans are in them."""
    run = tape.start("run", "run", 0)
    tape.node("plain", run, 0, 1, 1, 1)
    node = tape.start("node", "node fetch", 10, run, kedro_node_name="fetch")
    load_ = tape.span("dataset", "load api", node, 10, 12, kedro_dataset_operation="load")
    tape.span("foreign", "GET", load_, 10, 11)
    tape.span("foreign", "train", node, 12, 13)
    tape.span("dataset", "save out", node, 13, 14, "OSError", kedro_dataset_operation="save")
    tape.end(node, 14, "OSError")
    assert tree(rows(shown(tape, run))) == (
        "run",
        ["plain", ("fetch", [("load api", ["GET"]), "train", "save out"])],
    )


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (0, "run"),
        (1, ("run", ["a", ("bad", ["save out"])])),
        (2, ("run", [("a", ["load a_in", "save a_out"]), ("bad", ["load x", "save out"])])),
        (
            3,
            (
                "run",
                [("a", ["load a_in", "save a_out"]), ("bad", [("load x", ["GET"]), "save out"])],
            ),
        ),
    ],
)
def test_depth_is_levels_below_the_run(tape: Tape, depth: int, expected: object) -> None:
    """``--depth`` shows so many levels below the run, and what failed at any."""
    run = tape.start("run", "run", 0)
    tape.node("a", run, 0, 1, 1, 1)
    node = tape.start("node", "node bad", 10, run, kedro_node_name="bad")
    tape.span("foreign", "GET", tape.span("dataset", "load x", node, 10, 12), 10, 11)
    tape.span("dataset", "save out", node, 13, 14, "OSError")
    tape.end(node, 14, "OSError")
    assert tree(rows(shown(tape, run, 20), depth=depth)) == expected


def test_the_slowest_are_told_slowest_first(tape: Tape) -> None:
    """``--slowest`` shows so many nodes, the slowest first, and nothing else."""
    run = tape.start("run", "run", 0)
    for number in range(10):
        tape.node(f"n{number}", run, number * 10, 1, number, 1)
    assert tree(rows(shown(tape, run), slowest=3)) == ("run", ["n9", "n8", "n7"])


def test_nodes_are_named_as_inside_their_namespace(tape: Tape) -> None:
    """A small run shows its namespaces too; one with nothing but another in it shares its line, one with a single node has none."""
    run = tape.start("run", "run", 0)
    for number, (space, node) in enumerate(
        [("a.b.c", "x"), ("a.b.d", "x"), ("a.b.d", "y"), ("alone", "z"), ("", "loose")]
    ):
        name = f"{space}.{node}".strip(".")
        tape.node(name, run, number, 0, 1, 0, kedro_node_namespace=space)
    assert tree(rows(shown(tape, run))) == (
        "run",
        [("a.b", ["c.x", ("d", ["x", "y"])]), "alone.z", "loose"],
    )


def namespaced(tape: Tape, failing: int | None = None) -> Trace:
    """Return a run of ninety nodes in ten namespaces of two others, and one node in none."""
    run = tape.start("run", "run", 0)
    for number in range(90):
        space = f"outer_{number // 45}.inner_{number // 9 % 5}"
        tape.node(
            f"{space}.n{number}",
            run,
            number,
            0,
            1,
            0,
            "ValueError" if number == failing else None,
            kedro_node_namespace=space,
        )
    tape.node("loose", run, 100, 0, 1, 0)
    return shown(tape, run)


def test_a_large_run_is_folded_by_namespace(tape: Tape) -> None:
    """Of a large run namespaces are opened as far as they fit: what failed first; of what stays folded the number of nodes is known."""
    found = rows(namespaced(tape, failing=50))
    inner = [f"inner_{number}" for number in range(5)]
    opened = [
        (f"inner_{one}", [f"n{45 + 9 * one + number}" for number in range(9)]) for one in range(3)
    ]
    assert tree(found) == (
        "run",
        [("outer_0", inner), ("outer_1", [*opened, *inner[3:]]), "loose"],
    )
    assert folded(found) == 7 * 9
    (first, *_) = found.below
    assert (len(first.members), first.spent_ns, first.failed) == (45, 45 * SECOND, False)


def test_the_depth_at_which_every_node_is_shown_is_known(tape: Tape) -> None:
    """Each depth opens one level more; a folded namespace shows what failed in it; at the depth of all nothing is folded."""
    trace = namespaced(tape, failing=50)
    assert tree(rows(trace, depth=1)) == ("run", ["outer_0", ("outer_1", ["inner_0.n50"]), "loose"])
    assert levels(trace) == 3
    assert folded(rows(trace, depth=2)) == 89
    assert folded(rows(trace, depth=3)) == 0
    assert len(rows(trace, depth=4).below[0].below[0].below[0].below) == 0


def test_a_node_that_takes_long_is_shown_in_a_folded_namespace(tape: Tape) -> None:
    """Nodes that took a twentieth of the run have their lines, as far as there is room; one that failed has it always."""
    run = tape.start("run", "run", 0)
    for number in range(300):
        begin = number * 2
        seconds = 100.0 if number in (10, 20) else 1.0
        tape.node(f"all.n{number}", run, begin, 0, seconds, 0, kedro_node_namespace="all")
        tape.node(f"bad.n{number}", run, begin, 0, 1, 0, kedro_node_namespace="bad")
    bad = tape.start(
        "node", "bad.last", 700, run, kedro_node_name="bad.last", kedro_node_namespace="bad"
    )
    tape.end(bad, 701, "ValueError")
    found = rows(shown(tape, run, 1000), most=5)
    assert tree(found) == ("run", [("all", ["n10", "n20"]), ("bad", ["last"])])
    assert folded(found) == 298 + 300


def test_short_loads_and_saves_are_in_their_nodes_bars_only(tape: Tape) -> None:
    """A load or save below a hundredth of the run has no line at ``--depth 2``, unless it failed; how many those are is known."""
    run = tape.start("run", "run", 0)
    tape.node("quick", run, 0, 0.1, 1, 5)
    node = tape.start("node", "node bad", 10, run, kedro_node_name="bad")
    tape.span("dataset", "save out", node, 13, 13.1, "OSError")
    tape.end(node, 14, "OSError")
    found = rows(shown(tape, run, 100), depth=2)
    assert tree(found) == ("run", [("quick", ["save quick_out"]), ("bad", ["save out"])])
    assert brief(found) == 1


def test_a_wide_run_shows_the_slowest_and_the_rest_together(tape: Tape) -> None:
    """A run of thousands of nodes in no namespace shows what failed and the slowest, and says how many the others are."""
    run = tape.start("run", "run", 0)
    for number in range(300):
        tape.node(
            f"n{number}", run, number, 0, number / 100, 0, "ValueError" if number == 7 else None
        )
    found = labels(rows(shown(tape, run)))
    assert len(found) == ROWS
    assert found[0] == "n7"
    assert found[1:-1] == [f"n{number}" for number in range(262, 300)]
    assert found[-1] == "… 261 faster nodes"
    assert len(labels(rows(load(find().entry), depth=1))) == 300


def test_many_spans_are_told_together_by_name(tape: Tape) -> None:
    """Many of the user's spans are one line for each name, what failed by itself, and at most five lines."""
    run = tape.start("run", "run", 0)
    node = tape.start("node", "node a", 0, run, kedro_node_name="a")
    for number in range(30):
        tape.span(
            "foreign", "epoch", node, number, number + 1, "ValueError" if number == 20 else None
        )
    tape.span("foreign", "fit", node, 40, 41)
    other = tape.start("node", "node b", 100, run, kedro_node_name="b")
    for number in range(12):
        tape.span("foreign", f"query {number}", other, 100 + number, 101 + 2 * number)
    trace = shown(tape, run)
    assert tree(rows(trace)) == (
        "run",
        [
            ("a", ["epoch \N{MULTIPLICATION SIGN}29", "epoch", "fit"]),
            ("b", ["query 8", "query 9", "query 10", "query 11", "… 8 faster spans"]),
        ],
    )


def test_several_runs_each_keep_their_nodes(tape: Tape) -> None:
    """Of a command that ran two pipelines, each shows its own nodes."""
    top = tape.start("command", "kedro both", 0)
    for number in (1, 2):
        run = tape.start("run", f"run {number}", number * 100, top)
        tape.node(f"n{number}", run, number * 100, 0, 1, 0)
        tape.end(run, number * 100 + 50)
    assert tree(rows(shown(tape, top))) == ("kedro both", [("run 1", ["n1"]), ("run 2", ["n2"])])
