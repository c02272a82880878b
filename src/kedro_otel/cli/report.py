"""``kedro otel report``: a run as one HTML file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from kedro_otel.cli.common.json_output import json_option, warn_of_log_line
from kedro_otel.cli.common.output import fail, write_file
from kedro_otel.cli.common.run_argument import (
    RunCommand,
    RunType,
    patient,
    project_options,
    say_if_off,
    trace_of,
)
from kedro_otel.config import files, paths


@click.command("report", cls=RunCommand, short_help="Write a run as one HTML file.")
@click.argument("run", type=RunType(), required=False)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where to write it; - is stdout. [default: reports/run-TRACE.html beside the recordings]",
)
@click.option("--open", "in_browser", is_flag=True, help="Open it in the browser.")
@click.option(
    "--masked",
    is_flag=True,
    help="Leave out what is kept on this machine alone: error messages, stack traces, arguments as typed, log lines.",
)
@json_option("Print a JSON object that says what was written where.")
@project_options
@click.pass_context
def report_(
    ctx: click.Context,
    run: str | None,
    output: str | None,
    in_browser: bool,
    masked: bool,
    as_json: bool,
) -> None:
    """Write a run as one HTML file: timeline, pipeline, figures; the failure first, if there was one.

    The file needs no network and no other file: open it, mail it, keep it with a CI job. It holds error messages, stack traces, arguments
    as typed and log lines; --masked leaves them out. Without -o it lies with the recordings, and `kedro otel purge` removes it.
    RUN as for `kedro otel show`.
    """
    from kedro_otel.viewing.html.page import page
    from kedro_otel.viewing.model import outcome

    with patient():
        trace = trace_of(ctx, run, private=not masked, logs=not masked)
        html = page(trace).encode()
    if output == "-":
        if as_json or in_browser:
            raise click.UsageError("-o - writes the page to stdout: leave out --json and --open")
        warn_of_log_line(ctx)
        sys.stdout.buffer.write(html)
        return
    if output:
        path, mode = Path(output), 0o644
    else:
        path, mode = paths.reports() / f"run-{trace.trace_id[:8]}.html", 0o600
        try:
            files.make_folders(path.parent)
        except OSError as error:
            fail(f"{path.parent} was not made: {error.strerror}. Name a file with -o")
    write_file(path, html, mode)
    result = {
        "file": str(path),
        "bytes": len(html),
        "trace_id": trace.trace_id,
        "outcome": outcome.of(trace),
    }
    click.echo(json.dumps(result) if as_json else str(path))
    if in_browser:
        click.launch(path.resolve().as_uri())
    say_if_off(ctx)
