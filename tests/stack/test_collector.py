"""The shipped collector under a sender's worst day: killed with a full queue, and shown the wrong token."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from installations import Person, doomed_project
from messages import count, span
from segment_totals import read

from servers import Collector, Prometheus, Stack, eventually

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

SMALL_QUEUE = """
exporters:
  otlp_grpc/jaeger:
    sending_queue: {queue_size: 40000, batch: {min_size: 1000, max_size: 30000}}
  otlp_http/prometheus:
    sending_queue: {queue_size: 60000, batch: {min_size: 1000, max_size: 30000}}
"""


def test_a_collector_killed_with_its_queue_full_loses_nothing(tmp_path: Path) -> None:
    """Stores away, queue full, collector killed and started again, stores back: every trace and every count is there, once."""
    servers = Stack(tmp_path / "stack")
    servers.collector.overlays = [SMALL_QUEUE]
    servers.collector.jaeger, servers.collector.prometheus = (
        servers.jaeger.otlp_grpc,
        servers.prometheus.otlp,
    )
    servers.collector.start()  # the stores' ports are known, and nobody listens there
    person, project = (
        Person(tmp_path / "ana", servers.collector.otlp_http),
        doomed_project(tmp_path / "doomed"),
    )
    try:
        commands = 0
        while (
            servers.collector.counters().get("otelcol_receiver_refused_spans", 0) == 0
            and commands < 30
        ):
            person.kedro("run", cwd=project)
            commands += 1
            person.kedro("otel", "ship", cwd=project, code=None)
        assert commands < 30, "the queue was never full"
        person.kedro("run", cwd=project)  # this one meets a full queue from the start
        commands += 1
        servers.collector.kill()

        servers.jaeger.start()
        servers.prometheus.start()
        servers.collector.start()
        shipped = eventually(
            lambda: person.kedro("otel", "ship", cwd=project, code=None),
            lambda done: done.returncode == 0,
            seconds=60,
            every=1,
        )
        assert shipped.returncode == 0, shipped.stderr

        recorded = read(person.home)
        assert sum(one.kind == "command" for one in recorded) == commands
        assert (
            eventually(
                lambda: servers.prometheus.total("kedro_commands_total"),
                lambda total: total == commands,
            )
            == commands
        )
        ids = {(one.trace, one.span) for one in recorded}

        def arrived() -> set[tuple[str, str]]:
            return {(span["traceID"], span["spanID"]) for span in servers.jaeger.spans()}

        assert eventually(arrived, lambda spans: spans == ids) == ids
    finally:
        servers.stop()


def test_a_collector_killed_while_it_is_sent_to_loses_nothing_it_accepted(tmp_path: Path) -> None:
    """Killed in the middle of a flood and started again, the collector hands on every span that it had answered with 200."""
    servers = Stack(tmp_path / "stack").start()
    accepted: list[str] = []

    def send(sender: int) -> None:
        for number in range(sender * 1000 + 1, sender * 1000 + 1000):
            if servers.collector.post("traces", span(number)) != 200:
                return
            accepted.append(f"{number:032x}")

    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(8)]
    try:
        for thread in threads:
            thread.start()
        assert eventually(lambda: len(accepted) >= 200, every=0.001)
        servers.collector.kill()
        for thread in threads:
            thread.join()
        servers.collector.start()

        def lost() -> set[str]:
            return set(accepted) - {trace["traceID"].zfill(32) for trace in servers.jaeger.traces()}

        assert eventually(lost, lambda traces: not traces) == set()
    finally:
        servers.stop()


def test_a_prometheus_that_was_away_for_a_weekend_takes_what_waited(tmp_path: Path) -> None:
    """What the collector accepted three days ago, with Prometheus away, is in its totals when it is back, though it has written points of now."""
    prometheus = Prometheus(tmp_path / "prometheus")
    prometheus.writes_itself = False
    prometheus.start()
    collector = Collector(tmp_path / "collector", prometheus=prometheus.otlp)
    collector.start()
    friday = time.time_ns() - 72 * 3600 * 10**9
    try:
        assert collector.post("metrics", count(2, at=friday)) == 200
        assert eventually(lambda: prometheus.total("kedro_commands_total")) == 2
        prometheus.stop()
        assert collector.post("metrics", count(5, at=friday + 10**9)) == 200
        collector.kill()

        prometheus.writes_itself = True
        prometheus.start()
        assert eventually(lambda: prometheus.query('up{job="collector"}'))
        collector.start()
        assert (
            eventually(lambda: prometheus.total("kedro_commands_total"), lambda total: total == 5)
            == 5
        )
    finally:
        collector.stop()
        prometheus.stop()


def test_a_wrong_token_is_named_by_doctor_and_costs_the_command_nothing(tmp_path: Path) -> None:
    """With a wrong token `doctor` says unauthorized and exits 1, `kedro run` is as ever; with the right one all arrives."""
    servers = Stack(tmp_path / "stack", token="s3cret").start()
    person, project = (
        Person(tmp_path / "ana", servers.collector.otlp_http),
        doomed_project(tmp_path / "doomed"),
    )
    try:
        plain = person.kedro("run", cwd=project, OTEL_EXPORTER_OTLP_ENDPOINT="")
        wrong = {"OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20guess"}
        refused = person.kedro("run", cwd=project, **wrong)
        assert (refused.returncode, refused.stderr) == (plain.returncode, plain.stderr)
        said = person.kedro("otel", "doctor", cwd=project, code=1, **wrong).stdout
        assert said.count("401") >= 2, said
        assert servers.jaeger.spans() == []

        right = {"OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20s3cret"}
        said = person.kedro("otel", "doctor", cwd=project, **right).stdout
        assert said.count("accepted") >= 2, said
        person.kedro("otel", "ship", "--all", cwd=project, **right)
        assert (
            eventually(
                lambda: servers.prometheus.total('kedro_commands_total{kedro_command_name="run"}'),
                lambda total: total == 2,
            )
            == 2
        )
    finally:
        servers.stop()


def test_a_token_is_asked_for_on_grpc_too(tmp_path: Path) -> None:
    """Over gRPC the collector refuses and accepts by the same token."""
    collector = Collector(tmp_path / "collector", token="s3cret")
    collector.start()
    person = Person(tmp_path / "ana", collector.otlp_grpc)
    grpc = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    try:
        said = person.kedro(
            "otel",
            "doctor",
            cwd=tmp_path,
            code=1,
            **grpc,
            OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20guess",
        ).stdout
        assert "nauthenticated" in said.lower() or "401" in said, said
        said = person.kedro(
            "otel",
            "doctor",
            cwd=tmp_path,
            **grpc,
            OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20s3cret",
        ).stdout
        assert said.count("accepted") >= 2, said
    finally:
        collector.stop()
