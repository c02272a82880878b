"""Change one key of a TOML text and leave every other byte as it was.

There is no guessing: a candidate text is offered only if, parsed again, it says what the old one said plus that one
change. Where no such text is found the answer is None and the file stays untouched.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kedro_otel import tomlfile

if TYPE_CHECKING:
    from collections.abc import Iterator


def insert(text: str, table: tuple[str, ...], key: str, value: str) -> str | None:
    """Return ``text`` with ``key = "value"`` added to ``table``, by insertion alone; None if that cannot be done.

    A missing table is made at the end of the text. None too if the key is there already or the text is no TOML.
    """
    old = tomlfile.loads(text)
    if old is None or key in tomlfile.table(old, *table):
        return None
    newline = "\r\n" if "\r\n" in text else "\n"
    literal = quoted(value)
    wanted = _with(old, table, key, value)
    if wanted is None:
        return None
    return next((new for new in _insertions(text, table, f"{key} = {literal}", newline) if tomlfile.loads(new) == wanted), None)


def assign(text: str, table: tuple[str, ...], key: str, literal: str) -> str | None:
    """Return ``text`` with ``key`` of ``table`` set to the TOML ``literal``: replaced on its line, else inserted.

    None if that cannot be done without touching more than the key's own line.
    """
    old = tomlfile.loads(text)
    value = (tomlfile.loads(f"v = {literal}") or {}).get("v")
    if old is None or value is None:
        return None
    wanted = _with(old, table, key, value)
    if wanted is None:
        return None
    newline = "\r\n" if "\r\n" in text else "\n"
    candidates = _replacements(text, key, literal) if key in tomlfile.table(old, *table) else _insertions(text, table, f"{key} = {literal}", newline)
    return next((new for new in candidates if tomlfile.loads(new) == wanted), None)


def remove(text: str, table: tuple[str, ...], key: str) -> str | None:
    """Return ``text`` without the line of ``key`` in ``table``; None if it takes more than one line or is not there."""
    old = tomlfile.loads(text)
    if old is None or key not in tomlfile.table(old, *table):
        return None
    wanted = _with(old, table, key, None)
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        if _line_of(key).match(line):
            new = "".join(lines[:number] + lines[number + 1 :])
            if tomlfile.loads(new) == wanted:
                return new
    return None


def commented(text: str) -> str:
    """Return ``text`` with every line made a comment, control characters replaced: nothing is lost, nothing is said."""
    lines = (
        "# " + "".join(letter if letter == "\t" or ord(letter) >= 32 and ord(letter) != 127 else "?" for letter in line) for line in text.splitlines()
    )
    return "".join(f"{line}\n" for line in lines)


def quoted(value: str) -> str:
    """Return ``value`` as a TOML basic string."""
    import json

    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _with(document: dict[str, Any], table: tuple[str, ...], key: str, value: Any) -> dict[str, Any] | None:
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


def _name(key: str) -> str:
    return rf"""(?:{re.escape(key)}|"{re.escape(key)}"|'{re.escape(key)}')"""


def _line_of(key: str) -> re.Pattern[str]:
    return re.compile(rf"[ \t]*{_name(key)}[ \t]*=")


def _insertions(text: str, table: tuple[str, ...], line: str, newline: str) -> Iterator[str]:
    """Yield texts that may be right, the most natural first."""
    dot = r"[ \t]*\.[ \t]*"
    for depth in range(len(table), 0, -1):
        # below the table's own header, else below that of a table around it, with a dotted key
        prefix = "".join(f"{name}." for name in table[depth:])
        header = re.compile(
            rf"^[ \t]*\[[ \t]*{dot.join(_name(name) for name in table[:depth])}[ \t]*\][ \t]*(?:#[^\r\n]*)?(?P<end>\r?\n|\Z)", re.MULTILINE
        )
        for found in header.finditer(text):
            lead = "" if found["end"] else newline
            yield f"{text[: found.end()]}{lead}{prefix}{line}{newline}{text[found.end() :]}"
        if depth == len(table):
            for place in _inline(text, table):
                yield f"{text[:place]} {line},{text[place:]}"
                yield f"{text[:place]} {line} {text[place:]}"
            yield f"{text}{newline}[{'.'.join(table)}]{newline}{line}{newline}"
    yield f"{''.join(f'{name}.' for name in table)}{line}{newline}{text}"


def _inline(text: str, table: tuple[str, ...]) -> Iterator[int]:
    """Yield the places just after the brace of what may be ``table`` written inline."""
    for found in re.finditer(rf"{_name(table[-1])}[ \t]*=[ \t]*\{{", text):
        yield found.end()


def _replacements(text: str, key: str, literal: str) -> Iterator[str]:
    value = r"""(?:"(?:[^"\\\r\n]|\\.)*"|'[^'\r\n]*'|[^#\r\n"']*?)"""
    for found in re.finditer(rf"^([ \t]*{_name(key)}[ \t]*=[ \t]*){value}(?P<rest>[ \t]*(?:#[^\r\n]*)?)$", text.replace("\r\n", " \n"), re.MULTILINE):
        # the shadow text has the same length, so its places are the text's places
        yield f"{text[: found.end(1)]}{literal}{text[found.start('rest') :]}"
