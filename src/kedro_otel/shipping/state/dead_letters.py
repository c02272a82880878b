"""Dead letters: what a receiver refused for good, kept with its reason for whoever wants to know why."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Final

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
