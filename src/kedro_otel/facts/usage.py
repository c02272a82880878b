"""What this process and its threads have used so far: CPU, memory, and bytes from and to storage.

Nothing is changed by asking, with one exception: :func:`forget_peak`, which is called where a user
asked for exact peaks. What the system does not give is None.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Final, NamedTuple

from kedro_otel import guard

resource: Any = None
if sys.platform != "win32":
    import resource

_LINUX: Final = sys.platform == "linux"
_BLOCK: Final = 512
"""Bytes in which Linux counts what ``getrusage`` calls blocks."""

_MAXRSS: Final = 1 if sys.platform == "darwin" else 1024
_MOST: Final = 8192
_STATUS: Final = "/proc/self/status"
_thread_time = getattr(time, "thread_time", time.process_time)


class Reading(NamedTuple):
    """What the process has used until now.

    Attributes:
        cpu: Seconds of CPU of all its threads.
        thread: Seconds of CPU of the thread that asked.
        read: Bytes that had to come from storage, None where the system does not give it.
        write: Bytes for storage.
        mark: The system's own highest resident memory in bytes; that of the program which was replaced by this one may be in it.
    """

    cpu: float
    thread: float
    read: int | None
    write: int | None
    mark: int


class Memory(NamedTuple):
    """Bytes of this process in physical memory: now (None where the system does not give it), and the most there ever were."""

    resident: int | None
    peak: int


def read() -> Reading:
    """Return what the process has used: about two microseconds."""
    if resource is None:
        return Reading(time.process_time(), _thread_time(), None, None, 0)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Reading(
        used[0] + used[1],
        _thread_time(),
        used[9] * _BLOCK if _LINUX else None,
        used[10] * _BLOCK if _LINUX else None,
        used[2] * _MAXRSS,
    )


def children() -> float:
    """Return the CPU seconds of child processes that have ended and were waited for."""
    if resource is None:
        return 0.0
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return float(used[0] + used[1])


def memory() -> Memory | None:
    """Return the memory of this process, about twelve microseconds; None where the system does not give it."""
    if _LINUX:
        status = _read(_STATUS, _MOST)
        resident, peak = _kilobytes(status, b"VmRSS:"), _kilobytes(status, b"VmHWM:")
        return Memory(resident, max(peak, resident)) if resident is not None and peak else None
    if resource is None:
        return None
    return Memory(None, resource.getrusage(resource.RUSAGE_SELF)[2] * _MAXRSS)


def resident() -> int | None:
    """Return the bytes of this process in physical memory now; None where the system does not give it."""
    fields = _read("/proc/self/statm", 128).split() if _LINUX else []
    return int(fields[1]) * _PAGE if len(fields) > 1 and fields[1].isdigit() else None


def forget_peak() -> bool:
    """Let the highest resident memory of this process be what it is now; return whether the system could.

    From then on ``getrusage`` and ``/usr/bin/time`` show the user less than there was.
    """
    try:
        descriptor = os.open("/proc/self/clear_refs", os.O_WRONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            return os.write(descriptor, b"5") == 1
        finally:
            os.close(descriptor)
    except OSError as error:
        guard.let_through(error)
        return False


_PAGE: Final = os.sysconf("SC_PAGE_SIZE") if _LINUX else 4096


def _read(path: str, size: int) -> bytes:
    """Return the beginning of one of the kernel's files; nothing where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            return os.read(descriptor, size)
        finally:
            os.close(descriptor)
    except OSError as error:
        guard.let_through(error)
        return b""


def _kilobytes(status: bytes, key: bytes) -> int | None:
    begin = status.find(key)
    fields = status[begin + len(key) :].split(None, 1) if begin >= 0 else []
    return int(fields[0]) * 1024 if fields and fields[0].isdigit() else None
