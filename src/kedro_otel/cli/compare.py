"""``kedro otel compare``: what took longer than before, and whether that means anything."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import click

from kedro_otel.cli.common.json_output import json_option, warn_of_log_line
from kedro_otel.cli.common.run_argument import (
    RunCommand,
    RunType,
    patient,
    project_options,
    say,
    say_if_off,
    trace_of,
)

if TYPE_CHECKING:
    from kedro_otel.viewing.model.comparison import Comparison
    from kedro_otel.viewing.model.trace import Trace


def _share(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return ``20%``, ``20`` or ``20 %`` as 0.2."""
    if value is None:
        return None
    found = re.fullmatch(r"\s*(\d{1,6}(?:\.\d+)?)\s*%?\s*", value)
    if not found:
        raise click.BadParameter(f"{value!r} is no percentage: say 20%")
    return float(found[1]) / 100


@click.command("compare", cls=RunCommand, short_help="Compare a run with those before it.")
@click.argument("a", metavar="[A]", type=RunType(), required=False)
@click.argument("b", metavar="[B]", type=RunType(), required=False)
@click.option(
    "--fail-if-slower",
    "allowed",
    metavar="PERCENT",
    callback=_share,
    help="Print one line; exit 1 if the run took so much longer.",
)
@click.option("--all", "every", is_flag=True, help="Show also what is as before.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print a comment for a pull request.")
@json_option()
@project_options
@click.pass_context
def compare_(
    ctx: click.Context,
    a: str | None,
    b: str | None,
    allowed: float | None,
    every: bool,
    as_markdown: bool,
    as_json: bool,
) -> None:
    """Compare a run with those before it, node by node and dataset by dataset.

    Without A and B: the last run with the median of up to 15 earlier ones that succeeded, of the same pipeline, filter, runner and
    environment. With A: that run with those before it. With both: B with A. A and B as RUN of `kedro otel show`.

    A difference is called slower or faster only if it is larger than earlier runs differ among themselves.
    """
    if as_markdown and as_json:
        raise click.UsageError("--markdown or --json, not both")
    from kedro_otel.viewing.terminal import comparison_text

    now = time.time_ns()
    with patient():
        found = _compared(ctx, a, b, lenient=allowed is not None)
        if as_json:
            click.echo(json.dumps(comparison_text.plain(found)))
        elif as_markdown:
            warn_of_log_line(ctx)
            click.echo(comparison_text.markdown(found, now))
        elif allowed is None:
            from kedro_otel.viewing.terminal import console

            screen = console.console()
            console.print_lines(
                screen,
                *comparison_text.screen_lines(
                    found, screen.width, console.glyphs(screen), now, every=every
                ),
            )
    say_if_off(ctx)
    if allowed is not None:
        slower = (
            found.run.verdict == "slower"
            and found.run.relative is not None
            and found.run.relative > allowed
        )
        click.echo(
            f"kedro-otel: {comparison_text.line(found, allowed, now, slower=slower)}",
            err=as_json or as_markdown,
        )
        if slower:
            raise click.exceptions.Exit(1)


def _compared(ctx: click.Context, a: str | None, b: str | None, *, lenient: bool) -> Comparison:
    """Return the comparison asked for; where there is nothing to compare with, say so and end the command."""
    from kedro_otel.viewing.model import outcome
    from kedro_otel.viewing.model.baseline import peers
    from kedro_otel.viewing.model.comparison import compare, profile

    named = trace_of(ctx, a) if b is not None else None
    after = trace_of(ctx, b if b is not None else a)
    if after.run is None or (named is not None and named.run is None):
        say("only pipeline runs can be compared: `kedro otel list` shows them")
        raise click.exceptions.Exit(1)
    history = peers(after)
    ended = outcome.of(after)
    if ended != outcome.OK:
        say(f"the run {_ended(ended)}: only nodes that completed are compared")
    if named is None and not history:
        say(_alone(after))
        raise click.exceptions.Exit(0 if lenient else 1)
    return compare(
        profile(after),
        profile(named) if named else None,
        [profile(one) for one in history],
        complete=ended == outcome.OK,
    )


def _ended(word: str) -> str:
    return {
        "failed": "failed",
        "killed": "was killed",
        "interrupted": "was interrupted",
        "running": "is still running",
    }.get(word, "has no known end")


def _alone(trace: Trace) -> str:
    from kedro_otel.semconv import names
    from kedro_otel.viewing.text import clean

    known: dict[str, Any] = dict(trace.run.operation.attributes) if trace.run else {}
    name = clean(known.get(names.PIPELINE_NAME, ""), 80)
    return f"there is no earlier successful run of pipeline {name} like this one to compare with: name two runs, `kedro otel compare -2 -1`"
