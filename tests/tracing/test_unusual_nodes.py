"""What users do that nobody expects: each once made a run hang, end on record as it had not, or keep its data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bare import LOGGING
from trace_text import below, operations, tree

from kedro_otel.tracing.pending_loads import PendingLoads

NODES = """
from unittest.mock import MagicMock

class Anything:
    def __getattr__(self, name): return self if not name.startswith("__") or name == "__wrapped__" else super().__getattribute__(name)
    def __call__(self, *_): return 1

class Silent(Exception):
    def __str__(self): raise RuntimeError("no words")

def add(x): return x + 1
def silent(x):
    yield x
    raise Silent

anything, mock = Anything(), MagicMock(return_value=1)
mock.__repr__ = lambda _: 'mock'  # its own has a number that differs
"""
REGISTRY = """
from kedro.pipeline import node, pipeline
from .nodes import add, anything, mock, silent

def register_pipelines():
    return {
        "__default__": pipeline([node(add, "params:one", "two", name="add")]),
        "odd": pipeline([node(anything, "params:one", "a", name="anything"), node(mock, "params:one", "b", name="mock")]),
        "silent": pipeline([node(silent, "params:one", "kept", name="silent")]),
    }
"""
AFTER = """
from pathlib import Path
from kedro.framework.hooks import hook_impl
from kedro.framework.session import KedroSession

class Reports:
    @hook_impl
    def after_pipeline_run(self):
        if not hasattr(Reports, "done"):
            Reports.done = True
            with KedroSession.create(project_path=Path.cwd()) as session:
                session.run()

HOOKS = (Reports(),)
"""
CLI = """
import click
from pathlib import Path
from kedro.framework.cli.cli import KedroCLI

@click.group(name=__file__)
def cli():
    pass

@cli.command()
def outer():
    try:
        KedroCLI(Path.cwd()).main(["registry", "list"])
    except SystemExit:
        print("and on")
"""
RAISING = """
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

class Raising(SpanProcessor):
    def on_{}(self, *_): raise RuntimeError("from a processor")

provider = TracerProvider()
provider.add_span_processor(Raising())
trace.set_tracer_provider(provider)
"""
GREEN = below("run __default__", "node add\n  load params:one\n  save two")


@pytest.fixture
def where(project: Callable[..., Path], environment: dict[str, str]) -> Callable[..., Path]:
    """Return ``where(settings=, files=)``, which makes the project."""
    environment["PYTHONWARNINGS"] = "ignore"
    del environment[
        "KEDRO_OTEL_RAISE"
    ]  # what a user's code raises through ours is swallowed, as it is for users

    def where(settings: str = "", files: dict[str, str] | None = None) -> Path:
        more = {"logging.yml": LOGGING, **(files or {})}
        catalog = "kept: {type: pickle.PickleDataset, filepath: data/kept.pkl}\n"
        path = project(
            nodes=NODES,
            registry=REGISTRY,
            catalog=catalog,
            parameters="one: 1\n",
            settings=settings,
            files=more,
        )
        environment["KEDRO_LOGGING_CONFIG"] = str(path / "logging.yml")
        return path

    return where


def test_a_function_that_answers_to_every_name(
    where: Callable[..., Path], home: Path, unchanged: Callable[..., Any]
) -> None:
    """A node may call an object that has every attribute, itself as what it wraps among them: the run goes on, and the node is recorded."""
    unchanged("kedro", "run", "--pipeline", "odd", cwd=where(), timeout=60)
    nodes = {"anything": "a", "mock": "b"}
    assert tree(operations(home)) == below(
        "kedro run",
        below(
            "run odd",
            *(f"node {name}\n  load params:one\n  save {output}" for name, output in nodes.items()),
        ),
    )


def test_a_run_in_another_runs_last_hook(
    where: Callable[..., Path], home: Path, unchanged: Callable[..., Any]
) -> None:
    """A plugin that runs a session when a run has ended well does not make that run fail on record."""
    unchanged("kedro", "run", cwd=where(settings=AFTER))
    found = operations(home)
    assert [run.error for run in found if run.operation == "run"] == [False, False]
    assert {operation.state for operation in found} == {"ended"}
    assert sum(operation.name == "node add" for operation in found) == 2


def test_a_command_that_runs_another(
    where: Callable[..., Path], home: Path, unchanged: Callable[..., Any]
) -> None:
    """A project's command that calls Kedro's command line again ends after it, as its parent."""
    assert "and on" in unchanged("kedro", "outer", cwd=where(files={"src/minimal/cli.py": CLI})).out
    assert tree(operations(home)) == below("kedro outer", "kedro registry list")


@pytest.mark.parametrize("owner", ["ours", "theirs"])
def test_an_exception_without_words(
    owner: str, where: Callable[..., Path], home: Path, unchanged: Callable[..., Any]
) -> None:
    """An exception that cannot say what it is ends node, run and command on record, at full detail too."""
    theirs = "from opentelemetry import trace\nfrom opentelemetry.sdk.trace import TracerProvider\ntrace.set_tracer_provider(TracerProvider())\n"
    path = where(settings=theirs if owner == "theirs" else "")
    unchanged(
        "kedro", "run", "--pipeline", "silent", cwd=path, code=1, env={"KEDRO_OTEL_DETAIL": "full"}
    )
    found = operations(home)
    assert {operation.state for operation in found} == {"ended"}
    assert {operation.name for operation in found if operation.error} >= {
        "kedro run",
        "run silent",
        "node silent",
    }


@pytest.mark.parametrize("moment", ["start", "end"])
def test_a_processor_of_the_users_that_raises(
    moment: str, where: Callable[..., Path], home: Path, unchanged: Callable[..., Any]
) -> None:
    """What a user's own span processor raises keeps nothing from the recording, and nothing from ending."""
    unchanged("kedro", "run", cwd=where(settings=RAISING.format(moment)))
    found = operations(home)
    assert {operation.state for operation in found} == {"ended"}
    assert sorted(
        operation.name for operation in found if operation.operation in {"run", "node"}
    ) == ["node add", "run __default__"]


def test_a_load_that_failed_is_not_taken_for_the_next() -> None:
    """Of two loads of one dataset by one thread the first of which failed, it is the second that ended, and the first is forgotten."""
    waiting, node = PendingLoads(), SimpleNamespace(inputs=["cars"])
    waiting.began("cars", node, 1)
    waiting.began("cars", node, 100)
    assert waiting.ended("cars", node, 200)
    assert [load.start_ns for load in waiting.take(node, is_async=False)] == [100]
    assert not waiting.waiting
