"""Puts one process's parts together, once, and passes on what Kedro's hooks say.

Nothing here waits on a network, and nothing of OpenTelemetry is imported outside a pipeline run.
"""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from threading import RLock
from typing import TYPE_CHECKING, Any

from kedro_otel import guard

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import FrameType

    from kedro_otel.recording.handoff import Handoff, Inherited
    from kedro_otel.recording.memory import Memory
    from kedro_otel.recording.writer import Writer
    from kedro_otel.settings import Settings
    from kedro_otel.tracing.nodes import Nodes
    from kedro_otel.tracing.recorder import Recorder


class _State:
    """What this process has decided so far."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.recorder: Recorder | None = None
        self.settings: Settings | None = None
        self.root: Path | None = None
        self.decided = False
        self.inherited: Inherited | None = None
        self.voice: object = None
        self.context: weakref.ref[Any] | None = None
        self.statistics: list[tuple[Any, dict[str, Any]]] = []
        self.closing = False
        self.memory: Memory | None = None
        self.commands = 0
        self.watching = False


_state = _State()


def reset() -> None:
    """Close this process's recording and forget what was decided: what comes next is recorded by the environment as it is then."""
    _close_recorder()
    closing = _state.closing
    _state.__init__()  # type: ignore[misc]
    _state.closing = closing


# --- commands -------------------------------------------------------------------------------------------------------


def command_began(metadata: Any, args: Sequence[str]) -> None:
    """``before_command_run``: ``metadata`` is Kedro's of the project, or None outside of one."""
    if list(args[:1]) == ["otel"]:
        _state.decided = True
        return
    recorder = _decide(metadata.project_path if metadata else None, metadata.package_name if metadata else None)
    if recorder is None:
        return
    from kedro_otel import masking, names
    from kedro_otel.tracing import clock

    cli = running_cli()
    masked = masking.mask(cli, args, _own_group(metadata))
    name = f"kedro {masked.name}".rstrip()
    words = ["kedro", *masked.words]
    values: dict[str, Any] = {
        names.COMMAND_NAME: masked.name,
        names.COMMAND_LINE: " ".join(words),
        names.COMMAND_ARGS: words,
        names.EXECUTABLE_NAME: "kedro",
        names.PID: os.getpid(),
    }
    import time

    _state.commands += 1
    start_ns = clock.process_start_ns() if _state.commands == 1 else time.time_ns()
    recorder.command_began(name, values, start_ns, own=masked.own)


def command_ended(exit_code: object) -> None:
    """``after_command_run``."""
    recorder = _state.recorder
    if recorder is None or recorder.command is None:
        return
    trace_id = recorder.command.trace_id if recorder.command.sampled else ""
    recorder.command_ended(exit_code)
    _ship("end")
    if recorder.nodes is not None and _state.settings is not None and _state.settings.value("trace_url"):
        from kedro_otel.viewing import link

        link.tell(_state.settings, trace_id, recorder.writer.facts.get("destination"), everywhere=False)
    _notice()


def running_cli() -> Any:
    """Return the ``KedroCLI`` that is running now, whose vocabulary is the one to mask by, or None.

    No hook hands it over, and building a second one would import the project's and every plugin's commands again.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 -- see above
    while frame is not None:
        if frame.f_code.co_name == "main" and frame.f_globals.get("__name__") == "kedro.framework.cli.cli":
            return frame.f_locals.get("self")
        frame = frame.f_back
    return None


def _own_group(metadata: Any) -> Any:
    """Return the command group of the project's own cli.py, if it has one: Kedro has imported it already."""
    module = sys.modules.get(f"{metadata.package_name}.cli") if metadata else None
    return getattr(module, "cli", None)


# --- sessions -------------------------------------------------------------------------------------------------------


def heard(voice: object) -> bool:
    """Return whether ``voice``, one of our hook objects, is the one listened to: a user may have registered a second."""
    if _state.voice is None:
        _state.voice = voice
    return _state.voice is voice


def context_created(voice: object, context: Any) -> None:
    """``after_context_created``: in a session without the command line this is the first that is heard of a project."""
    manager = context._hook_manager  # noqa: SLF001 -- which of our hook objects this session has, nothing else tells
    if _state.voice is not voice and manager.is_registered(_state.voice):
        return
    _state.voice, _state.context = voice, weakref.ref(context)
    recorder = _state.recorder
    if recorder is not None and recorder.command is not None:
        return
    _watch_notebook()
    if not _state.decided or context.project_path != _state.root:
        _decide(context.project_path, context._package_name)  # noqa: SLF001 -- the same name as the CLI's metadata carries


def _watch_notebook() -> None:
    """Learn when a notebook's cell ends: Ctrl-C ends its run without a word of Kedro's."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    if shell is not None and not _state.watching:
        _state.watching = True
        shell.events.register("post_run_cell", _cell_ended)


@guard.guarded
def _cell_ended(result: Any) -> None:
    recorder = _state.recorder
    if recorder is not None and recorder.running:
        recorder.interrupted(result.error_in_exec)
        _ship("run ended")


def catalog_created(catalog: Any) -> None:
    """``after_catalog_created``: count the project's own catalog, before a run adds what its patterns resolve to."""
    if _state.recorder is not None:
        from kedro_otel import project

        del _state.statistics[:-4]
        _state.statistics.append((catalog, project.statistics(catalog, None, 0)))


def run_began(params: Any, pipeline: Any, catalog: Any) -> None:
    """``before_pipeline_run``."""
    from pathlib import Path

    if not _state.decided:
        where = params.get("project_path") if isinstance(params, dict) else None
        _decide(Path(where) if where else None, _package_name())
    recorder = _state.recorder
    if recorder is None:
        return
    from kedro_otel import run_facts

    counted: dict[str, Any] = next((found for known, found in reversed(_state.statistics) if known is catalog), {})
    _state.statistics = [(known, found) for known, found in _state.statistics if known is not catalog]
    context = _state.context() if _state.context is not None else None
    values = {**run_facts.values(params, pipeline, recorder.root, context), **counted, **(run_facts.pipeline_statistics() if counted else {})}
    recorder.run_began(run_facts.span_name(params), values, params, pipeline, catalog)
    _ship("run")


def run_ended(params: Any, error: BaseException | None = None, *, failed: bool = False) -> None:
    """``after_pipeline_run`` and ``on_pipeline_error``."""
    recorder = _state.recorder
    if recorder is not None:
        recorder.run_ended(params, error, failed=failed)
        if recorder.command is None:
            _ship("run ended")


def nodes_for(voice: object) -> Nodes | None:
    """Return what is open in this process's runs if ``voice`` is listened to; a worker makes its recorder when its first node comes."""
    if _state.voice is not voice and not heard(voice):
        return None
    recorder = _state.recorder
    if recorder is None:
        if _state.decided:
            return None
        recorder = _join()
    return None if recorder is None else recorder.nodes or recorder.runs.nodes


# --- making the recorder --------------------------------------------------------------------------------------------


def _decide(root: Path | None, package: str | None) -> Recorder | None:
    """Look for consent for the project at ``root`` and, given it, make the recorder that this process keeps."""
    with _state.lock:
        recorder = _decided(root, package)
        _state.decided = True  # not before, for other threads look at it without the lock
        return recorder


def _decided(root: Path | None, package: str | None) -> Recorder | None:
    from kedro_otel import consent, settings

    if _state.recorder is not None and root != _state.root:
        _close_recorder()
    _state.root = root
    if not consent.decide(os.environ, root).enabled:
        _close_recorder()
        return None
    _register_exit(worker=False)
    if _state.recorder is None:
        _state.settings = settings.load(os.environ, root)
        _state.recorder = _make(_state.settings, root, package)
    return _state.recorder


def _make(known: Settings, root: Path | None, package: str | None) -> Recorder | None:
    from kedro_otel import destination, identity, project, resource

    ours = project.read(root) if root is not None else None
    if ours is not None and package:
        ours = ours._replace(package=package)
    installation = identity.installation_id()
    project_id = identity.project_id(root, package, create=not project.is_ci(os.environ)) if root is not None else None
    found = resource.attributes(os.environ, known, ours, installation=installation, project_id=project_id)
    where = destination.current(known)
    facts = {"detail": known.value("detail"), "destination": where.id if where else None, "ephemeral": where is not None and _ephemeral(known)}
    return _recorder(found, facts, root, None)


def _recorder(resource: dict[str, Any], facts: dict[str, Any], root: Path | None, inherited: Inherited | None) -> Recorder | None:
    from kedro_otel import consent, paths
    from kedro_otel.recording.writer import RecordingError, Writer
    from kedro_otel.tracing.recorder import Recorder

    folder = paths.recordings()
    writer: Writer | None
    try:
        writer = Writer(folder, resource, facts, _complain, consent.watch(os.environ, root))
    except RecordingError as error:
        writer = _without_place(error, resource, facts, quiet=inherited is not None)
        if writer is None:
            return None
    detail = str(facts["detail"])

    def handoff() -> Handoff:
        from kedro_otel.recording.handoff import Handoff, Inherited

        return Handoff(folder, Inherited((), resource, facts, str(root) if root else None, detail), inherited)

    return Recorder(writer, root, os.environ, detail, handoff)


def _without_place(error: OSError, resource: dict[str, Any], facts: dict[str, Any], *, quiet: bool) -> Memory | None:
    """Where nothing can be written: record in memory what can be sent from there, or nothing at all; say so, unless ``quiet`` as a worker is."""
    from kedro_otel.recording.memory import Memory

    sends = facts.get("destination") is not None and _mode() != "manual"
    if not quiet:
        what = "keeps what runs in memory until it is sent" if sends else "records nothing"
        _complain(f"kedro-otel {what}: {error}. Your run goes on unchanged. Name a folder of yours in KEDRO_OTEL_HOME, or type: kedro otel off")
    _state.memory = Memory(resource, facts) if sends else None
    return _state.memory


def _register_exit(*, worker: bool) -> None:
    if _state.closing:
        return
    _state.closing = True
    module = sys.modules.get("multiprocessing.process")
    if worker or (module is not None and module.parent_process() is not None):  # such a process skips atexit
        from multiprocessing.util import Finalize

        Finalize(None, _at_exit, exitpriority=10)
    else:
        atexit.register(_at_exit)


def _join() -> Recorder | None:
    """In a worker process, go on where the parent process said; without its word, record nothing."""
    with _state.lock:
        recorder = _state.recorder if _state.decided else _joined()
        _state.decided = True
        return recorder


def _joined() -> Recorder | None:
    from multiprocessing import parent_process

    inherited = _state.inherited
    parent = parent_process()
    if inherited is None and parent is not None and parent.pid is not None:
        from kedro_otel import paths
        from kedro_otel.recording import handoff

        inherited = handoff.of_parent(paths.recordings(), parent.pid)
    if inherited is not None:
        from pathlib import Path

        from kedro_otel import consent

        root = Path(inherited.root) if inherited.root else None
        if consent.decide(os.environ, root).enabled:  # it may have been taken back since the run began
            _register_exit(worker=True)
            _state.recorder = _recorder(inherited.resource, inherited.facts, root, inherited)
    elif parent is None:
        _decide(None, _package_name())
    return _state.recorder


def _forked() -> None:
    """In a fork child: let go of what is the parent's."""
    recorder, _state.recorder = _state.recorder, None
    _state.lock, _state.closing, _state.memory = RLock(), False, None
    if recorder is not None:
        recording = recorder.writer.on
        recorder.writer.abandon()
        _state.decided = not recording
        _state.inherited = recorder.forked()
    from kedro_otel.tracing import ids

    ids.reseed()
    guard.errors.clear()  # the parent tells of its own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=guard.guarded(_forked))


def _package_name() -> str | None:
    module = sys.modules.get("kedro.framework.project")
    name = getattr(module, "PACKAGE_NAME", None)
    return str(name) if name else None


# --- the end --------------------------------------------------------------------------------------------------------


@guard.guarded
def _at_exit() -> None:
    _end()
    _confess()


@guard.guarded
def _end() -> None:
    recorder = _state.recorder
    open_runs = recorder is not None and recorder.running and recorder.writer.on
    _close_recorder()
    if _state.memory is not None:
        _hand_over(_state.memory, last=True)
    elif open_runs:
        _launch("exit")


@guard.guarded
def _confess() -> None:
    """Count in the recordings' ledger the errors of ours that no segment could tell of."""
    failures = sum(guard.errors.values())
    if failures and _state.memory is None:
        from kedro_otel import paths
        from kedro_otel.recording import bounds

        guard.errors.clear()
        bounds.note(paths.recordings(), "internal_error", failures)


def _close_recorder() -> None:
    recorder, _state.recorder = _state.recorder, None
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


def _ephemeral(known: Settings) -> bool:
    from kedro_otel.shipping import vanishing

    return vanishing.ephemeral(known, os.environ)


def _ship(reason: str) -> None:
    """Let the detached process send what is recorded, if there is where to; at the end wait for it where the machine may vanish."""
    recorder = _state.recorder
    if recorder is None or not recorder.writer.on or recorder.writer.facts.get("destination") is None:
        return
    if _state.memory is not None:
        _hand_over(_state.memory)
    else:
        _launch(reason)


def _launch(reason: str) -> None:
    from kedro_otel.shipping import launch

    known, mode = _state.settings, _mode()
    if known is None or mode == "manual":
        return
    launch.start(reason)
    if mode == "wait" and reason != "run":
        left = launch.wait(float(known.value("ship_timeout")))
        if left:
            _complain(left)


def _hand_over(memory: Memory, *, last: bool = False) -> None:
    """Have sent what is recorded in memory, once nothing is open in it."""
    data = memory.take(whole=last)
    if data:
        from kedro_otel.shipping import launch

        left = launch.hand_over(data)
        if left:
            _complain(left)


def _mode() -> str:
    from kedro_otel import settings
    from kedro_otel.shipping import launch

    return launch.mode(_state.settings or settings.load(os.environ), os.environ)


def _notice() -> None:
    """Tell a person at a terminal, once per machine, that commands are recorded."""
    if sys.stderr is None or not sys.stderr.isatty():
        return
    from kedro_otel import paths

    told = paths.home() / "notice"
    try:
        os.close(os.open(told, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError:
        return
    _complain(
        f"kedro-otel records your kedro commands in {paths.home()}. "
        "See them: kedro otel show; what and why: kedro otel status; switch off: kedro otel off"
    )


def _complain(sentence: str) -> None:
    if sys.stderr is not None:
        print(sentence, file=sys.stderr)  # noqa: T201 -- the documented lines on stderr
