"""Every way a pipeline runs, works and fails: the exact tree that is recorded, and a program that behaves as it does without us."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from bare import LOGGING, normal
from conftest import FULL
from trace_text import below, operations, tree

REGISTRY = """
import itertools, os, signal, time
from kedro.pipeline import node, pipeline


def one(*_): return 1
def add(x, *_): return x + 1
def nothing(*_): return None
def fail(*_): raise ValueError("told to fail")
def leave(*_): raise SystemExit(3)
def interrupt(*_): raise KeyboardInterrupt
def die(*_): os._exit(9)
def killed(*_): os.kill(os.getpid(), signal.SIGKILL)
def chunks(x):
    for i in range(3):
        yield [x, i]
def two_streams(x):
    for i in range(2):
        yield {"left": [i], "right": [x]}
def broken_chunks(x):
    yield [x]
    raise RuntimeError("no more")
def parts(x): return {"p1": {"x": x}, "p2": {"x": x}}
def read_parts(found): return sum(load()["x"] for load in found.values())


def nested(*_):
    from pathlib import Path
    from kedro.framework.session import KedroSession
    with KedroSession.create(project_path=Path.cwd()) as session:
        session.run(**{_NAMES: ["single"]} if _NAMES == "pipeline_names" else {"pipeline_name": "single"})


import inspect
from kedro.framework.session import KedroSession
_NAMES = "pipeline_names" if "pipeline_names" in inspect.signature(KedroSession.run).parameters else "pipeline_name"


def register_pipelines():
    found = {
        "linear": pipeline([node(one, None, "a", name="one"), node(add, "a", "b", name="two"), node(add, ["b", "params:n"], "kept", name="three")]),
        "diamond": pipeline([node(one, None, "a", name="top"), node(add, "a", "b", name="left"), node(add, "a", "c", name="right"),
                             node(add, ["b", "c"], "kept", name="bottom")]),
        "shared": pipeline([node(add, "stored", f"s{i}", name=f"reader{i}") for i in range(4)]),
        "single": pipeline([node(one, None, "kept", name="single")]),
        "silent": pipeline([node(nothing, "params:n", None, name="silent")]),
        "generator": pipeline([node(one, None, "a", name="one"), node(chunks, "a", "appended", name="chunks"),
                               node(nothing, "a", None, name="after")]),
        "broken_generator": pipeline([node(one, None, "a", name="one"), node(broken_chunks, "a", "appended", name="chunks")]),
        "transcoded": pipeline([node(one, None, "t@write", name="write"), node(add, "t@read", "kept", name="read")]),
        "factory": pipeline([node(one, None, "made_one", name="make"), node(add, "made_one", "made_two", name="remake")]),
        "versioned": pipeline([node(one, None, "versioned", name="write"), node(add, "versioned", "kept", name="read")]),
        "partitioned": pipeline([node(parts, "params:n", "partitions", name="write"), node(read_parts, "partitions", "kept", name="read")]),
        "namespaced": pipeline([node(one, None, "a", name="one"), node(add, "a", "b", name="two")], namespace="outer"),
        "node_fails": pipeline([node(one, None, "a", name="one"), node(fail, "a", "b", name="bad"),
                                node(add, "b", "kept", name="never")]),
        "load_fails": pipeline([node(one, None, "a", name="one"), node(add, ["a", "missing"], "b", name="bad"),
                                node(add, "b", "kept", name="never")]),
        "save_fails": pipeline([node(one, None, "a", name="one"), node(add, "a", "unwritable", name="bad"),
                                node(add, "unwritable", "kept", name="never")]),
        "leaves": pipeline([node(one, None, "a", name="one"), node(leave, "a", "b", name="bad")]),
        "interrupted": pipeline([node(one, None, "a", name="one"), node(interrupt, "a", "b", name="bad")]),
        "dies": pipeline([node(one, None, "a", name="one"), node(die, "a", "b", name="bad")]),
        "killed": pipeline([node(one, None, "a", name="one"), node(killed, "a", "b", name="bad")]),
        "dies_loading": pipeline([node(one, None, "a", name="one"), node(add, ["a", "deadly"], "b", name="bad")]),
        "dies_saving": pipeline([node(one, None, "a", name="one"), node(add, "a", "deadly", name="bad")]),
        "nested": pipeline([node(nested, "params:n", None, name="outer")]),
    }
    found["__default__"] = found["linear"]
    return found
"""
CATALOG = """
kept: {type: json.JSONDataset, filepath: data/kept.json}
stored: {type: json.JSONDataset, filepath: data/stored.json}
appended: {type: minimal.datasets.Appended, filepath: data/appended.txt}
missing: {type: json.JSONDataset, filepath: data/missing.json}
deadly: {type: minimal.datasets.Deadly}
unwritable: {type: json.JSONDataset, filepath: /dev/null/unwritable.json}
versioned: {type: json.JSONDataset, filepath: data/versioned.json, versioned: true}
t@write: {type: json.JSONDataset, filepath: data/t.json}
t@read: {type: json.JSONDataset, filepath: data/t.json}
partitions: {type: partitions.PartitionedDataset, path: data/parts, dataset: json.JSONDataset, filename_suffix: .json}
"made_{name}": {type: json.JSONDataset, filepath: "data/made_{name}.json"}
"""
DATASETS = '''
import os

from kedro.io import AbstractDataset


class Appended(AbstractDataset):
    """A file to which every save adds."""

    def __init__(self, filepath):
        self.filepath = filepath

    def _load(self):
        with open(self.filepath) as file:
            return file.read()

    def _save(self, data):
        with open(self.filepath, "a") as file:
            file.write(str(data))

    def _describe(self):
        return {}


class Deadly(AbstractDataset):
    """Ends the process that loads or saves it."""

    def _load(self):
        os._exit(9)

    def _save(self, data):
        os._exit(9)

    def _describe(self):
        return {}
'''
RUNNER = '''
from kedro.runner import SequentialRunner


class Own(SequentialRunner):
    """A runner of the project's own."""
'''

SEQUENTIAL = ("SequentialRunner", "")
THREAD = ("ThreadRunner", "")
FORK, SPAWN, FORKSERVER = (("ParallelRunner", method) for method in ("fork", "spawn", "forkserver"))
OWN = ("minimal.runner.Own", "")
ASYNC = ("SequentialRunner", "async")
PARALLEL = (FORK, SPAWN, FORKSERVER)
EVERY = (SEQUENTIAL, THREAD, *PARALLEL)

MISSING = "kedro.io.core.DatasetError"
DIED = "kedro_otel.process_died"


class Scenario(NamedTuple):
    """A pipeline, the runners it is run by, the command's exit code, and what is below the command."""

    pipeline: str
    runners: tuple[tuple[str, str], ...]
    tree: str
    code: int = 0
    error: str = ""


ONE = """
    node one
      save a
"""
LINEAR = (ONE, "node two\n  load a\n  save b", "node three\n  load b\n  load params:n\n  save kept")

TOLD = "" if sys.version_info < (3, 11) else " !RuntimeError"
"""What a worker learns of its generator's exception: nothing on Python 3.10, which has let go of it by then."""

SCENARIOS = (
    Scenario("linear", (*EVERY, ASYNC, OWN), below("run linear", LINEAR[0], LINEAR[2], LINEAR[1])),
    Scenario(
        "diamond",
        EVERY,
        below(
            "run diamond",
            "node bottom\n  load b\n  load c\n  save kept",
            "node left\n  load a\n  save b",
            "node right\n  load a\n  save c",
            "node top\n  save a",
        ),
    ),
    Scenario(
        "shared",
        (*EVERY, ASYNC),
        below("run shared", *(f"node reader{i}\n  load stored\n  save s{i}" for i in range(4))),
    ),
    Scenario("silent", (*EVERY, ASYNC), below("run silent", "node silent\n  load params:n")),
    Scenario(
        "generator",
        EVERY,
        below(
            "run generator",
            "node after\n  load a",
            "node chunks\n  load a\n  save appended\n  save appended\n  save appended",
            ONE,
        ),
    ),
    Scenario(
        "generator",
        (ASYNC,),  # which Kedro refuses
        below("run generator !ValueError", "node after\n  load a", ONE),
        code=1,
        error="ValueError",
    ),
    Scenario(
        "broken_generator",
        (SEQUENTIAL, THREAD),
        below(
            "run broken_generator !RuntimeError",
            "node chunks !RuntimeError\n  load a\n  save appended",
            ONE,
        ),
        code=1,
        error="RuntimeError",
    ),
    Scenario(
        "broken_generator",
        PARALLEL,
        below(
            "run broken_generator !RuntimeError",
            f"node chunks{TOLD}\n  load a\n  save appended",
            ONE,
        ),
        code=1,
        error="RuntimeError",
    ),
    Scenario(
        "transcoded",
        (*EVERY, ASYNC),
        below(
            "run transcoded", "node read\n  load t@read\n  save kept", "node write\n  save t@write"
        ),
    ),
    Scenario(
        "factory",
        EVERY,
        below(
            "run factory",
            "node make\n  save made_one",
            "node remake\n  load made_one\n  save made_two",
        ),
    ),
    Scenario(
        "versioned",
        EVERY,
        below(
            "run versioned",
            "node read\n  load versioned\n  save kept",
            "node write\n  save versioned",
        ),
    ),
    Scenario(
        "partitioned",
        EVERY,
        below(
            "run partitioned",
            "node read\n  load partitions\n  save kept",
            "node write\n  load params:n\n  save partitions",
        ),
    ),
    Scenario(
        "namespaced",
        (*EVERY, ASYNC),
        below(
            "run namespaced",
            "node outer.one\n  save outer.a",
            "node outer.two\n  load outer.a\n  save outer.b",
        ),
    ),
    Scenario(
        "nested",
        (SEQUENTIAL,),
        below(
            "run nested",
            "node outer\n  load params:n\n  run single\n    node single\n      save kept",
        ),
    ),
    Scenario(
        "node_fails",
        (*EVERY, ASYNC),
        below("run node_fails !ValueError", "node bad !ValueError\n  load a", ONE),
        code=1,
        error="ValueError",
    ),
    Scenario(
        "load_fails",
        (SEQUENTIAL, THREAD, ASYNC),
        below(
            f"run load_fails !{MISSING}",
            f"node bad !{MISSING}\n  load a\n  load missing !{MISSING}",
            ONE,
        ),
        code=1,
        error=MISSING,
    ),
    Scenario(
        "load_fails",
        PARALLEL,  # no hook tells a worker why a load failed: the run, in the main process, knows
        below(
            f"run load_fails !{MISSING}", "node bad !_OTHER\n  load a\n  load missing !_OTHER", ONE
        ),
        code=1,
        error=MISSING,
    ),
    Scenario(
        "save_fails",
        (SEQUENTIAL, THREAD, ASYNC),
        below(
            f"run save_fails !{MISSING}",
            f"node bad !{MISSING}\n  load a\n  save unwritable !{MISSING}",
            ONE,
        ),
        code=1,
        error=MISSING,
    ),
    Scenario(
        "save_fails",
        PARALLEL,
        below(
            f"run save_fails !{MISSING}",
            "node bad !_OTHER\n  load a\n  save unwritable !_OTHER",
            ONE,
        ),
        code=1,
        error=MISSING,
    ),
    Scenario(
        "leaves",
        (SEQUENTIAL, THREAD, ASYNC),
        below("run leaves !SystemExit", "node bad !SystemExit\n  load a", ONE),
        code=3,
        error="SystemExit",
    ),
    Scenario(
        "leaves",
        PARALLEL,
        below("run leaves !SystemExit", "node bad !_OTHER\n  load a", ONE),
        code=3,
        error="SystemExit",
    ),
    Scenario(
        "interrupted",
        (SEQUENTIAL, THREAD, ASYNC),
        below("run interrupted !KeyboardInterrupt", "node bad !KeyboardInterrupt\n  load a", ONE),
        code=1,
        error="KeyboardInterrupt",
    ),
    Scenario(
        "interrupted",
        PARALLEL,
        below("run interrupted !KeyboardInterrupt", "node bad !_OTHER\n  load a", ONE),
        code=1,
        error="KeyboardInterrupt",
    ),
    Scenario(
        "dies",
        PARALLEL,
        below(
            "run dies !concurrent.futures.process.BrokenProcessPool",
            f"node bad !{DIED} died\n  load a",
            ONE,
        ),
        code=1,
        error="concurrent.futures.process.BrokenProcessPool",
    ),
    Scenario(
        "killed",
        PARALLEL,
        below(
            "run killed !concurrent.futures.process.BrokenProcessPool",
            f"node bad !{DIED} died\n  load a",
            ONE,
        ),
        code=1,
        error="concurrent.futures.process.BrokenProcessPool",
    ),
    Scenario(
        "killed",
        (SEQUENTIAL, THREAD),
        below(f"run killed !{DIED} died", f"node bad !{DIED} died\n  load a", ONE),
        code=-9,
        error=f"{DIED} died",
    ),
    Scenario(
        "dies",
        (SEQUENTIAL, THREAD),
        below(f"run dies !{DIED} died", f"node bad !{DIED} died\n  load a", ONE),
        code=9,
        error=f"{DIED} died",
    ),
    Scenario(
        "dies_loading",
        PARALLEL,
        below(
            "run dies_loading !concurrent.futures.process.BrokenProcessPool",
            f"node bad !{DIED} died\n  load a\n  load deadly !{DIED} died",
            ONE,
        ),
        code=1,
        error="concurrent.futures.process.BrokenProcessPool",
    ),
    Scenario(
        "dies_saving",
        PARALLEL,
        below(
            "run dies_saving !concurrent.futures.process.BrokenProcessPool",
            f"node bad !{DIED} died\n  load a\n  save deadly !{DIED} died",
            ONE,
        ),
        code=1,
        error="concurrent.futures.process.BrokenProcessPool",
    ),
    Scenario(
        "dies_loading",
        (SEQUENTIAL, THREAD),
        below(
            f"run dies_loading !{DIED} died",
            f"node bad !{DIED} died\n  load a\n  load deadly !{DIED} died",
            ONE,
        ),
        code=9,
        error=f"{DIED} died",
    ),
    Scenario(
        "dies_saving",
        (SEQUENTIAL, THREAD),
        below(
            f"run dies_saving !{DIED} died",
            f"node bad !{DIED} died\n  load a\n  save deadly !{DIED} died",
            ONE,
        ),
        code=9,
        error=f"{DIED} died",
    ),
)


def runners(number: int, scenario: Scenario) -> list[tuple[str, str]]:
    """Return the runners to try a scenario with: of the ways to start workers all for the first, and one in turn for each other one."""
    if FULL or number == 0:
        return list(scenario.runners)
    left_out = [way for way in PARALLEL if way != PARALLEL[number % len(PARALLEL)]]
    return [runner for runner in scenario.runners if runner not in left_out]


CASES = [
    pytest.param(
        scenario,
        *runner,
        id=f"{scenario.pipeline}-{runner[0].rpartition('.')[2]}{'-' if runner[1] else ''}{runner[1]}",
    )
    for number, scenario in enumerate(SCENARIOS)
    for runner in runners(number, scenario)
]


@pytest.fixture
def scenarios(project: Callable[..., Path]) -> Path:
    """Return the project of all scenarios."""
    return project(
        registry=REGISTRY,
        catalog=CATALOG,
        parameters="n: 1\n",
        files={
            "src/minimal/datasets.py": DATASETS,
            "src/minimal/runner.py": RUNNER,
            "logging.yml": LOGGING,
            "data/stored.json": "5",
        },
    )


@pytest.mark.parametrize(("scenario", "runner", "mode"), CASES)
def test_the_tree_is_exact_and_the_program_unchanged(
    scenario: Scenario,
    runner: str,
    mode: str,
    scenarios: Path,
    home: Path,
    kedro: Callable[..., Any],
    bare_kedro: Callable[..., Any],
    bare_python: Path,
) -> None:
    """Whatever the pipeline, the runner and the outcome, the trace is exactly that, and output and exit code are Kedro's own."""
    env = {"KEDRO_LOGGING_CONFIG": str(scenarios / "logging.yml"), "PYTHONWARNINGS": "ignore"}
    words = ["run", f"--pipeline={scenario.pipeline}", f"--runner={runner}"]
    if mode == "async":
        words.append("--async")
    elif mode:
        env["KEDRO_MP_CONTEXT"] = mode
    bare = bare_kedro(*words, cwd=scenarios, env=env, code=None)
    for left in (scenarios / "data").glob("*"):
        if left.name != "stored.json" and left.is_file():
            left.unlink()
    ours = kedro(*words, cwd=scenarios, env=env, code=scenario.code)

    assert tree(operations(home)) == below(
        f"kedro run{f' !{scenario.error}' if scenario.error else ''}", scenario.tree
    )
    assert bare.code == ours.code
    folders = (scenarios, bare_python.parent.parent, sys.prefix)
    assert ours.out == bare.out == ""
    assert sorted_if(mode, runner, normal(ours.err, *folders)) == sorted_if(
        mode, runner, normal(bare.err, *folders)
    )
    assert not list(home.glob("recordings/handoff-*")) or scenario.code == -9, (
        "the handoff stayed behind"
    )


def sorted_if(mode: str, runner: str, text: str) -> object:
    """Return ``text`` with its lines sorted where several workers wrote them, and process numbers hidden."""
    return (
        text
        if runner in {"SequentialRunner", "minimal.runner.Own"} and not mode
        else sorted(text.splitlines())
    )


@pytest.mark.parametrize(
    ("pipeline", "doing"), [("dies_loading", "loading deadly"), ("dies_saving", "saving deadly")]
)
def test_the_dataset_in_which_a_process_died_is_named(
    pipeline: str, doing: str, scenarios: Path, kedro: Callable[..., Any]
) -> None:
    """After a death in a load or save, `show` says which dataset it was, and of which node."""
    kedro("run", f"--pipeline={pipeline}", cwd=scenarios, code=9)
    said = kedro("otel", "show", cwd=scenarios).out
    assert f"was killed while {doing} in node bad" in said
