"""A fleet of installations out of one real one: its messages, under other ids, sent by many at once."""

from __future__ import annotations

import base64
import copy
import http.client
import json
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from servers import Stack, eventually, request


class Template(NamedTuple):
    """What one installation sends for one command: spans, the counters at zero, and the counters after it."""

    spans: ExportTraceServiceRequest
    zero: ExportMetricsServiceRequest
    after: ExportMetricsServiceRequest

    @property
    def span_count(self) -> int:
        """Spans of one command."""
        return sum(
            len(scope.spans)
            for resource in self.spans.resource_spans
            for scope in resource.scope_spans
        )

    @property
    def point_count(self) -> int:
        """Data points of one command."""
        return sum(len(_points(metric)) for metric in _metrics(self.after))


class Report(NamedTuple):
    """What a fleet's messages cost: seconds, bytes, counts."""

    installations: int
    commands: int
    spans: int
    points: int
    posted_bytes: int
    retried: int
    accepted_seconds: float
    delivered_seconds: float
    collector_bytes: int
    prometheus_bytes: int
    collector_cpu: float
    prometheus_cpu: float
    series: int
    panel_seconds: dict[str, float]

    def __str__(self) -> str:
        """The report as lines to paste."""
        per_second = [
            f"{count / self.accepted_seconds:.0f} {what}/s"
            for count, what in ((self.commands, "commands"), (self.spans, "spans"))
        ]
        lines = [
            f"{self.installations} installations, {self.commands} commands, {self.spans} spans, {self.points} points",
            f"{self.posted_bytes / 1e6:.0f} MB posted, {self.retried} times told to come back",
            f"accepted in {self.accepted_seconds:.1f} s ({', '.join(per_second)}, {self.points / self.accepted_seconds:.0f} points/s)",
            f"all in the stores after {self.delivered_seconds:.1f} s",
            f"collector {self.collector_bytes / 2**20:.0f} MiB at most, Prometheus {self.prometheus_bytes / 2**20:.0f} MiB at most",
            f"processor time: collector {self.collector_cpu:.1f} s, Prometheus {self.prometheus_cpu:.1f} s",
            f"{self.series} series ({self.series / self.installations:.0f} an installation)",
            *(f"{seconds:.2f} s: {name}" for name, seconds in self.panel_seconds.items()),
        ]
        return "\n".join(lines)


def template(exported: str) -> Template:
    """The messages that ``kedro otel export --as-sent`` printed for one run."""
    messages = [json.loads(line) for line in exported.splitlines() if line.startswith("{")]
    spans = [message for message in messages if "resourceSpans" in message]
    metrics = [message for message in messages if "resourceMetrics" in message]
    assert (len(spans), len(metrics)) == (1, 2), [list(message) for message in messages]
    whole = ParseDict(_in_base64(copy.deepcopy(spans[0])), ExportTraceServiceRequest())
    zero, after = (
        ParseDict(_in_base64(copy.deepcopy(message)), ExportMetricsServiceRequest())
        for message in metrics
    )
    return Template(whole, zero, after)


def _in_base64(message: Any) -> Any:
    """OTLP/JSON spells ids in hex, protobuf's own JSON in base64."""
    if isinstance(message, list):
        return [_in_base64(item) for item in message]
    if not isinstance(message, dict):
        return message
    return {
        key: base64.b64encode(bytes.fromhex(value)).decode()
        if key in {"traceId", "spanId", "parentSpanId"}
        else _in_base64(value)
        for key, value in message.items()
    }


def commands_of(one: Template, rounds: int) -> Iterator[list[tuple[str, bytes]]]:
    """What another such installation sends, command by command: (path, body)."""
    ids = {
        "app.installation.id": uuid.uuid4().hex,
        "service.instance.id": str(uuid.uuid4()),
        "kedro.project.id": uuid.uuid4().hex * 4,
    }
    metrics = [copy.deepcopy(one.zero), copy.deepcopy(one.after)]
    spans = copy.deepcopy(one.spans)
    for message in (*metrics, spans):
        for resource in (
            message.resource_spans
            if isinstance(message, ExportTraceServiceRequest)
            else message.resource_metrics
        ):
            for attribute in resource.resource.attributes:
                if attribute.key in ids:
                    attribute.value.string_value = ids[attribute.key]
    began = time.time_ns() - (rounds + 1) * 10**9
    for number in range(1, rounds + 1):
        now = began + number * 10**9  # Prometheus keeps milliseconds: one command a second
        bodies = [("/v1/traces", _renamed(spans, now).SerializeToString())]
        if number == 1:
            bodies.append(("/v1/metrics", _moved(metrics[0], began, 1).SerializeToString()))
        bodies.append(("/v1/metrics", _moved(metrics[1], now, number).SerializeToString()))
        yield bodies


def _renamed(message: ExportTraceServiceRequest, now: int) -> ExportTraceServiceRequest:
    """The same spans of another trace that ends now."""
    trace = uuid.uuid4().bytes
    spans = [
        span
        for resource in message.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    shift = now - max(span.end_time_unix_nano for span in spans)
    for span in spans:
        span.trace_id = trace
        span.start_time_unix_nano += shift
        span.end_time_unix_nano += shift
    return message


def _moved(
    message: ExportMetricsServiceRequest, now: int, times: int
) -> ExportMetricsServiceRequest:
    """The same counters at another time, after that many such commands."""
    moved = copy.deepcopy(message)
    for metric in _metrics(moved):
        for point in _points(metric):
            point.time_unix_nano, point.start_time_unix_nano = now, now - 3600 * 10**9
            if metric.HasField("histogram"):
                point.count *= times
                point.sum *= times
                point.bucket_counts[:] = [count * times for count in point.bucket_counts]
                for exemplar in point.exemplars:
                    exemplar.time_unix_nano = now
            elif metric.sum.is_monotonic:
                kind = point.WhichOneof("value")
                setattr(point, kind, getattr(point, kind) * times)
    return moved


def _metrics(message: ExportMetricsServiceRequest) -> list[Any]:
    return [
        metric
        for resource in message.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]


def _points(metric: Any) -> Any:
    return metric.histogram.data_points if metric.HasField("histogram") else metric.sum.data_points


def send(
    stack: Stack,
    one: Template,
    *,
    installations: int,
    rounds: int,
    senders: int,
    panels: dict[str, str],
) -> Report:
    """Send it all through the stack's collector, ``senders`` installations at a time; return what it cost.

    Every total in Prometheus is compared with what was sent, and ``panels`` (name → PromQL) are timed once it is there.
    """
    fleet = [list(commands_of(one, rounds)) for _ in range(installations)]
    peak = {"collector": 0, "prometheus": 0}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            peak["collector"] = max(peak["collector"], stack.collector.memory())
            peak["prometheus"] = max(peak["prometheus"], stack.prometheus.memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        return _measure(stack, one, fleet, rounds, senders, panels, peak)
    finally:
        done.set()
        watcher.join()


def _measure(
    stack: Stack,
    one: Template,
    fleet: list[list[list[tuple[str, bytes]]]],
    rounds: int,
    senders: int,
    panels: dict[str, str],
    peak: dict[str, int],
) -> Report:
    collector, installations = stack.collector, len(fleet)
    before = collector.cpu(), stack.prometheus.cpu()
    began = time.monotonic()
    with ThreadPoolExecutor(senders) as pool:
        # A round of everybody's first commands, then of everybody's second: as in a day, nobody runs all of theirs at once.
        retried = sum(
            sum(pool.map(lambda bodies: _post(collector.ports[1], bodies), batch))
            for batch in zip(*fleet, strict=True)
        )
    accepted = time.monotonic() - began
    commands = installations * rounds
    spans = commands * one.span_count
    total = eventually(
        lambda: stack.prometheus.total("kedro_commands_total"),
        lambda total: total == commands,
        seconds=300,
        every=0.5,
    )
    assert total == commands
    sent = eventually(
        lambda: collector.counters().get("otelcol_exporter_sent_spans", 0),
        lambda sent: sent == spans,
        seconds=300,
        every=0.5,
    )
    assert sent == spans
    delivered = time.monotonic() - began
    spent = collector.cpu() - before[0], stack.prometheus.cpu() - before[1]
    timed = {}
    for name, query in panels.items():
        asked = time.monotonic()
        assert stack.prometheus.query(query), name
        timed[name] = time.monotonic() - asked
    points = installations * (rounds + 1) * one.point_count
    posted = sum(len(body) for bodies in fleet for command in bodies for _, body in command)
    head = request(stack.prometheus.url + "/metrics")[1].decode().splitlines()
    (series,) = [
        float(line.split()[1]) for line in head if line.startswith("prometheus_tsdb_head_series ")
    ]
    own = stack.prometheus.value('count({job=~"collector|prometheus"})') or 0
    sizes = (peak["collector"], peak["prometheus"], *spent, int(series - own))
    return Report(
        installations, commands, spans, points, posted, retried, accepted, delivered, *sizes, timed
    )


def _post(port: int, bodies: list[tuple[str, bytes]]) -> int:
    """Send one command's messages over one connection, as a shipper does; come back when told to. Returns how often that was."""
    retried = 0
    for path, body in bodies:
        for attempt in range(200):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("POST", path, body, {"Content-Type": "application/x-protobuf"})
            answer = connection.getresponse()
            said = answer.read()
            connection.close()
            if answer.status == 200:
                break
            assert answer.status in {429, 503}, (answer.status, said)
            assert attempt < 199
            retried += 1
            time.sleep(0.1)
    return retried
