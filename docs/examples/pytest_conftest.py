"""conftest.py of a Kedro project: a test asks what its run recorded."""

from __future__ import annotations

from pathlib import Path

import pytest
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

pytest_plugins = ("kedro_otel.testing",)

PROJECT = Path(__file__).parent


@pytest.fixture
def session():
    """Return a session of this project."""
    bootstrap_project(PROJECT)
    with KedroSession.create(project_path=PROJECT) as session:
        yield session
