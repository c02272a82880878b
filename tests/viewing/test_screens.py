"""What ``kedro otel show`` prints of small, namespaced, wide and large runs on screens of several widths.

The expected screens are files in ``screens/``. ``KEDRO_OTEL_WRITE_SCREENS=1`` writes them anew; read them before you commit them.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner
from fabricate import SECOND, Tape

from kedro_otel.cli import otel

SCREENS = Path(__file__).parent / "screens"
WRITE = bool(os.environ.get("KEDRO_OTEL_WRITE_SCREENS"))
BEGAN = 1_795_341_600 * SECOND  # Sunday 22 November 2026, 10:00:00 UTC
TRACE = "0123456789abcdef0123456789abcdef"
STEPS = (
    "load_and_validate",
    "drop_duplicates_and_missing",
    "normalise_columns",
    "join_with_reference_tables",
    "compute_aggregates",
    "write_out",
)
STAGES = (
    "ingestion.raw",
    "ingestion.clean",
    "feature_engineering.customers",
    "feature_engineering.products",
    "feature_engineering.joined",
    "modelling.train.linear",
    "modelling.train.boosted",
    "modelling.evaluate.linear",
    "modelling.evaluate.boosted",
    "reporting.weekly",
    "reporting.monthly",
)


class Node(NamedTuple):
    """A node: its namespace, name and seconds."""

    space: str
    name: str
    seconds: float


def small() -> Iterator[Node]:
    """Yield twelve nodes in no namespace."""
    for number, seconds in enumerate(
        (0.4, 1.2, 0.1, 3.0, 0.05, 0.6, 2.2, 0.3, 0.9, 0.02, 1.1, 0.2)
    ):
        yield Node("", f"{STEPS[number % 6]}_{number}", seconds)


def namespaced() -> Iterator[Node]:
    """Yield sixty-seven nodes in three levels of namespaces."""
    dice = random.Random(3)
    for stage in STAGES:
        for step in STEPS:
            yield Node(stage, step, 0.02 + dice.expovariate(1 / 0.3))
    yield Node("", "notify", 0.1)


def wide() -> Iterator[Node]:
    """Yield two thousand nodes in no namespace."""
    dice = random.Random(4)
    for number in range(2000):
        yield Node("", f"score_region_{number:04}", dice.expovariate(1 / 0.05))


def large() -> Iterator[Node]:
    """Yield ten thousand nodes in namespaces of two levels."""
    dice = random.Random(5)
    for number in range(10_000):
        space = f"country_{number // 1000}.region_{number // 100 % 10}"
        yield Node(space, f"score_{number % 100}", dice.expovariate(1 / 0.02))


def record(folder: Path, nodes: list[Node], failing: int | None) -> None:
    """Fabricate a run of nodes, one after another; the one at ``failing`` fails and is the last."""
    tape = Tape(folder, BEGAN, trace=TRACE)
    command = tape.start("command", "kedro run", 0, kedro_command_line="kedro run")
    run = tape.start(
        "run",
        "run __default__",
        0.3,
        command,
        kedro_pipeline_name="__default__",
        kedro_runner_name="SequentialRunner",
        kedro_run_node_count=len(nodes),
    )
    clock, error = 0.3, None
    for number, node in enumerate(nodes):
        error = "ValueError" if number == failing else None
        name = f"{node.space}.{node.name}".strip(".")
        part = node.seconds / 4
        tape.node(
            name, run, clock, part, 2 * part, part, error,
            inputs=[f"data_{number}"],
            outputs=[f"data_{number + 1}"],
            kedro_node_namespace=node.space,
        )  # fmt: skip
        clock += node.seconds
        if error:
            break
    tape.end(run, clock, error)
    tape.end(command, clock + 0.1, error, process_exit_code=1 if error else 0)


PROJECTS: dict[str, Callable[[], Iterator[Node]]] = {
    "small": small,
    "namespaced": namespaced,
    "wide": wide,
    "large": large,
}
CASES = [
    ("small", None, 60, ()),
    ("small", 6, 120, ()),
    ("small", None, 80, ("--depth", "2")),
    ("namespaced", None, 60, ()),
    ("namespaced", None, 80, ()),
    ("namespaced", None, 120, ()),
    ("namespaced", 39, 100, ()),
    ("namespaced", None, 100, ("--depth", "4")),
    ("wide", None, 80, ()),
    ("wide", 1500, 200, ()),
    ("large", None, 120, ()),
    ("large", 7777, 80, ()),
]


@pytest.mark.parametrize(("project", "failing", "width", "options"), CASES)
def test_the_screen_is_as_expected(
    project: str,
    failing: int | None,
    width: int,
    options: tuple[str, ...],
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No line is wider than the screen, and all of them are those that somebody has read."""
    record(home / "recordings", list(PROJECTS[project]()), failing)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(time, "time_ns", lambda: BEGAN + 24 * 3600 * SECOND)
    shown = CliRunner().invoke(otel, ["show", *options])
    assert shown.exit_code == 0
    assert max(map(len, shown.stdout.splitlines())) <= width
    words = [project, "failed" if failing is not None else "ok", str(width), *options]
    file = SCREENS / f"{'-'.join(word.strip('-') for word in words)}.txt"
    if WRITE:
        file.parent.mkdir(exist_ok=True)
        file.write_text(shown.stdout, encoding="utf-8")
    assert shown.stdout == file.read_text(encoding="utf-8")
