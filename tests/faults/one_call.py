"""Runs in a process with one_call.so preloaded: records or ships in forks of itself while one system call fails.

Reads a JSON line for each trial and writes one: what failed, how many calls there were, what was said.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from fabricate import Tape

from kedro_otel.config import destination, settings
from kedro_otel.recording import encoder
from kedro_otel.recording.writer import RecordingError, Writer
from kedro_otel.shipping import shipper  # noqa: F401 (loaded before the forks)
from kedro_otel.shipping.process import daemon, foreground
from kedro_otel.shipping.state import pruning  # noqa: F401
from kedro_otel.shipping.transport import exporters, http, otlp  # noqa: F401

C = ctypes.CDLL(None)
C.one_call_what.restype = ctypes.c_char_p
RESOURCE = {"service.name": "kedro", "kedro.version": "1.7.0"}


def target() -> destination.Destination:
    """Return the destination in force."""
    found = destination.current(settings.load(os.environ), make_key=True)
    assert found is not None
    return found


def command(home: Path) -> None:
    """Record a command with a run and a node by hand."""
    tape = Tape(home / "recordings", destination=target().id, detail="run", resource=RESOURCE)
    span = tape.start("command", "kedro run", 0, kedro_command_name="run")
    run = tape.start("run", "run p", 0.1, span, kedro_pipeline_name="p")
    tape.node("n", run, 1, 0.1, 0.2, 0.3)
    tape.end(run, 2)
    tape.end(span, 3)


def write(said: list[str]) -> None:
    """Record a command by the real writer, as hooks do."""
    known = settings.load(os.environ)
    facts = {"detail": known.value("detail"), "destination": target().id, "ephemeral": False}
    trace, span = os.urandom(16).hex(), os.urandom(8).hex()
    try:
        writer = Writer(
            Path(os.environ["KEDRO_OTEL_HOME"], "recordings"), RESOURCE, facts, said.append
        )
    except RecordingError as error:
        said.append(str(error))
        return
    now = 1_700_000_000_000_000_000
    words = {"kedro.command.name": "run"}
    writer.start(span, encoder.start("command", trace, span, "", "kedro run", now, words))
    writer.end(span, encoder.end("command", trace, span, now + 1, "[]", error=False))
    writer.close()


def ship() -> None:
    """Ship as a person does who asks for it: no back-off counts."""
    foreground.deliver(settings.load(os.environ), target())


def trial(job: dict[str, Any]) -> dict[str, Any]:
    """Play one trial, and return what came of it."""
    home = Path(job["home"])
    os.environ["KEDRO_OTEL_HOME"] = job["home"]
    command(home)
    command(home)
    ship()
    command(home)
    said: list[str] = []
    prefixes = [word.encode() for word in job["prefixes"]]
    C.one_call_arm(*prefixes, job["at"], job["error"])
    try:
        write(said) if job["what"] == "writer" else daemon.main()
    except OSError as error:
        said.append(repr(error))
    number = C.one_call_number()
    what = C.one_call_what().decode(errors="replace")
    command(home)
    ship()
    ship()
    return {"number": number, "what": what, "said": said}


def answer(found: dict[str, Any]) -> None:
    """Write a line for the test."""
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Play a trial for each line of stdin, each in a fork."""
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            code = 1
            try:
                answer(trial(job))
                code = 0
            except BaseException:  # noqa: BLE001 (the other end reads it)
                answer(
                    {"error": traceback.format_exc()[-1500:], "what": C.one_call_what().decode()}
                )
            finally:
                os._exit(code)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
