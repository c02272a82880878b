"""The servers that the other tests stand on: what is sent over OTLP comes out of Jaeger's query API and of PromQL."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from messages import count, span

from servers import Collector, Stack, eventually, tags

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.servers


def test_spans_and_counters_sent_to_the_collector_come_out_of_jaeger_and_prometheus(
    stack: Stack,
) -> None:
    """A span posted to the shipped collector is in Jaeger with its tags, a counter is in Prometheus with the promoted labels."""
    now = time.time_ns()
    assert stack.collector.post("traces", span(1)) == 200
    assert stack.collector.post("metrics", count(0, at=now - 10**9)) == 200
    assert stack.collector.post("metrics", count(3, at=now)) == 200

    spans = eventually(stack.jaeger.spans)
    assert [(found["operationName"], tags(found)["kedro.command.name"]) for found in spans] == [
        ("kedro run", "run")
    ]
    assert stack.jaeger.trace(f"{1:032x}") is not None
    assert eventually(lambda: stack.prometheus.total("kedro_commands_total")) == 3
    labels = stack.prometheus.vector(
        "last_over_time(kedro_commands_total[1h])",
        "job",
        "instance",
        "kedro_project_id",
        "kedro_ci",
    )
    assert labels == {("kedro", "a1", "p1", "false"): 3}


def test_a_collector_whose_stores_are_away_accepts_and_queues(collector: Collector) -> None:
    """What the collector accepted while its stores were away is in its queue on disk."""
    assert collector.post("traces", span(1)) == 200
    assert any((collector.folder / "queue").iterdir())


def test_a_killed_server_comes_back_on_its_own_ports(tmp_path: Path) -> None:
    """A killed collector answers on the same address after it was started again."""
    server = Collector(tmp_path)
    server.start()
    address = server.otlp_http
    server.kill()
    assert server.post("traces", span(1)) == 0
    server.start()
    try:
        assert (server.otlp_http, server.post("traces", span(1))) == (address, 200)
    finally:
        server.stop()


def test_jaeger_keeps_its_traces_through_a_kill(stack: Stack) -> None:
    """A trace that Jaeger has shown is there after it was killed and started again, and so is one that the collector took in between."""
    assert stack.collector.post("traces", span(1)) == 200
    assert eventually(lambda: stack.jaeger.trace(f"{1:032x}"))
    stack.jaeger.kill()
    assert stack.collector.post("traces", span(2)) == 200
    stack.jaeger.start()
    assert eventually(lambda: stack.jaeger.trace(f"{2:032x}"), seconds=60)
    assert stack.jaeger.trace(f"{1:032x}")
