"""The end by SIGTERM, at which no other code of ours runs: it is recorded, and delivered where the machine vanishes.

Only where the signal has its default effect a handler is set, and only for two kinds of commands. uvicorn, which serves
``kedro server``, shuts down in good order, puts the handler back that was there before, and raises the signal again. And where the
machine vanishes with its job, what is not delivered then never is. The handler lets the signal do in the end what it does without us.
"""

from __future__ import annotations

import os
import signal
from threading import Timer, current_thread, main_thread
from typing import TYPE_CHECKING, Final

from kedro_otel import guard
from kedro_otel.runtime import shutdown
from kedro_otel.runtime.state import state
from kedro_otel.tracing.runs import SERVER

if TYPE_CHECKING:
    from types import FrameType


_MOMENT: Final = 0.005
"""Seconds after which the signal is raised again where it came while something was being recorded."""


def watch() -> None:
    """Record the end where SIGTERM comes, unless somebody handles or ignores it."""
    if os.name != "posix" or current_thread() is not main_thread() or os.getpid() == 1:
        return  # the first process of a container is not ended by SIGTERM
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminated)


def unwatch() -> None:
    """Give SIGTERM its default effect back, unless somebody handles it by now."""
    if signal.getsignal(signal.SIGTERM) is _terminated and current_thread() is main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminated(number: int, frame: FrameType | None) -> None:
    if state.recorder is not None and _is_ours(frame) and _again(number):
        return  # something is half recorded
    signal.signal(number, signal.SIG_DFL)
    _end()
    os.kill(os.getpid(), number)


def _is_ours(frame: FrameType | None) -> bool:
    """Return whether code of this package is running in ``frame`` or below it on the stack."""
    while frame is not None:
        if str(frame.f_globals.get("__name__")).startswith("kedro_otel."):
            return True
        frame = frame.f_back
    return False


def _again(number: int) -> bool:
    """Raise the signal once more in a moment; return whether that is possible."""
    timer = Timer(_MOMENT, os.kill, (os.getpid(), number))
    timer.daemon = True
    try:
        timer.start()
    except RuntimeError as error:  # the interpreter is ending
        guard.let_through(error)
        return False
    return True


@guard.guarded
def _end() -> None:
    recorder = state.recorder
    if recorder is None or recorder.command is None:
        return
    if recorder.command.name == SERVER and not recorder.running:
        recorder.command_returned(recorder.command)
    else:
        recorder.terminated()
    shutdown.ship("end")
    shutdown.at_exit()
