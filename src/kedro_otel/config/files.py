"""Files that are whole or absent: written under a temporary name, then moved into place."""

from __future__ import annotations

import os
from pathlib import Path


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
    except OSError:
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
