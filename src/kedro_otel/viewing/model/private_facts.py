"""Puts what is kept on this machine alone into what was read: arguments as typed, messages, stack traces.

Only what shows a recording to its owner calls this. `kedro otel export` and whatever ships do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedro_otel.private.reader import Failure, Private, read
from kedro_otel.semconv import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kedro_otel.recording.model import Operation
    from kedro_otel.viewing.model.find import Entry
    from kedro_otel.viewing.model.trace import Trace


def add_to_trace(trace: Trace, *, logs: bool = False) -> None:
    """Add to each operation of ``trace`` what is kept beside its segment.

    ``logs`` adds the log lines of all nodes; where a node failed they are added in any case.
    """
    logs = logs or any(node.operation.error for node in trace.spans(names.NODE))
    for segment in trace.segments:
        private = read(segment.path, logs=logs)
        _add(private, segment.operations)
        _add_logs(trace, private)
        trace.planned.update(private.pipelines)


def add_logs(trace: Trace) -> None:
    """Add the log lines alone."""
    trace.logs.clear()
    for segment in trace.segments:
        _add_logs(trace, read(segment.path, logs=True))


def _add_logs(trace: Trace, private: Private) -> None:
    for span_id, lines in private.logs.items():
        known = trace.logs.setdefault(span_id, lines)
        if known is not lines:  # of a run, in several processes
            known.extend(lines)


def add_to_entries(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield ``entries``, each with what is kept beside its segment."""
    for entry in entries:
        found = [operation for operation in (entry.command, entry.run) if operation is not None]
        _add(read(entry.segment.path), found)
        yield entry


def _add(private: Private, operations: Iterable[Operation]) -> None:
    if not private.commands and not private.failures:
        return
    for operation in operations:
        words = private.commands.get(operation.span_id)
        if words is not None:
            operation.attributes[names.COMMAND_LINE] = " ".join(words)
            operation.attributes[names.COMMAND_ARGS] = list(words)
        failure = private.failures.get(operation.span_id)
        if failure is not None and operation.error and not operation.events:
            operation.events.append(_event(failure, operation.end_ns or operation.start_ns))


def _event(failure: Failure, when_ns: int) -> dict[str, object]:
    """Return the event that a recording of the detail ``full`` has of a failure."""
    texts = {
        names.EXCEPTION_MESSAGE: failure.message,
        names.EXCEPTION_STACKTRACE: failure.stacktrace,
    }
    return {
        "name": "exception",
        "timeUnixNano": str(when_ns),
        "attributes": [
            {"key": key, "value": {"stringValue": value}} for key, value in texts.items()
        ],
    }
