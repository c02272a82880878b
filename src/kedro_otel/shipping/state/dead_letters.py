"""Dead letters: what a receiver refused for good, kept with its reason for whoever wants to know why.

A letter names a span; the span itself is in its recording. ``kedro otel ship --refused`` sends it again.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Final

from kedro_otel import guard
from kedro_otel.config import files
from kedro_otel.shipping.failpoints import reached

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kedro_otel.recording.model import Operation

MAX_BYTES: Final = 4 << 20
"""Beyond this the file is begun anew, the one before kept."""


def write(path: Path, why: str, operations: Iterable[Operation]) -> None:
    """Add a line for each operation. A disk that is full or read-only costs the letters, not the shipping: they are counted all the same."""
    rows = [
        {
            "why": why,
            "traceId": one.trace_id,
            "spanId": one.span_id,
            "operation": one.operation,
            "name": one.name,
        }
        for one in operations
    ]
    data = b"".join(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in rows)
    with contextlib.suppress(OSError):
        if path.exists() and path.stat().st_size + len(data) > MAX_BYTES:
            os.replace(path, path.with_suffix(".before.jsonl"))
        flags = (
            os.O_WRONLY
            | os.O_APPEND
            | os.O_CREAT
            | getattr(os, "O_NOFOLLOW", 0)
            | getattr(os, "O_CLOEXEC", 0)
        )
        descriptor = os.open(path, flags, 0o600)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)
    reached("letter written")


def span_ids(path: Path) -> set[str]:
    """Return the ids of the spans that the letters at ``path`` name. Raises OSError where they cannot be read."""
    return {found for one in _files(path) for line in _lines(one) if (found := _span_id(line))}


def number(path: Path) -> int:
    """Return how many spans the letters at ``path`` name, 0 where they cannot be read."""
    try:
        return len(span_ids(path))
    except OSError as error:
        guard.let_through(error)
        return 0


def remove(path: Path, sent: set[str]) -> None:
    """Remove the letters that name a span of ``sent``. Raises OSError where that cannot be written."""
    for one in _files(path):
        before = _lines(one)
        left = [line for line in before if _span_id(line) not in sent]
        if len(left) < len(before):
            files.replace(one, b"".join(line + b"\n" for line in left), mode=0o600, ours=True)


def _files(path: Path) -> tuple[Path, Path]:
    return path.with_suffix(".before.jsonl"), path


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except FileNotFoundError:
        return []


def _span_id(line: bytes) -> str:
    """Return the id of the span that a letter names, "" where the line is damaged."""
    try:
        found = json.loads(line)["spanId"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        guard.let_through(error)
        return ""
    return found if isinstance(found, str) else ""
