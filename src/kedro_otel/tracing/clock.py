"""When this process began."""

from __future__ import annotations

import os
import time

from kedro_otel import guard


def process_start_ns() -> int:
    """Return when this process started, in nanoseconds since 1970, to the kernel's hundredth of a second.

    Where the system does not say (it is read from ``/proc``), the processor time used so far is taken as the age.
    """
    now = time.time_ns()
    try:
        with open("/proc/self/stat", "rb") as file:  # noqa: PTH123 -- on the path of every start
            ticks = int(file.read().rsplit(b")", 1)[1].split()[19])
        age = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - ticks * 1_000_000_000 // os.sysconf(
            "SC_CLK_TCK"
        )
    except (OSError, ValueError, IndexError, AttributeError) as error:
        guard.let_through(error)
        age = time.process_time_ns()
    return now - max(age, 0)
