"""Somebody else's providers: whoever sets one, and wherever, it is used and not replaced, and `show` works all the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bare import LOGGING
from overlays import programs
from trace_text import below, operations, segments, tree

OWN = '''
import atexit, json, os
import concurrent.futures.thread  # before a provider is made: in a fork child the SDK waits for a lock that this module knows how to free
from opentelemetry import metrics, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult


class ToFile(SpanExporter):
    """Appends a line for each span."""

    def export(self, spans):
        with open("data/spans.jsonl", "a") as file:
            for span in spans:
                parent = f"{span.parent.span_id:016x}" if span.parent else ""
                json.dump({"name": span.name, "trace": f"{span.context.trace_id:032x}", "span": f"{span.context.span_id:016x}", "parent": parent,
                           "start": span.start_time, "end": span.end_time, "status": span.status.status_code.name, "kind": span.kind.name,
                           "attributes": dict(span.attributes), "events": [event.name for event in span.events]}, file)
                file.write("\\n")
        return SpanExportResult.SUCCESS


def provide():
    provider = TracerProvider(resource=Resource({"service.name": "theirs"}))
    provider.add_span_processor(BatchSpanProcessor(ToFile()))
    trace.set_tracer_provider(provider)


def measure():
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    metrics.set_meter_provider(provider)

    def write():
        found = []
        for resource in (reader.get_metrics_data() or type("", (), {"resource_metrics": ()})).resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        value = getattr(point, "count", None) or getattr(point, "value", None)
                        found.append([scope.scope.name, metric.name, metric.unit, metric.description, dict(point.attributes), value])
        with open("data/metrics.json", "w") as file:
            json.dump(found, file)
    atexit.register(write)
'''
NODES = """
from opentelemetry import trace

def one(*_):
    with trace.get_tracer("user").start_as_current_span("their own"):
        return 1
def add(x, *_): return x + 1
def fail(*_): raise ValueError("told to fail")
"""
REGISTRY = """
from kedro.pipeline import node, pipeline
from .nodes import add, fail, one
{}

def register_pipelines():
    return {{
        "__default__": pipeline([node(one, None, "a", name="first"), node(add, "a", "kept", name="second")]),
        "bad": pipeline([node(one, None, "a", name="first"), node(fail, "a", "b", name="bad")]),
    }}
"""
HOOKS = """
from kedro.framework.hooks import hook_impl
from minimal.own import provide

class Hooks:
    @hook_impl
    def {}: provide()

HOOKS = (Hooks(),)
"""
CATALOG = "kept: {type: json.JSONDataset, filepath: data/kept.json}\n"
OURS = below(
    "kedro run",
    below("run __default__", "node first\n  save a", "node second\n  load a\n  save kept"),
)
THEIRS = below(
    "kedro run",
    below(
        "run __default__", "node first\n  save a\n  their own", "node second\n  load a\n  save kept"
    ),
)


@pytest.fixture
def where(project: Callable[..., Path], environment: dict[str, str]) -> Callable[..., Path]:
    """Return ``where(settings=, registry=)``, which makes a project with a provider of its own at hand."""

    def where(settings: str = "", registry: str = "") -> Path:
        files = {"src/minimal/own.py": OWN, "logging.yml": LOGGING}
        path = project(
            nodes=NODES,
            registry=REGISTRY.format(registry),
            catalog=CATALOG,
            settings=settings,
            files=files,
        )
        environment.update(
            {"KEDRO_LOGGING_CONFIG": str(path / "logging.yml"), "PYTHONWARNINGS": "ignore"}
        )
        return path

    return where


class Span:
    """What the user's provider exported, in the form that ``tree`` draws."""

    def __init__(self, row: dict[str, Any]) -> None:
        self.name, self.span_id, self.parent_id, self.trace_id = (
            row["name"],
            row["span"],
            row["parent"],
            row["trace"],
        )
        self.error, self.attributes, self.state = (
            row["status"] == "ERROR",
            row["attributes"],
            "ended",
        )
        self.start_ns, self.end_ns, self.events = row["start"], row["end"], row["events"]


def exported(path: Path) -> list[Span]:
    """Return what the user's provider exported."""
    return [Span(json.loads(line)) for line in (path / "data/spans.jsonl").read_text().splitlines()]


PLACES = {
    "settings.py": ("from minimal.own import provide\nprovide()\n", ""),
    "after_context_created": (HOOKS.format("after_context_created(self)"), ""),
    "before_pipeline_run": (HOOKS.format("before_pipeline_run(self)"), ""),
    "a pipeline's import": ("", "from .own import provide\nprovide()\n"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_provider_is_used_wherever_it_is_set(
    place: str, where: Callable[..., Path], home: Path, unchanged: Callable[..., Any], kedro: Any
) -> None:
    """Every operation is a span of the user's provider too, with ids and times as recorded; nothing is said, and `show` draws the run."""
    path = where(*PLACES[place])
    unchanged("kedro", "run", cwd=path)
    theirs, ours = exported(path), operations(home)
    assert tree(theirs) == THEIRS
    assert tree(ours) == OURS
    assert len({span.trace_id for span in theirs}) == 1
    times = {
        span.span_id: (span.name, span.parent_id, span.start_ns, span.end_ns)
        for span in theirs
        if span.name != "their own"
    }
    assert times == {
        operation.span_id: (
            operation.name,
            operation.parent_id,
            operation.start_ns,
            operation.end_ns,
        )
        for operation in ours
    }
    by_name = {span.name: span.attributes for span in theirs}
    assert by_name["node second"]["kedro.node.name"] == "second"
    assert by_name["run __default__"]["kedro.version"] == by_name["kedro run"]["kedro.version"]
    assert (owner(home), "second" in kedro("otel", "show", cwd=path).out) == ({"user"}, True)


def owner(home: Path) -> set[str]:
    """Return who ships the recordings."""
    return {segment.header.owner for segment in segments(home)}


def test_a_failure_is_theirs_too(
    where: Callable[..., Path], home: Path, unchanged: Callable[..., Any]
) -> None:
    """What failed is an error in the user's backend as it is on record, with the exception where it was raised."""
    path = where(*PLACES["settings.py"])
    unchanged("kedro", "run", "--pipeline=bad", cwd=path, code=1)
    theirs = exported(path)
    assert tree(theirs).replace("      their own\n", "") == tree(operations(home))
    assert [span.name for span in theirs if span.error] == ["node bad", "run bad", "kedro run"]
    assert [span.events for span in theirs if span.name == "node bad"] == [["exception"]]


@pytest.mark.parametrize("runner", ["ThreadRunner", "ParallelRunner fork", "ParallelRunner spawn"])
def test_the_provider_in_threads_and_workers(
    runner: str, where: Callable[..., Path], home: Path, unchanged: Callable[..., Any]
) -> None:
    """Threads, and workers that load the user's settings, use the provider: one trace there and here, and workers lose nothing at their end."""
    path = where(*PLACES["settings.py"])
    name, _, method = runner.partition(" ")
    unchanged(
        "kedro", "run", f"--runner={name}", cwd=path, env={"KEDRO_MP_CONTEXT": method}, order=False
    )
    assert tree(operations(home)) in {OURS, THEIRS}
    if (
        method != "spawn"
    ):  # a worker that is spawned imports no settings: it has no provider of the user's, and its spans are ours to record
        assert tree(exported(path)) == THEIRS


def test_a_provider_named_in_the_environment(
    where: Callable[..., Path], home: Path, unchanged: Callable[..., Any]
) -> None:
    """OTEL_PYTHON_TRACER_PROVIDER is OpenTelemetry's own way to have one: it counts as the user's."""
    unchanged(
        "kedro", "run", cwd=where(), env={"OTEL_PYTHON_TRACER_PROVIDER": "sdk_tracer_provider"}
    )
    assert tree(operations(home)) == OURS
    assert owner(home) == {"user"}


def test_opentelemetry_instrument(
    where: Callable[..., Path],
    home: Path,
    run: Callable[..., Any],
    kedro: Any,
    overlay: Callable[[str], Path],
) -> None:
    """What `opentelemetry-instrument` configures is used; the command prints what the user's exporter prints, and nothing of ours."""
    folder = overlay("instrumentation")
    env = {
        "PYTHONPATH": str(folder),
        "OTEL_TRACES_EXPORTER": "console",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    }
    path = where()
    said = run(programs(folder) / "opentelemetry-instrument", "kedro", "run", cwd=path, env=env)
    spans = json.loads("[" + said.out.replace("}\n{", "},{") + "]")
    assert sorted(span["name"] for span in spans) == sorted(
        line.strip() for line in THEIRS.splitlines()
    )
    assert "WARNING" not in said.err
    assert (tree(operations(home)), owner(home)) == (OURS, {"user"})
    assert "second" in kedro("otel", "show", cwd=path).out


LOGFIRE = "import logfire\nlogfire.configure(send_to_logfire=False, console=False, inspect_arguments=False)\n"


def test_logfire(
    where: Callable[..., Path],
    home: Path,
    unchanged: Callable[..., Any],
    kedro: Any,
    overlay: Callable[[str], Path],
) -> None:
    """Logfire's provider is used like any other."""
    settings = LOGFIRE.replace(
        "console=False",
        "console=False, additional_span_processors=[SimpleSpanProcessor(ToFile())]",
    ).replace(
        "import logfire\n",
        "import logfire\nfrom opentelemetry.sdk.trace.export import SimpleSpanProcessor\nfrom minimal.own import ToFile\n",
    )
    path = where(settings=settings)
    unchanged("kedro", "run", cwd=path, env={"PYTHONPATH": str(overlay("logfire"))})
    theirs = [
        span
        for span in exported(path)
        if span.attributes.get("logfire.span_type") != "pending_span"
    ]
    assert tree(theirs) == THEIRS
    assert (tree(operations(home)), owner(home)) == (OURS, {"user"})
    assert "second" in kedro("otel", "show", cwd=path).out


@pytest.mark.parametrize("sampler", ["ALWAYS_OFF", "TraceIdRatioBased(0.0)"])
def test_the_user_s_sampler(
    sampler: str, where: Callable[..., Path], home: Path, unchanged: Callable[..., Any]
) -> None:
    """A provider that samples nothing gets nothing; the recording is whole, and says that it was not sampled."""
    path = where(*PLACES["settings.py"])
    own = path / "src/minimal/own.py"
    words = f"from opentelemetry.sdk.trace.sampling import *\nTracerProvider(sampler={sampler}, "
    first, second = words.split("\n")
    own.write_text(
        first + "\n" + own.read_text().replace("TracerProvider(resource", second + "resource")
    )
    unchanged("kedro", "run", cwd=path)
    assert not (path / "data/spans.jsonl").exists()
    assert tree(operations(home)) == OURS
    assert {operation.sampled for operation in operations(home)} == {False}


def test_nobody_s_provider_is_gone_after_the_run(
    where: Callable[..., Path], home: Path, unchanged: Callable[..., Any]
) -> None:
    """Where the user has none, a run leaves OpenTelemetry as it was, so that a provider set later, or in a node, is theirs without a warning."""
    path = where()
    nodes = path / "src/minimal/nodes.py"
    nodes.write_text(
        nodes.read_text().replace(
            "def add(x, *_): return x + 1",
            "def add(x, *_):\n    from .own import provide\n    provide()\n    return one(x)",
        )
    )
    (path / "script.py").write_text(
        "from pathlib import Path\nfrom kedro.framework.session import KedroSession\nfrom kedro.framework.startup import bootstrap_project\n"
        "from opentelemetry import trace\nbootstrap_project(Path.cwd())\n"
        "for nodes in (['first'], ['first', 'second']):\n"
        "    with KedroSession.create(project_path=Path.cwd()) as session: session.run(node_names=nodes)\n"
        "    print(type(trace.get_tracer_provider()).__name__)\n"
    )
    assert unchanged("script.py", cwd=path).out == "ProxyTracerProvider\nTracerProvider\n"
    (their_own,) = exported(path)
    assert their_own.parent_id == next(
        operation.span_id for operation in operations(home) if operation.name == "node second"
    )


METRICS = "from minimal.own import measure, provide\nmeasure()\n"


@pytest.mark.parametrize("provide", ["", "provide()\n"])
def test_the_user_s_meters(
    provide: str, where: Callable[..., Path], unchanged: Callable[..., Any]
) -> None:
    """What operations add goes to instruments of the user's MeterProvider, with unit and description, by the detail in force."""
    path = where(settings=METRICS + provide)
    unchanged("kedro", "run", cwd=path, env={"KEDRO_OTEL_DETAIL": "run"})
    found = {}
    for scope, name, unit, description, attributes, value in json.loads(
        (path / "data/metrics.json").read_text()
    ):
        if scope == "kedro_otel":
            assert unit
            assert description
            found[(name, *sorted(f"{key}={word}" for key, word in attributes.items()))] = value
    # What the machine decides: how long it took, and what a node used that lasts on a busy one.
    used = {row for row in found if row[0].startswith(("kedro.node.disk.", "kedro.node.memory."))}
    times = {row for row in found if row[0].endswith((".time", ".duration"))}
    assert {row: value for row, value in found.items() if row not in times | used} == {
        ("kedro.commands", "kedro.command.name=run"): 1,
        ("kedro.pipeline.runs", "kedro.pipeline.name=__default__"): 1,
        ("kedro.node.runs", "kedro.node.name=first"): 1,
        ("kedro.node.runs", "kedro.node.name=second"): 1,
        (
            "kedro.dataset.operations",
            "kedro.dataset.operation=load",
            "kedro.dataset.type=kedro.io.memory_dataset.MemoryDataset",
        ): 1,
        (
            "kedro.dataset.operations",
            "kedro.dataset.operation=save",
            "kedro.dataset.type=kedro.io.memory_dataset.MemoryDataset",
        ): 1,
        (
            "kedro.dataset.operations",
            "kedro.dataset.operation=save",
            "kedro.dataset.type=kedro_datasets.json.json_dataset.JSONDataset",
        ): 1,
        (
            "kedro.project.dataset.count",
            "kedro.dataset.type=kedro_datasets.json.json_dataset.JSONDataset",
        ): 1,
        ("kedro.project.node.count",): 2,
        ("kedro.project.pipeline.count",): 2,
    }
    assert {row[0] for row in times} == {
        "kedro.command.duration",
        "kedro.pipeline.run.duration",
        "kedro.node.cpu.time",
        "kedro.node.time",
        "kedro.dataset.time",
    }


def test_meters_count_nothing_twice(
    where: Callable[..., Path], unchanged: Callable[..., Any]
) -> None:
    """Where an endpoint counts already, because nobody else makes the spans, a MeterProvider of the user's gets nothing of ours."""
    path = where(settings=METRICS)
    unchanged(
        "kedro",
        "run",
        cwd=path,
        env={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "KEDRO_OTEL_SHIP": "manual"},
    )
    assert not [
        row
        for row in json.loads((path / "data/metrics.json").read_text())
        if row[0] == "kedro_otel"
    ]
