"""Every function of ours that a hook can reach raises, one at a time: Kedro does not notice, and the user can find out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import pytest
from bare import LOGGING, normal
from faulty import GONE
from trace_text import segments

import kedro_otel
from kedro_otel.recording import retention

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="forks"),
    pytest.mark.timeout(1800),
]
POISON = Path(__file__).parent / "poison"
SOURCE = Path(kedro_otel.__file__).parent
REPORT = os.environ.get("POISON_REPORT")
"""A file that gets what is wrong while the test goes on, for whoever mends it."""

NODES = (
    GONE
    + """
import time
from opentelemetry import trace

def greet(name):
    link = trace.Link(trace.get_current_span().get_span_context())
    with trace.get_tracer("mine").start_as_current_span("inner", attributes={"a": 1}, links=[link]) as span:
        span.add_event("event")
    return f"hello {name}"

def shout(greeting):
    yield greeting.upper()
    yield "!"

def tell(shouted, fail):
    if fail == "disk":
        gone()
    elif fail == "slow":
        time.sleep(0.7)
    elif fail:
        raise ValueError("told to fail")
    return {"text": str(shouted)}
"""
)
REGISTRY = """
from kedro.pipeline import node, pipeline
from .nodes import greet, shout, tell

def register_pipelines():
    whole = pipeline([
        node(greet, "params:name", "greeting", name="greet"),
        node(shout, "greeting", "shouted", name="shout", tags="loud"),
        node(tell, ["shouted", "params:fail"], "told", name="tell"),
    ])
    return {"__default__": whole, "missing": pipeline([node(tell, ["missing", "params:fail"], "told", name="lost")])}
"""
CATALOG = """
told: {type: json.JSONDataset, filepath: data/told.json}
missing: {type: json.JSONDataset, filepath: data/missing.json}
"""
SETTINGS = """
import os
if os.environ.get("OWN_PROVIDER"):
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    trace.set_tracer_provider(TracerProvider())
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider
    metrics.set_meter_provider(MeterProvider())
"""
CLI = """
import click

@click.group()
def cli():
    pass

@cli.command()
@click.option("--word")
def ours(word):
    print("ours", word)
"""
BESIDE = """
import click

commands = click.Group("commands")

@commands.command()
def beside():
    print("beside")
"""
ENTRY_POINTS = "[kedro.project_commands]\nbeside = beside:commands\n"
SCRIPT = """
import threading
from pathlib import Path
from kedro.framework.project import configure_project
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.framework.hooks import hook_impl
from opentelemetry.trace import get_current_span

bootstrap_project(Path.cwd())
for _ in range(2):
    with KedroSession.create(project_path=Path.cwd()) as session:
        print(sorted(session.run()))
with KedroSession.create(project_path=Path.cwd(), runtime_params={"fail": True}) as session:
    try:
        session.run()
    except ValueError as error:
        print("failed", error)
"""


class Scenario(NamedTuple):
    """A way into the package: the words after ``kedro``, or none for the script; variables; whether lines come in any order."""

    words: tuple[str, ...] | None
    env: dict[str, str]
    sorted: bool = False


ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
WAITING = {**ENDPOINT, "KEDRO_OTEL_SHIP": "wait", "KEDRO_OTEL_SHIP_TIMEOUT": "0.2"}
SCENARIOS = {
    "run": Scenario(("run",), {"KEDRO_OTEL_DETAIL": "full"}),
    "failure": Scenario(("run", "--params", "fail=true"), {"KEDRO_OTEL_DETAIL": "full"}),
    "load failure": Scenario(("run", "--pipeline", "missing"), {}),
    "disk failure": Scenario(("run", "--params", "fail=disk"), {}),
    "masking": Scenario(
        ("new", "--starter=spaceflights-pandas", "--help"),
        {"KEDRO_OTEL_ENABLED": "true", "XDG_STATE_HOME": "relative"},
    ),
    "slow": Scenario(("run", "--params", "fail=slow"), {}),
    "own command": Scenario(("ours", "--word", "x"), {}),
    "registered command": Scenario(("beside",), {}),
    "script": Scenario(None, {}),
    "provider": Scenario(("run",), {"OWN_PROVIDER": "1", "KEDRO_OTEL_DETAIL": "full"}),
    "threads": Scenario(("run", "--runner=ThreadRunner", "--async"), {}, sorted=True),
    "below another": Scenario(
        ("run",),
        {
            "TRACEPARENT": f"00-{'ab' * 16}-{'cd' * 8}-00",
            "TRACESTATE": "a=b",
            "BAGGAGE": "k=v",
            "OTEL_RESOURCE_ATTRIBUTES": "team=blue",
        },
    ),
    "sampled": Scenario(
        ("run",),
        {
            "OTEL_TRACES_SAMPLER": "traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "0.5",
            "KEDRO_OTEL_RUN_KEY": "from:airflow",
            "AIRFLOW_CTX_DAG_ID": "daily",
            "AIRFLOW_CTX_DAG_RUN_ID": "manual__1",
            "AIRFLOW_CTX_TRY_NUMBER": "1",
        },
    ),
    "workers": Scenario(
        ("run", "--runner=ParallelRunner"), {"KEDRO_MP_CONTEXT": "fork"}, sorted=True
    ),
    "shipping": Scenario(
        ("registry", "list"),
        {**WAITING, "KEDRO_OTEL_EPHEMERAL": "auto", "OTEL_EXPORTER_OTLP_HEADERS": "a=b"},
    ),
    "shipping a run": Scenario(("run",), {**ENDPOINT, "KEDRO_OTEL_SHIP": "auto"}),
    "no place": Scenario(
        ("run",), {**ENDPOINT, "KEDRO_OTEL_HOME": "/proc/nowhere", "KEDRO_OTEL_SHIP": "background"}
    ),
    "strangers": Scenario(
        ("run", "--runner=ParallelRunner"),
        {"KEDRO_MP_CONTEXT": "spawn", "GITLAB_CI": "1", "CI_JOB_URL": "https://gitlab.example/1"},
        sorted=True,
    ),
}

NET = {"guard.py"}
"""What catches the others cannot be tried itself."""

UNCOUNTED = {
    "config/paths.py *": "names the file that errors are counted in",
    "recording/retention.py *": "writes it",
    "recording/writer.py *": "makes its folder",
    "recording/machine.py *": "as the writer",
    "tracing/recorder.py Recorder.abandon": "in a fork child: there nobody says that it ends",
    "tracing/log_lines.py LogLines.abandon": "in a fork child: there nobody says that it ends",
    "private/writer.py PrivateWriter.abandon": "in a fork child: there nobody says that it ends",
    "runtime/shutdown.py _record_internal_errors": "counts",
    "runtime/shutdown.py register": "sees to it that there is a count",
    "runtime/shutdown.py at_exit": "has it counted",
    "runtime/state.py State.recorder": "asks whether anything is recorded at all",
    "runtime/setup.py *decide*": "without consent nothing may be written, not even that",
    "runtime/setup.py *join*": "as _decide, in a worker",
    "runtime/setup.py _forked": "as _decide, in a fork child: there nobody says that it ends",
    "recording/worker_context.py of_parent": "as _join",
    "config/consent.py *": "as _decide",
    "config/toml_file.py *": "as _decide",
    "config/toml_file.py parse_bool": "as _decide",
}
"""Where an error is logged but may not be counted, and why."""

AT_IMPORT = (
    "cli/hooks.py _register",
    "hooks.py _forward_to_nodes*",
    "runtime/state.py State.__init__",
    "config/settings.py Setting.__init__",
    "config/settings.py _own",
    "config/settings.py _exporter",
    "facts/clock.py _real",
    "facts/clock.py Clock.__init__",
    "facts/clock.py Clock.set",
    "facts/clock.py Clock.wall",
    "shipping/process/launch.py *__del__",
)
"""What runs when a module is imported, before there is anything to catch it (of hooks, what makes and then catches for them), or when an
object goes, where Python itself does."""

BY_CHANCE = (
    "shipping/state/aggregation.py *",
    "shipping/state/birth.py *",
    "shipping/state/journal.py *",
)
"""What a command that waits calls only if the shipper, another process, has written its journal by then."""

SLOWLY = ("recording/writer.py Writer._still_wanted", "config/consent.py watch.<locals>.still")
"""What is called only after half a second."""

DOORS = ("cli/", "viewing/", "testing.py", "_stack/")
"""What only a command of the user's reaches."""


UNREACHED = {
    "cli/*": "commands of the user's",
    "viewing/*": "commands of the user's",
    "testing.py *": "the user's own tests",
    "shipping/*": "the detached process",
    "recording/reader.py *": "reading, which the detached process and commands do",
    "recording/decoder.py *": "reading",
    "recording/model.py *": "reading",
    "recording/scan.py *": "reading",
    "recording/locking.py *": "reading",
    "recording/retention.py *": "pruning, which the detached process and commands do",
    "facts/redaction.py *": "what leaves: the detached process",
    "recording/writer.py Writer.drop": "a provider that is set while a command runs: runtime/test_sessions.py",
    "tracing/sdk/user_provider.py Live.flush*": "a worker with a provider of the user's: runtime/test_sessions.py",
    "guard.py *": "what catches the others",
    "hooks.py KedroOtelHooks.*_node_*": "a signature: `_forward_to_nodes` answers for it",
    "hooks.py KedroOtelHooks.*_dataset_*": "a signature, too",
    "tracing/*.__repr__": "for a debugger",
    "tracing/sdk/provider.py *get_description": "the SDK's, for a debugger",
    "recording/writer.py Writer._rotate": "after 16 MiB: recording/test_reader.py",
    "recording/encoder.py _far": "a number past any float: recording/test_writer.py",
    "recording/in_memory_writer.py InMemoryWriter.abandon": "a fork without a place: test_places.py",
    "facts/links.py prefect_flow_run": "under Prefect: facts/test_links.py",
    "facts/run_key.py *": "other orchestrators, and `kedro otel finish`: facts/test_run_key.py",
    "runtime/setup.py _is_attached": "workers of somebody else's: tracing/test_run_parts.py",
    "runtime/setup.py _join_another": "workers that last: tracing/test_lasting_workers.py",
    "tracing/attachment.py *": "workers of somebody else's: tracing/test_run_parts.py",
    "runtime/carrier.py *": "the same",
    "tracing/sdk/context.py recording": "a span of somebody else's: tracing/test_context.py",
    "facts/identity.py _repaired": "a malformed file: facts/test_identity.py",
    "facts/identity.py *": "a file that is not as it was: facts/test_identity.py",
    "config/toml_edit.py *": "a malformed file: facts/test_identity.py",
    "runtime/termination.py *": "a server, and SIGTERM in a pod: runtime/test_signals.py",
    "tracing/recorder.py Recorder.terminated": "SIGTERM in a pod: runtime/test_signals.py",
    "runtime/notifier.py *": "a detached process: runtime/test_notifier.py",
    "runtime/shutdown.py _notify": "a webhook: runtime/test_notifier.py",
    "runtime/shutdown.py _first": "a pyproject.toml with other hard links: config/test_owners.py",
    "config/files.py *": "a file system without hard links: facts/test_identity.py",
    "private/log_bounds.py LogBounds._drop*": "many log lines: private/test_logs.py",
    "describe.py *": "the user's own settings: tracing/test_descriptions.py",
    "facts/data_description.py *": "tables, types of the user's: tracing/test_descriptions.py",
    "facts/data_file.py *": "versions: tracing/test_descriptions.py",
    "facts/usage.py *": "memory that rises, exact peaks: tracing/test_usage.py",
    "tracing/peak_sampler.py *": "memory below an earlier node's: tracing/test_usage.py",
    "tracing/node_usage.py NodeUsage._forget_peak": "exact peaks: tracing/test_usage.py",
    "private/writer.py PrivateWriter._rewrite": "many log lines: private/test_logs.py",
    "recording/in_memory_writer.py InMemoryWriter.log": "where logs are sent: shipping/test_logs.py",
    "recording/writer.py Writer.log": "where logs are sent: shipping/test_logs.py",
    "tracing/log_lines.py _provider_of_user": "where logs are sent: shipping/test_logs.py",
    "tracing/log_lines.py _spelled": "where logs are sent: shipping/test_logs.py",
    "tracing/log_lines.py _message": "a record that no handler formats: private/test_logs.py",
    "tracing/log_lines.py _plain": "a message that is no text: private/test_logs.py",
    "tracing/log_lines.py _wrapped.<locals>.callHandlers": "runs as logging's own file: private/test_logs.py",
    "config/paths.py *": "another system: config/test_paths.py",
    "config/settings.py *": "what status shows, and values that are wrong: config/test_settings.py",
    "config/destination.py *": "values that are wrong: config/test_settings.py",
    "recording/encoder.py _word": "a map in a user's span: recording/test_values.py",
    "config/surroundings.py *": "a terminal: config/test_surroundings.py",
    "config/consent.py _repair": "a settings file that others may write: config/test_owners.py",
    "config/consent.py Consent.refused": "a no: config/test_owners.py",
    "config/toml_file.py refusal": "a settings file: config/test_owners.py",
    "config/consent.py objections": "what `kedro otel on` says: cli/test_consent_commands.py",
    "recording/machine.py certain": "reading: whether a machine's id is its own",
    "recording/machine.py runs": "reading: whether a process still runs",
    "recording/segment_file.py *": "a closed descriptor, a full disk: runtime/test_odd_nodes.py",
    "config/consent.py _unclear": "a settings file that cannot be understood: config/test_consent.py",
    "facts/project.py *": "other forms of a repository and of validators: facts/test_project.py",
    "semconv/measurements.py *": "read again by the detached process: semconv/test_measurements.py",
    "runtime/state.py reset": "the user's own tests",
    "runtime/sessions.py _cell_ended": "a notebook: runtime/test_sessions.py",
    "runtime/sessions.py _watch_notebook": "a notebook: runtime/test_sessions.py",
    "runtime/setup.py package_name": "a session without a project: runtime/test_sessions.py",
    "tracing/recorder.py Recorder.interrupted": "a notebook: runtime/test_sessions.py",
    "tracing/recorder.py Recorder.command_returned": "a program of the user's: runtime/test_commands_within.py",
    "tracing/kedro_frames.py *": "a notebook, a server: runtime/test_sessions.py",
    "tracing/run_nodes.py RunNodes.busy": "several runs in one process: runtime/test_sessions.py",
    "tracing/run_nodes.py ActiveNode.last_sign_was_ok": "an end that no hook told: tracing/test_scenarios.py",
    "tracing/pending_loads.py *": "several runs in one process: runtime/test_sessions.py",
    "tracing/nodes.py *": "several runs in one process: runtime/test_sessions.py",
    "tracing/runs.py *": "several runs in one process: runtime/test_sessions.py",
    "tracing/sdk/provider.py *": "spans outside of a run: runtime/test_sessions.py",
    "tracing/environment_carrier.py *": "a terminal: runtime/test_unchanged.py",
}
"""Functions in modules that a hook loads and that no scenario here calls, by file and name, and why."""


class Bench:
    """A driver that runs scenarios in a project, each with a home of its own."""

    def __init__(self, path: Path, environment: dict[str, str], tmp_path: Path) -> None:
        self.path = path
        self.pyproject = (path / "pyproject.toml").read_text()
        self.tmp_path = tmp_path
        self.number = 0
        environment = {
            key: value for key, value in environment.items() if key != "KEDRO_OTEL_RAISE"
        }
        self.process = subprocess.Popen(
            [sys.executable, POISON / "driver.py"],
            cwd=path,
            env={
                **environment,
                "POISON_DRIVER": "1",
                "PYTHONPATH": os.pathsep.join([str(POISON), str(SOURCE.parent)]),
                "KEDRO_LOGGING_CONFIG": str(path / "logging.yml"),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, scenario: Scenario, **env: str) -> tuple[dict[str, Any], Path]:
        """Run a scenario; return what the user sees of it, and its home."""
        self.number += 1
        home = self.tmp_path / f"home{self.number}"
        out = str(self.tmp_path / f"out{self.number}")
        for left in (self.path / "data").glob("*.json"):
            left.unlink()
        (self.path / "pyproject.toml").write_text(self.pyproject)  # as it was before it got an id
        job: dict[str, Any] = {
            "env": {"HOME": str(home), "KEDRO_OTEL_HOME": str(home), **scenario.env, **env},
            "out": out,
        }
        job.update(
            {"words": list(scenario.words)}
            if scenario.words is not None
            else {"script": str(self.path / "script.py")}
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        texts = {}
        for name in ("out", "err"):
            lines = normal(Path(f"{out}.{name}").read_text(), self.path, str(home)).splitlines()
            kept = [line for line in lines if not line.startswith("kedro-otel")]
            texts[name] = sorted(kept) if scenario.sorted else kept
        told = self.path / "data" / "told.json"
        return {"code": code, **texts, "told": told.read_text() if told.exists() else None}, home

    def close(self) -> None:
        """End the driver."""
        self.process.communicate()


@pytest.fixture
def bench(
    project: Callable[..., Path], environment: dict[str, str], tmp_path: Path
) -> Iterator[Bench]:
    """Return the driver, in a project."""
    commit = "0123456789" * 4
    git = {
        ".git/HEAD": "ref: refs/heads/main\n",
        ".git/packed-refs": f"# pack-refs with: peeled\n{commit} refs/heads/main\n",
    }
    files = {
        **git,
        "script.py": SCRIPT,
        "logging.yml": LOGGING,
        "src/minimal/cli.py": CLI,
        "src/beside.py": BESIDE,
        "src/beside-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: beside\nVersion: 1\n",
        "src/beside-1.dist-info/entry_points.txt": ENTRY_POINTS,
    }
    path = project(nodes=NODES, registry=REGISTRY, catalog=CATALOG, settings=SETTINGS, files=files)
    found = Bench(path, environment, tmp_path)
    yield found
    found.close()


def functions(file: Path) -> Iterator[tuple[CodeType, str]]:
    """Yield the code and the qualified name of every function in a source file, also of those inside others."""
    stack = [(compile(file.read_text(encoding="utf-8"), str(file), "exec"), "")]
    while stack:
        code, above = stack.pop()
        for const in code.co_consts:
            if isinstance(const, CodeType):
                # a class's body is code too, and runs when its module is imported
                body = "__qualname__" in const.co_names[:3]
                name = above + const.co_name
                stack.append((const, f"{name}." if body else f"{name}.<locals>."))
                if not body and not const.co_name.startswith("<"):
                    yield const, name


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Tell whether one of ``patterns`` stands for the function ``name``."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def named(code: CodeType) -> str:
    """Return how the poison calls a function."""
    return f"{code.co_filename.rpartition('/kedro_otel/')[2]}:{code.co_firstlineno}"


def test_no_error_of_ours_reaches_the_user(
    bench: Bench, tmp_path: Path, full: bool, figure: Callable[[str], None]
) -> None:
    """With any one function raising, exit code, output and results are Kedro's; the error is logged once per place and process, and counted."""
    reached: dict[str, str] = {}
    expected: dict[str, dict[str, Any]] = {}
    for name, scenario in SCENARIOS.items():
        trace = tmp_path / f"trace-{name.replace(' ', '-')}"
        expected[name], _ = bench.run(scenario, POISON_TRACE=str(trace))
        for line in trace.read_text().split():
            reached.setdefault(line, name)
    assert {name: one["code"] for name, one in expected.items() if one["code"]} == {
        "failure": 1,
        "load failure": 1,
    }
    loaded = {line.partition(":")[0] for line in reached}
    known = {
        named(code): (code, qualified)
        for file in SOURCE.rglob("*.py")
        if str(file.relative_to(SOURCE)) in loaded
        for code, qualified in functions(file)
    }
    called = {
        line: f"{line.partition(':')[0]} {qualified}" for line, (_, qualified) in known.items()
    }
    never = sorted(f"{name} ({line})" for line, name in called.items() if line not in reached)
    unexplained = [name for name in never if not matches(name.partition(" (")[0], UNREACHED)]
    wanted = [
        line
        for line in sorted(reached)
        if line in known and line.partition(":")[0] not in NET and not line.startswith(DOORS)
    ]
    wanted = [line for line in wanted if not matches(called[line], AT_IMPORT)]
    reached.update({line: "slow" for line, name in called.items() if name in SLOWLY})
    chosen = wanted if full else wanted[:: len(wanted) // 14]
    wrong: list[str] = []
    logged = counted = 0
    for line in chosen:
        name = reached[line]
        scenario = SCENARIOS[name]
        log = tmp_path / f"log-{line.replace('/', '-')}"
        seen, home = bench.run(scenario, POISON=line, POISON_LOG=str(log))
        who = f"{called[line]} ({name}, line {line.partition(':')[2]})"
        wrong += [
            f"{who}: {key} {seen[key]!r:.600}" for key in seen if seen[key] != expected[name][key]
        ]
        lines = log.read_text().splitlines() if log.exists() else []
        failures = Counter(text for text in lines if "failed in" in text)
        if failures and max(failures.values()) > 1:
            wrong.append(f"{who}: logged {failures.most_common(1)}")
        logged += bool(failures)
        missed = not failures and matches(called[line], BY_CHANCE)
        if not failures and not missed:
            wrong.append(f"{who}: not logged {lines[:2]}")
        told = retention.dropped(home / "recordings")["internal_error"] + sum(
            segment.lost["internal_error"] for segment in segments(home)
        )
        counted += bool(told)
        if not told and not missed and not matches(called[line], UNCOUNTED) and name != "no place":
            wrong.append(f"{who}: not counted")
        shutil.rmtree(home, ignore_errors=True)
        if REPORT:
            Path(REPORT).write_text(
                "\n".join(
                    [f"{chosen.index(line)} of {len(chosen)}", *wrong, "--- never", *unexplained]
                )
            )
    assert not wrong, "\n".join(wrong)
    assert not unexplained, "\n".join(unexplained)
    figure(
        f"{len(chosen)} of {len(wanted)} functions raised: 0 changes seen by the user, {logged} logged, {counted} counted"
    )
