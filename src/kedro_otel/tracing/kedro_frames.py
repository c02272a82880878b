"""Which call of a Kedro runner is running: read from the stack, for nothing else tells.

A frame that keeps itself, or one above it, in a variable stays until the garbage collector comes, and with it all that the
user's run holds. So no variable here outlives its function with a frame of its own thread in it.
"""

from __future__ import annotations

import sys
from threading import get_ident
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

_TASK = "kedro.runner.task"
_SESSION = "kedro.framework.session.session"

Call = tuple[int, Any]
"""One call of a runner: its frame's identity, and when it began, for a later frame may be at the same place."""


def runner() -> FrameType | None:
    """Return the innermost frame of a runner's ``run`` that this thread is inside of, or None; a run that begins there is nested."""
    return _innermost(sys._getframe(1))  # noqa: SLF001 -- see above


def in_session(params: Any) -> bool:
    """Return whether this thread is inside of the session's run that has ``params``: its hooks may run another session's."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 -- see above
    while frame is not None:
        if (
            frame.f_code.co_name == "run"
            and frame.f_globals.get("__name__") == _SESSION
            and any(value is params for value in frame.f_locals.values())
        ):
            return True
        frame = frame.f_back
    return False


def of_node(node: Any) -> FrameType | None:
    """Return the frame of the runner that runs the Kedro ``node``: of this thread, or, in a runner's own threads, of the one that waits for them."""
    here = runner()
    if here is not None:
        return here
    others = [frame for thread, frame in sys._current_frames().items() if thread != get_ident()]  # noqa: SLF001 -- see above
    runners = (_innermost(frame) for frame in others)
    return next(
        (
            found
            for found in runners
            if found is not None and any(node is one for one in found.f_locals["pipeline"].nodes)
        ),
        None,
    )


def execute(node: Any, *threads: int) -> bool:
    """Return whether each of ``threads`` is executing the Kedro ``node``, so that these are several executions."""
    frames = sys._current_frames()  # noqa: SLF001 -- see above
    return all(_executes(frames.get(thread), node) for thread in threads)


def _executes(frame: FrameType | None, node: Any) -> bool:
    while frame is not None:
        if frame.f_code.co_name == "execute" and frame.f_globals.get("__name__") == _TASK:
            return getattr(frame.f_locals.get("self"), "node", None) is node
        frame = frame.f_back
    return False


def call(frame: FrameType | None) -> Call:
    """Return which call ``frame`` is; what none is found for counts as one call."""
    return (0, None) if frame is None else (id(frame), frame.f_locals.get("start_time"))


def running() -> set[Call]:
    """Return the calls that have not returned, of all threads."""
    others = [
        _calls(frame)
        for thread, frame in sys._current_frames().items()  # noqa: SLF001 -- the only way to see them
        if thread != get_ident()
    ]
    return _calls(sys._getframe(1)).union(*others)  # noqa: SLF001 -- see above


def _calls(frame: FrameType | None) -> set[Call]:
    """Return the calls among ``frame`` and those below it on the stack."""
    found = set()
    frame = _innermost(frame)
    while frame is not None:
        found.add(call(frame))
        frame = _innermost(frame.f_back)
    return found


def _innermost(frame: FrameType | None) -> FrameType | None:
    while frame is not None and not (
        frame.f_code.co_name == "run" and frame.f_globals.get("__name__") == "kedro.runner.runner"
    ):
        frame = frame.f_back
    return frame
