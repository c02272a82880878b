"""``kedro otel history`` on a screen: one line a run, with a bar, and a mark on what stands out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from kedro_otel.viewing.model import history, outcome
from kedro_otel.viewing.terminal.header import mark, style
from kedro_otel.viewing.terminal.run_table import bar
from kedro_otel.viewing.text import bytes_of, clean, count, duration, moment

if TYPE_CHECKING:
    from kedro_otel.viewing.model.history import Flaky, History, Point
    from kedro_otel.viewing.terminal.bars import Glyphs

_COMMIT: Final = 9
_NAME: Final = 60
_WORDS: Final = {
    ("duration", history.ABOVE): "slow",
    ("duration", history.BELOW): "fast",
    ("memory", history.ABOVE): "more memory",
    ("memory", history.BELOW): "less memory",
    ("rows", history.ABOVE): "more rows",
    ("rows", history.BELOW): "fewer rows",
}


def table(found: History, glyphs: Glyphs, now_ns: int) -> list[Text]:
    """Return the lines: a title, one for each run, and the flaky nodes."""
    points = found.points
    longest = max((one.took_ns for one in points), default=0)
    several = len({one.run.known["pipeline"] for one in points}) > 1
    projects = len({one.run.known["project"] for one in points}) > 1
    lines = [Text(_title(found), "bold")]
    for one in points:
        line = Text()
        line.append(f"{one.run.number or '':>4} ", "cyan")
        line.append(f"{mark(one.outcome, glyphs)} ", style(one.outcome))
        line.append(f"{moment(one.run.start_ns, now_ns):>20} ")
        line.append(f"{'?' if one.outcome == outcome.UNCLEAR else duration(one.took_ns):>9} ")
        line.append(
            bar(one.took_ns / longest if longest else 0, glyphs),
            "blue" if one.outcome == outcome.OK else "red",
        )
        for column in _columns(found, one):
            line.append(f" {column}")
        commit = str(one.run.known["revision"] or "")[:_COMMIT]
        line.append(f" {commit or '-':<{_COMMIT}}", "bright_black")
        parts = [
            str(one.run.known["pipeline"] or "") if several else "",
            str(one.run.known["project"] or "") if projects else "",
        ]
        for part in filter(None, parts):
            line.append(f" {clean(part, _NAME)}", "bright_black")
        marks = [_WORDS[item] for item in one.stands_out.items()]
        if marks:
            line.append(f" {glyphs.before} {', '.join(marks)}", "bold yellow")
        lines.append(line)
    return lines + [_flaky(one) for one in found.flaky]


def _flaky(one: Flaky) -> Text:
    return Text(
        f"flaky: {clean(one.node, _NAME)} failed {one.failed} of {one.failed + one.passed} times"
        f" at commit {clean(one.revision[:_COMMIT])}",
        "bold yellow",
    )


def _title(found: History) -> str:
    usual = f", usually {duration(found.usual_ns)}" if found.usual_ns is not None else ""
    if found.kind == history.RUNS:
        return f"{count(len(found.points), 'run')}{usual}"
    return f"{found.kind} {clean(found.name, _NAME)}: {count(len(found.points), 'run')}{usual}"


def _columns(found: History, one: Point) -> list[str]:
    """Return the further columns, as far as any run has something to show in them."""
    columns = []
    if one.use is not None:
        parts = [
            f"{number} × {word} {duration(took)}"
            for number, word, took in (
                (one.use.loads, "load", one.use.load_ns),
                (one.use.saves, "save", one.use.save_ns),
            )
            if number
        ]
        columns.append(f"{', '.join(parts):<34}")
    if any(point.cpu is not None for point in found.points):
        cpu = "" if one.cpu is None else f"cpu {duration(round(one.cpu * 1e9))}"
        columns.append(f"{cpu:>12}")
    if any(point.memory is not None for point in found.points):
        columns.append(f"{'' if one.memory is None else bytes_of(one.memory):>9}")
    if any(point.rows is not None for point in found.points):
        columns.append(f"{'' if one.rows is None else count(one.rows, 'row'):>14}")
    return columns
