"""The fixture for users' own tests, used as its documentation says: in a project with tests of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

TESTS = """
from pathlib import Path

import pytest
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

PROJECT = Path(__file__).parents[1]


def run(**options):
    bootstrap_project(PROJECT)
    with KedroSession.create(project_path=PROJECT, **options) as session:
        return session.run()


def test_a_run(recorded):
    run()
    assert list(recorded.nodes) == ["greet", "shout", "tell"]
    assert recorded.nodes["shout"].status == "ok"
    assert recorded.nodes["shout"].attributes["kedro.node.tags"] == ["loud"]
    assert recorded.nodes["shout"].parent_id == recorded.runs[0].span_id
    assert 0 < recorded.nodes["shout"].seconds <= recorded.runs[0].seconds
    assert not recorded.commands
    assert [span.name for span in recorded.datasets][:2] == ["load params:name", "save greeting"]


def test_another_run_is_another_recording(recorded):
    assert not recorded.spans
    with pytest.raises(ValueError):
        run(**{PARAMS: {"fail": True}})
    assert recorded.nodes["tell"].status == recorded.runs[0].status == "error"
    assert recorded.runs[0].error_type == "ValueError"


import inspect
PARAMS = "runtime_params" if "runtime_params" in inspect.signature(KedroSession.create).parameters else "extra_params"
"""


def test_a_users_own_tests_ask_what_a_run_recorded(
    project: Callable[..., Path], run: Callable[..., Any]
) -> None:
    """`pytest_plugins = ("kedro_otel.testing",)` is all that a project needs to assert on nodes, runs and datasets, even where telemetry is off."""
    path = project(
        files={
            "tests/conftest.py": 'pytest_plugins = ("kedro_otel.testing",)\n',
            "tests/test_own.py": TESTS,
        }
    )
    result = run(
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests",
        cwd=path,
        env={"DO_NOT_TRACK": "1", "KEDRO_OTEL_HOME": None},
    )
    assert "2 passed" in result.out


def test_nobody_gets_the_fixture_unasked(
    project: Callable[..., Path], run: Callable[..., Any]
) -> None:
    """Installing the package adds no plugin to anybody's pytest."""
    path = project(files={"tests/test_own.py": "def test_it(recorded): pass\n"})
    assert (
        "fixture 'recorded' not found"
        in run(
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "tests",
            cwd=path,
            code=1,
        ).out
    )
