"""The public way from a run to the workers that Kedro does not know: hand over a carrier, attach to it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kedro_otel.facts import trace_context
from kedro_otel.guard import guarded, guarded_or
from kedro_otel.runtime import shutdown
from kedro_otel.runtime.state import state
from kedro_otel.semconv import names
from kedro_otel.tracing import attachment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kedro_otel.tracing.attachment import Attachment

__all__ = ["attached", "carrier"]

_TRACEPARENT = "traceparent"
_TRACESTATE = "tracestate"


@guarded_or(dict)
def carrier() -> dict[str, str]:
    """Return what a worker needs in order to belong to what runs here now.

    Hand it over with the work, and enter :func:`attached` there. The keys are those of W3C Trace
    Context, and ``kedro.run.id``.

    Returns:
        Strings only, for any way to send them; nothing where no run is open or recorded.
    """
    recorder = state.recorder
    if recorder is None or not recorder.running:
        return {}
    from kedro_otel.tracing.span import ActiveSpan

    found = recorder.contexts().current()
    if not isinstance(found, ActiveSpan):  # a thread of the runner's: it has no context
        found = recorder.runs.open[-1]
    known = {
        _TRACEPARENT: trace_context.spell(found.trace_id, found.span_id, sampled=found.sampled),
        _TRACESTATE: found.state,
        names.RUN_ID: _run_id(found),
    }
    return {key: value for key, value in known.items() if value}


@contextmanager
def attached(carrier: Mapping[str, str]) -> Iterator[None]:
    """Let the nodes and spans of this thread belong to the run that ``carrier`` is of.

    It is for workers that Kedro does not start: a Dask or Ray task, a Celery task, a process pool.
    The worker records by its own consent and settings. In a process that has the run itself, and
    with an empty carrier, it changes nothing.

    Args:
        carrier: What :func:`carrier` returned in the process of the run.

    Yields:
        Nothing.
    """
    found = _begin(carrier)
    try:
        yield
    finally:
        if found is not None:
            _end(*found)


@guarded
def _begin(carrier: Mapping[str, str]) -> tuple[Attachment, Any] | None:
    remote = trace_context.parse(
        str(carrier.get(_TRACEPARENT, "")), str(carrier.get(_TRACESTATE, ""))
    )
    if remote is None or (state.recorder is not None and state.recorder.running):
        return None
    if state.recorder is None:
        state.decided = False  # a task before may have come without a carrier
    from opentelemetry import context, trace

    from kedro_otel.tracing.sdk.context import span_context

    span = trace.NonRecordingSpan(span_context(remote, remote=True))
    token = context.attach(trace.set_span_in_context(span))
    return attachment.attach(remote, carrier.get(names.RUN_ID)), token


@guarded
def _end(found: Attachment, token: Any) -> None:
    from opentelemetry import context

    attachment.detach(found)
    context.detach(token)
    shutdown.ship("run ended")


def _run_id(operation: Any) -> str:
    """Return Kedro's id of the run that ``operation`` is or belongs to, or ""."""
    family = getattr(operation, "family", None)
    return str(getattr(family, "run_id", None) or "")
