"""One process's recording: its command, its runs, and whose provider makes the spans of the user's code."""

from __future__ import annotations

import os
import sys
import time
from threading import RLock, get_ident
from typing import TYPE_CHECKING, Any

from kedro_otel import names, propagation
from kedro_otel.guard import guarded
from kedro_otel.tracing import failures
from kedro_otel.tracing.nodes import Family, Nodes
from kedro_otel.tracing.operation import Open, Scribe

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import FrameType

    from kedro_otel.propagation import Remote
    from kedro_otel.recording.handoff import Handoff, Inherited
    from kedro_otel.recording.writer import Writer


_ONE_PROCESS = frozenset({"SequentialRunner", "ThreadRunner"})
"""Runners that are known to start no worker process."""


class OpenRun(Open):
    """A pipeline run between ``before_pipeline_run`` and whatever ends it."""

    def __init__(self, name: str, parent: Open | Remote | None, start_ns: int, run_id: str | None, catalog: Any) -> None:
        super().__init__(names.RUN, name, parent, start_ns)
        self.family = Family(self, run_id, catalog)
        self.params: Any = None
        self.pipeline: Any = None
        self.implicit = False
        self.outer: str | None = None
        self.members: frozenset[int] | None = None

    def has(self, node: Any) -> bool:
        """Return whether the Kedro node is of this run's pipeline."""
        if self.members is None:
            self.members = frozenset(map(id, self.pipeline.nodes)) if self.pipeline is not None else frozenset()
        return id(node) in self.members


class Recorder:
    """Hooks in, lines out, for one process and one project.

    Args:
        writer: The process's segment.
        root: The project's folder, or None outside of one.
        environ: The environment.
        detail: The detail in force; exception messages are recorded at ``full`` only.
        handoff: What a parent process left for its workers, or None.
    """

    def __init__(self, writer: Writer, root: Path | None, environ: Mapping[str, str], detail: str, handoff: Handoff | None = None) -> None:
        self.writer = writer
        self.root = root
        self.scribe = Scribe(writer, environ, full=detail == names.FULL)
        self.command: Open | None = None
        self.runs: list[OpenRun] = []
        self._own_command = False
        self._handoff = handoff
        self._environ = environ
        self._context: Any = None
        self._lock = RLock()
        self._families: dict[str, Family] = {}
        self._nodes = Nodes(self.scribe, root, self._family_of, self._enter, self._leave)
        self.before_dataset = self._nodes.before_dataset
        self.after_dataset = self._nodes.after_dataset

    # --- the command ------------------------------------------------------------------------------------------------

    def command_began(self, name: str, values: dict[str, Any], start_ns: int, *, own: bool) -> None:
        """A command began at ``start_ns``; ``own`` says that it is one of the project's own cli.py."""
        self._look_for_provider()
        self.command = Open(names.COMMAND, name, propagation.incoming(self._environ), start_ns)
        self._own_command = own
        self._begin_command(values)

    def _begin_command(self, values: dict[str, Any]) -> None:
        command = self.command
        if command is not None:
            if command.parent is None:
                command.trace_id = ""
            self.scribe.begin(command, values, own=self._own_command)

    def command_ended(self, exit_code: object) -> None:
        """The command ended; what it left open (Ctrl-C, SystemExit) failed with what click is leaving for."""
        command, self.command = self.command, None
        if command is None:
            return
        code = exit_code if isinstance(exit_code, int) else int(exit_code is not None)
        error = failures.behind(sys.exc_info()[1])
        self.close_runs(error)
        values: dict[str, Any] = {names.EXIT_CODE: int(code)}
        if code:
            values.update(failures.facts(error, self.root))
        self.scribe.finish(command, values, error=error, failed=bool(code))

    # --- runs -------------------------------------------------------------------------------------------------------

    def run_began(self, name: str, values: dict[str, Any], params: Any, pipeline: Any, catalog: Any) -> None:
        """A pipeline run begins in this thread."""
        now = time.time_ns()
        context = self.contexts()
        self._end_stale()
        context.adopt_baggage(self._environ)
        run = OpenRun(name, self._above(), now, values.get(names.RUN_ID), catalog)
        run.params, run.pipeline = params, pipeline
        self._open_run(run, values)

    def _above(self) -> Open | Remote | None:
        """Return the parent of a run that begins: somebody's span, the node that runs another pipeline, the command, or another process."""
        found = self.contexts().current()
        if isinstance(found, Open) and not _inside_runner():
            found = None  # left behind by an interruption
        return found or self.command or propagation.incoming(self._environ)

    def _open_run(self, run: OpenRun, values: dict[str, Any]) -> None:
        self.scribe.begin(run, values)
        with self._lock:
            self.runs.append(run)
        run.outer = os.environ.get(propagation.TRACEPARENT)
        self._enter(run)
        self._hand_off()

    def _hand_off(self) -> None:
        if self._handoff is not None:
            self._handoff.note(
                self.runs, for_strangers=any(run.values.get(names.RUNNER_NAME) not in _ONE_PROCESS for run in self.runs if not run.implicit)
            )

    def run_ended(self, params: Any, error: BaseException | None = None, *, failed: bool = False) -> None:
        """The run that began with ``params`` ended."""
        run = self._run_of(params)
        if run is not None:
            self._end_run(run, error, failed=failed)

    def close_runs(self, error: BaseException | None) -> None:
        """End every run that is still open as failed, innermost first: the process is leaving them."""
        for run in reversed(list(self.runs)):
            self._end_run(run, error, failed=True)

    def _end_run(self, run: OpenRun, error: BaseException | None, *, failed: bool) -> None:
        with self._lock:
            if run not in self.runs:
                return
            self.runs.remove(run)
        failing = failures.node_of(error) if error is not None else None
        self._nodes.close(run.family, error, failing, failed=failed)
        self._leave(run)
        end_ns = 0
        if run.implicit:
            # Nobody said when it ended or how: as its last node did.
            error, failed, end_ns = run.family.error, run.family.failed, run.family.last_ns
        self.scribe.finish(run, failures.facts(error, self.root) if failed else {}, end_ns=end_ns, error=error, failed=failed)
        self._hand_off()

    def _end_stale(self) -> None:
        """End a run of this thread that was interrupted in a notebook, where no hook fires; one that calls another run goes on."""
        thread = get_ident()
        stale = [run for run in self.runs if run.thread == thread]
        if stale and not _inside_runner():
            last = getattr(sys, "last_value", None)
            error = last if isinstance(last, KeyboardInterrupt) else None
            for run in reversed(stale):
                self._end_run(run, error, failed=True)

    def _run_of(self, params: Any) -> OpenRun | None:
        for run in reversed(self.runs):
            if run.params is params:
                return run
        thread = get_ident()
        run_id = _run_id(params)
        for run in reversed(self.runs):
            if run.thread == thread and run.family.run_id == run_id:
                return run
        return None

    # --- nodes ------------------------------------------------------------------------------------------------------

    def before_node(self, node: Any, catalog: Any, run_id: str | None, *, is_async: bool) -> None:
        """A node's function is about to be called."""
        self._nodes.before_node(node, catalog, run_id, is_async=is_async)

    def after_node(self, node: Any, outputs: Any, run_id: str | None) -> None:
        """A node's function returned."""
        self._nodes.after_node(node, outputs, run_id)

    def node_failed(self, node: Any, error: BaseException, run_id: str | None) -> None:
        """A node's function raised."""
        self._nodes.node_failed(node, error, run_id)

    def _family_of(self, node: Any, run_id: str | None) -> Family | None:
        """Return the run that ``node`` belongs to in this thread; None where only its run id, not known yet, can tell."""
        runs = self.runs
        thread = get_ident()
        for run in reversed(runs):
            if run.thread == thread:
                if run.implicit and _runner_call(run.family.run_id) != run.family.run_id:
                    self._end_run(run, None, failed=True)
                    return self._family_without_run(run_id)
                return run.family
        if len(runs) == 1:
            return runs[0].family
        if not runs:
            return self._family_without_run(run_id)
        candidates = [run for run in runs if run.has(node)] or runs
        if len(candidates) > 1:
            named = [run for run in candidates if run.family.run_id == run_id] if run_id is not None else []
            open_here = [run for run in candidates if id(node) in run.family.open]
            chosen = named or (open_here if len(open_here) == 1 else [])
            return chosen[0].family if chosen else None
        return candidates[0].family

    def _family_without_run(self, run_id: str | None) -> Family | None:
        """Return the run of the parent process that this worker works for, or a run of our own for a runner that is called without one."""
        if self._handoff is not None and self._handoff.inherited is not None:
            remote = self._handoff.inherited.run(run_id)
            if remote is None:
                return None
            family = self._families.get(remote.span_id)
            if family is None:
                self.contexts()
                family = self._families[remote.span_id] = Family(remote, run_id)
            return family
        run_id = run_id or _runner_call(None)
        run = OpenRun("run", self._above(), time.time_ns(), run_id, None)
        run.implicit = True
        self._open_run(run, {names.RUN_ID: run_id})
        return run.family

    # --- context and provider ---------------------------------------------------------------------------------------

    def contexts(self) -> Any:
        """Return the module that knows OpenTelemetry's context; from the first run on, decide whose provider makes spans."""
        if self._context is None:
            from kedro_otel.tracing import context, provider

            self._context = context
            self._look_for_provider()
            if self.scribe.live is None:
                provider.install(self.writer.resource, self._environ, self.foreign)
        return self._context

    def _look_for_provider(self) -> None:
        if "opentelemetry.trace" not in sys.modules or self.scribe.live is not None:
            return
        from kedro_otel.tracing import provider

        theirs = provider.of_user()
        if theirs is None:
            return
        from kedro_otel.tracing.live import Live

        self.scribe.live = Live(theirs, self.writer.resource)
        self.writer.owned_by_user()
        if self.command is not None:
            # The command began before anybody could know: it is recorded again, as the span that the user's provider makes.
            self.writer.drop(self.command.span_id)
            self._begin_command(self.command.values)

    @guarded
    def foreign(self, span: Any) -> None:
        """Record a finished span of the user's code, or of an instrumentation, that our provider made."""
        from kedro_otel.tracing.foreign import line

        self.writer.span(names.FOREIGN, line(span, full=self.scribe.full))

    def _enter(self, operation: Open) -> None:
        self.contexts().enter(operation)
        if operation.kind != names.DATASET and (operation.kind == names.RUN or self._alone(operation)):
            os.environ[propagation.TRACEPARENT] = propagation.spell(operation.trace_id, operation.span_id, sampled=operation.sampled)

    def _leave(self, operation: Open) -> None:
        self.contexts().leave(operation)
        if operation.kind == names.RUN:
            outer = operation.outer if isinstance(operation, OpenRun) else None
            if outer is None:
                os.environ.pop(propagation.TRACEPARENT, None)
            else:
                os.environ[propagation.TRACEPARENT] = outer

    def _alone(self, operation: Open) -> bool:
        """Return whether no other node can be running beside ``operation``, so that the environment may name it."""
        parent = operation.parent
        return not isinstance(parent, Open) or parent.thread == operation.thread

    def forked(self) -> Inherited | None:
        """Return what a fork child works for: the runs that are open here."""
        return self._handoff.forked() if self._handoff is not None else None

    # --- the end ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """The process ends: close what is open, as failed where nothing ended it, and let go of the segment."""
        last = getattr(sys, "last_value", None)
        self.close_runs(last)
        for family in self._families.values():
            self._nodes.close(family, None, None, failed=True)
        self._families.clear()
        if self._handoff is not None:
            self._handoff.remove()
        self.writer.close()


def _run_id(params: Any) -> str | None:
    if not isinstance(params, dict):
        return None
    found = params.get("run_id", params.get("session_id"))
    return None if found is None else str(found)


def _runner_frame() -> FrameType | None:
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 -- nothing else tells a nested run from a new start after an interruption
    while frame is not None and not (frame.f_code.co_name == "run" and frame.f_globals.get("__name__") == "kedro.runner.runner"):
        frame = frame.f_back
    return frame


def _inside_runner() -> bool:
    """Return whether this thread is inside a Kedro runner: a run that begins there is nested."""
    return _runner_frame() is not None


def _runner_call(otherwise: str | None) -> str | None:
    """Return the run id with which the runner was called that this thread is inside of, or ``otherwise`` outside of one."""
    frame = _runner_frame()
    return otherwise if frame is None else frame.f_locals.get("run_id")
