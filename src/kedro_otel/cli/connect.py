"""``kedro otel connect``, ``disconnect``, ``doctor`` and ``ship``: where traces and counters go, and whether they arrive."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click

from kedro_otel.cli.common import endpoint
from kedro_otel.cli.common.json_output import json_option
from kedro_otel.cli.consent import project_of
from kedro_otel.cli.status import plain
from kedro_otel.config import consent, destination, settings
from kedro_otel.config.user_file import UserFileError, as_if, save
from kedro_otel.semconv import names

if TYPE_CHECKING:
    from kedro_otel.config.destination import Destination
    from kedro_otel.config.settings import Settings
    from kedro_otel.shipping.process.foreground import Delivered


@click.command("connect", short_help="Send traces and counters to an OTLP endpoint.")
@click.argument("url")
@click.option(
    "--detail",
    type=click.Choice(names.DETAILS),
    help="What may leave. Without it: what is in force, usage unless you changed it.",
)
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="NAME=env:VARIABLE",
    help="A header to send along, such as Authorization=env:OTLP_TOKEN.",
)
@click.option(
    "--protocol",
    type=click.Choice(["http/protobuf", "grpc"]),
    help="How the endpoint is spoken to; http/protobuf without it.",
)
@click.option("--traces-only", is_flag=True, help="Send traces and no counters.")
@click.option("--metrics-only", is_flag=True, help="Send counters and no traces.")
@click.option("--untested", is_flag=True, help="Save without asking the endpoint first.")
@click.pass_context
def connect_(
    ctx: click.Context,
    url: str,
    detail: str | None,
    headers: tuple[str, ...],
    protocol: str | None,
    traces_only: bool,
    metrics_only: bool,
    untested: bool,
) -> None:
    """Send traces and counters to the OTLP endpoint URL, such as http://localhost:4318, from now on.

    A receiver that takes only one of the two, such as Jaeger or Prometheus, gets that one.
    """
    if traces_only and metrics_only:
        raise click.UsageError("--traces-only and --metrics-only exclude each other")
    changes = _changes(url, detail, headers, protocol)
    changes |= {"metrics_exporter": "none"} if traces_only else {}
    changes |= {"traces_exporter": "none"} if metrics_only else {}
    decided = consent.decide(os.environ, project_of(ctx))
    tried = as_if(changes, os.environ)
    _check_address(tried)
    for problem in (*tried.problems, *destination.problems(tried)):
        click.echo(f"! {plain(problem)}", err=True)
    if decided.enabled and not untested:
        changes |= _refused(ctx, tried, changes)
    try:
        path = save(changes)
    except UserFileError as error:
        click.echo(str(error), err=True)
        ctx.exit(1)
    known = settings.load(os.environ, project_of(ctx))
    endpoint.end_hold(known, destination.SIGNALS)
    click.echo(
        f"Saved in {path}. What was recorded before stays here; from the next kedro command on this leaves:"
    )
    click.echo(endpoint.leaving(known.value("detail"), url))
    for word in (*endpoint.overridden(known, changes), *destination.kept(known).values()):
        click.echo(f"! {plain(word)}", err=True)
    if not decided.enabled:
        click.echo(
            f"Nothing is recorded or sent here: {plain(decided.reason)}. To change that: kedro otel on",
            err=True,
        )


@click.command("disconnect", short_help="Send nothing any more.")
@click.pass_context
def disconnect_(ctx: click.Context) -> None:
    """Send nothing any more: forget endpoint, headers and detail in your own settings file."""
    changes = endpoint.forgotten()
    if (
        not any(name != "headers" or change for name, change in changes.items())
        and destination.current(settings.load(os.environ, None)) is None
    ):
        click.echo(
            "No endpoint is named, so nothing is sent, and nothing was changed. To name one: kedro otel connect URL"
        )
        return
    try:
        path = save(changes)
    except UserFileError as error:
        click.echo(str(error), err=True)
        ctx.exit(1)
    known = settings.load(os.environ, project_of(ctx))
    left = destination.current(known)
    if left is None:
        click.echo(
            f"Nothing is sent any more ({path}). Recording goes on, on this machine only; see it: kedro otel show"
        )
        return
    origin = known.origin("endpoint") if known.value("endpoint") else "environment"
    click.echo(
        f"Forgotten in {path}, but {left.traces or left.metrics} is still named by {origin}.",
        err=True,
    )
    ctx.exit(1)


@click.command("doctor", short_help="Test the endpoint, and say what to do.")
@json_option()
@click.pass_context
def doctor_(ctx: click.Context, as_json: bool) -> None:
    """Send a test span and a test metric, and say for each what became of it, with which settings, and what to do."""
    found = endpoint.examined(os.environ, project_of(ctx))
    click.echo(
        json.dumps(found, indent=2, ensure_ascii=False) if as_json else endpoint.diagnosis(found)
    )
    ctx.exit(0 if found["well"] else 1)


@click.command("ship", short_help="Deliver now what is waiting.")
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Also what was recorded for no or another endpoint, or by another machine in a shared home.",
)
@click.option("--refused", is_flag=True, help="Also once more what the endpoint refused for good.")
@click.pass_context
def ship_(ctx: click.Context, everything: bool, refused: bool) -> None:
    """Deliver now what is recorded for the endpoint, and wait for it; exit code 1 if something could not be delivered.

    With `console` in OTEL_TRACES_EXPORTER or OTEL_METRICS_EXPORTER, also print those of the last command as OTLP/JSON, one message a line.
    """
    root = project_of(ctx)
    decided = consent.decide(os.environ, root)
    known = settings.load(os.environ, root)
    target = destination.current(known)
    if not decided.enabled:
        raise _failure(f"Nothing is sent: {plain(decided.reason)}. To change that: kedro otel on")
    printed = [
        name for name in destination.SIGNALS if destination.uses(known, name, destination.CONSOLE)
    ]
    if target is None and not printed:
        raise _failure(endpoint.nowhere(known))
    clean = (
        _deliver(known, target, everything=everything, again=refused, aside=bool(printed))
        if target is not None
        else True
    )
    for name in printed:
        if name in (kept := destination.kept(known)):
            click.echo(f"kedro-otel: {plain(kept[name].partition(';')[0])}", err=True)
    if printed:
        _print(ctx, known, printed)
    ctx.exit(0 if clean else 1)


def _deliver(
    known: Settings, target: Destination, *, everything: bool, again: bool, aside: bool
) -> bool:
    """Deliver and say what became of it, ``aside`` where stdout is for something else; return whether nothing is left or refused."""
    from kedro_otel.shipping.process import flush, foreground
    from kedro_otel.shipping.state import dead_letters, destination_paths

    try:
        done = foreground.deliver(known, target, everything=everything, refused=again)
    except foreground.BusyError as error:
        raise _failure(f"kedro-otel: {error}. Try again: kedro otel ship --all") from error
    except OSError as error:
        what = error.strerror or str(error)
        raise _failure(
            f"kedro-otel: the journal of what was sent cannot be written ({what}); nothing was lost. See: kedro otel status"
        ) from error
    _tell(done, target, aside=aside)
    refused = sum(count for word, count in done.counts.items() if word.endswith("refused"))
    if refused:
        why = "; ".join(one.why for one in _signals(target) if one.why)
        click.echo(
            f"kedro-otel: {refused} refused for good ({plain(why)}); which: {destination_paths.of(target.id).letters}",
            err=True,
        )
    still = dead_letters.number(destination_paths.of(target.id).letters) if again else 0
    if still > refused:
        click.echo(
            f"kedro-otel: {still} that were refused before are not accepted now either, or are no longer recorded",
            err=True,
        )
    if done.left:
        click.echo(plain(flush.said(done.left, target)), err=True)
    return not (done.left or refused or still)


def _print(ctx: click.Context, known: Settings, signals: list[str]) -> None:
    """Print what ``console`` asks for: the messages of the last command, as OTLP/JSON."""
    from kedro_otel.cli.common.run_argument import trace_of
    from kedro_otel.shipping.preview import messages

    for message in messages(
        ((span.header, span.operation) for span in trace_of(ctx, "last").root.walk()),
        known,
        signals,
    ):
        click.echo(json.dumps(message, separators=(",", ":")))


def _check_address(tried: Settings) -> None:
    """Refuse an address that can only be a mistake.

    Raises:
        click.UsageError: It lacks the scheme that HTTP needs, or ends in the path of one signal.
    """
    address = tried.value("endpoint")
    for name in destination.SIGNALS:
        found = destination.signal(tried, name)
        if found is None and destination.uses(tried, name, destination.OTLP):
            raise click.UsageError(
                "An endpoint for http/protobuf begins with http:// or https://. For gRPC add: --protocol grpc"
            )
        if found is not None and found.url != address and destination.doubled(found.url, name):
            shorter = settings.without_credentials(address).rstrip("/").rpartition("/v1/")[0]
            raise click.UsageError(
                f"URL ends in the path of one signal, which is added by itself. Type: kedro otel connect {shorter}"
            )


def _refused(ctx: click.Context, tried: Settings, changes: dict[str, Any]) -> dict[str, str]:
    """Ask the receiver; return what to save so that a signal that it does not take is not sent to it.

    Where it takes none, or did not answer, the command ends here.
    """
    takes = endpoint.test(tried, changes)
    if takes and (None in takes.values() or True not in takes.values()):
        click.echo("Nothing was saved. To save all the same: add --untested", err=True)
        ctx.exit(1)
    refused = [name for name, taken in takes.items() if taken is False]
    for name in refused:
        click.echo(
            f"No {name} will be sent: this receiver does not take them. What it takes is saved.",
            err=True,
        )
    return {f"{name}_exporter": "none" for name in refused}


def _changes(
    url: str, detail: str | None, headers: tuple[str, ...], protocol: str | None
) -> dict[str, Any]:
    """Return what connecting writes: nothing of a former endpoint stays, least of all its credentials."""
    try:
        address = settings.parse(settings.BY_NAME["endpoint"], url)
    except ValueError as error:
        raise click.UsageError(f"URL {error}") from None
    changes = endpoint.forgotten()
    changes |= {"endpoint": address, "protocol": protocol}
    if detail is None:
        changes.pop("detail", None)
    else:
        changes["detail"] = detail
    for header in headers:
        name, sign, value = header.partition("=")
        if not sign or not name.strip() or not value.startswith("env:") or not value[4:]:
            raise click.UsageError(
                "Write a header as NAME=env:VARIABLE and export VARIABLE, so that the secret is in no file and no history."
            )
        changes["headers"][name.strip().lower()] = value
    return changes


def _tell(done: Delivered, target: Destination, *, aside: bool) -> None:
    """Say what was delivered; that there was nothing new only where everything could be looked at."""
    from kedro_otel.shipping.state import destination_paths

    sent = [
        f"{done.counts[word]} {word.partition(' ')[0]}"
        for word in ("spans sent", "points sent")
        if done.counts[word]
    ]
    if not sent and done.left:
        return  # the next line names what is left, and why
    where = destination_paths.receiver(target)
    click.echo(
        f"Delivered to {where}: {' and '.join(sent)}."
        if sent
        else f"Nothing new to deliver to {where}.",
        err=aside,
    )


def _signals(target: Destination) -> list[Any]:
    from kedro_otel.shipping.state import destination_paths, journal

    return list(journal.load(destination_paths.of(target.id).journal).signals.values())


def _failure(message: str) -> click.exceptions.Exit:
    click.echo(message, err=True)
    return click.exceptions.Exit(1)
