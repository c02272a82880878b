"""``kedro otel export`` and ``nodes``: recorded runs in the formats of other tools."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from kedro_otel.cli.common.json_output import warn_of_log_line
from kedro_otel.cli.common.output import fail, write_file
from kedro_otel.cli.common.run_argument import (
    RunCommand,
    RunType,
    patient,
    project_options,
    say,
    say_if_off,
    since_ns,
    trace_of,
)
from kedro_otel.cli.consent import project_of
from kedro_otel.config import destination

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedro_otel.viewing.model.trace import Trace

_OTLP: Final = "otlp"
_PERFETTO: Final = "perfetto"
_OPENLINEAGE: Final = "openlineage"
_FORMATS: Final = (_OTLP, _PERFETTO, _OPENLINEAGE)


@click.command("export", cls=RunCommand, short_help="Write a run in the format of another tool.")
@click.argument("run", type=RunType(), required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMATS),
    default=_OTLP,
    show_default=True,
    help="otlp: one line per process, as any OTLP/HTTP receiver takes it. perfetto: a file for "
    "ui.perfetto.dev and chrome://tracing. openlineage: one event a line, in the namespace that "
    "OPENLINEAGE_NAMESPACE names.",
)
@click.option(
    "-o", "--output", metavar="FILE", default="-", help="Where to write it. [default: stdout]"
)
@click.option(
    "--as-sent",
    is_flag=True,
    help="Print the messages that would leave at the detail in force, counters included.",
)
@project_options
@click.pass_context
def export_(ctx: click.Context, run: str | None, form: str, output: str, as_sent: bool) -> None:
    """Write a run in the format of another tool.

    RUN as for `kedro otel show`.
    """
    if as_sent and form != _OTLP:
        raise click.UsageError("--as-sent goes with --format otlp alone")
    if output == "-":
        warn_of_log_line(ctx)
    with patient():
        trace = trace_of(ctx, run, together=False)
        documents = _as_sent(ctx, trace) if as_sent else _documents(trace, form)
        _write(documents, output)
    left = sum(span.operation.end_ns is None for span in trace.root.walk())
    if left and form == _OTLP:
        say(f"{left} operations have not ended and are left out")


@click.command("nodes", short_help="Print the nodes of every run as JSON lines, for SQL.")
@click.option(
    "--since",
    metavar="TIME",
    help="Only runs that began since: 30m, 2h, 3d, 1w, today, or a date and time.",
)
@click.option(
    "-o", "--output", metavar="FILE", default="-", help="Where to write them. [default: stdout]"
)
@click.pass_context
def nodes_(ctx: click.Context, since: str | None, output: str) -> None:
    """Print the nodes of every recorded run, the newest run first: one JSON object a line.

    DuckDB, pandas and others read it as a table.
    """
    if output == "-":
        warn_of_log_line(ctx)
    with patient():
        _write(_node_rows(since_ns(ctx, since, time.time_ns())), output)
    say_if_off(ctx)


def _write(documents: Iterator[dict[str, Any]], output: str) -> None:
    lines = (json.dumps(one, separators=(",", ":")) for one in documents)
    if output == "-":
        for line in lines:
            click.echo(line)
    else:
        write_file(Path(output), "".join(f"{line}\n" for line in lines).encode())


def _documents(trace: Trace, form: str) -> Iterator[dict[str, Any]]:
    if form == _PERFETTO:
        from kedro_otel.viewing.formats.perfetto import document

        return iter([document(trace)])
    if form == _OPENLINEAGE:
        return _lineage(trace)
    from kedro_otel.viewing.otlp_json import messages

    return messages(trace)


def _lineage(trace: Trace) -> Iterator[dict[str, Any]]:
    if trace.run is None:
        fail("that is no pipeline run: `kedro otel list` shows which there are")
    try:
        from kedro_otel.viewing.formats.openlineage import NAMESPACE, events
    except ModuleNotFoundError:
        fail("OpenLineage's classes are missing: pip install 'kedro-otel[openlineage]'")
    return events(trace, os.environ.get("OPENLINEAGE_NAMESPACE") or NAMESPACE)


def _node_rows(since: int) -> Iterator[dict[str, Any]]:
    from kedro_otel.viewing.formats.node_rows import rows
    from kedro_otel.viewing.model.find import NotFoundError, newest_first
    from kedro_otel.viewing.model.trace import load

    for entry in newest_first():
        if entry.operation.start_ns < since:
            return
        if entry.run is not None:
            try:
                yield from rows(load(entry))
            except NotFoundError:  # it has been removed since the list was made
                continue


def _as_sent(ctx: click.Context, trace: Trace) -> Iterator[dict[str, Any]]:
    from kedro_otel.config import settings
    from kedro_otel.shipping.preview import log_messages, messages

    known = settings.load(os.environ, project_of(ctx))
    kept = destination.kept(known)
    for why in kept.values():
        say(why)
    if destination.current(known) is None and len(kept) < len(destination.signals(known)):
        say("no endpoint is named, so nothing leaves; this is what would")
    yield from messages(((span.header, span.operation) for span in trace.root.walk()), known)
    yield from log_messages([segment.path for segment in trace.segments], trace.trace_id, known)
