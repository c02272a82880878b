"""``kedro otel status``, ``on``, ``off``, ``detail`` and ``purge``: what is recorded, whether, and how to be rid of it."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import click

from kedro_otel.cli import purge, status
from kedro_otel.cli.common.json_output import json_option
from kedro_otel.cli.common.output import fail, message
from kedro_otel.config import consent, paths, settings
from kedro_otel.config.user_file import UserFileError, save
from kedro_otel.facts import project as kedro_project
from kedro_otel.semconv import names


@click.command("status", short_help="Say whether commands are recorded, and why, and where to.")
@click.option("--verbose", "-v", is_flag=True, help="Also ids, files, settings and figures.")
@json_option()
@click.pass_context
def status_(ctx: click.Context, verbose: bool, as_json: bool) -> None:
    """Say whether commands are recorded and why, where to, at which detail, and what waits."""
    found = status.gather(os.environ, project_of(ctx))
    click.echo(
        json.dumps(found, indent=2, ensure_ascii=False)
        if as_json
        else status.text(found, verbose=verbose)
    )


@click.command("on", short_help="Record, whatever was set for other tools.")
@click.pass_context
def on_(ctx: click.Context) -> None:
    """Record, for this user, also where DO_NOT_TRACK or Kedro's own opt-out is set.

    What else still says no here is named.
    """
    path = _saved(enabled=True)
    against = consent.objections(os.environ, project_of(ctx))
    if against:
        named = " and ".join(status.plain(one) for one in against)
        message(
            f"written to {path}, but here it stays off: {named}. Take that away to record here too"
        )
    else:
        click.echo(f"Commands are recorded ({path}). See them: kedro otel list")


@click.command("off", short_help="Record nothing and send nothing.")
def off_() -> None:
    """Record nothing and send nothing, for this user, whatever else says yes."""
    path = _saved(enabled=False)
    click.echo(
        f"Nothing is recorded or sent any more ({path}). What was recorded stays in {paths.home()}; to erase it: kedro otel purge"
    )


@click.command("purge", short_help="Erase what was recorded.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask. Without a terminal nothing is asked.")
@click.option(
    "--before",
    metavar="TIME",
    help="Only recordings last written before: 30d, 2h, today, or a date and time.",
)
@click.option("--project", metavar="NAME", help="Only recordings of the project of this name.")
@click.option("--dry-run", is_flag=True, help="Say what would be erased, and erase nothing.")
@click.option(
    "--ids",
    is_flag=True,
    help="Forget this user's UUID too. The next recorded command makes a new one.",
)
@click.pass_context
def purge_(
    ctx: click.Context, yes: bool, before: str | None, project: str | None, dry_run: bool, ids: bool
) -> None:
    """Erase all recordings and all journals of what was sent; with --before or --project, those recordings alone.

    What has left this machine cannot be called back. On a terminal it says what it would erase, and asks.
    """
    partly = before is not None or project is not None
    found = (
        purge.some(_before(ctx, before), project)
        if partly
        else purge.everything(paths.recordings(), paths.destinations())
    )
    what = f"{len(found)} files ({purge.size(found) / 1024:.0f} KiB) in {paths.home()}"
    if dry_run:
        uuid = ", and forget this user's UUID" if ids else ""
        click.echo(f"Would erase {what}{uuid}. Nothing was changed.")
        return
    if not yes and (found or ids) and sys.stdin.isatty() and sys.stderr.isatty():
        uuid = " and forget this user's UUID" if ids else ""
        if not click.confirm(f"Erase {what}{uuid}?", err=True):
            fail("nothing was erased")
    erased = purge.erase(found)
    if not partly:
        purge.remove_folders(paths.recordings(), paths.destinations())
    if erased.files or erased.failures:
        click.echo(f"Erased {erased.files} files ({erased.size / 1024:.0f} KiB) in {paths.home()}.")
    elif partly:
        click.echo(f"No recording in {paths.home()} is like that, so there was nothing to erase.")
    else:
        click.echo(f"Nothing is recorded in {paths.home()}, so there was nothing to erase.")
    for failure in erased.failures:
        message(f"could not erase {failure}. The rest is gone; remove this one by hand")
    failed = bool(erased.failures)
    if ids:
        failed = not _forget_user() or failed
        message(
            "a project's id is the project's: to forget it, remove project_id from [tool.kedro_telemetry] in its pyproject.toml"
        )
    if failed:
        ctx.exit(1)


def _before(ctx: click.Context, before: str | None) -> int | None:
    from kedro_otel.viewing.model import summary

    if before is None:
        return None
    try:
        return summary.since(before, time.time_ns())
    except ValueError:
        raise click.BadParameter(
            f"{before!r} is no time: say 30m, 2h, 3d, 1w, today, or 2026-01-31",
            ctx,
            param_hint="--before",
        ) from None


@click.command("detail", short_help="Say or choose what may leave.")
@click.argument("level", type=click.Choice(names.DETAILS), required=False)
@click.pass_context
def detail_(ctx: click.Context, level: str | None) -> None:
    """Choose how much of what is recorded may leave: usage, run or full. Without LEVEL, say what is in force.

    It counts from the next command on, and for nothing that was recorded before at less.
    """
    from kedro_otel.cli.common import endpoint

    root = project_of(ctx)
    if level is not None:
        try:
            save({"detail": level})
        except UserFileError as error:
            fail(f"{error} Until then: export KEDRO_OTEL_DETAIL={level}")
    known = settings.load(os.environ, root)
    value = known.value("detail")
    click.echo(f"{value} ({status.plain(known.origin('detail'))}): {status.MEANING[value]}")
    if level is not None:
        for word in endpoint.overridden(known, {"detail": level}):
            message(status.plain(word))


def project_of(ctx: click.Context) -> Path | None:
    """Return the folder of the Kedro project that the command was typed in, None outside one; ``kedro-otel`` looks for it as Kedro does."""
    found: Path | None = getattr(ctx.find_root().obj, "project_path", None)
    return found or kedro_project.around(Path.cwd())


def _forget_user() -> bool:
    """Take this user's UUID out of every file that may hold it; return whether none is left."""
    left = [path for path in paths.telemetry_toml() if not _forgotten(path)]
    return not left


def _forgotten(path: Path) -> bool:
    try:
        if purge.forget_uuid(path):
            click.echo(f"This user's UUID is gone from {path}.")
    except OSError as error:
        message(f"{path} still holds the UUID: {error}. Remove it by hand")
        return False
    return True


def _saved(*, enabled: bool) -> Path:
    try:
        return save({"enabled": enabled})
    except UserFileError as error:
        fail(f"{error} Until then: export {consent.ENABLED}={str(enabled).lower()}")
