"""What ran, told without reading a whole segment: only the lines of commands and runs are parsed, the others are passed over as bytes."""

from __future__ import annotations

import contextlib
import os
from itertools import islice
from typing import TYPE_CHECKING, Final

from kedro_otel import guard
from kedro_otel.recording import decoder, locking
from kedro_otel.recording.decoder import BadLineError
from kedro_otel.recording.model import SegmentError, UnreadableError
from kedro_otel.recording.reader import Follower, opened, settle

if TYPE_CHECKING:
    from pathlib import Path

    from kedro_otel.recording.model import Segment

_WANTED: Final = (
    b'{"start":"command"',
    b'{"start":"run"',
    b'{"end":"command"',
    b'{"end":"run"',
    b'{"drop"',
    b'{"owner"',
    b'{"continued"',
    b'{"lost"',
)
"""Lines that matter here. The writer spells a line's first key and word without a space, which the format promises."""

_PASSED: Final = (
    b'{"start":"node"',
    b'{"end":"node"',
    b'{"start":"dataset"',
    b'{"span":"dataset"',
    b'{"span":"foreign"',
)
"""Lines that do not, if they are whole: whatever begins otherwise, or has no end, is damage and counted."""

_LAST: Final = 20
"""Lines at the end among which the latest time is: not every line tells one, and some tell of a beginning."""


def glance(path: Path) -> Segment:
    """Return a segment of which ``operations`` has commands and runs only. Raises :class:`SegmentError`.

    The lock is asked, and ``last_ns`` is known, only where something is open; no offset is.
    """
    descriptor = opened(path)
    try:
        segment, size = _commands_and_runs(descriptor, path)
        if (
            not segment.alive and os.fstat(descriptor).st_size > size
        ):  # it grew between the reading and the asking, and then ended
            segment, _ = _commands_and_runs(descriptor, path)
    except OSError as error:
        guard.let_through(error)
        raise UnreadableError(f"{path.name}: {error.strerror or error}") from error
    finally:
        os.close(descriptor)
    return segment


def _commands_and_runs(descriptor: int, path: Path) -> tuple[Segment, int]:
    data = whole_file(descriptor)
    *whole, rest = data.split(b"\n")
    header, *lines = whole or [b""]
    follower = Follower(path)
    follower.take(header)
    for line in lines:
        if line.startswith(_WANTED) or not (
            line.startswith(_PASSED) and decoder.whole(line, checked=follower.checked)
        ):
            follower.take(line)
    segment = follower.known()
    if follower.open_operations() or rest:
        alive = locking.alive(descriptor, segment.header)
        settle(segment, descriptor, alive=alive, has_open=bool(follower.open_operations()))
        timed = (line for line in reversed(lines) if not line.startswith(decoder.LOG))
        for line in islice(timed, _LAST):
            with contextlib.suppress(BadLineError):
                segment.last_ns = max(segment.last_ns, decoder.when(decoder.parse(line)))
    if rest and not segment.alive:
        segment.skipped["torn"] = 1
    segment.size = data.rfind(b"\n") + 1
    follower.close()
    return segment, len(data)


def mentions(path: Path, trace_id: str) -> bool:
    """Return whether a segment holds operations of the trace; False where it cannot be read."""
    try:
        descriptor = opened(path)
    except SegmentError:
        return False
    try:
        return f'"traceId":"{trace_id}'.encode() in whole_file(descriptor)
    except OSError as error:
        guard.let_through(error)
        return False
    finally:
        os.close(descriptor)


def whole_file(descriptor: int) -> bytes:
    """Return all bytes of an open segment. Raises OSError."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        return file.readall()
