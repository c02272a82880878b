"""Real servers for tests: the collector, Jaeger and Prometheus on free loopback ports, started with the very files that users get.

``servers/build.py`` says where the binaries are; a test that needs one that is not there is skipped and says what to type. Take a fixture (``stack``,
``collector``, ``jaeger``, ``prometheus``) or build a :class:`Stack` to decide more: which of the three, a bearer token, a longer queue.
Nothing here listens beyond 127.0.0.1, and whatever was started is ended with the test.
"""

from __future__ import annotations

import json
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from processes import ROOT, Server, binary, eventually, free_ports, request

__all__ = [
    "ROOT",
    "Collector",
    "Jaeger",
    "Prometheus",
    "Server",
    "Stack",
    "binary",
    "eventually",
    "free_ports",
    "readdressed",
    "request",
    "tags",
]


class Jaeger(Server):
    """Jaeger with the shipped configuration, addresses aside: ``otlp_http``, ``otlp_grpc`` to send, :meth:`traces` and :meth:`spans` to ask."""

    name = "jaeger"
    ports_needed = 5

    @property
    def otlp_http(self) -> str:
        """Base URL for OTLP over HTTP, which only tests use: the collector speaks gRPC to it."""
        return f"http://127.0.0.1:{self.ports[1]}"

    @property
    def otlp_grpc(self) -> str:
        """``host:port`` for OTLP over gRPC."""
        return f"127.0.0.1:{self.ports[0]}"

    @property
    def url(self) -> str:
        """Base URL of the user interface and the query API."""
        return f"http://127.0.0.1:{self.ports[2]}"

    def command(self) -> Sequence[str]:
        """The shipped file with this machine's addresses in it, and a door for OTLP over HTTP."""
        grpc, http, query, query_grpc, health = self.ports
        addresses = {
            "0.0.0.0:4317": f"127.0.0.1:{grpc}",
            "0.0.0.0:16686": f"127.0.0.1:{query}",
            "0.0.0.0:16685": f"127.0.0.1:{query_grpc}",
            "0.0.0.0:13133": f"127.0.0.1:{health}",
            "/var/lib/jaeger": str(self.folder / "store"),
        }
        config, more = self.folder / "jaeger.yaml", self.folder / "http.yaml"
        config.write_text(readdressed((ROOT / "stack" / "jaeger.yaml").read_text(), addresses))
        door = f"receivers: {{otlp: {{protocols: {{http: {{endpoint: 127.0.0.1:{http}}}}}}}}}\n"
        more.write_text(
            door + "service: {telemetry: {metrics: {level: none}}}\n"
        )  # its own counters would all want one port
        return [f"--config={config}", f"--config={more}"]

    def ready(self) -> bool:
        """Whether the health check that docker compose asks and the query API answer."""
        return (
            request(f"http://127.0.0.1:{self.ports[4]}/status", seconds=1)[0] == 200
            and request(self.url + "/api/services", seconds=1)[0] == 200
        )

    def stop(self) -> None:
        """Kill it: nobody waits for its store, and asked kindly it takes ten seconds."""
        self.kill()

    def get(self, path: str, **parameters: object) -> Any:
        """The ``data`` of one answer of the query API."""
        status, answer = request(f"{self.url}/api/{path}?{urllib.parse.urlencode(parameters)}")
        return json.loads(answer).get("data") or [] if status == 200 else []

    def traces(
        self, service: str = "kedro", *, limit: int = 1500, **parameters: object
    ) -> list[dict[str, Any]]:
        """Traces of a service as Jaeger's own user interface gets them (``operation``, ``tags``, ``minDuration`` narrow them)."""
        now = time.time_ns() // 1000
        window = {"start": now - 7 * 86_400_000_000, "end": now + 3_600_000_000}
        return list(self.get("traces", service=service, limit=limit, **{**window, **parameters}))

    def trace(self, trace_id: str) -> dict[str, Any] | None:
        """One trace by its 32 hex digits, or None."""
        found = self.get(f"traces/{trace_id}")
        return found[0] if found else None

    def spans(self, service: str = "kedro", **parameters: Any) -> list[dict[str, Any]]:
        """Every span of those traces, in no order; :func:`tags` makes a dict of one's tags."""
        return [span for trace in self.traces(service, **parameters) for span in trace["spans"]]


def tags(span: Mapping[str, Any]) -> dict[str, Any]:
    """A Jaeger span's (or process's) tags as a dict."""
    return {tag["key"]: tag["value"] for tag in span["tags"]}


class Prometheus(Server):
    """Prometheus with the shipped configuration, addresses aside; :meth:`value` and :meth:`vector` ask it in PromQL."""

    name = "prometheus"
    ports_needed = 1

    def __init__(self, folder: Path, *, collector: str = "127.0.0.1:1") -> None:
        """Prepare one that scrapes the collector's own counters at ``collector`` (host:port)."""
        super().__init__(folder)
        self.collector = collector
        self.every = "1s"
        """How often it scrapes the collector and asks the alert rules; shipped are 15 s and 1 m, which no test can wait for."""
        self.scrape = ""
        """More of the configuration, appended: the scraping variant of docs/deployment.md."""
        self.writes_itself = True
        """Whether it scrapes and evaluates rules. Both write points of now, after which it takes none that are older than its out-of-order window."""

    @property
    def url(self) -> str:
        """Base URL of the API and the user interface."""
        return f"http://127.0.0.1:{self.ports[0]}"

    @property
    def otlp(self) -> str:
        """Base URL of its OTLP receiver (a sender adds ``/v1/metrics``)."""
        return self.url + "/api/v1/otlp"

    def command(self) -> Sequence[str]:
        """The flags of docker-compose.yml, and the shipped files with this machine's addresses in them."""
        rules = self.folder / "alerts.yml"
        rules.write_text((ROOT / "stack" / "alerts.yml").read_text())
        addresses = {
            "[collector:8888]": f"['{self.collector}']",
            "[localhost:9090]": f"['127.0.0.1:{self.ports[0]}']",
            "/etc/prometheus/alerts.yml": str(rules),
            "scrape_interval: 15s": f"scrape_interval: {self.every}",
            "evaluation_interval: 1m": f"evaluation_interval: {self.every}",
        }
        text = readdressed((ROOT / "stack" / "prometheus.yml").read_text(), addresses) + self.scrape
        config = self.folder / "prometheus.yml"
        config.write_text(text if self.writes_itself else text.partition("rule_files:")[0])
        return [
            f"--config.file={config}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.ports[0]}",
            "--web.enable-otlp-receiver",
            "--enable-feature=exemplar-storage",
            "--web.enable-lifecycle",
            "--log.level=warn",
        ]

    def ready(self) -> bool:
        """Whether it says that it is ready."""
        return request(self.url + "/-/ready", seconds=1)[0] == 200

    def get(self, path: str, **parameters: object) -> Any:
        """The ``data`` of one answer of the API; an error in the query fails the test with Prometheus's own words."""
        status, answer = request(
            f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters, doseq=True)}", seconds=60
        )
        if status == 0:
            return {"result": []}
        said = json.loads(answer)
        assert said["status"] == "success", said
        return said["data"]

    def query(self, expression: str, *, at: float | None = None) -> list[dict[str, Any]]:
        """The instant vector of an expression (now, or at that Unix time in seconds), as the API gives it."""
        return list(
            self.get("query", query=expression, time=time.time() if at is None else at)["result"]
        )

    def vector(
        self, expression: str, *labels: str, at: float | None = None
    ) -> dict[tuple[str, ...], float]:
        """The same as a dict from the values of these labels to the number."""
        return {
            tuple(row["metric"].get(label, "") for label in labels): float(row["value"][1])
            for row in self.query(expression, at=at)
        }

    def value(self, expression: str, *, at: float | None = None) -> float | None:
        """The only number of an expression, None when it gives nothing."""
        rows = self.query(expression, at=at)
        assert len(rows) < 2, rows
        return float(rows[0]["value"][1]) if rows else None

    def total(self, metric: str, *, at: float | None = None) -> float | None:
        """The all-time total of a counter, the way that the dashboards ask for it."""
        return self.value(f"sum(last_over_time({metric}[30d]))", at=at)

    def series(self, match: str = '{job=~"kedro.*"}') -> list[dict[str, str]]:
        """The labels of every series of the last month that matches."""
        now = time.time()
        return list(
            self.get("series", **{"match[]": match, "start": now - 30 * 86_400, "end": now + 3600})
        )


def readdressed(text: str, addresses: Mapping[str, str]) -> str:
    """A shipped configuration with other addresses; each must be there, so that a renamed one is noticed."""
    for shipped, here in addresses.items():
        assert shipped in text, f"{shipped} is not in the shipped configuration"
        text = text.replace(shipped, here)
    return text


class Collector(Server):
    """The collector with the shipped configuration, addresses aside: ``otlp_http`` and ``otlp_grpc`` to send to, stores behind it."""

    name = "otelcol"
    ports_needed = 4

    def __init__(
        self,
        folder: Path,
        *,
        jaeger: str | None = None,
        prometheus: str | None = None,
        token: str | None = None,
    ) -> None:
        """Prepare one that feeds Jaeger at ``host:port`` (gRPC) and Prometheus at that OTLP base URL; a store that is None refuses connections."""
        super().__init__(folder)
        self.jaeger = jaeger or "127.0.0.1:1"
        self.prometheus = prometheus or "http://127.0.0.1:1/api/v1/otlp"
        self.token = token
        self.overlays: list[str] = []
        """YAML texts merged over the shipped configuration, in order: TLS, a small queue, another exporter."""
        self.replaced: dict[str, str] = {}
        """Texts of the shipped configuration to be replaced besides the addresses."""

    @property
    def otlp_http(self) -> str:
        """Base URL for OTLP over HTTP, as ``OTEL_EXPORTER_OTLP_ENDPOINT`` wants it."""
        return f"http://127.0.0.1:{self.ports[1]}"

    @property
    def otlp_grpc(self) -> str:
        """The same for gRPC."""
        return f"http://127.0.0.1:{self.ports[0]}"

    @property
    def own_metrics(self) -> str:
        """``host:port`` of its own counters."""
        return f"127.0.0.1:{self.ports[3]}"

    def command(self) -> Sequence[str]:
        """The shipped file with this machine's addresses in it, then the overlays."""
        grpc, http, health, own = self.ports
        addresses = {
            "0.0.0.0:4317": f"127.0.0.1:{grpc}",
            "0.0.0.0:4318": f"127.0.0.1:{http}",
            "0.0.0.0:13133": f"127.0.0.1:{health}",
            "host: 0.0.0.0": "host: 127.0.0.1",
            "port: 8888": f"port: {own}",
            "jaeger:4317": self.jaeger,
            "http://prometheus:9090/api/v1/otlp": self.prometheus,
            "/var/lib/otelcol": str(self.folder / "queue"),
            **self.replaced,
        }
        config = self.folder / "config.yaml"
        config.write_text(readdressed((ROOT / "otel-collector-config.yaml").read_text(), addresses))
        options = [f"--config={config}"]
        if self.token is not None:
            self.environment["KEDRO_OTEL_TOKEN"] = self.token
            options.append(f"--config={ROOT / 'stack' / 'collector-token.yaml'}")
        for number, text in enumerate(self.overlays):
            overlay = self.folder / f"overlay-{number}.yaml"
            overlay.write_text(text)
            options.append(f"--config={overlay}")
        return options

    def ready(self) -> bool:
        """Whether its health check says that every pipeline runs."""
        return request(f"http://127.0.0.1:{self.ports[2]}/", seconds=1)[0] == 200

    def post(self, signal_name: str, message: object, *, token: str | None = None) -> int:
        """Send one OTLP/JSON message (``traces`` or ``metrics``) and return the HTTP status."""
        shown = self.token if token is None else token
        headers = {} if shown is None else {"Authorization": f"Bearer {shown}"}
        return request(f"{self.otlp_http}/v1/{signal_name}", message, headers)[0]

    def counters(self) -> dict[str, float]:
        """Its own counters by name, summed over their labels."""
        found: dict[str, float] = {}
        for line in request(f"http://{self.own_metrics}/metrics")[1].decode().splitlines():
            if line and not line.startswith("#"):
                name, number = line.rsplit(" ", 1)
                found[name.split("{")[0]] = found.get(name.split("{")[0], 0.0) + float(number)
        return found


class Stack:
    """Collector → Jaeger and Prometheus, as docker-compose.yml wires them; each can be killed and started again on its own."""

    def __init__(self, folder: Path, *, token: str | None = None) -> None:
        """Prepare the three in ``folder``; :meth:`start` starts them."""
        self.jaeger = Jaeger(folder / "jaeger")
        self.prometheus = Prometheus(folder / "prometheus")
        self.collector = Collector(
            folder / "collector",
            jaeger=self.jaeger.otlp_grpc,
            prometheus=self.prometheus.otlp,
            token=token,
        )

    def start(self) -> Stack:
        """Start all three, stores first."""
        self.jaeger.start()
        self.prometheus.collector = self.collector.own_metrics
        self.prometheus.start()
        # A store may have had to take other ports than those it was prepared with.
        self.collector.jaeger, self.collector.prometheus = (
            self.jaeger.otlp_grpc,
            self.prometheus.otlp,
        )
        self.collector.start()
        return self

    def stop(self) -> None:
        """Stop all three, the collector first."""
        for server in (self.collector, self.prometheus, self.jaeger):
            server.stop()


@pytest.fixture
def jaeger(tmp_path: Path) -> Iterator[Jaeger]:
    """A running Jaeger."""
    server = Jaeger(tmp_path / "jaeger")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Prometheus]:
    """A running Prometheus."""
    server = Prometheus(tmp_path / "prometheus")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    """A running collector whose stores are away: it accepts and queues."""
    server = Collector(tmp_path / "collector")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A running collector, Jaeger and Prometheus."""
    servers = Stack(tmp_path / "stack")
    servers.start()
    yield servers
    servers.stop()
