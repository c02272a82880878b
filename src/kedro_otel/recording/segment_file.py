"""The open file of this process's own segment, which the program around it may close or replace.

A program may close every descriptor and open files of its own under the same numbers. So it is looked
at what a descriptor leads to: before each write, and before it is closed. Its number is a high one, out
of the way of those that the program is given.

What is looked at is a mark that the kernel keeps with the open file, where it can (Linux), else device
and inode. A look at those makes the next write take twice the time: it then needs a new time of change.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

from kedro_otel import guard

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_COMMON: Final = (
    os.O_WRONLY
    | os.O_APPEND
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
)
_FRESH: Final = _COMMON | os.O_CREAT | os.O_EXCL
_AGAIN: Final = _COMMON | getattr(os, "O_NONBLOCK", 0)
_LOCK_BYTE: Final = 2**62
_SET_MARK, _GET_MARK = 10, 11  # F_SETSIG, F_GETSIG: the signal for O_ASYNC, which is never set here
_MARK: Final = 60
"""A signal that nothing sends: no program marks its own files so."""

FORMAT: Final = 1
"""Version of the format that this package writes and reads; the value of the header's first key."""

HEADER_BEGINS: Final = f'{{"kedro-otel":{FORMAT},"stopped":'
"""How each segment begins. The digit that follows is the only byte that is ever written twice."""

STOP_MARK_AT: Final = len(HEADER_BEGINS)
"""Offset of that digit."""

GOES_ON, SWITCHED_OFF, NOT_WRITTEN = "0", "1", "2"
STOPPED: Final = {
    SWITCHED_OFF: "recording was switched off meanwhile",
    NOT_WRITTEN: "the recording could not be written any more",
}
"""What the digit says: more may follow, or why nothing does, although the process went on."""

NO_SPACE: Final = "no space left on device"
CLOSED: Final = "its file was closed by the program"


def lock(descriptor: int) -> bool:
    """Take the lock that says "this segment's process lives", without waiting; return whether the file system could."""
    try:
        if os.name == "nt":
            import msvcrt

            position = os.lseek(descriptor, 0, os.SEEK_CUR)
            os.lseek(descriptor, _LOCK_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
            os.lseek(descriptor, position, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        guard.let_through(error)
        return False
    return True


def move_up(descriptor: int) -> int:
    """Return a duplicate of ``descriptor`` with a high number, and close the low one.

    A program gets the numbers that it would get without us, and closes ours less easily. Where no
    high number is free, or the system has no such call, ``descriptor`` itself is returned.
    """
    try:
        import fcntl

        # a sixteenth below the limit; past 1,024 the kernel would enlarge the process's table
        floor = min(os.sysconf("SC_OPEN_MAX"), 1024) * 15 // 16
        high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, floor)
    except (ImportError, OSError, ValueError, AttributeError) as error:
        guard.let_through(error)
        return descriptor
    os.close(descriptor)
    return high


def mark(descriptor: int) -> Callable[[int, int], int] | None:
    """Mark an open file as ours; return the function that reads marks, None where the system has none."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        from fcntl import fcntl

        fcntl(descriptor, _SET_MARK, _MARK)
        return fcntl if fcntl(descriptor, _GET_MARK) == _MARK else None
    except (ImportError, OSError) as error:
        guard.let_through(error)
        return None


class SegmentFile:
    """One segment, open for appending.

    Args:
        path: Where it is made; there must be nothing.

    Attributes:
        path: Where it is now: the writer renames it.
        locked: Whether the file system has locks.
        reopened: How often the program had closed it.

    Raises:
        OSError: It cannot be made.
    """

    __slots__ = ("_descriptor", "_device", "_inode", "_mark", "locked", "path", "reopened")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reopened = 0
        self._descriptor = move_up(os.open(path, _FRESH, 0o600))
        found = os.fstat(self._descriptor)
        self._device, self._inode = found.st_dev, found.st_ino
        self._mark: Any = mark(self._descriptor)
        self.locked = lock(self._descriptor)

    def write(self, data: bytes) -> str:
        """Append ``data`` in one write; return "", or why that was not possible."""
        if not self._is_ours() and not self._reopen():
            return CLOSED
        try:
            return "" if os.write(self._descriptor, data) == len(data) else NO_SPACE
        except OSError as error:
            guard.let_through(error)
            return error.strerror or str(error)

    @property
    def exists(self) -> bool:
        """Whether it still has a name: a purge takes that away."""
        try:
            found = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            return self._is_ours() and os.fstat(self._descriptor).st_nlink > 0
        except OSError as error:
            guard.let_through(error)
            return True
        return (found.st_ino, found.st_dev) == (self._inode, self._device)

    def mark_stopped(self, digit: str) -> None:
        """Write into the header, over the digit that is there, why nothing will follow.

        That needs no space: neither a full disk nor a limit on the size of files prevents it. Where
        not even that succeeds, the file loses its owner's permission to write, which says the same.
        """
        if not self._is_ours() and not self._reopen():
            return
        try:
            self._overwrite(digit)
        except OSError as error:
            guard.let_through(error)
            with guard.suppress(OSError):
                os.chmod(self._descriptor if os.chmod in os.supports_fd else self.path, 0o400)

    def close(self) -> None:
        """Close it, unless the program did so already."""
        if self._is_ours():
            with guard.suppress(OSError):
                os.close(self._descriptor)
        self._descriptor = -1

    def _is_ours(self) -> bool:
        """Return whether the descriptor still leads to what this object opened."""
        if self._mark is None:
            return self._is_the_file()
        try:
            return bool(self._mark(self._descriptor, _GET_MARK) == _MARK)
        except (OSError, ValueError) as error:
            guard.let_through(error)
            return False

    def _is_the_file(self) -> bool:
        try:
            found = os.fstat(self._descriptor)
        except OSError as error:
            guard.let_through(error)
            return False
        return found.st_ino == self._inode and found.st_dev == self._device

    def _reopen(self) -> bool:
        """Open the same file once more, after the program closed it; return whether that was possible."""
        try:
            descriptor = os.open(self.path, _AGAIN)
        except OSError as error:
            guard.let_through(error)
            return False
        before, self._descriptor = self._descriptor, move_up(descriptor)
        if not self._is_the_file():
            os.close(self._descriptor)
            self._descriptor = before
            return False
        self._mark = mark(self._descriptor)
        self.locked = lock(self._descriptor)
        self.reopened += 1
        return True

    def _overwrite(self, digit: str) -> None:
        if os.name == "nt":
            descriptor = os.open(self.path, os.O_WRONLY | getattr(os, "O_BINARY", 0))
            try:
                os.lseek(descriptor, STOP_MARK_AT, os.SEEK_SET)
                os.write(descriptor, digit.encode())
            finally:
                os.close(descriptor)
            return
        import fcntl

        # with O_APPEND Linux would write at the end, wherever it is asked to
        fcntl.fcntl(
            self._descriptor,
            fcntl.F_SETFL,
            fcntl.fcntl(self._descriptor, fcntl.F_GETFL) & ~os.O_APPEND,
        )
        os.pwrite(self._descriptor, digit.encode(), STOP_MARK_AT)
