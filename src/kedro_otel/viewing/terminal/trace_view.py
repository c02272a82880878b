"""A trace on a screen: the header, and below it the waterfall."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from kedro_otel.viewing.terminal.header import header
from kedro_otel.viewing.terminal.rows import ROWS, rows
from kedro_otel.viewing.terminal.waterfall import waterfall

if TYPE_CHECKING:
    from kedro_otel.viewing.model.trace import Trace
    from kedro_otel.viewing.terminal.bars import Glyphs


FRAME: Final = 12
"""Lines of a screen that are not nodes': header, axis, command, run, legend, and the shell's own."""

_LEAST: Final = 20
"""Lines of nodes that are shown on any screen: a short one scrolls."""


def render_trace(
    trace: Trace,
    width: int,
    glyphs: Glyphs,
    depth: int | None = None,
    slowest: int | None = None,
    height: int | None = None,
) -> list[Text]:
    """Return the lines of a trace for a screen of ``width`` cells, and ``height`` lines where it is one."""
    most = ROWS if height is None else max(height - FRAME, _LEAST)
    return [
        *header(trace, width, glyphs),
        Text(""),
        *waterfall(trace, width, glyphs, rows(trace, depth, slowest, most)),
    ]
