"""A trace on a screen: the header, and below it the waterfall."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from kedro_otel.viewing.terminal.header import header
from kedro_otel.viewing.terminal.rows import rows
from kedro_otel.viewing.terminal.waterfall import waterfall

if TYPE_CHECKING:
    from kedro_otel.viewing.model.trace import Trace
    from kedro_otel.viewing.terminal.bars import Glyphs


def render_trace(
    trace: Trace, width: int, glyphs: Glyphs, depth: int | None = None, slowest: int | None = None
) -> list[Text]:
    """Return the lines of a trace for a screen of ``width`` cells."""
    return [
        *header(trace, width, glyphs),
        Text(""),
        *waterfall(trace, width, glyphs, rows(trace, depth, slowest)),
    ]
