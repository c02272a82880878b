"""Random pipelines, run for real, are told alike in every format."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from trace_events import viewed

from kedro_otel.recording.model import ENDED
from kedro_otel.viewing.formats import kedro_viz, node_rows, openlineage, perfetto
from kedro_otel.viewing.model.find import newest_first
from kedro_otel.viewing.model.trace import Trace, load
from kedro_otel.viewing.otlp_json import messages
from kedro_otel.viewing.trace_json import document

NODES = """
import os, signal, time

def one(*data):
    time.sleep(0.001)
    return 1

def two(*data):
    return 1, 2

def fail(*data):
    raise ValueError("as planned")

def kill(*data):
    os.kill(os.getpid(), signal.SIGKILL)
"""
REGISTRY = """
import os, random

from kedro.pipeline import node, pipeline

from .nodes import fail, kill, one, two

def a_pipeline(chance, worst):
    made, nodes = ["params:name"], []
    for number in range(chance.randint(1, 7)):
        inputs = chance.sample(made, chance.randint(1, min(3, len(made))))
        function = chance.choice([one, one, two])
        outputs = [f"d{number}_{index}" for index in range(1 if function is one else 2)]
        nodes.append([function, inputs, outputs])
        made += outputs
    if worst:
        chance.choice(nodes)[0] = worst
    named = [
        node(function, inputs, outputs if len(outputs) > 1 else outputs[0], name=f"n{number}", tags="t")
        for number, (function, inputs, outputs) in enumerate(nodes)
    ]
    return pipeline(named, namespace=chance.choice([None, "space"]), parameters={"name"})

def register_pipelines():
    chance = random.Random(int(os.environ["SEED"]))
    many = int(os.environ["MANY"])
    found = {"__default__": pipeline([])}
    for number in range(many):
        worst = kill if number == many - 1 else chance.choice([None, None, fail])
        found[f"p{number}"] = a_pipeline(chance, worst)
    return found
"""
RUN = """
import os
from contextlib import suppress
from pathlib import Path
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.runner import ParallelRunner, SequentialRunner, ThreadRunner

if __name__ == "__main__":
    bootstrap_project(Path.cwd())
    many = int(os.environ["MANY"])
    for number in range(many):
        runner = (SequentialRunner(), ThreadRunner(max_workers=3), SequentialRunner(is_async=True))[number % 3]
        if number == 4:
            runner = ParallelRunner(max_workers=2)
        with suppress(ValueError), KedroSession.create() as session:
            session.run(pipeline_name=f"p{number}", runner=runner)
"""


@pytest.mark.timeout(1800)
def test_every_format_tells_the_same(
    run: Callable[..., Any], project: Callable[..., Path], home: Path, full: bool
) -> None:
    """Names, parents, times and outcomes are those of `show --json` in OTLP, Perfetto, Kedro-Viz, OpenLineage and rows.

    Under every runner, with failures and kills: 24 pipelines in CI, 1,000 with FULL=1.
    """
    path = project(nodes=NODES, registry=REGISTRY, catalog="", files={"run.py": RUN})
    many = 40 if full else 24
    batches = 25 if full else 1
    for seed in range(batches):
        env = {"SEED": str(seed), "MANY": str(many)}
        assert run(sys.executable, "run.py", cwd=path, env=env, code=None).code == -9
    outcomes = []
    for entry in newest_first(home / "recordings"):
        trace = load(entry, home / "recordings")
        told = document(trace)
        outcomes.append(told["outcome"])
        spans = {span["span_id"]: span for span in told["spans"]}
        shown = {key: (span["name"], span["parent_span_id"] or "") for key, span in spans.items()}
        assert shown == {key: value[:2] for key, value in plain(trace)}
        assert as_otlp(trace) == {key: value for key, value in plain(trace) if value[-1]}
        assert as_perfetto(trace) == {key: value[:-1] for key, value in plain(trace)}
        nodes = {key: span for key, span in spans.items() if span["operation"] == "node"}
        expected = {key: how(span, trace) for key, span in nodes.items()}
        assert as_rows(trace) == expected
        by_name = {span["attributes"]["kedro.node.name"]: key for key, span in nodes.items()}
        assert as_viz(trace, by_name) == expected
        assert as_lineage(trace) == {
            trace.run.operation.span_id: (told["outcome"], told["start"]),
            **{key: (value[0], nodes[key]["start"]) for key, value in expected.items()},
        }
    assert len(outcomes) == batches * many
    assert outcomes.count("killed") == batches
    assert outcomes.count("failed") > len(outcomes) // 6 > 0


def plain(trace: Trace) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield each span's name, parent, beginning, end, whether it failed, and whether it ended at all."""
    for span in trace.root.walk():
        one = span.operation
        parent = span.parent.operation.span_id if span.parent else one.parent_id
        ended = one.end_ns is not None
        yield one.span_id, (one.name, parent, one.start_ns, span.end_ns, one.error, ended)


def how(span: dict[str, Any], trace: Trace) -> tuple[str, float]:
    """Return the outcome and duration of a span of `show --json`."""
    word = "ok" if span["state"] == ENDED and not span["error"] else "failed"
    if span["state"] == "died":
        word = "killed"
    return word, span["duration_seconds"]


def as_otlp(trace: Trace) -> dict[str, tuple[Any, ...]]:
    """Return the spans of a trace as OTLP/JSON tells them."""
    return {
        span["spanId"]: (
            span["name"],
            span.get("parentSpanId", ""),
            int(span["startTimeUnixNano"]),
            int(span["endTimeUnixNano"]),
            span.get("status", {}).get("code") == 2,
            True,
        )
        for message in messages(trace)
        for resource in message["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    }


def as_perfetto(trace: Trace) -> dict[str, tuple[Any, ...]]:
    """Return the spans of a trace as a viewer of the Trace Event Format tells them."""
    told = json.loads(json.dumps(perfetto.document(trace)))
    began = int(told["otherData"]["startTimeUnixNano"])
    found = {}
    for event in (one.event for one in viewed(told)):
        start = began + round(event["ts"] * 1000)
        args = event["args"]
        found[args["span_id"]] = (
            event["name"],
            args["parent_span_id"],
            start,
            start + round(event["dur"] * 1000),
            args["outcome"] != "ok",
        )
    return found


def as_rows(trace: Trace) -> dict[str, tuple[str, float]]:
    """Return the nodes of a trace as rows tell them."""
    return {
        row["span_id"]: (row["outcome"], row["duration_seconds"]) for row in node_rows.rows(trace)
    }


def as_viz(trace: Trace, by_name: dict[str, str]) -> dict[str, tuple[str, float]]:
    """Return the nodes of a trace as Kedro-Viz reads them, and see that it reads the run's outcome and duration."""
    events = kedro_viz.events(trace, by_name)
    nodes = [event for event in events if event["event"] == "after_node_run"]
    killed = {
        event["node_id"]
        for event in events
        if event["event"] == "on_node_error" and "killed" in event["error"]
    }
    bad = {event["node_id"] for event in events if event["event"] == "on_node_error"}
    assert bad == {event["node_id"] for event in nodes if event["status"] == "failed"}
    summary = document(trace)
    last = events[-1]
    assert (last["event"] == "after_pipeline_run") == (summary["outcome"] == "ok")
    duration = datetime.fromisoformat(last["timestamp"].replace("Z", "+00:00")) - (
        datetime.fromisoformat(events[0]["timestamp"].replace("Z", "+00:00"))
    )
    assert abs(duration.total_seconds() - summary["duration_seconds"]) < 3e-6
    return {
        event["node_id"]: (
            "killed"
            if event["node_id"] in killed
            else {"success": "ok"}.get(event["status"], event["status"]),
            event["duration"],
        )
        for event in nodes
    }


def as_lineage(trace: Trace) -> dict[str, tuple[str, str]]:
    """Return the outcome and beginning of the run and its nodes, as OpenLineage tells them, each with one end."""
    words = {"COMPLETE": "ok", "FAIL": "failed", "ABORT": "killed"}
    began, ended = {}, {}
    for event in openlineage.events(trace):
        key = event["run"]["runId"].replace("-", "")[16:]
        assert key not in (began if event["eventType"] == "START" else ended)
        if event["eventType"] == "START":
            began[key] = event["eventTime"]
        else:
            ended[key] = words[event["eventType"]]
    assert began.keys() == ended.keys()
    return {key: (ended[key], began[key]) for key in ended}
