"""A screen to write on: as wide as it is, coloured where it may be, and with no character that it cannot show."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from kedro_otel.viewing.terminal.bars import ASCII, UNICODE

if TYPE_CHECKING:
    from typing import TextIO

    from kedro_otel.viewing.terminal.bars import Glyphs

WIDE: Final = 100
"""Columns where nobody looks: a pipe or a file."""


def console(file: TextIO | None = None, width: int | None = None) -> Console:
    """Return a console on ``file`` (stdout) that takes text as it is: no markup, no emoji codes, no highlighting.

    ``NO_COLOR``, ``FORCE_COLOR``, ``TERM=dumb`` and ``COLUMNS`` count, as rich has it. What the encoding lacks becomes a question mark.
    """
    file = sys.stdout if file is None else file
    with contextlib.suppress(AttributeError, ValueError, OSError):
        file.reconfigure(errors="replace")  # type: ignore[union-attr]
    found = Console(file=file, markup=False, emoji=False, highlight=False, width=width)
    if width is None and not found.is_terminal and not os.environ.get("COLUMNS"):
        found.width = WIDE
    return found


def glyphs(screen: Console) -> Glyphs:
    """Return the characters that the screen's encoding has."""
    return UNICODE if screen.encoding.lower().replace("-", "").startswith("utf") else ASCII


def print_lines(screen: Console, *lines: Text) -> None:
    """Print lines, each cut at the screen's edge rather than wrapped."""
    for line in lines:
        line.rstrip()
        screen.print(line, no_wrap=True, overflow="ellipsis", crop=True, soft_wrap=False)


def fit(text: str, cells: int, ellipsis: str = "…") -> str:
    """Return ``text`` in exactly so many cells: padded, or cut in its middle."""
    if cells <= 0:
        return ""
    if cell_len(text) <= cells:
        return set_cell_size(text, cells)
    head = (cells - 1) // 2
    tail = cells - 1 - head
    end = ""
    for character in reversed(text):
        if cell_len(character + end) > tail:
            break
        end = character + end
    return set_cell_size(set_cell_size(text, head).rstrip(" ") + ellipsis + end, cells)


def join(parts: list[tuple[str, str]]) -> Text:
    """Return one line of parts, each with its style."""
    line = Text()
    for text, style in parts:
        line.append(text, style or None)
    return line


def wrap(parts: list[Text], width: int, between: str = "   ") -> list[Text]:
    """Lay parts side by side, and none across two lines unless it is too long for one."""
    lines: list[Text] = []
    for part in parts:
        if lines and lines[-1].cell_len + cell_len(between) + part.cell_len <= width:
            lines[-1].append(between, "bright_black").append_text(part)
        else:
            lines.append(part)
    return lines
