"""The environments that are compared: each a venv of its own with the same Kedro, built once under the user's cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kedro-otel" / "bench"
KEDRO = "kedro==1.7.0"
LIBRARIES = ("kedro-datasets", "matplotlib", "pandas", "pyarrow", "scikit-learn")


class Environment(NamedTuple):
    """What stands in the table: ``words`` go to pip, ``vendor`` tells whether kedro-telemetry stays, ``prefix`` goes before ``kedro``."""

    name: str
    title: str
    words: tuple[str, ...]
    vendor: bool = False
    prefix: tuple[str, ...] = ()


ENVIRONMENTS = {
    found.name: found
    for found in (
        Environment("bare", "Kedro alone", ()),
        Environment(
            "libraries",
            "Kedro with OpenTelemetry's libraries installed, unused",
            ("opentelemetry-sdk", "opentelemetry-exporter-otlp", "platformdirs"),
        ),
        Environment("ours", "kedro-otel", (str(ROOT),)),
        Environment("vendor", "kedro-telemetry 0.9.0", ("kedro-telemetry==0.9.0",), vendor=True),
        Environment(
            "plain",
            "a hook on the SDK's batch processor and OTLP exporter",
            (str(ROOT / "benchmarks" / "plain_hook"),),
        ),
        Environment(
            "instrument",
            "opentelemetry-instrument with the click instrumentation",
            (
                "opentelemetry-distro",
                "opentelemetry-exporter-otlp",
                "opentelemetry-instrumentation-click",
            ),
            prefix=("opentelemetry-instrument",),
        ),
        Environment("psutil", "kedro-psutil-telemetry", ("kedro-psutil-telemetry",)),
        Environment("profile", "kedro-profile", ("kedro-profile",)),
        Environment("mlflow", "kedro-mlflow", ("kedro-mlflow",)),
    )
}


def folder(environment: Environment) -> Path:
    """Return where the environment is or would be; other words, another Python, another Kedro or other metadata of ours are another folder."""
    metadata = (ROOT / "pyproject.toml").read_text() if environment.name == "ours" else ""
    digest = hashlib.sha256(
        repr((environment.words, environment.vendor, KEDRO, sys.version, metadata)).encode()
    ).hexdigest()[:10]
    return CACHE / f"{environment.name}-{digest}"


def build(environment: Environment) -> Path | None:
    """Return the environment's ``bin``, building it first if need be; None if it cannot be installed beside this Kedro (pip says why)."""
    path = folder(environment)
    done = path / "complete"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(path)], check=True)
        if _pip(path, "install", KEDRO, *environment.words):
            return None
        if not environment.vendor:
            _pip(path, "uninstall", "--yes", "kedro-telemetry")
        _compile(path)
        done.touch()
    if environment.name == "ours":  # its source may have changed
        _refresh(path)
    return path / "bin"


def _refresh(path: Path) -> None:
    """Copy the package's source over the installed one: the same files that a wheel would bring, without a build."""
    (installed,) = path.glob("lib/python*/site-packages/kedro_otel")
    shutil.rmtree(installed)
    shutil.copytree(
        ROOT / "src" / "kedro_otel", installed, ignore=shutil.ignore_patterns("__pycache__")
    )
    _compile(installed)


def libraries() -> Path:
    """Return the folder that, on PYTHONPATH, adds what the demo project imports to any environment, the same files for each."""
    bare = folder(ENVIRONMENTS["bare"])
    path = (
        CACHE
        / f"libraries-{hashlib.sha256(repr((LIBRARIES, bare.name)).encode()).hexdigest()[:10]}"
    )
    if not (path / "complete").exists():
        report = path.with_suffix(".json")
        _pip(bare, "install", "--dry-run", "--report", str(report), *LIBRARIES)
        missing = [
            item["metadata"] for item in json.loads(report.read_text(encoding="utf-8"))["install"]
        ]
        words = [
            f"{item['name']}=={item['version']}"
            for item in missing
            if item["name"] != "kedro-telemetry"
        ]
        _pip(bare, "install", "--no-deps", "--target", str(path), "--upgrade", *words)
        _compile(path)
        (path / "complete").touch()
    return path


def versions(environment: Environment) -> dict[str, str]:
    """Return the environment's distributions and their versions."""
    frozen = subprocess.run(
        [str(folder(environment) / "bin" / "python"), "-m", "pip", "list", "--format=freeze"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return dict(line.split("==", 1) for line in frozen.splitlines() if "==" in line)


def _pip(path: Path, *words: str) -> int:
    return subprocess.run(
        [str(path / "bin" / "python"), "-m", "pip", "--quiet", *words], check=False
    ).returncode


def _compile(path: Path) -> None:
    """Compile everything, so that no measurement pays for it."""
    subprocess.run([sys.executable, "-m", "compileall", "-qq", "-j", "2", str(path)], check=False)
