"""Files that are whole or absent, and reads that neither wait nor grow."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

from kedro_otel import guard

_READ: Final = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


def read(path: str | os.PathLike[str], limit: int) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes.

    A named pipe or a device is not waited for, and of a larger file nothing is read.

    Raises:
        OSError: It is not there, not readable, no regular file, or larger.
    """
    descriptor = os.open(path, _READ)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
        if found.st_size > limit:
            raise OSError(errno.EFBIG, f"larger than {limit} bytes", os.fspath(path))
        data = b""
        while chunk := os.read(descriptor, limit - len(data)):
            data += chunk
        return data[:limit]
    finally:
        os.close(descriptor)


def absent(path: Path, error: Exception) -> bool:
    """Return whether ``error``, raised for ``path``, means that there is no such file.

    A symbolic link that leads nowhere is a file that cannot be read, and so is everything below
    one: its volume may not be mounted.
    """
    if isinstance(error, ValueError):  # no file can have such a name
        return True
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        return False
    return not any(os.path.islink(place) for place in (path, *path.parents))


def replace(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Put ``data`` at ``path`` in one step, so that no reader ever sees half of it.

    A symbolic link keeps pointing where it did. The file keeps its permissions unless ``mode`` is given; a new one
    gets ``mode`` or 0600.

    Raises:
        OSError: where the folder cannot be written; the old file is then untouched.
    """
    target = Path(os.path.realpath(path))
    if mode is None:
        mode = target.stat().st_mode & 0o7777 if target.exists() else 0o600
    temporary = _written(target, data, mode)
    try:
        os.replace(temporary, target)
    except OSError:
        os.unlink(temporary)
        raise


def create(path: Path, data: bytes, *, mode: int = 0o600) -> bool:
    """Put ``data`` at ``path`` unless a file is there; return whether this call did it.

    Of several processes that call this at once exactly one gets True. Folders are made as needed.

    Raises:
        OSError: where the folder cannot be made or written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _written(path, data, mode)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        guard.let_through(error)
        # no hard links here (some network and FAT volumes): O_EXCL still elects one writer
        return _created_exclusively(path, data, mode)
    finally:
        os.unlink(temporary)
    return True


def _created_exclusively(path: Path, data: bytes, mode: int) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    return True


def _written(path: Path, data: bytes, mode: int) -> str:
    """Write ``data`` beside ``path`` under a name that nobody else has; return the name."""
    temporary = f"{path}.{os.getpid()}-{os.urandom(4).hex()}.tmp"
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.chmod(temporary, mode)
    except OSError:
        os.unlink(temporary)
        raise
    return temporary
