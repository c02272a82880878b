"""What this process has decided so far, in one place."""

from __future__ import annotations

import sys
from threading import RLock
from typing import TYPE_CHECKING, Any

from kedro_otel import guard

if TYPE_CHECKING:
    import weakref
    from collections.abc import Callable
    from pathlib import Path

    from kedro_otel.config.settings import Settings
    from kedro_otel.recording.in_memory_writer import InMemoryWriter
    from kedro_otel.recording.worker_context import WorkerContext
    from kedro_otel.tracing.nodes import Nodes
    from kedro_otel.tracing.recorder import Recorder


class State:
    """This process's recorder, and what came before it.

    Attributes:
        lock: Held while the recorder is made.
        recorder: What records; None before, without consent, and where nothing can be recorded.
        nodes: What is open in the recorder's runs, once a hook has asked for it: there are six hooks a node.
        decided: Whether it was looked for.
        root: The project's folder that it was looked for with.
        settings: The settings then in force.
        inherited: What a fork child's parent was recording.
        memory: Where lines go without a place on disk.
        voice: Which of our hook objects is listened to.
        context: The session's Kedro context.
        statistics: Catalogs not run yet (weak references), each with its sizes.
        commands: How many commands began here.
        exit_registered: Whether the end of the process is seen to.
        identified: Each pyproject.toml that an id was written into, until the user has read of it.
        linked: Each that was left alone because of its other hard links.
        patience: Seconds to wait for the delivery at the end of the process; None where nothing is to be waited for.
        notifies: Whether a notifier follows what runs here.
        worker: Whether this is a worker of another process, which waits itself.
        watching: Whether a notebook tells when its cells end.
    """

    def __init__(self) -> None:
        self.lock = RLock()
        self.nodes: Nodes | None = None
        self._recorder: Recorder | None = None
        self.decided = False
        self.root: Path | None = None
        self.settings: Settings | None = None
        self.inherited: WorkerContext | None = None
        self.memory: InMemoryWriter | None = None
        self.active_hooks: object = None
        self.context: weakref.ref[Any] | None = None
        self.statistics: list[tuple[Callable[[], Any], dict[str, Any]]] = []
        self.commands = 0
        self.exit_registered = False
        self.identified: list[Path] = []
        self.linked: list[Path] = []
        self.patience: float | None = None
        self.notifies = False
        self.worker = False
        self.ipython_hooked = False

    @property
    def recorder(self) -> Recorder | None:
        """What records."""
        return self._recorder

    @recorder.setter
    def recorder(self, recorder: Recorder | None) -> None:
        self._recorder, self.nodes = recorder, None


state = State()


def reset() -> None:
    """Close this process's recording and forget what was decided: what comes next is recorded by the environment as it is then."""
    close_recorder()
    exit_registered = state.exit_registered
    state.__init__()  # type: ignore[misc]
    state.exit_registered = exit_registered


def close_recorder() -> None:
    """End what is open, write what was lost and what went wrong of ours, and let go of the segment."""
    recorder, state.recorder = state.recorder, None
    if recorder is None:
        return
    try:
        recorder.end()
    finally:
        failures = sum(guard.errors.values())
        if failures and recorder.writer.on:
            recorder.writer.lost["internal_error"] += failures
            guard.errors.clear()
        recorder.writer.close()
        if recorder.private is not None:
            recorder.private.close()


def warn(sentence: str) -> None:
    """Print one of the documented lines on stderr."""
    if sys.stderr is not None:
        print(sentence, file=sys.stderr)  # noqa: T201 -- see above
