"""The user's run is the same with this package as without it: output, exit code, exceptions, hooks and their order."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bare import LOGGING, normal
from trace_text import below, operations, tree

SPY = '''
from kedro.framework.hooks import hook_impl
from kedro.framework.hooks.specs import DataCatalogSpecs, DatasetSpecs, KedroContextSpecs, NodeSpecs, PipelineSpecs


def _spy(name):
    def hook(self, **given):
        with open("spy.txt", "a") as file:
            node = given.get("node")
            file.write(f"{name} {sorted(given)} {getattr(node, 'name', '')} {given.get('dataset_name', '')} {given.get('error', '')}\\n")
    return hook


class Spy:
    """Writes down every hook call."""


for specs in (KedroContextSpecs, DataCatalogSpecs, PipelineSpecs, NodeSpecs, DatasetSpecs):
    for name, spec in vars(specs).items():
        if hasattr(spec, "kedro_spec"):
            arguments = spec.__code__.co_varnames[1:spec.__code__.co_argcount]
            scope = {"hook": _spy(name)}
            exec(f"def {name}(self, {', '.join(arguments)}): return hook(self, {', '.join(f'{a}={a}' for a in arguments)})", scope)
            setattr(Spy, name, hook_impl(scope[name]))

HOOKS = (Spy(),)
'''
OUTCOMES = [
    ("success", [], 0),
    ("failure", ["--params", "fail=true"], 1),
    ("usage error", ["--no-such-option"], 2),
]


def on_a_terminal(words: list[str], cwd: Path, env: dict[str, str]) -> tuple[int, str]:
    """Run a program on a pseudo-terminal, 100 columns wide, and return its exit code and all that it printed."""
    leader, follower = pty.openpty()
    environment = {**env, "TERM": "xterm-256color", "COLUMNS": "100"}
    process = subprocess.Popen(
        words,
        cwd=cwd,
        env=environment,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        close_fds=True,
    )
    os.close(follower)
    seen = b""
    while True:
        ready, _, _ = select.select([leader], [], [], 60)
        try:
            part = os.read(leader, 65536) if ready else b""
        except OSError:
            part = b""
        if not part:
            break
        seen += part
    os.close(leader)
    return process.wait(60), seen.decode()


@pytest.mark.parametrize(
    ("outcome", "words", "code"), OUTCOMES, ids=[outcome for outcome, _, _ in OUTCOMES]
)
@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_what_is_printed_is_the_same(
    outcome: str,
    words: list[str],
    code: int,
    *,
    terminal: bool,
    project: Callable[..., Path],
    run: Callable[..., Any],
    at_one_path: Callable[[str], Path],
    environment: dict[str, str],
    home: Path,
) -> None:
    """On a terminal and through a pipe, `kedro run` prints the same bytes but for times, run ids and folders."""
    path = project()
    home.mkdir()
    (home / "notice").touch()  # the one line that a terminal sees once per machine
    environment["KEDRO_OTEL_WRITE_PROJECT_ID"] = "false"  # which would be announced
    printed = []
    for kedro in map(at_one_path, ("bare", "ours")):
        if terminal:
            printed.append(on_a_terminal([str(kedro), "run", *words], path, environment))
        else:
            result = run(kedro, "run", *words, cwd=path, code=None)
            printed.append((result.code, f"{result.out}\n--- stderr\n{result.err}"))
    (bare_code, bare), (our_code, ours) = printed
    assert bare_code == our_code == code
    assert normal(ours) == normal(bare)


def test_the_notice_is_told_once_and_on_stderr(
    project: Callable[..., Path], environment: dict[str, str]
) -> None:
    """A person at a terminal is told once per machine that commands are recorded, and how to stop that."""
    path = project()
    kedro = str(Path(sys.executable).parent / "kedro")
    first = on_a_terminal([kedro, "registry", "list"], path, environment)[1]
    again = on_a_terminal([kedro, "registry", "list"], path, environment)[1]
    assert "kedro-otel records your kedro commands" in first
    assert "kedro otel off" in first
    assert "kedro-otel wrote a random project_id into" in first.replace("\n", " ")
    assert "each project gets a random project_id in its pyproject.toml" in first
    assert "kedro-otel" not in again


@pytest.mark.parametrize(
    "words",
    [[], ["--params", "fail=true"], ["--runner=ThreadRunner"]],
    ids=["success", "failure", "threads"],
)
def test_other_hooks_see_the_same(
    words: list[str],
    project: Callable[..., Path],
    kedro: Callable[..., Any],
    bare_kedro: Callable[..., Any],
) -> None:
    """A user's hooks are called with the same arguments in the same order."""
    path = project(settings=SPY)
    seen = []
    for command in (bare_kedro, kedro):
        command("run", *words, cwd=path, code=None)
        seen.append((path / "spy.txt").read_text().splitlines())
        (path / "spy.txt").unlink()
    assert seen[0] == seen[1]
    assert len(seen[0]) > 10


BUILDING = """
from kedro.pipeline import node, pipeline

def register_pipelines():
    print("pipelines are made")
    return {"__default__": pipeline([node(lambda x: x, "params:name", "one_made", name="make")])}
"""
OWN_DATASET = """
from kedro.io import AbstractDataset

class Own(AbstractDataset):
    def __init__(self, path):
        print("a dataset is made", path)
    def _load(self):
        print("a dataset is loaded")
    def _save(self, data):
        print("a dataset is saved")
    def _describe(self):
        return {}
"""


def test_nothing_is_built_a_second_time(
    project: Callable[..., Path], home: Path, unchanged: Callable[..., Any]
) -> None:
    """Counting a project's datasets, nodes and pipelines makes and loads none of them once more, factories included."""
    catalog = "'{name}_made': {type: minimal.own.Own, path: '{name}'}\nunused: {type: minimal.own.Own, path: unused}\n"
    path = project(
        registry=BUILDING,
        catalog=catalog,
        files={"src/minimal/own.py": OWN_DATASET, "logging.yml": LOGGING},
    )
    said = unchanged(
        "kedro", "run", cwd=path, env={"KEDRO_LOGGING_CONFIG": str(path / "logging.yml")}
    ).out
    assert said.count("pipelines are made") == 1
    assert "a dataset is loaded" not in said
    (run,) = [operation for operation in operations(home) if operation.operation == "run"]
    assert (
        run.attributes["kedro.project.dataset.count"],
        run.attributes["kedro.run.dataset.count"],
    ) == (1, 1)


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not at hand")
@pytest.mark.parametrize(
    "words", [["run"], ["run", "--params=fail=true"], ["registry", "list"]], ids=" ".join
)
def test_no_socket_is_opened(
    words: list[str],
    project: Callable[..., Path],
    run: Callable[..., Any],
    tmp_path: Path,
    home: Path,
) -> None:
    """Also with an endpoint the user's process opens no connection: a look from outside."""
    log = tmp_path / "calls"
    kedro = Path(sys.executable).parent / "kedro"
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318", "KEDRO_OTEL_SHIP": "manual"}
    run(
        "strace",
        "-f",
        "-qq",
        "-e",
        "trace=network,execve",
        "-o",
        log,
        kedro,
        *words,
        cwd=project(),
        env=env,
        code=None,
    )
    calls = log.read_text()
    assert "execve(" in calls
    assert "AF_INET" not in calls
    assert operations(home)


def test_the_users_random_numbers_are_the_same(
    project: Callable[..., Path], kedro: Callable[..., Any], bare_kedro: Callable[..., Any]
) -> None:
    """Ids of ours, and of spans that the user's code makes, do not draw from the random numbers that the user has seeded."""
    nodes = """
    import random
    from opentelemetry import trace

    random.seed(7)

    def greet(name):
        with trace.get_tracer("mine").start_as_current_span("x"):
            return random.random()

    def shout(x):
        return x + random.random()

    def tell(x, fail):
        print(x)
        return {"x": x}
    """
    path = project(nodes=nodes, files={"logging.yml": "version: 1\nloggers: {}\n"})
    env = {"KEDRO_LOGGING_CONFIG": str(path / "logging.yml")}
    assert kedro("run", cwd=path, env=env).out == bare_kedro("run", cwd=path, env=env).out != ""


@pytest.mark.parametrize(
    ("words", "change", "code", "expected"),
    [
        (["nonsense"], {}, 2, "kedro !click.exceptions.NoSuchCommand\n"),
        (["run", "--nonsense"], {}, 2, "kedro run !click.exceptions.NoSuchOption\n"),
        (["run"], {"registry": "import no_such_module"}, 1, "kedro run !ModuleNotFoundError\n"),
        (["run", "--pipeline=nonsense"], {}, 1, "kedro run !ValueError\n"),
        (["registry", "list"], {}, 0, "kedro registry list\n"),
        (["--version"], {}, 0, "kedro\n"),
        (["run", "--help"], {}, 0, "kedro run\n"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_commands_that_do_not_get_as_far_as_a_run(
    words: list[str],
    change: dict[str, str],
    code: int,
    expected: str,
    project: Callable[..., Path],
    kedro: Callable[..., Any],
    home: Path,
) -> None:
    """An unknown command or option, a project that does not import, and commands without a run each leave a trace that says so."""
    kedro(*words, cwd=project(**change), code=code)
    found = tree(operations(home))
    older = {"NoSuchCommand": "UsageError"}  # click before 8.4
    assert found in {expected, *(expected.replace(new, old) for new, old in older.items())}


def test_completing_a_word_is_no_command(
    project: Callable[..., Path], kedro: Callable[..., Any], home: Path
) -> None:
    """What a shell asks `kedro` for while somebody types is answered, and neither recorded nor counted."""
    asked = {"_KEDRO_COMPLETE": "bash_complete", "COMP_WORDS": "kedro reg", "COMP_CWORD": "1"}
    assert "plain,registry" in kedro(cwd=project(), env=asked).out
    assert not home.exists()


SLOW = """
import os, time
from pathlib import Path

def greet(name):
    return name

def shout(greeting):
    Path("started").touch()
    time.sleep(60)

def tell(shouted, fail):
    return {}
"""


@pytest.mark.parametrize(
    ("number", "code", "error", "state"),
    [
        (signal.SIGINT, 1, "KeyboardInterrupt", ""),
        (signal.SIGTERM, -15, "kedro_otel.process_died", " died"),
        (signal.SIGKILL, -9, "kedro_otel.process_died", " died"),
    ],
    ids=["Ctrl-C", "SIGTERM", "SIGKILL"],
)
def test_a_signal_leaves_a_trace_that_names_the_node(
    number: signal.Signals,
    code: int,
    error: str,
    state: str,
    project: Callable[..., Path],
    environment: dict[str, str],
    home: Path,
    kedro: Callable[..., Any],
) -> None:
    """Whatever ends a run, its trace is there, and names the node it ended in."""
    path = project(nodes=SLOW)
    process = subprocess.Popen(
        [Path(sys.executable).parent / "kedro", "run"],
        cwd=path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until((path / "started").exists)
    process.send_signal(number)
    assert process.wait(30) == code
    assert tree(operations(home)) == below(
        f"kedro run !{error}{state}",
        below(
            f"run __default__ !{error}{state}",
            "node greet\n  load params:name\n  save greeting",
            f"node shout !{error}{state}\n  load greeting",
        ),
    )
    shown = kedro("otel", "show", cwd=path).out
    assert "shout" in shown
    assert ("killed" if state else error) in shown


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until ``condition`` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


HEAVY = (
    "requests",
    "grpc",
    "google.protobuf",
    "opentelemetry.sdk.metrics",
    "opentelemetry.exporter",
    "kedro_otel.shipping.shipper",
    "rich.live",
)


@pytest.mark.parametrize(
    ("words", "unwanted"),
    [
        (["run"], HEAVY),
        (["--version"], (*HEAVY, "opentelemetry")),
        (["registry", "list"], (*HEAVY, "opentelemetry")),
    ],
    ids=["run", "version", "registry list"],
)
@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1:9"], ids=["no endpoint", "endpoint"])
def test_nothing_heavy_is_imported(
    words: list[str],
    unwanted: tuple[str, ...],
    endpoint: str | None,
    project: Callable[..., Path],
    run: Callable[..., Any],
    environment: dict[str, str],
) -> None:
    """The user's process imports no HTTP, gRPC, protobuf or metrics library because of us, and no OpenTelemetry outside a run."""
    path = project()
    code = (
        "import sys, atexit\n"
        f"atexit.register(lambda: print('IMPORTED', [name for name in {unwanted!r} if name in sys.modules]))\n"
        f"sys.argv = ['kedro', *{words!r}]\n"
        "from kedro.framework.cli import main\n"
        "main()\n"
    )
    result = run(
        sys.executable,
        "-c",
        code,
        cwd=path,
        env={"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "KEDRO_OTEL_SHIP": "manual"},
    )
    assert "IMPORTED []" in result.out
