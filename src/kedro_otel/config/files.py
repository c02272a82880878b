"""Files that are whole or absent, and reads that neither wait nor grow."""

from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from kedro_otel import guard

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_READ: Final = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


TRANSIENT: Final = frozenset(
    {errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EINTR}
    | ({errno.ESTALE} if hasattr(errno, "ESTALE") else set())
)
"""Errors that say nothing about a file, only about the moment."""

_WAITS: Final = (0.0, 0.002, 0.02)


def patiently(call: Callable[[], T]) -> T:
    """Return what ``call`` returns, tried again a few times where it fails with an error that may pass.

    Raises:
        OSError: It failed with another error, or each time.
    """
    for wait_s in _WAITS:
        try:
            return call()
        except OSError as error:
            guard.let_through(error)
            if error.errno not in TRANSIENT:
                raise
        time.sleep(wait_s)
    return call()


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


def distrusted(path: Path) -> str:
    """Return why the settings file ``path`` is not to be followed, empty if it is: who else could have written it.

    The file belongs to this user or to root, and nobody else may write it or replace it in its folder, as ssh wants its own.

    Raises:
        OSError: It cannot be asked.
    """
    if not hasattr(os, "geteuid"):
        return ""
    for place, what in ((path, "it"), (path.parent, "its folder")):
        found = os.stat(place)
        if found.st_uid not in (0, os.geteuid()):
            return f"{what} belongs to another user"
        sticky = what != "it" and found.st_mode & stat.S_ISVTX
        if found.st_mode & stat.S_IWOTH and not sticky:
            return f"every user may write {what}"
        if found.st_mode & stat.S_IWGRP and not sticky and not _alone(found.st_gid):
            return f"a group may write {what}"
    return ""


def _alone(group: int) -> bool:
    """Return whether a group is the private one that many systems make for each user: its name is the user's, and it has no other member."""
    import grp
    import pwd

    try:
        name, found = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(group)
    except KeyError as error:
        guard.let_through(error)
        return False
    return found.gr_name == name and set(found.gr_mem) <= {name}


def make_folders(folder: Path) -> None:
    """Make ``folder`` and what is missing above it, for their owner alone under any umask.

    Root makes them for the owner of the folder that they are in: a command under ``sudo`` leaves nothing in a user's home
    that the user cannot remove.

    Raises:
        OSError: One cannot be made.
    """
    missing = []
    above = folder
    while not above.exists():
        missing.append(above)
        above = above.parent
    for path in reversed(missing):
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            continue
        _give(path, path.parent.stat())
    if not folder.is_dir():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(folder))


def replace(path: Path, data: bytes, *, mode: int | None = None, ours: bool = False) -> None:
    """Put ``data`` at ``path`` in one step, so that no reader ever sees half of it.

    A symbolic link keeps pointing where it did. The file keeps its owner, its extended attributes, and its permissions unless
    ``mode`` is given. A new one gets ``mode`` or 0600. Of a file in our state folder (``ours``) other hard links are
    backups, which keep what they have.

    Raises:
        OSError: The folder cannot be written, the file has other hard links, or what it has cannot be kept. The file is untouched.
    """
    target = Path(os.path.realpath(path))
    before: os.stat_result | None
    try:
        before = target.stat()
    except FileNotFoundError:
        before = None
    if before is not None and before.st_nlink > 1 and not ours:
        raise OSError(errno.EMLINK, "it has other hard links, which would keep the old content")
    if mode is None:
        mode = 0o600 if before is None else stat.S_IMODE(before.st_mode)
    temporary = _written(target, data, mode)
    try:
        if before is None:
            _give(temporary, target.parent.stat())
        else:
            _keep(target, before, temporary)
        os.replace(temporary, target)
    except OSError:
        os.unlink(temporary)
        raise


def _keep(old: Path, before: os.stat_result, new: str) -> None:
    """Give the file ``new`` the owner and the extended attributes of ``old``. Raises OSError where that is not possible."""
    if not hasattr(os, "chown"):
        return
    found = os.stat(new)
    if (found.st_uid, found.st_gid) != (before.st_uid, before.st_gid):
        os.chown(new, before.st_uid, before.st_gid)
        os.chmod(new, stat.S_IMODE(found.st_mode))  # a change of owner takes some bits away
    if not hasattr(os, "listxattr"):
        return
    here = set(os.listxattr(new))
    for name in os.listxattr(old):
        value = os.getxattr(old, name)
        if name not in here or os.getxattr(new, name) != value:
            os.setxattr(new, name, value)


def _give(path: str | Path, folder: os.stat_result) -> None:
    """Let what root made belong to the owner of the folder it is in."""
    if hasattr(os, "geteuid") and os.geteuid() == 0 and folder.st_uid != 0:
        os.chown(path, folder.st_uid, folder.st_gid, follow_symlinks=False)


def create(path: Path, data: bytes, *, mode: int = 0o600) -> bool:
    """Put ``data`` at ``path`` unless a file is there; return whether this call did it.

    Of several processes that call this at once exactly one gets True. Folders are made as needed.

    Raises:
        OSError: where the folder cannot be made or written.
    """
    make_folders(path.parent)
    temporary = _written(path, data, mode)
    try:
        _give(temporary, path.parent.stat())
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
    _give(path, path.parent.stat())
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
