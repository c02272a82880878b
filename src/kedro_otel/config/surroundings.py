"""What else on this machine decides or sends beside this package: a receiver that a parent process named, Kedro's own telemetry."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Final

from kedro_otel.config import consent
from kedro_otel.config.settings import ENDPOINTS, ENVIRONMENT, SERVICE_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kedro_otel.config.settings import Settings

_TELEMETRY: Final = "kedro_telemetry"


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
        for name in ENDPOINTS
        if known.rank(name) == ENVIRONMENT
    ]
    if not names:
        return ""
    service = ""
    if known.origin("service_name").endswith(f" {SERVICE_NAME}"):
        service = "The service name does, too; for another: export KEDRO_OTEL_SERVICE_NAME=kedro. "
    return (
        f"the receiver comes from the environment ({', '.join(names)}), perhaps of the program that started this one. "
        f"{service}To send nothing there: unset {' '.join(names)}"
    )


def telemetry(environ: Mapping[str, str], project: Path | None) -> str:
    """Return that Kedro's own telemetry is installed and sends, empty where it is not or was refused."""
    if importlib.util.find_spec(_TELEMETRY) is None or consent.generic_no(environ, project):
        return ""
    return (
        "kedro-telemetry is installed too, and sends usage data to its own vendor. To stop that and keep this: "
        "kedro otel on, then export KEDRO_DISABLE_TELEMETRY=1"
    )
