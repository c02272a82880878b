"""What else decides or sends is named, with what to type: a receiver from the environment, Kedro's own telemetry."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from kedro_otel.config import paths, settings, surroundings

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://agent:4318"}


def test_a_receiver_from_the_environment_is_named() -> None:
    """The variable is, and how to unset it; a receiver of the user's own file is not."""
    (found,) = surroundings.sentences(settings.load(ENDPOINT), ENDPOINT)
    assert "the receiver comes from the environment (OTEL_EXPORTER_OTLP_ENDPOINT)" in found
    assert found.endswith("unset OTEL_EXPORTER_OTLP_ENDPOINT")
    assert "service name" not in found
    (found,) = surroundings.sentences(
        settings.load({**ENDPOINT, "OTEL_SERVICE_NAME": "agent"}), ENDPOINT
    )
    assert "The service name does, too; for another: export KEDRO_OTEL_SERVICE_NAME=" in found
    file = paths.user_config()
    file.parent.mkdir(parents=True)
    file.write_text("endpoint = 'http://mine:4318'")
    assert surroundings.sentences(settings.load({}), {}) == []


@pytest.mark.parametrize(
    ("environ", "consent", "named"),
    [
        ({}, None, True),
        ({}, "consent: true", True),
        ({}, "consent: false", False),
        ({"DO_NOT_TRACK": "1"}, None, False),
        ({"KEDRO_DISABLE_TELEMETRY": "1"}, None, False),
        ({"GITHUB_REPOSITORY_OWNER": "kedro-org"}, None, False),
    ],
)
def test_kedros_own_telemetry_is_named_where_it_sends(
    environ: dict[str, str],
    consent: str | None,
    named: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is where it is installed and nothing that it obeys says no."""
    assert surroundings.sentences(None, environ, tmp_path) == []
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    if consent:
        (tmp_path / ".telemetry").write_text(consent)
    found = surroundings.sentences(None, environ, tmp_path)
    assert [one.startswith("kedro-telemetry is installed too") for one in found] == [True] * named
