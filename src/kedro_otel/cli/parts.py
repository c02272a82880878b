"""All parts of the run that a key names, for `kedro otel show --run-key`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from kedro_otel.cli.common.run_argument import say
from kedro_otel.cli.consent import project_of
from kedro_otel.facts import project, run_key
from kedro_otel.semconv import names

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kedro_otel.viewing.model.trace import Trace


def trace_of(ctx: click.Context, key: str | None, run: str | None, places: Iterable[Path]) -> Trace:
    """Return the whole trace of a run key, or of a run in ``places``.

    Args:
        ctx: The command's.
        key: As in ``KEDRO_OTEL_RUN_KEY``; None for the newest run in ``places``.
        run: Where there is no key: the run's id, or the beginning of its trace id.
        places: Files and folders to read; none for this machine's recordings.

    Raises:
        click.exceptions.Exit: with exit code 1, where nothing of it is recorded.
    """
    from kedro_otel.viewing.model import whole_run
    from kedro_otel.viewing.model.find import NotFoundError

    try:
        if not key:
            return whole_run.newest_below(run, places)
        return _of_key(ctx, key, places)
    except NotFoundError as error:
        say(str(error))
        raise click.exceptions.Exit(1) from None


def _of_key(ctx: click.Context, key: str, places: Iterable[Path]) -> Trace:
    from kedro_otel.viewing.model import run_parts, whole_run

    root = project_of(ctx)
    resource = {names.PROJECT_NAME: project.read(root).package or ""} if root else {}
    found = run_key.find({**os.environ, run_key.VARIABLE: key}, resource)
    if found is None:
        raise click.UsageError(f"{key!r} names no run here")
    listed = list(places)
    segments = (
        whole_run.segments_below(found.trace_id, listed)
        if listed
        else run_parts.segments_of(found.trace_id)
    )
    return whole_run.whole(found.trace_id, found.span_id, segments)


def lines_about(trace: Trace) -> list[str]:
    """Return the lines that say where the time of a run in parts went, and whether its root span is recorded; of another run none."""
    if trace.root_recorded is None:
        return []
    from kedro_otel.viewing.model import whole_run
    from kedro_otel.viewing.text import duration

    shares = whole_run.shares(trace)
    where = (
        f"nodes {duration(shares.nodes_ns)}",
        f"Python and Kedro starting {duration(shares.starting_ns)}",
        f"waiting between tasks {duration(shares.waiting_ns)}",
    )
    lines = ["", f"{' + '.join(where)} = {duration(sum(shares))}"]
    if not trace.root_recorded:
        lines.append("The root is drawn around the parts that are recorded here: no root span is.")
    return lines
