"""``kedro otel finish``: end the one run that several processes made."""

from __future__ import annotations

import os
import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from kedro_otel.cli.common.output import fail, message
from kedro_otel.cli.consent import project_of
from kedro_otel.config import consent, destination, settings
from kedro_otel.facts import run_key
from kedro_otel.semconv import names

if TYPE_CHECKING:
    from pathlib import Path

    from kedro_otel.config.settings import Settings
    from kedro_otel.facts.run_key import RunKey

_OK, _FAILED = "ok", "failed"
_STATUS: Final = {
    **dict.fromkeys(("ok", "success", "succeeded", "passed"), _OK),
    **dict.fromkeys(("failed", "failure", "error", "cancelled", "canceled"), _FAILED),
}
"""What orchestrators call it: Argo's ``workflow.status``, GitHub's ``job.status``, Airflow's states."""

_SECONDS: Final = re.compile(r"\d{1,12}(\.\d+)?")
_KEPT: Final = (
    names.SERVICE_NAME,
    names.DISTRO_NAME,
    names.DISTRO_VERSION,
    names.PROJECT_ID,
    names.PROJECT_NAME,
    names.KEDRO_VERSION,
)
"""What the resource of a finished run says besides what the user adds: nothing of this machine or person."""


class _Ended(NamedTuple):
    """The root span to write."""

    start_ns: int
    end_ns: int
    failed: bool
    error_type: str
    pipeline: str


class _Time(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A time: seconds since 1970, or ISO 8601; without a time zone it is UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return nanoseconds since 1970."""
        text = str(value).strip()
        try:
            if _SECONDS.fullmatch(text):
                whole, _, part = text.partition(".")
                return int(whole) * 10**9 + int(part[:9].ljust(9, "0"))
            found = datetime.fromisoformat(text.replace("Z", "+00:00").replace("z", "+00:00"))
            if found.tzinfo is None:
                found = found.replace(tzinfo=timezone.utc)
            return round(found.timestamp() * 1e6) * 1000
        except (ValueError, OverflowError):
            self.fail(f"{text!r} is no time: write 2026-01-31T12:00:00Z, or seconds since 1970")


@click.command("finish", short_help="End a run that several processes made, and count it.")
@click.option(
    "--run-key",
    metavar="KEY",
    help="The run's key. Default: as for `kedro run`, from KEDRO_OTEL_RUN_KEY or the orchestrator.",
)
@click.option(
    "--status",
    metavar="ok|failed",
    help="How it ended, also as Argo, GitHub or Airflow say it. Default: as the recordings here say.",
)
@click.option("--start", type=_Time(), help="When it began. Default: as the recordings here say.")
@click.option("--end", type=_Time(), help="When it ended. Default: as the recordings say, or now.")
@click.option("--pipeline", metavar="NAME", help="The pipeline's name.")
@click.pass_context
def finish_(
    ctx: click.Context,
    run_key: str | None,
    status: str | None,
    start: int | None,
    end: int | None,
    pipeline: str | None,
) -> None:
    """End the run that several processes made: one root span with its true extent, counted once.

    It is the last step of an orchestrator's workflow. To repeat it changes nothing. To repeat it from
    another machine changes nothing where --start, --end and --status are given. It exits 0 also where
    the endpoint cannot be reached.
    """
    root = project_of(ctx)
    decided = consent.decide(os.environ, root)
    if not decided.enabled:
        message(f"nothing is recorded or sent here: {decided.reason}")
        return
    known = settings.load(os.environ, root)
    resource = _resource(known, root)
    key = _key(run_key, resource)
    ended = _ended(key, status, start, end, pipeline)
    if ended is not None:
        _write(known, root, {**resource, names.SERVICE_INSTANCE_ID: key.instance_id}, key, ended)
        how = _FAILED if ended.failed else _OK
        click.echo(
            f"Finished: {how}, {(ended.end_ns - ended.start_ns) / 1e9:.1f} s, {key.trace_id}"
        )
    _send(known)


def _key(given: str | None, resource: dict[str, Any]) -> RunKey:
    environ = {**os.environ, run_key.VARIABLE: given} if given else os.environ
    found = run_key.find(environ, resource)
    if found is None:
        raise click.UsageError("no run key: write --run-key KEY, or set KEDRO_OTEL_RUN_KEY")
    return found


def _resource(known: Settings, root: Path | None) -> dict[str, Any]:
    """Return the resource, the same on every machine."""
    from kedro_otel.facts import identity, project
    from kedro_otel.facts import resource as facts

    ours = project.read(root) if root is not None else None
    package = ours.package if ours else None
    project_id = identity.project_id(root, package, create=False) if root is not None else None
    found = facts.attributes(os.environ, known, ours, installation=None, project_id=project_id)
    added = facts.user_attributes(os.environ)
    return {key: value for key, value in found.items() if key in _KEPT or key in added}


def _ended(
    key: RunKey, status: str | None, start: int | None, end: int | None, pipeline: str | None
) -> _Ended | None:
    """Return what to write, from what was given and, where that is not all, from the recordings; None if it is written already."""
    from kedro_otel.facts.clock import clock
    from kedro_otel.viewing.model import run_parts

    given = _STATUS.get(status.strip().lower()) if status is not None else None
    if status is not None and given is None:
        raise click.UsageError(f"--status is ok or failed, not {status!r}")
    segments = run_parts.segments_of(key.trace_id)
    if any(one.span_id == key.span_id for found in segments for one in found.operations):
        message("this run was finished before; nothing is counted again")
        return None
    found = run_parts.extent(key.trace_id, segments)
    if start is not None and end is not None and given is not None:
        found = None  # the same from every machine, whatever each of them knows
    elif found is None and start is None:
        fail(
            "no part of this run is recorded on this machine, so when it began is not known: "
            "kedro otel finish --start TIME"
        )
    if start is None:
        assert found is not None, "it failed above"  # noqa: S101
        start = found.start_ns
    if end is None:
        end = found.end_ns if found is not None else clock.now()
    failed = given == _FAILED if given is not None else found is not None and found.failed
    error_type = (found.error_type if found is not None else "") or names.OTHER
    named = pipeline or (found.pipeline if found is not None else "")
    return _Ended(start, max(start, end), failed, error_type if failed else "", named)


def _write(
    known: Settings, root: Path | None, resource: dict[str, Any], key: RunKey, ended: _Ended
) -> None:
    """Record the root span in a recording of its own."""
    from kedro_otel.config import paths
    from kedro_otel.facts import trace_context
    from kedro_otel.recording import encoder
    from kedro_otel.recording.writer import RecordingError, Writer
    from kedro_otel.runtime import setup

    values = {
        names.PIPELINE_NAME: ended.pipeline or None,
        names.RUN_KEY_SOURCE: key.source,
    }
    failure = {names.ERROR_TYPE: ended.error_type} if ended.failed else {}
    sampled = trace_context.sampled(os.environ, key.trace_id, None)
    ids = (key.trace_id, key.span_id)
    name = f"run {ended.pipeline or 'in parts'}"
    more = "" if sampled else encoder.rare(sampled=False, state="")
    try:
        writer = Writer(
            paths.recordings(),
            resource,
            setup.facts(known),
            message,
            consent.watch(os.environ, root),
        )
    except RecordingError as error:
        fail(f"the run was not finished: {error}. Name a folder of yours in KEDRO_OTEL_HOME")
    start = encoder.start(names.RUN, *ids, "", name, ended.start_ns, values, more=more)
    writer.start(key.span_id, start)
    end = encoder.end(
        names.RUN,
        *ids,
        ended.end_ns,
        encoder.attributes(failure),
        error=ended.failed,
        events="",
    )
    writer.end(key.span_id, end)
    writer.close()


def _send(known: Settings) -> None:
    """Deliver what is recorded here, if there is where to; what cannot be delivered stays recorded."""
    from kedro_otel.shipping.process import environment, flush, foreground

    target = destination.current(known)
    if target is None or environment.mode(known, os.environ) == "manual":
        return
    try:
        done = foreground.deliver(known, target)
    except OSError as error:
        message(f"not delivered yet: {error.strerror or error}. It stays recorded: kedro otel ship")
        return
    if done.left:
        message(flush.said(done.left, target))
