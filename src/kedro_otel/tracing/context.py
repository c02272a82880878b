"""The current OpenTelemetry context while an operation is open. Imported when a pipeline runs, and not before."""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Any

from opentelemetry import baggage, context, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from kedro_otel.propagation import BAGGAGE, Remote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedro_otel.tracing.operation import Open

_OURS = context.create_key("kedro-otel-operation")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_NOT_SAMPLED = TraceFlags(TraceFlags.DEFAULT)


def span_context(where: Open | Remote, *, remote: bool = False) -> SpanContext:
    """Return the identity of an operation, or of a parent in another process, as OpenTelemetry knows it."""
    flags = _SAMPLED if where.sampled else _NOT_SAMPLED
    state = TraceState.from_header([where.state]) if where.state else None
    return SpanContext(int(where.trace_id, 16), int(where.span_id, 16), remote, flags, state)


def enter(operation: Open) -> None:
    """Make ``operation`` the current span of this thread."""
    span = operation.real if operation.real is not None else NonRecordingSpan(span_context(operation))
    operation.previous = context.get_current()
    operation.context = context.set_value(_OURS, operation, trace.set_span_in_context(span, operation.previous))
    operation.thread = get_ident()
    context.attach(operation.context)


def leave(operation: Open) -> None:
    """Put back what was current before ``operation``, in the thread that entered it, and only if nobody else did so already.

    The older context is attached again instead of detaching by token: a token of another :class:`contextvars.Context`
    (a notebook's next cell) would make OpenTelemetry log an error.
    """
    entered, operation.context = operation.context, None
    if entered is not None and operation.thread == get_ident() and context.get_current().get(_OURS) is operation:
        context.attach(operation.previous)
    operation.previous = None


def foreign_parent() -> Remote | None:
    """Return the current span if it is valid and none of ours."""
    now = context.get_current()
    found = trace.get_current_span(now).get_span_context()
    if not found.is_valid:
        return None
    ours: Any = now.get(_OURS)
    if ours is not None and int(ours.span_id, 16) == found.span_id:
        return None
    return Remote(f"{found.trace_id:032x}", f"{found.span_id:016x}", found.trace_flags.sampled, found.trace_state.to_header())


def adopt_baggage(environ: Mapping[str, str]) -> None:
    """Take over the ``BAGGAGE`` that the environment carries, unless some is current already."""
    header = environ.get(BAGGAGE)
    if header and not baggage.get_all():
        context.attach(W3CBaggagePropagator().extract({"baggage": header}))
