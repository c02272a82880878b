"""Which call of a Kedro runner is running: read from the stack, since no hook has it.

A frame that keeps itself, or one above it, in a variable stays until the garbage collector comes, and with it all that the
user's run holds. So no variable here outlives its function with a frame of its own thread in it.
"""

from __future__ import annotations

import sys
from threading import get_ident
from typing import TYPE_CHECKING, Any

from kedro_otel.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_RUNNER = "kedro.runner.runner"
_TASK = "kedro.runner.task"
_SESSION = "kedro.framework.session.session"

Call = tuple[int, Any]
"""One call of a runner: its frame's identity, and when it began, for a later frame may be at the same place."""


def runner() -> FrameType | None:
    """Return the innermost frame of a runner's ``run`` that this thread is inside of, or None; a run that begins there is nested."""
    return _innermost(sys._getframe(1))  # noqa: SLF001 -- see above


def of_session(params: Any) -> FrameType | None:
    """Return the frame of the session's run that has ``params``, if this thread is inside of it: its hooks may run another session's."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 -- see above
    while frame is not None:
        if (
            frame.f_code.co_name == "run"
            and frame.f_globals.get("__name__") == _SESSION
            and any(value is params for value in frame.f_locals.values())
        ):
            return frame
        frame = frame.f_back
    return None


class _Leaving:
    """Goes when the frame goes that it was put into, and calls a function then."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function

    @guarded
    def __del__(self) -> None:
        self._function()


def when_left(frame: FrameType, function: Callable[[], None]) -> None:
    """Have ``function`` called when ``frame`` has returned or raised, and nothing holds it any more.

    Whoever catches an error holds the frames that it passed through, until the error is let go.
    """
    frame.f_locals[_Leaving.__name__] = _Leaving(function)


def run_id() -> str | None:
    """Return Kedro's id of the run that this process works for, as its innermost runner or task knows it.

    A forked worker has the frames of its parent below its own.
    """
    for innermost in (sys._getframe(1), *_others()):  # noqa: SLF001 -- see above
        frame: FrameType | None = innermost
        while frame is not None:
            found = None
            if _is_runner(frame):
                found = frame.f_locals.get("run_id")
            elif _is_task(frame):
                found = getattr(frame.f_locals.get("self"), "run_id", None)
            if found is not None:
                return str(found)
            frame = frame.f_back
    return None


def of_node(node: Any) -> FrameType | None:
    """Return the frame of the runner that runs the Kedro ``node``: of this thread, or, in a runner's own threads, of the one that waits for them."""
    here = runner()
    if here is not None:
        return here
    runners = (_innermost(frame) for frame in _others())
    return next(
        (
            found
            for found in runners
            if found is not None and any(node is one for one in found.f_locals["pipeline"].nodes)
        ),
        None,
    )


def of_task(node: Any) -> FrameType | None:
    """Return the frame that executes the Kedro ``node`` as a task that no runner of this process started."""
    for frame in (sys._getframe(1), *_others()):  # noqa: SLF001 -- see above
        task = _task(frame)
        if task is not None and getattr(task.f_locals.get("self"), "node", None) is node:
            return task
    return None


def execute(node: Any, *threads: int) -> bool:
    """Return whether each of ``threads`` is executing the Kedro ``node``, so that these are several executions."""
    frames = sys._current_frames()  # noqa: SLF001 -- see above
    return all(_executes(frames.get(thread), node) for thread in threads)


def _executes(frame: FrameType | None, node: Any) -> bool:
    task = _task(frame)
    return task is not None and getattr(task.f_locals.get("self"), "node", None) is node


def call(frame: FrameType | None) -> Call:
    """Return which call ``frame`` is; what none is found for counts as one call."""
    return (0, None) if frame is None else (id(frame), frame.f_locals.get("start_time"))


def running() -> set[Call]:
    """Return the calls that have not returned, of all threads."""
    found = set()
    for frame in (sys._getframe(1), *_others()):  # noqa: SLF001 -- see above
        found |= _calls(frame)
        task = _task(frame)
        if task is not None:
            found.add(call(task))
    return found


def _others() -> list[FrameType]:
    """Return the innermost frame of each other thread."""
    frames = sys._current_frames()  # noqa: SLF001 -- the only way to see them
    del frames[get_ident()]
    return list(frames.values())


def _calls(frame: FrameType | None) -> set[Call]:
    """Return the calls among ``frame`` and those below it on the stack."""
    found = set()
    frame = _innermost(frame)
    while frame is not None:
        found.add(call(frame))
        frame = _innermost(frame.f_back)
    return found


def _innermost(frame: FrameType | None) -> FrameType | None:
    while frame is not None and not _is_runner(frame):
        frame = frame.f_back
    return frame


def _task(frame: FrameType | None) -> FrameType | None:
    """Return the frame of the task that is executed in ``frame`` or below it on the stack."""
    while frame is not None and not _is_task(frame):
        frame = frame.f_back
    return frame


def _is_runner(frame: FrameType) -> bool:
    return frame.f_code.co_name == "run" and frame.f_globals.get("__name__") == _RUNNER


def _is_task(frame: FrameType) -> bool:
    return frame.f_code.co_name == "execute" and frame.f_globals.get("__name__") == _TASK
