"""The waterfall: a tree of what ran, each line with its bar on one time axis, its duration, and a mark if it is on the critical path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from rich.cells import cell_len
from rich.text import Text

from kedro_otel.recording.model import DIED, OPEN, UNKNOWN
from kedro_otel.semconv import names
from kedro_otel.viewing.model.critical_path import CriticalPath, critical_path
from kedro_otel.viewing.model.outcome import UNCLEAR, failure, word
from kedro_otel.viewing.model.phases import COMPUTE, HOOKS, LOAD, SAVE, totals
from kedro_otel.viewing.model.trace import node_count
from kedro_otel.viewing.terminal.bars import FAILED, MANY, SPINE, Axis, bar, scale
from kedro_otel.viewing.terminal.console import fit, join, wrap
from kedro_otel.viewing.terminal.rows import (
    BRIEF,
    GROUP,
    NAMESPACE,
    REST,
    brief,
    folded,
    levels,
)
from kedro_otel.viewing.text import clean, count, duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kedro_otel.viewing.model.trace import Trace
    from kedro_otel.viewing.terminal.bars import Cell, Glyphs
    from kedro_otel.viewing.terminal.rows import Row
    from kedro_otel.viewing.terminal.used_columns import Column

_STYLES: Final = {
    LOAD: "cyan",
    COMPUTE: "blue",
    HOOKS: "bright_black",
    SAVE: "magenta",
    SPINE: "bright_black",
    names.FOREIGN: "yellow",
    MANY: "blue",
    FAILED: "bold red",
}
_NAMES: Final = {
    names.COMMAND: "bold",
    names.RUN: "bold",
    names.DATASET: "bright_black",
    names.FOREIGN: "yellow",
    NAMESPACE: "bold",
    GROUP: "yellow",
    REST: "bright_black",
}
_FIGURE: Final = 8
"""Cells of a duration."""

_MARKS: Final = 4
"""Cells of the marks after it: failed, and on the critical path."""

_LEAST_BAR: Final = 8
_LEAST_NAME: Final = 14


class _Line(NamedTuple):
    row: Row
    guide: str
    below: str


def waterfall(
    trace: Trace, width: int, glyphs: Glyphs, top: Row, columns: Sequence[Column] = ()
) -> list[Text]:
    """Return the waterfall's lines for a screen of ``width`` cells, with ``columns`` beside it.

    ``top`` is what :func:`kedro_otel.viewing.terminal.rows.rows` chose to show.
    """
    lines = _tree(top, glyphs)
    path = _path(trace)
    critical = {id(span) for span in path.nodes}
    widest = max(cell_len(line.guide) + cell_len(_label(line.row)) for line in lines)
    name = min(widest, max(_LEAST_NAME, width * 2 // 5))
    beside = sum(column.width for column in columns)
    room = width - name - _FIGURE - _MARKS - 2 - beside
    axis = _axis(trace, room if room >= _LEAST_BAR else 0)
    if not axis.width:
        name = min(widest, max(width - _FIGURE - _MARKS - beside, 4))
    titles = "".join(f"{column.title:>{column.width}}" for column in columns)
    head = " " * (name + 1) + (scale(axis) if axis.width else "")
    if titles:
        head = f"{head:<{name + 1 + axis.width + _FIGURE + 1}}{titles}"
    out = [Text(head, "bright_black")] if head.strip() else []
    for line in lines:
        out.append(
            _drawn(
                line,
                name,
                axis,
                glyphs,
                columns,
                on_path=any(id(member) in critical for member in line.row.members),
            )
        )
        out += _why(line)
    return [*out, Text(""), *_legend(trace, path, glyphs, top, width)]


def _tree(top: Row, glyphs: Glyphs) -> list[_Line]:
    lines: list[_Line] = []
    waiting = [(top, "", "")]
    while waiting:
        row, guide, below = waiting.pop()
        lines.append(_Line(row, guide, below + (glyphs.pipe if row.below else "   ")))
        last = len(row.below) - 1
        waiting += [
            (
                child,
                below + (glyphs.elbow if index == last else glyphs.tee),
                below + ("   " if index == last else glyphs.pipe),
            )
            for index, child in reversed(list(enumerate(row.below)))
        ]
    return lines


def _label(row: Row) -> str:
    label = clean(row.label)
    return f"{label} ({count(len(row.members), 'node')})" if row.folded else label


def _axis(trace: Trace, width: int) -> Axis:
    """From the first run's beginning to the last one's end: what Kedro does before and after is in the command's own line."""
    runs = trace.spans(names.RUN) or [trace.root]
    return Axis(min(run.operation.start_ns for run in runs), max(run.end_ns for run in runs), width)


def _path(trace: Trace) -> CriticalPath:
    """A path of one node, or of nothing, is not worth a mark, and that of a run that goes on is not known."""
    if trace.alive:
        return CriticalPath((), 0)
    run = trace.run or trace.root
    path = critical_path(
        [child for child in run.children if child.operation.operation == names.NODE]
    )
    return path if len(path.nodes) > 1 else CriticalPath((), 0)


def _drawn(
    line: _Line,
    name: int,
    axis: Axis,
    glyphs: Glyphs,
    columns: Sequence[Column],
    *,
    on_path: bool,
) -> Text:
    row = line.row
    out = Text()
    guide = line.guide[: max(name - _LEAST_NAME // 2, 0)]
    out.append(guide, "bright_black")
    red = row.failed and row.kind != REST
    out.append(
        fit(_label(row), name - cell_len(guide), glyphs.ellipsis),
        "bold red" if red else _NAMES.get(row.kind, ""),
    )
    out.append(" ")
    _append(out, bar(row, axis, glyphs), red=red and row.kind in (names.DATASET, names.FOREIGN))
    figure, style = _figure(row)
    out.append(f"{figure:>{_FIGURE + 1}}", style)
    if columns:
        out.append("".join(column.cell(row) for column in columns), style)
    out.append(f" {glyphs.bad}" if red else "", "bold red")
    out.append(
        f" {glyphs.critical}" if on_path and row.kind in (names.NODE, NAMESPACE) else "",
        "bold yellow",
    )
    return out


def _append(out: Text, cells: list[Cell], *, red: bool) -> None:
    run, style = "", ""
    for glyph, kind in cells:
        wanted = "red" if red and kind else _STYLES.get(kind, "")
        if wanted != style:
            out.append(run, style or None)
            run, style = "", wanted
        run += glyph
    out.append(run, style or None)


def _figure(row: Row) -> tuple[str, str]:
    state = row.span.operation.state if row.span else ""
    text = duration(row.spent_ns)
    if state == DIED and row.kind == names.NODE:
        return "killed", "bold red"
    if state == OPEN:
        return f"{text}", "bold cyan"
    if state == UNKNOWN or (row.span and word(row.span.operation) == UNCLEAR):
        return "?", "yellow"
    return text, "bright_black" if row.kind in (names.DATASET, REST) else ""


def _why(line: _Line) -> list[Text]:
    """The reason under the innermost line that failed, because one looks for it where it is red."""
    span = line.row.span
    if (
        span is None
        or not span.operation.error
        or span.operation.operation not in (names.NODE, names.DATASET, names.FOREIGN)
    ):
        return []
    if any(row.failed for row in line.row.below):
        return []
    known = failure(span)
    if span.operation.state == DIED or not (known.type or known.where):
        return []
    out = Text(line.below, "bright_black")
    out.append(
        " ".join(
            filter(
                None,
                (clean(known.types), f"at {clean(known.where)}" if known.where else ""),
            )
        ),
        "red",
    )
    return [out]


def _legend(trace: Trace, path: CriticalPath, glyphs: Glyphs, top: Row, width: int) -> list[Text]:
    """What the characters stand for, with what they add up to over all nodes."""
    nodes = trace.spans(names.NODE)
    if not nodes:
        return []
    spent = [totals(node) for node in nodes]
    sums = (
        (glyphs.load, LOAD, sum(one.load_ns for one in spent)),
        (glyphs.compute, COMPUTE, sum(one.compute_ns for one in spent)),
        (glyphs.save, SAVE, sum(one.save_ns for one in spent)),
        (glyphs.hooks, HOOKS, sum(one.hooks_ns for one in spent)),
    )
    parts = [
        [(f"{glyph * 2} ", _STYLES[kind]), (f"{kind} {duration(nanoseconds)}", "")]
        for glyph, kind, nanoseconds in sums
        if nanoseconds
    ]
    if _has(top, names.FOREIGN):
        parts.append([(f"{glyphs.foreign * 2} ", _STYLES[names.FOREIGN]), ("your spans", "")])
    if path.nodes:
        words = f"critical path {duration(path.duration_ns)} ({len(path.nodes):,} of {count(node_count(trace).total, 'node')})"
        parts.append([(f"{glyphs.critical} ", "bold yellow"), (words, "")])
    hidden = folded(top)
    if hidden:
        words = f"{count(hidden, 'node')} folded: --depth {levels(trace)} shows all"
        parts.append([(words, "bright_black")])
    short = brief(top)
    if short:
        words = f"{count(short, 'load or save', 'loads and saves')} below {BRIEF:.0%} of the run: only in bars"
        parts.append([(words, "bright_black")])
    return wrap([join(part) for part in parts], width)


def _has(row: Row, kind: str) -> bool:
    return row.kind == kind or any(_has(below, kind) for below in row.below)
