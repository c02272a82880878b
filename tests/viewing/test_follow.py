"""``kedro otel show --follow``: a run in another terminal, watched on a real one while it runs, and when it is killed."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fabricate import SECOND, Tape

from kedro_otel.viewing.model.find import find
from kedro_otel.viewing.model.live_trace import Live, over

NODES = '''
"""Nodes that wait until they are told to go on."""
import logging, time
from pathlib import Path

def wait(name):
    logging.getLogger(__name__).info("waiting for %s", name)
    end = time.monotonic() + 60
    while not Path(name).exists():
        assert time.monotonic() < end, "nobody said to go on"
        time.sleep(0.02)
    return name

def prepare(name):
    return wait("prepare")

def train(data):
    return wait("train")

def tell(model):
    return {"text": model}
'''
REGISTRY = """
from kedro.pipeline import node, pipeline

from .nodes import prepare, tell, train

def register_pipelines():
    return {"__default__": pipeline([
        node(prepare, "params:name", "data", name="prepare"),
        node(train, "data", "model", name="train"),
        node(tell, "model", "told", name="tell"),
    ])}
"""
PATIENCE = 30.0
"""Seconds for what takes two; the machines that build pull requests are slow and busy."""

pytestmark = pytest.mark.timeout(90)


class Terminal:
    """A program on a terminal of its own, 24 lines of 100 columns."""

    def __init__(self, typed: list[str], environment: dict[str, str]) -> None:
        self.seen = ""
        self.raw = b""
        self.code: int | None = None
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.execvpe(typed[0], typed, {**environment, "TERM": "xterm-256color"})
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))

    def until(self, pattern: str) -> None:
        """Read until what was shown since the last call matches."""
        end = time.monotonic() + PATIENCE
        found = re.search(pattern, self.seen)
        while not found:
            assert time.monotonic() < end, f"{pattern!r} never came in {self.seen[-3000:]}"
            if select.select([self._terminal], [], [], 0.2)[0]:
                self._take(os.read(self._terminal, 65536))
            found = re.search(pattern, self.seen)
        self.seen = self.seen[found.start() :]

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._terminal, text.encode())

    def wait(self) -> str:
        """Wait for the program's end; return what it showed since the last match."""
        end = time.monotonic() + PATIENCE
        while True:
            assert time.monotonic() < end, f"it did not end: {self.seen[-3000:]}"
            if not select.select([self._terminal], [], [], 0.2)[0]:
                continue
            try:
                more = os.read(self._terminal, 65536)
            except OSError:  # Linux says EIO when the other side is gone
                break
            if not more:
                break
            self._take(more)
        self.code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return self.seen

    def _take(self, more: bytes) -> None:
        """Take in what was shown: ``raw`` as it came, ``seen`` as the words that a person reads."""
        before = len(words(self.raw))
        self.raw += more
        self.seen += words(self.raw)[before:]

    def close(self) -> None:
        """End it, whatever it does."""
        if self.code is None:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._terminal)


def words(raw: bytes) -> str:
    """Return what a terminal was sent, without what it obeys, up to the last whole line."""
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", raw[: raw.rfind(b"\n") + 1].decode())


@pytest.fixture
def follower(environment: dict[str, str]) -> Iterator[Callable[..., Terminal]]:
    """Return ``follower(*words)``, which follows on a terminal."""
    open_: list[Terminal] = []

    def follower(*words: str) -> Terminal:
        open_.append(
            Terminal([sys.executable, "-m", "kedro_otel", "show", "--follow", *words], environment)
        )
        return open_[-1]

    yield follower
    for terminal in open_:
        terminal.close()


@pytest.fixture
def running(
    project: Callable[..., Path], environment: dict[str, str]
) -> Iterator[Callable[..., tuple[subprocess.Popen[bytes], Path]]]:
    """Return ``running(*words)``, which starts a ``kedro run`` that waits in its nodes, and its project."""
    started: list[subprocess.Popen[bytes]] = []

    def running(*words: str) -> tuple[subprocess.Popen[bytes], Path]:
        path = project(nodes=NODES, registry=REGISTRY)
        command = [str(Path(sys.executable).parent / "kedro"), "run", *words]
        silence = subprocess.DEVNULL
        started.append(
            subprocess.Popen(
                command,
                cwd=path,
                env=environment,
                stdin=silence,
                stdout=silence,
                stderr=silence,
                start_new_session=True,
            )
        )
        return started[-1], path

    yield running
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_run_is_followed_from_its_beginning_to_its_end(
    follower: Callable[..., Terminal], running: Callable[..., Any]
) -> None:
    """Started before the run, it waits; then it shows each node as it runs, and in the end the whole picture; it leaves by itself."""
    terminal = follower()
    terminal.until("no run is alive: waiting for the next one")
    process, path = running()
    terminal.until("running node prepare")
    terminal.until("0 of 3 nodes")
    (path / "prepare").touch()
    terminal.until("running node train")
    terminal.until("1 of 3 nodes")
    (path / "train").touch()
    terminal.until("✓ kedro run")
    shown = terminal.wait()
    assert (process.wait(PATIENCE), terminal.code) == (0, 0)
    assert re.search(r"prepare.*█.*train.*█.*tell", shown, re.DOTALL)
    assert "3 of 3 nodes" in shown or "· 3 nodes" in shown
    assert terminal.raw.rfind(b"\x1b[?25h") > terminal.raw.rfind(b"\x1b[?25l"), "the cursor is back"


@pytest.mark.parametrize("runner", ["SequentialRunner", "ThreadRunner", "ParallelRunner"])
def test_a_run_that_is_killed_is_followed_to_its_death(
    follower: Callable[..., Terminal], running: Callable[..., Any], runner: str
) -> None:
    """Attached to a run that is alive, it says so when the run is killed, and names the node; with every runner."""
    process, path = running("--runner", runner)
    terminal = follower()
    terminal.until("running node prepare")
    (path / "prepare").touch()
    terminal.until("running node train")
    os.killpg(process.pid, signal.SIGKILL)
    terminal.until("was killed while running node train")
    shown = terminal.wait()
    assert terminal.code == 0
    assert re.search(r"train .*✗.*killed", shown)


def test_log_lines_are_followed(
    follower: Callable[..., Terminal], running: Callable[..., Any]
) -> None:
    """With --logs each line comes while the run goes on, once and under its node; a killed run's picture has the last ones."""
    process, path = running()
    terminal = follower("--logs")
    one = follower("--logs=train")
    terminal.until(r"node prepare\s[\s\S]*INFO minimal.nodes waiting for prepare")
    (path / "prepare").touch()
    terminal.until(r"node train\s[\s\S]*INFO minimal.nodes waiting for train")
    os.killpg(process.pid, signal.SIGKILL)
    terminal.until("was killed while running node train")
    assert re.search(
        r"last log lines:[\s\S]+ INFO minimal.nodes waiting for train", terminal.wait()
    )
    whole = words(terminal.raw).partition("was killed")[0]
    assert whole.count("waiting for prepare") == whole.count("waiting for train") == 1
    one.wait()
    lines = words(one.raw).partition("was killed")[0]
    assert lines.count("nodes waiting for") == lines.count("waiting for train") == 1


def test_who_stops_watching_stops_nothing(
    follower: Callable[..., Terminal], running: Callable[..., Any]
) -> None:
    """Ctrl-C ends the watching with what is known so far, and the run goes on."""
    process, path = running()
    terminal = follower()
    terminal.until("running node prepare")
    terminal.type("\x03")
    terminal.wait()
    assert terminal.code == 0
    assert "Traceback" not in terminal.seen
    (path / "prepare").touch()
    (path / "train").touch()
    assert process.wait(PATIENCE) == 0


def test_a_pipe_gets_a_line_for_each_node(
    running: Callable[..., Any], run: Callable[..., Any], home: Path
) -> None:
    """Where nothing can move, a line is printed when a node has ended, and the picture at the end."""
    process, path = running()
    (path / "prepare").touch()
    (path / "train").touch()
    process.wait(PATIENCE)
    shown = run(sys.executable, "-m", "kedro_otel", "show", "--follow", "-1").out
    lines = [
        re.sub(r"[\d:.]+ +[\d.]+ [mµ]?s", "T", line) for line in shown.split("\n\n")[0].splitlines()
    ]
    assert lines == ["✓ T node prepare", "✓ T node train", "✓ T node tell"]
    assert "─ train " in shown


def test_options_that_do_not_go_together_are_refused(run: Callable[..., Any]) -> None:
    """``--follow`` with what makes no sense beside it is a usage error; and a run that is not there is said so."""
    assert (
        "--follow goes with no other option"
        in run(sys.executable, "-m", "kedro_otel", "show", "--follow", "--json", code=2).err
    )
    assert (
        "nothing is recorded yet"
        in run(sys.executable, "-m", "kedro_otel", "show", "-f", "last", code=1).err
    )


def test_processes_join_while_a_run_is_followed(home: Path) -> None:
    """Worker processes that begin later join the tree, lines half written wait, and a stranger's never appear."""
    folder = home / "recordings"
    tape = Tape(folder, time.time_ns() - 10 * SECOND)
    tape.live()
    run_ = tape.start("run", "run", 0)
    live = Live(find().entry)
    assert [span.operation.name for span in live.look().root.walk()] == ["run"]
    worker = Tape(folder, tape.ns(1), trace=tape.trace, pid=2)
    worker.live()
    Tape(folder, tape.ns(1), pid=3).node("stranger", run_, 0, 0, 1, 0)
    node = worker.start("node", "node a", 1, run_)
    worker.raw(b'{"end":"node"')
    (folder / f"{tape.ns(2):020d}-9-00000000.jsonl").touch()
    assert [(span.operation.name, span.operation.state) for span in live.look().root.walk()] == [
        ("run", "open"),
        ("node a", "open"),
    ]
    worker.raw(
        f',"traceId":"{tape.trace}","spanId":"{node}","endTimeUnixNano":"{tape.ns(3)}","status":{{}},"attributes":[]}}\n'.encode()
    )
    assert not over(live.look())
    worker.dead()
    tape.dead()
    trace = live.look()
    assert over(trace)
    assert [(span.operation.name, span.operation.state) for span in trace.root.walk()] == [
        ("run", "died"),
        ("node a", "ended"),
    ]
