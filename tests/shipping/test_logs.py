"""Logs, the third signal: log lines of a run as OTLP logs, at the detail `full` and where they are asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Result
from loopback import Loopback, attributes, loopback
from shipping_harness import Post, log_line, post

from kedro_otel.config import destination, project_folders, settings
from kedro_otel.shipping.failpoints import VARIABLE
from servers import ROOT, Collector, eventually

__all__ = ["loopback", "post"]

NODES = """
import logging, threading

log = logging.getLogger(__name__)

def greet(name):
    log.info("hello %s", name)
    thread = threading.Thread(target=log.warning, args=("CANARY from a thread",))
    thread.start()
    thread.join()
    return name

def shout(greeting):
    try:
        raise KeyError(greeting)
    except KeyError:
        log.exception("caught")
    log.debug("unseen")
    return greeting

def tell(shouted, fail):
    return {"text": shouted}
"""


def records(loopback: Loopback, *, accepted: bool = True) -> Iterator[tuple[str, Any]]:
    """Yield logger and record of every log record that came."""
    for request in loopback.of("logs", accepted=accepted):
        for resource in request.message.resource_logs:
            for scope in resource.scope_logs:
                yield from ((scope.scope.name, record) for record in scope.log_records)


def uid(record: Any) -> str:
    """Return what a record is known by."""
    return str(attributes(record.attributes)["log.record.uid"])


def own(loopback: Loopback) -> list[Any]:
    """Return the records of the project's own loggers, as they came."""
    return [record for name, record in records(loopback) if name == "minimal.nodes"]


@pytest.fixture
def environ(loopback: Loopback) -> dict[str, str]:
    """Return what makes log records leave."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": loopback.url,
        "KEDRO_OTEL_SHIP": "manual",
        "KEDRO_OTEL_DETAIL": "full",
        "KEDRO_OTEL_LOGS": "on",
    }


def test_log_lines_arrive_with_their_trace_and_span(
    project: Callable[..., Path],
    kedro: Callable[..., Result],
    run: Callable[..., Result],
    loopback: Loopback,
    environ: dict[str, str],
    home: Path,
) -> None:
    """Each record has its node's trace and span id, severity, logger, text and stack trace; `export --as-sent` shows the same."""
    where = project(nodes=NODES)
    kedro("run", cwd=where, env=environ)
    shown = run("kedro-otel", "export", "--as-sent", cwd=where, env=environ)
    run("kedro-otel", "ship", cwd=where, env=environ)
    nodes = {span.name: span for span in loopback.spans()}
    found = {record.body.string_value: record for record in own(loopback)}
    assert list(found) == ["hello world", "CANARY from a thread", "caught"]
    for text, node in (("hello world", "greet"), ("caught", "shout")):
        span = nodes[f"node {node}"]
        assert (found[text].trace_id, found[text].span_id) == (span.trace_id, span.span_id)
        assert span.start_time_unix_nano <= found[text].time_unix_nano + 10**6
        assert found[text].time_unix_nano <= span.end_time_unix_nano
    assert [(one.severity_number, one.severity_text) for one in found.values()] == [
        (9, "INFO"),
        (13, "WARNING"),
        (17, "ERROR"),
    ]
    assert "KeyError" in attributes(found["caught"].attributes)["exception.stacktrace"]
    (resources,) = {
        str(resource.resource)
        for request in loopback.of("logs")
        for resource in request.message.resource_logs
    }
    assert "service.instance.id" in resources
    printed = [
        record
        for line in shown.out.splitlines()
        for resource in json.loads(line).get("resourceLogs", [])
        for scope in resource["scopeLogs"]
        for record in scope["logRecords"]
    ]
    came = [record for _, record in records(loopback)]
    assert [one["body"]["stringValue"] for one in printed] == [
        one.body.string_value for one in came
    ]
    assert [one["spanId"] for one in printed] == [one.span_id.hex() for one in came]
    assert run("kedro-otel", "ship", cwd=where, env=environ).code == 0
    assert len({uid(record) for record in came}) == len(list(records(loopback)))
    status = run("kedro-otel", "status", "--json", cwd=where, env=environ).out
    (row,) = json.loads(status)["shipped"]
    assert (row["sent"]["log records sent"], row["held"]) == (len(came), {})
    assert "✓" in run("kedro-otel", "show", cwd=where).out


@pytest.mark.parametrize(
    "change",
    [
        {"KEDRO_OTEL_DETAIL": "run"},
        {"KEDRO_OTEL_LOGS": "off"},
    ],
)
def test_elsewhere_no_log_line_is_in_what_may_leave(
    change: dict[str, str | None],
    project: Callable[..., Path],
    kedro: Callable[..., Result],
    run: Callable[..., Result],
    loopback: Loopback,
    environ: dict[str, str],
    home: Path,
) -> None:
    """Below `full`, without the setting, and where nothing is sent, no segment has a log line, and none leaves."""
    where = project(nodes=NODES)
    env = {**environ, **change}
    kedro("run", cwd=where, env=env)
    run("kedro-otel", "ship", cwd=where, env=env, code=None)
    assert not list(records(loopback))
    for segment in home.rglob("*.jsonl"):
        assert "CANARY" not in segment.read_text()


def test_what_was_narrowed_stays(
    project: Callable[..., Path],
    kedro: Callable[..., Result],
    run: Callable[..., Result],
    loopback: Loopback,
    environ: dict[str, str],
) -> None:
    """What was recorded at `full` and is sent at `run` leaves without its log lines, for good."""
    where = project(nodes=NODES)
    kedro("run", cwd=where, env=environ)
    run("kedro-otel", "ship", cwd=where, env={**environ, "KEDRO_OTEL_DETAIL": "run"})
    assert loopback.spans()
    run("kedro-otel", "ship", cwd=where, env=environ)
    assert not list(records(loopback))


def test_errors_leave_as_log_events(
    project: Callable[..., Path],
    kedro: Callable[..., Result],
    run: Callable[..., Result],
    loopback: Loopback,
    environ: dict[str, str],
) -> None:
    """By OpenTelemetry's own switch errors are log events named `exception`, besides span events or instead of them."""
    where = project()
    env = {**environ, "OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN": "logs/dup"}
    kedro("run", "--params", "fail=true", cwd=where, env=env, code=1)
    run("kedro-otel", "ship", cwd=where, env=env)
    (node,) = (span for span in loopback.spans() if span.name == "node tell")
    (record,) = (
        one
        for _, one in records(loopback)
        if one.event_name == "exception" and one.span_id == node.span_id
    )
    said = attributes(record.attributes)
    assert (said["exception.type"], said["exception.message"]) == ("ValueError", "told to fail")
    assert "Traceback" in said["exception.stacktrace"]
    assert (record.trace_id, record.severity_number) == (node.trace_id, 17)
    assert [event.name for event in node.events] == ["exception"]

    env["OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN"] = "logs"
    shown = run("kedro-otel", "export", "--as-sent", cwd=where, env=env).out
    spans, logs = shown[: shown.index('"resourceLogs"')], shown[shown.index('"resourceLogs"') :]
    assert "node tell" in spans
    assert '"events"' not in spans
    assert '"eventName":"exception"' in logs


def test_a_logger_provider_of_the_users_is_left_to_send(
    project: Callable[..., Path],
    kedro: Callable[..., Result],
    environ: dict[str, str],
    home: Path,
) -> None:
    """Where the user set a LoggerProvider, nothing is written to be sent: its handlers do that, and find the node's span as current."""
    settings = """
    from opentelemetry._logs import set_logger_provider
    from opentelemetry.sdk._logs import LoggerProvider

    set_logger_provider(LoggerProvider())
    """
    nodes = NODES.replace("return name", "Path('span').write_text(span()); return name")
    nodes += """
from pathlib import Path
from opentelemetry import trace

def span():
    return f"{trace.get_current_span().get_span_context().span_id:016x}"
"""
    where = project(nodes=nodes, settings=settings)
    kedro("run", cwd=where, env=environ)
    (segment,) = home.rglob("recordings/0*.jsonl")
    lines = [json.loads(line) for line in segment.read_text().splitlines()]
    assert not any("log" in line for line in lines)
    (greet,) = (line for line in lines if line.get("name") == "node greet")
    assert (where / "span").read_text() == greet["spanId"]


@pytest.mark.parametrize("point", ["logs answered", "journal written:3"])
def test_a_killed_shipper_sends_again_with_the_same_ids(
    point: str, post: Post, loopback: Loopback
) -> None:
    """Killed anywhere, every record arrives, at least once, and has one id however often it came; 503 is tried again."""
    post.set(KEDRO_OTEL_DETAIL="full", KEDRO_OTEL_LOGS="on")
    loopback.script("logs", 503)
    tapes = [post.command(detail="full", logs=True) for _ in range(3)]
    for number, tape in enumerate(tapes):
        for line in range(3):
            log_line(tape, f"{number} {line}")
    expected = sorted(f"{number} {line}" for number in range(3) for line in range(3))
    post.ship(code=None, **{VARIABLE: point})
    for _ in range(2):
        post.ship()
    came = [record for _, record in records(loopback)]
    assert sorted({record.body.string_value for record in came}) == expected
    assert len({uid(record) for record in came}) == len(expected)
    assert loopback.total("kedro.commands") == 3


def test_a_refused_record_costs_itself_alone(post: Post, loopback: Loopback) -> None:
    """Halved until the one is found that the receiver does not take; it is counted, and spans and metrics go on."""
    post.set(KEDRO_OTEL_DETAIL="full", KEDRO_OTEL_LOGS="on")
    tape = post.command(detail="full", logs=True)
    for line in ("a", "bad", "c", "d"):
        log_line(tape, line)

    def judge(handler: Any) -> None:
        message = loopback.of("logs", accepted=False)[-1].message
        bad = "bad" in str(message)
        handler.answer(
            400 if bad else 200,
            {"Content-Type": "application/json"},
            b'{"code":3,"message":"no"}' if bad else b"{}",
        )

    loopback.always["logs"] = judge
    post.deliver()
    assert any(one.body.string_value == "bad" for _, one in records(loopback, accepted=False))
    assert post.journal.counts["log records refused"] == 1
    assert post.journal.counts["log records sent"] == 3
    assert loopback.total("kedro.commands") == 1


@pytest.mark.parametrize("word", ["enabled = false", 'logs = "off"'])
def test_a_project_may_say_no_later(
    word: str, post: Post, loopback: Loopback, project: Callable[..., Path]
) -> None:
    """What waits heeds the project's no, and goes once it is taken back."""
    post.set(KEDRO_OTEL_DETAIL="full", KEDRO_OTEL_LOGS="on")
    root = project()
    tape = post.command(detail="full", logs=True, project=project_folders.note(root))
    log_line(tape, "a")
    file = root / "pyproject.toml"
    before = file.read_text()
    file.write_text(f"{before}\n[tool.kedro_otel]\n{word}\n")
    post.deliver()
    assert not list(records(loopback))
    file.write_text(before)
    post.deliver()
    assert [record.body.string_value for _, record in records(loopback)] == ["a"]


def test_logs_change_no_destination() -> None:
    """With logs on the same receiver has the same id; an address or headers of logs' own make another."""
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:1"}

    def found(**more: str) -> destination.Destination:
        target = destination.current(settings.load({**env, **more}))
        assert target is not None
        return target

    assert found().logs is None
    assert found(KEDRO_OTEL_LOGS="on", OTEL_LOGS_EXPORTER="none").logs is None
    on = found(KEDRO_OTEL_LOGS="on")
    assert (on.id, on.logs) == (found().id, "http://h:1/v1/logs")
    other = found(KEDRO_OTEL_LOGS="on", OTEL_EXPORTER_OTLP_LOGS_ENDPOINT="http://i:1/v1/logs")
    assert other.id != on.id
    assert (other.logs, other.traces) == ("http://i:1/v1/logs", on.traces)


@pytest.mark.servers
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_real_collector_takes_them(
    protocol: str,
    tmp_path: Path,
    project: Callable[..., Path],
    kedro: Callable[..., Result],
    run: Callable[..., Result],
    environ: dict[str, str],
    loopback: Loopback,
) -> None:
    """The collector, as shipped with a store of logs, hands on each record with its node's trace and span id; `doctor` names logs as accepted."""
    collector = Collector(tmp_path / "collector")
    shipped = (ROOT / "stack" / "collector-logs.yaml").read_text()
    store = "http://victorialogs:9428/insert/opentelemetry"
    assert store in shipped
    collector.overlays = [shipped.replace(store, loopback.url)]
    collector.start()
    try:
        address = collector.otlp_grpc if protocol == "grpc" else collector.otlp_http
        env = {
            **environ,
            "OTEL_EXPORTER_OTLP_ENDPOINT": address,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            # the stores of the others are away
            "OTEL_TRACES_EXPORTER": "none",
            "OTEL_METRICS_EXPORTER": "none",
        }
        where = project(nodes=NODES)
        kedro("run", cwd=where, env=env)
        doctor = run("kedro-otel", "doctor", "--json", cwd=where, env=env).out
        assert json.loads(doctor)["signals"]["logs"]["result"] == "accepted"
        run("kedro-otel", "ship", cwd=where, env=env)
        told = json.loads(run("kedro-otel", "show", "--json", cwd=where).out)
        nodes = {one["name"]: one["span_id"] for one in told["spans"]}
        eventually(lambda: own(loopback))
        found = {record.body.string_value: record for record in own(loopback)}
        for text, node in (("hello world", "greet"), ("caught", "shout")):
            assert found[text].trace_id.hex() == told["trace_id"]
            assert found[text].span_id.hex() == nodes[f"node {node}"]
    finally:
        collector.stop()
