"""What else on this machine decides or sends beside this package: a receiver that a parent process named, Kedro's own telemetry."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Final

from kedro_otel import guard
from kedro_otel.config import toml_file
from kedro_otel.config.settings import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kedro_otel.config.settings import Settings

_ENDPOINTS: Final = ("endpoint", "traces_endpoint", "metrics_endpoint")
TELEMETRY: Final = "kedro_telemetry"
_SILENCED: Final = ("DO_NOT_TRACK", "KEDRO_DISABLE_TELEMETRY")


def sentences(
    known: Settings | None, environ: Mapping[str, str], project: Path | None = None
) -> list[str]:
    """Return one sentence for each: what it does, and what to type to change it."""
    found = [inherited(known)] if known is not None else []
    found.append(telemetry(environ, project))
    return [sentence for sentence in found if sentence]


def inherited(known: Settings) -> str:
    """Return who named the receiver, if that was the environment: an agent's or a CI runner's OTEL_* reach every child."""
    names = [
        known.origin(name).partition(" ")[2]
        for name in _ENDPOINTS
        if known.rank(name) == ENVIRONMENT
    ]
    if not names:
        return ""
    return (
        f"the receiver comes from the environment ({', '.join(names)}), perhaps of the program that started this one. "
        f"To send nothing there: unset {' '.join(names)}"
    )


def telemetry(environ: Mapping[str, str], project: Path | None) -> str:
    """Return that Kedro's own telemetry is installed and sends, empty where it is not or was refused."""
    if any(environ.get(name) for name in _SILENCED) or importlib.util.find_spec(TELEMETRY) is None:
        return ""
    if project is not None and _refused(project / ".telemetry"):
        return ""
    return (
        "kedro-telemetry is installed too, and sends usage data to its own vendor. To stop that and keep this: "
        "kedro otel on, then export KEDRO_DISABLE_TELEMETRY=1"
    )


def _refused(path: Path) -> bool:
    """Return whether a project's ``.telemetry`` says no, as its first lines spell it."""
    from kedro_otel.config import files

    try:
        text = files.read(path, toml_file.MAX_BYTES).decode("utf-8")
    except (OSError, ValueError) as error:
        guard.let_through(error)
        return False
    words = [
        line.partition(":")[2].strip().lower()
        for line in text.splitlines()
        if line.lower().startswith("consent:")
    ]
    return words == ["false"]
