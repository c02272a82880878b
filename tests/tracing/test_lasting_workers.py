"""Workers that outlive the run in which they started: each node belongs to the run whose id Kedro gave it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trace_text import below, operations, tree

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks")

RUNNER = """
import os, subprocess, sys, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Client, Listener
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.runner import AbstractRunner, SequentialRunner, Task

POOLS = {}
SECRET = b"shared"

def work(what, node, catalog, run_id):
    from kedro.framework.hooks.manager import _create_hook_manager, _register_hooks_entry_points
    from kedro.framework.project import configure_project
    configure_project("minimal")
    manager = _create_hook_manager()
    _register_hooks_entry_points(manager, ())
    if what == "task":
        Task(node, catalog, False, manager, run_id).execute()
    else:
        SequentialRunner().run(Pipeline([node]), catalog, manager, run_id)

def serve(address):
    with Listener(address, authkey=SECRET) as listener:
        while True:
            with listener.accept() as connection:
                words = connection.recv()
                if words is None:
                    return
                work(*words)
                connection.send(True)

class Program:
    '''A worker that is a program of its own, as those of Ray and Spark are.'''
    def __init__(self):
        self.address = os.path.abspath("worker.socket")
        self.process = subprocess.Popen([sys.executable, "-c", "import sys; from minimal.lasting import serve; serve(sys.argv[1])", self.address])
        while not os.path.exists(self.address):
            time.sleep(0.02)
    def run(self, *words):
        with Client(self.address, authkey=SECRET) as connection:
            connection.send(words)
            connection.recv()
    def close(self):
        with Client(self.address, authkey=SECRET) as connection:
            connection.send(None)
        self.process.wait()

class Pool:
    def __init__(self, method):
        self.pool = ProcessPoolExecutor(1, get_context(method))
    def run(self, *words):
        self.pool.submit(work, *words).result()
    def close(self):
        self.pool.shutdown()

def pool(kind):
    if kind not in POOLS:
        POOLS[kind] = Program() if kind == "program" else Pool(kind)
    return POOLS[kind]

class Lasting(AbstractRunner):
    def __init__(self, kind, what):
        super().__init__()
        self.kind, self.what = kind, what
    def _get_executor(self, max_workers):
        return None
    def _run(self, pipeline, catalog, hook_manager=None, run_id=None, *more):
        plain = DataCatalog({name: catalog.get(name) for name in sorted(pipeline.datasets())})
        for node in pipeline.nodes:
            pool(self.kind).run(self.what, node, plain, run_id)
"""
SCRIPT = """
import sys
from pathlib import Path
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

if __name__ == "__main__":
    kind, what = sys.argv[1:]
    bootstrap_project(Path.cwd())
    from minimal.lasting import Lasting, pool
    for _ in range(2):
        with KedroSession.create(project_path=Path.cwd()) as session:
            session.run(runner=Lasting(kind, what))
    pool(kind).close()
"""
FILES = """
greeting: {type: json.JSONDataset, filepath: data/greeting.json}
shouted: {type: json.JSONDataset, filepath: data/shouted.json}
told: {type: json.JSONDataset, filepath: data/told.json}
"""
RUN = below(
    "run __default__",
    "node greet\n  load params:name\n  save greeting",
    "node shout\n  load greeting\n  save shouted",
    "node tell\n  load params:fail\n  load shouted\n  save told",
)


@pytest.mark.parametrize("what", ["runner", "task"])
@pytest.mark.parametrize("kind", ["fork", "spawn", "program"])
def test_each_node_is_in_its_own_run(
    kind: str,
    what: str,
    project: Callable[..., Path],
    run: Callable[..., Any],
    home: Path,
) -> None:
    """Two runs share a worker that began in the first: two whole traces, no run of the worker's own, nothing open or dead."""
    path = project(
        catalog=FILES, files={"src/minimal/lasting.py": RUNNER, "script.py": SCRIPT, "data/x": ""}
    )
    run(sys.executable, "script.py", kind, what, cwd=path, env={"PYTHONPATH": str(path / "src")})
    found = operations(home)
    traces = list(dict.fromkeys(one.trace_id for one in found))
    assert [tree(one for one in found if one.trace_id == trace) for trace in traces] == [RUN] * 2
    assert {one.state for one in found} == {"ended"}


ALONE = """
import sys
from pathlib import Path
from kedro.framework.startup import bootstrap_project

if __name__ == "__main__":
    bootstrap_project(Path.cwd())
    from kedro.io import DataCatalog, MemoryDataset
    from kedro.pipeline import node
    from minimal.lasting import work
    from minimal.nodes import greet
    for one in ("first", "second"):
        catalog = DataCatalog({"name": MemoryDataset("x"), one: MemoryDataset()})
        work(sys.argv[1], node(greet, "name", one, name=one), catalog, "of-another-machine")
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("what", ["runner", "task"])
def test_a_worker_far_away_ends_its_runs_itself(
    what: str, project: Callable[..., Path], run: Callable[..., Any], home: Path
) -> None:
    """Where the run that it works for is not to be found, what it ran has ended with its call, and a task is a part, not a run."""
    path = project(files={"src/minimal/lasting.py": RUNNER, "script.py": ALONE})
    env = {"PYTHONPATH": str(path / "src")}
    run(sys.executable, "script.py", what, cwd=path, env=env, code=-9)
    found = operations(home)
    assert {one.state for one in found} == {"ended"}, "nothing died with the process"
    runs = [one for one in found if one.operation == "run"]
    assert len(runs) == 2
    assert {one.attributes.get("kedro.run.part") for one in runs} == (
        {True} if what == "task" else {None}
    )
    assert {one.error for one in found} == {False}


CAUGHT = """
import os, signal, subprocess, sys
from pathlib import Path
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

if __name__ == "__main__":
    bootstrap_project(Path.cwd())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with KedroSession.create(project_path=Path.cwd()) as session:
        try:
            session.run()
        except KeyboardInterrupt:
            print("caught", flush=True)
    print(os.environ.get("TRACEPARENT"), flush=True)
    if sys.argv[1:]:
        os.kill(os.getpid(), signal.SIGKILL)
"""
INTERRUPTED = """
import os, signal, time

def greet(name):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10)
    return name

def shout(text): return text
def tell(text, fail): return text
"""


@pytest.mark.parametrize("outer", [None, f"00-{'ab' * 16}-{'cd' * 8}-01"])
def test_after_ctrl_c_in_a_script_the_environment_is_as_before(
    outer: str | None, project: Callable[..., Path], run: Callable[..., Any], home: Path
) -> None:
    """A script that catches Ctrl-C goes on without the run's TRACEPARENT; the run has ended, so a later death is not its own."""
    path = project(nodes=INTERRUPTED, files={"script.py": CAUGHT})
    env = {"TRACEPARENT": outer}
    found = run(sys.executable, "script.py", "die", cwd=path, env=env, code=-9)
    assert f"caught\n{outer}" in found.out
    (ended,) = (one for one in operations(home) if one.operation == "run")
    assert ended.state == "ended"
    assert "kedro_otel.process_died" not in str(ended.attributes)
