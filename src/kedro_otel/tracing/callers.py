"""Which call of a Kedro runner is running: read from the stack, for nothing else tells."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

Call = tuple[int, Any]
"""One call of a runner: its frame's identity, and when it began, for a later frame may be at the same place."""


def runner() -> FrameType | None:
    """Return the innermost frame of a runner's ``run`` that this thread is inside of, or None; a run that begins there is nested."""
    return _innermost(sys._getframe(1))  # noqa: SLF001 -- see above


def of_node(node: Any) -> FrameType | None:
    """Return the frame of the runner that runs the Kedro ``node``: of this thread, or, in a runner's own threads, of the one that waits for them."""
    here = runner()
    if here is not None:
        return here
    for frame in sys._current_frames().values():  # noqa: SLF001 -- see above
        found = _innermost(frame)
        if found is not None and any(node is one for one in found.f_locals["pipeline"].nodes):
            return found
    return None


def call(frame: FrameType | None) -> Call:
    """Return which call ``frame`` is; what none is found for counts as one call."""
    return (0, None) if frame is None else (id(frame), frame.f_locals.get("start_time"))


def running() -> set[Call]:
    """Return the calls that have not returned, of all threads."""
    found = set()
    for top in sys._current_frames().values():  # noqa: SLF001 -- see above
        frame = _innermost(top)
        while frame is not None:
            found.add(call(frame))
            frame = _innermost(frame.f_back)
    return found


def _innermost(frame: FrameType | None) -> FrameType | None:
    while frame is not None and not (frame.f_code.co_name == "run" and frame.f_globals.get("__name__") == "kedro.runner.runner"):
        frame = frame.f_back
    return frame
