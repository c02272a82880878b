"""Starts the detached shipper from the user's process, and waits for it where the machine may vanish.

Everything here is on the path of a ``kedro`` command: nothing heavy is imported, nothing waits on a network.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from kedro_otel import guard
from kedro_otel.config import consent, destination, paths, settings
from kedro_otel.recording.segment_file import move_up
from kedro_otel.shipping.process import interpreter, lock
from kedro_otel.shipping.process import spawn as process
from kedro_otel.shipping.process.environment import ephemeral, mode
from kedro_otel.shipping.process.spawn import GUARD
from kedro_otel.shipping.state import destination_paths

if TYPE_CHECKING:
    from pathlib import Path

    from kedro_otel.config.settings import Settings

__all__ = [
    "ephemeral",
    "is_ready",
    "mode",
    "print_hold_notice",
    "start",
    "start_notifier",
    "wait",
    "wait_for_notifier",
    "write_within",
]

_answers: list[int] = []
"""Descriptors on which processes that have something from memory to send say that they did."""

DELIVERED: Final = b"1"
"""What the process that ships a recording without a place writes on its stdout once the receiver has taken it."""

_LOOK: Final = 0.05
"""Seconds between two looks at whether the notifier has ended."""

UNTOLD: Final = "held"
"""Name of the note that nobody has read yet, in a destination's folder. No machine is in it: to find out which this is costs more than looking."""


def settings_taken_ns() -> int:
    """Return when the settings of this process were in force: for the detached one when it was started, else now (nanoseconds since 1970)."""
    said = os.environ.get(GUARD, "")
    return int(said) if said.isdecimal() else time.time_ns()


def start(reason: str, known: Settings | None = None) -> bool:
    """Start the detached shipper if there is where to ship, consent, and none that runs; return at once.

    Where no process can be started, what was recorded waits for the next time.

    Args:
        reason: "run", "end" or "exit", for whoever reads a list of processes.
        known: The settings in force, read again if they are not given.

    Returns whether a shipper is at work now.
    """
    if os.environ.get(GUARD) or not consent.decide(os.environ, None).enabled:
        return False
    known = known or settings.load(os.environ)
    target = destination.current(known)
    if target is None or known.value("ship") == "manual":
        return False
    return lock.held(destination_paths.of(target.id).lock) or spawn(reason)


def wait(deadline_s: float) -> str | None:
    """Wait until this process's recordings are delivered, at most ``deadline_s`` seconds and only while that advances.

    Returns the one line for stderr about what was left behind, or None.
    """
    from kedro_otel.shipping.process.flush import wait as waited

    return waited(deadline_s)


def print_hold_notice(target: str) -> None:
    """Tell a person at a terminal, once, that the receiver with this id takes nothing for now.

    Where there is nothing to tell, that costs one look at a file's place.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        return
    folder = paths.destinations() / target
    if os.path.lexists(folder / UNTOLD):
        from kedro_otel.shipping.state import hold_notice

        hold_notice.tell(folder)


def spawn(reason: str) -> bool:
    """Start a detached shipper, whatever runs already; return whether that was possible."""
    return _spawn("shipping.process.daemon", reason)


def start_notifier(known: Settings) -> None:
    """Start the process that posts notifications if a webhook is named and none runs; return at once."""
    if not known.value("notify") or os.environ.get(GUARD):
        return
    if consent.decide(os.environ, None).enabled and not lock.held(notifier_lock()):
        _spawn("runtime.notifier", "notify")


def wait_for_notifier(patience: float) -> None:
    """Wait until the notifier has ended, at most ``patience`` seconds."""
    end = time.monotonic() + patience
    while lock.held(notifier_lock()) and time.monotonic() < end:
        time.sleep(_LOOK)


def notifier_lock() -> Path:
    """Return the lock that the notifier holds."""
    return paths.notified().with_suffix(".lock")


def _spawn(module: str, reason: str) -> bool:
    home = paths.home()
    if not os.path.isdir(home):  # purged, or this process has another root now
        return False
    try:
        _start(module, reason, home)
    except OSError as error:
        guard.let_through(error)
        return False
    return True


def hand_over(data: bytes) -> str | None:
    """Give a recording that has no place to a detached process that sends it; do not wait for that.

    Returns the one line for stderr about what was lost, or None.
    """
    known = settings.load(os.environ)
    target = destination.current(known)
    if os.environ.get(GUARD) or target is None or not consent.decide(os.environ, None).enabled:
        return None
    try:
        _feed_detached(data, float(known.value("ship_timeout")))
    except OSError as error:
        guard.let_through(error)
        return _lost(target)
    return None


def wait_for_handed_over(patience: float) -> str | None:
    """Wait until what was handed over is delivered, at most ``patience`` seconds in all.

    Returns the one line for stderr about what was lost, or None.
    """
    end = time.monotonic() + patience
    delivered = True
    while _answers:
        answer = _answers.pop()
        ready = delivered and is_ready(answer, max(end - time.monotonic(), 0), to_read=True)
        delivered = ready and os.read(answer, 1) == DELIVERED
        os.close(answer)
    target = destination.current(settings.load(os.environ))
    return None if delivered or target is None else _lost(target)


def _lost(target: destination.Destination) -> str:
    return (
        f"kedro-otel: what ran did not reach {destination_paths.receiver(target)}, and there is "
        "no place here to keep it. Name one in KEDRO_OTEL_HOME"
    )


def _feed_detached(data: bytes, patience: float) -> None:
    """Feed ``data`` to a detached process, and keep the descriptor on which it will say that it was delivered."""
    for answer in [answer for answer in _answers if is_ready(answer, 0, to_read=True)]:
        _answers.remove(answer)
        os.close(answer)
    source, feed = map(move_up, os.pipe())
    answer, result = map(move_up, os.pipe())
    _answers.append(answer)
    try:
        try:
            _start(
                "shipping.process.stdin",
                "memory",
                os.path.abspath(os.sep),
                stdin=source,
                stdout=result,
            )
        finally:
            os.close(source)
            os.close(result)
        write_within(feed, data, patience)
    finally:
        os.close(feed)


def _start(module: str, reason: str, folder: Any, **streams: int) -> None:
    try:
        process.start(module, reason, folder, **streams)
    except interpreter.NotFoundError as error:
        interpreter.note_missing(str(error))
        raise
    interpreter.note_found()


def write_within(descriptor: int, data: bytes, patience: float) -> None:
    """Write ``data`` into a pipe. Raises TimeoutError where nobody reads it for ``patience`` seconds."""
    view = memoryview(data)
    if os.name != "nt":
        os.set_blocking(descriptor, False)
    while view:
        if not is_ready(descriptor, patience, to_read=False):
            raise TimeoutError("nobody reads it")
        view = view[os.write(descriptor, view) :]


def is_ready(descriptor: int, patience: float, *, to_read: bool) -> bool:
    """Wait until a pipe can be read or written, at most ``patience`` seconds; return whether it can."""
    if os.name == "nt":  # cannot tell: the read or write waits itself
        return True
    import select

    poll = select.poll()
    poll.register(descriptor, select.POLLIN if to_read else select.POLLOUT)
    return bool(poll.poll(patience * 1000))
