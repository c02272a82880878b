"""Where tests may kill the shipper: every step whose loss it promises to survive, by name.

Does nothing unless ``KEDRO_OTEL_FAILPOINT=name`` (or ``name:3`` for the third time) *and* the tests' own
``KEDRO_OTEL_RAISE`` are in the environment.
"""

from __future__ import annotations

import os
from typing import Final

from kedro_otel.guard import RAISE

VARIABLE: Final = "KEDRO_OTEL_FAILPOINT"

NAMES: Final = (
    "locked",
    "read",
    "folded",
    "journal written",
    "journal kept",
    "journal replaced",
    "spans encoded",
    "spans answered",
    "logs encoded",
    "logs answered",
    "zeros encoded",
    "zeros answered",
    "metrics encoded",
    "metrics answered",
    "letter written",
    "pruned",
    "unlocked",
)
"""All failpoints, in the order in which a shipper meets them."""

_seen: dict[str, int] = {}


def reached(name: str) -> None:
    """Kill this process here, without a word, if a test asked for it."""
    wanted = os.environ.get(VARIABLE)
    if not wanted or not os.environ.get(RAISE):
        return
    word, _, count = wanted.partition(":")
    if word == name:
        _seen[name] = _seen.get(name, 0) + 1
        if _seen[name] >= int(count or 1):
            import signal

            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
