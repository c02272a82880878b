"""One shipper at a time: a lock that the kernel drops when its holder dies."""

from __future__ import annotations

import errno
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kedro_otel import guard
from kedro_otel.config import files

if TYPE_CHECKING:
    from types import TracebackType

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_WITHOUT_LOCKS: Final = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)
"""What a file system says that has no locks. With another error a second lock would let two shippers work at once."""

_PROBE: Final = 0.2
"""Seconds for which a lock that somebody merely looks at (:func:`held`) may seem taken."""


class Lock:
    """The lock beside a journal. ``with`` it, or :meth:`take` and :meth:`release`."""

    def __init__(self, path: Path) -> None:
        """Take nothing yet. Where the file system of ``path`` has no locks, one in the temporary folder stands in."""
        self.path = path
        self._descriptor = -1

    def take(self, patience: float = _PROBE) -> bool:
        """Take the lock, waiting up to ``patience`` seconds; False if somebody else has it. Raises OSError without a place for it."""
        end = time.monotonic() + patience
        while True:
            descriptor, taken = files.patiently(lambda: _taken(self.path))
            if taken:
                self._descriptor = descriptor
                return True
            if time.monotonic() >= end:
                return False
            time.sleep(0.02)

    @property
    def mine(self) -> bool:
        """Whether the lock is held and its file is still there: a purge takes it away."""
        if self._descriptor < 0:
            return False
        try:
            found = files.patiently(lambda: os.fstat(self._descriptor))
            files.patiently(lambda: os.stat(self.path.parent))
        except OSError as error:
            guard.let_through(error)
            return False
        return found.st_nlink > 0

    def release(self) -> None:
        """Let go, if held. The file stays: removing it would let two processes lock two files of one name."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> bool:
        """Take the lock and tell whether that succeeded."""
        return self.take()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go."""
        self.release()


def held(path: Path) -> bool:
    """Return whether some process holds the lock at ``path``."""
    try:
        files.patiently(lambda: os.stat(path))
        descriptor, taken = files.patiently(lambda: _taken(path))
    except OSError as error:
        guard.let_through(error)
        return False
    if taken:
        os.close(descriptor)
    return not taken


def _taken(path: Path) -> tuple[int, bool]:
    """Return an open, locked descriptor, or (-1, False) if somebody else has the lock."""
    descriptor = _open(path)
    try:
        files.patiently(lambda: _asked(descriptor))
    except OSError as error:
        guard.let_through(error)
        os.close(descriptor)
        if error.errno not in _WITHOUT_LOCKS:  # taken, or an error that lasts
            return -1, False
        descriptor = _open(_stand_in(path))
        try:
            _lock(descriptor)
        except OSError as error:
            guard.let_through(error)
            os.close(descriptor)
            return -1, False
    try:
        found = files.patiently(lambda: os.fstat(descriptor))
    except OSError:
        os.close(descriptor)
        raise
    if found.st_nlink:
        return descriptor, True
    os.close(descriptor)  # purged between open and lock: nobody else would meet us there
    return -1, False


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        owner = os.fstat(descriptor).st_uid
    except OSError:
        os.close(descriptor)
        raise
    if hasattr(os, "geteuid") and owner != os.geteuid():
        os.close(descriptor)
        message = f"{path} belongs to somebody else"
        raise OSError(message)
    return descriptor


def _stand_in(path: Path) -> Path:
    """Return a path on a local disk for a folder without locks (some network file systems). Journals are per machine, so it excludes enough."""
    import hashlib
    import tempfile

    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    user = os.geteuid() if hasattr(os, "geteuid") else 0
    return Path(tempfile.gettempdir(), f"kedro-otel-{user}-{name}.lock")


def _asked(descriptor: int) -> None:
    """Lock. Raises OSError; that somebody else has the lock is no error that is worth another try at once."""
    try:
        _lock(descriptor)
    except BlockingIOError as error:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES)) from error


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
