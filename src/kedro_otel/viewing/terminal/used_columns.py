"""Columns beside the waterfall: what a node used, and how many rows there were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kedro_otel.semconv import names
from kedro_otel.viewing.text import bytes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kedro_otel.viewing.model.trace import Span, Trace
    from kedro_otel.viewing.terminal.rows import Row

CPU: Final = "cpu"
PEAK: Final = "peak"
ROWS: Final = "rows"
NONE: Final = "none"

WIDE: Final = 120
"""Cells of a screen from which on they are there without being asked for."""


class Column(NamedTuple):
    """One column: its name for ``--columns``, title, cells with the space before, and what it says of a node, load or save."""

    name: str
    title: str
    width: int
    text: Callable[[Span], str]

    def cell(self, row: Row) -> str:
        """Return what it says of a line; nothing of one that stands for several operations."""
        text = self.text(row.span) if row.span is not None and len(row.members) == 1 else ""
        return f"{text:>{self.width}}"


def chosen(trace: Trace, width: int, wanted: Sequence[str] | None = None) -> list[Column]:
    """Return the columns for a screen of ``width`` cells: those ``wanted``, or, of those that say anything, as many as there is room for."""
    if wanted is not None:
        return [column for column in COLUMNS if column.name in wanted]
    if width < WIDE:
        return []
    spans = trace.spans(names.NODE, names.DATASET)
    return [column for column in COLUMNS if any(column.text(span) for span in spans)]


def _cpu(span: Span) -> str:
    used = _number(span, names.NODE_CPU)
    share = used * 1e9 / span.duration_ns if used is not None and span.duration_ns else None
    return "" if share is None else f"{share:.0%}"


def _peak(span: Span) -> str:
    peak = _number(span, names.NODE_PEAK)
    at_most = span.operation.attributes.get(names.NODE_PEAK_METHOD) == names.PEAK_AT_MOST
    return "" if peak is None else f"{'<' if at_most else ''}{bytes_of(peak)}"


def _rows(span: Span) -> str:
    """Return a dataset's rows; of a node, those that it saved."""
    of = span.children if span.operation.operation == names.NODE else [span]
    saved = [
        one
        for one in of
        if one is span or one.operation.attributes.get(names.DATASET_OPERATION) == "save"
    ]
    counts = [rows for one in saved if (rows := _number(one, names.DATASET_ROWS)) is not None]
    return f"{sum(counts):,.0f}" if counts else ""


def _number(span: Span, key: str) -> float | None:
    value: Any = span.operation.attributes.get(key)
    return value if type(value) in (int, float) and value >= 0 else None


COLUMNS: Final = (
    Column(CPU, "CPU", 7, _cpu),
    Column(PEAK, "peak", 11, _peak),
    Column(ROWS, "rows", 13, _rows),
)
"""All of them, in the order in which they stand."""
