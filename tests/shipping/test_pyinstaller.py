"""A real application frozen by PyInstaller runs its pipeline once, and what it recorded arrives.

With ``FULL=1``, and only where there is an environment with this package (not editable) and PyInstaller in
``~/.cache/kedro-otel/pyinstaller``; docs/development/testing.md says how to make it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loopback import Loopback, loopback

__all__ = ["loopback"]
BIN = Path.home() / ".cache/kedro-otel/pyinstaller/bin"

NODES = """
import os

def charge():
    with open(os.environ["LEDGER"], "a") as ledger:
        ledger.write("charged\\n")
    return 1
"""
REGISTRY = """
from kedro.pipeline import node, pipeline
from .nodes import charge

def register_pipelines():
    return {"__default__": pipeline([node(charge, None, "a", name="charge_customer")])}
"""
APPLICATION = """
import os
from pathlib import Path
import minimal.nodes, minimal.pipeline_registry, minimal.settings
from kedro.framework.project import configure_project
from kedro.framework.session import KedroSession
configure_project("minimal")
with KedroSession.create(project_path=Path(os.environ["PROJECT"])) as session:
    session.run()
"""
WHOLE = ("kedro", "kedro_otel", "opentelemetry")
NAMED = ("kedro", "kedro-otel", "opentelemetry-sdk", "opentelemetry-api", "rich", "click")


@pytest.fixture
def application(
    full: bool, project: Callable[..., Path], tmp_path: Path, environment: dict[str, str]
) -> Path:
    """Return a frozen program that runs a project's pipeline."""
    if not full or not (BIN / "pyinstaller").exists():
        pytest.skip("with FULL=1, where there is an environment with PyInstaller")
    root = project(nodes=NODES, registry=REGISTRY, catalog="", parameters="")
    (tmp_path / "app.py").write_text(APPLICATION)
    words = [word for name in WHOLE for word in ("--collect-submodules", name)]
    words += [word for name in WHOLE[:2] for word in ("--collect-data", name)]
    words += [word for name in NAMED for word in ("--copy-metadata", name)]
    program = [BIN / "pyinstaller", "--noconfirm", "--onedir", "--name", "app"]
    program += ["--paths", root / "src", "--log-level", "ERROR", *words, "app.py"]
    subprocess.run(program, cwd=tmp_path, check=True, capture_output=True, timeout=900)
    environment.update(LEDGER=str(tmp_path / "ledger"), PROJECT=str(root))
    return tmp_path / "dist/app/app"


@pytest.mark.timeout(1200)
def test_a_frozen_application_runs_once_and_what_it_recorded_arrives(
    application: Path,
    run: Callable[..., Any],
    kedro: Callable[..., Any],
    environment: dict[str, str],
    loopback: Loopback,
    tmp_path: Path,
) -> None:
    """Alone it sends nothing, `status` says why and what to type, and that sends it; with an environment named it arrives by itself."""
    environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = loopback.url
    run(application, cwd=tmp_path)
    assert (tmp_path / "ledger").read_text() == "charged\n"
    assert loopback.requests == []
    said = kedro("otel", "status").out
    assert f"{application} is no Python interpreter" in said
    assert "kedro otel ship" in said
    kedro("otel", "ship")
    assert loopback.span_names()["run"] == 1
    waiting = {"KEDRO_OTEL_SHIP": "wait", "KEDRO_OTEL_SHIP_TIMEOUT": "30"}
    run(application, cwd=tmp_path, env={**waiting, "CONDA_PREFIX": str(BIN.parent)})
    assert loopback.span_names()["run"] == 2
    assert (tmp_path / "ledger").read_text() == "charged\ncharged\n"
    assert "no Python interpreter" not in kedro("otel", "status").out
