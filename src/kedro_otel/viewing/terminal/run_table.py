"""``kedro otel list`` on a screen: one line a run, newest first, by day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from kedro_otel.viewing.model import outcome
from kedro_otel.viewing.terminal.header import mark, style
from kedro_otel.viewing.text import clean, duration, moment

if TYPE_CHECKING:
    from kedro_otel.viewing.model.summary import Summary
    from kedro_otel.viewing.terminal.bars import Glyphs

_ID: Final = 8
"""Digits of a trace id that are shown; four are enough to name it."""

_TREND: Final = 10
"""Cells of the bar that compares a run's duration with the longest of its pipeline's in the list."""

_INDENT: Final = 7
"""Cells before the message of what failed, which has a line of its own."""

_ROOMY: Final = 80


def table(found: list[Summary], width: int, glyphs: Glyphs, now_ns: int) -> list[Text]:
    """Return the lines of the list."""
    longest: dict[tuple[str, str], int] = {}
    for one in found:
        key = (one.project, one.pipeline)
        longest[key] = max(longest.get(key, 0), one.duration_ns)
    several = len({one.project for one in found if one.project}) > 1
    lines: list[Text] = []
    day = ""
    for one in found:
        today, clock = moment(one.start_ns, now_ns).rsplit(" ", 1)
        if today != day:
            day = today
            lines.append(Text(day, "bold"))
        lines.append(
            _line(one, clock, width, glyphs, longest[one.project, one.pipeline], project=several)
        )
        parts = _message(one.error_message, max(width - _INDENT, _INDENT))
        lines += [Text(f"{'':{_INDENT}}{part}", "red") for part in parts]
    return lines


def _message(message: str, width: int) -> list[str]:
    """Return a message in two lines at most, without the hints that Kedro adds to it."""
    whole = clean(" ".join(message.partition("\nHint:")[0].split()), 2 * width)
    if len(whole) <= width:
        return [whole] if whole else []
    at = whole.rfind(" ", 0, width + 1)
    if at < 0 or len(whole) - at - 1 > width:
        at = width
    return [whole[:at], whole[at:].strip()]


def _line(
    one: Summary, clock: str, width: int, glyphs: Glyphs, longest: int, *, project: bool
) -> Text:
    line = Text()
    line.append(f"{one.number or '':>4} ", "cyan")
    line.append(f"{mark(one.outcome, glyphs)} ", style(one.outcome))
    line.append(f"{clock} ")
    line.append(f"{'?' if one.outcome == outcome.UNCLEAR else duration(one.duration_ns):>8} ")
    if width >= _ROOMY:
        line.append(
            bar(one.duration_ns / longest if longest and one.number else 0, glyphs),
            "red" if one.error_type else "blue",
        )
        line.append(f" {one.trace_id[:_ID]} ", "bright_black")
    command = one.command or "in Python"
    command += f" in {one.parts} parts" if one.parts else ""
    parts = [(command, "bold" if one.number else ""), (one.pipeline, "")]
    parts += [
        (one.runner if one.runner != "SequentialRunner" else "", ""),
        (one.project if project else "", "bright_black"),
    ]
    parts += [("not sampled" if not one.sampled else "", "bright_black")]
    parts += [(_how(one), style(one.outcome).removeprefix("bold "))]
    shown = [(clean(text, 60), look) for text, look in parts if text]
    for index, (text, look) in enumerate(shown):
        line.append(f" {glyphs.dot} " if index else "", "bright_black")
        line.append(text, look or None)
    return line


def _how(one: Summary) -> str:
    if one.outcome in (outcome.KILLED, outcome.RUNNING, outcome.INTERRUPTED):
        return one.outcome
    if one.outcome == outcome.UNCLEAR:
        return "end unknown"
    return " at ".join(
        filter(None, (outcome.types(one.error_type, one.error_cause), one.error_where))
    )


def bar(part: float, glyphs: Glyphs) -> str:
    """Return a bar of ten cells, filled as far as ``part`` (0 to 1) says."""
    eighths = min(round(part * _TREND * 8), _TREND * 8)
    if part > 0:
        eighths = max(eighths, 1)
    return (
        glyphs.compute * (eighths // 8) + (glyphs.parts[eighths % 8 - 1] if eighths % 8 else "")
    ).ljust(_TREND)
