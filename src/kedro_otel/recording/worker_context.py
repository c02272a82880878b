"""What a process leaves for its workers: which runs are open, and how they are recorded.

A worker of ParallelRunner is told nothing by Kedro. A forked one has its parent's memory; one that was spawned, or that a
fork server forked, knows only its parent's process id, so the parent writes a file that goes by it. Without one a worker
records nothing: it cannot know whether its parent may.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kedro_otel import guard
from kedro_otel.facts.clock import clock
from kedro_otel.facts.trace_context import Remote
from kedro_otel.recording import machine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


_READ: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)


class WorkerContext(NamedTuple):
    """What a worker knows from its parent.

    Attributes:
        runs: Kedro's run id and the run's span, for each run open in the parent.
        resource: The resource's attributes.
        facts: Members of the segment's header.
        root: The project's folder.
        detail: The detail in force.
        clock_ns: What the parent's clock adds to the monotonic one, so that a run has one time.
        keep: Whether what is never sent is kept in a private file.
        memory: How the highest memory of a node is found: the setting ``memory``.
    """

    runs: tuple[tuple[str | None, Remote], ...]
    resource: dict[str, Any]
    facts: dict[str, Any]
    root: str | None
    detail: str
    clock_ns: int | None = None
    keep: bool = False
    memory: str = "auto"

    def run(self, run_id: str | None) -> Remote | None:
        """Return the run called ``run_id``; the only one needs no name, unless this worker outlives it and works for another now."""
        named = [run for name, run in self.runs if name == run_id]
        if named:
            return named[-1]
        unnamed = len(self.runs) == 1 and None in (run_id, self.runs[0][0])
        return self.runs[0][1] if unnamed else None


class WorkerContextFile:
    """This process's side of it.

    Args:
        folder: Where segments are.
        inherited: What this process itself has from its parent, if it is a worker.
        shared: What every worker is to know, without the runs.
    """

    def __init__(
        self, folder: Path, shared: WorkerContext, inherited: WorkerContext | None = None
    ) -> None:
        self.inherited = inherited
        self._folder = folder
        self._shared = shared
        self._runs: Sequence[Any] = ()
        self._lock = RLock()
        self._written: Path | None = None

    def note(self, runs: Sequence[Any], *, for_strangers: bool) -> None:
        """Leave word of the runs that are open now: in memory, and ``for_strangers`` in the file too, which takes most of a millisecond."""
        self._runs = runs
        if for_strangers or self._written is not None:
            with (
                guard.suppress(OSError),
                self._lock,
            ):  # of two threads the later one's word stays
                self._write()

    def forked(self) -> WorkerContext:
        """Return what a fork child has from this process by memory."""
        runs = tuple(
            (run.family.run_id, Remote(run.trace_id, run.span_id, run.sampled, run.state))
            for run in self._runs
        )
        runs = runs or (self.inherited.runs if self.inherited else ())
        return self._shared._replace(runs=runs, clock_ns=clock.offset_ns)

    def remove(self) -> None:
        """Take the file away at the end of the process."""
        written, self._written = self._written, None
        if written is not None:
            with guard.suppress(OSError):
                written.unlink()

    def _write(self) -> None:
        path = self._folder / _name(os.getpid())
        fresh = self._folder / f".new-{path.stem}-{os.urandom(4).hex()}"
        words = json.dumps(
            {**self.forked()._asdict(), "start": machine.process_start(os.getpid())}
        ).encode()
        descriptor = os.open(fresh, _WRITE, 0o600)
        try:
            try:
                whole = os.write(descriptor, words) == len(words)
            finally:
                os.close(descriptor)
            if whole:
                fresh.replace(path)
                self._written = path
        finally:
            fresh.unlink(missing_ok=True)


def of_parent(folder: Path, pid: int) -> WorkerContext | None:
    """Return what the process ``pid`` left for its workers, or None where it left nothing that can be read or trusted."""
    try:
        with os.fdopen(os.open(folder / _name(pid), _READ), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                return None
            if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
                return None
            words = json.loads(file.read())
        if words["start"] != machine.process_start(pid):
            return None
        runs = tuple((name, Remote(*run)) for name, run in words["runs"])
        offset = words.get("clock_ns")
        return WorkerContext(
            runs,
            words["resource"],
            words["facts"],
            words["root"],
            words["detail"],
            offset if type(offset) is int else None,
            words.get("keep") is True,
            str(words.get("memory")),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        guard.let_through(error)
        return None


def _name(pid: int) -> str:
    """Return the name of the file that the process ``pid`` of this family leaves.

    A number alone is not enough: two containers that share a folder count their processes alike. What a process and its
    workers have in common is multiprocessing's secret, of which nothing but a hash is shown.
    """
    from multiprocessing.process import current_process

    family = hashlib.sha256(b"kedro-otel" + bytes(current_process().authkey)).hexdigest()[:16]
    return f"handoff-{pid}-{family}.json"
