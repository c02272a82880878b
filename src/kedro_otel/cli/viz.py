"""``kedro otel viz``: a recorded run for the *Workflow* view of Kedro-Viz."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kedro_otel.cli.common.output import fail, write_file
from kedro_otel.cli.common.run_argument import RunCommand, RunType, patient, say, trace_of
from kedro_otel.cli.consent import project_of
from kedro_otel.semconv import names

if TYPE_CHECKING:
    from kedro_otel.viewing.model.trace import Trace


@click.command("viz", cls=RunCommand, short_help="Show a run in Kedro-Viz's Workflow view.")
@click.argument("run", type=RunType(), required=False)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where to write the events. [default: .viz/kedro_pipeline_events.json in the project]",
)
@click.pass_context
def viz_(ctx: click.Context, run: str | None, output: str | None) -> None:
    """Write a run of this project where `kedro viz run` reads it for its Workflow view.

    Every runner, partial, failed and killed runs. RUN as for `kedro otel show`; without it, the last run of this project.
    The project's pipelines are imported, because Kedro-Viz knows nodes by how they are declared.
    """
    from kedro_otel.viewing.formats import kedro_viz

    path = project_of(ctx)
    if path is None:
        fail("this is no Kedro project; Kedro-Viz's view is of one. Go to its folder and try again")
    if output is None and find_spec("kedro_viz") is None:
        fail("Kedro-Viz is not installed here. To write its file all the same, name it with -o")
    package, pipelines = _loaded(path)
    with patient():
        trace = trace_of(ctx, run, together=False)
    of = trace.root.header.resource.get(names.PROJECT_NAME)
    if trace.run is None or of != package:
        fail(f"that is no pipeline run of {package}: `kedro otel list` shows which there are")
    ids = _ids(trace, pipelines)
    file = Path(output) if output else path / kedro_viz.PATH
    if output is None:
        file.parent.mkdir(exist_ok=True)
    write_file(file, json.dumps(kedro_viz.events(trace, ids), indent=2).encode())
    click.echo(str(file))
    gone = sum(
        str(span.operation.attributes.get(names.NODE_NAME)) not in ids
        for span in trace.spans(names.NODE)
    )
    if gone:
        say(f"{gone} of its nodes are not in the project as it is now, and are left out")


def _loaded(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the project's package name and its pipelines, by name."""
    from kedro.framework.project import pipelines
    from kedro.framework.startup import bootstrap_project

    try:
        package = bootstrap_project(path).package_name
        return package, dict(pipelines)
    except Exception as error:  # noqa: BLE001 (whatever the project's own code raises)
        fail(f"the project's pipelines could not be loaded ({type(error).__name__}: {error})")


def _ids(trace: Trace, pipelines: dict[str, Any]) -> dict[str, str]:
    """Return Kedro-Viz's ids by node name: as the run's own pipeline declares them, else as another does."""
    from kedro_otel.viewing.formats.kedro_viz import hashed

    assert trace.run is not None, "a pipeline run was asked for"  # noqa: S101
    own = pipelines.get(str(trace.run.operation.attributes.get(names.PIPELINE_NAME)))
    ids: dict[str, str] = {}
    for pipeline in (*([own] if own else []), *pipelines.values()):
        for node in pipeline.nodes:
            ids.setdefault(node.name, hashed(str(node)))
    return ids
