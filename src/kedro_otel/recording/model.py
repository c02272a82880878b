"""What a recording says, once read: operations, and the segment that they were found in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kedro_otel.semconv import names

if TYPE_CHECKING:
    from collections import Counter
    from pathlib import Path

SUFFIX: Final = ".jsonl"
PRIVATE_SUFFIX: Final = ".private"
"""Suffix of the file beside a segment that is never sent: :mod:`kedro_otel.private`."""

NEW: Final = ".new-"
"""Prefix of a segment that is being created: not locked yet, hence not to be judged by its lock."""

ENDED: Final = "ended"
OPEN: Final = "open"
DIED: Final = "died"
UNKNOWN: Final = "unknown"
"""States of an operation: it said how it ended; its process still runs; its process ended without a word; cannot be told."""


class Base64(str):
    """Bytes in an attribute, as base64 text, which every view can print."""

    __slots__ = ()


Value = str | int | float | bool | list[Any] | dict[str, Any]
"""Value of an attribute: a scalar, :class:`Base64`, a list or a map of such values and None."""


class SegmentError(Exception):
    """A file cannot be read as a segment; the message says which and why."""


class UnreadableError(SegmentError):
    """A file could not be read now, for a reason of the system's that may pass: it says nothing about the file."""


class NewerFormatError(SegmentError):
    """A segment of a format that only a newer version knows: it is left as it is."""


class Operation:
    """A command, run, node, dataset load or save, or a foreign span.

    Ids are lower-case hex, ``parent_id`` is empty at the root, times are nanoseconds since the epoch. ``end_ns`` is None while
    ``state`` is ``open`` or ``unknown``. ``offset`` is the number of the byte just past the line that closed the operation,
    and 0 where no line did. ``sampled`` is False where the user's sampler decided that the span is not sent.
    """

    __slots__ = (
        "attributes",
        "end_ns",
        "error",
        "events",
        "kind",
        "links",
        "name",
        "offset",
        "operation",
        "parent_id",
        "project_command",
        "sampled",
        "span_id",
        "start_ns",
        "state",
        "status_message",
        "trace_id",
        "trace_state",
    )

    def __init__(
        self,
        operation: str,
        trace_id: str,
        span_id: str,
        parent_id: str,
        name: str,
        start_ns: int,
        *,
        kind: int = 1,
        end_ns: int | None = None,
        attributes: dict[str, Value] | None = None,
        error: bool = False,
        status_message: str = "",
        state: str = OPEN,
        events: list[dict[str, Any]] | None = None,
        links: list[dict[str, Any]] | None = None,
        trace_state: str = "",
        project_command: bool = False,
        sampled: bool = True,
        offset: int = 0,
    ) -> None:
        """Make an operation that has only begun, unless told how it went."""
        self.operation = operation
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_id = parent_id
        self.name = name
        self.kind = kind
        self.start_ns = start_ns
        self.end_ns = end_ns
        self.attributes: dict[str, Value] = {} if attributes is None else attributes
        self.error = error
        self.status_message = status_message
        self.state = state
        self.events: list[dict[str, Any]] = [] if events is None else events
        self.links: list[dict[str, Any]] = [] if links is None else links
        self.trace_state = trace_state
        self.project_command = project_command
        self.sampled = sampled
        self.offset = offset

    @property
    def ok(self) -> bool:
        """Whether it is known to have ended well."""
        unknown = self.attributes.get(names.OUTCOME) == names.UNKNOWN
        return self.state == ENDED and not self.error and not unknown

    def __repr__(self) -> str:
        """Say what it is, for a debugger and a failing test."""
        return f"<{self.operation} {self.name!r} {self.state}{' error' if self.error else ''} {self.trace_id[:8]}/{self.span_id}>"


class Header(NamedTuple):
    """First line of a segment: who wrote it, where, and for whom.

    ``segment`` is what the segment is known by, whatever its file is called. ``locked`` is False where its folder has no
    locks. ``since_boot_ns`` is when it began, by a clock that nobody sets; 0 where an older version wrote it. ``generation``
    is that of the journal that was there then, "" where there was none.
    ``process_start`` tells the process from a later one with its ``pid``, where the system says when a process began.
    ``detail_from`` is "environment" where that named the detail. ``project`` is the id of the project's folder; ``root`` that folder
    itself, in what is kept in memory alone. ``logs`` is true where it may have lines of logs.
    """

    segment: str
    process: str
    sequence: int
    pid: int
    boot_id: str
    machine_id: str
    start_ns: int
    detail: str
    destination: str | None
    ephemeral: bool
    owner: str
    resource: dict[str, Value]
    locked: bool = True
    since_boot_ns: int = 0
    generation: str = ""
    process_start: str = ""
    detail_from: str = ""
    project: str = ""
    root: str = ""
    logs: bool = False


class Segment:
    """One file of one process, read as far as it is whole.

    ``operations`` are in the order in which they closed, those that did not close last. ``size`` is the number of bytes up to
    the last whole line, ``last_ns`` the latest time that any line tells. ``alive`` is None where it cannot be told. ``stopped`` says
    why the process recorded no more of what is open, in words of :data:`~kedro_otel.recording.segment_file.STOPPED`, and is empty otherwise. ``skipped``
    counts what could not be understood, ``lost`` what the writer says it dropped, both by reason.
    """

    __slots__ = (
        "alive",
        "continued",
        "header",
        "last_ns",
        "lost",
        "operations",
        "path",
        "size",
        "skipped",
        "stopped",
    )

    def __init__(
        self, path: Path, header: Header, skipped: Counter[str], lost: Counter[str]
    ) -> None:
        """Begin with a header and nothing else."""
        self.path = path
        self.header = header
        self.operations: list[Operation] = []
        self.size = 0
        self.last_ns = header.start_ns
        self.alive: bool | None = None
        self.continued = False
        self.stopped = ""
        self.skipped = skipped
        self.lost = lost
