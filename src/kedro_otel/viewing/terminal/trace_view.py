"""A trace on a screen: the header, and below it the waterfall."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from rich.text import Text

from kedro_otel.viewing.model.not_run import not_run
from kedro_otel.viewing.terminal import used_columns
from kedro_otel.viewing.terminal.console import wrap
from kedro_otel.viewing.terminal.header import header
from kedro_otel.viewing.terminal.rows import ROWS, rows
from kedro_otel.viewing.terminal.waterfall import waterfall
from kedro_otel.viewing.text import clean, count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kedro_otel.viewing.model.trace import Trace
    from kedro_otel.viewing.terminal.bars import Glyphs


FRAME: Final = 12
"""Lines of a screen that are not nodes': header, axis, command, run, legend, and the shell's own."""

_FEW: Final = 8
"""Names of nodes or namespaces that never ran that are listed."""

_LEAST: Final = 20
"""Lines of nodes that are shown on any screen: a short one scrolls."""


def render_trace(
    trace: Trace,
    width: int,
    glyphs: Glyphs,
    depth: int | None = None,
    slowest: int | None = None,
    height: int | None = None,
    columns: Sequence[str] | None = None,
) -> list[Text]:
    """Return the lines of a trace for a screen of ``width`` cells, and ``height`` lines where it is one; ``columns`` are those asked for."""
    most = ROWS if height is None else max(height - FRAME, _LEAST)
    return [
        *header(trace, width, glyphs),
        Text(""),
        *waterfall(
            trace,
            width,
            glyphs,
            rows(trace, depth, slowest, most),
            used_columns.chosen(trace, width, columns),
        ),
        *_not_run(trace, width),
    ]


def _not_run(trace: Trace, width: int) -> list[Text]:
    """Return which nodes a failed run never came to: by name, or of many how many in each outermost namespace."""
    nodes = not_run(trace)
    if not nodes:
        return []
    words = [clean(node.name) for node in nodes]
    if len(nodes) > _FEW:
        spaces = Counter(node.namespace.partition(".")[0] for node in nodes)
        words = [
            f"{clean(name) or 'in no namespace'} ({number:,})" for name, number in spaces.items()
        ]
    head = f"{count(len(nodes), 'node')} never ran"
    if len(words) <= _FEW:
        words[0] = f"{head}: {words[0]}"
    else:
        words = [head]
    return [Text(""), *wrap([Text(word, "bright_black") for word in words], width, ", ")]
