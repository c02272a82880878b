"""What ``kedro otel status`` says: consent and its reason, ids, settings and their origin, what is recorded, shipped, held, lost."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from kedro_otel.config import consent, destination, files, paths, settings, surroundings
from kedro_otel.facts import identity, project
from kedro_otel.semconv import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

MEANING: Final = {
    names.USAGE: "commands and runs, counters and sizes; no word of your project leaves",
    names.RUN: "names of pipelines, nodes and datasets leave too; no messages, no data",
    names.FULL: "error messages, stack traces and the attributes of your own spans leave too",
}
"""What each detail means, in one line."""


_MAX_BYTES: Final = 1 << 20
_RECEIVERS: Final = 3
_PROBLEMS: Final = 5
"""Receivers and problems that fit a screen with the rest."""

_DROPPED: Final = {
    "age": "segments dropped (too old)",
    "bytes": "segments dropped (too many bytes)",
    "segments": "segments dropped (too many)",
}
"""What the ledger of the bounds says, in words."""


def gather(environ: Mapping[str, str], root: Path | None) -> dict[str, Any]:
    """Return all that status knows, ready for JSON. Nothing is created; no secret is in it."""
    from kedro_otel.shipping.process import interpreter

    known = settings.load(environ, root)
    decided = consent.decide(environ, root)
    where = destination.current(known)
    package = project.read(root).package if root else None
    return {
        "consent": decided._asdict(),
        "detail": {
            "value": known.value("detail"),
            "origin": known.origin("detail"),
            "meaning": MEANING[known.value("detail")],
            "change": _change(known),
        },
        "destination": where._asdict() if where else None,
        "not sent": destination.kept(known),
        "ids": {
            names.INSTALLATION_ID: identity.installation_id(create=False),
            names.PROJECT_ID: identity.project_id(root, package, create=False) if root else None,
        },
        "files": {
            "recordings": str(paths.recordings()),
            "user settings": str(paths.user_config()),
            "site settings": str(paths.site_config()),
            "user UUID": str(paths.telemetry_toml()[0]),
        },
        "settings": {
            setting.name: _setting(known, decided, setting.name) for setting in settings.SETTINGS
        },
        "problems": [
            *known.problems,
            *settings.unknown(environ),
            *destination.problems(known),
            *interpreter.problems(),
        ],
        "notifications": _notifications(known),
        "surroundings": surroundings.sentences(known, environ, root),
        "recorded": _recorded(),
        "shipped": _shipped(),
    }


def text(found: Mapping[str, Any], *, verbose: bool = False) -> str:
    """Return what ``gather`` found as text for a person; settings that nobody set are left out.

    Unless ``verbose``, it fits a screen: what is recorded is one line, each receiver another, and
    ids, files and settings are left out.
    """
    decided, level, where, ids = (
        found["consent"],
        found["detail"],
        found["destination"],
        found["ids"],
    )
    addresses = (
        " and ".join(
            dict.fromkeys(filter(None, (where["traces"], where["metrics"], where["logs"])))
        )
        if where
        else ""
    )
    nowhere = (
        "nowhere"
        if set(found["not sent"]) >= set(destination.SIGNALS)
        else "nowhere: no endpoint is named. Name one: kedro otel connect URL"
    )
    chosen = [
        (name, f"{worded(row['value'])}  ({row['origin']})")
        for name, row in found["settings"].items()
        if row["origin"] != "default"
    ]
    notified = found["notifications"]
    lines = [
        f"Recording   {'on' if decided['enabled'] else 'off'} ({decided['reason']}){'' if decided['enabled'] else '. To change that: kedro otel on'}",
        f"Sending to  {addresses or nowhere}",
        *(f"            {why}" for why in found["not sent"].values()),
        f"Detail      {level['value']} ({level['origin']}): {level['meaning']}",
        f"            {level['change']}",
        *([f"Notifying   {notified['to']}"] if notified["to"] else []),
        *([f"            the last one failed: {notified['error']}"] if notified["error"] else []),
        *(f"Note        {sentence}" for sentence in found["surroundings"]),
    ]
    if not verbose:
        return "\n".join(plain(line) for line in [*lines, *_in_short(found)]).rstrip()
    lines += [
        "",
        *rows("Ids", ids.items()),
        *rows("Recorded", found["recorded"].items()),
        *(line for row in found["shipped"] for line in rows("Shipped", row.items())),
        *rows("Files", found["files"].items()),
        *rows("Settings", chosen),
        *(f"! {problem}" for problem in found["problems"]),
    ]
    return "\n".join(plain(line) for line in lines).rstrip()


def _in_short(found: Mapping[str, Any]) -> list[str]:
    recorded, problems = found["recorded"], found["problems"]
    since = f" since {recorded['since'][:10]}" if recorded["since"] else ""
    figures = f"{recorded['commands']:,} commands, {recorded['runs']:,} runs, {recorded['bytes'] / 1024:,.0f} KiB"
    lines = [f"Recorded    {figures}{since} in {found['files']['recordings']}"]
    if recorded["not sampled"]:
        lines.append(
            f"            {recorded['not sampled']:,} of them were not sampled: counted, but no span of them is sent"
        )
    if recorded["lost"]:
        lines.append(f"            lost: {worded(recorded['lost'])}")
    for row in found["shipped"][:_RECEIVERS]:
        lines.append(
            f"Waiting     {row['waiting recordings']} recordings for {row['address'] or row['destination']}"
        )
        lines += [f"            {name}: {why}" for name, why in row["held"].items()]
        if row["lost"]:
            lines.append(f"            lost: {worded(row['lost'])}")
        if row["refused spans kept"]:
            number = f"{row['refused spans kept']:,}"
            lines.append(
                f"            {number} refused; to send them again: kedro otel ship --refused"
            )
    lines += [f"! {problem}" for problem in problems[:_PROBLEMS]]
    left = max(len(problems) - _PROBLEMS, 0) + max(len(found["shipped"]) - _RECEIVERS, 0)
    more = f"{left} more, ids" if left else "ids"
    return [*lines, "", f"For {more}, files and settings: kedro otel status --verbose"]


def plain(line: str) -> str:
    """Return ``line`` without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in line)


def rows(title: str, pairs: Iterable[tuple[str, Any]]) -> list[str]:
    """Return ``pairs`` in two columns below ``title``, and an empty line; nothing where there are none."""
    shown = [(key, worded(word)) for key, word in pairs]
    width = max((len(key) for key, _ in shown), default=0)
    return [title, *(f"  {key:{width}}  {word}" for key, word in shown), ""] if shown else []


def worded(word: Any) -> str:
    """Return a value as a person writes it."""
    if isinstance(word, dict):
        return ", ".join(f"{key} {inner}" for key, inner in word.items()) or "none"
    if word is None:
        return "none"
    return ("no", "yes")[word] if isinstance(word, bool) else str(word)


def _setting(known: settings.Settings, decided: consent.Consent, name: str) -> dict[str, Any]:
    if name == "enabled":  # many words decide it, by an order of their own
        return {"value": decided.enabled, "origin": decided.reason}
    return {"value": known.shown(name), "origin": known.origin(name)}


def _change(known: settings.Settings) -> str:
    if known.rank("detail") == settings.PROJECT:
        return f"{paths.PYPROJECT} narrows it: change detail in [tool.kedro_otel] there."
    other = names.RUN if known.value("detail") == names.USAGE else names.USAGE
    return f"To change it: kedro otel connect URL --detail {other}, or export KEDRO_OTEL_DETAIL={other}"


def _notifications(known: settings.Settings) -> dict[str, Any]:
    """Return the webhook's host, and why the last notification could not be posted."""
    error = ""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        error = str(json.loads(files.read(paths.notified(), _MAX_BYTES)).get("error", ""))
    return {"to": known.shown("notify"), "error": error}


def _recorded() -> dict[str, Any]:
    """Count what is recorded; what could not be recorded or read is counted by reason."""
    from kedro_otel.recording import retention
    from kedro_otel.recording.model import SegmentError
    from kedro_otel.recording.reader import segments, strangers
    from kedro_otel.recording.scan import glance

    counts = Counter({"segments": 0, "bytes": 0, names.COMMAND: 0, names.RUN: 0})
    lost = Counter({"segments unreadable": found} if (found := strangers()) else {})
    oldest = 0
    for path in segments():
        counts["segments"] += 1
        try:
            segment = glance(path)
        except SegmentError:
            lost["segments unreadable"] += 1
            continue
        oldest = oldest or segment.header.start_ns
        counts["bytes"] += segment.size
        counts.update(one.operation for one in segment.operations)
        counts["not sampled"] += sum(not one.sampled for one in segment.operations)
        lost.update(segment.lost)
        lost.update(
            {f"lines skipped ({reason})": count for reason, count in segment.skipped.items()}
        )
    lost.update(
        {
            _DROPPED.get(reason, reason): count
            for reason, count in retention.dropped(paths.recordings()).items()
        }
    )
    since = datetime.fromtimestamp(oldest // 10**9, tz=timezone.utc).isoformat() if oldest else None
    return {
        "commands": counts[names.COMMAND],
        "runs": counts[names.RUN],
        "segments": counts["segments"],
        "bytes": counts["bytes"],
        "since": since,
        "not sampled": counts["not sampled"],
        "lost": dict(lost),
    }


def _shipped() -> list[dict[str, Any]]:
    """Return what the journals say, one row per destination and machine."""
    from kedro_otel.shipping import status

    return status.summary()
