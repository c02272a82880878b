"""``kedro otel history``: runs, a node or a dataset over the last runs."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click

from kedro_otel.cli.common.json_output import json_option
from kedro_otel.cli.common.run_argument import (
    patient,
    project_options,
    say,
    say_if_off,
    scope_of,
    tidy,
)

if TYPE_CHECKING:
    from kedro_otel.viewing.index import Index, Run
    from kedro_otel.viewing.model.history import History

_CLOSE = 3
"""Names that are offered where one is not known."""


@click.command("history", short_help="Show a project's runs, a node or a dataset over time.")
@click.argument("name", metavar="[NODE|DATASET]", required=False)
@click.option(
    "-n",
    "limit",
    type=click.IntRange(min=1, max=10_000),
    default=20,
    show_default=True,
    help="Of the last N pipeline runs.",
)
@click.option("--pipeline", help="Only runs of this pipeline.")
@project_options
@json_option()
@click.pass_context
def history_(
    ctx: click.Context, name: str | None, limit: int, pipeline: str | None, as_json: bool
) -> None:
    """Show the last runs of this project, outside of one of all: outcome, start, duration, commit.

    With the name of a node or a dataset: how long that took in each, and its memory and rows where they were recorded.

    What stands out is marked: further from the median of those that succeeded than four robust standard deviations, a tenth, and 20 ms.
    A node that failed and passed on the same commit is named as flaky.
    """
    from kedro_otel.viewing import index_file
    from kedro_otel.viewing.model import history
    from kedro_otel.viewing.model.find import nothing

    scope = scope_of(ctx)

    def question(table: Index) -> History | None:
        runs = table.runs(scope, limit, pipeline=pipeline)
        if runs:
            return history.of_runs(table, runs) if name is None else _named(table, runs, name)
        say(
            "no run of this pipeline is recorded: `kedro otel history` shows what there is"
            if pipeline is not None and table.runs(scope, 1)
            else nothing(scope=scope)
        )
        return None

    with patient():
        found = index_file.answer(question)
    if found is None:
        say_if_off(ctx)
        raise click.exceptions.Exit(1)
    if as_json:
        click.echo(json.dumps(history.plain(found), indent=2))
    else:
        from kedro_otel.viewing.terminal import console
        from kedro_otel.viewing.terminal.history_table import table as lines

        screen = console.console()
        console.print_lines(screen, *lines(found, console.glyphs(screen), time.time_ns()))
    say_if_off(ctx)
    tidy(ctx)


def _named(table: Index, runs: list[Run], name: str) -> History:
    """Return the history of a node or else a dataset; where there is none of that name, say so and end the command."""
    from difflib import get_close_matches

    from kedro_otel.viewing.model import history
    from kedro_otel.viewing.text import clean

    for found in (history.of_node(table, runs, name), history.of_dataset(table, runs, name)):
        if found.points:
            return found
    close = get_close_matches(name, table.node_names(runs), _CLOSE)
    like = f", but {', '.join(clean(one, 80) for one in close)}" if close else ""
    say(
        f"no node or dataset {clean(name, 80)} is in the last {len(runs)} runs{like}; -n 100 looks further back"
    )
    raise click.exceptions.Exit(1)
