"""A command begins and ends."""

from __future__ import annotations

import os
import sys
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final

from kedro_otel import guard
from kedro_otel.runtime import setup
from kedro_otel.runtime.state import state

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from kedro_otel.tracing.recorder import Recorder
    from kedro_otel.tracing.span import ActiveSpan

_KEDRO_CLI: Final = "kedro.framework.cli.cli"
_SERVER: Final = "server start"
COMPLETE: Final = "_KEDRO_COMPLETE"
"""Set by a shell that asks ``kedro`` to complete a word: somebody presses a key, and runs no command."""


def began(metadata: Any, args: Sequence[str]) -> None:
    """``before_command_run``: ``metadata`` is Kedro's of the project, or None outside of one."""
    if list(args[:1]) == ["otel"] or COMPLETE in os.environ:
        state.decided = True
        return
    recorder = setup.decide(
        metadata.project_path if metadata else None, metadata.package_name if metadata else None
    )
    if recorder is None:
        return
    from kedro_otel.facts import masking
    from kedro_otel.facts.clock import clock
    from kedro_otel.semconv import names

    mains = _mains()
    # No hook hands the running KedroCLI over, and a second one would import all commands again.
    cli = mains[0].f_locals.get("self") if mains else None
    masked = masking.mask(cli, args, partial(_is_own, metadata))
    words = ["kedro", *masked.words]
    values: dict[str, Any] = {
        names.COMMAND_NAME: masked.name,
        names.COMMAND_LINE: " ".join(words),
        names.COMMAND_ARGS: words,
        names.EXECUTABLE_NAME: "kedro",
        names.PID: os.getpid(),
    }
    if recorder.writer.resource.get(names.CI):
        from kedro_otel.facts import links

        values[names.CI_RUN_URL] = links.ci_run(os.environ)
    state.commands += 1
    recorder.commands_returned(len(mains) - 1)
    if recorder.idle:
        clock.set()
    # What another program calls, such as a test through click's CliRunner, began with that call.
    is_process = state.commands == 1 and list(args) == sys.argv[1:]
    start_ns = clock.process_start() if is_process else clock.now()
    if masked.name == _SERVER or recorder.writer.facts.get("ephemeral"):
        from kedro_otel.runtime import termination

        termination.watch()
    span = recorder.command_began(
        f"kedro {masked.name}".rstrip(), values, start_ns, own=masked.own, typed=args
    )
    if (
        mains and mains[0].f_globals.get("__name__") == _KEDRO_CLI
    ):  # Kedro's own tells of each way to end but a return
        mains[0].f_locals[_Return.__name__] = _Return(recorder, span)


class _Return:
    """Goes when the ``main`` of a command returns, of which Kedro tells only where it raises.

    With ``standalone_mode=False`` a command returns. Nothing else holds this than that call's frame.
    """

    def __init__(self, recorder: Recorder, span: ActiveSpan) -> None:
        self._recorder, self._span = recorder, span

    @guard.guarded
    def __del__(self) -> None:
        mine = state.recorder is self._recorder and self._span.thread == get_ident()
        if mine and self._recorder.command_returned(self._span):
            from kedro_otel.runtime import shutdown

            shutdown.ship("end")


def ended(exit_code: object) -> None:
    """``after_command_run``."""
    recorder = state.recorder
    if recorder is None or recorder.command is None:
        return
    from kedro_otel.runtime import shutdown

    trace_id = recorder.command.trace_id if recorder.command.sampled else ""
    recorder.command_ended(exit_code)
    shutdown.ship("end")
    if termination := sys.modules.get("kedro_otel.runtime.termination"):
        termination.unwatch()
    if recorder.ran and state.settings is not None and state.settings.value("trace_url"):
        from kedro_otel.viewing import trace_link

        trace_link.tell(
            state.settings, trace_id, recorder.writer.facts.get("destination"), everywhere=False
        )
    shutdown.notice()


def _is_main(frame: FrameType) -> bool:
    """Return whether ``frame`` is a ``main`` of Kedro's command class, or of a project's that derives from it."""
    if frame.f_code.co_name != "main":
        return False
    if frame.f_globals.get("__name__") == _KEDRO_CLI:
        return True
    kind = getattr(sys.modules.get(_KEDRO_CLI), "KedroCLI", None)
    return kind is not None and isinstance(frame.f_locals.get("self"), kind)


def _mains() -> list[FrameType]:
    """Return the innermost ``main`` of each command that this thread is inside of, innermost command first."""
    found: list[FrameType] = []
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 -- no hook hands it over
    within = False
    while frame is not None:
        is_main = _is_main(frame)
        if is_main and not within:  # a main that calls the one it overrides is one command
            found.append(frame)
        within = is_main
        frame = frame.f_back
    return found


def _is_own(metadata: Any, command: Any, name: str) -> bool:
    if metadata is None:
        return False
    from kedro_otel.facts import own_commands

    return own_commands.is_own(command, name, metadata.package_name, metadata.project_path)
