"""One run in a few words: for a line of ``kedro otel list``, for its filters, and for its JSON."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kedro_otel.recording.model import OPEN
from kedro_otel.semconv import names
from kedro_otel.viewing.model import outcome, run_parts
from kedro_otel.viewing.text import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kedro_otel.recording.model import Header, Operation
    from kedro_otel.viewing.model.find import Entry
    from kedro_otel.viewing.model.run_parts import Extent
    from kedro_otel.viewing.model.trace import Trace

_AGO: Final = re.compile(r"(\d{1,6})\s*([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Summary(NamedTuple):
    """What is known of a run as a whole, or of a command that ran no pipeline.

    ``number`` is -1 for the last pipeline run, None for a command that ran none and where it was
    not counted. ``start_ns`` and ``duration_ns`` are the run's, ``command_start_ns`` and
    ``command_duration_ns`` the command's around it; all in nanoseconds. ``parts`` is the number of
    processes' runs that make up a run with a key, None where it is one. ``sampled`` says whether its
    spans are to be sent, by ``OTEL_TRACES_SAMPLER`` or the parent.
    """

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
    error_cause: str
    error_where: str
    error_message: str
    project: str
    header: Header
    command_start_ns: int | None = None
    command_duration_ns: int | None = None
    parts: int | None = None
    sampled: bool = True

    def plain(self) -> dict[str, Any]:
        """Return it for JSON: durations in seconds, times in ISO 8601; None where it is not known.

        `kedro otel list` and `show` print the same keys, with the same meaning: docs/schemas/.
        """
        return {
            "outcome": self.outcome,
            "start": timestamp(self.start_ns),
            "duration_seconds": self.duration_ns / 1e9,
            "command_start": None
            if self.command_start_ns is None
            else timestamp(self.command_start_ns),
            "command_duration_seconds": None
            if self.command_duration_ns is None
            else self.command_duration_ns / 1e9,
            "trace_id": self.trace_id,
            "run_id": self.run_id or None,
            "command": self.command or None,
            "pipeline": self.pipeline or None,
            "runner": self.runner or None,
            "environment": self.environment or None,
            "nodes": self.nodes,
            "error_type": self.error_type or None,
            "error_cause": self.error_cause or None,
            "error_where": self.error_where or None,
            "error_message": self.error_message or None,
            "project": self.project or None,
            "pid": self.header.pid,
            "parts": self.parts,
            "sampled": self.sampled,
        }


def summaries(entries: Iterable[Entry], now_ns: int) -> Iterator[Summary]:
    """Yield a summary of each entry, numbering pipeline runs from -1 downwards."""
    for _, found in summarised(entries, now_ns):
        yield found


def summarised(entries: Iterable[Entry], now_ns: int) -> Iterator[tuple[Entry, Summary]]:
    """Yield each entry with its summary, numbering pipeline runs from -1 downwards."""
    number = 0
    for entry in entries:
        number -= entry.run is not None
        yield entry, summary(entry, number if entry.run else None, now_ns)


def summary(entry: Entry, number: int | None, now_ns: int) -> Summary:
    """Return what is known of an entry: from its command and run alone, or, of a part of a run, from all its parts."""
    found = _of_process(entry, number, now_ns)
    if entry.is_part:
        whole = run_parts.extent(entry.operation.trace_id, run_parts.around(entry))
        if whole is not None and whole.parts > 1:
            return _of_parts(found, whole, now_ns)
    return found


def _of_parts(part: Summary, whole: Extent, now_ns: int) -> Summary:
    """Return what is known of a run from all its parts, of which ``part`` is one."""
    root, died = whole.root, whole.error_type == names.PROCESS_DIED
    word = outcome.OK if not whole.failed else outcome.KILLED if died else outcome.FAILED
    start_ns, end_ns, error_type = whole.start_ns, whole.end_ns, whole.error_type
    if whole.running:
        word, end_ns, error_type = outcome.RUNNING, now_ns, ""
    elif root is not None and root.end_ns is not None:  # as `kedro otel finish` was given them
        word, start_ns, end_ns = outcome.word(root), root.start_ns, root.end_ns
        error_type = str(root.attributes.get(names.ERROR_TYPE, "")) if root.error else ""
    return part._replace(
        outcome=word,
        start_ns=start_ns,
        duration_ns=end_ns - start_ns,
        run_id="",
        pipeline=whole.pipeline,
        nodes=None,
        error_type=error_type,
        error_cause="",
        error_where="",
        error_message="",
        command_start_ns=None,
        command_duration_ns=None,
        parts=whole.parts,
    )


def _of_process(entry: Entry, number: int | None, now_ns: int) -> Summary:
    alive = entry.segment.alive

    def ended(operation: Operation) -> str:
        unclear = operation.state == OPEN and not alive
        return outcome.UNCLEAR if unclear else outcome.word(operation)

    def duration_ns(operation: Operation) -> int:
        latest = now_ns if alive else entry.segment.last_ns
        end = latest if operation.end_ns is None else operation.end_ns
        return max(end - operation.start_ns, 0)

    return _summary(entry.command, entry.run, number, entry.segment.header, ended, duration_ns)


def of_trace(trace: Trace) -> Summary:
    """Return the same of a trace; its run is not counted, so ``number`` is None."""
    root = trace.root
    command = root.operation if root.operation.operation == names.COMMAND else None
    run = trace.run.operation if trace.run else None
    spans = {id(span.operation): span for span in (root, trace.run) if span is not None}
    return _summary(
        command if command is not None or run is not None else root.operation,
        run,
        None,
        (trace.run or root).header,
        outcome.word,
        lambda operation: spans[id(operation)].duration_ns,
    )


def _summary(
    command: Operation | None,
    run: Operation | None,
    number: int | None,
    header: Header,
    ended: Callable[[Operation], str],
    duration_ns: Callable[[Operation], int],
) -> Summary:
    operation = run or command
    assert operation is not None, "there is a command, or a run"  # noqa: S101
    known = run.attributes if run else {}
    nodes = known.get(names.RUN_NODES)
    file = operation.attributes.get(names.ERROR_FILE)
    line = operation.attributes.get(names.ERROR_LINE)
    return Summary(
        number=number,
        outcome=outcome.together(ended(command or operation), ended(operation)),
        start_ns=operation.start_ns,
        duration_ns=duration_ns(operation),
        trace_id=operation.trace_id,
        run_id=str(known.get(names.RUN_ID, "")),
        command=outcome.title(command) if command else "",
        pipeline=str(known.get(names.PIPELINE_NAME, "")),
        runner=str(known.get(names.RUNNER_NAME, "")),
        environment=str(known.get(names.ENVIRONMENT_NAME, "")),
        nodes=nodes if isinstance(nodes, int) else None,
        error_type=str(operation.attributes.get(names.ERROR_TYPE, "")) if operation.error else "",
        error_cause=str(operation.attributes.get(names.ERROR_CAUSE, "")) if operation.error else "",
        error_where=f"{file}:{line}" if file and line and operation.error else "",
        error_message=outcome.message(operation) if operation.error else "",
        project=str(header.resource.get(names.PROJECT_NAME, "")),
        header=header,
        command_start_ns=command.start_ns if command else None,
        command_duration_ns=duration_ns(command) if command else None,
        sampled=operation.sampled,
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
