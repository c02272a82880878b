"""``kedro otel compare``: what took longer than before is found and named first, and ordinary noise is not."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from conftest import Result as ProgramResult
from fabricate import SECOND, a_run

from kedro_otel.cli import otel

BEGAN = 1_795_341_600 * SECOND  # Sunday 22 November 2026, 10:00:00 UTC
DEMO = [
    ("clean_measurements", 0.010, 0.042, 0.012),
    ("clean_cultivars", 0.012, 0.012, 0.031),
    ("join_tables", 0.03, 0.03, 0.016),
    ("describe_wines", 0.023, 0.029, 0.017),
    ("split_wines", 0.017, 0.046, 0.033),
    ("train_forest", 0.034, 3.60, 0.027),
    ("train_linear", 0.013, 1.22, 0.011),
    ("evaluate_models", 0.047, 0.120, 0.011),
    ("choose_model", 0.022, 0.010, 0.015),
    ("explain_model", 0.067, 0.90, 0.011),
    ("plot_confusion", 0.051, 0.100, 0.110),
    ("write_report", 0.013, 0.010, 0.001),
]
"""The demo's nodes and what they take where nothing else runs: load, compute, save, in seconds."""


@pytest.fixture
def ran(home: Path) -> Callable[..., None]:
    """Return ``ran(number, slower, …)``: record the demo's run number ``number`` with noise of 3 %, some of its nodes that much slower.

    One time in twenty a node has a hiccup of up to 15 ms on top, as on any real machine.
    """

    def ran(
        number: int, slower: Mapping[str, float] | None = None, *, noise: float = 0.03, **told: Any
    ) -> None:
        chance = random.Random(f"{number} {noise}")
        without = told.pop("without", ())
        nodes = []
        for name, *parts in DEMO + told.pop("more", []):
            factor = (slower or {}).get(name, 1.0)
            hiccup = chance.random() * 0.015 if chance.random() < 0.05 else 0.0
            load, compute, save = (
                part * factor * chance.lognormvariate(0, noise) for part in parts
            )
            if name not in without:
                nodes.append((name, load, compute + hiccup, save))
        names = [name for name, *_ in nodes]
        attrs = {
            name: {"inputs": [f"{name}_in", f"{before}_out"], "outputs": [f"{name}_out"]}
            for before, name in pairwise(["", *names])
        }
        a_run(
            home / "recordings",
            nodes,
            attrs=attrs,
            at=BEGAN + number * 60 * SECOND,
            trace=f"{number + 1:032x}",
            **told,
        )

    return ran


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return ``compared(*words, code=0)``, which types ``kedro otel compare …`` the evening after."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(time, "time_ns", lambda: BEGAN + 10 * 3600 * SECOND)

    def compared(*words: str, code: int = 0, columns: int = 100) -> Result:
        result = CliRunner().invoke(otel, ["compare", *words], env={"COLUMNS": str(columns)})
        assert result.exit_code == code, f"{result.output} {result.exception!r}"
        return result

    return compared


def verdicts(result: Result) -> list[str]:
    """Return what is said of nodes and datasets, in order, but for those that are as before."""
    told = json.loads(result.stdout)
    return [
        f"{one['verdict']} {one['name']}"
        for one in told["nodes"] + told["datasets"]
        if one["verdict"] != "same"
    ]


@pytest.mark.parametrize("node", ["train_forest", "train_linear", "explain_model"])
@pytest.mark.parametrize("runs", [5, 8, 14])
def test_a_slower_node_is_found_and_named_first(
    ran: Callable[..., None], compared: Callable[..., Result], node: str, runs: int
) -> None:
    """A node that takes 30 % longer is told, before anything else, whatever number of runs went before."""
    for number in range(runs):
        ran(number)
    ran(runs, {node: 1.3})
    assert verdicts(compared("--json"))[0] == f"slower {node}"
    (first,) = [
        line
        for line in compared().stdout.splitlines()
        if line.rstrip().endswith("slower") and "the whole run" not in line
    ][:1]
    assert first.split()[0] == node


SLEEPING = """
import time

def wait(seconds):
    time.sleep(seconds)
    return seconds
"""
REGISTRY = """
from kedro.pipeline import node, pipeline

from .nodes import wait

def register_pipelines():
    return {"__default__": pipeline([node(wait, f"params:{name}", f"{name}_out", name=name) for name in ("clean", "train", "explain")])}
"""


def test_a_slower_node_of_a_real_run(
    project: Callable[..., Path], kedro: Callable[..., ProgramResult], full: bool
) -> None:
    """Full: in a real project, of real runs, one node that takes 40 % longer is named first; one that takes twice as long fails a CI job."""
    if not full:
        pytest.skip("five runs that sleep: simulated histories say the same in CI (FULL=1)")
    path = project(
        nodes=SLEEPING,
        registry=REGISTRY,
        catalog="",
        parameters="clean: 0.3\ntrain: 1.0\nexplain: 0.4\n",
    )
    for _ in range(4):
        kedro("run", cwd=path)
    assert json.loads(printed(kedro("otel", "compare", "--json", cwd=path)))["history"] == 3
    kedro("run", "--params", "train=1.4", cwd=path)
    told = json.loads(printed(kedro("otel", "compare", "--json", cwd=path)))
    assert (told["nodes"][0]["name"], told["nodes"][0]["verdict"]) == ("train", "slower")
    kedro("run", "--params", "train=2.2", cwd=path)
    assert (
        "most of it in train +1."
        in kedro("otel", "compare", "--fail-if-slower", "20%", cwd=path, code=1).out
    )


def printed(result: ProgramResult) -> str:
    """Return what a command printed after what Kedro logs to stdout."""
    return result.out[result.out.index("{") :]


def test_equal_runs_are_equal(ran: Callable[..., None], compared: Callable[..., Result]) -> None:
    """Of ten pairs of equal runs, each a run and those before it and a run and its neighbour, nothing is told."""
    for number in range(20):
        ran(number)
    for number in range(1, 11):
        run = f"-{number}"
        assert verdicts(compared(run, "--json")) == []
        assert verdicts(compared(f"-{number + 1}", run, "--json")) == []
    assert "as before: no node and no dataset" in compared().stdout


def test_noise_is_judged_by_its_history(
    ran: Callable[..., None], compared: Callable[..., Result]
) -> None:
    """Where runs always differ by a fifth, 30 % more says nothing; where they hardly differ, 15 % does."""
    for number in range(10):
        ran(number, noise=0.2)
    ran(10, {"train_forest": 1.3}, noise=0.001)
    assert verdicts(compared("--json")) == []
    for number in range(20, 40):
        ran(number, noise=0.005)
    ran(40, {"train_forest": 1.15}, noise=0.001)
    assert verdicts(compared("--json"))[0] == "slower train_forest"


DATASETS = {
    "slower explain_model_in",
    "added publish_in",
    "added publish_out",
    "removed plot_confusion_out",
    "removed plot_confusion_in",
}


def test_two_runs_and_no_others(ran: Callable[..., None], compared: Callable[..., Result]) -> None:
    """With one earlier run nothing is known of the spread: only what no noise explains is told, with its figures and both critical paths."""
    ran(0)
    ran(
        1,
        {"train_forest": 1.3, "explain_model": 2.0},
        without=["plot_confusion"],
        more=[("publish", 0.1, 0.4, 0.1)],
    )
    said = verdicts(compared("--json"))
    assert said[:3] == ["slower explain_model", "added publish", "removed plot_confusion"]
    assert set(said[3:]) == DATASETS
    shown = compared("-2", "-1").stdout
    assert "against kedro run of today 10:00:00" in shown
    assert "added" in shown
    assert "removed" in shown
    assert "critical path" in shown
    told = json.loads(compared("--json").stdout)
    (node,) = [one for one in told["nodes"] if one["name"] == "explain_model"]
    assert node["difference_seconds"] == pytest.approx(
        node["after_seconds"] - node["before_seconds"]
    )
    assert node["relative"] == pytest.approx(node["difference_seconds"] / node["before_seconds"])
    assert told["after"]["critical_path"]["nodes"][-1] == "publish"


def test_runs_of_different_pipelines_are_told_apart(
    ran: Callable[..., None], compared: Callable[..., Result]
) -> None:
    """Which pipelines were compared is said where they are not the same: the command on record has no names in it."""
    ran(0)
    ran(1, pipeline="training")
    heading = compared("-2", "-1", columns=150).stdout.splitlines()[0]
    assert heading.endswith(
        "· pipeline training · against kedro run of today 10:00:00, pipeline __default__"
    )
    assert "pipeline" not in compared("-1", "-1").stdout.splitlines()[0]


def test_a_narrow_screen_keeps_the_difference(
    ran: Callable[..., None], compared: Callable[..., Result]
) -> None:
    """On forty columns each line has the name, by how much it differs, and what that is called."""
    for number in range(5):
        ran(number)
    ran(5, {"train_forest": 1.5}, without=["plot_confusion"])
    told = compared(columns=40).stdout
    assert max(map(len, told.splitlines())) <= 40
    assert re.search(r"^  train_forest +\+1\.\d+ s +slower$", told, re.MULTILINE)
    assert re.search(r"^  plot_confusion +-\d+ ms +removed$", told, re.MULTILINE)
    assert re.search(r"^  write_report +[+-]\S+ \ws +[+-]\d+%$", told, re.MULTILINE)


def test_only_runs_that_did_the_same_are_peers(
    ran: Callable[..., None], compared: Callable[..., Result]
) -> None:
    """Failed runs, other pipelines, and other projects' runs are no peers; without any, the command says so."""
    ran(0, pipeline="data")
    ran(1, error=("split_wines", "ValueError"))
    ran(2, {"train_forest": 9})
    assert "no earlier successful run of pipeline __default__" in compared(code=1).stderr
    assert "no earlier successful run" in compared("--fail-if-slower", "20%").stderr
    ran(3)
    assert json.loads(compared("--json").stdout)["history"] == 1


def test_fail_if_slower(ran: Callable[..., None], compared: Callable[..., Result]) -> None:
    """``--fail-if-slower`` prints one line that names the node, and exits 1 if the run took so much longer than before, else 0."""
    for number in range(8):
        ran(number)
    assert compared("--fail-if-slower", "20%").stdout.startswith("kedro-otel: ok: the run took ")
    ran(8, {"train_forest": 1.6})
    (line,) = compared("--fail-if-slower", "20%", code=1).stdout.splitlines()
    assert line.startswith("kedro-otel: SLOWER: the run took ")
    assert "slower than the median of 8 earlier runs of __default__" in line
    assert "train_forest +" in line
    assert compared("--fail-if-slower", "50").exit_code == 0
    printed = compared("--fail-if-slower", "20%", "--json", code=1)
    assert json.loads(printed.stdout)["run"]["verdict"] == "slower"
    assert "SLOWER" in printed.stderr
    assert "no percentage" in compared("--fail-if-slower", "much", code=2).stderr


def test_a_comment_for_a_pull_request(
    ran: Callable[..., None], compared: Callable[..., Result]
) -> None:
    """``--markdown`` tells the verdict and a table with the culprit first; names cannot leave their cells."""
    hostile = "x | <img src=x> `a` **b** [c](d) @team #1 \n# title"
    for number in range(5):
        ran(number, more=[(hostile, 0.1, 0.4, 0.1)])
    ran(5, {"train_forest": 1.9}, more=[(hostile, 0.1, 2.0, 0.1)])
    text = compared("--markdown").stdout
    assert text.startswith("**🔴 `kedro run`: ")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows[2].startswith("| train\\_forest |")
    assert all(row.replace("\\|", "").count("|") == 6 for row in rows)
    assert "\\<img src=x\\>" in text
    assert "\n# title" not in text


def test_a_failed_run_is_compared_as_far_as_it_came(
    ran: Callable[..., None], compared: Callable[..., Result]
) -> None:
    """Of a run that failed, completed nodes are compared; what it did not reach is not told as removed."""
    for number in range(4):
        ran(number)
    ran(4, {"train_forest": 2.0}, error=("evaluate_models", "ValueError"))
    result = compared("--json")
    assert verdicts(result) == ["slower train_forest"]
    assert "only nodes that completed are compared" in result.stderr
