"""Does this machine vanish with the command, and with it whatever was not sent? Facts from the environment and a few files."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from kedro_otel import guard
from kedro_otel.config import files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedro_otel.config.settings import Settings

_CONTAINER_FILES: Final = ("/.dockerenv", "/run/.containerenv", "/run/systemd/container")
_CONTAINER_VARIABLES: Final = (
    "KUBERNETES_SERVICE_HOST",
    "container",
    "ECS_CONTAINER_METADATA_URI",
    "ECS_CONTAINER_METADATA_URI_V4",
    "K_SERVICE",
)
_CONTAINER_GROUPS: Final = ("docker", "kubepods", "containerd", "libpod", "lxc")
_JOB_VARIABLES: Final = (
    "SLURM_JOB_ID",
    "PBS_JOBID",
    "LSB_JOBID",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_BATCH_JOB_ID",
    "DATABRICKS_RUNTIME_VERSION",
)
_FIRST_PID_NAMESPACE: Final = 0xEFFFFFFC
"""Inode of the kernel's first PID namespace (``PROC_PID_INIT_INO`` in the kernel's proc_ns.h): whoever has another one is killed with its init."""


def mode(settings: Settings, environ: Mapping[str, str]) -> Literal["background", "wait", "manual"]:
    """Return when to ship: in the background, in the background with a bounded wait at the command's end, or not by itself."""
    said = settings.value("ship")
    if said == "manual":
        return "manual"
    if said == "auto":
        return (
            "wait" if ephemeral(settings, environ) or may_outlive_command(environ) else "background"
        )
    return "wait" if said == "wait" else "background"


def ephemeral(settings: Settings, environ: Mapping[str, str]) -> bool:
    """Return whether every job here begins on a fresh disk: in CI, and in a container that has no folder of ours mounted."""
    from kedro_otel.facts.resource import is_ci

    said = settings.value("ephemeral")
    if said != "auto":
        return bool(said == "true")
    return is_ci(environ) or (
        in_container(environ) and not mounted(environ.get("KEDRO_OTEL_HOME", "").strip())
    )


def may_outlive_command(environ: Mapping[str, str]) -> bool:
    """Return whether what still runs when the command has ended is likely to be killed: containers, batch jobs, systemd units."""
    return (
        os.getpid() == 1
        or any(environ.get(name) for name in _JOB_VARIABLES)
        or in_container(environ)
        or _text("/proc/self/cgroup").rstrip().endswith(".service")
        or _other_pid_namespace()
    )


def in_container(environ: Mapping[str, str]) -> bool:
    """Return whether this is a container."""
    if any(environ.get(name) for name in _CONTAINER_VARIABLES):
        return True
    if sys.platform != "linux":
        return False
    if any(map(_exists, _CONTAINER_FILES)):
        return True
    groups = _text("/proc/self/cgroup")
    return any(word in groups for word in _CONTAINER_GROUPS)


def _other_pid_namespace() -> bool:
    if (
        sys.platform != "linux" or "microsoft" in _text("/proc/sys/kernel/osrelease").lower()
    ):  # WSL gives a lasting one to each distribution
        return False
    try:
        namespace = files.patiently(lambda: os.stat("/proc/self/ns/pid"))
    except OSError as error:
        guard.let_through(error)
        return False
    return namespace.st_ino != _FIRST_PID_NAMESPACE


def _exists(path: str) -> bool:
    """Return whether something is at ``path``; an error that may pass is no answer."""
    try:
        files.patiently(lambda: os.stat(path))
    except OSError as error:
        guard.let_through(error)
        return False
    return True


def mounted(home: str) -> bool:
    """Return whether ``home``, or the nearest folder above it that exists, is on another file system than the container's own."""
    if not home:
        return False
    path = os.path.abspath(os.path.expanduser(home))
    while not _exists(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    try:
        here, root = (files.patiently(partial(os.stat, one)) for one in (path, os.sep))
    except OSError as error:
        guard.let_through(error)
        return False
    return here.st_dev != root.st_dev


def _text(path: str) -> str:
    def read() -> str:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(65536)

    try:
        return files.patiently(read)
    except OSError as error:
        guard.let_through(error)
        return ""
