"""What the page says above its pictures: the outcome, the failures, the facts, as plain text."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from kedro_otel.recording.model import DIED
from kedro_otel.semconv import names
from kedro_otel.viewing.model import logs, outcome
from kedro_otel.viewing.model.critical_path import critical_path
from kedro_otel.viewing.model.phases import totals
from kedro_otel.viewing.model.trace import node_count
from kedro_otel.viewing.text import clean, count, duration

if TYPE_CHECKING:
    from kedro_otel.viewing.model.outcome import Failure
    from kedro_otel.viewing.model.trace import Span, Trace

LABELS: Final = {
    outcome.OK: "Succeeded",
    outcome.FAILED: "Failed",
    outcome.KILLED: "Killed",
    outcome.INTERRUPTED: "Interrupted",
    outcome.RUNNING: "Running",
    outcome.UNCLEAR: "End unknown",
}
"""Outcome → the word on its badge."""

_LOG_LINES: Final = 10
_SHORT: Final = 3
_LINES: Final = 200
_LINE: Final = 500


class FailureText(NamedTuple):
    """One failure in words; ``stack`` and ``log``, the node's last lines, are empty where they are not kept."""

    what: str
    type: str
    where: str
    message: str
    stack: str = ""
    log: str = ""


def words(message: str) -> str:
    """Return a text of several lines, each of them harmless, no longer than a person would read."""
    lines = message.replace("\r\n", "\n").split("\n")
    if len(lines) > _LINES:
        lines = [
            *lines[: _LINES // 2],
            f"… {count(len(lines) - _LINES, 'line')} …",
            *lines[-_LINES // 2 :],
        ]
    return "\n".join(clean(line.replace("\t", "    "), _LINE) for line in lines).strip("\n")


def place(one: Failure) -> str:
    """Return where it went wrong, as a heading: ``Node train_forest failed``, ``Loading companies in node join failed``."""
    operation = one.span.operation
    verb = (
        "was killed"
        if operation.state == DIED
        else "was interrupted"
        if one.type in outcome.INTERRUPTIONS
        else "failed"
    )
    if operation.operation == names.COMMAND:
        return f"{outcome.title(operation)} {verb}"
    where = outcome.place(one.span)
    where = where.removeprefix("in ")
    return f"{where[:1].upper()}{where[1:]} {verb}"


def failures(trace: Trace, most: int = 5) -> list[FailureText]:
    """Return the first failures, innermost operations, in words."""
    found = []
    for one in outcome.failures(trace)[:most]:
        message = words(one.message)
        if one.span.operation.state == DIED:
            into = duration(one.span.duration_ns)
            message = f"The process ended without a word. Last sign of life: {when(one.span.end_ns)}, {into} into it; what followed is not known."
        found.append(
            FailureText(
                clean(place(one)),
                clean(one.types),
                clean(one.where),
                message,
                words(outcome.stacktrace(one.span.operation)),
                words(
                    "\n".join(line.text for line in logs.lines_of(trace, one.span)[-_LOG_LINES:])
                ),
            )
        )
    return found


def when(nanoseconds: int) -> str:
    """Return a point in time with its date and zone: a report is read elsewhere, and later."""
    try:
        then = datetime.fromtimestamp(nanoseconds / 1e9).astimezone()
    except (OverflowError, OSError, ValueError):
        return "?"
    return f"{then:%d %b %Y, %H:%M:%S} {then:%Z}".lstrip("0")


def zone(nanoseconds: int) -> tuple[int, str]:
    """Return this machine's time zone at a point in time: minutes east of UTC, and what it is called."""
    try:
        then = datetime.fromtimestamp(nanoseconds / 1e9).astimezone()
    except (OverflowError, OSError, ValueError):
        return 0, "UTC"
    offset = then.utcoffset()
    return round(offset.total_seconds() / 60) if offset else 0, clean(f"{then:%Z}", 40)


def figures(trace: Trace) -> list[tuple[str, str, str]]:
    """Return the figures worth large letters: label, figure, and a remark."""
    run = trace.run or trace.root
    nodes = [child for child in run.children if child.operation.operation == names.NODE]
    around = (
        f"of {duration(trace.root.duration_ns)} for the whole command"
        if run is not trace.root
        else ""
    )
    found = [("Run" if trace.run else "Duration", duration(run.duration_ns), around)]
    if not nodes:
        return found
    done, total = node_count(trace)
    found.append(
        (
            "Nodes",
            f"{done:,}" if done == total else f"{done:,} of {total:,}",
            "all completed" if done == total else "completed",
        )
    )
    path = critical_path(nodes)
    if len(path.nodes) > 1:
        found.append(
            (
                "Critical path",
                duration(path.duration_ns),
                _path(path.nodes),
            )
        )
    slowest = max(nodes, key=lambda node: node.duration_ns)
    share = slowest.duration_ns / max(run.duration_ns, 1)
    found.append(
        (
            "Slowest node",
            duration(slowest.duration_ns),
            f"{clean(slowest.operation.attributes.get(names.NODE_NAME), 80)} · {share:.0%} of the run",
        )
    )
    return found


def _path(nodes: tuple[Span, ...]) -> str:
    """Return the nodes of a path by name: all of a short one, of a long one its ends and their number."""
    words = [clean(node.operation.attributes.get(names.NODE_NAME), 60) for node in nodes]
    if len(words) <= _SHORT:
        return " → ".join(words)
    return f"{words[0]} → … → {words[-1]}, {count(len(words), 'node')}"


def shares(trace: Trace) -> list[tuple[str, int]]:
    """Return the nanoseconds that all nodes together spent in each phase."""
    spent = [totals(node) for node in trace.spans(names.NODE)]
    return [
        ("load", sum(one.load_ns for one in spent)),
        ("compute", sum(one.compute_ns for one in spent)),
        ("save", sum(one.save_ns for one in spent)),
        ("hooks", sum(one.hooks_ns for one in spent)),
    ]


def facts(trace: Trace) -> list[tuple[str, str]]:
    """Return what ran, with what, where: label and value, nothing that is not known."""
    run = trace.run.operation.attributes if trace.run else {}
    root, resource = trace.root.operation.attributes, trace.root.header.resource
    pids = {segment.header.pid for segment in trace.segments}
    skipped = sum(sum(segment.skipped.values()) for segment in trace.segments)
    lost = sum(sum(segment.lost.values()) for segment in trace.segments)
    code = root.get(names.EXIT_CODE)
    found = [
        ("Started", when(trace.root.operation.start_ns)),
        ("Pipeline", run.get(names.PIPELINE_NAME)),
        ("Runner", run.get(names.RUNNER_NAME)),
        ("Environment", run.get(names.ENVIRONMENT_NAME)),
        ("Project", resource.get(names.PROJECT_NAME)),
        ("Commit", str(run.get(names.REVISION, ""))[:12]),
        ("Exit code", "" if code is None else str(code)),
        ("Processes", len(pids) if len(pids) > 1 else ""),
        ("Kedro", resource.get(names.KEDRO_VERSION)),
        ("Python", resource.get(names.RUNTIME_VERSION)),
        ("System", resource.get(names.OS_TYPE)),
        ("kedro-otel", resource.get(names.DISTRO_VERSION)),
        ("Run id", run.get(names.RUN_ID)),
        ("MLflow run", run.get(names.MLFLOW_RUN_ID)),
        ("Trace", trace.trace_id),
        ("Damaged", f"{count(skipped, 'line')} of the recording" if skipped else ""),
        ("Not recorded", count(lost, "operation") if lost else ""),
    ]
    return [(label, clean(value)) for label, value in found if value not in (None, "")]
