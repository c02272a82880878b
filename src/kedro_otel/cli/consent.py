"""``kedro otel status``, ``on``, ``off`` and ``purge``: what is recorded, whether, and how to be rid of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from kedro_otel.cli import purge, status
from kedro_otel.cli.common.json_output import json_option
from kedro_otel.config import consent, paths
from kedro_otel.config.user_file import UserFileError, save
from kedro_otel.facts import project


@click.command("status", short_help="Say whether commands are recorded, and why, and where to.")
@json_option()
@click.pass_context
def status_(ctx: click.Context, as_json: bool) -> None:
    """Say whether commands are recorded and why, where to, at which detail, and who you are in it."""
    found = status.gather(os.environ, project_of(ctx))
    click.echo(json.dumps(found, indent=2, ensure_ascii=False) if as_json else status.text(found))


@click.command("on", short_help="Record, whatever other tools were told.")
@click.pass_context
def on_(ctx: click.Context) -> None:
    """Record, for this user, also where DO_NOT_TRACK or Kedro's own opt-out is set."""
    path = _saved(ctx, enabled=True)
    decided = consent.decide(os.environ, project_of(ctx))
    if decided.enabled:
        click.echo(f"Commands are recorded ({path}). See them: kedro otel list")
    else:
        click.echo(
            f"Written to {path}, but here it stays off: {status.plain(decided.reason)}. Take that away to record here too.",
            err=True,
        )


@click.command("off", short_help="Record nothing and send nothing.")
@click.pass_context
def off_(ctx: click.Context) -> None:
    """Record nothing and send nothing, for this user, whatever else says yes."""
    path = _saved(ctx, enabled=False)
    click.echo(
        f"Nothing is recorded or sent any more ({path}). What was recorded stays in {paths.home()}; to erase it: kedro otel purge"
    )


@click.command("purge", short_help="Erase what was recorded.")
@click.option(
    "--ids",
    is_flag=True,
    help="Forget this user's UUID too. The next recorded command makes a new one.",
)
def purge_(ids: bool) -> None:
    """Erase all recordings and all journals of what was sent. What has left this machine cannot be called back."""
    erased = purge.erase(paths.recordings(), paths.destinations())
    if erased.files or erased.failures:
        click.echo(f"Erased {erased.files} files ({erased.size / 1024:.0f} KiB) in {paths.home()}.")
    else:
        click.echo(f"Nothing is recorded in {paths.home()}, so there was nothing to erase.")
    for failure in erased.failures:
        click.echo(
            f"Could not erase {failure}. The rest is gone; remove this one by hand.", err=True
        )
    failed = bool(erased.failures)
    if ids:
        failed = not _forget_user() or failed
        click.echo(
            "A project's id is the project's: to forget it, remove project_id from [tool.kedro_telemetry] in its pyproject.toml.",
            err=True,
        )
    if failed:
        raise click.exceptions.Exit(1)


def project_of(ctx: click.Context) -> Path | None:
    """Return the folder of the Kedro project that the command was typed in, None outside one; ``kedro-otel`` looks for it as Kedro does."""
    found: Path | None = getattr(ctx.find_root().obj, "project_path", None)
    return found or project.around(Path.cwd())


def _forget_user() -> bool:
    """Take this user's UUID out of every file that may hold it; return whether none is left."""
    left = [path for path in paths.telemetry_toml() if not _forgotten(path)]
    return not left


def _forgotten(path: Path) -> bool:
    try:
        if purge.forget_uuid(path):
            click.echo(f"This user's UUID is gone from {path}.")
    except OSError as error:
        click.echo(f"{path} still holds the UUID: {error}. Remove it by hand.", err=True)
        return False
    return True


def _saved(ctx: click.Context, **changes: Any) -> Path:
    try:
        return save(changes)
    except UserFileError as error:
        click.echo(
            f"{error} Until then: export {consent.ENABLED}={str(changes['enabled']).lower()}",
            err=True,
        )
        ctx.exit(1)
        raise
