"""Random trace and span ids that leave the user's own random numbers alone, also after a fork."""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random

_random = Random(int.from_bytes(os.urandom(16), "big"))  # noqa: S311 -- ids, not secrets; of its own so that the user's seed decides nothing here


def reseed() -> None:
    """Start anew in a fork child, which would otherwise draw the ids of its parent."""
    _random.seed(int.from_bytes(os.urandom(16), "big"))


def trace_id() -> str:
    """Return a new trace id: 32 hex digits, not all zero."""
    return f"{_random.getrandbits(128) or 1:032x}"


def span_id(bits: Callable[[int], int] = _random.getrandbits) -> str:
    """Return a new span id: 16 hex digits, not all zero; ``bits`` is where they come from."""
    return f"{bits(64) or 1:016x}"
