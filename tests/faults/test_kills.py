"""Processes that end without a word: what had been recorded is there, and the trace names the node."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from faulty import BIN, DIED, Witness, begin, chain, descendants, lines_read, one_trace, until
from trace_text import operations, segments

NODE_COUNT = 30
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
pytestmark = [LINUX, pytest.mark.timeout(1800)]


def copies(path: Path, number: int) -> list[Path]:
    """Return folders that are the project at ``path``, each with data of its own."""
    return [Path(shutil.copytree(path, path.parent / f"copy{index}")) for index in range(number)]


def test_kill_9_of_a_run_at_random_moments(
    project: Callable[..., Path],
    environment: dict[str, str],
    tmp_path: Path,
    full: bool,
    figure: Callable[[str], None],
) -> None:
    """Whenever a run is killed, there is one trace, the node that it died in is named, and no line whose write returned is missing."""
    number = 200 if full else 8
    path = chain(project, NODE_COUNT)
    began = time.monotonic()
    subprocess.run(
        [BIN / "kedro", "run"], cwd=path, env=environment, check=True, capture_output=True
    )
    whole = time.monotonic() - began
    (path / "evidence.txt").unlink()
    choose = random.Random(8)

    def once(numbered: tuple[int, Path, float]) -> tuple[int, int, str]:
        index, folder, moment = numbered
        witness = Witness(tmp_path / f"witness{index}")
        home = tmp_path / f"home{index}"
        process = begin(
            ["run"],
            folder,
            {**environment, **witness.variables, "KEDRO_OTEL_HOME": str(home)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        # half of them at any moment, half while nodes run, where there is most to lose
        if index % 2:
            until(lambda: (folder / "evidence.txt").exists() or process.poll() is not None)
            time.sleep(moment * 0.5)
        else:
            time.sleep(moment * whole * 1.1)
        process.kill()
        code = process.wait()
        returned, read = witness.lines, lines_read(home)
        # of the last write the witness may not have heard: that is two lines where a load took the write of what followed it
        assert returned <= read <= returned + 2, (returned, read)
        found = one_trace(home)
        evidence = (
            (folder / "evidence.txt").read_text().split()
            if (folder / "evidence.txt").exists()
            else []
        )
        nodes = {one.name.removeprefix("node "): one for one in found if one.operation == "node"}
        assert all(nodes[name].state == "ended" for name in evidence[:-1])
        dead = [name for name, one in nodes.items() if one.state == "died"]
        if code == 0:
            assert dead == []
        elif dead:
            following = f"n{len(evidence)}"
            assert dead in ([evidence[-1]] if evidence else [following], [following])
            assert {one.state for one in found if one.operation in {"run", "command"}} == {"died"}
        assert all(one.attributes["error.type"] == DIED for one in found if one.state == "died")
        if evidence and len(evidence) < NODE_COUNT:
            assert dead or nodes[evidence[-1]].state == "ended"
        return returned, read, "in a node" if dead else "elsewhere"

    moments = [
        (index, folder, choose.random()) for index, folder in enumerate(copies(path, number))
    ]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(once, moments))
    died = sum(where == "in a node" for *_, where in results)
    assert died >= number // 5
    written, read = (sum(row[place] for row in results) for place in (0, 1))
    figure(
        f"{number} runs killed, {died} of them in a node, each named; {written} lines whose write returned, {read} read, 0 lost"
    )


@pytest.mark.parametrize("whom", ["a worker", "the parent"])
def test_kill_9_under_parallel_runner(
    whom: str,
    project: Callable[..., Path],
    environment: dict[str, str],
    tmp_path: Path,
    full: bool,
    figure: Callable[[str], None],
) -> None:
    """A worker killed, or the parent with its workers orphaned: one trace, and no line whose write returned is missing."""
    number = 25 if full else 2
    path = chain(project, 24, parallel=True)
    choose = random.Random(9)
    died = lost = written = 0
    for index, folder in enumerate(copies(path, number)):
        witness, home = Witness(tmp_path / f"witness{index}"), tmp_path / f"home{index}"
        variables = {
            "KEDRO_OTEL_HOME": str(home),
            "NODE_SECONDS": "0.15",
            "KEDRO_MP_CONTEXT": choose.choice(["fork", "spawn", "forkserver"]),
        }
        process = begin(
            ["run", "--runner=ParallelRunner"],
            folder,
            {**environment, **witness.variables, **variables},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(lambda folder=folder: (folder / "evidence.txt").exists())
        time.sleep(choose.random() * 0.6)
        if whom == "the parent":  # stopped, it makes no worker that nobody here would know of
            process.send_signal(signal.SIGSTOP)
        below = descendants(process.pid)
        holders = (
            [
                pid
                for pid in below
                if any(
                    "/recordings/" in _link(entry) for entry in Path(f"/proc/{pid}/fd").glob("*")
                )
            ]
            if below
            else []
        )
        if whom == "a worker" and holders:
            os.kill(choose.choice(holders), signal.SIGKILL)
        elif whom == "the parent":
            process.kill()
        code = process.wait(60)
        if whom == "the parent":  # what is orphaned ends its node, and waits for the next for ever
            time.sleep(choose.random() * 0.3)
            below += [
                deeper for pid in below for deeper in descendants(pid)
            ]  # a fork server may have been at it
            for pid in below:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        until(lambda below=below: not any(_running(pid) for pid in below), 60)
        read = lines_read(home)
        lost += max(witness.lines - read, 0)
        written += witness.lines
        found = one_trace(home)
        states = {one.operation: one.state for one in found if one.operation in {"command", "run"}}
        if whom == "the parent":
            assert code == -signal.SIGKILL
            assert states == {"command": "died", "run": "died"}
        elif holders:
            assert states == {"command": "ended", "run": "ended"}
            assert code == 1
        died += sum(one.state == "died" and one.operation == "node" for one in found)
        assert all(one.state in {"ended", "died"} for one in found)
    assert lost == 0
    figure(
        f"{number} kills of {whom} (fork, spawn, forkserver): one trace each, {died} nodes named as died; {written} lines, 0 lost"
    )


def _link(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except OSError:
        return ""


def _running(pid: int) -> bool:
    """Tell whether a process, or any thread that outlived its first one and so keeps its files open, is still there."""
    try:
        return (
            ") Z" not in Path(f"/proc/{pid}/stat").read_text()
            or len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
        )
    except OSError:
        return False


def test_stopped_and_continued(
    project: Callable[..., Path],
    environment: dict[str, str],
    home: Path,
    full: bool,
    figure: Callable[[str], None],
) -> None:
    """A run that is stopped is not taken for dead, however long; continued, it ends as ever, no span ends twice."""
    path = chain(project, NODE_COUNT)
    process = begin(
        ["run"], path, environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until((path / "evidence.txt").exists)
    stops = 10 if full else 3
    for _ in range(stops):
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        if process.poll() is None:
            assert {one.state for one in operations(home)} <= {"open", "ended"}
        process.send_signal(signal.SIGCONT)
        time.sleep(0.02)
    assert process.wait(60) == 0
    found = one_trace(home)
    assert {one.state for one in found} == {"ended"}
    assert sum(one.operation == "node" for one in found) == NODE_COUNT
    figure(f"stopped {stops} times: 0 taken for dead, {len(found)} operations, each ended once")


HUNGRY = """
def greet(name):
    return name

def shout(greeting):
    kept = []
    while True:
        kept.append(bytearray(50 << 20))

def tell(shouted, fail):
    return {}
"""


def test_memory_limit(
    project: Callable[..., Path],
    environment: dict[str, str],
    home: Path,
    figure: Callable[[str], None],
) -> None:
    """Under `ulimit -v` a node that asks for too much fails with MemoryError, and so does its trace."""
    path = project(nodes=HUNGRY)
    words = ["sh", "-c", f"ulimit -v 3000000; exec {BIN}/kedro run"]
    done = subprocess.run(
        words, cwd=path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    found = {one.name: one for one in one_trace(home)}
    assert found["node shout"].attributes["error.type"] == "MemoryError"
    assert {one.state for one in found.values()} == {"ended"}
    figure("the trace says MemoryError in its node; 0 operations open")


def test_out_of_memory_killer(
    project: Callable[..., Path],
    environment: dict[str, str],
    home: Path,
    figure: Callable[[str], None],
) -> None:
    """A run that the kernel kills for its memory leaves a trace that names the node."""
    group = _memory_group()
    path = project(nodes=HUNGRY)
    try:
        process = subprocess.Popen(
            ["sh", "-c", f"echo $$ > {group}/cgroup.procs; exec {BIN}/kedro run"],
            cwd=path,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert process.wait(60) == -signal.SIGKILL
    finally:
        group.rmdir()
    dead = [one.name for one in one_trace(home) if one.state == "died"]
    assert sorted(dead) == ["kedro run", "node shout", "run __default__"]
    figure("killed by the kernel at 400 MiB: the node is named")


def _memory_group() -> Path:
    """Make a control group of 400 MiB below this process's own; skips the test where that is not allowed."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, kind, where = line.split(":", 2)
        root, limit = (
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            if kind == "memory"
            else ("/sys/fs/cgroup", "memory.max")
        )
        if kind not in {"memory", ""}:
            continue
        for parent in (Path(root + where), Path(root)):
            group = parent / f"kedro-otel-{os.getpid()}"
            try:
                group.mkdir()
                (group / limit).write_text(str(400 << 20))
            except OSError:
                if group.is_dir():
                    group.rmdir()
                continue
            return group
    pytest.skip("no control group may be made here")


def test_a_clean_run_is_whole(
    project: Callable[..., Path], environment: dict[str, str], tmp_path: Path
) -> None:
    """The witness that the other tests rely on sees every line of a run that nobody disturbs."""
    path = chain(project, 5)
    witness, home = Witness(tmp_path / "witness"), tmp_path / "home0"
    assert (
        begin(
            ["run"],
            path,
            {**environment, **witness.variables, "KEDRO_OTEL_HOME": str(home)},
            stderr=subprocess.DEVNULL,
        ).wait(60)
        == 0
    )
    assert witness.lines == lines_read(home) > 20
    assert len(segments(home)) == 1
    operations_: list[Any] = one_trace(home)
    assert len(operations_) == 2 + 5 + 4 + 5
