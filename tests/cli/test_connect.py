"""``kedro otel connect``, ``disconnect``, ``doctor`` and ``ship``, as typed."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from loopback import Loopback, drip, hang, loopback, lose, partial_points, refuse, reset

from kedro_otel.cli import otel
from kedro_otel.config import paths, toml_file
from kedro_otel.semconv import names
from kedro_otel.shipping.process import interpreter
from servers import Jaeger, Prometheus, eventually

__all__ = ["loopback"]


def user_file() -> dict[str, object]:
    """Return what the user's settings file says."""
    found = toml_file.read(paths.user_config())
    assert found is not None
    return found


def answer(text: str) -> dict[str, object]:
    """Return the JSON object that a command printed; Kedro may have logged before it."""
    found: dict[str, object] = json.loads(
        text[text.index("\n{") if not text.startswith("{") else 0 :]
    )
    return found


def test_connect_tests_shows_and_saves(kedro, loopback: Loopback):
    """Both signals are tried, what leaves is shown at usage and at run, and the endpoint is in the user's own file, 0600."""
    done = kedro("otel", "connect", loopback.url)
    assert done.out.count("accepted") == 2
    for word in (
        "usage",
        "run",
        names.COMMAND_NAME,
        names.NODE_NAME,
        f"kedro otel connect {loopback.url} --detail run",
    ):
        assert word in done.out
    assert user_file() == {"endpoint": loopback.url}
    assert oct(paths.user_config().stat().st_mode & 0o777) == "0o600"
    assert {request.signal for request in loopback.requests} == {"traces", "metrics"}
    assert loopback.resources()[0]["service.name"] == "kedro-otel-doctor"
    assert "app.installation.id" not in loopback.resources()[0]


def test_after_connect_a_run_arrives_and_after_disconnect_none(kedro, loopback: Loopback, project):
    """From the next command on it is sent; disconnected, nothing is, and recording goes on."""
    path = project()
    kedro("otel", "connect", loopback.url, "--detail", "run")
    kedro("run", cwd=path, env={"KEDRO_OTEL_SHIP": "wait", "KEDRO_OTEL_SHIP_TIMEOUT": "30"})
    assert loopback.span_names()["node shout"] == 1
    loopback.requests.clear()
    done = kedro("otel", "disconnect")
    assert "on this machine only" in done.out
    assert user_file() == {}
    kedro("run", cwd=path, env={"KEDRO_OTEL_SHIP": "wait"})
    time.sleep(0.5)
    assert loopback.requests == []
    assert len(list(paths.recordings().glob("0*.jsonl"))) == 2


def test_an_endpoint_that_does_not_answer_is_not_saved_unless_asked(kedro):
    """A typing error is found at once; --untested saves it all the same."""
    done = kedro("otel", "connect", "http://127.0.0.1:1", code=1)
    assert done.err.count("unreachable") == 2
    assert "--untested" in done.err
    assert user_file() == {}
    kedro("otel", "connect", "http://127.0.0.1:1", "--untested")
    assert user_file() == {"endpoint": "http://127.0.0.1:1"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("localhost:4318",), "--protocol grpc"),
        (("ftp://localhost",), "URL must be"),
        (("http://localhost", "--header", "Authorization=secret"), "NAME=env:VARIABLE"),
        (("http://localhost", "--header", "env:X"), "NAME=env:VARIABLE"),
        (("http://localhost", "--detail", "everything"), "--detail"),
        (("http://localhost", "--protocol", "http/json"), "--protocol"),
        ((), "URL"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(kedro, words, said):
    """Exit code 2, one reason, nothing saved; a secret is not taken from a command line."""
    done = kedro("otel", "connect", *words, code=2)
    assert said in done.err
    assert not paths.user_config().exists()


def typed(*words: str, code: int = 0, **environ: str) -> Result:
    """Type ``kedro otel …`` in this process."""
    done = CliRunner().invoke(otel, words, env=environ)
    assert done.exit_code == code, (done.output, done.exception)
    return done


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://localhost:4318/v1/traces", "Type: kedro otel connect http://localhost:4318"),
        ("http://localhost:4318/x/v1/metrics/", "Type: kedro otel connect http://localhost:4318/x"),
        ('"http://localhost:4318"', "quotation marks"),
        ("grpc://localhost:4317", "--protocol grpc"),
        ("http:///v1", "names no host"),
        ("http://ana:pa/CANARY@host", "not percent-encoded"),
        ("http://ana:pa?CANARY@host:4318", "not percent-encoded"),
        ("http://ana:pa#CANARY@host", "not percent-encoded"),
        ("http://ana:CANARY/4@host", "not percent-encoded"),
        ("http://:4318", "names no host"),
    ],
)
def test_a_mistake_in_an_address_has_its_own_sentence(environment, address, said):
    """Connect refuses it; doctor says it of the environment's."""
    assert said in typed("connect", address, code=2).stderr
    assert not paths.user_config().exists()
    diagnosis = typed(
        "doctor", code=1, OTEL_EXPORTER_OTLP_ENDPOINT=address.replace("localhost", "127.0.0.1")
    ).stdout
    assert (said if "Type:" not in said else "signal's own path") in diagnosis


def test_a_value_that_cannot_be_sent_is_named(environment, loopback: Loopback):
    """The header at fault by its name, what stands for a name by its number, milliseconds for seconds."""
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": loopback.url}
    for headers, said in {
        "x-b=1,x-a=ключ": "the value of x-a has a character",
        "x-b=1,Bearer abc": "number 2 has no such name",
        "x-a=env:KEY": "variable KEY, which has a character",
        "x-a=env:NONE": "variable NONE, which is not set",
    }.items():
        found = typed(
            "doctor", KEY="ключ", OTEL_EXPORTER_OTLP_HEADERS=headers, code=0, **env
        ).stdout
        assert said in found
        assert "abc" not in found
    assert (
        "taken for milliseconds" in typed("doctor", OTEL_EXPORTER_OTLP_TIMEOUT="5000", **env).stdout
    )


def test_connect_sends_the_headers_that_doctor_sends(environment, loopback: Loopback):
    """The environment's, with `env:NAME` in them resolved; and a file's headers as text give way to a table."""
    env = {"OTEL_EXPORTER_OTLP_HEADERS": "x-a=env:KEY,x-b=2", "KEY": "1"}
    typed("connect", loopback.url, **env)
    typed("doctor", **env)
    assert [
        (request.headers["x-a"], request.headers["x-b"]) for request in loopback.requests
    ] == 4 * [("1", "2")]
    paths.user_config().write_text('headers = "x-a=1"\n')
    typed("connect", loopback.url, "--header", "x-c=env:KEY", KEY="3")
    assert user_file() == {"endpoint": loopback.url, "headers": {"x-c": "env:KEY"}}


def test_connect_saves_what_is_taken(environment, loopback: Loopback):
    """Of a receiver that takes one signal, that one is saved and the other named; asked again, both count again."""
    loopback.always["metrics"] = 404
    done = typed("connect", loopback.url)
    assert "No metrics will be sent" in done.stderr
    assert user_file() == {"endpoint": loopback.url, "metrics_exporter": "none"}
    typed("doctor")
    paths.user_config().unlink()
    typed("connect", loopback.url, OTEL_METRICS_EXPORTER="none")
    assert user_file() == {"endpoint": loopback.url}
    typed("connect", loopback.url, "--traces-only")
    assert user_file() == {"endpoint": loopback.url, "metrics_exporter": "none"}
    del loopback.always["metrics"]
    typed("connect", loopback.url)
    assert user_file() == {"endpoint": loopback.url}
    loopback.requests.clear()
    typed("connect", loopback.url, "--metrics-only")
    assert {request.signal for request in loopback.requests} == {"metrics"}
    for refusal in (503, 401, hang):
        loopback.always["metrics"] = refusal
        typed("connect", loopback.url, code=1, OTEL_EXPORTER_OTLP_TIMEOUT="1")
    assert user_file() == {"endpoint": loopback.url, "traces_exporter": "none"}
    loopback.always.update(traces=404, metrics=404)
    typed("connect", loopback.url, code=1)
    assert "exclude" in typed("connect", "x", "--traces-only", "--metrics-only", code=2).stderr


@pytest.mark.servers
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_jaeger_alone_will_do(environment, kedro, project, jaeger: Jaeger, protocol):
    """It takes traces; they arrive after a plain `connect`."""
    address = jaeger.otlp_http if protocol != "grpc" else f"http://{jaeger.otlp_grpc}"
    done = typed("connect", address, "--protocol", protocol)
    assert "No metrics will be sent" in done.stderr
    kedro("run", cwd=project(), env={"KEDRO_OTEL_SHIP": "wait", "KEDRO_OTEL_SHIP_TIMEOUT": "30"})
    eventually(lambda: any(span["operationName"] == "run" for span in jaeger.spans()))


@pytest.mark.servers
def test_prometheus_alone_will_do(environment, kedro, project, prometheus: Prometheus):
    """It takes counters at its OTLP receiver; they arrive after a plain `connect`."""
    assert "No traces will be sent" in typed("connect", prometheus.otlp).stderr
    kedro("run", cwd=project(), env={"KEDRO_OTEL_SHIP": "wait", "KEDRO_OTEL_SHIP_TIMEOUT": "30"})
    eventually(lambda: prometheus.value("sum(kedro_commands_total)") == 1)


def test_a_header_is_taken_from_the_environment_and_never_written(kedro, loopback: Loopback):
    """The file holds the variable's name, the receiver gets its value, a new endpoint gets neither."""
    secret = {"OTLP_TOKEN": "Bearer canary"}
    done = kedro(
        "otel", "connect", loopback.url, "--header", "Authorization=env:OTLP_TOKEN", env=secret
    )
    assert user_file() == {"endpoint": loopback.url, "headers": {"authorization": "env:OTLP_TOKEN"}}
    assert "canary" not in done.out + done.err + paths.user_config().read_text()
    assert {request.headers["authorization"] for request in loopback.requests} == {"Bearer canary"}
    other = Loopback()
    try:
        kedro("otel", "connect", other.url, env=secret)
        assert user_file() == {"endpoint": other.url, "headers": {}}
        assert {request.headers.get("authorization") for request in other.requests} == {None}
    finally:
        other.close()


def test_connect_keeps_comments_and_other_settings(kedro, loopback: Loopback):
    """Only its own keys change."""
    paths.user_config().parent.mkdir(parents=True)
    paths.user_config().write_text(
        '# mine\nmax_age_days = 7\nendpoint = "http://old:4318"\ntraces_endpoint = "http://old:4318/x"\n'
    )
    kedro("otel", "connect", loopback.url)
    assert (
        paths.user_config().read_text()
        == f'# mine\nmax_age_days = 7\nendpoint = "{loopback.url}"\n'
    )


def test_disconnect_where_nothing_is_connected_changes_nothing(kedro):
    """Who sends nothing is told so, and no file is made."""
    assert "nothing was changed" in kedro("otel", "disconnect").out
    assert not paths.user_config().exists()


def test_connect_over_an_environment_says_what_counts(kedro, loopback: Loopback):
    """What is saved and not in force is told."""
    done = kedro(
        "otel",
        "connect",
        loopback.url,
        env={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://elsewhere:4318"},
    )
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in done.err
    done = kedro(
        "otel", "disconnect", env={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://elsewhere:4318"}, code=1
    )
    assert "http://elsewhere:4318" in done.err


def test_where_telemetry_is_off_nothing_is_sent_by_any_of_them(kedro, loopback: Loopback):
    """Off means off: connect saves and says so, doctor and ship send nothing."""
    off = {"KEDRO_OTEL_ENABLED": "false", "OTEL_EXPORTER_OTLP_ENDPOINT": loopback.url}
    assert "kedro otel on" in kedro("otel", "connect", loopback.url, env=off).err
    assert "KEDRO_OTEL_ENABLED=false" in kedro("otel", "doctor", env=off, code=1).out
    assert "KEDRO_OTEL_ENABLED=false" in kedro("otel", "ship", env=off, code=1).err
    assert loopback.requests == []


def test_doctor_says_all_is_well(kedro, loopback: Loopback):
    """Accepted twice, the settings with their origin, exit code 0."""
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": loopback.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-token=canary",
    }
    done = kedro("otel", "doctor", env=env)
    assert done.out.count("accepted") == 2
    assert f"endpoint  {loopback.url}  (environment OTEL_EXPORTER_OTLP_ENDPOINT)" in done.out
    assert "All is well" in done.out
    found = answer(kedro("otel", "doctor", "--json", env=env).out)
    assert found["well"] is True
    assert found["signals"]["traces"] == {
        "address": f"{loopback.url}/v1/traces",
        "result": "accepted",
        "answer": "200",
    }  # type: ignore[index]
    assert "canary" not in done.out + json.dumps(found)


@pytest.mark.parametrize(
    ("act", "result"),
    [
        (401, "rejected"),
        (404, "rejected"),
        (302, "rejected"),
        (503, "rejected"),
        (hang, "unreachable"),
        (reset, "unreachable"),
    ],
)
def test_doctor_tells_how_it_fails(kedro, loopback: Loopback, act, result):
    """Each signal for itself: rejected with the answer, or unreachable; exit code 1 and what to do."""
    loopback.always["traces"] = act
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": loopback.url, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    found = answer(kedro("otel", "doctor", "--json", env=env, code=1).out)
    signals = found["signals"]
    assert (signals["traces"]["result"], signals["metrics"]["result"]) == (result, "accepted")  # type: ignore[index]
    assert not isinstance(act, int) or str(act) in signals["traces"]["answer"]  # type: ignore[index]
    assert len(found["do"]) == 1  # type: ignore[arg-type]


def test_doctor_recognises_a_port_for_http_behind_grpc(kedro, loopback: Loopback):
    """GRPC sent to a port that speaks HTTP is the wrong protocol."""
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": loopback.url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "2",
    }
    done = kedro("otel", "doctor", env=env, code=1)
    assert done.out.count("wrong protocol") == 2


CUMULATIVE = "cumulative monotonic sums are not supported"


@pytest.mark.parametrize(
    "act",
    [
        partial_points(1, CUMULATIVE),
        refuse(400, {"Content-Type": "text/plain"}, CUMULATIVE.encode()),
    ],
)
def test_a_backend_that_takes_deltas_only_is_named(kedro, loopback: Loopback, act):
    """Doctor and, after a command, status have its words and what to do, whether it answers 400 or with a partial success."""
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": loopback.url,
        "KEDRO_OTEL_SHIP": "wait",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
    }
    loopback.always["metrics"] = act
    said = kedro("otel", "doctor", env=env, code=1).out
    assert "metrics  rejected" in said
    kedro("info", env=env)
    for text in (said, kedro("otel", "status", env=env).out):
        assert CUMULATIVE in text
        assert "cumulativetodelta" in text
        assert "delta is not honoured" in text


def test_doctor_asks_as_what_ships_asks(kedro, loopback: Loopback, tmp_path):
    """With its interpreter, packages and environment: what is only in the command's process neither helps nor hinders."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['requests'] = None")
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": loopback.url,
        "PYTHONPATH": str(tmp_path),
        "KEDRO_OTEL_SHIP": "wait",
    }
    assert kedro("otel", "doctor", env=env).out.count("accepted") == 2
    kedro("info", env=env)
    assert loopback.span_names()["kedro info"] == 1


def test_doctor_says_that_nothing_here_can_send(environment, loopback: Loopback, monkeypatch):
    """Where no Python interpreter is found for what ships, nobody is asked, and nothing is well."""
    monkeypatch.setattr(interpreter, "_candidates", lambda: iter(["/bin/true"]))
    done = typed("doctor", code=1, OTEL_EXPORTER_OTLP_ENDPOINT=loopback.url).stdout
    assert done.count("not started") == 2
    assert "no Python interpreter" in done
    assert "All is well" not in done
    assert not loopback.requests


def test_doctor_without_an_endpoint_says_what_to_type(kedro):
    """Nothing leaves this machine, and how to change that."""
    done = kedro("otel", "doctor", code=1)
    assert "kedro otel connect URL" in done.out


def test_ship_without_an_endpoint_says_what_to_type(kedro):
    """Exit code 1."""
    assert "kedro otel connect URL" in kedro("otel", "ship", code=1).err


def test_ship_delivers_and_says_what(kedro, loopback: Loopback, project):
    """Everything recorded for the endpoint goes; again there is nothing; a command before the endpoint stays."""
    path = project()
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": loopback.url, "KEDRO_OTEL_SHIP": "manual"}
    kedro("info", cwd=path)
    kedro("run", cwd=path, env=env)
    assert loopback.requests == []
    assert "2 spans" in kedro("otel", "ship", cwd=path, env=env).out
    assert "Nothing new" in kedro("otel", "ship", cwd=path, env=env).out
    assert loopback.span_names() == Counter({"kedro run": 1, "run": 1})
    assert "1 spans" in kedro("otel", "ship", "--all", cwd=path, env=env).out
    assert loopback.span_names()["kedro info"] == 1


def test_ship_says_what_is_held_and_why(kedro, loopback: Loopback, project):
    """Exit code 1, one line: what, where to, why, where it is kept, what to type."""
    path = project()
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": loopback.url, "KEDRO_OTEL_SHIP": "manual"}
    kedro("info", cwd=path, env=env)
    loopback.always["traces"] = refuse(403, {"Content-Type": "text/plain"}, b"not for you")
    done = kedro("otel", "ship", cwd=path, env=env, code=1)
    for word in (
        "spans of 1 recording",
        "403: not for you",
        loopback.url,
        str(paths.home()),
        "kedro otel ship",
    ):
        assert word in done.err
    assert len(done.err.strip().splitlines()) == 1
    loopback.always["traces"] = refuse(
        400, {"Content-Type": "application/json"}, b'{"code":3,"message":"never"}'
    )
    done = kedro("otel", "ship", cwd=path, env=env, code=1)
    assert "1 refused for good (400: never)" in done.err
    shipped = answer(kedro("otel", "status", "--json", env=env).out)["shipped"]
    assert shipped[0]["lost"] == {"spans refused": 1}  # type: ignore[index]


def test_console_prints_where_a_person_asks_and_nothing_leaves(kedro, loopback: Loopback, project):
    """OTEL_TRACES_EXPORTER=console: the command prints what it prints without, `ship` the traces of the last command, and no trace leaves."""
    path = project(files={"conf/logging.yml": "version: 1"})
    env = {"KEDRO_LOGGING_CONFIG": str(path / "conf/logging.yml"), "KEDRO_OTEL_SHIP": "manual"}
    console = {**env, "OTEL_TRACES_EXPORTER": "console"}
    kedro("info", cwd=path, env=env)
    assert kedro("run", cwd=path, env=console)[2:] == kedro("run", cwd=path, env=env)[2:]
    done = kedro("otel", "ship", cwd=path, env=console)
    (message,) = map(json.loads, done.out.splitlines())
    spans = [
        span["name"]
        for scope in message["resourceSpans"][0]["scopeSpans"]
        for span in scope["spans"]
    ]
    assert sorted(spans) == ["kedro run", "run"]
    shown = kedro(
        "otel",
        "export",
        "last",
        "--as-sent",
        cwd=path,
        env={**console, "OTEL_METRICS_EXPORTER": "none"},
    ).out
    assert (
        json.loads(shown)["resourceSpans"][0]["scopeSpans"]
        == message["resourceSpans"][0]["scopeSpans"]
    )  # nothing sent: instance ids are free yet
    assert (
        done.err
        == "kedro-otel: traces_exporter is console (environment OTEL_TRACES_EXPORTER): no traces leave this machine\n"
    )
    sending = {**console, "OTEL_EXPORTER_OTLP_ENDPOINT": loopback.url}
    kedro("run", cwd=path, env=sending)
    done = kedro("otel", "ship", cwd=path, env=sending)
    assert set(json.loads(done.out)) == {"resourceSpans"}
    assert "Delivered to" in done.err
    assert (loopback.of("traces"), loopback.total("kedro.commands")) == ([], 1)


def test_console_beside_otlp_sends_and_prints(kedro, loopback: Loopback, project):
    """A list of both: delivered as ever, and printed too, as often as asked; stdout has nothing but the messages."""
    path = project(files={"conf/logging.yml": "version: 1"})
    both = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": loopback.url,
        "OTEL_TRACES_EXPORTER": "otlp,console",
        "OTEL_METRICS_EXPORTER": "console,otlp",
    }
    env = {
        "KEDRO_LOGGING_CONFIG": str(path / "conf/logging.yml"),
        "KEDRO_OTEL_SHIP": "manual",
        **both,
    }
    kedro("info", cwd=path, env=env)
    for said in ("Delivered to", "Nothing new"):
        done = kedro("otel", "ship", cwd=path, env=env)
        assert {key for line in done.out.splitlines() for key in json.loads(line)} == {
            "resourceSpans",
            "resourceMetrics",
        }
        assert said in done.err
    assert loopback.span_names() == Counter({"kedro info": 1})
    assert loopback.total("kedro.commands") == 1


def test_what_the_lists_of_exporters_keep_here_is_said(kedro, loopback: Loopback):
    """Status, doctor and connect say which signal does not leave and why; doctor asks the receiver about the other alone."""
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": loopback.url,
        "OTEL_TRACES_EXPORTER": "console",
        "KEDRO_OTEL_SHIP": "manual",
    }
    said = "traces_exporter is console (environment OTEL_TRACES_EXPORTER): no traces leave this machine; to print those of the last command:"
    assert said in kedro("otel", "status", env=env).out
    assert said in kedro("otel", "doctor", env=env).out
    assert said in kedro("otel", "connect", loopback.url, env=env).err
    assert loopback.of("traces", accepted=False) == []  # connect tries what will leave
    env["OTEL_METRICS_EXPORTER"] = "none"
    done = kedro("otel", "doctor", env=env, code=1)
    assert said in done.out
    assert (
        "metrics_exporter is none (environment OTEL_METRICS_EXPORTER): no metrics leave this machine"
        in done.out
    )
    assert "No endpoint" not in done.out + kedro("otel", "status", env=env).out
    assert (
        "metrics_exporter is none"
        in kedro("otel", "ship", env={**env, "OTEL_TRACES_EXPORTER": "none"}, code=1).err
    )


@pytest.mark.parametrize(
    "act",
    [hang, drip, reset, lose, 200, 302, 400, 401, 429, 503, None],
    ids=lambda act: getattr(act, "__name__", str(act)),
)
def test_whatever_the_receiver_does_the_command_does_the_same(
    kedro, loopback: Loopback, project, act
):
    """Output and exit code are those without an endpoint, failing or not; where the machine stays nothing is waited for."""
    path = project()
    if act is None:
        loopback.close()
    else:
        loopback.always.update(traces=act, metrics=act)
    bare = {"KEDRO_LOGGING_CONFIG": str(quiet(path)), "KEDRO_OTEL_SHIP": "background"}
    words = ("run", "--params", "fail=true")
    without = kedro(*words, cwd=path, env=bare, code=1)
    began = time.monotonic()
    done = kedro(
        *words, cwd=path, env={**bare, "OTEL_EXPORTER_OTLP_ENDPOINT": loopback.url}, code=1
    )
    took = time.monotonic() - began
    assert (done.out, done.err) == (without.out, without.err)
    assert took < 30  # a receiver that never answers is not waited for without end


def quiet(path: Path) -> Path:
    """Write a logging configuration without times, and return where it is."""
    text = """
version: 1
disable_existing_loggers: false
formatters: {plain: {format: "%(levelname)s %(message)s"}}
handlers: {console: {class: logging.StreamHandler, formatter: plain, level: ERROR}}
root: {handlers: [console], level: ERROR}
"""
    file = path / "conf" / "logging.yml"
    file.write_text(text)
    return file
