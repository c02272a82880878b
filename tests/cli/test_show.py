"""``kedro otel list``, ``show`` and ``export``: what a person sees, and what a program reads."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bare import LOGGING
from click.testing import CliRunner, Result
from fabricate import SECOND, Tape, a_run
from rich.cells import cell_len

from kedro_otel.cli import otel
from servers import Jaeger, eventually, request

BEGAN = 1_795_341_600 * SECOND  # Sunday 22 November 2026, 10:00:00 UTC
NODES = [("load_cars", 0.9, 0.05, 0.1), ("split", 0.1, 0.3, 0.12), ("train", 0.2, 1.5, 0.2)]
TRACE = "0123456789abcdef" * 2
HOSTILE = [
    "\x1b[31mred\x1b[0m",
    "[bold]x[/bold] :smile:",
    "\u202egnihsif",
    "nul\0new\nline\r\ttab",
    "x" * 10_000,
    "漢字" * 30,
    "e" + "\u0301" * 99,
    "</script>",
    "العربية",
]


@pytest.fixture
def folder(home: Path) -> Path:
    """Return where recordings are kept."""
    return home / "recordings"


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return ``typed(*words, code=0, columns=80)``, which types ``kedro otel …`` into a pipe at noon of the day on which all this happened."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(time, "time_ns", lambda: BEGAN + 2 * 3600 * SECOND)

    def typed(*words: str, code: int = 0, columns: int = 80, **env: str) -> Result:
        result = CliRunner().invoke(otel, words, env={"COLUMNS": str(columns), **env})
        assert result.exit_code == code, f"{result.output} {result.exception!r}"
        return result

    return typed


def screen(result: Result) -> str:
    """Return what was written to stdout, so that it can be compared with a picture that begins below its quotes."""
    return "\n" + result.stdout.rstrip("\n") + "\n"


def test_a_run_that_went_well(folder: Path, typed: Callable[..., Result]) -> None:
    """A run that went well: what ran, when, how long, with what; every node on one time axis; the critical path."""
    a_run(folder, NODES, at=BEGAN, trace=TRACE)
    assert (
        screen(typed("show"))
        == """
✓ kedro run
  today 10:00:00 · 3.92 s (run 3.48 s) · pipeline __default__ · 3 nodes
  SequentialRunner · env local · demo · kedro 1.7.0 · run run-012345
  trace 0123456789abcdef0123456789abcdef

                   0            1 s           2 s           3 s
kedro run          ◂━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▸   3.92 s
└─ run __default__ ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━   3.48 s
   ├─ load_cars    ░░░░░░░░░░░░█▒                                     1.05 s ◆
   ├─ split                      ░░████▒▒                             520 ms ◆
   └─ train                              ░░█████████████████████▒▒▒   1.90 s ◆

░░ load 1.20 s   ██ compute 1.85 s   ▒▒ save 420 ms
◆ critical path 3.47 s (3 of 3 nodes)
"""
    )


def test_a_run_that_failed(folder: Path, typed: Callable[..., Result]) -> None:
    """A run that failed tells the failure first: the node, the exception's type, the file and the line."""
    a_run(folder, NODES, at=BEGAN, trace=TRACE, error=("split", "ValueError"))
    assert (
        screen(typed("show"))
        == """
✗ kedro run failed in node split
  ValueError at src/demo/nodes.py:42
  today 10:00:00 · 1.90 s (run 1.46 s) · pipeline __default__ · 1 of 3 nodes
  SequentialRunner · env local · exit code 1 · demo · kedro 1.7.0
  run run-012345 · trace 0123456789abcdef0123456789abcdef

                   0               500 ms          1 s
kedro run          ◂━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▸   1.90 s ✗
└─ run __default__ ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━   1.46 s ✗
   ├─ load_cars    ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░█▒▒▒▒                1.05 s ◆
   └─ split                                           ░░░█████████▊   400 ms ✗ ◆
         ValueError at src/demo/nodes.py:42

░░ load 1.00 s   ██ compute 350 ms   ▒▒ save 100 ms
◆ critical path 1.45 s (2 of 3 nodes)
"""
    )


def test_a_run_that_was_killed(folder: Path, typed: Callable[..., Result]) -> None:
    """A run that was killed names the node that it died in, and when it was last heard of."""
    a_run(folder, NODES, at=BEGAN, trace=TRACE, dies=True)
    assert (
        screen(typed("show", "last"))
        == """
✗ kedro run was killed while running node train
  its process was last heard of today 10:00:02
  today 10:00:00 · 2.17 s (run 1.77 s) · pipeline __default__ · 2 of 3 nodes
  SequentialRunner · env local · demo · kedro 1.7.0 · run run-012345
  trace 0123456789abcdef0123456789abcdef

                   0            500 ms        1 s          1.5 s
kedro run          ◂━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━   2.17 s ✗
└─ run __default__ ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━   1.77 s ✗
   ├─ load_cars    ░░░░░░░░░░░░░░░░░░░░░░░░██▒▒                       1.05 s ◆
   ├─ split                                    ░░░████████▒▒▒▒        520 ms ◆
   └─ train                                                   ░░░░✗   killed ✗

░░ load 1.20 s   ██ compute 350 ms   ▒▒ save 220 ms
◆ critical path 1.57 s (2 of 3 nodes)
"""
    )


def test_a_narrow_terminal(folder: Path, typed: Callable[..., Result]) -> None:
    """On forty columns there is still a bar, a duration and a mark for every node."""
    a_run(folder, NODES, at=BEGAN, trace=TRACE)
    assert (
        screen(typed("show", columns=40))
        == """
✓ kedro run
  today 10:00:00 · 3.92 s (run 3.48 s)
  pipeline __default__ · 3 nodes
  SequentialRunner · env local · demo
  kedro 1.7.0 · run run-012345
  trace 0123456789abcdef0123456789abcdef

                     3.48 s
kedro run        ◂━━━━━━━━▸   3.92 s
└─ run __…ault__ ━━━━━━━━━━   3.48 s
   ├─ load_cars  ░░░          1.05 s ◆
   ├─ split         █▒        520 ms ◆
   └─ train           ████▒   1.90 s ◆

░░ load 1.20 s   ██ compute 1.85 s
▒▒ save 420 ms
◆ critical path 3.47 s (3 of 3 nodes)
"""
    )


def test_a_terminal_without_these_characters(folder: Path, typed: Callable[..., Result]) -> None:
    """Where the encoding has no blocks, the phases are still told apart."""
    a_run(folder, [("naïve", 0.5, 1, 0.5)], at=BEGAN, trace=TRACE)
    result = CliRunner(charset="ascii").invoke(otel, ["show"], env={"COLUMNS": "60"})
    assert (
        screen(result)
        == """
+ kedro run
  today 10:00:00 - 2.45 s (run 2.01 s)
  pipeline __default__ - 1 node - SequentialRunner
  env local - demo - kedro 1.7.0 - run run-012345
  trace 0123456789abcdef0123456789abcdef

                   0            1 s
kedro run          <-------------------------->   2.45 s
`- run __default__ ----------------------------   2.01 s
   `- na?ve        .......##############=======   2.00 s

.. load 500 ms   ## compute 1.00 s   == save 500 ms
"""
    )


def test_a_run_of_several_processes_with_spans_of_the_users(
    folder: Path, typed: Callable[..., Result]
) -> None:
    """Nodes of worker processes are in the run's tree, and so are the user's own spans, with what went wrong below what is red."""
    tape = Tape(folder, BEGAN, trace=TRACE)
    run = tape.start(
        "run",
        "run data_science",
        0,
        kedro_pipeline_name="data_science",
        kedro_runner_name="ParallelRunner",
        kedro_run_node_count=4,
    )
    for number in range(2):
        worker = Tape(folder, BEGAN + SECOND // 10, trace=TRACE, pid=5000 + number)
        node = worker.start(
            "node", f"node fit_{number}", number, run, kedro_node_name=f"fit_{number}"
        )
        worker.span("dataset", "load x", node, number, number + 0.5, kedro_dataset_operation="load")
        worker.span("foreign", "my loop", node, number + 0.5, number + 1.5)
        error = "shop.errors.StockError" if number else None
        worker.end(
            node,
            number + 2,
            error,
            kedro_error_line_number=7,
            **({"kedro_error_file_path": "src/shop/nodes.py"} if error else {}),
        )
    Tape(folder, BEGAN + SECOND // 10, trace=TRACE, pid=5002).start(
        "node", "node tune", 2, run, kedro_node_name="tune"
    )
    tape.end(run, 4, "BrokenProcessPool")
    assert (
        screen(typed("show"))
        == """
✗ run data_science failed: a worker was killed while running node tune
  node fit_1: StockError at src/shop/nodes.py:7
  today 10:00:00 · 4.00 s · pipeline data_science · 1 of 4 nodes
  ParallelRunner · demo · kedro 1.7.0 · trace 0123456789abcdef0123456789abcdef
  4 processes

                 0           1 s          2 s         3 s
run data_science ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━   4.00 s ✗
├─ fit_0          ░░░░░░███████████████████▍                          2.00 s
│  └─ my loop           ▄▄▄▄▄▄▄▄▄▄▄▄▄                                 1.00 s
├─ fit_1                       ░░░░░░██████████████████▉              2.00 s ✗
│  │  StockError at src/shop/nodes.py:7
│  └─ my loop                        ▄▄▄▄▄▄▄▄▄▄▄▄▄                    1.00 s
└─ tune                                    ✗                          killed ✗

░░ load 1.00 s   ██ compute 3.00 s   ▄▄ your spans
"""
    )


def test_a_large_run(folder: Path, typed: Callable[..., Result]) -> None:
    """A large run is drawn by namespace: how many nodes, how busy at what time, and what failed."""
    tape = Tape(folder, BEGAN, trace=TRACE)
    run = tape.start("run", "run", 0)
    for number in range(300):
        tape.node(
            f"region_{number // 100}.n{number}",
            run,
            number / 10,
            0,
            0.1,
            0,
            "ValueError" if number == 150 else None,
            kedro_node_namespace=f"region_{number // 100}",
        )
    tape.end(run, 31, "ValueError")
    assert (
        screen(typed("show"))
        == """
✗ run failed in node region_1.n150
  ValueError at src/demo/nodes.py:42
  today 10:00:00 · 31.0 s · 299 of 300 nodes · demo · kedro 1.7.0
  trace 0123456789abcdef0123456789abcdef

                        0            10 s          20 s
run                     ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━   31.0 s ✗
├─ region_0 (100 nodes) █████████████▇                                10.0 s
├─ region_1 (100 nodes)              ▂█████████████▆                  10.0 s ✗
│  └─ n150                                  ▎                         100 ms ✗
│        ValueError at src/demo/nodes.py:42
└─ region_2 (100 nodes)                            ▃█████████████▅    10.0 s

██ compute 30.0 s   299 nodes folded: --depth 2 shows all
"""
    )


def test_loads_and_saves_are_shown_on_request(folder: Path, typed: Callable[..., Result]) -> None:
    """``--depth 2`` shows what nodes loaded and saved, ``--slowest`` only the nodes that took longest."""
    a_run(folder, NODES, at=BEGAN, trace=TRACE)
    assert (
        screen(typed("show", "--depth", "2"))
        == """
✓ kedro run
  today 10:00:00 · 3.92 s (run 3.48 s) · pipeline __default__ · 3 nodes
  SequentialRunner · env local · demo · kedro 1.7.0 · run run-012345
  trace 0123456789abcdef0123456789abcdef

                   0            1 s           2 s           3 s
kedro run          ◂━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▸   3.92 s
└─ run __default__ ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━   3.48 s
   ├─ load_cars    ░░░░░░░░░░░░█▒                                     1.05 s ◆
   │  ├─ load d0   ░░░░░░░░░░░░                                       900 ms
   │  └─ save d1                ▒                                     100 ms
   ├─ split                      ░░████▒▒                             520 ms ◆
   │  ├─ load d1                 ░░                                   100 ms
   │  └─ save d2                       ▒▒                             120 ms
   └─ train                              ░░█████████████████████▒▒▒   1.90 s ◆
      ├─ load d2                         ░░                           200 ms
      └─ save d3                                                ▒▒▒   200 ms

░░ load 1.20 s   ██ compute 1.85 s   ▒▒ save 420 ms
◆ critical path 3.47 s (3 of 3 nodes)
"""
    )
    assert (
        screen(typed("show", "-1", "--slowest", "1"))
        == """
✓ kedro run
  today 10:00:00 · 3.92 s (run 3.48 s) · pipeline __default__ · 3 nodes
  SequentialRunner · env local · demo · kedro 1.7.0 · run run-012345
  trace 0123456789abcdef0123456789abcdef

                   0            1 s           2 s           3 s
kedro run          ◂━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▸   3.92 s
└─ run __default__ ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━   3.48 s
   └─ train                              ░░█████████████████████▒▒▒   1.90 s ◆

░░ load 1.20 s   ██ compute 1.85 s   ▒▒ save 420 ms
◆ critical path 3.47 s (3 of 3 nodes)
"""
    )


def test_a_command_that_ran_no_pipeline(folder: Path, typed: Callable[..., Result]) -> None:
    """A command that ran no pipeline is shown too, with its exit code and what it failed of."""
    tape = Tape(folder, BEGAN, trace=TRACE)
    command = tape.start("command", "kedro", 0, kedro_command_line="kedro *****")
    tape.end(command, 0.7, "UsageError", process_exit_code=2)
    assert (
        screen(typed("show", "last"))
        == """
✗ kedro ***** failed
  UsageError
  today 10:00:00 · 700 ms · exit code 2 · demo · kedro 1.7.0
  trace 0123456789abcdef0123456789abcdef

            0              200 ms          400 ms          600 ms
kedro ***** ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━   700 ms ✗
"""
    )


def test_the_list(folder: Path, typed: Callable[..., Result]) -> None:
    """The list shows what ran, by day, newest first: its number, outcome, start, duration, trend, trace, command, pipeline and why it failed."""
    history(folder)
    assert (
        screen(typed("list", columns=110))
        == """
today
  -1 ✓ 10:00:00   6.21 s ██████████ 00000000 in Python · __default__
     ? 09:00:00        ?            ffffffff kedro server start · end unknown
  -2 ✓ 05:00:00   5.21 s ██████████ 00000000 kedro run --pipeline ***** · data_science
  -3 ✗ 00:00:00   4.11 s ██████▋    00000000 kedro run · __default__ · interrupted
yesterday
  -4 ✗ 19:00:00   100 ms ▏          00000000 kedro run · __default__ · killed
  -5 ✗ 14:00:00   2.11 s ███▍       00000000 kedro run · __default__ · ValueError
  -6 ✓ 09:00:00   1.21 s ██         00000000 kedro run · __default__
"""
    )
    assert (
        screen(typed("list", "-n", "3", columns=40))
        == """
today
  -1 ✓ 10:00:00   6.21 s in Python · __…
     ? 09:00:00        ? kedro server s…
  -2 ✓ 05:00:00   5.21 s kedro run --pi…
"""
    )


def history(folder: Path) -> None:
    """Fabricate a morning's work."""
    for index, (seconds, told) in enumerate(
        [
            (1.0, {}),
            (2.0, {"error": ("train", "ValueError")}),
            (3.0, {"dies": True}),
            (4.0, {"error": ("train", "KeyboardInterrupt")}),
            (5.0, {"pipeline": "data_science", "command": "kedro run --pipeline *****"}),
            (6.0, {"command": None}),
        ]
    ):
        a_run(
            folder,
            [("train", 0.1, seconds, 0.1)],
            at=BEGAN + (index - 5) * 5 * 3600 * SECOND,
            trace=f"{index + 1:032x}",
            **told,
        )
    tape = Tape(
        folder,
        BEGAN - 3600 * SECOND,
        trace="f" * 32,
        resource={"kedro.project.name": "demo"},
        bootId="another",
        machineId="another",
    )
    tape.start("command", "kedro server start", 0, kedro_command_line="kedro server start")


def plain_list(result: Result) -> list[str]:
    """Return the outcomes and pipelines that a JSON list tells."""
    return [f"{one['run']} {one['outcome']} {one['pipeline']}" for one in json.loads(result.stdout)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["--failed"],
            ["-3 interrupted __default__", "-4 killed __default__", "-5 failed __default__"],
        ),
        (["--pipeline", "data_science"], ["-2 ok data_science"]),
        (["--since", "150m"], ["-1 ok __default__"]),
    ],
)
def test_the_list_is_filtered(
    folder: Path, typed: Callable[..., Result], words: list[str], expected: list[str]
) -> None:
    """``--failed``, ``--pipeline`` and ``--since`` leave out the rest, and numbers stay what ``show`` takes."""
    history(folder)
    assert plain_list(typed("list", "--json", *words)) == expected


def test_the_list_as_json(folder: Path, typed: Callable[..., Result]) -> None:
    """The list for a program has every figure that the list for a person has."""
    a_run(
        folder,
        [("train", 0.1, 1, 0.1)],
        at=BEGAN,
        trace=TRACE,
        error=("train", "ValueError"),
        run_id="2026-11-22T10.00.00.000Z",
    )
    assert json.loads(typed("list", "--json").stdout) == [
        {
            "run": -1,
            "outcome": "failed",
            "start": "2026-11-22T10:00:00.400000Z",
            "duration_seconds": 1.11,
            "command_start": "2026-11-22T10:00:00.000000Z",
            "command_duration_seconds": 1.55,
            "trace_id": TRACE,
            "run_id": "2026-11-22T10.00.00.000Z",
            "command": "kedro run",
            "pipeline": "__default__",
            "runner": "SequentialRunner",
            "environment": "local",
            "nodes": 1,
            "error_type": "ValueError",
            "error_cause": None,
            "error_where": None,
            "error_message": None,
            "project": "demo",
            "pid": 4711,
            "parts": None,
            "sampled": True,
        }
    ]


def test_a_run_as_json(folder: Path, typed: Callable[..., Result]) -> None:
    """A run for a program is whole: nothing folded, every span with its parent, ids that join, and what went wrong where."""
    a_run(
        folder,
        NODES,
        at=BEGAN,
        trace=TRACE,
        error=("split", "ValueError"),
        run_id="2026-11-22T10.00.00.000Z",
    )
    told = json.loads(typed("show", "--json").stdout)
    spans = told.pop("spans")
    ids = {span["span_id"]: span["name"] for span in spans}
    assert told == {
        "trace_id": TRACE,
        "run_id": "2026-11-22T10.00.00.000Z",
        "what": "kedro run",
        "outcome": "failed",
        "sentence": "kedro run failed in node split",
        "start": "2026-11-22T10:00:00.400000Z",
        "duration_seconds": 1.46,
        "command": "kedro run",
        "command_start": "2026-11-22T10:00:00.000000Z",
        "command_duration_seconds": 1.9,
        "pipeline": "__default__",
        "runner": "SequentialRunner",
        "environment": "local",
        "project": "demo",
        "nodes": 3,
        "nodes_done": 1,
        "nodes_not_run": [],
        "resume_command": None,
        "error_type": "ValueError",
        "error_cause": None,
        "error_where": None,
        "error_message": None,
        "pid": 4711,
        "parts": None,
        "sampled": True,
        "failures": [
            {
                "span_id": next(span for span, name in ids.items() if name == "node split"),
                "name": "node split",
                "type": "ValueError",
                "where": "src/demo/nodes.py:42",
                "message": "",
            }
        ],
        "critical_path": {"duration_seconds": 1.45, "nodes": ["load_cars", "split"]},
        "resource": {
            "service.name": "kedro",
            "kedro.version": "1.7.0",
            "kedro.project.name": "demo",
        },
        "skipped_lines": 0,
        "lost": 0,
    }
    assert [
        (span["operation"], span["name"], ids.get(span["parent_span_id"])) for span in spans
    ] == [
        ("command", "kedro run", None),
        ("run", "run __default__", "kedro run"),
        ("node", "node load_cars", "run __default__"),
        ("dataset", "load d0", "node load_cars"),
        ("dataset", "save d1", "node load_cars"),
        ("node", "node split", "run __default__"),
        ("dataset", "load d1", "node split"),
    ]
    node = spans[2]
    assert (
        node["load_seconds"],
        node["compute_seconds"],
        node["save_seconds"],
        node["duration_seconds"],
        node["critical"],
    ) == (
        0.9,
        0.05,
        0.1,
        1.05,
        True,
    )
    assert (
        node["state"],
        node["error"],
        node["pid"],
        node["attributes"]["kedro.node.outputs"],
    ) == ("ended", False, 4711, ["d1"])


@pytest.mark.parametrize("columns", [1, 10, 25, 40, 79, 200, 400])
@pytest.mark.parametrize("words", [("show",), ("show", "--depth", "9"), ("list",)])
def test_hostile_names_are_harmless(
    folder: Path, typed: Callable[..., Result], words: tuple[str, ...], columns: int
) -> None:
    """No name moves the cursor, colours the screen, turns the line around, is taken for markup, or makes a line longer than the screen."""
    nodes = [(name, 0.1, 0.2, 0.1) for name in HOSTILE]
    tape = a_run(
        folder,
        nodes,
        at=BEGAN,
        error=(HOSTILE[-1], HOSTILE[0] + HOSTILE[2]),
        pipeline=HOSTILE[1] + HOSTILE[0],
        run_id=HOSTILE[3],
        command=HOSTILE[0],
    )
    tape.span("foreign", HOSTILE[0], tape.start("run", "run", 0.4), 0.5, 0.6)
    shown = typed(*words, columns=columns).stdout
    assert all(character.isprintable() or character == "\n" for character in shown)
    assert max(map(cell_len, shown.splitlines())) <= max(columns, 1)
    if columns >= 200 and words == ("show",):
        assert "[bold]x[/bold] :smile:" in shown
        assert "␛[31mred␛[0m" in shown


def test_hostile_names_are_harmless_in_json(folder: Path, typed: Callable[..., Result]) -> None:
    """JSON spells what a terminal might obey as escapes, and a program reads back what was recorded."""
    a_run(folder, [(name, 0.1, 0.2, 0.1) for name in HOSTILE], at=BEGAN)
    for words in (("show", "--json"), ("list", "--json"), ("export",)):
        assert typed(*words).stdout.replace("\n", "").isprintable()
        assert typed(*words).stdout.isascii()
    told = json.loads(typed("show", "--json").stdout)
    assert [
        span["attributes"]["kedro.node.name"]
        for span in told["spans"]
        if span["operation"] == "node"
    ] == HOSTILE


def test_colour_is_for_terminals_that_want_it(folder: Path, typed: Callable[..., Result]) -> None:
    """A pipe and ``NO_COLOR`` get no colour, ``FORCE_COLOR`` gets it, and the text is the same."""
    a_run(folder, NODES, at=BEGAN, error=("split", "ValueError"))
    plain = typed("show").stdout
    coloured = (
        CliRunner()
        .invoke(
            otel,
            ["show"],
            env={"COLUMNS": "80", "FORCE_COLOR": "1", "TERM": "xterm-256color"},
            color=True,
        )
        .stdout
    )
    bare = (
        CliRunner()
        .invoke(
            otel,
            ["show"],
            env={"COLUMNS": "80", "FORCE_COLOR": "1", "TERM": "xterm-256color", "NO_COLOR": "1"},
            color=True,
        )
        .stdout
    )
    assert "\x1b[" not in plain
    assert re.search(r"\x1b\[[\d;]*31m[^\n]*split", coloured)
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain == re.sub(r"\x1b\[[\d;]*m", "", bare)
    assert not re.search(r"\x1b\[[\d;]*3\dm", bare)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("show",), 1, "nothing is recorded yet: type `kedro run`"),
        (("show", "last"), 1, "nothing is recorded yet"),
        (("list",), 1, "nothing is recorded yet"),
        (("export", "-3"), 1, "nothing is recorded yet"),
        (("list", "--since", "soon"), 2, "is no time"),
        (("show", "--depht", "2"), 2, "No such option"),
        (("show", "-x"), 2, "No such option"),
        (("show", "a", "b"), 2, "unexpected extra argument"),
        (("show", "-2", "-3"), 2, "unexpected extra argument (-3)"),
    ],
)
def test_with_nothing_to_show_it_says_what_to_do(
    typed: Callable[..., Result], words: tuple[str, ...], code: int, says: str
) -> None:
    """With nothing there the exit code is 1 and stderr says what to type; with a wrong word it is 2."""
    result = typed(*words, code=code)
    assert result.stdout == ""
    assert says in result.stderr


def test_what_is_not_there_is_said_so(folder: Path, typed: Callable[..., Result]) -> None:
    """A run that is not recorded is said so with exit code 1, and so is a list that the filters leave empty."""
    a_run(folder, NODES, at=BEGAN)
    for words in (
        ("show", "-2"),
        ("show", "no-such-run"),
        ("export", "ffff"),
        ("list", "--failed"),
    ):
        result = typed(*words, code=1)
        assert (result.stdout, "kedro otel list" in result.stderr) == ("", True)


def test_where_recording_is_off_the_word_that_did_it_is_named(
    folder: Path, typed: Callable[..., Result]
) -> None:
    """Where nothing is recorded, list and show answer all the same, and name the word that switched it off."""
    assert "DO_NOT_TRACK" in typed("show", code=1, DO_NOT_TRACK="1").stderr
    a_run(folder, NODES, at=BEGAN)
    for command in ("show", "list"):
        result = typed(command, DO_NOT_TRACK="1")
        assert ("kedro run" in result.stdout, "DO_NOT_TRACK" in result.stderr) == (True, True)
        assert typed(command).stderr == ""


def test_an_empty_folder_of_ours_is_not_made(home: Path, typed: Callable[..., Result]) -> None:
    """Looking makes nothing."""
    typed("show", code=1)
    assert not home.exists()


def test_looking_keeps_the_bounds(folder: Path, typed: Callable[..., Result]) -> None:
    """Who has no endpoint has nobody else who removes old recordings: list and show do."""
    for hour in range(5):
        a_run(folder, NODES, at=BEGAN + hour * SECOND)
    for command in ("list", "show"):
        typed(command, KEDRO_OTEL_MAX_SEGMENTS="2" if command == "show" else "3")
        assert len(list(folder.glob("0*.jsonl"))) == (2 if command == "show" else 3)


def test_runs_are_completed(
    folder: Path, typed: Callable[..., Result], environment: dict[str, str]
) -> None:
    """A shell completes RUN with what is recorded."""
    a_run(folder, NODES, at=BEGAN, trace=TRACE, run_id="2026-11-22T10.00.00.000Z")
    a_run(folder, NODES, at=BEGAN + SECOND, trace="f" * 32, run_id="\x1b[2J")
    environment |= {
        "_OTEL_COMPLETE": "bash_complete",
        "COMP_WORDS": "otel show ",
        "COMP_CWORD": "2",
    }
    shown = CliRunner().invoke(otel, [], prog_name="otel", env=environment).stdout
    assert shown.split("\n")[:-1] == [
        "plain,last",
        "plain,ffffffff",
        "plain,2026-11-22T10.00.00.000Z",
        "plain,01234567",
    ]


def spans_of(result: Result) -> list[dict[str, Any]]:
    """Return the spans of an export, whose every line is one message."""
    return [
        span
        for line in result.stdout.splitlines()
        for scope in json.loads(line)["resourceSpans"][0]["scopeSpans"]
        for span in scope["spans"]
    ]


def test_export_is_one_message_for_each_process(folder: Path, typed: Callable[..., Result]) -> None:
    """An export has a line for each process, with everything of this run that has ended and nothing of another."""
    tape = Tape(folder, BEGAN, trace=TRACE)
    tape.live()
    run = tape.start("run", "run", 0)
    event = {
        "name": "exception",
        "timeUnixNano": "5",
        "attributes": [{"key": "exception.message", "value": {"stringValue": "m"}}],
        "odd": 1,
    }
    link = {"traceId": "a" * 32, "spanId": "b" * 16, "attributes": []}
    tape.span(
        "foreign",
        "mine",
        run,
        1,
        2,
        "E",
        more={"kind": 3, "events": [event], "links": [link, {"traceId": 5}], "traceState": "a=b"},
        an_int=1,
        a_list=["x"],
        a_float=float("inf"),
    )
    worker = Tape(folder, BEGAN + SECOND, trace=TRACE, pid=7)
    worker.node("a", run, 0, 0, 1, 0)
    result = typed("export")
    assert result.stderr == "kedro-otel: 1 operations have not ended and are left out\n"
    first, second = (json.loads(line) for line in result.stdout.splitlines())
    (resource,) = first["resourceSpans"]
    (scope,) = resource["scopeSpans"]
    assert resource["resource"]["attributes"][0] == {
        "key": "service.name",
        "value": {"stringValue": "kedro"},
    }
    assert scope == {
        "scope": {},
        "spans": [
            {
                "traceId": TRACE,
                "spanId": spans_of(result)[0]["spanId"],
                "parentSpanId": run,
                "traceState": "a=b",
                "name": "mine",
                "kind": 3,
                "startTimeUnixNano": str(tape.ns(1)),
                "endTimeUnixNano": str(tape.ns(2)),
                "attributes": [
                    {"key": "an.int", "value": {"intValue": "1"}},
                    {"key": "a.list", "value": {"arrayValue": {"values": [{"stringValue": "x"}]}}},
                    {"key": "a.float", "value": {"doubleValue": "Infinity"}},
                    {"key": "error.type", "value": {"stringValue": "E"}},
                ],
                "events": [
                    {"name": "exception", "timeUnixNano": "5", "attributes": event["attributes"]}
                ],
                "links": [link],
                "status": {"code": 2},
            }
        ],
    }
    assert [span["name"] for span in second["resourceSpans"][0]["scopeSpans"][0]["spans"]] == [
        "node a"
    ]
    assert second["resourceSpans"][0]["scopeSpans"][0]["scope"] == {"name": "kedro_otel"}


@pytest.mark.servers
def test_an_export_is_what_receivers_take(
    folder: Path, typed: Callable[..., Result], jaeger: Jaeger
) -> None:
    """Every line of an export, of a run with every kind of value in it and of a killed one, is taken by a real OTLP/HTTP receiver."""
    tape = a_run(
        folder,
        [(name, 0.1, 0.2, 0.1) for name in HOSTILE],
        at=time.time_ns() - 60 * SECOND,
        trace=TRACE,
        error=(HOSTILE[-1], "ValueError"),
    )
    tape.span(
        "foreign",
        "mine",
        "e" * 16,
        1,
        2,
        more={"kind": 5},
        a_float=0.5,
        a_list=["x", "y"],
        a_bool=True,
        an_int=2**62,
    )
    dead = a_run(folder, NODES, at=time.time_ns() - 120 * SECOND, trace="d" * 32, dies=True)
    for run in (TRACE, dead.trace):
        for line in typed("export", run).stdout.splitlines():
            assert request(f"{jaeger.otlp_http}/v1/traces", json.loads(line))[0] == 200
    found = eventually(
        lambda: (
            jaeger.trace(TRACE)
            and jaeger.trace(dead.trace)
            and (jaeger.trace(TRACE), jaeger.trace(dead.trace))
        )
    )
    assert found
    assert [len(trace["spans"]) for trace in found] == [29, 10]


def test_both_answer_at_once_among_two_thousand_recordings(
    folder: Path, typed: Callable[..., Result], full: bool
) -> None:
    """Among two thousand recordings, one of ten thousand nodes, list answers in 0.3 s and show in 1 s; three times that on a busy machine."""
    number, nodes = (2000, 10_000) if full else (500, 2_000)
    for index in range(number):
        a_run(
            folder,
            [(f"n{node}", 0.1, 0.2, 0.1) for node in range(5)],
            at=BEGAN - (number - index) * 60 * SECOND,
            error=("n3", "ValueError") if index == 0 else None,
        )
    big(folder, nodes)
    took = {}
    for words in (("list",), ("list", "--failed"), ("show", f"-{number}"), ("show",)):
        begin = time.perf_counter()
        typed(*words)
        took[words] = time.perf_counter() - begin
    assert took["list",] < 0.9
    assert took["list", "--failed"] < 0.9
    assert took["show", f"-{number}"] < 1.5
    assert took["show",] < 3


def big(folder: Path, nodes: int) -> None:
    """Fabricate a run of many nodes, each in one of ten namespaces."""
    tape = Tape(folder, BEGAN, trace=TRACE)
    run = tape.start("run", "run", 0)
    for node in range(nodes):
        tape.node(
            f"space_{node % 10}.n{node}",
            run,
            node / 100,
            0.002,
            0.005,
            0.002,
            kedro_node_namespace=f"space_{node % 10}",
            inputs=[f"d{node}"],
            outputs=[f"d{node + 1}"],
        )
    tape.end(run, nodes / 100)


def test_a_real_run_is_shown(project: Callable[..., Path], kedro: Callable[..., Any]) -> None:
    """What the real ``kedro run`` recorded is listed, drawn and exported: as it went well, and as it failed."""
    path = project()
    kedro("run", cwd=path)
    kedro("run", "--params", "fail=true", cwd=path, code=1)
    kedro("registry", "list", cwd=path)
    listed = kedro("otel", "list", cwd=path).out
    assert [
        re.search(rf" {mark} .*kedro {words}", listed) is not None
        for mark, words in (
            ("✓", "registry list"),
            ("✗", r"run --params"),
            ("✓", "run · __default__"),
        )
    ] == [True] * 3
    failed = kedro("otel", "show", cwd=path).out
    assert re.search(
        r"✗ kedro run --params \S+ failed in node tell\n  ValueError at src/minimal/nodes.py:\d+\n",
        failed,
    )
    good = kedro("otel", "show", "-2", cwd=path).out
    for node in ("greet", "shout", "tell"):
        assert re.search(rf"─ {node} .*[█▏▎▍▌▋▊▉░▒].* (ms|µs|s)( ◆)?\n", good)
    assert "✓ kedro run\n" in good
    exported = kedro("otel", "export", "last", cwd=path).out
    assert '"name":"kedro registry list"' in exported


def test_every_command_is_told_in_a_whole_sentence(typed: Callable[..., Result]) -> None:
    """The list of commands cuts no sentence in the middle."""
    told = typed("--help").stdout.partition("Commands:\n")[2].splitlines()
    assert len(told) > 12
    assert [line for line in told if not re.fullmatch(r"  \w+ +[A-Z].*\w\.", line)] == []


def test_who_pipes_is_told_of_kedros_own_line(
    folder: Path, project: Callable[..., Path], kedro: Callable[..., Any]
) -> None:
    """Where Kedro has begun stdout with its log, stderr says what to type instead; where it has not, nothing is said, and the answer is alone."""
    a_run(folder, NODES, at=BEGAN)
    path = project("demo", files={"logging.yml": LOGGING})
    for words in (
        ("list", "--json"),
        ("show", "--json"),
        ("status", "--json"),
        ("export",),
        ("report", "-o", "-"),
        ("compare", "-1", "-1", "--markdown"),
    ):
        told = kedro("otel", *words, cwd=path)
        assert "logging" in told.out
        assert f"kedro-otel {words[0]}" in told.err.replace("kedro-otel: ", "")
        alone = kedro(
            "otel", *words, cwd=path, env={"KEDRO_LOGGING_CONFIG": str(path / "logging.yml")}
        )
        assert alone.out.startswith(("[", "{", "<!doctype", "**"))
        assert "kedro-otel" not in alone.err
    assert "kedro-otel list" not in kedro("otel", "list", cwd=path).err


def test_both_spellings_know_the_project(
    project: Callable[..., Path], kedro: Callable[..., Any], run: Callable[..., Any]
) -> None:
    """``python -m kedro_otel`` finds the project that it is typed in as Kedro does: its id, and what it asks for."""
    path = project(
        pyproject='[tool.kedro_otel]\ndetail = "usage"\n',
        files={"logging.yml": LOGGING, "conf/deep/er/x": ""},
    )
    env = {"KEDRO_LOGGING_CONFIG": str(path / "logging.yml"), "KEDRO_OTEL_DETAIL": "run"}
    kedro("run", cwd=path, env=env)
    for where in (path, path / "conf/deep/er", path.parent):
        said = kedro("otel", "status", "--json", cwd=where, env=env).out
        assert (
            run(sys.executable, "-m", "kedro_otel", "status", "--json", cwd=where, env=env).out
            == said
        )
        assert (json.loads(said)["ids"]["kedro.project.id"] is None) == (where == path.parent)


def test_without_kedros_own_words_on_stdout(folder: Path, run: Callable[..., Any]) -> None:
    """``python -m kedro_otel`` answers as ``kedro otel`` does, with nothing but the answer on stdout, and without loading Kedro."""
    a_run(folder, NODES, at=BEGAN, trace=TRACE)
    assert (
        json.loads(run(sys.executable, "-m", "kedro_otel", "show", "--json").out)["trace_id"]
        == TRACE
    )
    probe = "import sys; from kedro_otel.cli import otel; otel(['list'], standalone_mode=False)"
    run(
        sys.executable,
        "-c",
        f"{probe}; sys.exit(bool({{'kedro', 'opentelemetry'}} & {{*sys.modules}}))",
    )
