"""``kedro otel advise``: what to request for a pod, and what workers would bring."""

from __future__ import annotations

import json
import os

import click

from kedro_otel.cli.common.json_output import json_option
from kedro_otel.cli.common.run_argument import (
    RunCommand,
    RunType,
    patient,
    project_options,
    say,
    say_if_off,
    trace_of,
)


@click.command(
    "advise", cls=RunCommand, short_help="What to request for a pod; what workers bring."
)
@click.argument("run", metavar="[RUN]", type=RunType(), required=False)
@click.option(
    "-n",
    "limit",
    type=click.IntRange(min=1, max=1000),
    default=10,
    show_default=True,
    help="Of RUN and up to N-1 earlier runs of its kind.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=2, max=1000),
    multiple=True,
    help="So many workers, several times for several numbers.  [default: 2, 4]",
)
@json_option()
@project_options
@click.pass_context
def advise_(
    ctx: click.Context, run: str | None, limit: int, workers: tuple[int, ...], as_json: bool
) -> None:
    """Show what memory to request for a pod, per node and for the run, and what more workers would bring.

    A request is the highest peak of the last runs and a fifth. A node's peak is that of its process, with what earlier nodes left there:
    a pod of its own needs no more.

    From one run with SequentialRunner it is worked out how long it would take with ThreadRunner or ParallelRunner, and what memory that
    takes. Threads compute one at a time there, which is what Python code does; libraries that release the interpreter lock gain more.
    Starting worker processes is not counted.
    """
    from kedro_otel.viewing.model import advice
    from kedro_otel.viewing.model.baseline import peers

    with patient():
        trace = trace_of(ctx, run)
        if trace.run is None:
            say("advice needs a pipeline run: `kedro otel list` shows them")
            raise click.exceptions.Exit(1)
        history = peers(trace, limit - 1) if limit > 1 else []
        found = advice.advise(trace, history, workers or (2, 4), os.cpu_count() or 1)
    if as_json:
        click.echo(json.dumps({"trace_id": trace.trace_id, **advice.plain(found)}))
    else:
        from kedro_otel.viewing.terminal import console
        from kedro_otel.viewing.terminal.advice_table import table

        screen = console.console()
        console.print_lines(screen, *table(found, screen.width))
    if found.peak is None:
        say("no memory is recorded of these nodes: none took 10 ms, or KEDRO_OTEL_MEMORY is off")
    say_if_off(ctx)
