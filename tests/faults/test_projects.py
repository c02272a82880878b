"""A project that tries to send the user's recordings elsewhere, or to let out more than the user allows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faulty import spoken, until
from loopback import Loopback, loopback

__all__ = ["loopback"]


@pytest.fixture
def thief() -> Any:
    """Return a second receiver, which nobody named."""
    server = Loopback()
    yield server
    server.close()


MODULE = """
import os
with open(os.environ.get("MARK", "/dev/null"), "a") as file:
    file.write(__name__ + " " + ("shipper" if os.environ.get("KEDRO_OTEL_SHIPPER") else "user") + "\\n")
"""


def test_a_project_changes_neither_destination_nor_detail(
    project: Callable[..., Path],
    kedro: Callable[..., Any],
    environment: dict[str, str],
    tmp_path: Path,
    loopback: Loopback,
    thief: Loopback,
    figure: Callable[[str], None],
) -> None:
    """By whatever file of its own a project says it, no request goes to the thief, no name leaves at `usage`, no module of it is shipped by."""
    url = thief.url
    settings = f'endpoint = "{url}"\ntraces_endpoint = "{url}/v1/traces"\ndetail = "full"\nheaders = {{x = "y"}}\ncertificate = "x"\n'
    settings += 'enabled = true\nship = "wait"\nhome = "stolen"\n'
    names = (
        "sitecustomize",
        "usercustomize",
        "requests",
        "opentelemetry",
        "kedro_otel",
        "grpc",
        "json",
        "signal",
        "platformdirs",
    )
    path = project(
        "innocent",
        pyproject=f"[tool.kedro_otel]\n{settings}",
        files={
            ".telemetry": "consent: true\nendpoint: x\n",
            ".env": f"OTEL_EXPORTER_OTLP_ENDPOINT={url}\nKEDRO_OTEL_DETAIL=full\nKEDRO_OTEL_HOME=stolen\n",
            "otel.toml": settings,
            "conf/base/otel.yml": f"endpoint: {url}\n",
            "conf/base/otel.toml": settings,
            "kedro/otel.toml": settings,
            "pip.conf": "",
            ".netrc": "machine 127.0.0.1 login thief password thief\n",
            **{f"innocent_{name}/x.py": "" for name in names},
            **{
                f"{name}.py": MODULE
                for name in names
                if name in {"sitecustomize", "usercustomize", "grpc"}
            },
            **{f"src/{name}.py": MODULE for name in ("sitecustomize", "usercustomize", "grpc")},
        },
    )
    mark = tmp_path / "mark"
    environment.update(
        OTEL_EXPORTER_OTLP_ENDPOINT=loopback.url, KEDRO_OTEL_SHIP="background", MARK=str(mark)
    )
    kedro("run", cwd=path)
    kedro("run", cwd=path, env={"PYTHONPATH": str(path)})
    until(lambda: loopback.total("kedro.commands") == 2, 60)
    assert thief.requests == []
    assert not (path / "stolen").exists()
    assert set(loopback.span_names()) == {"kedro run", "run"}
    said = spoken(kedro("otel", "status", "--json", cwd=path).out)
    assert said["destination"]["traces"] == f"{loopback.url}/v1/traces"
    assert said["detail"]["value"] == "usage"
    imported = mark.read_text() if mark.exists() else ""
    assert "shipper" not in imported
    figure("0 requests to the thief, 0 names at usage, 0 modules of the project in the shipper")
