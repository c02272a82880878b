"""``kedro otel demo``: a small project on real data, its run, and what the run looks like."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import click

from kedro_otel.cli.common.output import message

NEEDED = {
    "kedro_datasets": "kedro-datasets",
    "matplotlib": "matplotlib",
    "pandas": "pandas",
    "pyarrow": "pyarrow",
    "sklearn": "scikit-learn",
}
"""What the demo project imports → the distribution that has it: the extra ``demo``."""

TEMPLATE = Path(__file__).parent / "demo_project"

NEXT = """
Now try, in {folder}:

  kedro otel report -o run.html                the same run as one web page
  kedro run --params folds=1; kedro otel show  a run that fails, and where
  kedro otel connect http://localhost:4318     send what follows to an OpenTelemetry collector
"""


@click.command("demo", short_help="Run a small project on real data, and show it.")
@click.argument(
    "folder",
    metavar="[DIR]",
    type=click.Path(file_okay=False, path_type=Path),
    default="kedro-otel-demo",
)
@click.pass_context
def demo_(ctx: click.Context, folder: Path) -> None:
    """Make a small Kedro project in DIR (./kedro-otel-demo), run it, and show the run.

    The data are real (scikit-learn's wines), nothing is downloaded, and `kedro run` runs in DIR just as you would run it.
    """
    if folder.exists() and any(folder.iterdir()):
        message(
            f"{folder} is not empty, and nothing in it was changed. Name a new folder: kedro otel demo {_beside(folder)}"
        )
        ctx.exit(2)
    missing = [distribution for module, distribution in NEEDED.items() if find_spec(module) is None]
    if missing:
        message(
            f"The demo needs {', '.join(missing)}; nothing was written. Type: pip install 'kedro-otel[demo]'"
        )
        ctx.exit(1)
    _write(folder)
    for words in (["run"], ["otel", "show"]):
        click.secho(f"$ kedro {' '.join(words)}", bold=True)
        code = subprocess.run(
            [sys.executable, "-m", "kedro", *words], cwd=folder, check=False
        ).returncode
        if code:
            message(
                f"`kedro {' '.join(words)}` exited {code}. The project is in {folder}: type `cd {folder}` and try it there."
            )
            ctx.exit(1)
    click.echo(NEXT.format(folder=folder))


def _beside(folder: Path) -> Path:
    """Return the first of ``folder``-2, ``folder``-3, … that does not exist."""
    number = 2
    while (beside := folder.with_name(f"{folder.resolve().name}-{number}")).exists():
        number += 1
    return beside


def _write(folder: Path) -> None:
    """Copy the project to ``folder`` and write scikit-learn's wines as its two raw tables."""
    from sklearn.datasets import load_wine

    shutil.copytree(
        TEMPLATE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
    )
    raw = folder / "data" / "01_raw"
    raw.mkdir(parents=True)
    wines = load_wine(as_frame=True)
    cultivars = wines.target.map(dict(enumerate(wines.target_names)))
    wines.data.rename_axis("wine").to_csv(raw / "measurements.csv")
    cultivars.rename("cultivar").rename_axis("wine").to_csv(raw / "cultivars.csv")
