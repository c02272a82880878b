"""The alert rules in a real Prometheus: loaded, evaluated, and true of what really happened."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from installations import Person, doomed_project

from servers import ROOT, Collector, Prometheus, Stack, eventually, request

pytestmark = pytest.mark.servers

RULES = [
    rule
    for group in yaml.safe_load((ROOT / "stack/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
RECORDS = {rule["record"]: rule["expr"] for rule in RULES if "record" in rule}
ALERTS = {rule["alert"]: rule["expr"] for rule in RULES if "alert" in rule}
DAY = 86_400


def true_of(
    alert: str, prometheus: Prometheus, *labels: str, at: float | None = None
) -> dict[tuple[str, ...], float]:
    """What an alert's expression gives right now, with the recorded names spelled out: they have values from evaluation to evaluation only."""
    expression = ALERTS[alert]
    for name, meaning in RECORDS.items():
        expression = expression.replace(name, f"({meaning.strip()})")
    return prometheus.vector(expression, *labels, at=at)


def metrics(pipeline: str, at: float, runs: int, seconds: float) -> dict[str, Any]:
    """One OTLP/JSON message with the two cumulative instruments of pipeline runs at that Unix time."""
    point = {
        "timeUnixNano": str(int(at * 1e9)),
        "startTimeUnixNano": str(int((at - 30 * DAY) * 1e9)),
        "attributes": [{"key": "kedro.pipeline.name", "value": {"stringValue": pipeline}}],
    }
    counter = {
        "aggregationTemporality": 2,
        "isMonotonic": True,
        "dataPoints": [{**point, "asInt": str(runs)}],
    }
    buckets = {
        "count": str(runs),
        "sum": seconds,
        "bucketCounts": [str(runs)],
        "explicitBounds": [],
    }
    histogram = {"aggregationTemporality": 2, "dataPoints": [{**point, **buckets}]}
    both = [
        {"name": "kedro.pipeline.runs", "unit": "{run}", "sum": counter},
        {"name": "kedro.pipeline.run.duration", "unit": "s", "histogram": histogram},
    ]
    names = {
        "service.name": "kedro",
        "service.instance.id": "a",
        "kedro.project.id": "c0ffee1234",
        "kedro.project.name": "wines",
    }
    resource = {
        "attributes": [
            {"key": key, "value": {"stringValue": value}} for key, value in names.items()
        ]
    }
    return {"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": both}]}]}


def test_a_failing_and_a_killed_run_raise_the_alert(tmp_path: Path, stack: Stack) -> None:
    """After a failed and a killed run of real commands the alert fires in Prometheus, once for each error, and says which pipeline."""
    person, project = (
        Person(tmp_path / "ana", stack.collector.otlp_http),
        doomed_project(tmp_path / "doomed"),
    )
    person.kedro("run", cwd=project)
    person.kedro("run", "--params", "how=fail", cwd=project, code=1)
    person.kedro("run", "--params", "how=die", cwd=project, code=-9)
    person.kedro("otel", "ship", cwd=project)
    rows = eventually(
        lambda: true_of(
            "KedroPipelineFails", stack.prometheus, "project", "kedro_pipeline_name", "error_type"
        ),
        lambda rows: len(rows) == 2,
    )
    assert rows == {
        ("doomed", "__default__", "ValueError"): 1,
        ("doomed", "__default__", "kedro_otel.process_died"): 1,
    }

    def firing() -> list[str]:
        return [
            alert["annotations"]["summary"]
            for alert in stack.prometheus.get("alerts")["alerts"]
            if alert["state"] == "firing"
        ]

    assert sorted(eventually(firing, lambda alerts: len(alerts) == 2)) == [
        f"doomed, pipeline __default__ failed 1 times within an hour: {error}"
        for error in ("ValueError", "kedro_otel.process_died")
    ]
    rules = [rule for group in stack.prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert len(rules) == len(RULES)
    assert {rule["health"] for rule in rules} == {"ok"}


@pytest.mark.parametrize("hours", [0, 5, 11, 17, 23])
def test_slow_and_silent_pipelines_are_told_apart_in_a_real_history(
    tmp_path: Path, hours: int
) -> None:
    """After ten days of points in Prometheus's own store: who takes over half as long again today, and who stayed away, at any hour of the day.

    Rules and scrapes write points of now, and by then the history is too old to be taken: they begin when it is there.
    """
    prometheus = Prometheus(tmp_path / "prometheus")
    prometheus.writes_itself = False
    prometheus.start()
    now = time.time() - hours * 3600
    runs, took = Counter[str](), Counter[str]()
    for day in range(10, -1, -1):  # oldest first: nothing is out of order
        for pipeline in ("steady", "slower", "silent", "rare"):
            if (
                day < 10
                and not (pipeline == "silent" and day == 0)
                and not (pipeline == "rare" and day % 4)
            ):
                runs[pipeline] += 1
                took[pipeline] += 160 if (pipeline, day) == ("slower", 0) else 100
            message = metrics(pipeline, now - day * DAY - 3600, runs[pipeline], took[pipeline])
            answer = request(prometheus.otlp + "/v1/metrics", message)
            assert answer[0] == 200, answer
    prometheus.writes_itself = True
    prometheus.restart()
    try:
        assert true_of(
            "KedroPipelineSlower", prometheus, "project", "kedro_pipeline_name", at=now
        ) == {("wines", "slower"): 160}
        assert true_of(
            "KedroPipelineSilent", prometheus, "project", "kedro_pipeline_name", at=now
        ) == {("wines", "silent"): 7}
        assert true_of("KedroPipelineFails", prometheus, at=now) == {}
        if not hours:
            wanted = {"KedroPipelineSlower": "slower", "KedroPipelineSilent": "silent"}
            assert (
                eventually(
                    lambda: firing(prometheus, *wanted), lambda alerts: len(alerts) >= len(wanted)
                )
                == wanted
            )
    finally:
        prometheus.stop()


def firing(prometheus: Prometheus, *names: str) -> dict[str, str]:
    """Those of the named alerts that fire by Prometheus's own evaluation, with their pipeline."""
    alerts = [alert for alert in prometheus.get("alerts")["alerts"] if alert["state"] == "firing"]
    return {
        alert["labels"]["alertname"]: alert["labels"]["kedro_pipeline_name"]
        for alert in alerts
        if alert["labels"]["alertname"] in names
    }


@pytest.fixture
def picky_store() -> Iterator[str]:
    """A store that answers 400 to everything; yields its address."""

    class Refuses(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(400)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refuses)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


SMALL_QUEUE = """
exporters:
  otlp_grpc/jaeger:
    sending_queue: {queue_size: 4000, batch: {min_size: 100, max_size: 3000}}
  otlp_http/prometheus:
    sending_queue: {queue_size: 4000, batch: {min_size: 100, max_size: 3000}}
"""


def test_a_collector_in_trouble_raises_its_alerts(tmp_path: Path, picky_store: str) -> None:
    """A full queue, a store that rejects, and a collector that is gone are each true in Prometheus, and nothing is while all is well."""
    collector = Collector(tmp_path / "collector", prometheus=picky_store)
    collector.overlays = [SMALL_QUEUE]
    collector.start()
    prometheus = Prometheus(tmp_path / "prometheus", collector=collector.own_metrics)
    prometheus.start()
    names = [name for name in ALERTS if name.startswith("KedroCollector")]
    try:
        assert eventually(lambda: prometheus.value('up{job="collector"}')) == 1
        assert [true_of(name, prometheus) for name in names] == [{}] * len(names)

        assert collector.post("metrics", metrics("p", time.time(), 1, 1.0)) == 200
        dropped = eventually(lambda: true_of("KedroCollectorDrops", prometheus, "exporter"))
        assert set(dropped) == {("otlp_http/prometheus",)}

        span = {
            "traceId": "1" * 32,
            "spanId": "1" * 16,
            "name": "x",
            "startTimeUnixNano": "1",
            "endTimeUnixNano": "2",
        }
        message = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
        answers = [collector.post("traces", message) for _ in range(200)]
        assert set(answers) == {200, 503}
        refused = eventually(lambda: true_of("KedroCollectorRefuses", prometheus, "receiver"))
        assert set(refused) == {("otlp",)}
        (share,) = eventually(
            lambda: true_of("KedroCollectorQueueFills", prometheus, "exporter")
        ).values()
        assert 0.5 < share <= 1

        collector.kill()
        assert eventually(lambda: true_of("KedroCollectorDown", prometheus, "job")) == {
            ("collector",): 0
        }
    finally:
        collector.stop()
        prometheus.stop()
