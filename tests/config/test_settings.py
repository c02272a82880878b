"""Every knob: where its value comes from, and who may turn it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry.util.re import parse_env_headers

from kedro_otel.config import destination, paths, settings
from kedro_otel.config.settings import load
from kedro_otel.config.user_file import UserFileError, save


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return ``site(text)``, which writes the settings file of the machine."""
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "site"))

    def write(text: str) -> None:
        paths.site_config().parent.mkdir(parents=True, exist_ok=True)
        paths.site_config().write_text(text)

    return write


def user(text: str) -> None:
    """Write the user's settings file."""
    paths.user_config().parent.mkdir(parents=True, exist_ok=True)
    paths.user_config().write_text(text)


def test_defaults() -> None:
    """With nothing said every setting has its default, and nothing is wrong."""
    found = load({})
    assert {setting.name: found.value(setting.name) for setting in settings.SETTINGS} == {
        one.name: one.default for one in settings.SETTINGS
    }
    assert {found.origin(setting.name) for setting in settings.SETTINGS} == {"default"}
    assert found.problems == []


def test_the_strongest_source_wins(site: Callable[[str], None]) -> None:
    """Environment beats the user's file, which beats the site's file; each value tells where it is from."""
    site('ship = "wait"\ntimeout = 1\nmax_segments = 5')
    user('ship = "background"\ntimeout = 2')
    found = load({"KEDRO_OTEL_SHIP": "Manual"})
    assert [found.value(name) for name in ("ship", "timeout", "max_segments")] == ["manual", 2.0, 5]
    assert found.origin("ship") == "environment KEDRO_OTEL_SHIP"
    assert found.origin("timeout") == f"user file {paths.user_config()}"
    assert found.origin("max_segments") == f"site file {paths.site_config()}"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("KEDRO_OTEL_SHIP", "sometimes"),
        ("KEDRO_OTEL_SHIP_TIMEOUT", "soon"),
        ("KEDRO_OTEL_SHIP_TIMEOUT", "-1"),
        ("KEDRO_OTEL_SHIP_TIMEOUT", "nan"),
        ("KEDRO_OTEL_MAX_BYTES", "1.5"),
        ("KEDRO_OTEL_MAX_BYTES", "64 MiB"),
        ("KEDRO_OTEL_DETAIL", "everything"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://host"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://host/with space"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "na me=x"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "name=a%0d%0ab"),
    ],
)
def test_a_bad_value_is_told_and_not_used(name: str, text: str) -> None:
    """A value that means nothing is one clear sentence, which does not repeat it, and the default stays."""
    found = load({name: text})
    assert len(found.problems) == 1
    assert name in found.problems[0]
    assert text not in found.problems[0]
    assert all(found.value(setting.name) == setting.default for setting in settings.SETTINGS)


def test_a_bad_value_gives_way_to_the_next_source() -> None:
    """Below a bad value the next source counts."""
    user('detail = "run"')
    assert load({"KEDRO_OTEL_DETAIL": "x"}).value("detail") == "run"


def test_files_that_are_no_toml_or_say_strange_things() -> None:
    """A broken file and a key that is no setting are told; nothing raises."""
    user("this is = not = toml")
    assert "cannot be read as TOML" in load({}).problems[0]
    user('colour = "red"\nhome = "/x"\ndetail = "run"')
    found = load({})
    assert [("'colour'" in problem, "'home'" in problem) for problem in found.problems] == [
        (True, False),
        (False, True),
    ]
    assert (found.value("detail"), found.value("home")) == ("run", None)


FORBIDDEN = {
    "endpoint": "'http://evil'",
    "traces_endpoint": "'http://evil'",
    "metrics_endpoint": "'http://evil'",
    "headers": "{a = 'b'}",
    "certificate": "'x.pem'",
    "client_key": "'x.pem'",
    "home": "'data'",
    "trace_url": "'http://evil/{trace_id}'",
    "ship": "'wait'",
    "ephemeral": "'true'",
    "max_bytes": "1",
    "detail": "'full'",
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_project_cannot_send_data_elsewhere(name: str, project: Callable[..., Path]) -> None:
    """A project's files set no endpoint, header, certificate or folder, and cannot widen the detail."""
    path = project(
        pyproject=f"[tool.kedro_otel]\n{name} = {FORBIDDEN[name]}\n",
        files={".env": "OTEL_EXPORTER_OTLP_ENDPOINT=http://evil\n"},
    )
    found = load({}, path)
    assert found.value(name) == settings.BY_NAME[name].default
    assert destination.current(found) is None
    assert bool(found.problems) == (name != "detail")


@pytest.mark.parametrize(
    ("said", "environ", "expected"),
    [
        ("usage", "full", "usage"),
        ("run", "full", "run"),
        ("full", "run", "run"),
        ("run", "", "usage"),
        ("gibberish", "full", "usage"),
    ],
)
def test_a_project_may_only_narrow_the_detail(
    said: str, environ: str, expected: str, project: Callable[..., Path]
) -> None:
    """A project lets less out than its user would, never more; what cannot be understood is the least."""
    path = project(pyproject=f"[tool.kedro_otel]\ndetail = '{said}'\n")
    assert load({"KEDRO_OTEL_DETAIL": environ}, path).value("detail") == expected


def test_a_project_may_name_the_service(project: Callable[..., Path]) -> None:
    """A project may say the service's name, unless its user does."""
    path = project(pyproject="[tool.kedro_otel]\nservice_name = 'ours'\n")
    assert (load({}, path).value("service_name"), load({}, path).origin("service_name")) == (
        "ours",
        "pyproject.toml",
    )
    assert load({"OTEL_SERVICE_NAME": "mine"}, path).value("service_name") == "mine"


def test_the_service_name_of_a_coding_agent_is_not_the_projects(
    project: Callable[..., Path],
) -> None:
    """The agent names itself, and each program that it starts inherits that; the project's name and an own setting hold."""
    path = project(pyproject="[tool.kedro_otel]\nservice_name = 'ours'\n")
    agent = {"CLAUDECODE": "1", "OTEL_SERVICE_NAME": "agent"}
    assert load(agent, path).value("service_name") == "ours"
    assert load(agent).value("service_name") == "kedro"
    named = {**agent, "KEDRO_OTEL_SERVICE_NAME": "mine"}
    assert load(named, path).value("service_name") == "mine"


def test_secrets_are_not_shown() -> None:
    """What status prints has neither a header's value nor the credentials in an address."""
    found = load(
        {
            "OTEL_EXPORTER_OTLP_HEADERS": "x-key=SECRET",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "https://me:SECRET@host/p?key=SECRET#SECRET",
        }
    )
    assert found.shown("headers") == {"x-key": "*****"}
    assert found.shown("endpoint") == "https://host/p"
    assert found.value("headers") == {"x-key": "SECRET"}


def test_destination_is_made_as_the_specification_says() -> None:
    """The general endpoint gets the signal's path, an own one is taken as it is, gRPC has no paths, `none` ships nothing."""
    general = destination.current(load({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://host:4318/"}))
    assert general is not None
    assert (general.traces, general.metrics, general.protocol) == (
        "http://host:4318/v1/traces",
        "http://host:4318/v1/metrics",
        "http/protobuf",
    )
    own = destination.current(
        load(
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://host",
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://other/x",
            }
        )
    )
    assert own is not None
    assert (own.traces, own.metrics) == ("http://other/x", "http://host/v1/metrics")
    grpc = destination.current(
        load({"OTEL_EXPORTER_OTLP_ENDPOINT": "host:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    )
    assert grpc is not None
    assert (grpc.traces, grpc.protocol) == ("host:4317", "grpc")
    half = destination.current(
        load({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://host", "OTEL_METRICS_EXPORTER": "none"})
    )
    assert half is not None
    assert half.metrics is None
    assert (
        destination.current(
            load(
                {
                    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://host",
                    "OTEL_METRICS_EXPORTER": "none",
                    "OTEL_TRACES_EXPORTER": "none",
                }
            )
        )
        is None
    )
    assert destination.current(load({})) is None


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("otlp", True),
        ("console,OTLP", True),
        ("console", False),
        ("none", False),
        ("nonsense", True),
    ],
)
def test_the_standard_list_of_exporters(said: str, meant: bool) -> None:
    """Traces are shipped if `otlp` is in the list; a word that is no exporter counts as nothing said."""
    found = destination.current(
        load({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://host", "OTEL_TRACES_EXPORTER": said})
    )
    assert found is not None
    assert (found.traces is not None) == meant


@pytest.mark.parametrize(("said", "meant"), [("1", "true"), ("off", "false"), ("AUTO", "auto")])
def test_yes_and_no_in_every_spelling(said: str, meant: str) -> None:
    """A choice that is yes, no or auto takes every spelling of yes and no."""
    assert load({"KEDRO_OTEL_EPHEMERAL": said}).value("ephemeral") == meant


def test_destination_id_depends_on_the_receiver_and_the_credentials() -> None:
    """The spelling of the host does not change which destination it is; path, port, protocol and credentials do."""

    def id_of(address: str, **more: str) -> str:
        found = destination.current(load({"OTEL_EXPORTER_OTLP_ENDPOINT": address, **more}))
        assert found is not None
        return found.id

    same = {
        id_of(address)
        for address in (
            "http://host:4318",
            "http://HOST:4318/",
            "HTTP://host:4318#x",
        )
    }
    assert len(same) == 1
    assert len(same.pop()) == 16
    assert (
        len(
            {
                id_of("http://host:4318"),
                id_of("http://host:4319"),
                id_of("http://host:4318/x"),
                id_of("http://host:4318", OTEL_EXPORTER_OTLP_PROTOCOL="grpc"),
                id_of("http://a:b@host:4318"),
                id_of("http://host:4318?key=1"),
            }
        )
        == 6
    )


def test_a_token_in_a_file_goes_only_where_that_file_says(site: Callable[[str], None]) -> None:
    """A header of a file is sent to that file's endpoint, or to one of a weaker source, never to one that the environment names."""
    user("endpoint = 'https://mine'\n[headers]\nx-token = 'env:TOKEN'\nx-gone = 'env:GONE'\n")
    found = load({"TOKEN": "T"})
    signal = destination.signal(found, "traces")
    assert signal is not None
    assert (signal.url, signal.headers) == ("https://mine/v1/traces", {"x-token": "T"})
    assert (
        [problem for problem in destination.problems(found) if "GONE" in problem]
        == destination.problems(found)
        != []
    )
    elsewhere = destination.signal(
        load({"TOKEN": "T", "OTEL_EXPORTER_OTLP_ENDPOINT": "https://other"}), "traces"
    )
    assert elsewhere is not None
    assert elsewhere.headers == {}
    site("endpoint = 'https://company'\n")
    user("[headers]\nx-token = 'plain'\n")
    company = destination.signal(load({}), "metrics")
    assert company is not None
    assert (company.url, company.headers) == ("https://company/v1/metrics", {"x-token": "plain"})


def test_the_environments_general_endpoint_beats_a_files_own() -> None:
    """An endpoint in the environment takes both signals, whatever a file says of one of them."""
    user("traces_endpoint = 'https://file/traces'")
    found = destination.current(load({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://env"}))
    assert found is not None
    assert found.traces == "http://env/v1/traces"


def test_an_address_without_scheme_is_told() -> None:
    """Over HTTP an address must say whether to encrypt; one that does not is a problem, and nothing is sent."""
    found = load({"OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4318"})
    assert destination.current(found) is None
    assert ["http://" in problem for problem in destination.problems(found)] == [True, True]


def test_user_file_keeps_what_else_is_in_it() -> None:
    """Changing a key keeps comments and other keys, makes the file private, and never leaves half of it."""
    user("# mine\ndetail = 'run' # really\n\n[headers]\nx-a = '1'\n")
    save({"enabled": False, "detail": "usage", "headers": {"x-b": "env:B"}})
    assert (
        paths.user_config().read_text()
        == '# mine\ndetail = "usage" # really\n\nenabled = false\n[headers]\nx-b = "env:B"\nx-a = \'1\'\n'
    )
    assert paths.user_config().stat().st_mode & 0o777 == 0o600
    save({"enabled": None, "headers": {"x-a": None}})
    assert (
        paths.user_config().read_text()
        == '# mine\ndetail = "usage" # really\n\n[headers]\nx-b = "env:B"\n'
    )
    assert [path.name for path in paths.user_config().parent.iterdir()] == ["otel.toml"]


def test_user_file_that_is_no_toml_is_left_alone() -> None:
    """A file that cannot be read is not written over."""
    user("= broken")
    with pytest.raises(UserFileError, match="nothing was changed"):
        save({"enabled": True})
    assert paths.user_config().read_text() == "= broken"


@pytest.mark.parametrize(
    "raw",
    [
        "a=b",
        "a=b,c=d",
        " a = b , c=d ",
        "Authorization=Bearer%20x",
        "Authorization=%20Bearer%20x%20",
        "x%2Dteam=a",
        "a=b=c",
        "a=",
    ],
)
def test_headers_of_the_environment_are_read_as_the_sdk_reads_them(raw: str) -> None:
    """Names and values are percent-decoded, and spaces around them do not count."""
    found = settings.load({"OTEL_EXPORTER_OTLP_HEADERS": raw}).value("headers")
    assert found == parse_env_headers(raw, liberal=True)
