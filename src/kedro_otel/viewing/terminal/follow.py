"""``kedro otel show --follow``: a live tree on a terminal, a line for each node elsewhere, or log lines; the whole picture at the end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.live import Live as Screen
from rich.text import Text

from kedro_otel.recording.model import OPEN
from kedro_otel.semconv import names
from kedro_otel.viewing.model.live_logs import LiveLogs
from kedro_otel.viewing.model.live_trace import over
from kedro_otel.viewing.model.outcome import failure, word
from kedro_otel.viewing.model.private_facts import add_to_trace
from kedro_otel.viewing.model.trace import node_count
from kedro_otel.viewing.terminal.console import glyphs, join, print_lines
from kedro_otel.viewing.terminal.header import header, mark, style
from kedro_otel.viewing.terminal.log_view import new_lines
from kedro_otel.viewing.terminal.rows import ROWS, rows
from kedro_otel.viewing.terminal.trace_view import render_trace
from kedro_otel.viewing.terminal.waterfall import waterfall
from kedro_otel.viewing.text import clean, count, duration, moment

if TYPE_CHECKING:
    from rich.console import Console

    from kedro_otel.viewing.model.live_trace import Live
    from kedro_otel.viewing.model.trace import Trace
    from kedro_otel.viewing.terminal.bars import Glyphs

EVERY: Final = 0.25
"""Seconds between two looks, at least; looking takes at most a fifth of the time."""

_SHARE: Final = 4
_FRAME: Final = 8
"""Lines of a terminal that are not nodes': header, axis, command, run, legend."""

_PROGRESS: Final = 30


def follow(live: Live, console: Console, logs: str | None = None) -> Trace:
    """Show a trace until it is over, then whole. Ctrl-C ends the watching early, and what is known so far is shown.

    With ``logs`` log lines are printed as they come: of the node of that name, of all where it is empty.
    """
    trace = live.look()
    try:
        if logs is not None:
            trace = _logging(live, console, trace, LiveLogs(logs))
        else:
            watch = _moving if console.is_terminal else _telling
            trace = watch(live, console, trace)
    except KeyboardInterrupt:
        trace = live.look()
    add_to_trace(trace)
    print_lines(console, *render_trace(trace, console.width, glyphs(console)))
    return trace


def _moving(live: Live, console: Console, trace: Trace) -> Trace:
    drawn = glyphs(console)
    with Screen(
        console=console,
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as screen:
        while not over(trace):
            begin = time.monotonic()
            screen.update(Group(*_frame(trace, console, drawn)), refresh=True)
            spent = time.monotonic() - begin
            time.sleep(max(EVERY, _SHARE * spent))
            trace = live.look()
    return trace


def _frame(trace: Trace, console: Console, drawn: Glyphs) -> list[Text]:
    """One picture, no taller than the terminal."""
    height = max(console.height - 1, 3)
    above = [*header(trace, console.width, drawn), _progress(trace, drawn)]
    most = max(min(height - len(above) - _FRAME, ROWS), 2)
    lines = [*above, *waterfall(trace, console.width, drawn, rows(trace, most=most))][:height]
    for line in lines:
        line.truncate(console.width, overflow="ellipsis")
    return lines


def _progress(trace: Trace, drawn: Glyphs) -> Text:
    nodes = [node for node in trace.spans(names.NODE) if trace.run and node.parent is trace.run]
    done = sum(node.operation.state != OPEN for node in nodes)
    planned = node_count(trace).total
    if not planned:
        return Text(f"  {count(done, 'node')} done", "cyan")
    full = _PROGRESS * done // planned
    return join(
        [
            ("  ", ""),
            (drawn.compute * full, "green"),
            (drawn.load * (_PROGRESS - full), "bright_black"),
            (f" {done:,} of {count(planned, 'node')}", "cyan"),
        ]
    )


def _telling(live: Live, console: Console, trace: Trace) -> Trace:
    """Print a line when a node has ended: for a pipe, where nothing moves."""
    printed: set[str] = set()
    while True:
        for node in sorted(trace.spans(names.NODE), key=lambda node: node.end_ns):
            if node.operation.state != OPEN and node.operation.span_id not in printed:
                printed.add(node.operation.span_id)
                outcome, known = word(node.operation), failure(node)
                line = [
                    (f"{mark(outcome, glyphs(console))} ", style(outcome)),
                    (
                        f"{moment(node.end_ns, trace.now_ns).rpartition(' ')[2]} {duration(node.duration_ns):>8} {clean(node.operation.name)}",
                        "",
                    ),
                    (
                        f" {clean(known.types)} {clean(known.where)}".rstrip()
                        if node.operation.error
                        else "",
                        "red",
                    ),
                ]
                print_lines(console, join(line))
        if over(trace):
            print_lines(console, Text(""))
            return trace
        time.sleep(EVERY)
        trace = live.look()


def _logging(live: Live, console: Console, trace: Trace, logs: LiveLogs) -> Trace:
    """Print log lines as they come."""
    before = None
    while True:
        found = logs.look(trace)
        for line in new_lines(found, before):
            console.print(Text(line), soft_wrap=True)
        before = found[-1].span if found else before
        if over(trace):
            print_lines(console, Text(""))
            return trace
        time.sleep(EVERY)
        trace = live.look()
