"""Trace context: what comes in by the environment, what processes and threads of a node get, and whose parent foreign spans have."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bare import LOGGING
from loopback import Loopback
from overlays import programs
from trace_text import below, operations, segments, tree

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
IN = {
    "TRACEPARENT": f"00-{TRACE}-{SPAN}-01",
    "TRACESTATE": "vendor=opaque,other=1",
    "BAGGAGE": "team=data,who=me%20too",
}

OF_NOBODY = """
from pathlib import Path
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from opentelemetry import trace
span = trace.NonRecordingSpan(trace.SpanContext(0x{trace}, 0x{span}, True, trace.TraceFlags(0)))
bootstrap_project(Path.cwd())
with trace.use_span(span), KedroSession.create(project_path=Path.cwd()) as session:
    session.run()
"""
NODES = """
import os, subprocess, sys
from concurrent.futures import ThreadPoolExecutor
from opentelemetry import baggage, trace

tracer = trace.get_tracer("user")

def show(*_):
    return subprocess.run([sys.executable, "-c", "import os; print(os.environ.get('TRACEPARENT'))"], capture_output=True, text=True).stdout.strip()
def current(*_):
    found = trace.get_current_span().get_span_context()
    return f"{found.trace_id:032x}-{found.span_id:016x}"
def carried(*_): return dict(baggage.get_all())
def states(*_): return trace.get_current_span().get_span_context().trace_state.to_header()
def inner(*_):
    done = subprocess.run(["kedro", "run", "--pipelines=current" if os.environ["NEW"] else "--pipeline=current"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return 1
def spans(*_):
    with tracer.start_as_current_span("outer", attributes={"secret": 1}) as span:
        span.add_event("something")
        with tracer.start_as_current_span("inside", kind=trace.SpanKind.CLIENT):
            pass
    try:
        with tracer.start_as_current_span("broken"):
            raise KeyError("x")
    except KeyError:
        return 1
def pooled(*_):
    def work(name):
        with tracer.start_as_current_span(name): return name
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(work, ["one", "two"]))
"""
REGISTRY = """
from kedro.pipeline import node, pipeline
from . import nodes

def register_pipelines():
    found = {name: pipeline([node(getattr(nodes, name), None, "told", name=name)]) for name in
             ("show", "current", "carried", "states", "inner", "spans", "pooled")}
    found["loads"] = pipeline([node(lambda x: x, "traced", "told", name="reader")])
    found["two"] = pipeline([node(nodes.show, None, "told", name="a"), node(nodes.show, None, "again", name="b"),
                             node(nodes.show, None, "other", name="c")])
    found["__default__"] = found["current"]
    return found
"""
CATALOG = "".join(
    f"{name}: {{type: json.JSONDataset, filepath: data/{name}.json}}\n"
    for name in ("told", "again", "other")
) + ("traced: {type: minimal.datasets.Traced}\n")
DATASETS = """
from kedro.io import AbstractDataset
from opentelemetry import trace

class Traced(AbstractDataset):
    def __init__(self): pass
    def _load(self):
        with trace.get_tracer("user").start_as_current_span("query"):
            return 1
    def _save(self, data): raise NotImplementedError
    def _describe(self): return {}
"""


@pytest.fixture
def where(project: Callable[..., Path], environment: dict[str, str]) -> Path:
    """Return a project whose nodes tell what context they are in."""
    import kedro

    path = project(
        nodes=NODES,
        registry=REGISTRY,
        catalog=CATALOG,
        files={"src/minimal/datasets.py": DATASETS, "logging.yml": LOGGING},
    )
    new = tuple(map(int, kedro.__version__.split(".")[:2])) >= (1, 3)
    environment |= {
        "KEDRO_LOGGING_CONFIG": str(path / "logging.yml"),
        "PYTHONWARNINGS": "ignore",
        "NEW": "1" if new else "",
    }
    return path


@pytest.fixture
def told(where: Path, kedro: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``told(pipeline, …)``, which runs it and returns what its node saved."""

    def told(pipeline: str, *words: str, **env: str) -> Any:
        kedro("run", f"--pipeline={pipeline}", *words, cwd=where, env=env)
        return json.loads((where / "data" / "told.json").read_text())

    return told


@pytest.fixture
def receiver() -> Iterator[Loopback]:
    """Return the user's own backend."""
    server = Loopback()
    yield server
    server.close()


def named(home: Path) -> dict[str, Any]:
    """Return the operations by name."""
    return {operation.name: operation for operation in operations(home)}


def test_the_command_is_a_child_of_the_trace_in_the_environment(
    told: Callable[..., Any], home: Path
) -> None:
    """TRACEPARENT makes the command, its run and its nodes part of the caller's trace, and TRACESTATE goes along with each of them."""
    found = named(home) if told("states", **IN) == IN["TRACESTATE"] else {}
    assert {operation.trace_id for operation in found.values()} == {TRACE}
    assert {operation.trace_state for operation in found.values()} == {IN["TRACESTATE"]}
    assert found["kedro run"].parent_id == SPAN


@pytest.mark.parametrize(
    "word",
    ["", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "01", f"ff-{TRACE}-{SPAN}-01"],
)
def test_a_malformed_parent_is_none(told: Callable[..., Any], home: Path, word: str) -> None:
    """A TRACEPARENT that names nothing starts a trace, and is left to the user's processes as it was."""
    told("current", TRACEPARENT=word)
    assert named(home)["kedro run"].parent_id == ""


def test_baggage_is_current_in_nodes(told: Callable[..., Any]) -> None:
    """BAGGAGE of the environment can be read in a node."""
    assert told("carried", **IN) == {"team": "data", "who": "me too"}


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_baggage_is_current_in_workers(told: Callable[..., Any], method: str) -> None:
    """BAGGAGE can be read in a node that runs in a worker process."""
    assert told("carried", "--runner=ParallelRunner", KEDRO_MP_CONTEXT=method, **IN) == {
        "team": "data",
        "who": "me too",
    }


@pytest.mark.parametrize("runner", ["SequentialRunner", "ParallelRunner"])
@pytest.mark.parametrize("pipeline", ["show", "current"])
def test_a_node_is_what_its_processes_see(
    told: Callable[..., Any], home: Path, runner: str, pipeline: str
) -> None:
    """In a node its own span is current, and a process that it starts gets it as TRACEPARENT."""
    seen = told(pipeline, f"--runner={runner}")
    node = named(home)[f"node {pipeline}"]
    assert seen == (
        f"00-{node.trace_id}-{node.span_id}-01"
        if pipeline == "show"
        else f"{node.trace_id}-{node.span_id}"
    )


def test_each_node_gives_its_own(told: Callable[..., Any], where: Path, home: Path) -> None:
    """One node after the other names itself."""
    told("two")
    seen = [
        json.loads((where / "data" / f"{name}.json").read_text()).split("-")[2]
        for name in ("told", "again", "other")
    ]
    assert seen == [named(home)[f"node {name}"].span_id for name in "abc"]


def test_nodes_side_by_side_give_the_run(told: Callable[..., Any], where: Path, home: Path) -> None:
    """Where nodes run in threads side by side the environment, which they share, names the run."""
    told("two", "--runner=ThreadRunner")
    seen = {
        json.loads((where / "data" / f"{name}.json").read_text()).split("-")[2]
        for name in ("told", "again", "other")
    }
    assert seen == {named(home)["run two"].span_id}


def test_a_kedro_run_inside_a_node_is_in_its_trace(told: Callable[..., Any], home: Path) -> None:
    """A node that starts `kedro run` has that command, of another process, below itself; each has a recording of its own."""
    told("inner")
    assert tree(operations(home)) == below(
        "kedro run",
        below(
            "run inner",
            below(
                "node inner",
                below("kedro run", below("run current", "node current\n  save told")),
                "save told",
            ),
        ),
    )
    assert len(segments(home)) == 2


def test_spans_of_the_user_s_own_are_below_their_node(told: Callable[..., Any], home: Path) -> None:
    """Spans that the code of a node makes are in the tree as they were made: kind and status, and at `run` detail no attributes."""
    told("spans")
    assert tree(operations(home)) == below(
        "kedro run",
        below("run spans", below("node spans", "broken !None", "outer\n  inside", "save told")),
    )
    found = named(home)
    assert (found["inside"].kind, found["outer"].attributes, found["outer"].events) == (3, {}, [])


def test_spans_tell_more_at_full_detail(told: Callable[..., Any], home: Path) -> None:
    """At `full` detail attributes and events of the user's spans are recorded too."""
    told("spans", KEDRO_OTEL_DETAIL="full")
    outer = named(home)["outer"]
    assert (outer.attributes, [event["name"] for event in outer.events]) == (
        {"secret": 1},
        ["something"],
    )


@pytest.mark.parametrize(
    "words", [(), ("--async",), ("--runner=ThreadRunner",), ("--runner=ParallelRunner",)]
)
def test_spans_in_a_load_are_below_it(
    where: Path, kedro: Callable[..., Any], home: Path, words: tuple[str, ...]
) -> None:
    """A dataset of the user's own that makes a span has it below its load, in whatever thread or process it is loaded."""
    (where / "src/minimal/nodes.py").write_text(NODES + "\ndef same(x): return x\n")
    registry = where / "src/minimal/pipeline_registry.py"
    registry.write_text(registry.read_text().replace("lambda x: x", "nodes.same"))
    kedro("run", "--pipeline=loads", *words, cwd=where)
    assert tree(operations(home)) == below(
        "kedro run", below("run loads", below("node reader", "load traced\n  query", "save told"))
    )


def test_spans_in_a_thread_pool(
    told: Callable[..., Any], home: Path, overlay: Callable[[str], Path], where: Path
) -> None:
    """Threads inherit nothing by themselves; with OpenTelemetry's threading instrumentation spans in a node's pool are below the node."""
    settings = "from opentelemetry.instrumentation.threading import ThreadingInstrumentor\nThreadingInstrumentor().instrument()\n"
    (where / "src/minimal/settings.py").write_text(settings)
    told("pooled", PYTHONPATH=str(overlay("instrumentation")))
    assert tree(operations(home)) == below(
        "kedro run", below("run pooled", "node pooled\n  one\n  save told\n  two")
    )


@pytest.mark.parametrize(
    ("sampler", "sampled"),
    [
        ("always_off", [False]),
        ("traceidratio", [False]),
        ("parentbased_always_off", [True]),
        ("always_on", [True]),
    ],
)
def test_sampling_changes_nothing_on_record(
    told: Callable[..., Any], home: Path, sampler: str, sampled: list[bool]
) -> None:
    """A sampler decides what is marked to be sent, of our operations and of the user's spans alike, and never what is recorded."""
    told(
        "spans",
        OTEL_TRACES_SAMPLER=sampler,
        OTEL_TRACES_SAMPLER_ARG="0.0",
        TRACEPARENT=IN["TRACEPARENT"][:-2] + ("00" if sampler == "always_on" else "01"),
    )
    found = operations(home)
    assert sorted({operation.sampled for operation in found}) == sampled
    assert (
        tree(found).splitlines()[1:]
        == below(
            "kedro run",
            below("run spans", below("node spans", "broken !None", "outer\n  inside", "save told")),
        ).splitlines()[1:]
    )


def test_what_was_not_sampled_is_named(
    project: Callable[..., Path], kedro: Callable[..., Any]
) -> None:
    """`list`, `show` and `status` say of a run that it is not sent, and `status` and `doctor` what decided so."""
    path = project()
    env = {
        "OTEL_TRACES_SAMPLER": "always_off",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "KEDRO_OTEL_SHIP": "manual",
    }
    kedro("run", cwd=path, env=env)
    assert " not sampled" in kedro("otel", "list", cwd=path).out
    assert "not sampled: no spans are sent" in kedro("otel", "show", cwd=path).out
    status = kedro("otel", "status", cwd=path, env=env).out
    assert "2 of them were not sampled" in status
    why = "OTEL_TRACES_SAMPLER=always_off: spans are recorded and not sent; metrics are."
    assert why in status
    doctor = kedro("otel", "doctor", cwd=path, env=env, code=None)
    assert why in " ".join((doctor.out + doctor.err).split())
    kedro("run", cwd=path, env={**env, "OTEL_TRACES_SAMPLER": "always_on"})
    assert "not sampled" not in kedro("otel", "show", cwd=path).out


def test_a_span_of_nobody_decides_nothing(where: Path, run: Callable[..., Any], home: Path) -> None:
    """A current span that nobody records and no SDK made, as Airflow's without tracing, has no say in what is sent."""
    run(sys.executable, "-c", OF_NOBODY.format(trace=TRACE, span=SPAN), cwd=where)
    found = operations(home)
    assert {(one.trace_id, one.sampled) for one in found} == {(TRACE, True)}


def test_the_flag_goes_out_with_the_context(told: Callable[..., Any]) -> None:
    """What the sampler left out is left out by the processes of a node too."""
    assert told("show", OTEL_TRACES_SAMPLER="always_off").endswith("-00")


def test_the_program_is_the_same(where: Path, unchanged: Callable[..., Any]) -> None:
    """With context in the environment, spans of its own and a sampler, the program says what it says without this package."""
    unchanged(
        "kedro",
        "run",
        "--pipeline=spans",
        cwd=where,
        env={**IN, "OTEL_TRACES_SAMPLER": "always_off"},
    )


INSTRUMENTED = """
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
import requests
from sqlalchemy import create_engine, text
from kedro.pipeline import node, pipeline


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.headers.get("traceparent", "none").encode())
    def log_message(self, *_): pass


def ask():
    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    said = requests.get(f"http://127.0.0.1:{server.server_port}/")
    server.shutdown()
    server.server_close()
    return said.text


def query():
    with create_engine("sqlite://").connect() as connection:
        return connection.execute(text("select 1")).scalar()


def register_pipelines():
    return {"__default__": pipeline([node(ask, None, "told", name="ask"), node(query, None, "again", name="query")])}
"""


def test_a_run_under_opentelemetry_instrument_is_one_trace(
    where: Path,
    home: Path,
    overlay: Callable[[str], Path],
    receiver: Loopback,
    run: Callable[..., Any],
    kedro: Callable[..., Any],
) -> None:
    """Under `opentelemetry-instrument` a run, its nodes, their HTTP requests and their SQL are one trace in the user's own backend, and no other."""
    (where / "src/minimal/pipeline_registry.py").write_text(INSTRUMENTED)
    folder = overlay("instrumentation")
    env = {
        "PYTHONPATH": str(folder),
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    }
    env |= {
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "KEDRO_OTEL_SHIP": "manual",
    }
    run(programs(folder) / "opentelemetry-instrument", "kedro", "run", cwd=where, env=env)
    spans = {span.span_id: span for span in receiver.spans()}
    assert len({span.trace_id for span in spans.values()}) == 1
    above: dict[str, str | None] = {}
    for span in spans.values():
        over = spans.get(span.parent_span_id)
        above[span.name if span.name.startswith("node ") else span.name.split()[0]] = (
            over.name if over is not None else None
        )
    assert above["kedro"] is None, above
    assert (above["run"], above["node ask"], above["node query"]) == (
        "kedro run",
        "run __default__",
        "run __default__",
    )
    assert (above["GET"], above.get("select")) == ("node ask", "node query"), above
    (trace,) = {span.trace_id.hex() for span in spans.values()}
    assert json.loads((where / "data/told.json").read_text()).split("-")[1] == trace
    assert tree(operations(home)) == below(
        "kedro run", below("run __default__", "node ask\n  save told", "node query\n  save again")
    )
    assert "ask" in kedro("otel", "show", cwd=where).out
    assert {segment.header.owner for segment in segments(home)} == {"user"}
