"""Ctrl-C, SIGTERM and SIGKILL while processes run side by side: everything is closed, and what died is said to have died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from bare import LOGGING
from loopback import Loopback, hang
from loopback import loopback as _loopback
from trace_text import below, operations, segments, tree

from servers import eventually

loopback = _loopback

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
        runner: str, method: str = "fork", nodes: int = 2, settings: str = "", **more: str
    ) -> tuple[subprocess.Popen[str], Path]:
        path = project(
            registry=REGISTRY, catalog="", files={"logging.yml": LOGGING}, settings=settings
        )
        env = {
            **environment,
            **more,
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


TERMINATED = "SIGTERM"


def pod(loopback: Loopback, **more: str) -> dict[str, str]:
    """Return the environment of a machine that vanishes with its job, and sends to ``loopback``."""
    return {
        "KEDRO_OTEL_EPHEMERAL": "true",
        "KEDRO_OTEL_DETAIL": "run",
        "OTEL_EXPORTER_OTLP_ENDPOINT": loopback.url,
        **more,
    }


@pytest.mark.parametrize("runner", ["SequentialRunner", "ThreadRunner", "ParallelRunner"])
def test_a_terminated_pod_delivers_everything(
    start: Callable[..., Any], home: Path, runner: str, loopback: Loopback
) -> None:
    """Where the machine vanishes SIGTERM is recorded, and what ran arrives before the process ends, by that signal."""
    nodes = 1 if runner == "SequentialRunner" else 2
    process, _ = start(runner, nodes=nodes, **pod(loopback))
    process.terminate()
    assert process.wait(60) == -signal.SIGTERM
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # as the end of a pod does
    sent = {span.name: span for span in loopback.spans()}
    assert {"kedro run", "run __default__", "first"} <= {
        name.removeprefix("node ") for name in sent
    }
    for name in ("kedro run", "run __default__"):
        found = {one.key: one.value.string_value for one in sent[name].attributes}
        assert found["error.type"] == TERMINATED
    assert loopback.total("kedro.pipeline.runs") == 1
    mine = [one for one in operations(home) if one.operation in ("command", "run")]
    assert {one.state for one in mine} == {"ended"}


@pytest.mark.parametrize(
    "settings",
    [
        "import signal\nsignal.signal(signal.SIGTERM, lambda *_: exit(7))\n",
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n",
    ],
)
def test_a_handler_of_the_user_s_stays(
    start: Callable[..., Any], loopback: Loopback, settings: str
) -> None:
    """A project that handles or ignores SIGTERM does so in a pod as it does without us."""
    process, path = start("SequentialRunner", nodes=1, settings=settings, **pod(loopback))
    process.terminate()
    if "exit" in settings:
        assert process.wait(60) == 7
    else:
        (path / "data" / "go").touch()
        assert process.wait(60) == 0


def test_a_pod_whose_receiver_hangs_ends_in_time(
    start: Callable[..., Any], home: Path, loopback: Loopback
) -> None:
    """The wait is bounded, a second SIGTERM ends it at once, and what was recorded says how it ended."""
    loopback.always["traces"] = hang
    for again in (False, True):
        process, _ = start(
            "SequentialRunner", nodes=1, **pod(loopback, KEDRO_OTEL_SHIP_TIMEOUT="3")
        )
        process.terminate()
        if again:
            assert eventually(
                lambda: any(one.error for one in operations(home) if one.operation == "command")
            )
            process.terminate()
        assert process.wait(20) == -signal.SIGTERM


MANY = """
from kedro.pipeline import node, pipeline
def one(*_): return 1
def register_pipelines():
    return {"__default__": pipeline([node(one, "params:name", f"o{i}", name=f"n{i}") for i in range(400)])}
"""


def test_sigterm_at_any_moment(
    project: Callable[..., Path],
    environment: dict[str, str],
    loopback: Loopback,
    home: Path,
    full: bool,
) -> None:
    """Whenever it comes in a pod, also while we record, the process ends by it, and each recording can be read to its end."""
    path = project(registry=MANY, catalog="", files={"logging.yml": LOGGING})
    env = {**environment, **pod(loopback), "KEDRO_LOGGING_CONFIG": str(path / "logging.yml")}
    words = [Path(sys.executable).parent / "kedro", "run"]
    random = Random(15)
    codes = []
    for _ in range(300 if full else 10):
        process = subprocess.Popen(
            words, cwd=path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(random.uniform(0.2, 2.2))
        process.terminate()
        codes.append(process.wait(30))
    assert set(codes) <= {-signal.SIGTERM, 0}
    assert -signal.SIGTERM in codes
    for segment in segments(home):
        assert not segment.skipped
        # what was killed before its command had begun wrote nothing; all else says how it ended
        assert {one.state for one in segment.operations} <= {"ended"}


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
