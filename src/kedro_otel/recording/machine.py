"""Which machine, and which boot of it: so that nobody else's process is ever taken for dead.

A machine is known by what its operating system calls it, never by its host name, which changes with the network. Each
state folder keeps, in ``machines/``, the id under which a machine records there: one small file per machine.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from kedro_otel import guard
from kedro_otel.config import files, paths

if TYPE_CHECKING:
    from pathlib import Path

MACHINES: Final = "machines"
"""Folder in the state folder: one file per machine, whose name stands for the machine and whose content is its id there."""

_ID: Final = re.compile("[0-9a-f]{16}")
_FIRST_PID_NAMESPACE: Final = 0xEFFFFFFC
"""Inode of the kernel's first PID namespace (``PROC_PID_INIT_INO`` in the kernel's proc_ns.h)."""


_known: dict[Path, str] = {}


def _text(path: str) -> str:
    """Return what is in a small file, "" where there is none; an error that may pass is waited for."""
    for wait_s in (0.001, 0.01, 0.0):
        try:
            with open(path, "rb") as file:
                return file.read().decode(errors="replace").strip()
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return ""
        except OSError as error:
            guard.let_through(error)
            time.sleep(wait_s)
    return ""


@lru_cache(maxsize=1)
def boot_id() -> str:
    """Return the id of this boot (Linux: ``/proc/sys/kernel/random/boot_id``), or "" where there is none."""
    return _text("/proc/sys/kernel/random/boot_id")


def since_boot_ns() -> int:
    """Return nanoseconds since this boot, sleep included where the system counts it: no setting of the clock changes them."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic_ns() if clock is None else time.clock_gettime_ns(clock)


def machine_id(*, create: bool = False) -> str:
    """Return the 16 hex digits under which this machine records in this state folder.

    The first recording chooses them, and they stay when the host is renamed. They are a hash, from which no name can be
    read back.

    Args:
        create: Whether to write them down, as whoever records does; whoever only looks changes nothing.
    """
    home = paths.home()
    found = _known.get(home)
    if found is None:
        written, found = _written(home, create=create)
        if written:
            _known[home] = found
    return found


def _written(home: Path, *, create: bool) -> tuple[bool, str]:
    """Return whether the id of this machine is on disk, and the id."""
    path = home / MACHINES / _hash(f"machine\0{system_id()}")
    found = _text(str(path))
    if _ID.fullmatch(found):
        return True, found
    fresh = _hash(f"{_linux_id()}\0{_host_name()}")
    if not create:
        return False, fresh
    try:
        if not files.create(path, fresh.encode()):
            faster = _text(str(path))
            if _ID.fullmatch(faster):
                return True, faster
            files.replace(path, fresh.encode(), ours=True)  # what is there is no id
    except OSError as error:
        guard.let_through(error)
        return False, fresh
    return True, fresh


@lru_cache(maxsize=1)
def system_id() -> str:
    """Return what the operating system calls this machine, "" where it has no name for it that lasts."""
    if sys.platform == "win32":
        import winreg

        try:
            with winreg.OpenKey(
                winreg.HKEY_LOCAL_MACHINE, r"SOFTWARE\Microsoft\Cryptography"
            ) as key:
                return str(winreg.QueryValueEx(key, "MachineGuid")[0])
        except OSError as error:
            guard.let_through(error)
            return ""
    return _linux_id()


def certain() -> bool:
    """Return whether no other machine that runs now can have this one's id.

    Containers of one image may share a name, and what has no name shares that.
    """
    if not system_id():
        return False
    if sys.platform != "linux":
        return True
    try:
        return os.stat("/proc/self/ns/pid").st_ino == _FIRST_PID_NAMESPACE
    except OSError as error:
        guard.let_through(error)
        return False


def process_start(pid: int) -> str:
    """Return a text that tells the process ``pid`` from an earlier one of that number (Linux), or "" where the system does not say."""
    return "".join(_of_process(pid)[19:20])


def runs(pid: int, start: str) -> bool:
    """Return whether the process ``pid`` that :func:`process_start` told ``start`` of runs still; False where that cannot be told."""
    found = _of_process(pid)
    return bool(start) and found[19:20] == [start] and found[0] not in ("Z", "X")


def _of_process(pid: int) -> list[str]:
    """Return what the kernel says of a process, from its state on: the fields of ``/proc/pid/stat``."""
    return _text(f"/proc/{pid}/stat").rpartition(")")[2].split()


def _linux_id() -> str:
    return _text("/etc/machine-id") or _text("/var/lib/dbus/machine-id")


def _host_name() -> str:
    import socket

    return socket.gethostname()


def _hash(text: str) -> str:
    return hashlib.sha256(f"kedro-otel\0{text}".encode()).hexdigest()[:16]
