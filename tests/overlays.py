"""What some tests need beside Kedro, each set in a folder of its own: on PYTHONPATH it is there, with this package or without.

Nothing of it is a dependency of development: a notebook kernel, a web server, instrumentations and other plugins would each change
what every other test runs in. A set is installed once per environment, the first time a test asks for it; what cannot be had beside
this Kedro skips the test and says why.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

_ENVIRONMENT = dict(os.environ)
"""The developer's own, for pip; a test has another."""

_OTEL = int(version("opentelemetry-api").split(".")[1])
_INSTRUMENTATION = f">=0.{_OTEL + 21}b0,<0.{_OTEL + 22}b0"
"""The instrumentations that were released with this OpenTelemetry."""

SETS = {
    "notebook": ("ipykernel", "nbclient"),
    "server": (
        "fastapi",
        "uvicorn",
        *(
            f"opentelemetry-{name}{_INSTRUMENTATION}"
            for name in ("distro", "instrumentation-fastapi")
        ),
    ),
    "instrumentation": (
        "SQLAlchemy<2.1",  # what its instrumentation knows
        *(
            f"opentelemetry-{name}{_INSTRUMENTATION}"
            for name in (
                "distro",
                *(f"instrumentation-{x}" for x in ("threading", "requests", "sqlalchemy")),
            )
        ),
    ),
    "logfire": ("logfire",),
    "kedro-viz": ("kedro-viz",),
    "kedro-mlflow": ("kedro-mlflow",),
}


@pytest.fixture(scope="session")
def overlay() -> Callable[[str], Path]:
    """Return ``overlay(name)``, which returns the folder of one of the sets, for PYTHONPATH; its programs are in ``programs(folder)``."""
    refused: dict[str, str] = {}

    def overlay(name: str) -> Path:
        if name not in refused:
            folder, words = _installed(name)
            if not words:
                return folder
            refused[name] = words
        pytest.skip(f"{name} cannot be installed beside this Kedro: {refused[name]}")

    return overlay


def programs(folder: Path) -> Path:
    """Return where the programs of a set are."""
    return folder.parents[2] / "bin"


def _installed(name: str) -> tuple[Path, str]:
    """Install a set unless it is there, and return its folder and, where pip could not, pip's last words."""
    fixed = [f"{known}=={version(known)}" for known in ("kedro", "click")] + [
        f"opentelemetry-{part}>=1.{_OTEL},<1.{_OTEL + 1}" for part in ("api", "sdk")
    ]
    digest = hashlib.sha256(repr((SETS[name], fixed)).encode()).hexdigest()[:10]
    place = Path(sys.prefix) / "overlays" / f"{name}-{digest}"
    place.parent.mkdir(exist_ok=True)
    folder = place / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (place / "complete").exists():
            return folder, ""
        subprocess.run(
            [sys.executable, "-m", "venv", "--clear", "--without-pip", place], check=True
        )
        # pip sees what is installed here, so that it adds only what is missing.
        (folder / "base.pth").write_text(sysconfig.get_path("purelib") + "\n")
        (place / "constraints.txt").write_text("\n".join(fixed))
        pip = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            place / "bin" / "python",
            "--quiet",
            "--disable-pip-version-check",
        ]
        asked = [*pip, "install", "--constraint", place / "constraints.txt", *SETS[name]]
        done = subprocess.run(asked, env=_ENVIRONMENT, capture_output=True, text=True, check=False)
        if done.returncode:
            return folder, next(
                iter([line for line in done.stderr.splitlines() if "ERROR" in line][-1:]),
                "pip failed",
            )
        subprocess.run([sys.executable, "-m", "compileall", "-qq", folder], check=False)
        (place / "complete").touch()
    return folder, ""
