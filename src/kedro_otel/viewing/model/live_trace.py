"""A trace while it is being recorded: its segments are read on as they grow, and new processes join as they appear."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from kedro_otel.recording.model import OPEN, SegmentError
from kedro_otel.recording.reader import Follower, listing
from kedro_otel.viewing.model.find import newest_first
from kedro_otel.viewing.model.trace import assemble

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kedro_otel.recording.model import Segment
    from kedro_otel.viewing.model.find import Entry
    from kedro_otel.viewing.model.scope import Scope
    from kedro_otel.viewing.model.trace import Trace

_LOOKED_AT: Final = 100
"""Entries among which a run that is alive is looked for: a run that began before so many others have is hardly waited for."""


class Live:
    """The trace of an entry, read on at each :meth:`look`."""

    def __init__(self, entry: Entry, folder: Path | None = None) -> None:
        """Read nothing yet."""
        self._entry = entry
        self._folder = folder
        self._followers = {entry.segment.path: Follower(entry.segment.path)}

    def look(self) -> Trace:
        """Return the trace as it is now. Raises :class:`kedro_otel.viewing.model.find.NotFoundError` where its recording has been removed."""
        for path, _ in listing(self._folder, self._entry.outermost.start_ns):
            if path not in self._followers:
                self._followers[path] = Follower(path)
        segments = [
            segment for segment in map(_read_on, self._followers.values()) if segment is not None
        ]
        return assemble(segments, self._entry.operation, time.time_ns())


def _read_on(follower: Follower) -> Segment | None:
    """Return a segment as it is now; None where it is just being made, or being removed."""
    try:
        if follower.segment is None or follower.segment.alive is not False:
            follower.poll()
        return follower.snapshot()
    except SegmentError:
        return None


def over(trace: Trace) -> bool:
    """Return whether nothing more is to come of what was followed."""
    return trace.root.operation.state != OPEN


def running(folder: Path | None = None, scope: Scope | None = None) -> list[Entry]:
    """Return the pipeline runs that are alive, the newest first."""
    found = []
    for number, entry in enumerate(newest_first(folder, scope)):
        if entry.run is not None and entry.run.state == OPEN and entry.segment.alive:
            found.append(entry)
        if number >= _LOOKED_AT:
            break
    return found


def coming(
    since_ns: int, every: float, folder: Path | None = None, scope: Scope | None = None
) -> Iterator[Entry | None]:
    """Yield None every so many seconds, until a pipeline run has begun since a time; then yield that, and end."""
    while True:
        for entry in newest_first(folder, scope):
            if entry.operation.start_ns < since_ns:
                break
            if entry.run is not None:
                yield entry
                return
        yield None
        time.sleep(every)
