"""What the tests of faults share: a run of many small nodes that leaves its own evidence, and ways to be cruel to it."""

from __future__ import annotations

import json
import mmap
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trace_text import operations, segments

BIN = Path(sys.executable).parent
DIED = "kedro_otel.process_died"

NODES = """
import os, time

def step(number):
    def work(*_):
        with open("evidence.txt", "a") as file:
            file.write(f"n{number}\\n")
        time.sleep(float(os.environ.get("NODE_SECONDS", "0.01")))
        return number
    work.__name__ = f"work{number}"
    return work
"""
PARALLEL_NODES = """
import os, time

def work(number):
    with open("evidence.txt", "a") as file:
        file.write(f"{number}\\n")
    time.sleep(float(os.environ.get("NODE_SECONDS", "0.01")))
    return number
"""
REGISTRY = """
from kedro.pipeline import node, pipeline
from .nodes import step

def register_pipelines():
    return {"__default__": pipeline([node(step(i), f"d{i - 1}" if i else None, f"d{i}", name=f"n{i}") for i in range(COUNT)])}
"""
PARALLEL_REGISTRY = """
from kedro.pipeline import node, pipeline
from .nodes import work

def register_pipelines():
    return {"__default__": pipeline([node(work, f"params:p{i}", f"d{i}", name=f"n{i}") for i in range(COUNT)])}
"""

GONE = """
import os, pty

def gone():
    # what is written to a terminal whose other end is gone is an error of input and output, by the kernel's own word
    master, slave = pty.openpty()
    os.close(master)
    write = os.write

    def answered_by_the_terminal(number, data):
        ours = "/recordings/" in os.readlink(f"/proc/self/fd/{number}")
        return write(slave if ours else number, data)

    os.write = answered_by_the_terminal
"""
"""For a project's nodes: ``gone()`` makes every further write to a segment fail with EIO."""

WITNESS = '''
"""Counts, in a file that outlives the process, how many writes to a segment have returned."""
import mmap, os, struct

_write, _kind = os.write, {}
_where = os.environ.get("WITNESS")
if _where:
    _file = open(_where, "r+b")
    _map = mmap.mmap(_file.fileno(), 4096 * 64)

def write(descriptor, data):
    done = _write(descriptor, data)
    if _where:
        try:
            name = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            name = ""
        if "/recordings/" in name and (name.endswith(".jsonl") or "/.new-" in name):
            place = (os.getpid() % 32000) * 8
            _map[place:place + 8] = struct.pack("q", struct.unpack("q", _map[place:place + 8])[0] + data.count(b"\\n"))
    return done

os.write = write
'''


def chain(project: Callable[..., Path], count: int = 30, *, parallel: bool = False) -> Path:
    """Write a project of ``count`` nodes that note in evidence.txt that they began; one after the other, or all at once."""
    parameters = "".join(f"p{number}: {number}\n" for number in range(count))
    return project(
        nodes=PARALLEL_NODES if parallel else NODES,
        registry=(PARALLEL_REGISTRY if parallel else REGISTRY).replace("COUNT", str(count)),
        catalog="",
        parameters=parameters,
    )


def begin(
    words: list[str], cwd: Path, environment: Mapping[str, str], **more: Any
) -> subprocess.Popen[str]:
    """Start ``kedro`` and do not wait."""
    return subprocess.Popen(
        [BIN / "kedro", *words], cwd=cwd, env=dict(environment), text=True, **more
    )


def until(condition: Callable[[], Any], seconds: float = 30) -> Any:
    """Wait until ``condition`` holds, and return what it returns."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return found


class Witness:
    """How many lines' writes had returned, by process, as an observer outside saw it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "sitecustomize.py").write_text(WITNESS)
        self.folder = folder
        self.path = folder / "count"
        self.path.write_bytes(bytes(4096 * 64))

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables that make a process tell."""
        return {"PYTHONPATH": str(self.folder), "WITNESS": str(self.path)}

    @property
    def lines(self) -> int:
        """Lines of all processes whose write returned."""
        with (
            self.path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as found,
        ):
            return sum(
                int.from_bytes(found[at : at + 8], sys.byteorder) for at in range(0, len(found), 8)
            )


def lines_read(home: Path) -> int:
    """Return how many whole lines the recordings under ``home`` have, having read every one of them; a torn end is none."""
    total = 0
    for segment in segments(home):
        assert set(segment.skipped) <= {"torn"}, segment.skipped
        total += segment.path.read_bytes()[: segment.size].count(b"\n")
    return total


def one_trace(home: Path) -> list[Any]:
    """Return the operations under ``home``, which are all of one trace, none twice."""
    found = operations(home)
    assert len({operation.trace_id for operation in found}) <= 1
    assert len({operation.span_id for operation in found}) == len(found)
    return found


def descendants(pid: int) -> list[int]:
    """Return the processes below ``pid``."""
    try:
        below = [
            int(word)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for word in (task / "children").read_text().split()
        ]
    except OSError:
        return []
    return [*below, *(deeper for child in below for deeper in descendants(child))]


def spoken(text: str) -> Any:
    """Return the JSON that a command printed, after what Kedro itself may print before it."""
    lines = text.splitlines()
    first = next(
        number
        for number, line in enumerate(lines)
        if line.startswith(("{", "[{", "[]")) or line == "["
    )
    return json.loads("\n".join(lines[first:]))
