"""The times of this process: labels from the wall clock, durations from the monotonic clock.

A wall clock can be set, stepped, or frozen by a test, so it says only when something began. From then on the
monotonic clock counts, and every time of a trace is that label plus what has elapsed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from types import BuiltinFunctionType
from typing import Any, cast

from kedro_otel import guard


def _real(name: str) -> Callable[[], int]:
    """Return the function of :mod:`time` called ``name``, even while freezegun has put another there."""
    found: Any = getattr(time, name)
    if not isinstance(found, BuiltinFunctionType):
        found = getattr(sys.modules.get("freezegun.api"), f"real_{name}", found)
    return cast("Callable[[], int]", found)


class Clock:
    """A clock that is set by the wall clock and runs by the monotonic one.

    The functions are attributes of an instance: freezegun replaces those that it finds in a module.

    Attributes:
        offset_ns: What is added to the monotonic clock, in nanoseconds. Worker processes get their
            parent's, since the monotonic clock is the system's, so that a run has one time.
    """

    __slots__ = ("_elapsed", "_wall", "offset_ns")

    def __init__(self) -> None:
        self._elapsed, self._wall = _real("perf_counter_ns"), _real("time_ns")
        self.offset_ns = 0
        self.set()

    def set(self) -> None:
        """Set it by the wall clock: only while nothing is open whose times it tells."""
        self.offset_ns = self.wall() - self._elapsed()

    def now(self) -> int:
        """Return the time in nanoseconds since 1970; it never goes back between two calls of :meth:`set`."""
        return self._elapsed() + self.offset_ns

    def wall(self) -> int:
        """Return the system's time in nanoseconds since 1970, whatever a test has set or frozen."""
        module = sys.modules.get("time_machine")  # which replaces the functions themselves
        hatch = getattr(getattr(module, "escape_hatch", None), "time", None)
        return int(hatch.time_ns()) if hatch is not None else self._wall()

    def process_start(self) -> int:
        """Return when this process started, in nanoseconds since 1970, to the kernel's hundredth of a second.

        Where the system does not say (it is read from ``/proc``), the processor time used so far
        is taken as the age.
        """
        try:
            with open("/proc/self/stat", "rb") as file:  # noqa: PTH123 -- on the path of every start
                ticks = int(file.read().rsplit(b")", 1)[1].split()[19])
            age = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - ticks * 1_000_000_000 // os.sysconf(
                "SC_CLK_TCK"
            )
        except (OSError, ValueError, IndexError, AttributeError) as error:
            guard.let_through(error)
            age = time.process_time_ns()
        return self.now() - max(age, 0)


clock = Clock()
"""This process's."""
