"""Which run is open in another process, and whether one that the environment names is over: the recordings tell.

A worker that nobody handed anything knows Kedro's ``run_id`` alone, and an environment that it inherited from whatever
started it, which may have been an earlier run.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from kedro_otel import guard
from kedro_otel.config import paths
from kedro_otel.facts.trace_context import Remote
from kedro_otel.recording import reader, scan
from kedro_otel.recording.model import OPEN, UNKNOWN, SegmentError
from kedro_otel.semconv import names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kedro_otel.recording.model import Operation

_LOOKED_AT: Final = 64
"""Recordings that are looked at, those that were written last: a run that is open is among them."""

_known: dict[str, Remote | None] = {}


def find(run_id: str | None) -> Remote | None:
    """Return the open run with this ``run_id`` of Kedro's, None where there is none or more than one.

    The answer stays: a run begins before its workers hear of it.
    """
    if not run_id:
        return None
    if run_id not in _known:
        _known[run_id] = _find(run_id)
    return _known[run_id]


def is_over(remote: Remote) -> bool:
    """Return whether ``remote`` is a span of this home whose command or run has ended, or died."""
    mentioned = list(_mentioning(remote.trace_id.encode()))
    recorded = f'"spanId":"{remote.span_id}","parentSpanId"'.encode()
    if not any(recorded in data for _, data in mentioned):
        return False
    return not any(
        one.trace_id == remote.trace_id for path, _ in mentioned for one in _open_in(path)
    )


def _find(run_id: str) -> Remote | None:
    found = {
        Remote(one.trace_id, one.span_id, one.sampled, one.trace_state)
        for path, _ in _mentioning(run_id.encode())
        for one in _open_in(path)
        if one.attributes.get(names.RUN_ID) == run_id
    }
    return found.pop() if len(found) == 1 else None


def _mentioning(word: bytes) -> Iterator[tuple[Path, bytes]]:
    """Yield the recordings that have ``word`` in them, with their bytes."""
    with guard.suppress(OSError):
        listing = sorted(reader.listing(paths.recordings()), key=lambda one: -one[1].st_mtime_ns)
        for path, _ in islice(listing, _LOOKED_AT):
            with guard.suppress(OSError):
                data = path.read_bytes()
                if word in data:
                    yield path, data


def _open_in(path: Path) -> list[Operation]:
    """Return the commands and runs of a recording that have not ended, as far as can be told."""
    try:
        segment = scan.glance(path)
    except SegmentError as error:
        guard.let_through(error)
        return []
    return [one for one in segment.operations if one.state in (OPEN, UNKNOWN)]
