"""Trace context at the edges of a process: ``TRACEPARENT`` and ``TRACESTATE`` in and out, and the sampler's decision.

Sources: W3C Trace Context (level 1), OpenTelemetry's "Environment variables as context propagation carriers", and the
SDK specification of ``OTEL_TRACES_SAMPLER``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from kedro_otel import guard

if TYPE_CHECKING:
    from collections.abc import Mapping

TRACEPARENT: Final = "TRACEPARENT"
TRACESTATE: Final = "TRACESTATE"
BAGGAGE: Final = "BAGGAGE"

_HEX: Final = frozenset("0123456789abcdef")
_RATIO_BITS: Final = 64


class Remote(NamedTuple):
    """A span of another process, or of somebody else's, that is the parent of one of ours.

    ``decided`` is False where nobody decided whether it is sampled.
    """

    trace_id: str
    span_id: str
    sampled: bool
    state: str = ""
    decided: bool = True


def parse(traceparent: str, state: str = "") -> Remote | None:
    """Return the parent that a ``traceparent`` names, or None where it is malformed or all zero."""
    parts = traceparent.strip().split("-")
    if len(parts) < 4:
        return None
    version, trace_id, span_id, flags = parts[:4]
    lengths = (len(version), len(trace_id), len(span_id), len(flags))
    if lengths != (2, 32, 16, 2) or version == "ff" or (version == "00" and len(parts) > 4):
        return None
    if (
        not set(version + trace_id + span_id + flags) <= _HEX
        or not int(trace_id, 16)
        or not int(span_id, 16)
    ):
        return None
    return Remote(trace_id, span_id, bool(int(flags, 16) & 1), state)


def incoming(environ: Mapping[str, str]) -> Remote | None:
    """Return the parent that the environment names."""
    value = environ.get(TRACEPARENT)
    return parse(value, environ.get(TRACESTATE, "")) if value else None


def spell(trace_id: str, span_id: str, *, sampled: bool) -> str:
    """Return the ``traceparent`` of a span."""
    return f"00-{trace_id}-{span_id}-{'01' if sampled else '00'}"


def sampled(environ: Mapping[str, str], trace_id: str, parent: Remote | None) -> bool:
    """Return whether the trace is to be sent, by ``OTEL_TRACES_SAMPLER`` and ``_ARG``; what is recorded does not depend on it."""
    name = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower() or "parentbased_always_on"
    if name.startswith("parentbased_"):
        if parent is not None and parent.decided:
            return parent.sampled
        name = name.removeprefix("parentbased_")
    if name == "always_off":
        return False
    if name == "traceidratio":
        try:
            ratio = float(environ.get("OTEL_TRACES_SAMPLER_ARG", "") or 1.0)
        except ValueError as error:
            guard.let_through(error)
            ratio = 1.0
        if not 0.0 <= ratio <= 1.0:
            ratio = 1.0
        bound: int = round(ratio * (1 << _RATIO_BITS))
        return int(trace_id[-16:], 16) < bound
    return True
