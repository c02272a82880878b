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

from kedro_otel.recording import reader
from kedro_otel.recording.model import Operation
from kedro_otel.semconv import names

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


@pytest.mark.timeout(1200)
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
    homes = tmp_path / "homes"
    found = run(sys.executable, "fleet.py", homes, cwd=path, env=env, timeout=10 * nodes + 60)
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


POOL = """
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import kedro_otel
from kedro.io import DataCatalog
from kedro.runner import AbstractRunner

def elsewhere(home):
    os.environ.update(KEDRO_OTEL_HOME=home, HOME=home, KEDRO_OTEL_EPHEMERAL="true")

def work(carrier, node, catalog, run_id):
    from kedro.framework.hooks.manager import _create_hook_manager, _register_hooks_entry_points
    from kedro.framework.project import configure_project
    from kedro.runner import Task
    configure_project("minimal")
    manager = _create_hook_manager()
    _register_hooks_entry_points(manager, ())
    with kedro_otel.attached(carrier):
        Task(node, catalog, False, manager, run_id).execute()
    with kedro_otel.attached({}):
        pass

class PoolRunner(AbstractRunner):
    def _get_executor(self, max_workers):
        return None

    def _run(self, pipeline, catalog, hook_manager=None, run_id=None, *more):
        carrier = kedro_otel.carrier()
        plain = DataCatalog({name: catalog.get(name) for name in sorted(pipeline.datasets())})
        home = os.environ["KEDRO_OTEL_HOME"] + "-worker"
        with ProcessPoolExecutor(1, get_context("spawn"), elsewhere, (home,)) as pool:
            for node in pipeline.nodes:
                pool.submit(work, carrier, node, plain, run_id).result()
        assert run_id is None or carrier["kedro.run.id"] == run_id
"""
FILES = """
greeting: {type: json.JSONDataset, filepath: data/greeting.json}
shouted: {type: json.JSONDataset, filepath: data/shouted.json}
told: {type: json.JSONDataset, filepath: data/told.json}
"""


def test_a_worker_of_somebody_elses_pool_belongs_to_the_run(
    project: Callable[..., Path], kedro: Callable[..., Result], home: Path
):
    """With a carrier, nodes in a worker that shares nothing with the run are its children; it records in its own home."""
    path = project(catalog=FILES, files={"src/minimal/pool.py": POOL})
    kedro("run", "--runner=minimal.pool.PoolRunner", cwd=path)
    runs = [one for one in operations(home) if one.operation == "run"]
    nodes = operations(home.parent / f"{home.name}-worker")
    assert len(runs) == 1
    below = [one for one in nodes if one.operation == "node"]
    assert [one.name for one in below] == ["node greet", "node shout", "node tell"]
    assert {(one.trace_id, one.parent_id) for one in below} == {(runs[0].trace_id, runs[0].span_id)}
    assert not [one for one in nodes if one.operation == "run"], "no run is invented"
    assert people(home), "this machine's person is known"
    assert not people(home.parent / f"{home.name}-worker"), "a machine that vanishes invents none"


def people(home: Path) -> set[object]:
    """Return the persons that the recordings below a home are of."""
    found = [reader.read(path).header.resource for path in reader.segments(home / "recordings")]
    return {one[names.INSTALLATION_ID] for one in found if names.INSTALLATION_ID in one}


def operations(home: Path) -> list[Operation]:
    """Return what is recorded below a home."""
    return [
        one for path in reader.segments(home / "recordings") for one in reader.read(path).operations
    ]


def parts(loopback: Loopback) -> dict[str, float]:
    """Return how many parts were counted, by the class of their error."""
    found: dict[str, float] = {}
    for attributes, value in loopback.totals("kedro.pipeline.run.parts").items():
        error = dict(attributes).get("error.type", "")
        found[error] = found.get(error, 0) + value
    return found
