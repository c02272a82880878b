"""Of a run that failed: which nodes never ran, and how to go on from there."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result

NODES = """
import os, signal

def first(name):
    return name

def second(found, fail):
    if fail == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fail:
        raise ValueError("as asked")
    return found

def third(found):
    return found
"""
REGISTRY = """
from kedro.pipeline import node, pipeline
from .nodes import first, second, third

def register_pipelines():
    late = pipeline([node(third, "between", "late", name="third"), node(third, "late", "end", name="fourth")])
    return {"__default__": pipeline([
        node(first, "params:name", "begun", name="first"),
        node(second, ["begun", "params:fail"], "between", name="second"),
    ]) + pipeline(late, namespace="after", inputs="between")}
"""
CATALOG = """
begun: {type: pickle.PickleDataset, filepath: data/begun.pkl}
"""
LATE = ["after.third", "after.fourth"]


@pytest.fixture
def where(project: Callable[..., Path]) -> Path:
    """Return a project whose second node of four fails if asked to."""
    return project(nodes=NODES, registry=REGISTRY, catalog=CATALOG)


def shown(run: Callable[..., Result], where: Path, *words: str) -> Result:
    """Type ``kedro-otel show``."""
    return run("kedro-otel", "show", *words, cwd=where, env={"COLUMNS": "70"})


@pytest.mark.parametrize("runner", ["SequentialRunner", "ThreadRunner", "ParallelRunner"])
def test_a_failed_run_names_what_never_ran(
    runner: str, where: Path, kedro: Callable[..., Result], run: Callable[..., Result]
) -> None:
    """The nodes after the one that failed are named, and the command that Kedro proposes is printed whole; it does go on from there."""
    kedro("run", "--runner", runner, "--params", "fail=true", cwd=where, code=1)
    text = shown(run, where).out
    assert "2 nodes never ran: after.third, after.fourth" in text
    found = json.loads(shown(run, where, "--json").out)
    assert found["nodes_not_run"] == LATE
    command = f"kedro run --runner {runner} --params fail=true --from-nodes second"
    assert found["resume_command"] == command
    assert text.rstrip().endswith(f"to go on from there: {command}")
    words = command.replace("fail=true", "fail=").split()[1:]
    kedro(*words, cwd=where)
    assert "never ran" not in shown(run, where).out


def test_a_run_that_was_killed_names_what_never_ran(
    where: Path, kedro: Callable[..., Result], run: Callable[..., Result]
) -> None:
    """A process that dies writes nothing at its end: what it was to do is written before."""
    kedro("run", "--params", "fail=kill", cwd=where, code=-signal.SIGKILL)
    found = json.loads(shown(run, where, "--json").out)
    assert (found["nodes_not_run"], found["resume_command"]) == (LATE, None)


def test_nothing_is_named_where_nothing_is_kept(
    where: Path, kedro: Callable[..., Result], run: Callable[..., Result]
) -> None:
    """With KEDRO_OTEL_KEEP=masked the names are not known; a filtered run names no node that it was not asked for."""
    kedro("run", "--params", "fail=true", cwd=where, env={"KEDRO_OTEL_KEEP": "masked"}, code=1)
    assert "never ran" not in shown(run, where).out
    kedro("run", "--to-nodes", "second", "--params", "fail=true", cwd=where, code=1)
    assert "never ran" not in shown(run, where).out
