"""The stack's files: what `kedro otel stack` writes, what compose makes of it, and that all of it belongs together."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Result

from kedro_otel.cli.stack import FILES
from servers import ROOT, Collector, Jaeger, Prometheus, binary

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SHIPPED = [ROOT / name for name in FILES]


def normalized(folder: Path, *more: str, **environment: str) -> dict[str, Any]:
    """What compose-go makes of docker-compose.yml, and of ``more`` files; it fails where a file breaks the specification."""
    words = [binary("compose"), "docker-compose.yml", *more]
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_stack_writes_every_file_and_says_what_to_type_next(
    kedro: Callable[..., Result], tmp_path: Path
) -> None:
    """`kedro otel stack DIR` writes the shipped files byte for byte, readable by a container's user under any umask, and prints the next commands."""
    old = os.umask(0o077)
    try:
        said = kedro("otel", "stack", "stack").out
    finally:
        os.umask(old)
    written = {
        str(path.relative_to(tmp_path / "stack")): path
        for path in (tmp_path / "stack").rglob("*")
        if path.is_file()
    }
    assert sorted(written) == sorted(FILES)
    for name, path in written.items():
        assert path.read_bytes() == (ROOT / name).read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o644 or os.name == "nt"
    assert "docker compose up" in said
    assert "kedro otel connect http://localhost:4318" in said


def test_stack_keeps_a_file_that_somebody_changed(
    kedro: Callable[..., Result], tmp_path: Path
) -> None:
    """A file that differs is kept and named, with the word that replaces it; other files in the folder are nobody's business."""
    mine = tmp_path / "stack" / "otel-collector-config.yaml"
    mine.parent.mkdir()
    mine.write_text("mine")
    (mine.parent / "pyproject.toml").write_text("also mine")
    refused = kedro("otel", "stack", "stack", code=1)
    assert mine.read_text() == "mine"
    assert not (mine.parent / "docker-compose.yml").exists()
    assert "otel-collector-config.yaml" in refused.err
    assert "--force" in refused.err
    kedro("otel", "stack", "stack", "--force")
    assert mine.read_bytes() == (ROOT / "otel-collector-config.yaml").read_bytes()
    assert (mine.parent / "pyproject.toml").read_text() == "also mine"
    kedro("otel", "stack", "stack")  # the second time nothing differs


def test_a_wheel_carries_the_stack(tmp_path: Path) -> None:
    """A built wheel holds every file of the stack where `kedro otel stack` looks for it."""
    pytest.importorskip("hatchling")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name in FILES:
            assert archive.read(f"kedro_otel/_stack/{name}") == (ROOT / name).read_bytes()


@pytest.mark.servers
def test_compose_accepts_the_file_and_publishes_on_loopback_alone() -> None:
    """compose-go accepts docker-compose.yml; every mounted file is one that is shipped, every port is this machine's own."""
    services = normalized(ROOT)["services"]
    for service in services.values():
        for mount in service.get("volumes", []):
            if mount["type"] == "bind":
                assert mount["read_only"]
                source = Path(mount["source"])
                assert any(path == source or source in path.parents for path in SHIPPED), source
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", []))
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", service["image"]), "images are pinned"
    published = {
        port["published"] for service in services.values() for port in service.get("ports", [])
    }
    assert published == {"4317", "4318", "16686", "9090", "3000"}


@pytest.mark.servers
def test_a_token_is_asked_for_exactly_when_one_is_set() -> None:
    """With KEDRO_OTEL_TOKEN the collector gets the second configuration file and the token; without it neither."""
    without, given = (
        normalized(ROOT)["services"]["collector"],
        normalized(ROOT, KEDRO_OTEL_TOKEN="s3cret")["services"]["collector"],
    )
    assert without["command"] == ["--config=/etc/otelcol/config.yaml"]
    assert given["command"] == [
        "--config=/etc/otelcol/config.yaml",
        "--config=/etc/otelcol/token.yaml",
    ]
    assert given["environment"] == {"KEDRO_OTEL_TOKEN": "s3cret"}


@pytest.mark.servers
@pytest.mark.parametrize("token", ["", "s3cret"])
def test_a_store_of_logs_is_added_by_a_second_file(token: str) -> None:
    """With stack/compose-logs.yaml the collector gets the pipeline of logs, and their store is this machine's own."""
    services = normalized(ROOT, "stack/compose-logs.yaml", KEDRO_OTEL_TOKEN=token)["services"]
    files = ["config", *(["token"] if token else []), "logs"]
    assert services["collector"]["command"] == [
        f"--config=/etc/otelcol/{name}.yaml" for name in files
    ]
    mounted = {mount["target"] for mount in services["collector"]["volumes"]}
    assert {"/etc/otelcol/config.yaml", "/etc/otelcol/logs.yaml"} <= mounted
    (port,) = services["victorialogs"]["ports"]
    assert (port["host_ip"], port["published"]) == ("127.0.0.1", "9428")


@pytest.mark.servers
def test_every_service_says_whether_it_is_well() -> None:
    """Each long-running service has a health check, the collector's in the container beside it."""
    services = normalized(ROOT)["services"]
    checked = {name for name, service in services.items() if "healthcheck" in service}
    assert checked | {"collector", "permissions"} == set(services)
    assert "collector:13133" in " ".join(services["collector-health"]["healthcheck"]["test"])


def test_every_volume_is_writable_by_its_image_s_user() -> None:
    """Volumes are mounted where the image made a folder for its user, or are given to that user first."""
    made_by_image = {"prometheus": "/prometheus", "grafana": "/var/lib/grafana"}
    given = {volume.split(":")[0] for volume in COMPOSE["services"]["permissions"]["volumes"]}
    for name, service in COMPOSE["services"].items():
        for volume, target in (
            mount.split(":")[:2]
            for mount in service.get("volumes", [])
            if not mount.startswith("./")
        ):
            if name == "permissions":
                assert target in COMPOSE["services"]["permissions"]["command"]
            elif made_by_image.get(name) != target:
                assert volume in given
                assert service["depends_on"]["permissions"] == {
                    "condition": "service_completed_successfully"
                }


def test_the_images_are_the_versions_that_the_tests_run() -> None:
    """The collector's and Prometheus's images have the versions of the binaries that these tests start."""
    images = {
        name: service["image"].rpartition(":")[2] for name, service in COMPOSE["services"].items()
    }
    manifest = yaml.safe_load((ROOT / "servers/collector/builder.yaml").read_text())
    assert images["collector"] == manifest["dist"]["version"]
    for kind in ("receivers", "processors", "exporters", "extensions"):
        assert all(
            component["gomod"].endswith(f" v{images['collector']}") for component in manifest[kind]
        )
    (version,) = re.findall(
        r"github.com/prometheus/prometheus v0\.(\d)(\d\d)\.(\d+)",
        (ROOT / "servers/prometheus/go.mod").read_text(),
    )
    assert images["prometheus"] == f"v{version[0]}.{int(version[1]):d}.{version[2]}"


@pytest.mark.servers
@pytest.mark.parametrize("token", [None, "s3cret"])
def test_the_collector_accepts_its_configuration(tmp_path: Path, token: str | None) -> None:
    """`otelcol validate` accepts the very files that are mounted, with and without a token."""
    environment = {} if token is None else {"KEDRO_OTEL_TOKEN": token}
    files = ["otel-collector-config.yaml", *(["stack/collector-token.yaml"] if token else [])]
    files.append("stack/collector-logs.yaml")
    words = [binary("otelcol"), "validate", *(f"--config={ROOT / name}" for name in files)]
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.servers
def test_prometheus_accepts_its_configuration() -> None:
    """Promtool accepts prometheus.yml and alerts.yml as they are mounted."""
    for words in (
        ["check", "config", "--syntax-only", ROOT / "stack/prometheus.yml"],
        ["check", "rules", ROOT / "stack/alerts.yml"],
    ):
        done = subprocess.run(
            [binary("promtool"), *words], capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.servers
def test_the_tests_start_the_servers_as_compose_does(tmp_path: Path) -> None:
    """What these tests start differs from docker-compose.yml in addresses and folders alone."""
    shipped = COMPOSE["services"]["prometheus"]["command"]
    here = Prometheus(tmp_path / "prometheus").command()
    switches = [word for word in shipped if not re.search(r"file|path|address", word)]
    assert switches
    assert set(switches) <= set(here)
    collector = Collector(tmp_path / "collector")
    collector.command()
    ours = yaml.safe_load((tmp_path / "collector/config.yaml").read_text())
    theirs = yaml.safe_load((ROOT / "otel-collector-config.yaml").read_text())
    assert _without_addresses(ours) == _without_addresses(theirs)
    Jaeger(tmp_path / "jaeger").command()
    ours = yaml.safe_load((tmp_path / "jaeger/jaeger.yaml").read_text())
    assert _without_addresses(ours) == _without_addresses(
        yaml.safe_load((ROOT / "stack/jaeger.yaml").read_text())
    )


def _without_addresses(config: Any) -> Any:
    if isinstance(config, dict):
        return {
            key: _without_addresses(value)
            for key, value in config.items()
            if key not in {"endpoint", "directory", "directories", "host", "port"}
        }
    return [_without_addresses(item) for item in config] if isinstance(config, list) else config


def test_the_dashboards_and_rules_are_what_their_source_makes() -> None:
    """The committed JSON and YAML are exactly what `python stack/source` writes."""
    pytest.importorskip("grafana_foundation_sdk")
    done = subprocess.run(
        [sys.executable, ROOT / "stack/source", "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_panels_ask_data_sources_that_are_provisioned() -> None:
    """Each panel, query and variable names a data source that Grafana is given, and exemplars lead to one of them."""
    sources = yaml.safe_load(
        (ROOT / "stack/grafana/provisioning/datasources/datasources.yaml").read_text()
    )["datasources"]
    provided = {(source["type"], source["uid"]) for source in sources}
    named = set()
    for board in (ROOT / "stack/grafana/dashboards").glob("*.json"):
        named |= set(_data_sources(json.loads(board.read_text())))
    assert named
    assert named <= provided
    exemplars = [
        link["datasourceUid"]
        for source in sources
        for link in source["jsonData"].get("exemplarTraceIdDestinations", [])
    ]
    assert exemplars
    assert set(exemplars) <= {uid for _, uid in provided}


def _data_sources(found: Any) -> list[tuple[str, str]]:
    if isinstance(found, list):
        return [source for item in found for source in _data_sources(item)]
    if not isinstance(found, dict):
        return []
    here = found.get("datasource")
    mine = (
        [(here["type"], here["uid"])]
        if isinstance(here, dict) and here.get("uid") not in (None, "-- Grafana --")
        else []
    )
    return mine + _data_sources(list(found.values()))


@pytest.mark.parametrize("name", ["usage", "runs"])
def test_a_dashboard_is_readable_at_a_glance(name: str) -> None:
    """Titles ask what a person asks, numbers have a unit, emptiness has a word, and nothing lies over anything else."""
    board = json.loads((ROOT / f"stack/grafana/dashboards/{name}.json").read_text())
    cells = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        taken = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        assert place["x"] + place["w"] <= 24
        cells |= taken
        if panel["type"] != "row":
            assert panel["title"].endswith("?")
            assert panel["fieldConfig"]["defaults"]["noValue"]
            assert panel["type"] == "table" or panel["fieldConfig"]["defaults"]["unit"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert {"project", "environment", "ci"} <= {
        variable["name"] for variable in board["templating"]["list"]
    }
