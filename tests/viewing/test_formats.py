"""A recorded run in the formats of other tools."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fabricate import SECOND, Tape, a_run
from trace_events import viewed

from kedro_otel.cli import otel
from kedro_otel.viewing.formats.perfetto import document
from kedro_otel.viewing.model.find import find
from kedro_otel.viewing.model.trace import Trace, load

DOCS = Path(__file__).parents[2] / "docs"
READERS = Path.home() / ".cache/kedro-otel/readers/bin/python"
"""Python of an environment with the tools that read our files: `make readers`."""

needs_readers = pytest.mark.skipif(
    not READERS.exists(), reason="DuckDB and Kedro-Viz are not there: make readers"
)


@pytest.fixture
def folder(home: Path) -> Path:
    """Return where recordings are kept."""
    return home / "recordings"


def printed(*words: str) -> str:
    """Return what a command prints."""
    result = CliRunner().invoke(otel, words)
    assert result.exit_code == 0, result.output
    return result.stdout


def recorded(run: str | None = None) -> Trace:
    """Return a recorded run."""
    return load(find(run).entry)


def test_perfetto_nests_and_joins(folder: Path, tmp_path: Path) -> None:
    """Loads and saves lie in their node, nodes in their run; an arrow leads from a save to the loads of the same dataset."""
    a_run(folder, [("a", 0.5, 1, 0.25), ("b", 0.25, 1, 0.5)], error=("b", "ValueError"))
    printed("export", "--format", "perfetto", "-o", str(tmp_path / "run.json"))
    told = json.loads((tmp_path / "run.json").read_text())
    found = {slice_.event["name"]: slice_ for slice_ in viewed(told)}
    assert {name: slice_.depth for name, slice_ in found.items()} == {
        "kedro run": 0,
        "run __default__": 1,
        "node a": 2,
        "load d0": 3,
        "save d1": 3,
        "node b": 2,
        "load d1": 3,
    }
    assert found["save d1"].arrows == [("s", 1)]
    assert found["load d1"].arrows == [("f", 1)]
    assert found["node b"].event["args"]["outcome"] == "failed"
    assert found["node b"].event["args"]["error.type"] == "ValueError"
    assert told["otherData"]["outcome"] == "failed"


def test_perfetto_lays_what_overlaps_on_tracks_beside(folder: Path) -> None:
    """Nodes that overlap in a process get tracks of their own, and so do processes that share a number."""
    tape = a_run(folder, [("a", 0, 3, 0)])
    run = next(span for span, kind in tape.kinds.items() if kind == "run")
    tape.node("beside", run, 1, 0.25, 1, 0.25)
    worker = Tape(folder, tape.at, trace=tape.trace)
    worker.node("far", run, 1, 0.25, 1, 0.25)
    found = viewed(document(recorded()))
    places = {
        slice_.event["name"]: (slice_.event["pid"], slice_.event["tid"], slice_.depth)
        for slice_ in found
    }
    pid = places["node a"][0]
    assert places["node beside"][0] == pid
    assert places["node far"][0] != pid
    assert places["node beside"][2] == places["node far"][2] == 0
    assert places["load beside_in"] == (*places["node beside"][:2], 1)


def test_perfetto_is_quick(folder: Path, full: bool) -> None:
    """30,000 spans take under a second of the processor's time (a tenth of them in CI)."""
    many = 10_000 if full else 1_000
    a_run(folder, [(f"n{index}", 0.001, 0.002, 0.001) for index in range(many)])
    trace = recorded()
    began = time.process_time()
    text = json.dumps(document(trace))
    took = time.process_time() - began
    assert text.count('"ph": "X"') >= 3 * many
    assert took < many / 10_000, took


def test_nodes_as_rows(folder: Path) -> None:
    """`kedro otel nodes` prints a row for each node of each run since a time, the newest run first, all with the same keys."""
    now = time.time_ns()
    a_run(folder, [("old", 0, 1, 0)], at=now - 40 * 86400 * SECOND)
    a_run(folder, [("a", 0.5, 1, 0.25)], at=now - 7200 * SECOND, run_id="one")
    a_run(folder, [("b", 0.5, 1, 0.25)], at=now - 3600 * SECOND, error=("b", "KeyError"))
    rows = [json.loads(line) for line in printed("nodes", "--since", "30d").splitlines()]
    assert [row["node"] for row in rows] == ["b", "a"]
    assert rows[0].keys() == rows[1].keys()
    told = ("run_id", "outcome", "error_type", "duration_seconds", "load_seconds", "save_seconds")
    assert [rows[1][key] for key in told] == ["one", "ok", None, 1.75, 0.5, 0.25]
    assert [rows[0]["outcome"], rows[0]["error_type"]] == ["failed", "KeyError"]


@needs_readers
def test_duckdb_finds_the_slowest_nodes(folder: Path, tmp_path: Path) -> None:
    """DuckDB answers the documented query: the slowest nodes of a month, the one that took most first."""
    now = time.time_ns()
    a_run(folder, [("old", 0, 99, 0)], at=now - 40 * 86400 * SECOND)
    for hours in (3, 2, 1):
        a_run(folder, [("a", 0.5, hours, 0.25), ("b", 0, 9, 0)], at=now - hours * 3600 * SECOND)
    a_run(folder, [("b", 0.5, 50, 0)], at=now - 1000 * SECOND, error=("b", "KeyError"))
    printed("nodes", "-o", str(tmp_path / "nodes.jsonl"))
    query = re.search(r"```sql\n(.*?)```", (DOCS / "other-tools.md").read_text(), re.DOTALL)
    assert query
    program = f"import duckdb; print(duckdb.sql({query[1].strip().rstrip(';')!r}).fetchall())"
    done = subprocess.run([READERS, "-c", program], cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout.decode().strip() == (
        "[('__default__', 'b', 3, 9.0, 9.0, 27.0), ('__default__', 'a', 3, 2.75, 3.75, 8.3)]"
    )


def lineage(*words: str) -> list[dict[str, Any]]:
    """Return a run's OpenLineage events."""
    return [
        json.loads(line)
        for line in printed("export", "--format", "openlineage", *words).splitlines()
    ]


@pytest.mark.parametrize(
    ("how", "ends"),
    [
        ({}, {"a": "COMPLETE", "b": "COMPLETE", "": "COMPLETE"}),
        ({"error": ("b", "ValueError")}, {"a": "COMPLETE", "b": "FAIL", "": "FAIL"}),
        ({"error": ("b", "KeyboardInterrupt")}, {"a": "COMPLETE", "b": "ABORT", "": "ABORT"}),
        ({"dies": True}, {"a": "COMPLETE", "b": "ABORT", "": "ABORT"}),
    ],
)
def test_openlineage_begins_and_ends_each_run_once(
    folder: Path, how: dict[str, Any], ends: dict[str, str]
) -> None:
    """A run and each node start once and end once; what was killed or interrupted is aborted."""
    a_run(folder, [("a", 0.5, 1, 0.25), ("b", 0.25, 1, 0)], **how)
    events = lineage()
    begun = [event["run"]["runId"] for event in events if event["eventType"] == "START"]
    ended = [event["run"]["runId"] for event in events if event["eventType"] != "START"]
    assert sorted(begun) == sorted(ended)
    assert len(set(begun)) == 3
    assert [event["eventTime"] for event in events] == sorted(
        event["eventTime"] for event in events
    )
    told = {
        event["job"]["name"].removeprefix("demo.__default__").lstrip("."): event["eventType"]
        for event in events
        if event["eventType"] != "START"
    }
    assert told == ends
    errors = [event for event in events if "errorMessage" in event["run"]["facets"]]
    assert {event["eventType"] for event in errors} <= {"FAIL", "ABORT"}
    assert len(errors) == sum(end != "COMPLETE" for end in ends.values())


def test_openlineage_joins_jobs_by_their_datasets(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node names its run as its parent, and its datasets without parameters and transcoding, as the namespace is set."""
    monkeypatch.setenv("OPENLINEAGE_NAMESPACE", "factory")
    of_a = {"inputs": ["raw@spark", "params:x", "parameters", "raw@pandas"], "outputs": ["clean"]}
    of_b = {"inputs": ["clean"], "outputs": ["model"]}
    a_run(folder, [("a", 0, 1, 0), ("b", 0, 1, 0)], attrs={"a": of_a, "b": of_b})
    run, a, b = (event for event in lineage() if event["eventType"] == "START")

    def datasets(event: dict[str, Any], way: str) -> list[tuple[str, str]]:
        return [(one["namespace"], one["name"]) for one in event[way]]

    assert datasets(a, "inputs") == datasets(run, "inputs") == [("factory", "demo.raw")]
    assert datasets(a, "outputs") == datasets(b, "inputs") == [("factory", "demo.clean")]
    assert datasets(b, "outputs") == datasets(run, "outputs") == [("factory", "demo.model")]
    parent = a["run"]["facets"]["parent"]
    assert parent["run"]["runId"] == run["run"]["runId"]
    assert parent["job"]["name"] == run["job"]["name"] == "demo.__default__"
    for event in (run, a, b):
        assert event["schemaURL"].startswith("https://openlineage.io/spec/2-0-2/OpenLineage.json")
        facets = [*event["run"]["facets"].values(), *event["job"]["facets"].values()]
        assert all("kedro-otel" in one["_producer"] and one["_schemaURL"] for one in facets)
