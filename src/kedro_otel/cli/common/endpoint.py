"""What connect and doctor know of a receiver: what would leave, whether it answers, and which settings say so."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import click

from kedro_otel.cli.status import MEANING, plain, rows, worded
from kedro_otel.config import consent, destination, paths, settings, toml_file
from kedro_otel.semconv import names
from kedro_otel.semconv.fields import FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from kedro_otel.config.settings import Settings

_KEYS: Final = (
    "endpoint",
    "protocol",
    "certificate",
    "client_key",
    "client_certificate",
    "insecure",
    "compression",
)
_SHOWN: Final = (
    "endpoint",
    "protocol",
    "headers",
    "timeout",
    "compression",
    "certificate",
    "client_key",
    "client_certificate",
    "insecure",
)
_SHIPPER: Final = "what sends is a process of its own, which a Python interpreter in this environment has to be able to run"


def forgotten() -> dict[str, Any]:
    """Return the changes that take a receiver, its credentials and its detail out of the user's file."""
    content = toml_file.read(paths.user_config()) or {}
    every = [f"{signal}{key}" for key in _KEYS for signal in ("", "traces_", "metrics_")]
    changes: dict[str, Any] = dict.fromkeys((key for key in every if key in content), None)
    changes["headers"] = {}
    for table in ("headers", "traces_headers", "metrics_headers"):
        found = content.get(table)
        if isinstance(found, dict):
            changes[table] = dict.fromkeys(found, None)
        elif found is not None and table != "headers":
            changes[table] = None
    for exporter in ("traces_exporter", "metrics_exporter"):
        if content.get(exporter) == "none":  # as connecting for one signal alone writes it
            changes[exporter] = None
    if "detail" in content:
        changes["detail"] = None
    return changes


def test(known: Settings, changes: Mapping[str, Any]) -> dict[str, bool | None]:
    """Ask the receiver that ``changes`` name, print its answers, and return for each signal whether it takes it.

    None is for an answer that leaves it open: there was none, or another may come later, or to another caller.
    """
    from kedro_otel.shipping.process import trial
    from kedro_otel.shipping.transport import probe

    answers = trial.attempt(known, changes)
    for name, answer in answers.items():
        word = probe.verdict(answer)
        click.echo(
            f"{name}: {word}{f' ({plain(answer.why)})' if answer.why else ''}",
            err=word != probe.ACCEPTED,
        )
        if word != probe.ACCEPTED:
            click.echo(_advice(word, known, name, answer.why), err=True)
    return {name: probe.takes(answer) for name, answer in answers.items()}


def end_hold(known: Settings, signals: Iterable[str]) -> None:
    """Let what the receiver in force held up be tried at the next command; where that is not possible, it is tried in an hour."""
    from kedro_otel.shipping.process import foreground

    target = destination.current(known)
    if target is not None:
        with contextlib.suppress(OSError):
            foreground.end_hold(target, signals)


def leaving(detail: str, url: str) -> str:
    """Return what leaves at ``detail`` and what would at ``run``, as text for a person."""
    shown = settings.without_credentials(url)
    lines = [
        f"  usage  {MEANING[names.USAGE]}",
        f"         {_keys(names.USAGE)}",
        f"  run    {MEANING[names.RUN]}",
        f"         {_keys(names.RUN)}",
    ]
    if detail == names.USAGE:
        lines.append(
            f"In force: usage. For names of nodes and datasets too: kedro otel connect {shown} --detail run"
        )
    else:
        lines.append(
            f"In force: {detail}. For commands, runs and counters alone: kedro otel connect {shown} --detail usage"
        )
    return "\n".join(lines)


def nowhere(known: Settings) -> str:
    """Say why nothing is sent, where no destination is in force."""
    if known.names_endpoint:
        return " ".join(
            f"{why}."
            for why in (
                *destination.kept(known).values(),
                *(one.rstrip(".") for one in destination.problems(known)),
            )
        )
    return "No endpoint is named, so nothing leaves this machine. Name one: kedro otel connect URL"


def overridden(known: Settings, changes: Mapping[str, Any]) -> list[str]:
    """Say what was saved and is not in force, because something stronger says otherwise."""
    saved = [
        name
        for name, value in changes.items()
        if value not in (None, {}) and known.rank(name) != settings.USER
    ]
    return [
        f"{name} is saved, but {known.origin(name)} says otherwise, and that counts."
        for name in saved
    ]


def examined(environ: Mapping[str, str], root: Path | None) -> dict[str, Any]:
    """Return what doctor finds, ready for JSON; no secret is in it."""
    from kedro_otel.shipping import status
    from kedro_otel.shipping.process import trial
    from kedro_otel.shipping.transport import probe

    known = settings.load(environ, root)
    decided = consent.decide(environ, root)
    target = destination.current(known)
    answers = trial.attempt(known) if decided.enabled and target is not None else {}
    signals = {
        name: {
            "address": address,
            "result": probe.verdict(answers[name]),
            "answer": answers[name].why or answers[name].status,
        }
        for name in answers
        if (address := getattr(target, name))
    }
    end_hold(known, [name for name, row in signals.items() if row["result"] == probe.ACCEPTED])
    detail = known.value("detail")
    todo = _todo(known, decided, target is not None, signals)
    return {
        "well": bool(signals) and all(row["result"] == probe.ACCEPTED for row in signals.values()),
        "consent": {"enabled": decided.enabled, "reason": decided.reason},
        "signals": signals,
        "not sent": destination.kept(known),
        "settings": {
            key: {"value": known.shown(key), "origin": known.origin(key)}
            for name in _SHOWN
            for key in (name, f"traces_{name}", f"metrics_{name}")
            if known.value(key) is not None
        },
        "detail": {"value": detail, "origin": known.origin("detail"), "meaning": MEANING[detail]},
        "journals": status.summary(),
        "problems": known.problems,
        "do": todo,
    }


def diagnosis(found: Mapping[str, Any]) -> str:
    """Return what doctor found as text for a person."""
    lines = []
    for name, row in found["signals"].items():
        answer = f" ({row['answer']})" if row["result"] != "accepted" else ""
        lines.append(f"{name:8} {row['result']}: {row['address']}{answer}")
    lines += [f"{name:8} not sent: {why}" for name, why in found["not sent"].items()]
    level = found["detail"]
    known = [
        (name, f"{worded(row['value'])}  ({row['origin']})")
        for name, row in found["settings"].items()
    ]
    lines += [
        "",
        *rows(
            "Settings",
            [*known, ("detail", f"{level['value']}  ({level['origin']}): {level['meaning']}")],
        )[:-1],
    ]
    for row in found["journals"]:
        if row["waiting recordings"] or row["held"] or row["lost"]:
            lines += [
                "",
                f"Waiting for {row['address'] or row['destination']}",
                f"  recordings  {row['waiting recordings']}",
            ]
            lines += [f"  {name}  {why}" for name, why in row["held"].items()]
            lines += [f"  {word}  {count}" for word, count in row["lost"].items()]
    lines += ["", *(f"! {problem}" for problem in found["problems"]), *found["do"]]
    return "\n".join(plain(line) for line in lines).strip("\n")


def _todo(
    known: Settings,
    decided: consent.Consent,
    named: bool,
    signals: Mapping[str, Mapping[str, str]],
) -> list[str]:
    if not decided.enabled:
        return [f"Nothing is recorded or sent: {decided.reason}. To change that: kedro otel on"]
    if not named:
        return [nowhere(known)]
    advice = [
        _advice(row["result"], known, name, row["answer"])
        for name, row in signals.items()
        if row["result"] != "accepted"
    ]
    advice += destination.problems(known)
    return list(dict.fromkeys(advice)) or [
        "All is well. Run a kedro command and look for the service kedro."
    ]


def _advice(word: str, known: Settings, name: str, why: str) -> str:
    from kedro_otel.shipping.transport import responses

    found = destination.signal(known, name)
    shown = settings.without_credentials(found.url) if found else ""
    if word == "unreachable":
        return f"Is a receiver running at {shown}, and may this machine reach it? Commands go on unharmed; what is recorded waits."
    if name == destination.METRICS and responses.wants_deltas(why):
        return responses.TAKES_DELTAS
    if word == "not started":
        return f"Nothing was asked of {shown}, and nothing is sent there: {_SHIPPER}."
    if word == "wrong protocol":
        http = found is not None and found.protocol != "grpc"
        other = (
            "--protocol grpc, or with the port for HTTP, usually 4318"
            if http
            else "http://HOST:4318, without --protocol grpc"
        )
        return f"{shown} speaks another protocol. Try kedro otel connect with {other}."
    return f"The receiver at {shown} refuses {name}; its answer is above. A token is given by --header NAME=env:VARIABLE, a path is part of the URL."


def _keys(detail: str) -> str:
    return ", ".join(dict.fromkeys(field.key for field in FIELDS if field.detail == detail))
