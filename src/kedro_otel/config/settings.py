"""Every knob, declared once: its type, default, environment names, meaning, and where its value came from.

Environment > this user's file > the site's file > ``[tool.kedro_otel]`` of the project. Of a project's files only what
cannot take data elsewhere or let more out is read: the service name and a *narrower* detail. Whether anything is
recorded at all (``enabled``) has rules of its own, in ``consent.py``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from kedro_otel import guard
from kedro_otel.config import paths, toml_file
from kedro_otel.config.paths import PYPROJECT
from kedro_otel.config.toml_file import parse_bool
from kedro_otel.semconv import names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ENVIRONMENT, USER, SITE, PROJECT, DEFAULT = range(5)
"""Where a value came from, strongest first."""


class Setting:
    """One knob. ``project`` says whether a project may set it: "no", "narrow" (only towards the first of ``choices``) or "yes"."""

    __slots__ = ("choices", "default", "env", "name", "project", "sentence", "type", "unit")

    def __init__(
        self,
        name: str,
        type: str,  # noqa: A002 -- as in every table of settings
        default: Any,
        env: tuple[str, ...],
        choices: tuple[str, ...],
        sentence: str,
        *,
        project: str = "no",
        unit: str = "",
    ) -> None:
        self.name, self.type, self.default, self.env = name, type, default, env
        self.choices, self.sentence, self.project, self.unit = choices, sentence, project, unit


SERVICE_NAME: Final = "OTEL_SERVICE_NAME"
AGENT_VARIABLES: Final = frozenset(
    {
        "AI_AGENT",
        "ANTIGRAVITY_AGENT",
        "AUGMENT_AGENT",
        "CLAUDECODE",
        "CLAUDE_CODE",
        "CODEX_CI",
        "CODEX_SANDBOX",
        "CODEX_THREAD_ID",
        "COPILOT_AGENT",
        "COPILOT_CLI",
        "CURSOR_AGENT",
        "GEMINI_CLI",
        "OPENCODE",
        "OPENCODE_CLIENT",
    }
)
"""A coding agent sets one of these for the programs that it starts: the lists of npm's std-env 4 and @vercel/detect-agent 1."""

_PROTOCOLS: Final = ("http/protobuf", "grpc")
_EXPORTERS: Final = ("otlp", "console", "none")
_KNOWN_EXPORTERS: Final = frozenset(
    {"otlp", "none", "console", "logging", "zipkin", "jaeger", "prometheus"}
)

_WHICH: Final = "A list. Without `otlp` no {0} leave; with `console` `kedro otel ship` prints those of the last command, your own commands nothing."


def _own(name: str, kind: str, default: Any, sentence: str, **more: Any) -> Setting:
    return Setting(
        name,
        kind,
        default,
        (f"KEDRO_OTEL_{name.upper()}",),
        more.pop("choices", ()),
        sentence,
        **more,
    )


def _exporter(
    name: str,
    kind: str,
    default: Any,
    sentence: str,
    *,
    choices: tuple[str, ...] = (),
    unit: str = "",
) -> tuple[Setting, ...]:
    """Return the settings that OpenTelemetry has for ``name``: for all signals, and for each alone."""
    upper = name.upper()
    return (
        Setting(
            name, kind, default, (f"OTEL_EXPORTER_OTLP_{upper}",), choices, sentence, unit=unit
        ),
        *(
            Setting(
                f"{signal}_{name}",
                kind,
                None,
                (f"OTEL_EXPORTER_OTLP_{signal.upper()}_{upper}",),
                choices,
                f"The same for {signal} alone: see `{name}`.",
                unit=unit,
            )
            for signal in ("traces", "metrics", "logs")
        ),
    )


SETTINGS: Final[tuple[Setting, ...]] = (
    _own(
        "enabled",
        "bool",
        None,
        "Record or not. In a project only `false` counts. See the order of consent in telemetry.md.",
        project="narrow",
    ),
    _own(
        "home",
        "path",
        None,
        "Folder of recordings and journals, instead of the user's state folder. Only in the environment.",
    ),
    _own(
        "detail",
        "choice",
        names.USAGE,
        "What may leave this machine.",
        choices=names.DETAILS,
        project="narrow",
    ),
    _own(
        "keep",
        "choice",
        "all",
        "What is kept on this machine: `all` keeps error messages, log lines and arguments as typed in a file that is never sent.",
        choices=("masked", "all"),
        project="narrow",
    ),
    _own(
        "memory",
        "choice",
        "auto",
        "How the highest memory of a node is found: `auto` changes nothing in the process; `exact` (Linux) resets the highest mark that the system keeps "
        "of the process before each node, so that `/usr/bin/time` and your own `getrusage` show less; `off` does not look.",
        choices=("off", "auto", "exact"),
    ),
    _own(
        "logs",
        "choice",
        "off",
        "With `on`, log lines of runs leave too, at the detail `full`.",
        choices=("off", "on"),
        project="narrow",
    ),
    _own(
        "ship",
        "choice",
        "auto",
        "When to ship: `auto` waits only where the machine may vanish.",
        choices=("auto", "background", "wait", "manual"),
    ),
    _own(
        "ship_timeout",
        "float",
        5.0,
        "How long a command may wait for the shipping where it waits at all.",
        unit="s",
    ),
    _own(
        "ephemeral",
        "choice",
        "auto",
        "Whether this machine vanishes with its job, as in CI.",
        choices=("auto", "true", "false"),
    ),
    _own(
        "trace_url",
        "str",
        None,
        "Address of one trace in your backend, with `{trace_id}` in it, told on a terminal after a command with a run.",
    ),
    _own(
        "notify",
        "webhook",
        None,
        "Webhook to which a run that failed, was killed, or took longer than before is posted: at Slack's and Teams' addresses in their shape, "
        "else as JSON.",
    ),
    Setting(
        "service_name",
        "str",
        "kedro",
        ("KEDRO_OTEL_SERVICE_NAME", SERVICE_NAME),
        (),
        "Logical name of the service. A coding agent's `OTEL_SERVICE_NAME` is the agent's, and is not used.",
        project="yes",
    ),
    _own(
        "max_bytes",
        "int",
        64 * 1024 * 1024,
        "Recordings are pruned beyond this, oldest first.",
        unit="bytes",
    ),
    _own(
        "run_key",
        "str",
        None,
        "Name of the one run that several processes make together. `from:gitlab` and `from:slurm` take that system's id; `none` takes nobody's. "
        "Only in the environment.",
    ),
    _own(
        "write_project_id",
        "bool",
        default=True,
        sentence="Write a missing `project_id` into pyproject.toml, as Kedro's telemetry does, so that all clones are one project. With `false` a random id "
        "in the state folder stands for the project.",
        project="yes",
    ),
    _own("max_age_days", "float", 30.0, "Recordings are pruned after this.", unit="days"),
    _own(
        "max_segments",
        "int",
        2000,
        "Recordings are pruned beyond this number of files, oldest first.",
    ),
    *_exporter(
        "endpoint",
        "url",
        None,
        "Address of the OTLP receiver. No endpoint: nothing leaves the machine.",
    ),
    *_exporter("protocol", "choice", "http/protobuf", "Transport protocol.", choices=_PROTOCOLS),
    *_exporter(
        "headers",
        "headers",
        None,
        "Headers to send along. In a file a table; the value `env:NAME` is taken from the environment.",
    ),
    *_exporter("timeout", "float", 10.0, "Deadline of one request.", unit="s"),
    *_exporter(
        "compression",
        "choice",
        None,
        "Compression of requests.",
        choices=("gzip", "deflate", "none"),
    ),
    *_exporter("certificate", "path", None, "PEM file of the authorities to trust."),
    *_exporter("client_key", "path", None, "PEM file of the client's private key."),
    *_exporter("client_certificate", "path", None, "PEM file of the client's certificate."),
    *_exporter(
        "insecure", "bool", None, "Plain text over gRPC where the endpoint does not say it."
    ),
    Setting(
        "traces_exporter",
        "exporters",
        "otlp",
        ("OTEL_TRACES_EXPORTER",),
        _EXPORTERS,
        _WHICH.format("traces"),
    ),
    Setting(
        "metrics_exporter",
        "exporters",
        "otlp",
        ("OTEL_METRICS_EXPORTER",),
        _EXPORTERS,
        _WHICH.format("metrics"),
    ),
    Setting(
        "logs_exporter",
        "exporters",
        "otlp",
        ("OTEL_LOGS_EXPORTER",),
        _EXPORTERS,
        "A list. Without `otlp` no logs leave.",
    ),
    Setting(
        "exception_signal",
        "choice",
        None,
        ("OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN",),
        ("logs", "logs/dup"),
        "Where logs leave: errors as log events instead of span events, or with `logs/dup` besides them.",
    ),
)
BY_NAME: Final = {setting.name: setting for setting in SETTINGS}
_QUOTES: Final = ("'", '"', "`", "\u201c", "\u201d")
ENDPOINTS: Final = ("endpoint", "traces_endpoint", "metrics_endpoint", "logs_endpoint")
_INTERNAL: Final = frozenset(
    {"KEDRO_OTEL_ENABLED", "KEDRO_OTEL_FAILPOINT", "KEDRO_OTEL_RAISE", "KEDRO_OTEL_SHIPPER"}
)
"""Variables that are no settings: consent.py reads the first, tests and the shipper set the others."""

_ONLY_IN_ENVIRONMENT: Final = frozenset({"home", "run_key"})


class Settings:
    """Values in force, with their origin; ``problems`` says in one sentence each what could not be used."""

    __slots__ = ("_found", "environ", "problems", "project")

    def __init__(self, environ: Mapping[str, str], project: Path | None = None) -> None:
        self.environ = environ
        self.project = project
        self.problems: list[str] = []
        self._found: dict[str, tuple[Any, int, str]] = {}

    def value(self, name: str) -> Any:
        """Return the value in force. Raises KeyError for a name that is not in SETTINGS."""
        found = self._found.get(name)
        return BY_NAME[name].default if found is None else found[0]

    @property
    def names_endpoint(self) -> bool:
        """Whether some receiver is named; what it is, :mod:`kedro_otel.config.destination` tells."""
        return not self._found.keys().isdisjoint(ENDPOINTS)

    def origin(self, name: str) -> str:
        """Return where the value came from, as a person would say it: ``default``, ``environment NAME``, ``user file PATH``."""
        found = self._found.get(name)
        return "default" if found is None else found[2]

    def rank(self, name: str) -> int:
        """Return where the value came from: ENVIRONMENT, USER, SITE, PROJECT or DEFAULT, the strongest the smallest."""
        found = self._found.get(name)
        return DEFAULT if found is None else found[1]

    def shown(self, name: str) -> Any:
        """Return the value as it may be printed: of headers the names alone, of addresses no credentials."""
        value = self.value(name)
        kind = BY_NAME[name].type
        if value and kind == "headers":
            return dict.fromkeys(value, names.MASK)
        if value and kind == "webhook":  # its path is the secret
            return "/".join(without_credentials(value).split("/")[:3])
        return without_credentials(value) if value and kind in ("url", "str") else value

    def take(self, setting: Setting, raw: Any, rank: int, origin: str) -> bool:
        """Use ``raw`` for ``setting`` unless it is no valid value, which is a problem; return whether it was."""
        try:
            value = parse(setting, raw)
        except ValueError as error:
            guard.let_through(error)
            self.problems.append(
                f"{setting.name} from {origin}: {error}; using {_or_default(setting)}."
            )
            return False
        self._found[setting.name] = (value, rank, origin)
        return True


def load(environ: Mapping[str, str] = os.environ, project: Path | None = None) -> Settings:
    """Return the settings in force for ``environ`` and the project at ``project``, if there is one."""
    settings = Settings(environ, project)
    user, site = paths.user_config(), paths.site_config()
    files = [
        (_file(user, "user file", settings), USER, f"user file {user}"),
        (_file(site, "site file", settings), SITE, f"site file {site}"),
    ]
    for setting in SETTINGS:
        _first(settings, setting, files)
    if project is not None:
        _narrow(
            settings, toml_file.table(toml_file.read(project / PYPROJECT), "tool", "kedro_otel")
        )
    return settings


def from_environment(environ: Mapping[str, str]) -> Settings:
    """Return what ``environ`` alone says."""
    settings = Settings(environ)
    for setting in SETTINGS:
        _first(settings, setting, [])
    return settings


def parse(setting: Setting, raw: Any) -> Any:
    """Return ``raw``, a word of the environment or a TOML value, as the type that ``setting`` has.

    Raises:
        ValueError: with a sentence that does not repeat the value, since it may be a secret.
    """
    return _PARSERS[setting.type](setting, raw)


def unknown(environ: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable of ``environ`` that is named like a setting of ours and is none."""
    known = {name for setting in SETTINGS for name in setting.env} | _INTERNAL
    return [
        f"The environment has an unknown setting: {name[:60]!r}."
        for name in sorted(environ)
        if name.startswith("KEDRO_OTEL_") and name not in known
    ]


def is_agent(environ: Mapping[str, str]) -> bool:
    """Return whether a coding agent started this program: its service name is not the project's."""
    return any(environ.get(name) for name in AGENT_VARIABLES)


def without_credentials(address: Any) -> Any:
    """Return ``address`` without user, password, query and fragment."""
    text = str(address)
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "", text
    host, slash, path = rest.split("?", 1)[0].split("#", 1)[0].partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def _file(path: Path, what: str, settings: Settings) -> dict[str, Any]:
    content = toml_file.read_settings(path)
    if content is None:
        why = toml_file.refusal(path)
        settings.problems.append(
            f"The {what} {path} is not followed, since {why}; nothing in it is used."
            if why
            else f"The {what} {path} cannot be read as TOML; nothing in it is used."
        )
        return {}
    for name in content:
        if name not in BY_NAME or name in _ONLY_IN_ENVIRONMENT:
            settings.problems.append(
                f"The {what} {path} has an unknown setting: {name[:40]!r}."
                if name not in BY_NAME
                else f"The {what} {path} has a setting that only the environment can set: {name[:40]!r}."
            )
    return content


def _first(
    settings: Settings, setting: Setting, files: list[tuple[dict[str, Any], int, str]]
) -> None:
    """Take the strongest usable value of ``setting`` from the environment and the two files."""
    for name in setting.env:
        if name == SERVICE_NAME and is_agent(settings.environ):
            continue
        raw = settings.environ.get(name)
        if raw and raw.strip() and settings.take(setting, raw, ENVIRONMENT, f"environment {name}"):
            return
    if setting.name in _ONLY_IN_ENVIRONMENT:
        return
    for content, rank, origin in files:
        raw = content.get(setting.name)
        if raw is not None and settings.take(setting, raw, rank, origin):
            return


def _narrow(settings: Settings, table: dict[str, Any]) -> None:
    """Apply what a project may say: a name where nobody else gave one, and less detail."""
    for name, raw in table.items():
        setting = BY_NAME.get(name)
        if name == "enabled":
            continue  # consent.py reads it
        if setting is None:
            settings.problems.append(
                f"[tool.kedro_otel] of {PYPROJECT} has an unknown setting: {name[:40]!r}."
            )
        elif setting.project == "no":
            settings.problems.append(
                f"A project cannot set {name[:40]!r}; [tool.kedro_otel] of {PYPROJECT} is ignored there."
            )
        elif setting.project == "yes":
            if settings.rank(name) == DEFAULT:
                settings.take(setting, raw, PROJECT, PYPROJECT)
        elif raw not in setting.choices:
            # an unreadable wish for less is a wish for the least
            least = setting.choices[0]
            settings.problems.append(
                f"{name} in [tool.kedro_otel] of {PYPROJECT} must be one of {', '.join(setting.choices)}; using {least}."
            )
            settings.take(setting, least, PROJECT, PYPROJECT)
        elif setting.choices.index(raw) < setting.choices.index(settings.value(name)):
            settings.take(setting, raw, PROJECT, PYPROJECT)


def _or_default(setting: Setting) -> str:
    return (
        "the next source or nothing"
        if setting.default is None
        else f"the next source or {setting.default}"
    )


def _bool(_: Setting, raw: Any) -> bool:
    value = parse_bool(raw)
    if value is None:
        raise ValueError("must be true or false")
    return value


def _choice(setting: Setting, raw: Any) -> str:
    word = str(raw).strip().lower()
    if word not in setting.choices and "true" in setting.choices and parse_bool(word) is not None:
        word = str(parse_bool(word)).lower()
    if word not in setting.choices:
        raise ValueError(f"must be one of {', '.join(setting.choices)}")
    return word


def _exporters(_: Setting, raw: Any) -> str:
    """Read the standard list of exporters: only whether ``otlp`` and ``console`` are among them matters here."""
    words = {word.strip().lower() for word in str(raw).split(",")}
    if not words <= _KNOWN_EXPORTERS:
        raise ValueError(f"must be of {', '.join(sorted(_KNOWN_EXPORTERS))}")
    return ",".join(word for word in ("otlp", "console") if word in words) or "none"


def _number(setting: Setting, raw: Any) -> float | int:
    kind = int if setting.type == "int" else float
    try:
        value = kind(str(raw).strip()) if not isinstance(raw, bool) else None
    except ValueError as error:
        guard.let_through(error)
        value = None
    if value is None or not 0 <= value < float("inf"):
        raise ValueError(
            f"must be a {'whole ' if kind is int else ''}number of {setting.unit or 'files'}, zero or more"
        )
    return value


def _text(_: Setting, raw: Any) -> str:
    if not isinstance(raw, str) or not raw.strip():
        raise ValueError("must be text")
    return raw.strip()


def _url(_: Setting, raw: Any) -> str:
    text = raw.strip().partition("#")[0] if isinstance(raw, str) else ""
    if text[:1] in _QUOTES or text[-1:] in _QUOTES:
        raise ValueError("has quotation marks in it: write the address without them")
    scheme, separator, rest = text.partition("://")
    if separator and scheme.lower() in ("grpc", "grpcs"):
        raise ValueError(
            f"begins with {scheme.lower()}://: write http:// or https://, and choose gRPC by the protocol"
            " (--protocol grpc, or OTEL_EXPORTER_OTLP_PROTOCOL=grpc)"
        )
    host = rest if separator else text
    if _hides_credentials(raw):
        raise ValueError(
            "has a user name or password in which / ? or # is not percent-encoded (%2F %3F %23)"
        )
    if separator and host[:1] in ("", "/", "?", ":"):
        raise ValueError("names no host: write an address such as http://localhost:4318")
    if (
        not host
        or (separator and scheme.lower() not in ("http", "https"))
        or any(ord(letter) <= 32 or ord(letter) == 127 for letter in text)
    ):
        raise ValueError("must be an address such as http://localhost:4318")
    return text


def _webhook(setting: Setting, raw: Any) -> str:
    if "://" not in str(raw):
        raise ValueError("must begin with http:// or https://")
    return _url(setting, raw)


def _hides_credentials(raw: Any) -> bool:
    """Return whether an address ends its host too early for what was meant as user and password before an ``@``."""
    rest = str(raw).strip().rpartition("://")[2]
    host = rest.split("/", 1)[0].split("?", 1)[0].split("#", 1)[0]
    _, colon, port = host.rpartition(":")
    return bool(
        colon and port and not port.isdigit() and "]" not in port and "@" in rest[len(host) :]
    )


def _headers(_: Setting, raw: Any) -> dict[str, str]:
    """Read a TOML table, or the W3C Baggage spelling ``name=value,name=value`` with percent-encoded values."""
    if isinstance(raw, dict):
        pairs = list(raw.items())
    elif isinstance(raw, str):
        from urllib.parse import unquote

        pairs = [
            (unquote(name), unquote(value).strip())
            for name, _sign, value in (
                item.partition("=") for item in raw.split(",") if item.strip()
            )
        ]
    else:
        raise ValueError("must be a table of names and values")  # noqa: TRY004 (one kind of error for every bad value)
    headers = {str(name).strip().lower(): value for name, value in pairs}
    for number, (name, value) in enumerate(headers.items(), 1):
        if not name or not all(map(_is_token, name)):
            # what stands in the place of a name may be a secret
            raise ValueError(
                f"must be names and values that HTTP allows; number {number} has no such name"
            )
        if not isinstance(value, str) or not is_header_value(value):
            raise ValueError(
                f"must be names and values that HTTP allows; the value of {name[:40]} has a character that no header can have"
            )
    return headers


def _is_token(letter: str) -> bool:
    return letter.isascii() and (letter.isalnum() or letter in "!#$%&'*+-.^_`|~")


def is_header_value(value: str) -> bool:
    """Return whether HTTP can send ``value`` in a header: Latin-1 without control characters (RFC 9110, section 5.5)."""
    return all(32 <= ord(letter) < 256 and ord(letter) != 127 for letter in value)


_PARSERS: Final = {
    "bool": _bool,
    "choice": _choice,
    "exporters": _exporters,
    "float": _number,
    "int": _number,
    "str": _text,
    "path": _text,
    "url": _url,
    "headers": _headers,
    "webhook": _webhook,
}
