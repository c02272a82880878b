"""The most memory a process had at once, by Linux's own count.

``ru_maxrss`` will not do: a process inherits that of whoever started it, here pytest's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

PEAK_KIB = "int(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
"""An expression that tells, in the Python that evaluates it, its own process's peak in KiB."""

only_where_counted = pytest.mark.skipif(
    sys.platform != "linux", reason="/proc tells a process's peak memory, on Linux"
)


def peak_kib() -> int:
    """Return this process's peak in KiB since :func:`forget`, or since it started."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])


def forget() -> int:
    """Count the peak anew from what the process has now; return that, in KiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_kib()
