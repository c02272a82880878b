"""How it ended, in a word and in a sentence: the failure first, where there was one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kedro_otel.recording.decoder import BadLineError, attributes
from kedro_otel.recording.model import DIED, OPEN, UNKNOWN
from kedro_otel.semconv import names
from kedro_otel.viewing.text import class_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedro_otel.recording.model import Operation
    from kedro_otel.viewing.model.trace import Span, Trace

OK: Final = "ok"
FAILED: Final = "failed"
KILLED: Final = "killed"
INTERRUPTED: Final = "interrupted"
RUNNING: Final = "running"
UNCLEAR: Final = "unknown"
"""Outcomes, as ``--json`` says them."""

INTERRUPTIONS: Final = ("KeyboardInterrupt", names.TERMINATED)
"""``error.type`` of what somebody stopped."""

BAD: Final = (FAILED, KILLED, INTERRUPTED)
"""Outcomes that ``kedro otel list --failed`` leaves."""

_KINDS: Final = (names.COMMAND, names.RUN, names.NODE, names.DATASET)
_VERBS: Final = {"load": "loading", "save": "saving"}
_ASKED_IN_VAIN: Final = " has not ended, and cannot be asked from here whether it still runs"
_NOTHING_SAID: Final = " is over, and nothing tells how it ended"
_AT_MOST: Final = 3


class Failure(NamedTuple):
    """Where something went wrong, and what is known about it; empty where it is not."""

    span: Span
    type: str
    where: str
    message: str
    cause: str = ""

    @property
    def text(self) -> str:
        """What went wrong and where, in one line for other tools."""
        what = ": ".join(filter(None, (self.type, self.message))) or "failed"
        return f"{what} ({self.where})" if self.where else what

    @property
    def types(self) -> str:
        """The class of the error and of what it was raised from, by their own names: ``DatasetError from FileNotFoundError``."""
        return types(self.type, self.cause)


def types(error: str, cause: str) -> str:
    """Return the class of an error and of what it was raised from, by their own names."""
    return " from ".join(class_name(one) for one in (error, cause) if one)


def word(operation: Operation) -> str:
    """Return how one operation ended."""
    return word_of(operation.state, operation.error, operation.attributes)


def word_of(state: str, error: bool, known: Mapping[str, Any]) -> str:  # noqa: FBT001
    """Return the same from an operation's state, its status and its attributes."""
    if state == DIED:
        return KILLED
    if state == OPEN:
        return RUNNING
    if state == UNKNOWN:
        return UNCLEAR
    if not error:
        return UNCLEAR if known.get(names.OUTCOME) == names.UNKNOWN else OK
    return INTERRUPTED if known.get(names.ERROR_TYPE) in INTERRUPTIONS else FAILED


def of(trace: Trace) -> str:
    """Return how it ended: as the outermost operation says, or as the run does where that one says more."""
    outer, run = word(trace.root.operation), word((trace.run or trace.root).operation)
    return together(outer, run)


def together(outer: str, run: str) -> str:
    """Return the outcome of a command and of its run as one: the run's where that one says more."""
    return run if outer in (OK, FAILED, UNCLEAR) and run not in (OK, UNCLEAR) else outer


def failures(trace: Trace) -> list[Failure]:
    """Return the innermost operations that failed or were killed: a dataset rather than its node, a node rather than its run."""
    failed = [span for span in trace.spans(*_KINDS) if span.operation.error]
    outside = set()
    for span in failed:
        above = span.parent
        while above is not None and id(above) not in outside:
            outside.add(id(above))
            above = above.parent
    found = [failure(span) for span in failed if id(span) not in outside]
    return sorted(found, key=lambda one: (one.span.operation.state != DIED, one.span.end_ns))


def failure(span: Span) -> Failure:
    """Return what is known about a failed span."""
    known = span.operation.attributes
    file, line = known.get(names.ERROR_FILE), known.get(names.ERROR_LINE)
    where = f"{file}:{line}" if file and line else str(file or "")
    return Failure(
        span,
        str(known.get(names.ERROR_TYPE, "")),
        where,
        message(span.operation),
        str(known.get(names.ERROR_CAUSE, "")),
    )


def sentence(trace: Trace) -> str:
    """Return what happened, as one would say it: ``kedro run failed in node split``."""
    what = title(trace.root.operation)
    outcome = of(trace)
    if outcome == OK:
        return what
    if outcome == RUNNING:
        return f"{what} is running {_some([node.operation.name for node in trace.spans(names.NODE) if node.operation.state == OPEN])}".rstrip()
    if outcome == UNCLEAR:
        why = (
            f": recording stopped before it ended ({stopped})"
            if (stopped := stopped_because(trace))
            else _ASKED_IN_VAIN
            if UNKNOWN in (trace.root.operation.state, (trace.run or trace.root).operation.state)
            else _NOTHING_SAID
        )
        return f"{what}{why}"
    found = [
        one
        for one in failures(trace)
        if one.span.operation.operation in (names.NODE, names.DATASET)
    ]
    died = [_doing(one.span) for one in found if one.span.operation.state == DIED]
    if outcome == KILLED:
        return (
            f"{what} was killed while {_some(died)}"
            if died
            else f"{what} was killed{_after(trace)}"
        )
    verb = "was interrupted" if outcome == INTERRUPTED else "failed"
    if died:
        return f"{what} {verb}: a worker was killed while {_some(died)}"
    return f"{what} {verb} {_some([place(one.span) for one in found])}".rstrip()


def _doing(span: Span) -> str:
    """Return what was being done when a process died: ``running node a``, ``loading cars in node a``."""
    operation = span.operation
    return place(span) if operation.operation == names.DATASET else f"running {operation.name}"


def stopped_because(trace: Trace) -> str:
    """Return why recording stopped before the trace ended, or an empty text if it did not."""
    return next((segment.stopped for segment in trace.segments if segment.stopped), "")


def _some(places: list[str]) -> str:
    more = f" and {len(places) - _AT_MOST} more" if len(places) > _AT_MOST else ""
    return ", ".join(places[:_AT_MOST]) + more


def title(operation: Operation) -> str:
    """Return what was started, as one would type it: the masked command line, or the run's own name."""
    line = operation.attributes.get(names.COMMAND_LINE)
    return str(line) if line else operation.name


def place(span: Span) -> str:
    """Return where something went wrong, as one would say it after "failed": ``in node split``, ``loading companies in node split``."""
    operation = span.operation
    if operation.operation != names.DATASET:
        return f"in {operation.name}"
    verb = _VERBS.get(str(operation.attributes.get(names.DATASET_OPERATION)))
    name = operation.attributes.get(names.DATASET_NAME)
    what = f"{verb} {name}" if verb and name else f"in {operation.name}"
    return f"{what} in {span.parent.operation.name}" if span.parent else what


def _after(trace: Trace) -> str:
    nodes = trace.spans(names.NODE)
    if not nodes:
        return " before a node ran" if trace.run else ""
    return f" after {max(nodes, key=lambda node: node.end_ns).operation.name}"


def message(operation: Operation) -> str:
    """Return the message of what ``operation`` failed with; empty where it is not known."""
    if operation.status_message:
        return operation.status_message
    return _of_exception(operation, names.EXCEPTION_MESSAGE)


def stacktrace(operation: Operation) -> str:
    """Return the stack trace of what ``operation`` failed with; empty where it is not known."""
    return _of_exception(operation, names.EXCEPTION_STACKTRACE)


def _of_exception(operation: Operation, key: str) -> str:
    """Return an attribute of the last event that has it."""
    for event in reversed(operation.events):
        found = _attributes(event).get(key)
        if found:
            return str(found)
    return ""


def _attributes(event: dict[str, Any]) -> dict[str, Any]:
    try:
        return dict(attributes(event.get("attributes", [])))
    except BadLineError:
        return {}
