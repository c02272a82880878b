"""One run in a few words: for a line of ``kedro otel list``, for its filters, and for its JSON."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kedro_otel.semconv import names
from kedro_otel.viewing.model import outcome
from kedro_otel.viewing.text import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kedro_otel.recording.model import Header
    from kedro_otel.viewing.model.find import Entry

_AGO: Final = re.compile(r"(\d{1,6})\s*([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Summary(NamedTuple):
    """What a line says. ``number`` is -1 for the last pipeline run, None for a command that ran none."""

    number: int | None
    outcome: str
    start_ns: int
    duration_ns: int
    trace_id: str
    run_id: str
    command: str
    pipeline: str
    runner: str
    environment: str
    nodes: int | None
    error_type: str
    error_where: str
    project: str
    header: Header

    def plain(self) -> dict[str, Any]:
        """Return it for JSON: durations in seconds, times in ISO 8601; None where it is not known."""
        return {
            "run": self.number,
            "outcome": self.outcome,
            "start": timestamp(self.start_ns),
            "duration_seconds": self.duration_ns / 1e9,
            "trace_id": self.trace_id,
            "run_id": self.run_id or None,
            "command": self.command or None,
            "pipeline": self.pipeline or None,
            "runner": self.runner or None,
            "environment": self.environment or None,
            "nodes": self.nodes,
            "error_type": self.error_type or None,
            "error_where": self.error_where or None,
            "project": self.project or None,
            "pid": self.header.pid,
        }


def summaries(entries: Iterable[Entry], now_ns: int) -> Iterator[Summary]:
    """Yield a summary of each entry, numbering pipeline runs from -1 downwards."""
    number = 0
    for entry in entries:
        number -= entry.run is not None
        yield summary(entry, number if entry.run else None, now_ns)


def summary(entry: Entry, number: int | None, now_ns: int) -> Summary:
    """Return what is known of an entry from its command and run alone."""
    operation = entry.operation
    run = entry.run.attributes if entry.run else {}
    nodes = run.get(names.RUN_NODES)
    end = (
        operation.end_ns
        if operation.end_ns is not None
        else now_ns
        if entry.segment.alive
        else entry.segment.last_ns
    )
    file, line = (
        operation.attributes.get(names.ERROR_FILE),
        operation.attributes.get(names.ERROR_LINE),
    )
    return Summary(
        number=number,
        outcome=outcome.word(operation)
        if operation.state != "open" or entry.segment.alive
        else outcome.UNCLEAR,
        start_ns=operation.start_ns,
        duration_ns=max(end - operation.start_ns, 0),
        trace_id=operation.trace_id,
        run_id=entry.run_id,
        command=outcome.title(entry.command) if entry.command else "",
        pipeline=str(run.get(names.PIPELINE_NAME, "")),
        runner=str(run.get(names.RUNNER_NAME, "")),
        environment=str(run.get(names.ENVIRONMENT_NAME, "")),
        nodes=nodes if isinstance(nodes, int) else None,
        error_type=str(operation.attributes.get(names.ERROR_TYPE, "")) if operation.error else "",
        error_where=f"{file}:{line}" if file and line and operation.error else "",
        project=str(entry.segment.header.resource.get(names.PROJECT_NAME, "")),
        header=entry.segment.header,
    )


def since(text: str, now_ns: int) -> int:
    """Return the time meant, in nanoseconds since the epoch: ``30m``, ``2h``, ``3d``, ``1w`` ago, ``today``, or a local date and time.

    Raises :class:`ValueError` for anything else.
    """
    now = datetime.fromtimestamp(now_ns / 1e9).astimezone()
    ago = _AGO.fullmatch(text.strip().lower())
    try:
        if ago:
            then = now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        elif text in ("today", "yesterday"):
            then = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(
                days=text == "yesterday"
            )
        else:
            then = datetime.fromisoformat(text).astimezone()
        return round(then.timestamp() * 1e9)
    except OverflowError as error:
        raise ValueError(text) from error
