"""One run made by many processes that know nothing of each other but a key."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from conftest import Result
from loopback import Loopback
from loopback import loopback as _loopback

loopback = _loopback
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks")

REGISTRY = """
import os, signal
from kedro.pipeline import node, pipeline

def work(number):
    def done(name):
        if str(number) in os.environ["KILLED"].split():
            os.kill(os.getpid(), signal.SIGKILL)
        return f"{name} {number}"
    return done

def register_pipelines():
    many = range(int(os.environ["NODES"]))
    return {"__default__": pipeline([
        node(work(one), "params:name", f"out{one}", name=f"n{one}") for one in many
    ])}
"""
FLEET = """
import json, os, sys, time

import kedro.framework.cli.cli as cli
import kedro.framework.session, kedro.runner
from kedro_otel.cli import otel

def start(home, *words, **more):
    pid = os.fork()
    if not pid:
        os.environ.update(KEDRO_OTEL_HOME=home, HOME=home, **more)
        sys.argv = ["kedro", *words]
        cli.main()
        sys.exit()
    return pid

def ours(home, *words, **more):
    os.environ.update(KEDRO_OTEL_HOME=home, HOME=home, **more)
    otel.main(list(words), standalone_mode=False)

def wait(pids):
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]

if __name__ == "__main__":
    homes, codes = sys.argv[1], {}
    many = range(int(os.environ["NODES"]))
    for first in many[::4]:
        four = many[first:first + 4]
        ended = wait([start(f"{homes}/{one}", "run", "--nodes", f"n{one}") for one in four])
        codes.update(zip(four, ended))
    for one in many:
        ours(f"{homes}/{one}", "ship")
    end = time.time() - 60
    times = ["--start", f"{end - 90:.3f}", "--end", f"{end:.3f}"]
    for home in ("a", "a", "b"):
        ours(f"{homes}/{home}", "finish", *times, "--status", "Succeeded", KEDRO_OTEL_SHIP="background")
    print("codes", json.dumps(codes))
"""


def test_many_processes_with_homes_of_their_own_are_one_run(
    project: Callable[..., Path],
    run: Callable[..., Result],
    loopback: Loopback,
    tmp_path: Path,
    full: bool,
):
    """A slice per process, some killed, no TRACEPARENT: one trace, one root, no orphan, exact counters, and `finish` counts once."""
    nodes, killed = (100, list(range(5, 100, 10))) if full else (12, [3, 8])
    path = project(registry=REGISTRY, files={"fleet.py": FLEET})
    key = "argo-uid-1"
    env = {
        "KEDRO_OTEL_RUN_KEY": key,
        "OTEL_EXPORTER_OTLP_ENDPOINT": loopback.url,
        "KEDRO_OTEL_SHIP": "manual",
        "KEDRO_OTEL_DETAIL": "run",
        "NODES": str(nodes),
        "KILLED": " ".join(map(str, killed)),
    }
    found = run(sys.executable, "fleet.py", tmp_path / "homes", cwd=path, env=env)
    codes = json.loads(found.out.rpartition("codes ")[2])
    assert {int(one) for one, code in codes.items() if code} == set(killed), found

    spans = loopback.spans()
    root_id = sha256(f"{key}s".encode()).digest()[8:16]
    assert {span.trace_id for span in spans} == {sha256(f"{key}t".encode()).digest()[:16]}
    by_id = {span.span_id: span for span in spans}
    assert [one.span_id for one in by_id.values() if not one.parent_span_id] == [root_id]
    assert all(one.parent_span_id in by_id for one in by_id.values() if one.parent_span_id)
    roots = {one.SerializeToString() for one in spans if one.span_id == root_id}
    assert len(roots) == 1, "a second home sends the very same span"
    assert len(spans) == len(by_id) + 1, "nothing else came twice"
    assert sum(one.name.startswith("n") for one in by_id.values()) == nodes

    died = {"error.type": "kedro_otel.process_died"}
    assert loopback.total("kedro.pipeline.runs") == 1
    assert loopback.total("kedro.node.runs") == nodes
    assert parts(loopback) == {"": nodes - len(killed), died["error.type"]: len(killed)}
    once = [one for one in loopback.points() if one.metric == "kedro.pipeline.runs"]
    assert len({one.instance for one in once}) == 1
    assert len({(one.time_ns, one.value) for one in once}) == 2, "0 and then 1, at two times"


def parts(loopback: Loopback) -> dict[str, float]:
    """Return how many parts were counted, by the class of their error."""
    found: dict[str, float] = {}
    for attributes, value in loopback.totals("kedro.pipeline.run.parts").items():
        error = dict(attributes).get("error.type", "")
        found[error] = found.get(error, 0) + value
    return found
