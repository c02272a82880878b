"""With the real collector, Jaeger and Prometheus: every trace is there, and every number is exact."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from bare import OURS
from conftest import BIN, FULL
from fabricate import Tape
from loopback import Loopback, loopback
from memory_peak import PEAK_KIB

from kedro_otel.config import destination, settings
from kedro_otel.semconv import names
from kedro_otel.semconv.fields import FIELDS
from kedro_otel.shipping.process import foreground
from servers import Stack, eventually, tags

__all__ = ["loopback"]
ROOT = Path(__file__).parents[2]
PIP = {
    key: value for key, value in os.environ.items() if key == "HOME" or key.startswith("PIP_")
} | {"PIP_BREAK_SYSTEM_PACKAGES": "1"}
"""The developer's settings of pip, taken before a test's own environment replaces them: where packages come from."""

pytestmark = [pytest.mark.servers, pytest.mark.timeout(3600 if FULL else 600)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Return the three servers, started once: each test keeps to a service name of its own."""
    found = Stack(tmp_path_factory.mktemp("stack")).start()
    yield found
    found.stop()


@pytest.fixture
def service(request: pytest.FixtureRequest, environment: dict[str, str], stack: Stack) -> str:
    """Return this test's service name; the endpoint is set, too."""
    name = (
        f"kedro-{request.node.name[:60]}".replace("[", "-").rstrip("]") + f"-{time.monotonic_ns()}"
    )  # a second try starts anew, too
    environment |= {
        "OTEL_SERVICE_NAME": name,
        "OTEL_EXPORTER_OTLP_ENDPOINT": stack.collector.otlp_http,
    }
    os.environ.update(environment)
    return name


def total(stack: Stack, metric: str, service: str, *, at: float | None = None) -> float:
    """Return a counter's total of one service, as the dashboards ask for it."""
    return (
        stack.prometheus.value(f'sum(last_over_time({metric}{{job="{service}"}}[30d]))', at=at)
        or 0.0
    )


def installation(folder: Path, environment: dict[str, str]) -> dict[str, str]:
    """Return the environment of another user, at home in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    return {
        **environment,
        "HOME": str(folder),
        "USERPROFILE": str(folder),
        "KEDRO_OTEL_HOME": str(folder / "kedro-otel"),
    }


def kedro(environment: dict[str, str], cwd: Path, *words: str) -> None:
    """Run a kedro command, which has to succeed."""
    done = subprocess.run(
        [BIN / "kedro", *words],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def shells(commands: list[tuple[dict[str, str], Path, tuple[str, ...]]]) -> None:
    """Run commands in sixteen shells at once."""
    with ThreadPoolExecutor(16) as pool:
        for result in [
            pool.submit(kedro, environment, cwd, *words) for environment, cwd, words in commands
        ]:
            result.result()


def record(
    folder: Path, service: str, number: int, *, ephemeral: bool = False, runs: bool = False
) -> None:
    """Record commands by hand, each in a segment of its own, for the endpoint in force."""
    target = destination.current(settings.load(os.environ))
    assert target is not None
    for _ in range(number):
        tape = Tape(
            folder,
            destination=target.id,
            ephemeral=ephemeral,
            resource={"service.name": service, "kedro.ci": ephemeral},
        )
        command = tape.start("command", "kedro run", 0, kedro_command_name="run")
        if runs:
            sizes = {
                names.NODE_COUNT: 3,
                names.PIPELINE_COUNT: 1,
                names.DATASET_TYPE_COUNT: [f"type{kind}=2" for kind in range(12)],
            }
            run = tape.start(
                "run",
                "run p",
                0.1,
                command,
                **{
                    key.replace(".", "_"): value
                    for key, value in sizes.items()
                    if "type" not in key
                },
            )
            tape.end(run, 0.9)
        tape.end(command, 1)


def ship(environ: dict[str, str]) -> foreground.Delivered:
    """Deliver what is recorded in ``environ``."""
    os.environ.update(environ)
    known = settings.load(os.environ)
    target = destination.current(known)
    assert target is not None
    return foreground.deliver(known, target)


def test_concurrent_commands_of_several_installations_are_counted_exactly(
    stack: Stack, service: str, environment, project, tmp_path, full, home
):
    """Sixteen shells, four installations, the collector killed and restarted midway, one installation silent after: all traces, exact total."""
    number = 200 if full else 32
    path = project()
    background = {**environment, "KEDRO_OTEL_SHIP": "background"}
    users = [installation(tmp_path / f"user{one}", background) for one in range(4)]
    words = [("run",), ("--version",), ("registry", "list"), ("info",)]

    def commands(count: int, among: int) -> list[tuple[dict[str, str], Path, tuple[str, ...]]]:
        return [
            (users[one % among], path, words[one // among % len(words)]) for one in range(count)
        ]

    first = commands(number // 2, 4)
    shells(first)
    eventually(
        lambda: total(stack, "kedro_commands_total", service),
        lambda found: found == number // 2,
        seconds=60,
    )
    stack.collector.kill()
    second = commands(number // 4, 3)
    shells(second)
    stack.collector.start()
    third = commands(number - number // 2 - number // 4, 3)
    shells(third)
    for user in users[:3]:
        kedro(user, path, "otel", "ship")
    every = first + second + third
    runs = sum(words == ("run",) for *_, words in every)
    eventually(
        lambda: total(stack, "kedro_commands_total", service),
        lambda found: found == number,
        seconds=60,
    )
    for at in (None, time.time() + 3600):
        assert total(stack, "kedro_commands_total", service, at=at) == number
        assert total(stack, "kedro_command_duration_seconds_count", service, at=at) == number
        assert total(stack, "kedro_pipeline_runs_total", service, at=at) == runs
        assert total(stack, "kedro_node_runs_total", service, at=at) == 3 * runs
        assert (
            total(stack, "kedro_dataset_operations_total", service, at=at) == 7 * runs
        )  # four loads, three saves
    traces = eventually(
        lambda: stack.jaeger.traces(service), lambda found: len(found) == number, seconds=60
    )
    assert len({trace["traceID"] for trace in traces}) == number


def test_a_large_backlog_is_sent_fast_and_in_little_memory(
    stack: Stack, service: str, environment, home, full, request
):
    """A hundred thousand spans from disk to the collector: under a minute and under 150 MiB."""
    nodes = 60_000 if full else 3_000
    os.environ["KEDRO_OTEL_DETAIL"] = "run"
    target = destination.current(settings.load(os.environ))
    assert target is not None
    for _ in range(4):
        tape = Tape(
            home / "recordings",
            destination=target.id,
            detail="run",
            resource={"service.name": service},
        )
        run = tape.start("run", "run p", 0)
        for number in range(nodes // 4 // 3):
            tape.node(f"n{number % 300}", run, number, 0.1, 0.2, 0.3)
            tape.node(f"m{number % 300}", run, number, 0.0, 0.2, 0.3)
        tape.end(run, nodes)
    code = (
        "import resource; from kedro_otel.shipping.process.daemon import main; main(); used = resource.getrusage(resource.RUSAGE_SELF);"
        f"print(used.ru_utime + used.ru_stime, {PEAK_KIB} // 1024)"
    )
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-I", "-c", code],
        env={**os.environ},
        capture_output=True,
        text=True,
        check=True,
    )
    took = time.monotonic() - began
    seconds, mebibytes = map(float, done.stdout.split())
    sent = 4 * (1 + 5 * (nodes // 4 // 3))
    counter = "otelcol_receiver_accepted_spans"  # some versions say _total
    eventually(
        lambda: sum(
            value for name, value in stack.collector.counters().items() if name.startswith(counter)
        ),
        lambda found: found >= sent,
    )
    figure = f"{sent} spans in {took:.1f} s, of which {seconds:.1f} s of CPU, {mebibytes:.0f} MiB"
    request.node.user_properties.append(("figure", figure))
    # of this process's own time: a busy machine makes the rest as long as it likes
    assert seconds < 40, figure
    assert mebibytes < 150, figure


def test_requests_sent_twice_and_in_any_order_count_the_same(
    stack: Stack, service: str, loopback: Loopback, environment, home
):
    """What a bad network and an eager proxy do to requests does nothing to the numbers."""
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = loopback.url
    for _ in range(6):
        record(home / "recordings", service, 5, runs=True)
        assert not ship({}).left
    requests = loopback.requests * 2
    random.Random(7).shuffle(requests)
    for request in requests:
        status, _ = _post(
            f"{stack.collector.otlp_http}/v1/{request.signal}", request.message.SerializeToString()
        )
        assert status == 200
    eventually(
        lambda: total(stack, "kedro_commands_total", service), lambda found: found == 30, seconds=60
    )
    assert total(stack, "kedro_pipeline_runs_total", service) == 30
    eventually(lambda: len(stack.jaeger.traces(service)), lambda found: found == 30)


def test_fresh_homes_are_counted_exactly_with_few_series(
    stack: Stack, service: str, environment, tmp_path, full, project
):
    """Each job of a CI begins with an empty home: the total is right and no job makes more than twelve series."""
    number = 2000 if full else 60
    for job in range(number):
        user = installation(tmp_path / f"job{job}", environment)
        os.environ.update(user)
        record(
            tmp_path / f"job{job}" / "kedro-otel" / "recordings",
            service,
            1,
            ephemeral=True,
            runs=True,
        )
        assert not ship(user).left
    real = installation(tmp_path / "real", environment) | {
        "CI": "true",
        "KEDRO_OTEL_EPHEMERAL": "auto",
    }
    kedro(real, project(), "run")
    eventually(
        lambda: total(stack, "kedro_commands_total", service),
        lambda found: found == number + 1,
        seconds=60,
    )
    eventually(
        lambda: total(stack, "kedro_pipeline_runs_total", service),
        lambda found: found == number + 1,
        seconds=60,
    )
    for metric in ("kedro_commands_total", "kedro_pipeline_runs_total"):
        wrong = stack.prometheus.query(
            f'sum by (instance) (last_over_time({metric}{{job="{service}"}}[30d])) != 1'
        )
        assert wrong == [], metric
        assert total(stack, metric, service) == number + 1
    per_job = stack.prometheus.query(
        f'count by (instance) (last_over_time({{job="{service}", __name__=~"kedro_.+"}}[30d]))'
    )
    assert len(per_job) == number + 1
    assert max(float(row["value"][1]) for row in per_job) <= 12


def test_what_was_recorded_while_the_collector_was_down_arrives_by_ship_alone(
    stack: Stack, service: str, environment, tmp_path, home, full, project
):
    """A night without a collector: `kedro otel ship` delivers all of it, and what was recorded before there was an endpoint stays."""
    number = 1000 if full else 100
    user = installation(home.parent, environment)
    without = {key: value for key, value in user.items() if key != "OTEL_EXPORTER_OTLP_ENDPOINT"}
    path = project()
    kedro(without, path, "info")
    stack.collector.kill()
    record(home / "recordings", service, number - 2)
    kedro(user, path, "--version")
    kedro(user, path, "run")
    stack.collector.start()
    kedro(user, path, "otel", "ship")
    eventually(
        lambda: total(stack, "kedro_commands_total", service),
        lambda found: found == number,
        seconds=60,
    )
    names_ = Counter(
        span["operationName"]
        for span in eventually(
            lambda: stack.jaeger.spans(service), lambda found: len(found) == number + 1
        )
    )
    assert names_["kedro info"] == 0


def test_a_run_is_in_jaeger_with_names_at_run_and_without_at_usage(
    stack: Stack, service: str, environment, project, home
):
    """At run detail: command, run, nodes, datasets, with names; at usage nothing but what telemetry.md marks so."""
    path = project()
    user = installation(home.parent, environment)
    kedro(user, path, "run")
    kedro({**user, "KEDRO_OTEL_DETAIL": "run"}, path, "run")
    kedro(user, path, "otel", "ship")
    whole = [2, 12]  # the run of the second may be sent while it runs, so its trace grows
    traces = eventually(
        lambda: stack.jaeger.traces(service),
        lambda found: sorted(len(trace["spans"]) for trace in found) == whole,
    )
    small, large = sorted(traces, key=lambda trace: len(trace["spans"]))
    allowed = {field.key for field in FIELDS if field.detail == names.USAGE}
    jaegers_own = {
        "span.kind",
        "otel.scope.name",
        "otel.scope.version",
        "internal.span.format",
        "error",
        "otel.status_code",
    }
    assert sorted(span["operationName"] for span in small["spans"]) == ["kedro run", "run"]
    assert {tag for span in small["spans"] for tag in tags(span)} <= allowed | jaegers_own
    process = {row["key"] for row in small["processes"]["p1"]["tags"]}
    assert process <= allowed
    assert Counter(span["operationName"].split()[0] for span in large["spans"]) == {
        "kedro": 1,
        "run": 1,
        "node": 3,
        "load": 4,
        "save": 3,
    }
    node = next(tags(span) for span in large["spans"] if span["operationName"] == "node shout")
    assert (node[names.NODE_NAME], node[names.FUNCTION_NAME]) == ("shout", "minimal.nodes.shout")


SLOW = """
import time

def greet(name):
    time.sleep(1.5)
    return name

def shout(greeting):
    time.sleep(1.5)
    return greeting

def tell(shouted, fail):
    time.sleep(60)
"""


def test_a_run_is_seen_node_by_node_and_its_death_within_seconds(
    stack: Stack, service: str, environment, project, home
):
    """While it runs the finished nodes are in Jaeger; killed, it is red within seconds and names the node it died in."""
    user = installation(home.parent, environment) | {"KEDRO_OTEL_DETAIL": "run"}
    running = subprocess.Popen(
        [BIN / "kedro", "run"],
        cwd=project(nodes=SLOW),
        env=user,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def seen() -> dict[str, Any]:
        return {span["operationName"]: tags(span) for span in stack.jaeger.spans(service)}

    try:
        eventually(seen, lambda found: "node greet" in found, seconds=30)
        assert running.poll() is None
        assert "node shout" not in seen()
        eventually(seen, lambda found: "node shout" in found, seconds=15)
        assert running.poll() is None
        time.sleep(1)
    finally:
        running.kill()
        running.wait()
    began = time.monotonic()
    found = eventually(
        seen, lambda found: "kedro run" in found and "node tell" in found, seconds=20
    )
    assert time.monotonic() - began < 10
    assert found["node tell"][names.ERROR_TYPE] == names.PROCESS_DIED
    assert found["node tell"]["error"]
    assert "error" not in found["node shout"]


def test_over_grpc(stack: Stack, service: str, environment, project, home):
    """The same by OTEL_EXPORTER_OTLP_PROTOCOL=grpc."""
    user = installation(home.parent, environment)
    user |= {
        "OTEL_EXPORTER_OTLP_ENDPOINT": stack.collector.otlp_grpc,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    }
    kedro(user, project(), "run")
    eventually(lambda: total(stack, "kedro_pipeline_runs_total", service), lambda found: found == 1)
    eventually(lambda: stack.jaeger.spans(service), lambda found: len(found) == 2)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_over_tls_with_a_private_authority_and_client_certificates(
    stack: Stack, service: str, environment, project, home, tmp_path, protocol, authority
):
    """mTLS: the collector wants a certificate of ours, we trust its authority alone; without ours nothing is accepted and it says why."""
    from servers import Collector

    collector = Collector(
        tmp_path / "tls", jaeger=stack.jaeger.otlp_grpc, prometheus=stack.prometheus.otlp
    )
    tls = f"{{cert_file: {authority / 'server.pem'}, key_file: {authority / 'server.key'}, client_ca_file: {authority / 'ca.pem'}}}"
    collector.overlays.append(
        f"receivers: {{otlp: {{protocols: {{grpc: {{tls: {tls}}}, http: {{tls: {tls}}}}}}}}}\n"
    )
    collector.start()
    try:
        url = (collector.otlp_grpc if protocol == "grpc" else collector.otlp_http).replace(
            "http://", "https://"
        )
        user = installation(home.parent, environment) | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        }
        user["OTEL_EXPORTER_OTLP_CERTIFICATE"] = str(authority / "ca.pem")
        path = project()
        doctor = [BIN / "kedro", "otel", "doctor"]
        refused = subprocess.run(
            doctor, env=user, cwd=path, capture_output=True, text=True, check=False
        )
        assert refused.returncode == 1
        user |= {"OTEL_EXPORTER_OTLP_CLIENT_KEY": str(authority / "client.key")}
        user |= {"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(authority / "client.pem")}
        kedro(user, path, "otel", "doctor")
        kedro(user, path, "run")
        eventually(
            lambda: total(stack, "kedro_pipeline_runs_total", service), lambda found: found == 1
        )
        eventually(lambda: stack.jaeger.spans(service), lambda found: len(found) == 2)
    finally:
        collector.stop()


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_token_opens_the_collector_and_a_wrong_one_is_held(
    stack: Stack, service: str, environment, project, home, tmp_path, protocol
):
    """The collector's own bearertokenauth: held with a wrong token, nothing lost, all there with the right one."""
    from servers import Collector

    collector = Collector(
        tmp_path / "auth",
        jaeger=stack.jaeger.otlp_grpc,
        prometheus=stack.prometheus.otlp,
        token="right",
    )
    collector.start()
    try:
        url = collector.otlp_grpc if protocol == "grpc" else collector.otlp_http
        user = installation(home.parent, environment) | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        }
        user["OTEL_EXPORTER_OTLP_HEADERS"] = "Authorization=Bearer%20wrong"
        path = project()
        kedro(user, path, "run")
        held = subprocess.run(
            [BIN / "kedro", "otel", "ship"],
            env=user,
            cwd=path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert held.returncode == 1
        assert "401" in held.stderr or "UNAUTHENTICATED" in held.stderr
        user["OTEL_EXPORTER_OTLP_HEADERS"] = "Authorization=Bearer%20right"
        kedro(user, path, "otel", "ship")
        eventually(
            lambda: total(stack, "kedro_pipeline_runs_total", service), lambda found: found == 1
        )
        eventually(lambda: stack.jaeger.spans(service), lambda found: len(found) == 2)
    finally:
        collector.stop()


def test_from_packages_installed_for_a_user(
    stack: Stack, service: str, environment, project, home, tmp_path, full
):
    """`pip install --user`, by a Python that is no environment: `kedro run` is delivered, though the shipper ignores the user's site folder.

    At full size pip installs everything that way; otherwise this package alone, beside links to what it needs.
    """
    python = getattr(sys, "_base_executable", sys.executable)
    user = installation(home.parent, environment) | {
        "PYTHONUSERBASE": str(tmp_path / "userbase"),
        "KEDRO_OTEL_SHIP": "background",
    }
    user["PATH"] = os.pathsep.join([str(tmp_path / "userbase/bin"), os.defpath])
    del user["KEDRO_OTEL_HOME"]

    def ask(*words: str | Path, cwd: Path = tmp_path, **more: str) -> str:
        return subprocess.run(
            words, env={**user, **more}, cwd=cwd, capture_output=True, text=True, check=True
        ).stdout.strip()

    ask(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=ROOT)
    site = Path(ask(python, "-c", "import site; print(site.getusersitepackages())"))
    pip = (
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
    )  # that Python need not have a pip of its own
    install = (*pip, "install", "--quiet", "--user", "--no-warn-script-location")
    wheel = next(tmp_path.glob("*.whl"))
    if full:
        ask(*install, wheel, "kedro-datasets[json]", **PIP)
        ask(
            *pip, "uninstall", "--quiet", "--yes", "kedro-telemetry", **PIP
        )  # brought along by Kedro; nothing here is for its vendor
    else:
        ask(*install, "--no-deps", "--no-index", wheel, PIP_BREAK_SYSTEM_PACKAGES="1")
        for entry in Path(sysconfig.get_path("purelib")).iterdir():
            if not OURS.match(entry.name) and not (site / entry.name).exists():
                (site / entry.name).symlink_to(entry)
        script = tmp_path / "userbase/bin/kedro"
        script.parent.mkdir(exist_ok=True)
        script.write_text(f"#!{python}\n{(BIN / 'kedro').read_text().partition(chr(10))[2]}")
        script.chmod(0o755)
    assert ask(python, "-c", "import kedro_otel; print(kedro_otel.__file__)") == str(
        site / "kedro_otel" / "__init__.py"
    )
    ask(tmp_path / "userbase/bin/kedro", "run", cwd=project())
    eventually(lambda: total(stack, "kedro_pipeline_runs_total", service), lambda found: found == 1)
    eventually(lambda: stack.jaeger.spans(service), lambda found: len(found) == 2)
    assert total(stack, "kedro_pipeline_runs_total", service) == 1
    assert sorted(span["operationName"] for span in stack.jaeger.spans(service)) == [
        "kedro run",
        "run",
    ]


def test_doctor_tells_the_ports_apart(stack: Stack, service: str, environment, project, home):
    """HTTP sent to the port for gRPC, and gRPC to the one for HTTP: wrong protocol, and what to type."""
    path = project()
    user = installation(home.parent, environment)
    for url, protocol in (
        (stack.collector.otlp_grpc, "http/protobuf"),
        (stack.collector.otlp_http, "grpc"),
    ):
        wrong = {
            **user,
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        }
        done = subprocess.run(
            [BIN / "kedro", "otel", "doctor"],
            env=wrong,
            cwd=path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert done.stdout.count("wrong protocol") == 2, done.stdout


def _post(url: str, data: bytes) -> tuple[int, bytes]:
    from servers import request

    return request(url, data, {"Content-Type": "application/x-protobuf"})


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a private authority's certificate, one for a server on loopback, and one for a client."""
    folder = tmp_path_factory.mktemp("authority")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    def new(name: str) -> tuple[str, ...]:
        return (
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            f"{name}.key",
            "-subj",
            f"/CN={name}",
        )

    openssl(
        "req",
        "-x509",
        *new("ca"),
        "-out",
        "ca.pem",
        "-days",
        "2",
        "-addext",
        "basicConstraints=critical,CA:TRUE",
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
    )
    # Python 3.13 takes no certificate without the identifier of the key that signed it.
    (folder / "names").write_text(
        "subjectAltName=IP:127.0.0.1,DNS:localhost\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    )
    for name in ("server", "client"):
        openssl("req", *new(name), "-out", f"{name}.csr")
        openssl(
            "x509",
            "-req",
            "-in",
            f"{name}.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-out",
            f"{name}.pem",
            "-days",
            "2",
            "-extfile",
            "names",
        )
    return folder
