"""Is a file the one that was written here, or a copy of it? Its inode and its time of birth say so; no copy can have both."""

from __future__ import annotations

import ctypes
import functools
import os
import struct
import sys
from typing import Any, Final

from kedro_otel import guard
from kedro_otel.config import files

_AT_EMPTY_PATH: Final = 0x1000
_STATX_INO_BTIME: Final = 0x900
_STATX_BTIME: Final = 0x800
_BTIME_OFFSET: Final = 80
"""From ``struct statx`` of Linux, ``include/uapi/linux/stat.h``: flags, and where the time of birth is."""


def certificate(descriptor: int) -> str:
    """Return what tells the open file from every copy of it: inode and, where the file system keeps it, time of birth (ns since 1970).

    Raises:
        OSError: The file cannot be asked.
    """
    found = os.fstat(descriptor)
    return f"{found.st_ino}:{_born(descriptor, found)}"


def _born(descriptor: int, found: os.stat_result) -> str:
    born = getattr(found, "st_birthtime_ns", None) or getattr(found, "st_birthtime", None)
    if born is not None:
        return str(born)
    call = _statx()
    if call is None:
        return ""
    buffer = ctypes.create_string_buffer(256)
    if call(descriptor, b"", _AT_EMPTY_PATH, _STATX_INO_BTIME, buffer):
        failed = ctypes.get_errno()
        if failed in files.TRANSIENT:  # without its time of birth the file would look like a copy
            raise OSError(failed, os.strerror(failed))
        return ""
    (mask,) = struct.unpack_from("=I", buffer)
    seconds, nanoseconds = struct.unpack_from("=qI", buffer, _BTIME_OFFSET)
    return str(seconds * 10**9 + nanoseconds) if mask & _STATX_BTIME else ""


@functools.lru_cache(maxsize=1)
def _statx() -> Any:
    """Return the C library's ``statx``, None where it has none (before glibc 2.28, and not on Linux)."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return ctypes.CDLL(None, use_errno=True).statx
    except (OSError, AttributeError) as error:
        guard.let_through(error)
        return None
