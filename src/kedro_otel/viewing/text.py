"""Words and figures fit for a screen: no name from a recording can move the cursor, change a colour or turn the line around."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from typing import Final

LONGEST: Final = 400
"""Characters kept of one name before anything else is done with it."""

_MARKS: Final = 2
"""Combining marks kept in a row: more would climb over the neighbouring lines."""

_JOINERS: Final = "\u200c\u200d"
_MICROSECOND, _MILLISECOND, _SECOND = 10**3, 10**6, 10**9
_MINUTE, _HOUR, _DAY = 60 * _SECOND, 3600 * _SECOND, 86400 * _SECOND
_KILO: Final = 1024
_EXACT: Final = 10
"""Below so many of a unit, a duration shows one more digit."""


def clean(text: object, longest: int = LONGEST) -> str:
    """Return ``text`` on one line and harmless: what is not printable is shown as a symbol, what is too long is cut in the middle.

    Control characters become their pictures (ESC is ␛), direction overrides and other invisible characters become U+FFFD.
    """
    found = str(text)
    if len(found) > longest:
        found = f"{found[: longest // 2]}…{found[-(longest - longest // 2 - 1) :]}"
    if found.isascii() and found.isprintable():
        return found
    kept: list[str] = []
    marks = 0
    for character in found:
        marks = (
            marks + 1
            if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me")
            else 0
        )
        if marks <= _MARKS:
            kept.append(_harmless(character))
    return "".join(kept)


def _harmless(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\N{SYMBOL FOR DELETE}"
    if character in _JOINERS:
        return ""
    return " " if unicodedata.category(character) == "Zs" else "\N{REPLACEMENT CHARACTER}"


def duration(nanoseconds: int) -> str:
    """Return a duration as a person reads it: ``870 µs``, ``12 ms``, ``3.42 s``, ``2 m 05 s``, ``1 h 02 m``."""
    if nanoseconds < _MILLISECOND:
        return f"{nanoseconds // _MICROSECOND} µs"
    if nanoseconds < _SECOND:
        milliseconds = nanoseconds / _MILLISECOND
        return (
            f"{milliseconds:.1f} ms"
            if milliseconds < _EXACT - 0.05
            else f"{min(milliseconds, 999):.0f} ms"
        )
    if nanoseconds < _MINUTE:
        seconds = nanoseconds / _SECOND
        return f"{seconds:.2f} s" if seconds < _EXACT - 0.005 else f"{min(seconds, 59.9):.1f} s"
    if nanoseconds < _HOUR:
        return f"{nanoseconds // _MINUTE} m {nanoseconds % _MINUTE // _SECOND:02d} s"
    if nanoseconds < _DAY:
        return f"{nanoseconds // _HOUR} h {nanoseconds % _HOUR // _MINUTE:02d} m"
    return f"{nanoseconds // _DAY} d {nanoseconds % _DAY // _HOUR:02d} h"


def moment(nanoseconds: int, now_ns: int) -> str:
    """Return a point in time (since the epoch) in the local zone: ``today 14:03:22``, ``yesterday …``, else with its date."""
    then, now = _local(nanoseconds), _local(now_ns)
    days = (now.date() - then.date()).days
    day = {0: "today", 1: "yesterday"}.get(days) or then.strftime(
        "%a %d %b" if then.year == now.year else "%d %b %Y"
    )
    return f"{day} {then:%H:%M:%S}"


def timestamp(nanoseconds: int) -> str:
    """Return a point in time for machines: ISO 8601 in UTC, to the microsecond."""
    from datetime import timezone

    return (
        datetime.fromtimestamp(nanoseconds // _MICROSECOND / 10**6, timezone.utc)
        .isoformat(timespec="microseconds")
        .replace("+00:00", "Z")
    )


def _local(nanoseconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(nanoseconds / _SECOND).astimezone()
    except (OverflowError, OSError, ValueError):
        return datetime.fromtimestamp(0).astimezone()


def count(number: int, noun: str, plural: str = "") -> str:
    """Return ``1 node`` or ``2,000 nodes``; ``plural`` where that is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def class_name(qualified: str) -> str:
    """Return a class's own name without its modules, as Python's tracebacks are read: ``StockError``.

    What is no class, such as ``kedro_otel.process_died``, stays as it is.
    """
    last = qualified.rpartition(".")[2]
    return last if last[:1].isupper() else qualified


def bytes_of(number: float) -> str:
    """Return bytes as a person reads them: ``870 B``, ``1.2 KiB``, ``340 MiB``."""
    unit = "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(number) < _KILO or unit == "TiB":
            break
        number /= _KILO
    exact = unit != "B" and abs(number) < _EXACT
    return f"{number:.1f} {unit}" if exact else f"{number:.0f} {unit}"
