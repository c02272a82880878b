"""The end of a command, a run and the process: what is still to be sent, written or printed then."""

from __future__ import annotations

import atexit
import os
import sys
from typing import TYPE_CHECKING

from kedro_otel import guard
from kedro_otel.runtime.state import close_recorder, state, warn

if TYPE_CHECKING:
    from pathlib import Path

    from kedro_otel.config.settings import Settings
    from kedro_otel.recording.in_memory_writer import InMemoryWriter


def register(*, worker: bool) -> None:
    """See to the end of this process, however it is left; a ``worker`` of multiprocessing skips what atexit knows."""
    if state.exit_registered:
        return
    state.exit_registered = True
    state.worker = worker
    module = sys.modules.get("multiprocessing.process")
    if worker or (module is not None and module.parent_process() is not None):
        from multiprocessing.util import Finalize

        state.worker = True
        Finalize(None, at_exit, exitpriority=10)
    else:
        atexit.register(at_exit)


@guard.guarded
def at_exit() -> None:
    """End what is open, send what is recorded, and wait for that where the machine vanishes."""
    _end()
    _wait()
    _record_internal_errors()


@guard.guarded
def _end() -> None:
    recorder = state.recorder
    open_runs = recorder is not None and recorder.running and recorder.writer.on
    close_recorder()
    if state.memory is not None:
        _hand_over(state.memory, last=True)
    elif open_runs:
        _launch("exit")
    if recorder is not None and state.memory is None and not state.worker:
        _keep_bounds(recorder.writer.facts.get("destination"))


@guard.guarded
def _keep_bounds(destination: object) -> None:
    """Apply the limits where no shipper does: without an endpoint, and where shipping is left to the user."""
    known = state.settings
    if known is None or (destination is not None and mode() != "manual"):
        return
    from kedro_otel.config import paths
    from kedro_otel.recording import retention

    limits = retention.Limits(
        known.value("max_bytes"), known.value("max_age_days"), known.value("max_segments")
    )
    if retention.exceeded(paths.recordings(), limits):
        from kedro_otel.shipping.state import pruning

        pruning.prune(known)


@guard.guarded
def _record_internal_errors() -> None:
    """Count in the recordings' ledger the errors of ours that no segment could tell of."""
    failures = sum(guard.errors.values())
    if failures and state.memory is None:
        from kedro_otel.config import paths
        from kedro_otel.recording import retention

        guard.errors.clear()
        retention.note(paths.recordings(), "internal_error", failures)


@guard.guarded
def _wait() -> None:
    """Wait for the delivery, once in the life of this process, where the machine may vanish with it."""
    if state.worker or (state.patience is None and not state.notifies):
        return
    from kedro_otel.shipping.process import launch

    if state.notifies and state.settings is not None and mode() == "wait":
        launch.wait_for_notifier(float(state.settings.value("ship_timeout")))
    if state.patience is None:
        return
    waited = launch.wait if state.memory is None else launch.wait_for_handed_over
    left = waited(state.patience)
    if left:
        warn(left)


def ship(reason: str) -> None:
    """Let the detached process send what is recorded, if there is where to; nothing here waits for that."""
    recorder = state.recorder
    if recorder is None or not recorder.writer.on:
        return
    if state.memory is None and state.settings is not None and state.settings.value("notify"):
        _notify(state.settings)
    if recorder.writer.facts.get("destination") is None:
        return
    if state.memory is not None:
        _hand_over(state.memory)
    else:
        _launch(reason)


@guard.guarded
def _notify(known: Settings) -> None:
    """Let the detached notifier follow what runs, if none does."""
    from kedro_otel.shipping.process import launch

    launch.start_notifier(known)
    state.notifies = True


def _launch(reason: str) -> None:
    from kedro_otel.shipping.process import launch

    known, how = state.settings, mode()
    if known is None or how == "manual":
        return
    started = launch.start(reason)
    if how == "wait":
        state.patience = float(known.value("ship_timeout")) if started else 0.0
    elif reason == "end" and state.recorder is not None:
        launch.print_hold_notice(state.recorder.writer.facts["destination"])


def _hand_over(memory: InMemoryWriter, *, last: bool = False) -> None:
    """Have sent what is recorded in memory, once nothing is open in it."""
    data = memory.take(whole=last)
    if data:
        from kedro_otel.shipping.process import launch

        left = launch.hand_over(data)
        if mode() == "wait" and state.settings is not None:
            state.patience = float(state.settings.value("ship_timeout"))
        if left:
            warn(left)


def mode() -> str:
    """Return when to ship: ``background``, ``wait`` or ``manual``."""
    from kedro_otel.config import settings
    from kedro_otel.shipping.process import launch

    return launch.mode(state.settings or settings.load(os.environ), os.environ)


def _first(path: Path) -> bool:
    """Return whether nobody has read of the file at ``path`` yet."""
    import hashlib

    from kedro_otel.config import files, paths

    where = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    try:
        return files.create(paths.home() / "linked" / where, b"")
    except OSError as error:
        guard.let_through(error)
        return False


def notice() -> None:
    """Print at a terminal, once per machine, that commands are recorded."""
    if sys.stderr is None or not sys.stderr.isatty():
        return
    from kedro_otel.config import paths

    for path in state.identified:
        warn(
            f"kedro-otel wrote a random project_id into {path}, so that all clones count as one project. "
            "To leave such files alone: export KEDRO_OTEL_WRITE_PROJECT_ID=false"
        )
    state.identified.clear()
    for path in state.linked:
        if _first(path):
            warn(
                f"kedro-otel leaves {path} alone, because it has other hard links: the project has no project_id. "
                "To give it one: put project_id into [tool.kedro_telemetry], or export KEDRO_OTEL_WRITE_PROJECT_ID=false"
            )
    state.linked.clear()
    noticed = paths.home() / "notice"
    try:
        os.close(os.open(noticed, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        guard.let_through(error)
        return
    warn(
        f"kedro-otel records your kedro commands in {paths.home()}, and each project gets a random project_id in its pyproject.toml. "
        "Error messages, log lines and arguments as typed stay in that folder, in files that are never sent. "
        "See them: kedro otel show; what and why: kedro otel status; switch off: kedro otel off"
    )
    from kedro_otel.config import surroundings

    for sentence in surroundings.sentences(state.settings, os.environ, state.root):
        warn(f"kedro-otel: {sentence}")
