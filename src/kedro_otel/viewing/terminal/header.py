"""What stands above the waterfall: what ran, how it ended and why, when, how long, with what."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from rich.text import Text

from kedro_otel.recording.model import DIED
from kedro_otel.semconv import names
from kedro_otel.viewing.model import logs, outcome
from kedro_otel.viewing.model.trace import node_count, pages
from kedro_otel.viewing.terminal import log_view
from kedro_otel.viewing.terminal.console import join, wrap
from kedro_otel.viewing.text import clean, count, duration, moment

if TYPE_CHECKING:
    from kedro_otel.viewing.model.trace import Span, Trace
    from kedro_otel.viewing.terminal.bars import Glyphs

_MOST: Final = 5
"""Failures that are named above; all are red below."""

_LINES: Final = 12
"""Lines of a failure's message that are printed."""

_LOG_LINES: Final = 5
"""Last log lines that are printed of a node that failed or was killed."""

_LONG: Final = 2000

_STYLE: Final = {
    outcome.OK: "bold green",
    outcome.FAILED: "bold red",
    outcome.KILLED: "bold red",
    outcome.INTERRUPTED: "bold red",
    outcome.RUNNING: "bold cyan",
    outcome.UNCLEAR: "bold yellow",
}


def header(trace: Trace, width: int, glyphs: Glyphs) -> list[Text]:
    """Return the header's lines, each no wider than ``width``."""
    word = outcome.of(trace)
    lines = [
        join(
            [
                (f"{mark(word, glyphs)} ", _STYLE[word]),
                (clean(outcome.sentence(trace)), _STYLE[word]),
            ]
        )
    ]
    lines += _failures(trace, width)
    facts = wrap(
        [Text(fact, "bright_black") for fact in _facts(trace)], width - 2, f" {glyphs.dot} "
    )
    lines += [join([("  ", "")]) + fact for fact in facts]
    for label, url in pages(trace):
        text = f"{label} {clean(url, _LONG)}"
        parts = textwrap.wrap(text, max(width - 2, 20), break_on_hyphens=False)
        lines += [Text(f"  {part}", "bright_black") for part in parts]
    return lines


def mark(word: str, glyphs: Glyphs) -> str:
    """Return the character that stands for an outcome."""
    return {
        outcome.OK: glyphs.good,
        outcome.RUNNING: glyphs.busy,
        outcome.UNCLEAR: glyphs.unclear,
    }.get(word, glyphs.bad)


def style(word: str) -> str:
    """Return the style of an outcome."""
    return _STYLE[word]


def _failures(trace: Trace, width: int) -> list[Text]:
    found = outcome.failures(trace)
    lines = []
    for one in found[:_MOST]:
        if one.span.operation.state == DIED:
            lines += _last_log_lines(trace, one.span, several=len(found) > 1)
            continue
        what = " at ".join(filter(None, (clean(one.types), clean(one.where))))
        if len(found) > 1:
            what = f"{clean(one.span.operation.name)}: {what}"
        if what:
            lines.append(Text(f"  {what}", "red"))
        if one.message:
            lines += [Text(f"  {line}", "red") for line in _message(one.message, width - 2)]
        lines += _last_log_lines(trace, one.span, several=len(found) > 1)
    if outcome.of(trace) == outcome.KILLED:
        last = max(segment.last_ns for segment in trace.segments)
        lines.append(Text(f"  its process was last heard of {moment(last, trace.now_ns)}", "red"))
    return lines


def _last_log_lines(trace: Trace, failed: Span, *, several: bool) -> list[Text]:
    """Return what the node logged last, dim, so that it is not taken for the error."""
    found = log_view.last_of(logs.lines_of(trace, failed), _LOG_LINES)
    if not found:
        return []
    of = f" of {clean(failed.operation.name)}" if several else ""
    return [
        Text(f"  last log lines{of}:", "bright_black"),
        *(Text(f"    {line}", "bright_black") for line in found),
    ]


def _message(message: str, width: int) -> list[str]:
    """Return a message in lines of ``width`` cells: as many as a person reads before the waterfall."""
    lines = [clean(line.strip(), _LONG) for line in message.splitlines() if line.strip()]
    found = [part for line in lines for part in textwrap.wrap(line, max(width, 20))]
    more = [f"… {count(len(found) - _LINES, 'line')} more: kedro otel report"]
    return found if len(found) <= _LINES else found[:_LINES] + more


def _facts(trace: Trace) -> list[str]:
    root, run = trace.root, trace.run
    known = run.operation.attributes if run else {}
    resource = root.header.resource
    facts = [moment(root.operation.start_ns, trace.now_ns), _took(trace)]
    if run:
        facts += [
            f"pipeline {known[names.PIPELINE_NAME]}" if known.get(names.PIPELINE_NAME) else "",
            _nodes(trace),
            str(known.get(names.RUNNER_NAME, "")),
        ]
        facts += [
            f"env {known[names.ENVIRONMENT_NAME]}" if known.get(names.ENVIRONMENT_NAME) else ""
        ]
    code = root.operation.attributes.get(names.EXIT_CODE)
    facts.append(f"exit code {code}" if code not in (None, 0) else "")
    revision = str(known.get(names.REVISION, ""))[:9]
    project = str(resource.get(names.PROJECT_NAME, ""))
    facts.append(f"{project} @ {revision}" if project and revision else project or revision)
    facts.append(
        f"kedro {resource[names.KEDRO_VERSION]}" if resource.get(names.KEDRO_VERSION) else ""
    )
    facts.append(
        f"python {resource[names.RUNTIME_VERSION]}" if resource.get(names.RUNTIME_VERSION) else ""
    )
    facts.append(
        f"kedro-otel {resource[names.DISTRO_VERSION]}" if resource.get(names.DISTRO_VERSION) else ""
    )
    facts.append(f"run {known[names.RUN_ID]}" if known.get(names.RUN_ID) else "")
    mlflow = known.get(names.MLFLOW_RUN_ID)
    facts.append(f"MLflow run {mlflow}" if mlflow else "")
    facts.append(f"trace {trace.trace_id}")
    pids = {segment.header.pid for segment in trace.segments}
    facts.append(count(len(pids), "process", "processes") if len(pids) > 1 else "")
    skipped = sum(sum(segment.skipped.values()) for segment in trace.segments)
    lost = sum(sum(segment.lost.values()) for segment in trace.segments)
    facts.append(f"{count(skipped, 'line')} of the recording damaged" if skipped else "")
    facts.append(f"{count(lost, 'operation')} not recorded" if lost else "")
    facts.append("" if root.operation.sampled else "not sampled: no spans are sent")
    return [clean(fact) for fact in facts if fact]


def _took(trace: Trace) -> str:
    root = trace.root
    text = duration(root.duration_ns)
    if trace.run and trace.run is not root and root.duration_ns > trace.run.duration_ns:
        text += f" (run {duration(trace.run.duration_ns)})"
    return text


def _nodes(trace: Trace) -> str:
    if not trace.run:
        return ""
    done, total = node_count(trace)
    return count(total, "node") if done == total else f"{done:,} of {count(total, 'node')}"
