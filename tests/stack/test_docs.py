"""What docs/deployment.md shows is what works: its configurations run, its variables exist, its manifests agree with the stack."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import Result
from installations import Person, doomed_project
from panels import BOARDS, ask, panels

from kedro_otel.config.settings import SETTINGS
from servers import ROOT, Collector, Jaeger, Prometheus, Stack, binary, eventually, readdressed

PAGE = (ROOT / "docs/deployment.md").read_text(encoding="utf-8")
BLOCKS = {
    match[2].split(":")[0].strip(): f"# {match[2]}\n{match[3]}"
    for match in re.finditer(r"```(yaml|sh)\n# ([^\n]+)\n(.*?)```", PAGE, re.DOTALL)
}
"""The page's files, by what their first line calls them."""


def test_every_yaml_block_is_yaml() -> None:
    """Each block that calls itself YAML is."""
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) >= 9
    for block in blocks:
        assert all(yaml.compose_all(block))


def test_every_variable_that_one_is_to_paste_exists() -> None:
    """The environment blocks name settings of kedro-otel, standard variables, and the vendor's own switch."""
    known = {name for setting in SETTINGS for name in setting.env} | {
        "OTEL_RESOURCE_ATTRIBUTES",
        "KEDRO_DISABLE_TELEMETRY",
    }
    pasted = set(
        re.findall(r"^(?:export |  |  - name: )?((?:KEDRO|OTEL)_\w+)(?=[=:]|$)", PAGE, re.MULTILINE)
    )
    assert pasted <= known
    assert {
        "KEDRO_OTEL_ENABLED",
        "KEDRO_OTEL_DETAIL",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_HEADERS",
    } <= pasted


def test_the_versions_named_are_those_of_the_stack() -> None:
    """The page names the versions that docker-compose.yml has."""
    images = {
        name: service["image"]
        for name, service in yaml.safe_load((ROOT / "docker-compose.yml").read_text())[
            "services"
        ].items()
    }
    for name in ("collector", "prometheus"):
        assert images[name].rpartition(":")[2].lstrip("v") in PAGE
    for name in ("grafana", "jaeger"):
        assert ".".join(images[name].rpartition(":")[2].split(".")[:2]) in PAGE
    assert images["collector"] in BLOCKS["gateway-kubernetes.yaml"]


def test_mimir_is_asked_for_the_labels_that_prometheus_promotes() -> None:
    """The labels in Mimir's limits are those of prometheus.yml."""
    limits = yaml.safe_load(BLOCKS["limits of mimir.yaml"])["limits"]
    shipped = yaml.safe_load((ROOT / "stack/prometheus.yml").read_text())
    assert (
        limits["promote_otel_resource_attributes"].split(",")
        == shipped["otlp"]["promote_resource_attributes"]
    )
    assert (
        limits["out_of_order_time_window"] == shipped["storage"]["tsdb"]["out_of_order_time_window"]
    )


@pytest.mark.servers
def test_five_lines_lead_from_nothing_to_the_trace_and_the_panels(
    tmp_path: Path, stack: Stack, project: Callable[..., Path], kedro: Callable[..., Result]
) -> None:
    """README's five lines, typed: the stack's files are there, what `kedro run` records is in Jaeger, and the dashboards it names show it."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = readme[readme.index("## A whole stack") :].split("```")[1]
    typed = [
        line.removeprefix("$ ").split("#")[0].strip() for line in block.strip().splitlines()[1:]
    ]
    assert len(typed) == 5
    make, _, up = typed[0].split(" && ")
    assert up == "docker compose up -d"
    kedro(*make.split()[1:])
    compose = yaml.safe_load((tmp_path / "telemetry/docker-compose.yml").read_text())
    published = {
        mapping.rpartition(":")[0]: name
        for name, service in compose["services"].items()
        for mapping in service.get("ports", [])
    }

    go, connect = typed[1].split(" && ")
    path = project("my_project", parent=tmp_path)
    assert go == "cd ../my-project"
    address = "http://localhost:4318"
    assert published["127.0.0.1:4318"] == "collector"
    said = kedro(
        *(stack.collector.otlp_http if word == address else word for word in connect.split()[1:]),
        cwd=path,
    ).out
    assert said.count("accepted") == 2
    kedro(*typed[2].split()[1:], cwd=path)
    (trace,) = eventually(lambda: stack.jaeger.traces(operation="kedro run"))
    assert {"kedro run", "run __default__", "node shout"} <= {
        span["operationName"] for span in trace["spans"]
    }

    assert [published[f"127.0.0.1:{line.rpartition(':')[2]}"] for line in typed[3:]] == [
        "jaeger",
        "grafana",
    ]
    assert {board["title"] for board in BOARDS.values()} == {
        f"Kedro: {name.lower()}" for name in re.findall("Usage|Runs", block)
    }
    assert (
        eventually(
            lambda: stack.prometheus.total("kedro_node_runs_total"), lambda total: total == 3
        )
        == 3
    )
    for name, title in (("usage", "Which commands?"), ("runs", "Which nodes are the slowest?")):
        (panel,) = [panel for panel in panels() if (panel.board, panel.title) == (name, title)]
        assert any(ask(panel, stack.prometheus, time.time() + 1)), title


@pytest.mark.servers
def test_the_override_publishes_the_collector_to_others(tmp_path: Path) -> None:
    """With the page's override compose publishes the collector on every address, and nothing else."""
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    (tmp_path / "docker-compose.override.yml").write_text(BLOCKS["docker-compose.override.yml"])
    words = [binary("compose"), "docker-compose.yml", "docker-compose.override.yml"]
    done = subprocess.run(
        words, cwd=tmp_path, env={}, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout)["services"]
    open_to_all = {
        port["published"]
        for service in services.values()
        for port in service.get("ports", [])
        if port.get("host_ip") != "127.0.0.1"
    }
    assert open_to_all == {"4317", "4318"}
    assert len(services["collector"]["ports"]) == 2


@pytest.mark.servers
def test_the_scraped_variant_counts_with_the_same_labels(tmp_path: Path) -> None:
    """Prometheus that scrapes the collector has the same counters under the same labels, and the panels' totals are right."""
    from servers import free_ports

    (port,) = free_ports(1)
    collector = Collector(tmp_path / "collector")
    collector.overlays = [
        readdressed(BLOCKS["collector-scraped.yaml"], {"0.0.0.0:9464": f"127.0.0.1:{port}"})
    ]
    collector.start()
    prometheus = Prometheus(tmp_path / "prometheus", collector=collector.own_metrics)
    block = BLOCKS["added to scrape_configs in prometheus.yml"]
    prometheus.scrape = readdressed(block, {"collector:9464": f"127.0.0.1:{port}"})
    prometheus.start()
    person, project = (
        Person(tmp_path / "ana", collector.otlp_http),
        doomed_project(tmp_path / "doomed"),
    )
    try:
        person.kedro("run", cwd=project)
        person.kedro("run", cwd=project)
        person.kedro("otel", "ship", cwd=project)
        assert (
            eventually(lambda: prometheus.total("kedro_commands_total"), lambda total: total == 2)
            == 2
        )
        assert prometheus.total("kedro_node_runs_total") == 4
        (labels,) = [set(row["metric"]) for row in prometheus.query("kedro_pipeline_runs_total")]
        promoted = {
            "app_installation_id",
            "kedro_project_id",
            "kedro_project_name",
            "kedro_version",
            "kedro_python",
            "os_type",
            "kedro_ci",
        }
        assert promoted | {"job", "instance", "kedro_pipeline_name"} <= labels
        assert prometheus.vector("kedro_commands_total", "job") == {("kedro",): 2}
    finally:
        collector.stop()
        prometheus.stop()


@pytest.mark.servers
@pytest.mark.timeout(300)
def test_an_agent_hands_everything_to_its_gateway_also_after_one_was_away(tmp_path: Path) -> None:
    """Through agent and gateway of the page all arrives; what the agent accepted while the gateway was down arrives afterwards."""
    jaeger, prometheus = Jaeger(tmp_path / "jaeger"), Prometheus(tmp_path / "prometheus")
    jaeger.start()
    prometheus.start()
    gateway = Collector(tmp_path / "gateway")
    stores = {"http://mimir:8080/otlp": prometheus.otlp, "tempo:4317": jaeger.otlp_grpc}
    gateway.overlays = [readdressed(BLOCKS["gateway.yaml"], stores)]
    agent = Collector(tmp_path / "agent")
    agent.overlays = [
        readdressed(
            BLOCKS["agent.yaml"],
            {"dns:///kedro-otel-gateway:4317": f"127.0.0.1:{gateway.ports[0]}"},
        )
    ]
    agent.start()
    person, project = Person(tmp_path / "ana", agent.otlp_http), doomed_project(tmp_path / "doomed")
    try:
        person.kedro("run", cwd=project)
        person.kedro("otel", "ship", cwd=project)  # accepted, though there is no gateway
        agent.kill()
        gateway.start()
        agent.start()
        person.kedro("run", cwd=project)
        person.kedro("otel", "ship", cwd=project)
        assert (
            eventually(
                lambda: prometheus.total("kedro_commands_total"),
                lambda total: total == 2,
                seconds=60,
            )
            == 2
        )
        assert eventually(lambda: len(jaeger.traces()), lambda traces: traces == 2, seconds=60) == 2
    finally:
        for server in (agent, gateway, prometheus, jaeger):
            server.stop()
