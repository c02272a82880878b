"""``kedro otel history``: runs, nodes and datasets over time, as a person and a program get them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from conftest import Result as ProgramResult
from fabricate import Tape
from jsonschema import Draft202012Validator

from kedro_otel.cli import otel
from kedro_otel.config import paths

SCHEMA = json.loads(
    (Path(__file__).parents[2] / "docs/schemas/history.schema.json").read_text(encoding="utf-8")
)
HOUR = 3600 * 10**9
BEGIN = 1_790_000_000 * 10**9


def typed(*words: str, code: int = 0, columns: int = 130) -> Result:
    """Type ``kedro otel history …``."""
    done = CliRunner().invoke(otel, ["history", *words], env={"COLUMNS": str(columns)})
    assert done.exit_code == code, (done.output, done.exception)
    return done


def printed(*words: str) -> Any:
    """Return what ``--json`` prints, held to its schema."""
    found = json.loads(typed(*words, "--json").stdout)
    Draft202012Validator.check_schema(SCHEMA)
    Draft202012Validator(SCHEMA).validate(found)
    return found


def recorded(
    number: int,
    took: float = 1.0,
    *,
    revision: str = "a" * 40,
    error: str | None = None,
    memory: int = 50 << 20,
    rows: int = 1000,
    name: str = "train",
    pipeline: str = "__default__",
) -> Tape:
    """Record one run of one node with one load, ``number`` hours after the first."""
    tape = Tape(paths.recordings(), BEGIN + number * HOUR)
    run = tape.start("run", "run", 0, kedro_pipeline_name=pipeline, vcs_ref_head_revision=revision)
    node = tape.start("node", f"node {name}", 0, run, kedro_node_name=name)
    tape.span(
        "dataset", "load cars", node, 0, took / 2, **{"kedro.dataset.row.count": rows},
        kedro_dataset_name="cars", kedro_dataset_operation="load",
    )  # fmt: skip
    tape.end(
        node, took, error, **{"kedro.node.cpu.time": took / 2, "kedro.node.memory.peak": memory}
    )
    tape.end(run, took, error)
    return tape


def test_what_stands_out_is_marked() -> None:
    """Of runs that hardly differ, the slow one, the fast one and the one with more memory and fewer rows are marked; a failure is not."""
    for number in range(12):
        recorded(number, 1 + number % 3 / 100)
    recorded(12, 1.5)
    recorded(13, 0.5)
    recorded(14, 1.01, memory=200 << 20, rows=10)
    recorded(15, 0.1, error="ValueError")
    found = printed("train")
    assert found["kind"] == "node"
    assert found["usual_seconds"] == pytest.approx(1.01)
    assert [one["run"] for one in found["points"]] == list(range(-1, -17, -1))
    marks = {one["run"]: one["stands_out"] for one in found["points"] if one["stands_out"]}
    assert marks == {
        -2: {"memory": "above"},
        -3: {"duration": "below"},
        -4: {"duration": "above"},
    }
    first = found["points"][0]
    assert (first["outcome"], first["memory_bytes"], first["cpu_seconds"]) == (
        "failed",
        50 << 20,
        0.05,
    )
    lines = typed("train").stdout.splitlines()
    assert lines[0] == "node train: 16 runs, usually 1.01 s"
    assert "more memory" in lines[2]
    assert "fast" in lines[3]
    assert "slow" in lines[4]
    assert "200 MiB" in lines[2]
    assert "aaaaaaaaa" in lines[1]
    dataset = printed("cars")
    assert dataset["kind"] == "dataset"
    assert {one["loads"] for one in dataset["points"]} == {1}
    assert {
        one["run"]: one["stands_out"] for one in dataset["points"] if "rows" in one["stands_out"]
    } == {-2: {"rows": "below"}}
    assert "10 rows" in typed("cars").stdout
    runs = printed()
    assert runs["kind"] == "runs"
    assert [one["run"] for one in runs["points"] if one["stands_out"]] == [-3, -4]


def test_too_few_say_nothing() -> None:
    """Of four values nothing stands out, and nothing is usual."""
    for number, took in enumerate((1, 1, 1, 9)):
        recorded(number, took)
    found = printed("train")
    assert found["usual_seconds"] is None
    assert not any(one["stands_out"] for one in found["points"])


def test_a_node_that_fails_and_passes_on_one_commit_is_flaky(
    project: Callable[..., Path], kedro: Callable[..., ProgramResult]
) -> None:
    """As git has the commit of a real project; a failure on another commit is none."""
    path = project(nodes=(
        "import os\n"
        "def greet(name): return name\n"
        "def shout(greeting): return greeting\n"
        "def tell(shouted, fail):\n"
        "    if os.environ.get('FLAKE'): raise ValueError('bad luck')\n"
        "    return {}\n"
    ))  # fmt: skip
    git = ("git", "-c", "user.name=x", "-c", "user.email=x@example.org")
    for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "x")):
        subprocess.run([*git, *words], cwd=path, check=True)
    kedro("run", cwd=path)
    kedro("run", cwd=path, env={"FLAKE": "1"}, code=1)
    out = kedro("otel", "history", cwd=path).out
    assert "flaky: tell failed 1 of 2 times at commit" in out
    commit = subprocess.run(
        [*git, "rev-parse", "HEAD"], cwd=path, check=True, capture_output=True, text=True
    ).stdout.strip()
    assert commit[:9] in out
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "y"], cwd=path, check=True)
    recorded(0, revision="b" * 40, error="ValueError")
    recorded(1, revision="c" * 40)
    found = printed("--all-projects")
    assert [(one["node"], one["revision"]) for one in found["flaky"]] == [("tell", commit)]


def test_which_runs_and_names() -> None:
    """Filters are by pipeline and number; what is not known is named with what is like it, and a hostile name does no harm."""
    assert "nothing is recorded yet" in typed(code=1).stderr
    recorded(0)
    recorded(1, pipeline="other", name="train\x1b[31m")
    recorded(2)
    assert [one["run"] for one in printed("--pipeline", "__default__")["points"]] == [-1, -3]
    assert [one["run"] for one in printed("-n", "1")["points"]] == [-1]
    assert "no run of this pipeline" in typed("--pipeline", "none", code=1).stderr
    assert "but train" in typed("trian", code=1).stderr
    assert "\x1b" not in typed("train\x1b[31m").stdout
    assert "other" in typed().stdout
    assert len(max(typed(columns=60).stdout.splitlines(), key=len)) <= 60
    other = Tape(paths.recordings(), resource={"kedro.project.name": "elsewhere"})
    other.end(other.start("run", "run", 0), 1)
    assert len(printed("--project", "elsewhere")["points"]) == 1
    assert len(printed("--project", "demo")["points"]) == 3
