"""Random trace and span ids that leave the user's own random numbers alone, also after a fork."""

from __future__ import annotations

from random import Random

_random = Random()  # noqa: S311 -- ids, not secrets; of its own so that the user's seed decides nothing here, nor we there


def reseed() -> None:
    """Start anew in a fork child, which would otherwise draw the ids of its parent."""
    _random.seed()


def trace_id() -> str:
    """Return a new trace id: 32 hex digits, not all zero."""
    return f"{_random.getrandbits(128) or 1:032x}"


def span_id() -> str:
    """Return a new span id: 16 hex digits, not all zero."""
    return f"{_random.getrandbits(64) or 1:016x}"
