"""Bars on a common time axis, as characters: what takes which cell, in glyphs that differ by phase without colour."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from kedro_otel.recording.model import DIED, OPEN
from kedro_otel.semconv import names
from kedro_otel.viewing.model.phases import COMPUTE, HOOKS, LOAD, SAVE, Phase, phases
from kedro_otel.viewing.terminal.rows import GROUP, NAMESPACE, REST
from kedro_otel.viewing.text import duration

if TYPE_CHECKING:
    from kedro_otel.viewing.terminal.rows import Row

FAILED: Final = "failed"
SPINE: Final = "spine"
MANY: Final = "many"
EMPTY: Final = ""
"""What a cell can stand for, besides a phase and :data:`kedro_otel.semconv.names.FOREIGN`."""


class Glyphs(NamedTuple):
    """The characters to draw with; ``parts`` are the eighths of a cell, ``heights`` those of a line."""

    load: str
    compute: str
    save: str
    hooks: str
    spine: str
    foreign: str
    parts: str
    heights: str
    before: str
    after: str
    died: str
    running: str
    critical: str
    tee: str
    elbow: str
    pipe: str
    ellipsis: str
    dot: str
    good: str
    bad: str
    busy: str
    unclear: str


UNICODE: Final = Glyphs(
    "░",
    "█",
    "▒",
    "╌",
    "━",
    "▄",
    "▏▎▍▌▋▊▉█",
    "▁▂▃▄▅▆▇█",
    "◂",
    "▸",
    "✗",
    "▸",
    "◆",
    "├─ ",
    "└─ ",
    "│  ",
    "…",
    "·",
    "✓",
    "✗",
    "▶",
    "?",
)
ASCII: Final = Glyphs(
    ".",
    "#",
    "=",
    ",",
    "-",
    "~",
    "||||####",
    "...:::##",
    "<",
    ">",
    "x",
    ">",
    "*",
    "|- ",
    "`- ",
    "|  ",
    "~",
    "-",
    "+",
    "x",
    ">",
    "?",
)


class Axis(NamedTuple):
    """A stretch of time, in nanoseconds since the epoch, over a number of cells."""

    begin_ns: int
    end_ns: int
    width: int

    def cell(self, when_ns: int) -> float:
        """Return the place of a point in time, in cells from the left."""
        return (when_ns - self.begin_ns) * self.width / max(self.end_ns - self.begin_ns, 1)


Cell = tuple[str, str]
"""A character, and what it stands for."""


def bar(row: Row, axis: Axis, glyphs: Glyphs) -> list[Cell]:
    """Return the cells of one line's bar, ``axis.width`` of them."""
    cells: list[Cell] = [(" ", EMPTY)] * axis.width
    if not axis.width:
        return cells
    if row.kind in (NAMESPACE, GROUP, REST):
        _heights(cells, row, axis, glyphs)
    elif row.kind == names.NODE and row.span is not None:
        _stretch(cells, axis, glyphs, phases(row.span))
    elif row.kind == names.DATASET and row.span is not None:
        operation = row.span.operation
        kind = SAVE if operation.attributes.get(names.DATASET_OPERATION) == SAVE else LOAD
        _stretch(cells, axis, glyphs, [Phase(kind, row.begin_ns, row.end_ns)])
    elif row.kind == names.FOREIGN:
        _stretch(cells, axis, glyphs, [Phase(names.FOREIGN, row.begin_ns, row.end_ns)])
    else:
        _stretch(cells, axis, glyphs, [Phase(SPINE, row.begin_ns, row.end_ns)])
    _ends(cells, row, axis, glyphs)
    return cells


def _stretch(cells: list[Cell], axis: Axis, glyphs: Glyphs, found: list[Phase]) -> None:
    """Fill the cells between the first phase's ends; each takes the phase that covers most of it, later phases lying over the first."""
    glyph = {
        LOAD: glyphs.load,
        COMPUTE: glyphs.compute,
        HOOKS: glyphs.hooks,
        SAVE: glyphs.save,
        SPINE: glyphs.spine,
        names.FOREIGN: glyphs.foreign,
    }
    begin, end = axis.cell(found[0].begin_ns), axis.cell(found[0].end_ns)
    if end < 0 or begin > axis.width:
        return
    begin, end = max(begin, 0.0), min(end, float(axis.width))
    first, last = min(int(begin), axis.width - 1), min(int(end), axis.width - 1)
    cover = {phase.kind: [0.0] * axis.width for phase in found}
    for phase in found[1:] or found:
        _cover(
            cover[phase.kind],
            max(axis.cell(phase.begin_ns), begin),
            min(axis.cell(phase.end_ns), end),
        )
    if end - begin < 1:
        over = {kind: sum(cover[kind][first : last + 1]) for kind in cover if kind != found[0].kind}
        kind = max(over, key=lambda one: over[one], default=found[0].kind)
        kind = kind if over and over[kind] > (end - begin) / 2 else found[0].kind
        cells[first] = (
            glyph[kind] if kind == SPINE else glyphs.parts[min(int((end - begin) * 8), 7)],
            kind,
        )
        return
    for index in range(first, last + 1):
        inside = min(end, index + 1) - max(begin, index)
        over = {kind: cover[kind][index] for kind in cover if kind != found[0].kind}
        kind = max(over, key=lambda one: over[one], default=found[0].kind)
        kind = kind if over and over[kind] > inside / 2 else found[0].kind
        if inside > 1 - 1 / 16 or (kind != COMPUTE and inside >= 1 / 2):
            cells[index] = (glyph[kind], kind)
        elif kind == COMPUTE and index == last and inside >= 1 / 16:
            cells[index] = (glyphs.parts[min(int(inside * 8), 7)], kind)
        elif kind == COMPUTE and inside >= 1 / 2:
            cells[index] = (glyph[kind], kind)


def _cover(cells: list[float], begin: float, end: float) -> None:
    for index in range(max(int(begin), 0), min(int(end) + 1, len(cells))):
        cells[index] += max(min(end, index + 1) - max(begin, index), 0.0)


def _heights(cells: list[Cell], row: Row, axis: Axis, glyphs: Glyphs) -> None:
    """Draw several operations as a line whose height says how many of them ran at a time, against the most that ever did."""
    busy = [0.0] * axis.width
    for member in row.members:
        _cover(busy, axis.cell(member.operation.start_ns), axis.cell(member.end_ns))
        begin = int(axis.cell(member.operation.start_ns))
        if 0 <= begin < axis.width:
            busy[begin] = max(busy[begin], 1 / 16)
    most = max(1.0, *busy)
    kind = names.FOREIGN if row.members[0].operation.operation == names.FOREIGN else MANY
    for index, height in enumerate(busy):
        if height > 0:
            cells[index] = (glyphs.heights[min(int(height / most * 8), 7)], kind)


def _ends(cells: list[Cell], row: Row, axis: Axis, glyphs: Glyphs) -> None:
    """Mark what lies outside the axis, what still runs, and where something died."""
    if row.begin_ns < axis.begin_ns and row.kind in (names.COMMAND, names.RUN):
        cells[0] = (glyphs.before, SPINE)
    if row.end_ns > axis.end_ns and row.kind in (names.COMMAND, names.RUN):
        cells[-1] = (glyphs.after, SPINE)
    state = row.span.operation.state if row.span else ""
    if state in (DIED, OPEN) and row.kind == names.NODE:
        index = max(0, min(int(axis.cell(row.end_ns)), axis.width - 1))
        cells[index] = (glyphs.died, FAILED) if state == DIED else (glyphs.running, COMPUTE)


def scale(axis: Axis) -> str:
    """Return the axis's labels: as many round durations, from 0, as fit above its cells."""
    total = axis.end_ns - axis.begin_ns
    if axis.width < _LABEL:
        return f"{duration(total):>{axis.width}}"
    step = next((step for step in _STEPS if axis.width * step >= _LABEL * total), total + 1)
    labels = [" "] * axis.width
    for when in range(0, total + 1, step):
        text = _ROUND.sub("", duration(when)) if when else "0"
        place = int(axis.cell(axis.begin_ns + when))
        if place + len(text) <= axis.width:
            labels[place : place + len(text)] = text
    if step > total:
        end = duration(total)
        labels[-len(end) :] = end
    return "".join(labels).rstrip()


_ROUND: Final = re.compile(r"(?<=\.\d)0(?= )|\.0+(?= )| 00 [sm]$")
"""What a round duration does not need."""

_LABEL: Final = 12
"""Cells between two labels, at least."""

_STEPS: Final = [
    *(base * 10**power for power in range(3, 10) for base in (1, 2, 5)),
    *(seconds * 10**9 for seconds in (10, 15, 30, 60, 120, 300, 600, 900, 1800)),
    *(hours * 3600 * 10**9 for hours in (1, 2, 3, 6, 12, 24, 48, 120, 240, 1200)),
]
"""Round durations, in nanoseconds."""
