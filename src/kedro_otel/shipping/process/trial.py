"""Asks a receiver from a process that is started as the one that ships is, so that what answers here answers there.

Interpreter, packages, environment and certificates are the shipper's. What a command is about to
save comes by a pipe: it may hold credentials.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from kedro_otel.config import destination, paths, settings, user_file
from kedro_otel.shipping.process import launch, spawn
from kedro_otel.shipping.transport.responses import NOT_STARTED, Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedro_otel.config.settings import Settings

PATIENCE: Final = 30.0
"""Seconds for the start of a process and an answer to each signal."""


def attempt(known: Settings, changes: Mapping[str, Any] | None = None) -> dict[str, Answer]:
    """Return what each signal's receiver answered, by "traces", "metrics" and "logs".

    Args:
        known: The settings to try.
        changes: What of them is not saved yet; None where they are those in force.
    """
    names = [name for name in destination.signals(known) if destination.signal(known, name)]
    if not names:
        return {}
    try:
        found = json.loads(_asked(json.dumps(changes).encode()) or b"{}")
    except OSError as error:
        why = error.strerror or str(error)
        return dict.fromkeys(names, Answer("", f"the process that sends: {why}", NOT_STARTED))
    ended = Answer("", "the process that sends ended without an answer", NOT_STARTED)
    return {name: Answer(*found[name]) if name in found else ended for name in names}


def _asked(data: bytes) -> bytes:
    """Start the process, give it ``data``, and return what it wrote within PATIENCE."""
    source, feed = os.pipe()
    answer, result = os.pipe()
    until = time.monotonic() + PATIENCE
    try:
        try:
            home = paths.home()
            folder = home if os.path.isdir(home) else os.path.abspath(os.sep)
            spawn.start("shipping.process.trial", "doctor", folder, stdin=source, stdout=result)
        finally:
            os.close(source)
            os.close(result)
        launch.write_within(feed, data, PATIENCE)
        os.close(feed)
        feed = -1
        read = b""
        while launch.is_ready(answer, max(until - time.monotonic(), 0), to_read=True):
            more = os.read(answer, 65536)
            if not more:
                break
            read += more
        return read
    finally:
        for descriptor in (answer, feed):
            if descriptor >= 0:
                os.close(descriptor)


def main() -> int:
    """Ask as stdin says, and write the answers to stdout."""
    from kedro_otel.shipping.transport import probe

    changes = json.loads(sys.stdin.buffer.read())
    known = settings.load(os.environ) if changes is None else user_file.as_if(changes, os.environ)
    os.write(1, json.dumps(probe.probe(known)).encode())
    return 0
