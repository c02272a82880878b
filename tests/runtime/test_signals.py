"""Ctrl-C, SIGTERM and SIGKILL while processes run side by side: everything is closed, and what died is said to have died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bare import LOGGING
from trace_text import below, operations, segments, tree

from servers import eventually

REGISTRY = """
import time
from pathlib import Path
from kedro.pipeline import node, pipeline

def one(*_): return 1
def wait(name, *_):
    Path(f"data/{name}.began").touch()
    for _ in range(600):
        if Path("data/go").exists(): return 1
        time.sleep(0.05)
def left(*_): return wait("left")
def right(*_): return wait("right")

def register_pipelines():
    return {"__default__": pipeline([node(one, None, "a", name="first"), node(left, "a", "b", name="left"), node(right, "a", "c", name="right")])}
"""
FIRST = "node first\n  save a"
DIED = "kedro_otel.process_died"


def heeding() -> None:
    """Heed Ctrl-C: a test that runs in the background has it ignored, and so would what it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def start(
    project: Callable[..., Path], environment: dict[str, str]
) -> Iterator[Callable[..., Any]]:
    """Return ``start(runner, method)``, which starts a run in a process group of its own and returns it once its nodes are running."""
    groups: list[subprocess.Popen[str]] = []

    def start(
        runner: str, method: str = "fork", nodes: int = 2
    ) -> tuple[subprocess.Popen[str], Path]:
        path = project(registry=REGISTRY, catalog="", files={"logging.yml": LOGGING})
        env = {
            **environment,
            "KEDRO_LOGGING_CONFIG": str(path / "logging.yml"),
            "KEDRO_MP_CONTEXT": method,
        }
        words = [Path(sys.executable).parent / "kedro", "run", f"--runner={runner}"]
        with (path / "said.txt").open("w") as said:
            process = subprocess.Popen(
                words,
                cwd=path,
                env=env,
                stdout=said,
                stderr=said,
                start_new_session=True,
                preexec_fn=heeding,
                text=True,
            )
        groups.append(process)
        began = eventually(
            lambda: len(list(path.glob("data/*.began"))), lambda count: count == nodes, seconds=60
        )
        assert began == nodes, (path / "said.txt").read_text()
        return process, path

    yield start
    for process in groups:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        process.wait()


def alone(home: Path) -> bool:
    """Return whether no process writes a recording any more."""
    return not any(segment.alive for segment in segments(home))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_ctrl_c_reaches_every_process_of_a_parallel_run(
    start: Callable[..., Any], home: Path, method: str
) -> None:
    """Ctrl-C goes to the whole group: the run was interrupted, the nodes in the workers failed, nothing died, and each closes once."""
    process, _ = start("ParallelRunner", method)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 1
    assert eventually(lambda: alone(home))
    found = operations(home)
    assert {operation.state for operation in found} == {"ended"}
    interrupted = [
        f"node {name} !_OTHER\n  load a" for name in ("left", "right")
    ]  # why, no hook tells a worker
    assert tree(found) == below(
        "kedro run !KeyboardInterrupt",
        below("run __default__ !KeyboardInterrupt", FIRST, *interrupted),
    )


@pytest.mark.parametrize("runner", ["SequentialRunner", "ThreadRunner"])
def test_a_terminated_run_died(start: Callable[..., Any], home: Path, runner: str) -> None:
    """SIGTERM ends Python without a word: command, run and the nodes that were running died, and the ones before them are whole."""
    process, _ = start(runner, nodes=1 if runner == "SequentialRunner" else 2)
    process.terminate()
    assert process.wait(60) == -signal.SIGTERM
    running = ["left"] if runner == "SequentialRunner" else ["left", "right"]
    nodes = [f"node {name} !{DIED} died\n  load a" for name in running]
    assert tree(operations(home)) == below(
        f"kedro run !{DIED} died", below(f"run __default__ !{DIED} died", FIRST, *nodes)
    )


def test_ctrl_c_while_threads_run(start: Callable[..., Any], home: Path) -> None:
    """Ctrl-C under ThreadRunner waits, as Kedro does, for the nodes that run: they end well, and the run was interrupted."""
    process, path = start("ThreadRunner")
    os.killpg(process.pid, signal.SIGINT)
    (path / "data" / "go").touch()
    assert process.wait(60) == 1
    nodes = ["node left\n  load a\n  save b", "node right\n  load a\n  save c"]
    assert tree(operations(home)) == below(
        "kedro run !KeyboardInterrupt", below("run __default__ !KeyboardInterrupt", FIRST, *nodes)
    )


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_terminated_group_died(start: Callable[..., Any], home: Path, method: str) -> None:
    """SIGTERM to a parallel run and its workers, as a scheduler sends it: run and running nodes died, and what was before them is whole."""
    process, _ = start("ParallelRunner", method)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(60) == -signal.SIGTERM
    assert eventually(lambda: alone(home))
    nodes = [f"node {name} !{DIED} died\n  load a" for name in ("left", "right")]
    assert tree(operations(home)) == below(
        f"kedro run !{DIED} died", below(f"run __default__ !{DIED} died", FIRST, *nodes)
    )


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_outlive_a_parent_that_was_killed(
    start: Callable[..., Any], home: Path, method: str
) -> None:
    """After SIGKILL of the parent alone the run died at once, while a worker that still runs goes on recording its node to the end."""
    process, path = start("ParallelRunner", method)
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    states = {operation.name: operation.state for operation in operations(home)}
    assert states == {
        "kedro run": "died",
        "run __default__": "died",
        "node first": "ended",
        "save a": "ended",
        "load a": "ended",
    } | {f"node {name}": "open" for name in ("left", "right")}
    (path / "data" / "go").touch()

    def ended() -> bool:
        return not any(operation.state == "open" for operation in operations(home))

    assert eventually(ended)
    os.killpg(process.pid, signal.SIGKILL)
    assert eventually(lambda: alone(home))
    # Where the results go has died with the parent, so the saves may fail; the nodes are told as what they are, not as dead.
    assert {
        operation.state
        for operation in operations(home)
        if operation.name in {"node left", "node right"}
    } == {"ended"}
