"""``kedro otel check``: whether a run's data are what their own history says."""

from __future__ import annotations

import json

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
    "check", cls=RunCommand, short_help="Check the data of a run against the runs before it."
)
@click.argument("run", metavar="[RUN]", type=RunType(), required=False)
@json_option()
@project_options
@click.pass_context
def check_(ctx: click.Context, run: str | None, as_json: bool) -> None:
    """Report which datasets of a run differ from the runs before it: in rows, columns, schema or size.

    Exit code 1 if there is one, for CI. RUN as of `kedro otel show`. The run is held against up to 15 earlier ones that succeeded, of the
    same pipeline, filter, runner and environment; a dataset that fewer than five of them have says nothing.

    Growth that goes on as before, and what varied as much before, is not reported.
    """
    from kedro_otel.viewing.model import data_history
    from kedro_otel.viewing.model.baseline import peers
    from kedro_otel.viewing.terminal import data_text
    from kedro_otel.viewing.text import count

    with patient():
        trace = trace_of(ctx, run)
        if trace.run is None:
            say("only pipeline runs can be checked: `kedro otel list` shows them")
            raise click.exceptions.Exit(1)
        history = [data_history.of_trace(one) for one in peers(trace)]
        data = data_history.of_trace(trace)
        found = data_history.departures(data, history)
    if as_json:
        rows = [data_text.plain(one) for one in found]
        click.echo(
            json.dumps({"trace_id": trace.trace_id, "runs": len(history), "departures": rows})
        )
    for one in found if not as_json else ():
        click.echo(data_text.line(one))
    if len(history) < data_history.FEW:
        say(
            f"{count(len(history), 'earlier run')} like this one: data are checked from {data_history.FEW} on"
        )
    elif not found:
        known = sum(any(part is not None for part in one) for one in data.values())
        say(f"as before: {count(known, 'dataset')} held against {len(history)} earlier runs")
    say_if_off(ctx)
    if found:
        raise click.exceptions.Exit(1)
