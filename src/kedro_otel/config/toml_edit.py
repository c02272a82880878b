"""Change one key of a TOML text and leave every other byte as it was.

There is no guessing: a candidate text is offered only if, parsed again, it says what the old one said plus that one
change. Where no such text is found the answer is None and the file stays untouched.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from kedro_otel.config import toml_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def insert(text: str, table: tuple[str, ...], key: str, value: str) -> str | None:
    """Return ``text`` with ``key = "value"`` added to ``table``, by insertion alone; None if that cannot be done.

    A missing table is made at the end of the text. None too if the key is there already or the text is no TOML.
    """
    old = toml_file.loads(text)
    if old is None or key in toml_file.table(old, *table):
        return None
    wanted = _with(old, table, key, value)
    return _first(wanted, _insertions(text, table, f"{_spelled(key)} = {quoted(value)}"))


def assign(text: str, table: tuple[str, ...], key: str, literal: str) -> str | None:
    """Return ``text`` with ``key`` of ``table`` set to the TOML ``literal``: replaced on its line, else inserted.

    None if that cannot be done without touching more than the key's own line.
    """
    old = toml_file.loads(text)
    value = (toml_file.loads(f"v = {literal}") or {}).get("v")
    if old is None or value is None:
        return None
    there = key in toml_file.table(old, *table)
    candidates = (
        _replacements(text, key, literal)
        if there
        else _insertions(text, table, f"{_spelled(key)} = {literal}")
    )
    return _first(_with(old, table, key, value), candidates)


def remove(text: str, table: tuple[str, ...], key: str) -> str | None:
    """Return ``text`` without the line of ``key`` in ``table``; None if it takes more than one line or is not there."""
    old = toml_file.loads(text)
    if old is None or key not in toml_file.table(old, *table):
        return None
    lines = text.splitlines(keepends=True)
    places = [number for number, line in enumerate(lines) if _line_of(key).match(line)]
    return _first(
        _with(old, table, key, None),
        ("".join(lines[:place] + lines[place + 1 :]) for place in places),
    )


def commented(text: str) -> str:
    """Return ``text`` with every line made a comment, control characters replaced: nothing is lost, nothing is said."""
    return "".join(f"# {_CONTROL.sub('?', line)}\n" for line in text.splitlines())


def quoted(value: str) -> str:
    """Return ``value`` as a TOML basic string."""
    import json

    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _first(wanted: dict[str, Any] | None, candidates: Iterable[str]) -> str | None:
    """Return the first of ``candidates`` that says what is wanted, None if none does."""
    if wanted is None:
        return None
    return next(
        (text for text in candidates if toml_file.same(toml_file.loads(text), wanted)), None
    )


def _with(
    document: dict[str, Any], table: tuple[str, ...], key: str, value: Any
) -> dict[str, Any] | None:
    """Return a copy of ``document`` with the key set (None: taken away); None if a table's place holds something else."""
    copy = dict(document)
    inner = copy
    for name in table:
        found = inner.get(name, {})
        if not isinstance(found, dict):
            return None
        inner[name] = dict(found)
        inner = inner[name]
    if value is None:
        inner.pop(key, None)
    else:
        inner[key] = value
    return copy


def _spelled(key: str) -> str:
    return key if _BARE.fullmatch(key) else quoted(key)


def _name(key: str) -> str:
    """Return a pattern for the ways to write ``key``."""
    return rf"""(?:{re.escape(key)}|"{re.escape(key)}"|'{re.escape(key)}')"""


def _line_of(key: str) -> re.Pattern[str]:
    return re.compile(rf"[ \t]*{_name(key)}[ \t]*=")


def _insertions(text: str, table: tuple[str, ...], line: str) -> Iterator[str]:
    """Yield texts that may be right, the most natural first."""
    newline = "\r\n" if "\r\n" in text else "\n"
    if not table:
        yield from _at_top_level(text, line, newline)
        return
    dot = r"[ \t]*\.[ \t]*"
    for depth in range(len(table), 0, -1):
        # below the table's own header, else below that of a table around it, with a dotted key
        prefix = "".join(f"{name}." for name in table[depth:])
        header = rf"^[ \t]*\[[ \t]*{dot.join(_name(name) for name in table[:depth])}[ \t]*\][ \t]*(?:#[^\r\n]*)?(?P<end>\r?\n|\Z)"
        for found in re.finditer(header, text, re.MULTILINE):
            lead = "" if found["end"] else newline
            yield f"{text[: found.end()]}{lead}{prefix}{line}{newline}{text[found.end() :]}"
        if depth == len(table):
            for found in re.finditer(
                rf"{_name(table[-1])}[ \t]*=[ \t]*\{{", text
            ):  # it may be written inline
                yield f"{text[: found.end()]} {line} {text[found.end() :]}"  # into an empty one, and only there, without a comma
                yield f"{text[: found.end()]} {line},{text[found.end() :]}"
            yield f"{text}{newline}[{'.'.join(table)}]{newline}{line}{newline}"
    yield f"{''.join(f'{name}.' for name in table)}{line}{newline}{text}"


def _at_top_level(text: str, line: str, newline: str) -> Iterator[str]:
    """Yield texts with ``line`` before the first table, or at the end where there is none."""
    lead = newline if text and not text.endswith("\n") else ""
    yield f"{text}{lead}{line}{newline}"
    for found in re.finditer(r"^[ \t]*\[", text, re.MULTILINE):
        yield f"{text[: found.start()]}{line}{newline}{text[found.start() :]}"
    yield f"{line}{newline}{text}"


def _replacements(text: str, key: str, literal: str) -> Iterator[str]:
    value = r"""(?:"(?:[^"\\\r\n]|\\.)*"|'[^'\r\n]*'|[^#\r\n"']*?)"""
    line = rf"^([ \t]*{_name(key)}[ \t]*=[ \t]*){value}(?P<rest>[ \t]*(?:#[^\r\n]*)?)$"
    # the shadow has the text's length and plain line ends, so its places are the text's places
    for found in re.finditer(line, text.replace("\r\n", " \n"), re.MULTILINE):
        yield f"{text[: found.end(1)]}{literal}{text[found.start('rest') :]}"
