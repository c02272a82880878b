"""An office for shipping tests: recordings made by hand for a loopback receiver, and ways to send them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fabricate import Tape
from loopback import Loopback

from kedro_otel.config import destination, settings
from kedro_otel.recording import encoder
from kedro_otel.shipping.process import foreground, launch, lock
from kedro_otel.shipping.state import destination_paths, journal

SHIPPER = "import sys; from kedro_otel.shipping.process.daemon import main; sys.exit(main())"
USAGE = {"service.name": "kedro", "kedro.version": "1.7.0", "kedro.project.name": "demo"}


class Post:
    """Recordings for the receiver at ``loopback``, in this test's own folders, and what has become of them."""

    def __init__(self, loopback: Loopback, home: Path, environment: dict[str, str]) -> None:
        self.loopback = loopback
        self.home = home
        self.environment = environment
        self.recordings = home / "recordings"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.set(OTEL_EXPORTER_OTLP_ENDPOINT=loopback.url)

    def set(self, **variables: str) -> None:
        """Set environment variables, for this process and those of the test."""
        self.environment.update(variables)
        os.environ.update(variables)

    @property
    def settings(self) -> settings.Settings:
        """Return the settings in force."""
        return settings.load(os.environ)

    @property
    def target(self) -> destination.Destination:
        """Return the destination in force."""
        found = destination.current(self.settings, make_key=True)
        assert found is not None
        return found

    @property
    def where(self) -> destination_paths.DestinationPaths:
        """Return the files of the destination in force."""
        return destination_paths.of(self.target.id)

    @property
    def journal(self) -> journal.Journal:
        """Return the journal as it is on disk."""
        return journal.load(self.where.journal)

    def tape(self, at: int | None = None, **header: Any) -> Tape:
        """Begin a recording for the destination in force."""
        return Tape(
            self.recordings,
            at,
            **{
                "destination": self.target.id,
                "detail": os.environ.get("KEDRO_OTEL_DETAIL", "usage"),
                **header,
            },
        )

    def command(self, name: str = "run", error: str | None = None, **header: Any) -> Tape:
        """Record a command that has ended, in a recording of its own."""
        tape = self.tape(**header)
        span = tape.start("command", f"kedro {name}", 0, kedro_command_name=name)
        tape.end(span, 1, error)
        return tape

    def run(self, nodes: int = 2, **header: Any) -> Tape:
        """Record a ``kedro run`` with as many nodes, each with a load and a save."""
        tape = self.tape(**header)
        command = tape.start("command", "kedro run", 0, kedro_command_name="run")
        run = tape.start(
            "run", "run p", 0.1, command, kedro_pipeline_name="p", kedro_project_node_count=nodes
        )
        for number in range(nodes):
            tape.node(f"n{number}", run, 1 + number, 0.1, 0.2, 0.3)
        tape.end(run, nodes + 2)
        tape.end(command, nodes + 3)
        return tape

    def deliver(self, *, everything: bool = False, refused: bool = False) -> foreground.Delivered:
        """Ship in this process, as ``kedro otel ship`` does."""
        return foreground.deliver(
            self.settings, self.target, everything=everything, refused=refused
        )

    def ship(self, timeout: float = 60, code: int | None = 0, **variables: str) -> int:
        """Ship in a process of its own, and wait for its end."""
        done = subprocess.run(
            [sys.executable, "-c", SHIPPER],
            env={**self.environment, **variables},
            timeout=timeout,
            check=False,
            capture_output=True,
            text=True,
        )
        assert code is None or done.returncode == code, done.stderr
        return done.returncode

    def shipper(self, **variables: str) -> subprocess.Popen[bytes]:
        """Start a shipper and do not wait; it ends with the test."""
        self.processes.append(
            subprocess.Popen([sys.executable, "-c", SHIPPER], env={**self.environment, **variables})
        )
        return self.processes[-1]

    def launch(self) -> None:
        """Start the detached shipper as a command does."""
        launch.start("end")

    def idle(self) -> bool:
        """Tell whether no shipper runs."""
        return not lock.held(self.where.lock)

    def until(self, true: Callable[[], Any], seconds: float = 20) -> Any:
        """Wait for something to be true, and return it."""
        end = time.monotonic() + seconds
        while not (found := true()):
            assert time.monotonic() < end, (
                f"not within {seconds} s; {self.loopback.span_names()}; {self.log()}"
            )
            time.sleep(0.02)
        return found

    def log(self) -> str:
        """Return what shippers logged."""
        return "".join(path.read_text() for path in self.home.rglob("shipper-*.log"))

    def bytes_on_disk(self) -> bytes:
        """Return the content of every file in this test's folders."""
        return b"".join(path.read_bytes() for path in self.home.parent.rglob("*") if path.is_file())

    def close(self) -> None:
        """End what this test started: the detached shipper ends by itself when its lock goes."""
        for process in self.processes:
            process.kill()
            process.wait()
        for path in self.home.glob("destinations/*/*.lock"):
            path.unlink()


@pytest.fixture
def post(loopback: Loopback, home: Path, environment: dict[str, str]) -> Iterator[Post]:
    """Return the office of this test."""
    office = Post(loopback, home, environment)
    yield office
    office.close()


def log_line(tape: Tape, text: str) -> None:
    """Append a log record to a segment made by hand."""
    fields = {
        "log": "INFO",
        "traceId": tape.trace,
        "spanId": "1" * 16,
        "timeUnixNano": str(tape.ns(1)),
        "severityNumber": 9,
        "logger": "x",
        "body": text,
        "attributes": [],
    }
    tape.raw(encoder.sealed(json.dumps(fields, separators=(",", ":")).encode() + b"\n"))


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the JSON objects in a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]
