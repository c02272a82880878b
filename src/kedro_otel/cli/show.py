"""``kedro otel list`` and ``show``: what is recorded, and what it looks like."""

from __future__ import annotations

import json
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kedro_otel.cli import parts
from kedro_otel.cli.common.json_output import json_option
from kedro_otel.cli.common.run_argument import (
    RunCommand,
    RunType,
    entry_of,
    patient,
    project_options,
    say,
    say_if_off,
    scope_of,
    since_ns,
    tell_link,
    tidy,
    trace_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedro_otel.viewing.model.find import Entry
    from kedro_otel.viewing.model.summary import Summary
    from kedro_otel.viewing.model.trace import Trace

_COMMAND = 10_000
"""Characters of a command that is to be copied."""

_WAIT = 0.25
"""Seconds between two looks for a run that begins."""


@click.command("list", short_help="List what ran, newest first.")
@click.option(
    "-n",
    "limit",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="At most so many; 0 is all.",
)
@click.option("--failed", is_flag=True, help="Only what failed, was killed or interrupted.")
@click.option("--pipeline", help="Only runs of this pipeline.")
@click.option(
    "--since",
    metavar="TIME",
    help="Only what began since: 30m, 2h, 3d, 1w, today, or a date and time.",
)
@project_options
@json_option("Print a JSON list.")
@click.pass_context
def list_(
    ctx: click.Context,
    limit: int,
    failed: bool,
    pipeline: str | None,
    since: str | None,
    as_json: bool,
) -> None:
    """List what ran in this project, outside of one in all: outcome, duration, pipeline and command, newest first.

    Name a run to the other commands by its number (-2), its run id, or four characters of its trace id.
    """
    from kedro_otel.viewing.model.find import newest_runs, nothing
    from kedro_otel.viewing.model.private_facts import add_to_entries
    from kedro_otel.viewing.model.summary import summaries

    now = time.time_ns()
    after = since_ns(ctx, since, now)
    with patient():
        scope = scope_of(ctx)
        every = summaries(add_to_entries(newest_runs(scope=scope)), now)
        first = next(every, None)
        if first is None:
            say(nothing(scope=scope))
            say_if_off(ctx)
            raise click.exceptions.Exit(1)
        wanted = _wanted(first, every, after, pipeline, failed=failed)
        found = list(islice(wanted, limit + 1 if limit else None))
    more = bool(limit) and len(found) > limit
    found = found[:limit] if limit else found
    if as_json:
        click.echo(json.dumps([{"run": one.number, **one.plain()} for one in found], indent=2))
    elif found:
        _print_table(found, now)
    if more:
        say(f"there are older ones: kedro otel list -n {limit * 5}")
    if not found:
        say("nothing recorded is like that: `kedro otel list` without options shows what there is")
        raise click.exceptions.Exit(1)
    say_if_off(ctx)
    tidy(ctx)


def _columns(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    """Return ``cpu,rows`` as names of columns."""
    if value is None:
        return None
    words = tuple(word.strip().lower() for word in value.split(",") if word.strip())
    unknown = [word for word in words if word not in ("cpu", "peak", "rows", "none")]
    if unknown or not words:
        raise click.BadParameter(f"{value[:40]!r}: say cpu,peak,rows, some of them, or none")
    return words


@click.command(
    "show", cls=RunCommand, short_help="Draw a run as a waterfall, or follow one that runs."
)
@click.argument("run", type=RunType(), required=False)
@click.option(
    "--depth",
    type=click.IntRange(min=0),
    help="So many levels below the run: a namespace is one, a node in it the next, its loads, saves and spans the next.",
)
@click.option(
    "--slowest",
    metavar="N",
    type=click.IntRange(min=1),
    help="Only the N slowest nodes, slowest first.",
)
@click.option(
    "--follow",
    "-f",
    is_flag=True,
    help="Stay with a run while it runs; wait for the next one if none does.",
)
@click.option(
    "--run-key",
    metavar="KEY",
    help="The run of this key, with all its parts.",
)
@click.option(
    "--from",
    "places",
    multiple=True,
    metavar="PATH",
    type=click.Path(exists=True, path_type=Path),
    help="Recordings to read instead of this machine's: a file, or a folder with all below it.",
)
@click.option(
    "--columns",
    metavar="LIST",
    callback=_columns,
    help="Columns beside it: cpu,peak,rows, some of them, or none. Without it those that say something, from 120 columns of the screen on.",
)
@click.option(
    "--logs",
    metavar="NODE",
    is_flag=False,
    flag_value="",
    help="Print the log lines instead, of one node where one is named: --logs=NODE. With --follow as they come.",
)
@project_options
@json_option()
@click.pass_context
def show_(
    ctx: click.Context,
    run: str | None,
    run_key: str | None,
    places: tuple[Path, ...],
    depth: int | None,
    slowest: int | None,
    follow: bool,
    columns: tuple[str, ...] | None,
    logs: str | None,
    as_json: bool,
) -> None:
    """Draw a run as a waterfall: every node on one time axis, with its loads, computing and saves.

    RUN is nothing (the last pipeline run of this project, outside of one of all), `last` (the last command of any kind), -2 (the run
    before the last), a run id of Kedro's, a trace id, or at least four characters of one.
    """
    if follow:
        others = (run_key, places, as_json, columns)
        if any(others) or depth is not None or slowest is not None:
            raise click.UsageError(
                "--follow goes with no other option than --logs, --project and --all-projects"
            )
        _follow(ctx, run, logs)
        return
    with patient():
        trace = (
            parts.trace_of(ctx, run_key, run, places)
            if run_key or places
            else trace_of(ctx, run, private=True)
        )
        lines = parts.lines_about(trace)
        if logs is not None:
            _print_logs(trace, logs)
            return
        if as_json:
            from kedro_otel.viewing.trace_json import document

            click.echo(json.dumps(document(trace)))
        else:
            from kedro_otel.viewing.model.not_run import resume_command
            from kedro_otel.viewing.terminal import console
            from kedro_otel.viewing.terminal.trace_view import render_trace
            from kedro_otel.viewing.text import clean

            screen = console.console()
            height = screen.height if screen.is_terminal else None
            drawn = render_trace(
                trace, screen.width, console.glyphs(screen), depth, slowest, height, columns
            )
            console.print_lines(screen, *drawn)
            command = resume_command(trace)
            if command:  # whole, however narrow the screen is: it is to be copied
                lines.append(f"to go on from there: {clean(command, _COMMAND)}")
            for line in lines:
                click.echo(line)
    tell_link(ctx, trace)
    tidy(ctx)
    say_if_off(ctx)


def _print_logs(trace: Trace, node: str) -> None:
    from kedro_otel.viewing.model.logs import logged
    from kedro_otel.viewing.model.private_facts import add_logs
    from kedro_otel.viewing.terminal.log_view import lines_of

    add_logs(trace)
    found = logged(trace, node)
    if not found:
        say(f"no log line of {node or 'this run'} is kept")
        raise click.exceptions.Exit(1)
    for line in lines_of(found):
        click.echo(line)


def _follow(ctx: click.Context, run: str | None, logs: str | None) -> None:
    """Attach to the run meant, or to the newest that is alive, or to the next one."""
    from kedro_otel.viewing.model.find import NotFoundError
    from kedro_otel.viewing.model.live_trace import Live
    from kedro_otel.viewing.terminal import console
    from kedro_otel.viewing.terminal.follow import follow

    try:
        entry = entry_of(ctx, run) if run else _alive_or_next(ctx)
        follow(Live(entry), console.console(), logs)
    except NotFoundError as error:
        say(str(error))
        raise click.exceptions.Exit(1) from None
    except KeyboardInterrupt:
        raise click.exceptions.Exit(0) from None


def _alive_or_next(ctx: click.Context) -> Entry:
    from kedro_otel.viewing.model.live_trace import coming, running

    began = time.time_ns()
    scope = scope_of(ctx)
    alive = running(scope=scope)
    if alive:
        if len(alive) > 1:
            say(f"{len(alive)} runs are alive; this is the newest")
        return alive[0]
    say_if_off(ctx)
    say("no run is alive: waiting for the next one (Ctrl-C ends this)")
    return next(entry for entry in coming(began, _WAIT, scope=scope) if entry is not None)


def _wanted(
    first: Summary, rest: Iterator[Summary], after: int, pipeline: str | None, *, failed: bool
) -> Iterator[Summary]:
    """Yield what the filters let through; no older recording is read once all are too old."""
    from kedro_otel.viewing.model import outcome

    one: Summary | None = first
    while one is not None and one.start_ns >= after:
        if (not failed or one.outcome in outcome.BAD) and (
            pipeline is None or one.pipeline == pipeline
        ):
            yield one
        one = next(rest, None)


def _print_table(found: list[Summary], now: int) -> None:
    from kedro_otel.viewing.terminal import console
    from kedro_otel.viewing.terminal.run_table import table

    screen = console.console()
    console.print_lines(screen, *table(found, screen.width, console.glyphs(screen), now))
