"""Sessions without the command line: scripts, threads, forks, notebooks, packaged projects, embeddings and the server."""

from __future__ import annotations

import inspect
import json
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
from bare import LOGGING
from kedro.framework.session import KedroSession
from overlays import programs
from trace_text import below, operations, segments, tree

from kedro_otel.semconv import names
from servers import eventually, free_ports, request

HAS_SERVER = pytest.mark.skipif(
    not (Path(inspect.getfile(KedroSession)).parents[2] / "server").is_dir(),
    reason="this Kedro has no server",
)

NODES = """
import os, signal, sys, time
from multiprocessing import get_context
from pathlib import Path

def one(*_): return 1
def add(x, *_): return x + 1
def fail(*_): raise ValueError("told to fail")
def interrupted(*_):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests that run in the background have it ignored
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(30)
def killed(*_): os.kill(os.getpid(), signal.SIGKILL)
def leave(*_): sys.exit(3)
def wait(*_): time.sleep(0.2); return 1
def forks(*_):
    from kedro.framework.session import KedroSession
    def child():
        with KedroSession.create(project_path=Path.cwd()) as session:
            session.run(node_names=["first"])
    process = get_context("fork").Process(target=child)
    process.start()
    process.join()
    return process.exitcode
"""
REGISTRY = """
from kedro.pipeline import node, pipeline
from .nodes import *

def register_pipelines():
    return {
        "__default__": pipeline([node(one, None, "a", name="first"), node(add, "a", "kept", name="second")]),
        "bad": pipeline([node(one, None, "a", name="first"), node(fail, "a", "b", name="bad")]),
        "interrupted": pipeline([node(one, None, "a", name="first"), node(interrupted, "a", "b", name="stopped")]),
        "killed": pipeline([node(one, None, "a", name="first"), node(killed, "a", "b", name="last")]),
        "leaves": pipeline([node(one, None, "a", name="first"), node(leave, "a", "b", name="last")]),
        "slow": pipeline([node(wait, None, f"s{i}", name=f"slow{i}") for i in range(3)]),
        "missing": pipeline([node(add, "missing", "b", name="bad")]),
        "forks": pipeline([node(forks, None, "code", name="outer")]),
    }
"""
CATALOG = """
kept: {type: json.JSONDataset, filepath: data/kept.json}
missing: {type: json.JSONDataset, filepath: data/missing.json}
"""
START = """
import inspect, os, sys, threading
from pathlib import Path
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from opentelemetry import trace

def run(name="__default__", **words):
    key = "pipeline_names" if "pipeline_names" in inspect.signature(KedroSession.run).parameters else "pipeline_name"
    with KedroSession.create(project_path=Path.cwd()) as session:
        session.run(**{key: [name] if key == "pipeline_names" else name}, **words)

def clean():
    print("leaked" if trace.get_current_span().get_span_context().is_valid else "clean", os.environ.get("TRACEPARENT"))

"""
MAIN = 'if __name__ == "__main__":\n    bootstrap_project(Path.cwd())\n'
"""Workers that are spawned import the script once more."""

DEFAULT = ("node first\n  save a", "node second\n  load a\n  save kept")
GOOD = below("run __default__", *DEFAULT)
BAD = below("run bad !ValueError", "node bad !ValueError\n  load a", DEFAULT[0])


@pytest.fixture
def where(project: Callable[..., Path], environment: dict[str, str]) -> Path:
    """Return a project whose pipelines end in every way, logging plain text."""
    path = project(nodes=NODES, registry=REGISTRY, catalog=CATALOG, files={"logging.yml": LOGGING})
    environment.update(
        {"KEDRO_LOGGING_CONFIG": str(path / "logging.yml"), "PYTHONWARNINGS": "ignore"}
    )
    return path


@pytest.fixture
def script(where: Path, unchanged: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``script(text, …)``, which runs Python in the project, with and without this package, and holds that nothing else differs."""

    def script(text: str, **options: Any) -> Any:
        (where / "script.py").write_text(START + MAIN + indent(text, "    "))
        return unchanged("script.py", cwd=where, **options)

    return script


def traces(home: Path) -> list[str]:
    """Return the tree of each trace, in order of time."""
    found = operations(home)
    ids = dict.fromkeys(
        operation.trace_id for operation in sorted(found, key=lambda each: each.start_ns)
    )
    return [tree(operation for operation in found if operation.trace_id == known) for known in ids]


def test_every_run_of_a_script_is_a_trace_of_its_own(
    script: Callable[..., Any], home: Path
) -> None:
    """Three sessions in one process are three traces in one file, and nothing is current between them."""
    assert script("for _ in range(3): run(); clean()").out == "clean None\n" * 3
    assert traces(home) == [GOOD] * 3
    assert len(segments(home)) == 1


@pytest.mark.parametrize("pipeline", ["__default__", "bad", "missing"])
def test_what_a_run_held_is_freed_when_it_ends(pipeline: str, script: Callable[..., Any]) -> None:
    """The data of a run that ended, well or not, are gone at once, without the garbage collector, where they are without us."""
    tried = f"try: run({pipeline!r})\n    except Exception: pass"
    count = "sum(isinstance(one, MemoryDataset) for one in gc.get_objects())"
    before = "import gc\nfrom kedro.io import MemoryDataset\nrun()\ngc.collect(), gc.disable()\n"
    script(
        f"{before}for _ in range(2):\n    {tried}\nprint({count})"
    )  # as many as without us: none, but for old Kedro's own


@pytest.mark.parametrize("second", ["add", "fail"])
def test_what_a_runner_without_a_session_held_is_freed(
    second: str, script: Callable[..., Any]
) -> None:
    """The same where a runner is called with a hook manager of the caller's own, and no hook says when it has ended."""
    calls = f"    try: call(SequentialRunner(), first, node({second}, 'a', 'b', name='second'))\n    except ValueError: pass\n"
    count = "print(sum(isinstance(one, MemoryDataset) for one in gc.get_objects()))"
    defined = EMBEDDING.partition("call(SequentialRunner()")[0]
    script(
        f"import gc\n{defined}\ngc.collect(), gc.disable()\nfor _ in range(2):\n{calls}{count}"
    )  # as above


def test_an_exception_ends_its_run_alone(script: Callable[..., Any], home: Path) -> None:
    """A script that catches a failed run and runs again has one red trace and one green one."""
    script("try: run('bad')\nexcept ValueError as error: print(error)\nclean()\nrun()\nclean()")
    assert traces(home) == [BAD, GOOD]


@pytest.mark.parametrize(
    "words",
    ["", ", runner=SequentialRunner(is_async=True)", ", runner=ThreadRunner()"],
    ids=["sequential", "async", "threads"],
)
@pytest.mark.parametrize("name", ["bad", "missing"])
def test_nothing_leaks_from_a_run_that_failed(
    name: str, words: str, script: Callable[..., Any], home: Path
) -> None:
    """After a node or a load that failed, in whatever thread, no context is left, and the next run is a whole trace of its own."""
    said = script(
        "from kedro.runner import SequentialRunner, ThreadRunner\n"
        f"try: run('{name}'{words})\nexcept Exception as error: print(type(error).__name__)\n"
        f"clean()\nrun('__default__'{words})\nclean()",
        order=False,
    )
    assert (
        said.out == f"{'ValueError' if name == 'bad' else 'DatasetError'}\nclean None\nclean None\n"
    )
    error = "kedro.io.core.DatasetError"
    missing = below(f"run missing !{error}", f"node bad !{error}\n  load missing !{error}")
    assert traces(home) == [BAD if name == "bad" else missing, GOOD]


def test_a_run_that_was_interrupted_ends_when_the_next_begins(
    script: Callable[..., Any], home: Path
) -> None:
    """Kedro tells nobody of Ctrl-C; the run that comes after it, in the same thread, does not become its child."""
    script("try: run('interrupted')\nexcept KeyboardInterrupt: print('stopped')\nrun()\nclean()")
    stopped, after = traces(home)
    assert stopped == below(
        "run interrupted unknown", "node first\n  save a", "node stopped unknown\n  load a"
    )
    assert after == GOOD


def test_a_script_that_is_killed_leaves_the_node_it_died_in(
    script: Callable[..., Any], home: Path
) -> None:
    """After SIGKILL the finished run is whole and the other died in the node that it was in."""
    script("run()\nrun('killed')", code=-signal.SIGKILL)
    died = "!kedro_otel.process_died died"
    assert traces(home) == [
        GOOD,
        below(f"run killed {died}", "node first\n  save a", f"node last {died}\n  load a"),
    ]


def test_how_a_node_that_leaves_the_process_ended_is_unknown(
    script: Callable[..., Any], home: Path
) -> None:
    """SystemExit, which no hook of Kedro's tells, leaves a run that ends with the process: nothing tells how, and it did not die."""
    script("run('leaves')", code=3)
    assert traces(home) == [
        below("run leaves unknown", "node first\n  save a", "node last unknown\n  load a")
    ]


def test_sessions_in_threads_do_not_meet(script: Callable[..., Any], home: Path) -> None:
    """Two sessions that run at the same time in two threads are two whole traces, and TRACEPARENT is as it was."""
    script(
        "list(__import__('kedro.framework.project', fromlist=['pipelines']).pipelines)\n"
        "both = [threading.Thread(target=run, args=('slow',)) for _ in range(2)]\n"
        "[thread.start() for thread in both]; [thread.join() for thread in both]; clean()",
        order=False,
    )
    assert (
        traces(home) == [below("run slow", *(f"node slow{i}\n  save s{i}" for i in range(3)))] * 2
    )


def test_a_session_in_a_fork_child_of_a_node_is_inside_the_node(
    script: Callable[..., Any], home: Path
) -> None:
    """A node that forks a process, which runs a session, has that run below itself; the child's recording is its own."""
    script("run('forks')")
    assert traces(home) == [
        below(
            "run forks", "node outer\n  run __default__\n    node first\n      save a\n  save code"
        )
    ]
    assert len(segments(home)) == 2


def test_sessions_in_forked_children_are_traces_of_their_own(
    script: Callable[..., Any], home: Path
) -> None:
    """A script that forks between runs has one trace for each child, beside its own."""
    script(
        "from multiprocessing import get_context\nrun()\n"
        "children = [get_context('fork').Process(target=run, args=(name,)) for name in ('__default__', 'bad')]\n"
        "[child.start() for child in children]; [child.join() for child in children]\n"
        "print([child.exitcode for child in children]); run()",
        order=False,
    )
    assert sorted(traces(home)) == sorted([GOOD, GOOD, GOOD, BAD])
    assert len(segments(home)) == 3


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_two_parallel_runs_of_one_process(
    script: Callable[..., Any], home: Path, method: str
) -> None:
    """Two runs with ParallelRunner, the second asynchronous and through the fork server of the first, are two whole traces."""
    script(
        "from kedro.runner import ParallelRunner\nrun(runner=ParallelRunner())\nrun(runner=ParallelRunner(is_async=True))\nclean()",
        env={"KEDRO_MP_CONTEXT": method},
        order=False,
    )
    assert traces(home) == [GOOD] * 2


def test_a_worker_that_failed_to_load_goes_on_to_other_work(
    script: Callable[..., Any], home: Path
) -> None:
    """After a failed load in a worker the next run's workers record as if nothing had been."""
    script(
        "from kedro.runner import ParallelRunner\nrunner = ParallelRunner(max_workers=1)\n"
        "try: run('missing', runner=runner)\nexcept Exception as error: print(type(error).__name__)\n"
        "run(runner=ParallelRunner(max_workers=1))",
        env={"KEDRO_MP_CONTEXT": "fork"},
        order=False,
    )
    assert traces(home) == [
        below(
            "run missing !kedro.io.core.DatasetError", "node bad !_OTHER\n  load missing !_OTHER"
        ),
        GOOD,
    ]


EMBEDDING = """
from kedro.framework.hooks.manager import _create_hook_manager, _register_hooks_entry_points
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import node, pipeline
from kedro.runner import SequentialRunner, ThreadRunner
from minimal.nodes import one, add, fail

def call(runner, *nodes):
    manager = _create_hook_manager()
    _register_hooks_entry_points(manager, ())
    runner.run(pipeline(nodes), DataCatalog({name: MemoryDataset() for name in ("a", "b")}), manager)

first, second = node(one, None, "a", name="first"), node(add, "a", "b", name="second")
call(SequentialRunner(), first, second); clean()
call(SequentialRunner(), first, second)
call(ThreadRunner(), first, second)
call(ThreadRunner(), first, second); clean()
try: call(SequentialRunner(), first, node(fail, "a", "b", name="bad"))
except ValueError as error: print(error)
run(); clean()
"""


def test_a_runner_that_is_called_without_a_session(script: Callable[..., Any], home: Path) -> None:
    """Each call of a runner with a hook manager of the caller's own is one run, and a session after it is another."""
    assert (
        script(EMBEDDING, order=False).out == "clean None\nclean None\ntold to fail\nclean None\n"
    )
    called = below("run", DEFAULT[0], "node second\n  load a\n  save b")
    assert traces(home) == [called] * 4 + [
        below("run !ValueError", "node bad !ValueError\n  load a", DEFAULT[0]),
        GOOD,
    ]


NOTEBOOK = """
import json
import nbformat
from nbclient import NotebookClient

book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in json.load(open("cells.json"))])
NotebookClient(book, kernel_name="python3", allow_errors=True, timeout=100).execute()
for cell in book.cells:
    for output in cell.outputs:
        print(output.get("name") or output.output_type, "".join(output.get("text", output.get("ename", ""))).strip())
"""


def test_a_notebook(
    where: Path,
    home: Path,
    unchanged: Callable[..., Any],
    overlay: Callable[[str], Path],
    environment: dict[str, str],
) -> None:
    """Cells that run, interrupt a run, and run again are three traces; a provider that a later cell sets is taken for the runs after it."""
    cells = [
        START + "bootstrap_project(Path.cwd())",
        "run(); clean()",
        "run('interrupted')",
        "clean(); run('bad')",
        "from opentelemetry.sdk.trace import TracerProvider\ntrace.set_tracer_provider(TracerProvider())\nrun(); clean()",
    ]
    (where / "cells.json").write_text(json.dumps(cells))
    (where / "notebook.py").write_text(NOTEBOOK)
    environment |= {"PYTHONPATH": str(overlay("notebook")), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    said = unchanged("notebook.py", cwd=where, order=False)
    assert "error KeyboardInterrupt" in said.out
    assert said.out.count("clean None") == 3
    stopped = below(
        "run interrupted !KeyboardInterrupt",
        DEFAULT[0],
        "node stopped !KeyboardInterrupt\n  load a",
    )
    assert traces(home) == [GOOD, stopped, BAD, GOOD]
    assert [segment.header.owner for segment in segments(home)] == ["kedro-otel", "user"]


def test_the_ipython_extension(
    where: Path,
    home: Path,
    unchanged: Callable[..., Any],
    overlay: Callable[[str], Path],
    environment: dict[str, str],
) -> None:
    """The session that Kedro puts into IPython, and the one after %reload_kedro, are recorded like any other."""
    environment["PYTHONPATH"] = str(overlay("notebook"))
    code = "session.run(); get_ipython().run_line_magic('reload_kedro', ''); session.run()"
    unchanged("-m", "IPython", "--ext", "kedro.ipython", "-c", code, cwd=where, order=False)
    assert traces(home) == [GOOD] * 2


WHEEL = """
Wheel-Version: 1.0
Generator: test
Root-Is-Purelib: true
Tag: py3-none-any
"""


def test_a_packaged_project(
    where: Path, tmp_path: Path, home: Path, unchanged: Callable[..., Any], run: Callable[..., Any]
) -> None:
    """A project's wheel, run as a module and by its entry point in a folder with nothing but configuration, is recorded; it has no command."""
    built = tmp_path / "minimal-0.1-py3-none-any.whl"
    with zipfile.ZipFile(built, "w") as wheel:
        for file in (where / "src").rglob("*.py"):
            wheel.write(file, file.relative_to(where / "src"))
        wheel.writestr("minimal-0.1.dist-info/WHEEL", WHEEL.lstrip())
        wheel.writestr(
            "minimal-0.1.dist-info/METADATA", "Metadata-Version: 2.1\nName: minimal\nVersion: 0.1\n"
        )
        wheel.writestr(
            "minimal-0.1.dist-info/entry_points.txt",
            "[console_scripts]\nminimal = minimal.__main__:main\n",
        )
        wheel.writestr("minimal-0.1.dist-info/RECORD", "")
    installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    run(
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        installed,
        built,
    )
    (elsewhere / "data").mkdir(parents=True)
    (where / "conf").rename(elsewhere / "conf")
    env = {"PYTHONPATH": str(installed)}
    unchanged("-m", "minimal", cwd=elsewhere, env=env)
    unchanged("../installed/bin/minimal", cwd=elsewhere, env=env)
    assert traces(home) == [GOOD] * 2
    assert {
        operation.attributes.get(names.PIPELINE_NAME)
        for operation in operations(home)
        if operation.operation == names.RUN
    } == {"__default__"}


@pytest.fixture
def server(
    where: Path, environment: dict[str, str], overlay: Callable[[str], Path]
) -> Iterator[Callable[..., Any]]:
    """Return ``server(*before)``, which starts ``kedro server`` (after the words ``before``) and returns ``ask(**body)`` and ``stop()``."""
    folder = overlay("server")
    processes: list[subprocess.Popen[str]] = []

    def server(*before: str | Path, **env: str) -> tuple[Callable[..., Any], Callable[[], int]]:
        (port,) = free_ports(1)
        words = [
            *before,
            Path(sys.executable).parent / "kedro",
            "server",
            "start",
            "--port",
            str(port),
        ]
        process = subprocess.Popen(
            words,
            cwd=where,
            env={**environment, "PYTHONPATH": str(folder), **env},
            stderr=subprocess.DEVNULL,
            text=True,
        )
        processes.append(process)
        assert (
            eventually(
                lambda: request(f"http://127.0.0.1:{port}/health")[0],
                lambda status: status == 200,
                seconds=60,
            )
            == 200
        )

        def ask(headers: dict[str, str] | None = None, **body: Any) -> Any:
            status, answer = request(f"http://127.0.0.1:{port}/run", body, headers, seconds=60)
            assert status == 200, answer
            return json.loads(answer)

        def stop(number: int = signal.SIGINT) -> int:
            process.send_signal(number)
            return process.wait(30)

        return ask, stop

    yield server
    for process in processes:
        process.kill()
        process.wait()


@HAS_SERVER
def test_requests_to_the_server_are_traces_of_their_own(
    server: Callable[..., Any], home: Path
) -> None:
    """Requests that are served at once, by one process and with the same nodes, are each a whole trace that ends as it did; so is the command's."""
    ask, stop = server(TRACEPARENT="00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    bodies = [
        {"pipeline_names": ["slow"]},
        {"pipeline_names": ["slow"], "runner": "ThreadRunner"},
        {"pipeline_names": ["bad"]},
        {},
        {"is_async": True},
        {"runner": "ThreadRunner"},
    ] * 2
    with ThreadPoolExecutor(len(bodies)) as pool:
        answers = list(pool.map(lambda body: ask(**body), bodies))
    assert [answer["status"] for answer in answers] == [
        "success",
        "success",
        "failure",
        "success",
        "success",
        "success",
    ] * 2
    stop()
    slow = below("run slow", *(f"node slow{i}\n  save s{i}" for i in range(3)))
    assert sorted(traces(home)) == sorted(
        [slow] * 4 + [BAD] * 2 + [GOOD] * 6 + ["kedro server start (below another process)\n"]
    )
    runs = [operation for operation in operations(home) if operation.operation == names.RUN]
    assert {operation.attributes[names.RUN_ID] for operation in runs} == {
        answer["run_id"] for answer in answers
    }


@HAS_SERVER
@pytest.mark.parametrize("recorded", [True, False])
def test_a_server_that_is_stopped_has_not_died(
    recorded: bool, server: Callable[..., Any], home: Path, kedro: Callable[..., Any]
) -> None:
    """SIGTERM ends the server as it does without us, after the request at work; its command has ended, and nothing died."""
    ask, stop = server(**({} if recorded else {"KEDRO_OTEL_ENABLED": "false"}))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, pipeline_names=["slow"])
        time.sleep(0.3)
        assert stop(signal.SIGTERM) == -signal.SIGTERM
        assert answer.result()["status"] == "success"
    if recorded:
        found = operations(home)
        assert {one.state for one in found} == {"ended"}
        assert {one.error for one in found} == {False}
        (command,) = (one for one in found if one.operation == "command")
        assert "kedro.outcome" not in command.attributes
        assert "killed" not in kedro("otel", "list").out


@HAS_SERVER
def test_an_inbound_traceparent_is_honoured_through_the_server_s_instrumentation(
    server: Callable[..., Any], home: Path, overlay: Any
) -> None:
    """Kedro hands no header to a run; with the FastAPI instrumentation the request's span is current there, and the run its child."""
    ask, stop = server(
        programs(overlay("server")) / "opentelemetry-instrument",
        OTEL_TRACES_EXPORTER="none",
        OTEL_METRICS_EXPORTER="none",
    )
    ask({"traceparent": "00-" + "c" * 32 + "-" + "d" * 16 + "-01"})
    stop()
    (run,) = [operation for operation in operations(home) if operation.operation == names.RUN]
    assert run.trace_id == "c" * 32
    assert run.parent_id not in {"d" * 16, ""}, "the request's span is between"
