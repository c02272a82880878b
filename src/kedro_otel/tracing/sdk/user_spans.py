"""A finished span of somebody else's code, as a line of the recording."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import StatusCode

from kedro_otel.recording import encoder
from kedro_otel.semconv import names

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

_KINDS = {"INTERNAL": 1, "SERVER": 2, "CLIENT": 3, "PRODUCER": 4, "CONSUMER": 5}


def line(span: ReadableSpan, *, full: bool) -> bytes:
    """Return the line of ``span``: name, kind, times and status, and at ``full`` detail its attributes, events and links too."""
    found: Any = span.get_span_context()
    parent = span.parent
    more = encoder.rare(
        sampled=found.trace_flags.sampled,
        state=found.trace_state.to_header() if found.trace_state else "",
    )
    if full:
        if span.events:
            more += f',"events":{encoder.events([(event.name, event.timestamp, event.attributes or {}) for event in span.events[: encoder.MAX_ITEMS]])}'
        if span.links:
            more += f',"links":{encoder.links([_link(link) for link in span.links[: encoder.MAX_ITEMS]])}'
    start = span.start_time or 0
    return encoder.span(
        names.FOREIGN,
        f"{found.trace_id:032x}",
        f"{found.span_id:016x}",
        f"{parent.span_id:016x}" if parent is not None else "",
        span.name,
        (start, span.end_time or start),
        (span.attributes or {}) if full else {},
        error=span.status.status_code is StatusCode.ERROR,
        kind=_KINDS.get(span.kind.name, 1),
        more=more,
    )


def _link(link: Any) -> tuple[str, str, Any]:
    return f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}", link.attributes or {}
