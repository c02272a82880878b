"""A process waits for its delivery once, at its exit; no run of a long-lived process waits."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loopback import Loopback, loopback  # noqa: F401 (a fixture)

SERVICE = """
import json, time
from pathlib import Path
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro_otel.runtime import shutdown
from kedro_otel.shipping.process import launch

waits = []
launch.wait = lambda patience: waits.append(patience)
bootstrap_project(Path.cwd())
for _ in range(3):
    with KedroSession.create(Path.cwd()) as session:
        session.run()
during = len(waits)
shutdown.at_exit()
print("WAITS", during, waits)
launch.wait = lambda patience: None
"""


def test_only_the_exit_waits(
    project: Callable[..., Path],
    run: Callable[..., Any],
    environment: dict[str, str],
    loopback: Loopback,  # noqa: F811
) -> None:
    """Of three runs in one process in a container none waits; its exit does, for as long as the setting says."""
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": loopback.url,
        "KEDRO_OTEL_SHIP": "wait",
        "KEDRO_OTEL_SHIP_TIMEOUT": "3",
    }
    said = run(sys.executable, "-c", SERVICE, cwd=project(), env=env).out
    assert "WAITS 0 [3.0]" in said


def test_a_command_waits_at_its_exit(
    project: Callable[..., Path],
    kedro: Callable[..., Any],
    loopback: Loopback,  # noqa: F811
) -> None:
    """When the command has returned everything has arrived."""
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": loopback.url,
        "KEDRO_OTEL_SHIP": "wait",
        "KEDRO_OTEL_SHIP_TIMEOUT": "30",
    }
    kedro("run", cwd=project(), env=env)
    assert loopback.total("kedro.commands") == 1
    assert loopback.span_names()["kedro run"] == 1
