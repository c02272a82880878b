"""Runs of other processes that this process works for, because somebody handed over a carrier."""

from __future__ import annotations

from threading import RLock, get_ident
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from kedro_otel.facts.trace_context import Remote


class Attachment(NamedTuple):
    """A run of another process, and the thread that attached to it."""

    remote: Remote
    run_id: str | None
    thread: int


_lock = RLock()
_attached: list[Attachment] = []


def attach(remote: Remote, run_id: str | None) -> Attachment:
    """Let the nodes of this thread belong to the run ``remote``, until :func:`detach`."""
    found = Attachment(remote, run_id, get_ident())
    with _lock:
        _attached.append(found)
    return found


def detach(attachment: Attachment) -> None:
    """Let them belong to it no more."""
    with _lock:
        for place in reversed(range(len(_attached))):
            if _attached[place] is attachment:
                del _attached[place]
                return


def find(run_id: str | None = None) -> Remote | None:
    """Return the run that this thread works for, or None.

    A thread that attached to nothing loads or saves for another one: the run called ``run_id`` is
    its, or the only one that there is.
    """
    if not _attached:
        return None
    with _lock:
        known = list(_attached)
    thread = get_ident()
    mine = [one for one in known if one.thread == thread]
    named = [one for one in known if run_id is not None and one.run_id == run_id]
    found = mine or named or (known if len({one.remote for one in known}) == 1 else [])
    return found[-1].remote if found else None
