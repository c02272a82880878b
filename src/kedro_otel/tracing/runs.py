"""The pipeline runs of one process: which are open, whose child each is, and which of them a node belongs to."""

from __future__ import annotations

import sys
from functools import partial
from threading import RLock, get_ident
from typing import TYPE_CHECKING, Any, Final

from kedro_otel.facts import run_key
from kedro_otel.facts.clock import clock
from kedro_otel.semconv import names
from kedro_otel.tracing import attachment, errors, kedro_frames, node_usage
from kedro_otel.tracing.environment_carrier import EnvironmentCarrier
from kedro_otel.tracing.log_lines import LogLines
from kedro_otel.tracing.nodes import Nodes
from kedro_otel.tracing.run_nodes import ActiveNode, RunNodes
from kedro_otel.tracing.span import ActiveSpan

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping
    from pathlib import Path
    from types import FrameType

    from kedro_otel.facts.trace_context import Remote
    from kedro_otel.private.writer import PrivateWriter
    from kedro_otel.recording.worker_context import WorkerContextFile
    from kedro_otel.tracing.span import SpanWriter

_ONE_PROCESS: Final = frozenset({"SequentialRunner", "ThreadRunner"})
"""Runners that are known to start no worker process."""

SERVER: Final = "kedro server start"
"""A command that never belongs to what it runs: each request is a trace of its own."""


class ActiveRun(ActiveSpan):
    """A pipeline run between ``before_pipeline_run`` and whatever ends it.

    Where a runner is called without a session, hence without that hook, ``call`` says which call of the runner it is.
    """

    __slots__ = ("call", "family", "members", "params", "pipeline", "used")

    def __init__(
        self,
        name: str,
        parent: ActiveSpan | Remote | None,
        start_ns: int,
        run_id: str | None,
        catalog: Any,
    ) -> None:
        super().__init__(names.RUN, name, parent, start_ns)
        self.family = RunNodes(self, run_id, catalog)
        self.params: Any = None
        self.pipeline: Any = None
        self.call: tuple[int, Any] | None = None
        self.members: frozenset[int] | None = None
        self.used = node_usage.cpu()

    def has(self, node: Any) -> bool:
        """Return whether the Kedro node is of this run's pipeline."""
        if self.members is None:
            self.members = (
                frozenset(map(id, self.pipeline.nodes))
                if self.pipeline is not None
                else frozenset()
            )
        return id(node) in self.members

    def let_go(self) -> None:
        """Hold nothing of the user's any more: run and family refer to each other, so they stay until the garbage collector comes."""
        self.params = self.pipeline = self.members = self.family.catalog = None


class Runs:
    """The open runs and, in :attr:`nodes`, what is open in them.

    Args:
        scribe: Writes them down.
        root: The project's folder.
        environ: The environment.
        handoff: What is left for worker processes, and what this process has from its parent if it is one.
        contexts: Returns :mod:`kedro_otel.tracing.sdk.context`, having decided whose provider makes spans.
        command: Returns the command that is running, if there is one.
        private: The private file, which takes the log lines of the runs; None where nothing is kept.
        memory: How the highest memory of a node is found: the setting ``memory``.
    """

    def __init__(
        self,
        span_writer: SpanWriter,
        root: Path | None,
        environ: MutableMapping[str, str],
        handoff: WorkerContextFile,
        contexts: Callable[[], Any],
        command: Callable[[], ActiveSpan | None],
        private: PrivateWriter | None = None,
        memory: str = node_usage.AUTO,
    ) -> None:
        self.open: list[ActiveRun] = []
        self._span_writer = span_writer
        self._root = root
        self._environ = environ
        self._carrier = EnvironmentCarrier(environ)
        self._handoff = handoff
        self._contexts = contexts
        self._command = command
        self._lock = RLock()
        self.ended_well = False
        """Whether the run that ended last is known to have ended well."""
        self._families: dict[str, RunNodes] = {}
        self._private = private
        sends = span_writer.writer if span_writer.writer.facts.get("logs") else None
        self.logs = (
            LogLines(private, self._log_owner, sends)
            if private is not None or sends is not None
            else None
        )
        self.nodes = Nodes(
            span_writer, root, self._family_of, self._enter, self._leave, contexts, memory
        )

    def forked(self) -> Any:
        """Return what a fork child works for: the runs that are open here."""
        return self._handoff.forked()

    def close(self, error: BaseException | None) -> None:
        """The process ends: end what is open, as failed by ``error`` if there is one."""
        self.end_all(error)
        for family in self._families.values():
            self.nodes.close(family, None, None, failed=True)
        self._families.clear()
        if self.logs is not None:
            self.logs.end()
        self._handoff.remove()

    def began(
        self, name: str, values: dict[str, Any], params: Any, pipeline: Any, catalog: Any
    ) -> None:
        """A pipeline run begins in this thread."""
        context = self._contexts()
        self.end_stale()
        if not self.open and self._starts_a_trace():
            clock.set()
        now = clock.now()
        before = context.adopt_baggage(self._environ)
        run = ActiveRun(name, self._above(), now, values.get(names.RUN_ID), catalog)
        run.params, run.pipeline, run.family.left = params, pipeline, len(pipeline.nodes)
        self._open_run(run, values)
        run.previous = before
        if self._command() is None:  # whose end says more than that this call is over
            self._end_when_left(run, kedro_frames.of_session(params))
        if self._private is not None:
            self._private.pipeline(run.span_id, pipeline.nodes)

    def _starts_a_trace(self) -> bool:
        """Return whether no command has times by the clock that a run begun now must share."""
        command = self._command()
        return command is None or command.name == SERVER

    def _above(self) -> ActiveSpan | Remote | None:
        """Return the parent of a run that begins: somebody's span, the node that runs another pipeline, the command, or another process."""
        found: ActiveSpan | Remote | None = self._contexts().current()
        if isinstance(found, ActiveSpan) and kedro_frames.runner() is None:
            found = None  # left behind by an interruption
        command = self._command()
        if found is None and command is not None:
            return command if command.name != SERVER else None
        if found is not None and (isinstance(found, ActiveSpan) or self._contexts().recording()):
            return found
        # A context that an orchestrator merely passes on names a span that nobody may ever record.
        key = run_key.parent(self._environ, self._span_writer.writer.resource)
        return attachment.find() or self._incoming(command) or key or found

    def _incoming(self, command: ActiveSpan | None) -> Remote | None:
        """Return the parent that the environment names; what started this process may have been an earlier run, which is over."""
        found = self._carrier.incoming()
        if found is None or command is not None:
            return found
        from kedro_otel.recording import open_runs

        return None if open_runs.is_over(found) else found

    def _open_run(self, run: ActiveRun, values: dict[str, Any]) -> None:
        self._span_writer.begin(run, values)
        with self._lock:
            self.open.append(run)
            self._look_around()
        self._enter(run)
        self._hand_off()
        if self.logs is not None:
            self.logs.begin()

    def _look_around(self) -> None:
        """Note whether one run is all there is, for then every node is its."""
        self.nodes.only = (
            self.open[0].family if len(self.open) == 1 and self.open[0].call is None else None
        )

    def _hand_off(self) -> None:
        if (
            not self._span_writer.writer.on
        ):  # switched off or purged meanwhile: no file of ours comes back
            return
        strangers = any(
            run.values.get(names.RUNNER_NAME) not in _ONE_PROCESS
            for run in self.open
            if run.call is None
        )
        self._handoff.note(self.open, for_strangers=strangers)

    def ended(
        self, params: Any, error: BaseException | None = None, *, failed: bool = False
    ) -> None:
        """The run that began with ``params`` ended."""
        run = self._run_of(params)
        if run is not None:
            self._end_run(run, error, failed=failed)

    def end_all(self, error: BaseException | None) -> None:
        """End every run that is still open, innermost first: the process is leaving them, because of ``error`` if there is one."""
        for run in reversed(list(self.open)):
            self._end_run(run, error)

    def _end_run(
        self, run: ActiveRun, error: BaseException | None, *, failed: bool | None = None
    ) -> None:
        """End ``run``, of which a hook says whether it ``failed``; with None, only ``error`` does, if there is one."""
        unknown = failed is None and error is None
        failed = failed or error is not None
        with self._lock:
            if run not in self.open:
                return
            self.open.remove(run)
            self._look_around()
        failing = errors.node_of(error) if error is not None else None
        end_ns, why = 0, errors.facts(error, self._root) if failed else {}
        try:
            self.nodes.close(run.family, error, failing, failed=failed, unknown=unknown)
            self._leave(run)
            if unknown:
                # Nobody said when it ended or how: as its last node did.
                family = run.family
                failed, end_ns, why = family.failed, family.last_ns, family.why
                if not failed and not family.ended_well:
                    why = {names.OUTCOME: names.UNKNOWN}
            self.ended_well = not failed and names.OUTCOME not in why
            used = node_usage.of_run(run.used, run.family.peak)
            self._span_writer.finish(
                run, {**used, **why}, end_ns=end_ns, error=error, failed=failed
            )
        finally:
            run.let_go()
            self._hand_off()
            if self.logs is not None and not self.open:
                self.logs.end()

    def end_stale(self, why: BaseException | None = None) -> None:
        """End a run of this thread that was interrupted, where no hook fires, by ``why`` if that is known; one that calls another run goes on."""
        self._end_calls()
        thread = get_ident()
        stale = [run for run in self.open if run.thread == thread]
        if stale and kedro_frames.runner() is None:
            stale = [
                run
                for run in stale
                if run.params is None or kedro_frames.of_session(run.params) is None
            ]
            last = why or getattr(sys, "last_value", None)
            error = last if isinstance(last, KeyboardInterrupt | SystemExit) else None
            for run in reversed(stale):
                self._end_run(run, error)

    def _run_of(self, params: Any) -> ActiveRun | None:
        for run in reversed(self.open):
            if run.params is params:
                return run
        thread = get_ident()
        run_id = _run_id(params)
        for run in reversed(self.open):
            if run.thread == thread and run.family.run_id == run_id:
                return run
        return None

    def _family_of(self, node: Any, run_id: str | None, catalog: Any = None) -> RunNodes | None:
        """Return the run that ``node`` belongs to in this thread; None where only its run id or catalog, not known yet, can tell.

        Two runs that begin in one millisecond have one run id.
        """
        runs = self.open
        if all(run.call is not None for run in runs):
            return self._family_without_run(node, run_id)
        thread = get_ident()
        for run in reversed(runs):
            if run.thread == thread:
                return run.family
        here = self.nodes.here(node)
        if here is not None:
            return here
        candidates = [run for run in runs if run.has(node)] or runs
        if len(candidates) > 1:
            same = (
                [run for run in candidates if run.family.catalog is catalog]
                if catalog is not None
                else []
            )
            named = same or (
                [run for run in candidates if run.family.run_id == run_id]
                if run_id is not None
                else []
            )
            chosen = named or [run for run in candidates if run.family.busy(node, thread)]
            return chosen[0].family if chosen else None
        return candidates[0].family

    def _family_without_run(self, node: Any, run_id: str | None) -> RunNodes | None:
        """Return the run of another process that this worker works for, or a run of our own for a runner that is called without one."""
        known = run_id or kedro_frames.run_id()
        remote, inherited = attachment.find(known), self._handoff.inherited
        if remote is None and inherited is not None:
            remote = inherited.run(known)
        if remote is None:
            from kedro_otel.recording import open_runs

            remote = open_runs.find(known)
        if remote is None:
            return self._called(node, known) if inherited is None else None
        family = self._families.get(remote.span_id)
        if family is None:
            self._contexts().adopt_baggage(self._environ)
            family = self._families[remote.span_id] = RunNodes(remote, known)
            if self.logs is not None:
                self.logs.begin()
        return family

    def _called(self, node: Any, run_id: str | None) -> RunNodes:
        """Return the run that is this call of a runner without a session, or this task that a runner elsewhere started."""
        runner = kedro_frames.of_node(node)
        frame = runner or kedro_frames.of_task(node)
        call = kedro_frames.call(frame)
        self._contexts()  # which may take the recorder's lock, and that comes before this one
        with self._lock:
            for run in self.open:
                if run.call == call:
                    return run.family
            self._end_calls()
            run = ActiveRun("run", self._above(), clock.now(), run_id, None)
            run.call = call
            # No hook says when it is over, so it never becomes current: only its nodes do.
            key = run_key.attributes(self._environ, self._span_writer.writer.resource, sliced=False)
            if runner is None and run_id is not None:
                key[names.RUN_PART] = True
            self._span_writer.begin(run, {names.RUN_ID: run_id, **key})
            self.open.append(run)
            self._look_around()
            self._end_when_left(run, frame)
            if self.logs is not None:
                self.logs.begin()
            return run.family

    def _end_when_left(self, run: ActiveRun, frame: FrameType | None) -> None:
        """End ``run`` when the call that runs it is over, where no hook does: Ctrl-C, a runner without a session."""
        if frame is not None:
            kedro_frames.when_left(frame, partial(self._left, run))

    def _left(self, run: ActiveRun) -> None:
        if run in self.open and run.thread == get_ident():
            self._end_run(run, None)

    def _end_calls(self) -> None:
        """End the runs of runners that have returned since."""
        called = [run for run in self.open if run.call is not None]
        running = kedro_frames.running() if called else set()
        for run in called:
            if run.call not in running:
                self._end_run(run, None)

    def _log_owner(self) -> tuple[str, str, str] | None:
        """Return trace and span that are current in this thread, and the span of the node, or else run, whose log lines come now."""
        here = self._contexts().current()
        if type(here) is ActiveNode:  # most lines, without the walk up to it
            return here.trace_id, here.span_id, here.span_id
        owner: ActiveSpan | None = here if isinstance(here, ActiveSpan) else None
        while owner is not None and not isinstance(owner, ActiveNode):
            owner = owner.parent if isinstance(owner.parent, ActiveSpan) else None
        if owner is None:
            owner = self.nodes.of_thread() or (self.open[-1] if self.open else None)
        if owner is None:
            return None
        at = here if here is not None and here.trace_id == owner.trace_id else owner
        return at.trace_id, at.span_id, owner.span_id

    def _enter(self, operation: ActiveSpan) -> None:
        self._contexts().enter(operation)
        if self._alone(operation):
            self._carrier.name(operation)
        elif operation.kind == names.RUN:
            self._carrier.name(None)

    def _leave(self, operation: ActiveSpan) -> None:
        self._contexts().leave(operation)
        if isinstance(operation, ActiveNode) and operation.family.left > 0:
            return  # the next node names itself before anybody else's code runs
        if self._alone(operation):
            above = operation.parent
            while isinstance(above, ActiveSpan) and above.current is None:
                above = above.parent
            self._carrier.name(above if isinstance(above, ActiveSpan) else None)
        elif operation.kind == names.RUN:
            self._carrier.name(None)

    def _alone(self, operation: ActiveSpan) -> bool:
        """Return whether nothing else can be running beside ``operation``, so that the environment may name it."""
        return {run.thread for run in self.open} <= {operation.thread}


def _run_id(params: Any) -> str | None:
    if not isinstance(params, dict):
        return None
    found = params.get("run_id", params.get("session_id"))
    return None if found is None else str(found)
