"""The recorder of this process: made once, with consent; in a worker, as its parent said; let go of in a fork."""

from __future__ import annotations

import os
import sys
from threading import RLock
from typing import TYPE_CHECKING, Any

from kedro_otel import guard
from kedro_otel.facts.clock import clock
from kedro_otel.runtime.state import close_recorder, state, warn

if TYPE_CHECKING:
    from pathlib import Path

    from kedro_otel.config.settings import Settings
    from kedro_otel.recording.in_memory_writer import InMemoryWriter
    from kedro_otel.recording.worker_context import WorkerContext, WorkerContextFile
    from kedro_otel.recording.writer import Writer
    from kedro_otel.tracing.recorder import Recorder


def decide(root: Path | None, package: str | None) -> Recorder | None:
    """Look for consent for the project at ``root`` and, given it, make the recorder that this process keeps."""
    with state.lock:
        recorder = _decided(root, package)
        state.decided = True  # not before, for other threads look at it without the lock
        return recorder


def _decided(root: Path | None, package: str | None) -> Recorder | None:
    from kedro_otel.config import consent

    if state.recorder is not None and root != state.root:
        close_recorder()
    state.root = root
    decided = consent.decide(os.environ, root)
    if not decided.enabled:
        close_recorder()
        if decided.refused and not state.decided:
            warn(f"kedro-otel: nothing is recorded: {decided.reason}")
        return None
    if state.recorder is None:
        from kedro_otel.config import settings
        from kedro_otel.runtime import shutdown

        shutdown.register(worker=False)
        state.settings = settings.load(os.environ, root)
        clock.set()
        state.recorder = _make(state.settings, root, package)
    return state.recorder


def _make(known: Settings, root: Path | None, package: str | None) -> Recorder | None:
    from kedro_otel.facts import identity, resource

    ours = project_id = None
    if root is not None:
        from kedro_otel.facts import project

        ours = project.read(root)
        if package:
            ours = ours._replace(package=package)
        project_id = identity.project_id(
            root,
            package,
            create=not resource.is_ci(os.environ),
            write=bool(known.value("write_project_id")),
            written=state.identified.append,
            linked=state.linked.append,
        )
    found = resource.attributes(
        os.environ, known, ours, installation=_installation(known), project_id=project_id
    )
    return _recorder(
        found,
        facts(known),
        root,
        None,
        keep=known.value("keep") == "all",
        memory=str(known.value("memory")),
    )


def _installation(known: Settings) -> str | None:
    """Return the id of this person's Kedro; None where it would be a new one with every job."""
    from kedro_otel.facts import identity

    found = identity.installation_id(create=False)
    if found is None:
        from kedro_otel.shipping.process import environment

        if not environment.ephemeral(known, os.environ):
            found = identity.installation_id()
    return found


def facts(known: Settings) -> dict[str, Any]:
    """Return what a recording made now says in its header of the settings ``known``."""
    facts: dict[str, Any] = {
        "detail": known.value("detail"),
        "destination": None,
        "ephemeral": False,
    }
    if known.origin("detail").startswith("environment "):
        facts["detailFrom"] = "environment"
    if known.names_endpoint:
        from kedro_otel.config import destination
        from kedro_otel.shipping.process import environment
        from kedro_otel.shipping.state import destination_paths

        where = destination.current(known, make_key=True)
        if where is not None:
            facts.update(
                destination=where.id,
                ephemeral=environment.ephemeral(known, os.environ),
                generation=destination_paths.generation(where.id),
            )
            if facts["detail"] == "full" and where.logs:
                facts["logs"] = True
    return facts


def _recorder(
    resource: dict[str, Any],
    facts: dict[str, Any],
    root: Path | None,
    inherited: WorkerContext | None,
    *,
    keep: bool,
    memory: str,
) -> Recorder | None:
    from kedro_otel.config import consent, paths
    from kedro_otel.recording.writer import RecordingError, Writer
    from kedro_otel.tracing.recorder import Recorder

    folder = paths.recordings()
    if root is not None and "project" not in facts:
        from kedro_otel.config import project_folders

        facts["project"] = project_folders.note(root)
    writer: Writer | None
    try:
        writer = Writer(folder, resource, facts, warn, consent.watch(os.environ, root))
    except RecordingError as error:
        whose = {**facts, "root": str(root)} if root is not None else facts
        writer = _without_place(error, resource, whose, quiet=inherited is not None)
        if writer is None:
            return None
    detail = str(facts["detail"])
    private = None
    if keep and state.memory is None:
        from kedro_otel.private.writer import PrivateWriter

        private = PrivateWriter(writer)

    def handoff() -> WorkerContextFile:
        from kedro_otel.recording.worker_context import WorkerContext, WorkerContextFile

        return WorkerContextFile(
            folder,
            WorkerContext(
                (), resource, facts, str(root) if root else None, detail, keep=keep, memory=memory
            ),
            inherited,
        )

    return Recorder(writer, root, os.environ, detail, handoff, private, memory)


def _without_place(
    error: OSError, resource: dict[str, Any], facts: dict[str, Any], *, quiet: bool
) -> InMemoryWriter | None:
    """Where nothing can be written: record in memory what can be sent from there, or nothing at all; say so, unless ``quiet`` as a worker is."""
    from kedro_otel.recording.in_memory_writer import InMemoryWriter
    from kedro_otel.runtime import shutdown

    sends = facts.get("destination") is not None and shutdown.mode() != "manual"
    if not quiet:
        what = "keeps what runs in memory until it is sent" if sends else "records nothing"
        warn(
            f"kedro-otel {what}: {error}. Your run goes on unchanged. Name a folder of yours in KEDRO_OTEL_HOME, or type: kedro otel off"
        )
    state.memory = InMemoryWriter(resource, facts) if sends else None
    return state.memory


def join() -> Recorder | None:
    """In a worker process, go on where the parent process said; without its word, record nothing."""
    with state.lock:
        return state.recorder if state.decided else _joined()


def _joined() -> Recorder | None:
    from multiprocessing import parent_process

    inherited = state.inherited
    parent = parent_process()
    if inherited is None and parent is not None and parent.pid is not None:
        from kedro_otel.config import paths
        from kedro_otel.recording import worker_context

        inherited = worker_context.of_parent(paths.recordings(), parent.pid)
    if inherited is not None:
        _join_parent(inherited)
    elif parent is None and not _is_attached():
        decide(None, package_name())
    else:
        return _join_another()
    state.decided = True
    return state.recorder


def _join_parent(inherited: WorkerContext) -> None:
    from pathlib import Path

    from kedro_otel.config import consent
    from kedro_otel.runtime import shutdown

    root = Path(inherited.root) if inherited.root else None
    if not consent.decide(os.environ, root).enabled:  # it may have been taken back meanwhile
        return
    shutdown.register(worker=True)
    if inherited.clock_ns is not None:
        clock.offset_ns = inherited.clock_ns
    state.recorder = _recorder(
        inherited.resource,
        inherited.facts,
        root,
        inherited,
        keep=inherited.keep,
        memory=inherited.memory,
    )


def _join_another() -> Recorder | None:
    """Decide for this process by itself if it works for a run of another one; a later run may be one.

    Somebody handed that run over, or it is open and has the ``run_id`` that Kedro has here.
    """
    from pathlib import Path

    from kedro_otel.config import consent
    from kedro_otel.facts import project

    root = project.around(Path.cwd())
    if not consent.decide(os.environ, root).enabled:
        state.decided = True
        return None
    if not _is_attached():
        from kedro_otel.recording import open_runs
        from kedro_otel.tracing import kedro_frames

        if open_runs.find(kedro_frames.run_id()) is None:
            return None
    return decide(root, package_name())


def _is_attached() -> bool:
    """Return whether somebody handed over a run of another process that this thread works for."""
    from kedro_otel.tracing import attachment

    return attachment.find() is not None


def package_name() -> str | None:
    """Return the package that Kedro was configured for, if it was."""
    module = sys.modules.get("kedro.framework.project")
    name = getattr(module, "PACKAGE_NAME", None)
    return str(name) if name else None


def _forked() -> None:
    """In a fork child: let go of what is the parent's."""
    if termination := sys.modules.get("kedro_otel.runtime.termination"):
        termination.unwatch()  # what the parent's handler does is not the child's to do
    recorder, state.recorder = state.recorder, None
    state.lock, state.exit_registered, state.memory = RLock(), False, None
    if recorder is not None:
        recording = recorder.writer.on
        recorder.abandon()
        state.decided = not recording
        state.inherited = recorder.forked()
        from kedro_otel.tracing import ids

        ids.reseed()
    guard.errors.clear()  # the parent tells of its own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=guard.guarded(_forked))
