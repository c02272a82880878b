"""Where data go: which receiver each signal has, and the id by which recordings and journals name it.

Endpoints, headers and certificates come from the environment, the user's file or the site's file, never from a
project. The address of one signal comes from the strongest source that names one; in the same source the signal's own
beats the general one. What authorises (headers, keys) is used only if its source is at least as strong as the
address's: a token kept in a file for one receiver is never sent to another that an environment variable named.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kedro_otel.config import home_key
from kedro_otel.config.settings import Settings, is_header_value, without_credentials

if TYPE_CHECKING:
    from collections.abc import Mapping

TRACES: Final = "traces"
METRICS: Final = "metrics"
LOGS: Final = "logs"
SIGNALS: Final = (TRACES, METRICS)
"""What leaves wherever an endpoint is named; :data:`LOGS` only where a setting asks for them, too."""

GRPC: Final = "grpc"
OTLP: Final = "otlp"
CONSOLE: Final = "console"
_ENV: Final = "env:"
_MILLISECONDS: Final = 1000.0
"""A timeout from here on can only be meant in milliseconds, as the OTLP specification spells it."""

_MAX_TIMEOUT: Final = 120.0
"""Seconds that one request may take at most."""

_SAMPLER: Final = "OTEL_TRACES_SAMPLER"
_PREFERENCE: Final = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"


class Destination(NamedTuple):
    """A receiver and who it is asked as.

    ``id`` (16 hex digits) is of the addresses, protocols and credentials, ``receiver_id`` of addresses and protocols
    alone: both are one where nothing authorises. Older versions knew only that. ``traces``, ``metrics`` and ``logs`` are the
    addresses without credentials, ``protocol`` is that of the first. Logs count for an id only where they have an address
    or credentials of their own.
    """

    id: str
    traces: str | None
    metrics: str | None
    protocol: str
    receiver_id: str = ""
    logs: str | None = None


class Signal(NamedTuple):
    """All that an exporter of one signal needs. ``url`` may hold credentials: do not print it. ``timeout`` is in seconds."""

    url: str
    protocol: str
    headers: dict[str, str]
    timeout: float
    compression: str | None
    certificate: str | None
    client_key: str | None
    client_certificate: str | None
    insecure: bool | None


def current(settings: Settings, *, make_key: bool = False) -> Destination | None:
    """Return the destination in force, None where no endpoint is named or neither list of exporters has ``otlp``.

    Args:
        settings: The settings in force.
        make_key: Whether to make this home's key if there is none and the id needs one. Whoever
            records does so; whoever only reads makes no file.
    """
    found = {name: _address(settings, name) for name in (*SIGNALS, LOGS)}
    if not any(found.values()):
        return None
    import hashlib

    shown = {
        name: without_credentials(address) if address else None for name, address in found.items()
    }
    protocols = {name: _nearest(settings, "protocol", name) for name in found}
    canonical = json.dumps(
        [
            [name, _canonical(shown[name]), protocols[name] if shown[name] else None]
            for name in _counting(settings)
        ]
    )
    protocol = protocols[next(name for name in found if found[name])]
    receiver_id = hashlib.sha256(canonical.encode()).hexdigest()[:16]
    return Destination(
        _identified(settings, canonical, shown, make_key=make_key) or receiver_id,
        shown[TRACES],
        shown[METRICS],
        protocol,
        receiver_id,
        shown[LOGS],
    )


def signals(settings: Settings) -> tuple[str, ...]:
    """Return what is to leave: traces and metrics, and logs where they are asked for."""
    return (*SIGNALS, LOGS) if settings.value("logs") == "on" else SIGNALS


def exceptions(settings: Settings) -> str:
    """Return how errors leave beside span events: "logs" instead of them, "logs/dup" as well, "" not at all."""
    leave = LOGS in signals(settings) and uses(settings, LOGS, OTLP)
    return settings.value("exception_signal") or "" if leave else ""


def _counting(settings: Settings) -> tuple[str, ...]:
    """Return the signals whose addresses and credentials make a receiver's id."""
    own = any(
        settings.value(f"{LOGS}_{key}") is not None
        for key in ("endpoint", "protocol", "headers", "client_key", "client_certificate")
    )
    alone = not any(_address(settings, name) for name in SIGNALS)
    return signals(settings) if own or alone else SIGNALS


def signal(settings: Settings, name: str) -> Signal | None:
    """Return what the exporter of ``name`` ("traces", "metrics" or "logs") needs, None where that signal is not shipped."""
    url = _address(settings, name)
    if url is None:
        return None
    rank = settings.rank(_endpoint(settings, name))
    return Signal(
        url=url,
        protocol=_nearest(settings, "protocol", name),
        headers=_headers(settings, name, rank),
        timeout=_timeout(_nearest(settings, "timeout", name)),
        compression=None
        if (compression := _nearest(settings, "compression", name)) == "none"
        else compression,
        certificate=_nearest(settings, "certificate", name, rank),
        client_key=_nearest(settings, "client_key", name, rank),
        client_certificate=_nearest(settings, "client_certificate", name, rank),
        insecure=_nearest(settings, "insecure", name, rank),
    )


def uses(settings: Settings, name: str, exporter: str) -> bool:
    """Return whether ``exporter`` (OTLP or CONSOLE) is in the list of those of the signal ``name``."""
    return exporter in settings.value(f"{name}_exporter")


def kept(settings: Settings) -> dict[str, str]:
    """Return, for each signal that does not leave because its list of exporters says so, a sentence about that."""
    found = {}
    for name in signals(settings):
        key = f"{name}_exporter"
        if not uses(settings, name, OTLP):
            shown = (
                "; to print those of the last command: kedro otel ship"
                if uses(settings, name, CONSOLE) and name != LOGS
                else ""
            )
            found[name] = (
                f"{key} is {settings.value(key)} ({settings.origin(key)}): no {name} leave this machine{shown}"
            )
    return found


def problems(settings: Settings) -> list[str]:
    """Return what keeps data from their destination, one sentence each: an address that says too little, a header without its value."""
    found = []
    for name in signals(settings):
        source = _endpoint(settings, name)
        if (
            settings.value(source)
            and _address(settings, name) is None
            and uses(settings, name, OTLP)
        ):
            found.append(
                f"{source} from {settings.origin(source)}: must begin with http:// or https://; no {name} are sent."
            )
        end = f"/v1/{name}"
        if source == "endpoint" and doubled(_address(settings, name) or "", name):
            found.append(
                f"endpoint from {settings.origin(source)} ends in a signal's own path, to which {end} is added:"
                f" write it without, or name {name}_endpoint."
            )
        given = _nearest(settings, "timeout", name)
        if _timeout(given) != given and _address(settings, name) is not None:
            found.append(
                f"A timeout of {given:g} s for {name} is longer than one request may take:"
                f" {_timeout(given):g} s are used. The unit is seconds"
                f"{', and this was taken for milliseconds' if given >= _MILLISECONDS else ''}."
            )
    sampler = settings.environ.get(_SAMPLER, "").strip().lower()
    if sampler.endswith("always_off") and _address(settings, TRACES) is not None:
        found.append(
            f"{_SAMPLER}={sampler}: spans are recorded and not sent"
            f"{', but below a sampled parent' if sampler.startswith('parentbased') else ''}; metrics are."
        )
    preference = settings.environ.get(_PREFERENCE, "").strip().lower()
    if preference in ("delta", "lowmemory") and _address(settings, METRICS) is not None:
        found.append(
            f"{_PREFERENCE}={preference} is not honoured: metrics are sent as cumulative totals,"
            " because a resent delta would count twice. For a backend that takes deltas only, put"
            " a collector with its cumulativetodelta processor before it."
        )
    headers = [
        value
        for key in ("headers", *(f"{name}_headers" for name in signals(settings)))
        for value in (settings.value(key) or {}).values()
    ]
    needed = {value[len(_ENV) :] for value in headers if value.startswith(_ENV)}
    for variable in sorted(needed):
        value = settings.environ.get(variable)
        if value is None:
            found.append(f"A header needs the environment variable {variable}, which is not set.")
        elif not is_header_value(value):
            found.append(
                f"A header needs the environment variable {variable}, which has a character that no header can have."
            )
    return found


def doubled(address: str, name: str) -> bool:
    """Return whether the full address of the signal ``name`` has the path of a signal twice."""
    before = address.partition("?")[0].removesuffix(f"/v1/{name}")
    return before.endswith(tuple(f"/v1/{one}" for one in (*SIGNALS, LOGS)))


def _identified(
    settings: Settings, canonical: str, shown: Mapping[str, str | None], *, make_key: bool
) -> str:
    """Return the id of a receiver that is asked with credentials, "" for one that is asked without."""
    credentials = []
    for name in _counting(settings):
        found = signal(settings, name)
        if found is None:
            continue
        secret = found.url if found.url != shown[name] else ""
        row = [secret, sorted(found.headers.items()), found.client_key, found.client_certificate]
        if any(row):
            credentials.append([name, *row])
    if not credentials:
        return ""
    if make_key:
        home_key.make()
    import hashlib

    text = json.dumps([canonical, credentials])
    return hashlib.blake2b(
        text.encode("utf-8", "surrogatepass"), key=home_key.key(), digest_size=8
    ).hexdigest()


def _timeout(given: float) -> float:
    """Return the seconds one request may take, where ``given`` may be meant in milliseconds."""
    return min(given / 1000 if given >= _MILLISECONDS else given, _MAX_TIMEOUT)


def _endpoint(settings: Settings, name: str) -> str:
    """Return the name of the setting from which the address of ``name`` comes."""
    own = f"{name}_endpoint"
    return (
        own
        if settings.value(own) and settings.rank(own) <= settings.rank("endpoint")
        else "endpoint"
    )


def _address(settings: Settings, name: str) -> str | None:
    """Return the full address of one signal, as the OTLP exporter specification makes it from the settings."""
    if name not in signals(settings) or not uses(settings, name, OTLP):
        return None
    source = _endpoint(settings, name)
    address: str | None = settings.value(source)
    if address is None or _nearest(settings, "protocol", name) == GRPC:
        return address
    if "://" not in address:
        return None  # HTTP needs to know whether to encrypt
    if source != "endpoint":
        return address
    before, mark, query = address.partition("?")
    return f"{before.rstrip('/')}/v1/{name}{mark}{query}"


def _canonical(address: str | None) -> str | None:
    """Return ``address`` with scheme and host in lower case: the same receiver, the same journal."""
    if address is None:
        return None
    scheme, separator, rest = address.rpartition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme.lower()}{separator}{host.lower()}{slash}{path}".rstrip("/")


def _nearest(settings: Settings, key: str, name: str, rank: int | None = None) -> Any:
    """Return the setting ``key`` for the signal ``name``; with ``rank``, only from a source at least that strong."""
    own = f"{name}_{key}"
    chosen = (
        own if settings.value(own) is not None and settings.rank(own) <= settings.rank(key) else key
    )
    if rank is not None and settings.rank(chosen) > rank:
        return None
    return settings.value(chosen)


def _headers(settings: Settings, name: str, rank: int) -> dict[str, str]:
    headers = _nearest(settings, "headers", name, rank) or {}
    resolved = {key: _resolved(value, settings.environ) for key, value in headers.items()}
    return {key: value for key, value in resolved.items() if value is not None}


def _resolved(value: str, environ: Mapping[str, str]) -> str | None:
    """Return the value of a header, None where the variable that it names has none that can be sent."""
    found = environ.get(value[len(_ENV) :]) if value.startswith(_ENV) else value
    return found if found is not None and is_header_value(found) else None
