"""The current OpenTelemetry context while an operation is open. Imported when a pipeline runs, and not before."""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Any

from opentelemetry import baggage, context, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags, TraceState

from kedro_otel.facts.trace_context import BAGGAGE, Remote
from kedro_otel.guard import guarded_or
from kedro_otel.tracing.sdk import provider

MARK = "_kedro_otel"
"""Attribute by which a span names the operation it stands for: ours, and those that the user's provider made for us."""

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedro_otel.tracing.span import ActiveDataset, ActiveSpan

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_NOT_SAMPLED = TraceFlags(TraceFlags.DEFAULT)


class OperationSpan(NonRecordingSpan):
    """Carries an operation's identity, put into OpenTelemetry's form only when somebody asks; its class tells it from other spans."""

    def __init__(self, operation: ActiveSpan) -> None:
        self._kedro_otel = operation

    @guarded_or(lambda: trace.INVALID_SPAN_CONTEXT)
    def get_span_context(self) -> SpanContext:
        """Return the operation's identity."""
        return span_context(self._kedro_otel)

    def __repr__(self) -> str:
        return f"OperationSpan({self._kedro_otel.name!r})"


def span_context(where: ActiveSpan | Remote, *, remote: bool = False) -> SpanContext:
    """Return the identity of an operation, or of a parent in another process, as OpenTelemetry knows it."""
    flags = _SAMPLED if where.sampled else _NOT_SAMPLED
    state = TraceState.from_header([where.state]) if where.state else None
    return SpanContext(int(where.trace_id, 16), int(where.span_id, 16), remote, flags, state)


def enter(operation: ActiveSpan) -> None:
    """Make ``operation`` the current span of this thread."""
    span: Span = operation.real if operation.real is not None else OperationSpan(operation)
    operation.current = span
    operation.previous = before = context.get_current()
    operation.thread = get_ident()
    operation.within = within = trace.set_span_in_context(span, before)
    context.attach(within)


def leave(operation: ActiveSpan) -> None:
    """Put back what was current before ``operation``, in the thread that entered it, and only if nobody else did so already.

    The older context is attached again instead of detaching by token: a token of another :class:`contextvars.Context`
    (a notebook's next cell) would make OpenTelemetry log an error.
    """
    entered, operation.current = operation.current, None
    # Nearly always the context is the very one that was entered; where the user attached another, its span decides.
    inside = entered is not None and operation.thread == get_ident()
    if inside and (
        context.get_current() is operation.within or trace.get_current_span() is entered
    ):
        context.attach(operation.previous)
    operation.previous = operation.within = None


def enter_parent(operation: ActiveDataset) -> None:
    """Make the parent of ``operation`` current, until :func:`leave_parent`, in this thread."""
    parent = operation.owner
    span = parent.real if parent.real is not None else OperationSpan(parent)
    operation.outer = before = context.get_current()
    operation.around = around = trace.set_span_in_context(span, before)
    context.attach(around)


def leave_parent(operation: ActiveDataset) -> None:
    """Put back what was current before :func:`enter_parent`, unless somebody else did so already."""
    if operation.thread == get_ident() and context.get_current() is operation.around:
        context.attach(operation.outer)
    operation.outer = operation.around = None


def current() -> ActiveSpan | Remote | None:
    """Return what is current in this thread: an operation of ours, a span of somebody else's, or None."""
    span: Any = trace.get_current_span()
    ours: ActiveSpan | None = getattr(span, MARK, None)
    if ours is not None:
        return ours
    found = span.get_span_context()
    if (
        not found.is_valid or getattr(span, "end_time", None) is not None
    ):  # one that has ended was left behind
        return None
    # Without an SDK a span is recorded by nobody, and its flag is nobody's decision.
    decided = found.trace_flags.sampled or span.is_recording() or provider.of_user() is not None
    return Remote(
        f"{found.trace_id:032x}",
        f"{found.span_id:016x}",
        found.trace_flags.sampled,
        found.trace_state.to_header(),
        decided,
    )


def recording() -> bool:
    """Return whether somebody records the span that is current in this thread."""
    return trace.get_current_span().is_recording()


def adopt_baggage(environ: Mapping[str, str]) -> context.Context:
    """Take over the ``BAGGAGE`` that the environment carries, unless some is current already; return the context before."""
    before = context.get_current()
    header = environ.get(BAGGAGE)
    if header and not baggage.get_all():
        context.attach(W3CBaggagePropagator().extract({"baggage": header}))
    return before
