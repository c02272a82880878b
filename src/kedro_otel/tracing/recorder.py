"""One process's recording: its command, its runs once there are any, and whose provider makes the spans of the user's code."""

from __future__ import annotations

import sys
from threading import RLock, get_ident
from typing import TYPE_CHECKING, Any

from kedro_otel.facts import run_key, trace_context
from kedro_otel.facts.clock import clock
from kedro_otel.guard import guarded
from kedro_otel.semconv import names
from kedro_otel.tracing import errors
from kedro_otel.tracing.span import ActiveSpan, SpanWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping, Sequence
    from pathlib import Path

    from kedro_otel.private.writer import PrivateWriter
    from kedro_otel.recording.worker_context import WorkerContext, WorkerContextFile
    from kedro_otel.recording.writer import Writer
    from kedro_otel.tracing.runs import Runs


class Recorder:
    """Hooks in, lines out, for one process and one project.

    Args:
        writer: The process's segment.
        root: The project's folder, or None outside of one.
        environ: The environment.
        detail: The detail in force; exception messages are recorded at ``full`` only.
        handoff: Makes what is left for worker processes, when a first run needs it.
        private: The file beside the segment, for what is never sent; None where nothing is kept.
        memory: How the highest memory of a node is found: the setting ``memory``.
    """

    def __init__(
        self,
        writer: Writer,
        root: Path | None,
        environ: MutableMapping[str, str],
        detail: str,
        handoff: Callable[[], WorkerContextFile],
        private: PrivateWriter | None = None,
        memory: str = "auto",
    ) -> None:
        self._memory = memory
        self.writer = writer
        self.root = root
        self.span_writer = SpanWriter(writer, environ, full=detail == names.FULL)
        self.private = self.span_writer.private = private
        self._typed: Sequence[str] = ()
        self.command: ActiveSpan | None = None
        self._outer: list[ActiveSpan] = []
        """Commands that run another one."""
        self._own_command = False
        self._offset_ns = 0
        """What the clock added when the outermost command began: a long one may see it set anew."""
        self._detail = detail
        self._environ = environ
        self._handoff = handoff
        self._lock = RLock()
        self._context: Any = None
        self._runs: Runs | None = None

    @property
    def runs(self) -> Runs:
        """The runs of this process; what is needed for them is imported with the first."""
        if self._runs is None:
            with self._lock:
                if self._runs is None:
                    from kedro_otel.tracing.runs import Runs

                    self._runs = Runs(
                        self.span_writer,
                        self.root,
                        self._environ,
                        self._handoff(),
                        self.contexts,
                        lambda: self.command,
                        self.private,
                        self._memory,
                    )
        return self._runs

    def run_began(
        self, name: str, values: dict[str, Any], params: Any, pipeline: Any, catalog: Any
    ) -> None:
        """A pipeline run begins: decide whose provider makes the spans of the user's code in it."""
        with self._lock:  # until it is open, lest the end of another one withdraws our provider
            self.contexts()
            self._look_for_provider()
            self._look_for_meters()
            self._install()
            self.runs.began(name, values, params, pipeline, catalog)

    def run_ended(self, params: Any, error: BaseException | None, *, failed: bool) -> None:
        """A pipeline run ended; after the last one OpenTelemetry is as we found it."""
        self.runs.ended(params, error, failed=failed)
        self._withdraw()

    @property
    def ran(self) -> bool:
        """Whether there was a run in this process."""
        return self._runs is not None

    @property
    def running(self) -> bool:
        """Whether a run is open."""
        return self._runs is not None and bool(self._runs.open)

    @property
    def idle(self) -> bool:
        """Whether neither a command nor a run is open."""
        return self.command is None and not self.running

    def interrupted(self, error: BaseException | None) -> None:
        """Nothing of this thread's runs is running any more; ``error`` is why, if it is known."""
        if self._runs is not None:
            self._runs.end_stale(error)
            self._withdraw()

    def forked(self) -> WorkerContext | None:
        """Return what a fork child works for, if a run was ever begun here."""
        return self._runs.forked() if self._runs is not None else None

    def abandon(self) -> None:
        """Close, in a fork child, what is the parent's, and write nothing to it."""
        self.writer.abandon()
        if self._runs is not None and self._runs.logs is not None:
            self._runs.logs.abandon()
        if self.private is not None:
            self.private.abandon()

    def end(self) -> None:
        """The process ends, or another project begins: close what is open, as failed by what ends the process if that is known."""
        error = getattr(sys, "last_value", None)
        if self._runs is not None:
            self._runs.close(error)
        while self.command is not None:
            # No hook said so: a command class of the project's own, or another plugin's hook raised.
            self._end_command(None if error is None else 1, error)
        if self.span_writer.live is not None:
            self.span_writer.live.flush_worker()

    def command_began(
        self,
        name: str,
        values: dict[str, Any],
        start_ns: int,
        *,
        own: bool,
        typed: Sequence[str] = (),
    ) -> ActiveSpan:
        """A command began at ``start_ns``, in another one or by itself.

        ``own`` says that it is one of the project's own cli.py, ``typed`` are its words, unmasked.
        """
        self._look_for_provider()
        self._look_for_meters()
        if self.command is not None:
            self._outer.append(self.command)
        else:
            self._offset_ns = clock.offset_ns
        parent = (
            self.command
            or trace_context.incoming(self._environ)
            or run_key.parent(self._environ, self.writer.resource)
        )
        self.command = ActiveSpan(names.COMMAND, name, parent, start_ns)
        self._own_command, self._typed = own, typed
        if self._runs is not None:
            self._runs.ended_well = False
        self._begin_command(values)
        return self.command

    def commands_returned(self, outer: int) -> None:
        """End the commands of this thread that returned and fired no hook.

        Kedro calls ``after_command_run`` for an exception only, and with ``standalone_mode=False``
        click raises none where all went well.

        Args:
            outer: How many commands of this thread are running, the one that begins aside.
        """
        mine = [one for one in (*self._outer, self.command) if one and one.thread == get_ident()]
        for command in reversed(mine[max(outer, 0) :]):
            self.command_returned(command)

    def command_returned(self, command: ActiveSpan) -> bool:
        """End ``command``, which returned, if it is the innermost one and open; return whether it was. Kedro tells of what raises."""
        if command is not self.command:
            return False
        self._end_command(None, None, well=True)
        return True

    def _begin_command(self, values: Mapping[str, Any]) -> None:
        command = self.command
        if command is not None:
            if command.parent is None:
                command.trace_id = ""
            self.span_writer.begin(command, values, own=self._own_command)
            if self.private is not None:
                self.private.command(command.span_id, self._typed)

    def command_ended(self, exit_code: object) -> None:
        """The command ended; what it left open (Ctrl-C, SystemExit) failed with what click is leaving for."""
        code = exit_code if isinstance(exit_code, int) else int(exit_code is not None)
        self._end_command(int(code), errors.behind(sys.exc_info()[1]))

    def terminated(self) -> None:
        """SIGTERM ends the process: end the commands, and what they left open, as failed by it."""
        error = errors.Terminated("SIGTERM ended the process")
        while self.command is not None:
            self._end_command(None, error)

    def _end_command(
        self, code: int | None, error: BaseException | None, *, well: bool = False
    ) -> None:
        """End the innermost command: by its exit ``code`` if that is known, else ``well``, or as its last run did."""
        terminated = isinstance(error, errors.Terminated)
        command, self.command = self.command, self._outer.pop() if self._outer else None
        if command is None:
            return
        if self._runs is not None and self.command is None:
            # What click leaves a command that went well for ended none of its runs, unless it came through a node.
            fails = code or terminated or (error is not None and errors.node_of(error))
            through = error if fails else None
            self._runs.end_all(through)
            self._withdraw()
        values: dict[str, Any] = {} if code is None else {names.EXIT_CODE: code}
        # Whoever read the output stopped reading, as `head` does: nothing tells that anything failed.
        run_failed = self._runs is not None and not self._runs.ended_well
        unheard = isinstance(error, BrokenPipeError) and not run_failed
        failed = (bool(code) or terminated) and not unheard
        if failed:
            values.update(errors.facts(error, self.root))
        elif unheard:
            values[names.OUTCOME], error = names.UNKNOWN, None
        elif code is None and not well and not (self._runs is not None and self._runs.ended_well):
            values[names.OUTCOME] = names.UNKNOWN
        end_ns = clock.now() - clock.offset_ns + self._offset_ns
        self.span_writer.finish(command, values, end_ns=end_ns, error=error, failed=failed)

    def contexts(self) -> Any:
        """Return the module that knows OpenTelemetry's context; with the first call, decide whose provider makes spans."""
        if self._context is None:
            with self._lock:
                if self._context is None:
                    from kedro_otel.tracing.sdk import context

                    self._look_for_provider()
                    self._look_for_meters()
                    self._install()
                    self._context = context
        return self._context

    def _install(self) -> None:
        if self.span_writer.live is None:
            from kedro_otel.tracing.sdk import provider

            provider.install(self.writer.resource, self._environ, self.foreign)

    def _withdraw(self) -> None:
        with self._lock:
            if self.span_writer.live is None and self._context is not None and not self.running:
                from kedro_otel.tracing.sdk import provider

                provider.withdraw()

    def _look_for_meters(self) -> None:
        """Measure with the user's MeterProvider, if nothing of this recording is counted elsewhere."""
        elsewhere = (
            self.span_writer.live is None and self.writer.facts.get("destination") is not None
        )
        if (
            "opentelemetry.metrics" not in sys.modules
            or self.span_writer.measure is not None
            or elsewhere
        ):
            return
        from kedro_otel.tracing.sdk import user_meters

        theirs = user_meters.of_user()
        if theirs is not None:
            self.span_writer.measure = user_meters.measure(theirs, self._detail)

    def _look_for_provider(self) -> None:
        if "opentelemetry.trace" not in sys.modules or self.span_writer.live is not None:
            return
        from kedro_otel.tracing.sdk import provider

        theirs = provider.of_user()
        if theirs is None:
            return
        from kedro_otel.tracing.sdk.user_provider import Live

        self.span_writer.live = Live(theirs, self.writer.resource)
        later = self._context is not None
        self.writer.owned_by_user(anew=later)
        if self.command is not None and not later:
            # The command began before anybody could know: it is recorded again, as the span that the user's provider makes.
            self.writer.drop(self.command.span_id)
            self._begin_command(self.command.values)

    @guarded
    def foreign(self, span: Any) -> None:
        """Record a finished span of the user's code, or of an instrumentation, that our provider made."""
        from kedro_otel.tracing.sdk.user_spans import line

        self.writer.span(names.FOREIGN, line(span, full=self.span_writer.full))
