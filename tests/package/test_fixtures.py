"""The ground the other tests stand on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from conftest import Result


def test_a_project_runs(project: Callable[..., Path], kedro: Callable[..., Result]) -> None:
    """The small project runs for real, and what it saves is there."""
    path = project()
    kedro("run", cwd=path)
    assert json.loads((path / "data/told.json").read_text()) == {"text": "HELLO WORLD!"}


def test_a_project_fails_when_told(
    project: Callable[..., Path], kedro: Callable[..., Result]
) -> None:
    """The small project fails with its own exception and Kedro's exit code."""
    assert "told to fail" in "".join(
        kedro("run", "--params", "fail=true", cwd=project(), code=1)[2:]
    )


def test_nothing_of_the_developers_environment_is_left(environment: dict[str, str]) -> None:
    """A test sees its own environment only, also in its own process."""
    left = {key for key in os.environ if not key.startswith("PYTEST_")}
    assert left == set(environment)
    assert not {
        key
        for key in left
        if key.startswith(("OTEL_", "GITHUB_")) or key in {"CI", "DO_NOT_TRACK", "TRACEPARENT"}
    }


def test_kedro_telemetry_can_be_had(
    kedro_telemetry: dict[str, str], kedro: Callable[..., Result]
) -> None:
    """kedro-telemetry is absent unless a test asks for it."""
    assert "kedro_telemetry" not in kedro("info").out
    assert "kedro_telemetry" in kedro("info", env=kedro_telemetry).out
