"""The end by SIGTERM, at which no other code of ours runs: it is recorded, and delivered where the machine vanishes.

Only where the signal has its default effect a handler is set, and only for two kinds of commands. uvicorn, which serves
``kedro server``, shuts down in good order, puts the handler back that was there before, and raises the signal again. And where the
machine vanishes with its job, what is not delivered then never is. The handler lets the signal do in the end what it does without us.
"""

from __future__ import annotations

import os
import signal
from threading import current_thread, main_thread
from typing import TYPE_CHECKING

from kedro_otel import guard
from kedro_otel.runtime import shutdown
from kedro_otel.runtime.state import state
from kedro_otel.tracing.runs import SERVER

if TYPE_CHECKING:
    from types import FrameType


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


def _terminated(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    _end()
    os.kill(os.getpid(), number)


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
