"""Is the process that writes a segment still there? Its lock on the file says so, never its process id."""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from typing import TYPE_CHECKING, Final

from kedro_otel import guard
from kedro_otel.recording import machine
from kedro_otel.recording.segment_file import HEADER_BEGINS, NOT_WRITTEN, STOP_MARK_AT, STOPPED

if TYPE_CHECKING:
    from kedro_otel.recording.model import Header

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_LOCK_BYTE: Final = 1 << 62
"""Windows locks ranges of bytes, and a locked range cannot be read: so a byte that no segment reaches. The writer's is the same."""

_BUSY: Final = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK})
_NO_LOCKS: Final = frozenset(
    {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.EPERM}
)
_TRIES: Final = 3


def hold(descriptor: int) -> bool | None:
    """Take the lock, if it is free, for as long as ``descriptor`` is open; None where the folder has no locks."""
    try:
        if sys.platform == "win32":
            _windows(descriptor, msvcrt.LK_NBLCK)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        guard.let_through(error)
        return False if error.errno in _BUSY else None
    return True


def held(descriptor: int) -> bool | None:
    """Return whether some other open file holds the lock; None where the folder has no locks.

    Args:
        descriptor: Open for reading.

    Raises:
        OSError: It could not be asked, for a reason that may pass.
    """
    try:
        if sys.platform == "win32":
            _windows(descriptor, msvcrt.LK_NBLCK)
            _windows(descriptor, msvcrt.LK_UNLCK)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    except OSError as error:
        if error.errno in _BUSY:
            return True
        if error.errno in _NO_LOCKS:
            return None
        raise
    return False


def alive(descriptor: int, header: Header) -> bool | None:
    """Return whether the writer of the segment lives; None where a free lock proves nothing.

    Locks may stay on the host that took them (NFS), so "not held" is believed only on the kernel that wrote the segment,
    and on a later boot of the same machine, which no process survives.

    Raises:
        OSError: It could not be asked, for a reason that may pass.
    """
    locked = _asked(descriptor) if header.locked else None
    if locked is not True and earlier_boot(header):
        return False
    return None if locked is False and not same_kernel(header) else locked


def stopped(descriptor: int) -> str:
    """Return why the process recorded no more, as the digit in the header or the file's mode says; "" if it does not."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    begin = os.read(descriptor, STOP_MARK_AT + 1)
    if begin[:STOP_MARK_AT] != HEADER_BEGINS.encode():
        return ""  # written by an earlier version
    if not os.fstat(descriptor).st_mode & stat.S_IWUSR:
        return STOPPED[NOT_WRITTEN]
    return STOPPED.get(begin[STOP_MARK_AT:].decode(errors="replace"), "")


def same_kernel(header: Header) -> bool:
    """Return whether the segment was written under the kernel that runs now.

    A boot id is random, so where there is one it is enough (two containers of one host share it, and each other's locks);
    elsewhere the machine has to do.
    """
    boot = machine.boot_id()
    return (
        header.boot_id == boot
        if boot or header.boot_id
        else header.machine_id == machine.machine_id()
    )


def earlier_boot(header: Header) -> bool:
    """Return whether this machine wrote the segment and has been started again since."""
    boot = machine.boot_id()
    return (
        bool(boot and header.boot_id)
        and header.boot_id != boot
        and header.machine_id == machine.machine_id()
        and machine.certain()
    )


def _asked(descriptor: int) -> bool | None:
    """Ask for a lock that the writer could take: that the folder has no locks is believed if it says so again."""
    for _ in range(_TRIES - 1):
        try:
            found = held(descriptor)
        except OSError as error:
            guard.let_through(error)
            found = None
        if found is not None:
            return found
        time.sleep(0.001)
    return held(descriptor)


if sys.platform == "win32":

    def _windows(descriptor: int, mode: int) -> None:
        position = os.lseek(descriptor, 0, os.SEEK_CUR)
        try:
            os.lseek(descriptor, _LOCK_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, mode, 1)
        finally:
            os.lseek(descriptor, position, os.SEEK_SET)
