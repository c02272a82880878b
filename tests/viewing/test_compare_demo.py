"""``kedro otel compare`` on the demo: real nodes, with the noise that they have of themselves. With ``FULL=1``.

It takes a machine that does nothing else; test_compare.py has the demo's nodes with simulated noise.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from conftest import BIN, FULL, KEPT
from installations import demo

pytest.importorskip("sklearn", reason="the extra `demo` is not installed")
pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not FULL, reason="a dozen runs of the demo (FULL=1)"),
]

CLOCK = """
import time

began, wall = time.process_time_ns(), time.time_ns()
time.time_ns = lambda: wall + time.process_time_ns() - began
"""
"""A clock that stands still while the machine does something else: what is left is the noise of the runs, whoever else is at work."""

SLOWER = """
import functools, time

def slower(function):
    @functools.wraps(function)
    def slow(*args, **kwargs):
        began = time.process_time()
        result = function(*args, **kwargs)
        enough = time.process_time() + {share} * (time.process_time() - began)
        while time.process_time() < enough:
            pass
        return result
    return slow

{function} = slower({function})
"""
"""Makes one of the demo's functions take longer by a share of what it takes."""

TRIES = 8
MOODY = "this machine changes its speed from one run to the next"

NODES = {"train_forest": "train_forest", "explain_model": "explain"}
"""The two nodes that take most of the demo's time → their functions."""


class Wine:
    """The demo, run again and again in a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.project = demo(folder / "wine")
        self.code = self.project / "src/wine/pipelines/training.py"
        self.original = self.code.read_text()
        (folder / "clock").mkdir()
        (folder / "clock/sitecustomize.py").write_text(CLOCK)
        self.recordings = folder / "home/recordings"
        self.took: list[float] = []
        self.environment = {
            **{key: os.environ[key] for key in KEPT if key in os.environ},
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "KEDRO_OTEL_HOME": str(folder / "home"),
        }
        self.clock = {
            "PYTHONPATH": str(folder / "clock"),
            **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
        }

    def kedro(self, *words: str, **environment: str) -> str:
        """Run one command; return what it printed."""
        command, variables = [BIN / "kedro", *words], {**self.environment, **environment}
        done = subprocess.run(
            command,
            cwd=self.project,
            env=variables,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, slower: str = "", share: float = 0.3) -> float:
        """Run the whole demo, one function slower by that share; return the processor's seconds."""
        self.code.write_text(
            self.original + (SLOWER.format(function=slower, share=share) if slower else "")
        )
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.kedro("run", **self.clock)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def run_as_ever(self) -> None:
        """Run it until the machine is as fast as in the runs before: one that others slow down, or no longer do, has no ordinary noise."""
        for _ in range(TRIES):
            took = self.run()
            if abs(took / median([*self.took, took]) - 1) < 0.06:
                self.took.append(took)
                return
            self.forget()
        pytest.skip(MOODY)

    def forget(self) -> None:
        """Take the last run for not run."""
        max(self.recordings.glob("0*.jsonl")).unlink()

    def compared(self, *words: str) -> list[dict[str, Any]]:
        """Return what `compare` knows of nodes and datasets, in its order."""
        printed = self.kedro("otel", "compare", "--json", *words)
        found = json.loads(printed[printed.index("{") :])
        return [*found["nodes"], *found["datasets"]]

    def told(self, *words: str) -> list[str]:
        """Return what `compare` tells as slower or faster, in its order."""
        return [
            f"{one['name']} {one['verdict']} {one['relative']:+.0%}"
            for one in self.compared(*words)
            if one["verdict"] != "same"
        ]


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Wine:
    """The demo after six equal runs."""
    wine = Wine(tmp_path_factory.mktemp("wine"))
    for _ in range(6):
        wine.run_as_ever()
    return wine


def test_equal_runs_of_the_demo_are_equal(wine: Wine) -> None:
    """Of ten pairs of equal runs of the demo, each a run and those before it and a run and its neighbour, nothing is told."""
    pairs = 10
    for _ in range(pairs - 1):
        wine.run_as_ever()
    for number in range(1, pairs + 1):
        assert wine.told(f"-{number}") == []
        assert wine.told(f"-{number + 1}", f"-{number}") == []


@pytest.mark.parametrize("node", NODES)
def test_a_slower_node_of_the_demo_is_named_first(wine: Wine, node: str) -> None:
    """A node of the demo that takes 30 % longer is told before anything else, by that much."""
    for _ in range(TRIES):
        wine.run(NODES[node])
        first, *others = wine.compared()
        if all(
            abs(one["relative"]) < 0.08
            for one in [first, *others]
            if one["name"] in NODES and one["name"] != node
        ):
            break
        wine.forget()
    else:
        pytest.skip(MOODY)
    assert (first["name"], first["verdict"]) == (node, "slower")
    assert first["relative"] == pytest.approx(0.3, abs=0.1)
    wine.forget()
