"""``kedro otel list``, ``show`` and ``export``: what a person sees, and what a program reads."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fabricate import SECOND, Tape, a_run

from kedro_otel.cli import otel

BEGAN = 1_795_341_600 * SECOND  # Sunday 22 November 2026, 10:00:00 UTC
NODES = [("load_cars", 0.9, 0.05, 0.1), ("split", 0.1, 0.3, 0.12), ("train", 0.2, 1.5, 0.2)]
TRACE = "0123456789abcdef" * 2
HOSTILE = ["\x1b[31mred\x1b[0m", "[bold]x[/bold] :smile:", "\u202egnihsif", "nul\0new\nline\r\ttab", "x" * 10_000, "漢字" * 30, "e" + "\u0301" * 99, "</script>", "العربية"]


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
    assert screen(typed("show")) == """
✓ kedro run
  today 10:00:00 · 3.92 s (run 3.48 s) · pipeline __default__ · 3 nodes
  SequentialRunner · env local · demo · kedro 1.7.0 · run run-012345
  trace 0123456789abcdef0123456789abcdef

                   0             1 s           2 s            3 s
kedro run          ◂━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▸   3.92 s
└─ run __default__ ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━   3.48 s
   ├─ load_cars    ░░░░░░░░░░░░░█▒                                      1.05 s ◆
   ├─ split                       ░░████▒▒                              520 ms ◆
   └─ train                               ░░██████████████████████▒▒▒   1.90 s ◆

░░ load 1.20 s   ██ compute 1.85 s   ▒▒ save 420 ms
◆ critical path 3.47 s (3 of 3 nodes)
"""


def test_a_run_that_failed(folder: Path, typed: Callable[..., Result]) -> None:
    """A run that failed tells the failure first: the node, the exception's type, the file and the line."""
    a_run(folder, NODES, at=BEGAN, trace=TRACE, error=("split", "ValueError"))
    assert screen(typed("show")) == """
✗ kedro run failed in node split
  ValueError at src/demo/nodes.py:42
  today 10:00:00 · 1.90 s (run 1.46 s) · pipeline __default__ · 1 of 3 nodes
  SequentialRunner · env local · exit code 1 · demo · kedro 1.7.0
  run run-012345 · trace 0123456789abcdef0123456789abcdef

                   0                500 ms           1 s
kedro run          ◂━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▸   1.90 s ✗
└─ run __default__ ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━   1.46 s ✗
   ├─ load_cars    ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░██▒▒▒                 1.05 s ◆
   └─ split                                            ░░░██████████▊   400 ms …
         ValueError at src/demo/nodes.py:42

░░ load 1.00 s   ██ compute 350 ms   ▒▒ save 100 ms
◆ critical path 1.45 s (2 of 2 nodes)
"""


def test_a_run_that_was_killed(folder: Path, typed: Callable[..., Result]) -> None:
    """A run that was killed names the node that it died in, and when it was last heard of."""
    a_run(folder, NODES, at=BEGAN, trace=TRACE, dies=True)
    assert screen(typed("show", "last")) == """
✗ kedro run was killed while running node train
  the process ended without a word; last sign of life today 10:00:02
  today 10:00:00 · 2.17 s (run 1.77 s) · pipeline __default__ · 2 of 3 nodes
  SequentialRunner · env local · demo · kedro 1.7.0 · run run-012345
  trace 0123456789abcdef0123456789abcdef

                   0             500 ms        1 s           1.5 s
kedro run          ◂━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━   2.17 s ✗
└─ run __default__ ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━   1.77 s ✗
   ├─ load_cars    ░░░░░░░░░░░░░░░░░░░░░░░░░██▒▒▒                       1.05 s ◆
   ├─ split                                      ░░█████████▒▒▒         520 ms ◆
   └─ train                                                    ░░░░░✗   killed ✗

░░ load 1.20 s   ██ compute 350 ms   ▒▒ save 220 ms
◆ critical path 1.57 s (2 of 3 nodes)
"""


def test_a_narrow_terminal(folder: Path, typed: Callable[..., Result]) -> None:
    """On forty columns there is still a bar, a duration and a mark for every node."""
    a_run(folder, NODES, at=BEGAN, trace=TRACE)
    assert screen(typed("show", columns=40)) == """
✓ kedro run
  today 10:00:00 · 3.92 s (run 3.48 s)
  pipeline __default__ · 3 nodes
  SequentialRunner · env local · demo
  kedro 1.7.0 · run run-012345
  trace 0123456789abcdef0123456789abcdef

                 0     3.48 s
kedro run        ◂━━━━━━━━━━▸   3.92 s
└─ run __…ault__ ━━━━━━━━━━━━   3.48 s
   ├─ load_cars  ░░░▒           1.05 s ◆
   ├─ split          █          520 ms ◆
   └─ train           ░█████▒   1.90 s ◆

░░ load 1.20 s   ██ compute 1.85 s
▒▒ save 420 ms
◆ critical path 3.47 s (3 of 3 nodes)
"""


def test_a_terminal_without_these_characters(folder: Path, typed: Callable[..., Result]) -> None:
    """Where the encoding has no blocks, the phases are still told apart."""
    a_run(folder, [("naïve", 0.5, 1, 0.5)], at=BEGAN, trace=TRACE)
    result = CliRunner(charset="ascii").invoke(otel, ["show"], env={"COLUMNS": "60"})
    assert screen(result) == """
+ kedro run
  today 10:00:00 - 2.45 s (run 2.01 s)
  pipeline __default__ - 1 node - SequentialRunner
  env local - demo - kedro 1.7.0 - run run-012345
  trace 0123456789abcdef0123456789abcdef

                   0             1 s
kedro run          <---------------------------->   2.45 s
`- run __default__ ------------------------------   2.01 s
   `- na?ve        .......###############========   2.00 s

.. load 500 ms   ## compute 1.00 s   == save 500 ms
"""


def test_a_run_of_several_processes_with_spans_of_the_users(folder: Path, typed: Callable[..., Result]) -> None:
    """Nodes of worker processes are in the run's tree, and so are the user's own spans, with what went wrong below what is red."""
    tape = Tape(folder, BEGAN, trace=TRACE)
    run = tape.start("run", "run data_science", 0, kedro_pipeline_name="data_science", kedro_runner_name="ParallelRunner", kedro_run_node_count=4)
    for number in range(2):
        worker = Tape(folder, BEGAN + SECOND // 10, trace=TRACE, pid=5000 + number)
        node = worker.start("node", f"node fit_{number}", number, run, kedro_node_name=f"fit_{number}")
        worker.span("dataset", "load x", node, number, number + 0.5, kedro_dataset_operation="load")
        worker.span("foreign", "my loop", node, number + 0.5, number + 1.5)
        error = "shop.errors.StockError" if number else None
        worker.end(node, number + 2, error, kedro_error_line_number=7, **({"kedro_error_file_path": "src/shop/nodes.py"} if error else {}))
    Tape(folder, BEGAN + SECOND // 10, trace=TRACE, pid=5002).start("node", "node tune", 2, run, kedro_node_name="tune")
    tape.end(run, 4, "BrokenProcessPool")
    assert screen(typed("show")) == """
✗ run data_science failed: a worker was killed while running node tune
  node fit_1: shop.errors.StockError at src/shop/nodes.py:7
  today 10:00:00 · 4.00 s · pipeline data_science · 1 of 4 nodes
  ParallelRunner · demo · kedro 1.7.0 · trace 0123456789abcdef0123456789abcdef
  4 processes

                 0            1 s          2 s          3 s
run data_science ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━   4.00 s ✗
├─ fit_0          ░░░░░░░███████████████████▍                           2.00 s
│  └─ my loop            ▄▄▄▄▄▄▄▄▄▄▄▄▄                                  1.00 s
├─ fit_1                       ░░░░░░░███████████████████▍              2.00 s ✗
│  │  shop.errors.StockError at src/shop/nodes.py:7
│  └─ my loop                         ▄▄▄▄▄▄▄▄▄▄▄▄▄                     1.00 s
└─ tune                                     ✗                           killed ✗

░░ load 1.00 s   ██ compute 3.00 s   ▄▄ your spans
"""


def test_a_large_run(folder: Path, typed: Callable[..., Result]) -> None:
    """A large run is drawn by namespace: how many nodes, how busy at what time, and what failed."""
    tape = Tape(folder, BEGAN, trace=TRACE)
    run = tape.start("run", "run", 0)
    for number in range(300):
        tape.node(f"region_{number // 100}.n{number}", run, number / 10, 0, 0.1, 0, "ValueError" if number == 150 else None, kedro_node_namespace=f"region_{number // 100}")
    tape.end(run, 31, "ValueError")
    assert screen(typed("show")) == """
✗ run failed in node region_1.n150
  ValueError at src/demo/nodes.py:42
  today 10:00:00 · 31.0 s · 299 of 300 nodes · demo · kedro 1.7.0
  trace 0123456789abcdef0123456789abcdef

                        0             10 s           20 s
run                     ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━   31.0 s ✗
├─ region_0 (100 nodes) ██████████████▅                                 10.0 s
├─ region_1 (100 nodes)               ▄██████████████▁                  10.0 s ✗
│  └─ region_1.n150                          ▎                          100 ms ✗
│        ValueError at src/demo/nodes.py:42
└─ region_2 (100 nodes)                              ██████████████▅    10.0 s

██ compute 30.0 s
"""


def test_loads_and_saves_are_shown_on_request(folder: Path, typed: Callable[..., Result]) -> None:
    """``--depth 2`` shows what nodes loaded and saved, ``--slowest`` only the nodes that took longest."""
    a_run(folder, NODES, at=BEGAN, trace=TRACE)
    assert screen(typed("show", "--depth", "2")) == """
✓ kedro run
  today 10:00:00 · 3.92 s (run 3.48 s) · pipeline __default__ · 3 nodes
  SequentialRunner · env local · demo · kedro 1.7.0 · run run-012345
  trace 0123456789abcdef0123456789abcdef

                   0             1 s           2 s            3 s
kedro run          ◂━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▸   3.92 s
└─ run __default__ ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━   3.48 s
   ├─ load_cars    ░░░░░░░░░░░░░█▒                                      1.05 s ◆
   │  ├─ load d0   ░░░░░░░░░░░░░                                        900 ms
   │  └─ save d1                 ▒                                      100 ms
   ├─ split                       ░░████▒▒                              520 ms ◆
   │  ├─ load d1                  ░░                                    100 ms
   │  └─ save d2                        ▒▒                              120 ms
   └─ train                               ░░██████████████████████▒▒▒   1.90 s ◆
      ├─ load d2                          ░░                            200 ms
      └─ save d3                                                  ▒▒▒   200 ms

░░ load 1.20 s   ██ compute 1.85 s   ▒▒ save 420 ms
◆ critical path 3.47 s (3 of 3 nodes)
"""
    assert screen(typed("show", "-1", "--slowest", "1")) == """
✓ kedro run
  today 10:00:00 · 3.92 s (run 3.48 s) · pipeline __default__ · 3 nodes
  SequentialRunner · env local · demo · kedro 1.7.0 · run run-012345
  trace 0123456789abcdef0123456789abcdef

                   0             1 s           2 s            3 s
kedro run          ◂━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▸   3.92 s
└─ run __default__ ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━   3.48 s
   └─ train                               ░░██████████████████████▒▒▒   1.90 s ◆

░░ load 1.20 s   ██ compute 1.85 s   ▒▒ save 420 ms
◆ critical path 3.47 s (3 of 3 nodes)
"""


def test_a_command_that_ran_no_pipeline(folder: Path, typed: Callable[..., Result]) -> None:
    """A command that ran no pipeline is shown too, with its exit code and what it failed of."""
    tape = Tape(folder, BEGAN, trace=TRACE)
    command = tape.start("command", "kedro", 0, kedro_command_line="kedro *****")
    tape.end(command, 0.7, "UsageError", process_exit_code=2)
    assert screen(typed("show", "last")) == """
✗ kedro ***** failed
  UsageError
  today 10:00:00 · 700 ms · exit code 2 · demo · kedro 1.7.0
  trace 0123456789abcdef0123456789abcdef

            0               200 ms          400 ms          600 ms
kedro ***** ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━   700 ms ✗
"""


def test_the_list(folder: Path, typed: Callable[..., Result]) -> None:
    """The list shows what ran, by day, newest first: its number, outcome, start, duration, trend, trace, command, pipeline and why it failed."""
    history(folder)
    assert screen(typed("list", columns=110)) == """
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
    assert screen(typed("list", "-n", "3", columns=40)) == """
today
  -1 ✓ 10:00:00   6.21 s in Python · __…
     ? 09:00:00        ? kedro server s…
  -2 ✓ 05:00:00   5.21 s kedro run --pi…
"""


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
        a_run(folder, [("train", 0.1, seconds, 0.1)], at=BEGAN + (index - 5) * 5 * 3600 * SECOND, trace=f"{index + 1:032x}", **told)
    tape = Tape(folder, BEGAN - 3600 * SECOND, trace="f" * 32, resource={"kedro.project.name": "demo"}, bootId="another")
    tape.start("command", "kedro server start", 0, kedro_command_line="kedro server start")


def plain_list(result: Result) -> list[str]:
    """Return the outcomes and pipelines that a JSON list tells."""
    return [f"{one['run']} {one['outcome']} {one['pipeline']}" for one in json.loads(result.stdout)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--failed"], ["-3 interrupted __default__", "-4 killed __default__", "-5 failed __default__"]),
        (["--pipeline", "data_science"], ["-2 ok data_science"]),
        (["--since", "150m"], ["-1 ok __default__"]),
    ],
)
def test_the_list_is_filtered(folder: Path, typed: Callable[..., Result], words: list[str], expected: list[str]) -> None:
    """``--failed``, ``--pipeline`` and ``--since`` leave out the rest, and numbers stay what ``show`` takes."""
    history(folder)
    assert plain_list(typed("list", "--json", *words)) == expected
