"""A run as it grows: all that is known of its nodes, then what changes, soon after each line is written."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from kedro_otel import guard
from kedro_otel.config import paths
from kedro_otel.recording.model import OPEN, SegmentError
from kedro_otel.recording.reader import Follower, listing
from kedro_otel.semconv import names
from kedro_otel.viewing.model import outcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kedro_otel.recording.model import Operation
    from kedro_otel.viewing.index import Run

_EVERY_S: Final = 0.08
"""Seconds between two looks at the files' sizes."""

_ASK_S: Final = 1.0
"""Seconds after which a file that does not grow is asked whether its process lives."""


_PASSED: Final = (b'{"span":', b'{"start":"dataset"')


class _NodesOnly(Follower):
    """Reads on without what no line on the screen is for: loads, saves and the user's own spans."""

    def take(self, line: bytes, offset: int = 0) -> None:
        """Take in one line, unless it is of a load, a save or a span."""
        if not line.startswith(_PASSED):
            super().take(line, offset)


class Watch:
    """The nodes of one run, in all files that its processes write."""

    def __init__(self, run: Run) -> None:
        """Read nothing yet."""
        self._span_id = run.span_id
        self._trace_id = run.known["trace_id"]
        self._total = run.known["nodes"]
        self._begin = run.start_ns
        self._since = run.known["begin_ns"]
        path = paths.recordings() / run.segment
        self._followers: dict[Path, Follower] = {path: _NodesOnly(path)}
        self._sizes: dict[Path, int] = {}
        self._asked = 0.0
        self._told: dict[str, str] = {}
        self._outcome = ""
        self._end: int | None = None

    def changes(self) -> Iterator[dict[str, Any]]:
        """Yield all nodes, then every so often those that began or ended, or nothing but the time; end with the run."""
        while True:
            nodes = self._look()
            yield {
                "total": self._total,
                "now": ((self._end or time.time_ns()) - self._begin) / 1e3,
                "nodes": nodes,
                "outcome": self._outcome,
            }
            if self._outcome:
                return
            time.sleep(_EVERY_S)

    def _look(self) -> list[list[Any]]:
        """Return the nodes that changed: id, name, start and duration in microseconds, outcome."""
        found = listing(None, self._since)
        ask = time.monotonic() - self._asked > _ASK_S
        if ask:
            self._asked = time.monotonic()
        sizes = {path: known.st_size for path, known in found}
        changed: list[list[Any]] = []
        for path in sizes:
            if path not in self._followers:
                self._followers[path] = _NodesOnly(path)
        for path, follower in self._followers.items():
            size = sizes.get(path, 0)
            if not ask and self._sizes.get(path) == size:
                continue
            self._sizes[path] = size
            try:
                changed += self._read(follower)
            except SegmentError as error:
                guard.let_through(error)
                if path not in sizes and follower.segment is not None and not self._outcome:
                    self._outcome = outcome.UNCLEAR  # its recording was removed
        return changed

    def _read(self, follower: Follower) -> list[list[Any]]:
        if follower.segment is not None and follower.segment.alive is False:
            follower.poll()
            return []
        operations = [*follower.poll(), *follower.open_operations()]
        if follower.known().alive is False:
            operations = follower.snapshot().operations
        mine = [one for one in operations if one.trace_id == self._trace_id]
        for one in mine:
            if one.span_id == self._span_id and one.state != OPEN:
                self._outcome, self._end = outcome.word(one), one.end_ns
        return [
            self._row(one)
            for one in mine
            if one.operation == names.NODE and self._told.get(one.span_id) != one.state
        ]

    def _row(self, one: Operation) -> list[Any]:
        self._told[one.span_id] = one.state
        took = None if one.end_ns is None else (one.end_ns - one.start_ns) / 1e3
        name = str(one.attributes.get(names.NODE_NAME) or one.name)
        return [one.span_id, name, (one.start_ns - self._begin) / 1e3, took, outcome.word(one)]
