"""``kedro otel stack``: the collector, Jaeger, Prometheus and Grafana for a team, as files for docker compose."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from kedro_otel.cli.common.output import message
from kedro_otel.config import files

FILES: Final = (
    "docker-compose.yml",
    "otel-collector-config.yaml",
    "stack/alerts.yml",
    "stack/collector-logs.yaml",
    "stack/collector-token.yaml",
    "stack/compose-logs.yaml",
    "stack/jaeger.yaml",
    "stack/prometheus.yml",
    "stack/grafana/dashboards/runs.json",
    "stack/grafana/dashboards/usage.json",
    "stack/grafana/provisioning/dashboards/dashboards.yaml",
    "stack/grafana/provisioning/datasources/datasources.yaml",
)
"""What is written; a wheel carries them in ``kedro_otel/_stack``, a checkout has them at its top."""

NEXT: Final = """
Next, where there is Docker:

  cd {folder} && docker compose up -d
  kedro otel connect http://localhost:4318     in your Kedro environment; what follows is sent

Then look at http://localhost:3000 (Grafana) and http://localhost:16686 (Jaeger).
"""


@click.command("stack", short_help="Write a collector, Jaeger, Prometheus, Grafana for Docker.")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Replace files of the stack that are there and differ.")
@click.pass_context
def stack_(ctx: click.Context, folder: Path, *, force: bool) -> None:
    """Write a collector, Jaeger, Prometheus and Grafana for docker compose into DIR.

    With them, traces and counters of every `kedro` command stay on machines of yours. Other files in DIR are left alone.
    """
    shipped = {name: (_source() / name).read_bytes() for name in FILES}
    differing = [name for name, data in shipped.items() if _differs(folder / name, data)]
    if differing and not force:
        names = ", ".join(differing)
        message(
            f"Nothing was changed: {folder} has its own {names}. To replace them, type: kedro otel stack {folder} --force"
        )
        ctx.exit(1)
    try:
        for name, data in shipped.items():
            _write(folder, name, data)
    except OSError as error:
        message(
            f"{folder} cannot be written ({error.strerror}). Name a folder of yours: kedro otel stack DIR"
        )
        ctx.exit(1)
    click.echo("\n".join(str(folder / name) for name in FILES))
    click.echo(NEXT.format(folder=folder))


def _source() -> Path:
    """Return the folder that holds the files: the wheel's, else the checkout's."""
    package = Path(__file__).parents[1]
    packaged = package / "_stack"
    return packaged if packaged.is_dir() else package.parents[1]


def _differs(path: Path, data: bytes) -> bool:
    return path.exists() and (not path.is_file() or path.read_bytes() != data)


def _write(folder: Path, name: str, data: bytes) -> None:
    """Write one file so that a container's user, who is not you, can read it whatever your umask."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    for parent in path.parents:
        if parent == folder:
            break
        parent.chmod(0o755)
    files.replace(path, data, mode=0o644)
