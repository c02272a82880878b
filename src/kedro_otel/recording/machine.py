"""Which machine, and which boot of it: so that nobody else's process is ever taken for dead."""

from __future__ import annotations

import hashlib
from functools import lru_cache


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""


@lru_cache(maxsize=1)
def boot_id() -> str:
    """Return the id of this boot (Linux: ``/proc/sys/kernel/random/boot_id``), or "" where there is none."""
    return _text("/proc/sys/kernel/random/boot_id")


@lru_cache(maxsize=1)
def machine_id() -> str:
    """Return 16 hex digits that stand for this machine: a hash, from which the host's name cannot be read back."""
    import socket

    machine = _text("/etc/machine-id") or _text("/var/lib/dbus/machine-id")
    return hashlib.sha256(f"kedro-otel\0{machine}\0{socket.gethostname()}".encode()).hexdigest()[
        :16
    ]


def process_start(pid: int) -> str:
    """Return a text that tells the process ``pid`` from an earlier one of that number (Linux), or "" where the system does not say."""
    return "".join(_text(f"/proc/{pid}/stat").rpartition(")")[2].split()[19:20])
