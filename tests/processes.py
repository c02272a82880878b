"""Programs of a test's own: where the built binaries are, free loopback ports, and processes that are ended with the test run."""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import pytest

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 40.0
"""How long a server may take to answer its health check; the machines that build pull requests are slow and busy."""

T = TypeVar("T")
_running: set[Server] = set()


def _builds() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "kedro_otel_servers_build", ROOT / "servers" / "build.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BINARIES: dict[str, Path | None] = {
    name: _builds().find(name)
    for name in ("otelcol", "jaeger", "prometheus", "promtool", "compose")
}
"""Looked up at import, while HOME and the variables that name binaries are still the developer's and not a test's."""


def binary(name: str) -> Path:
    """The named server's binary (see ``servers/build.py``); skips the test when there is none (mark it ``servers``, and CI makes that a failure)."""
    path = BINARIES[name]
    if path is None:
        pytest.skip(f"the real {name} is not built; run python3 servers/build.py {name}")
    return path


def free_ports(count: int) -> list[int]:
    """Loopback TCP ports that nobody listened on a moment ago, all different."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [opened.getsockname()[1] for opened in sockets]
    finally:
        for opened in sockets:
            opened.close()


def request(
    url: str, body: object = None, headers: Mapping[str, str] | None = None, seconds: float = 10.0
) -> tuple[int, bytes]:
    """One HTTP request past any proxy (POST of JSON if there is a body); returns status and answer, 0 when nobody answered."""
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    asked = urllib.request.Request(
        url, data=data, headers={"Content-Type": "application/json", **(headers or {})}
    )
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            asked, timeout=seconds
        ) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()
    except OSError:
        return 0, b""


def eventually(
    ask: Callable[[], T],
    enough: Callable[[T], bool] = bool,
    *,
    seconds: float = 30.0,
    every: float = 0.1,
) -> T:
    """Ask again until the answer is enough, and return it; after ``seconds`` return the last one, for the assertion to show."""
    deadline = time.monotonic() + seconds
    while not enough(answer := ask()) and time.monotonic() < deadline:
        time.sleep(every)
    return answer


class Server:
    """One server process: started, killed and started again on the same ports and files."""

    name = ""
    ports_needed = 0

    def __init__(self, folder: Path) -> None:
        """Prepare a server whose files live in ``folder``; nothing runs yet."""
        self.program = binary(self.name)
        self.folder = folder
        self.ports = free_ports(self.ports_needed)
        self.process: subprocess.Popen[bytes] | None = None
        self.environment: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def log(self) -> str:
        """What the process said, over all its lives."""
        path = self.folder / "log.txt"
        return path.read_text(errors="replace") if path.exists() else ""

    def command(self) -> Sequence[str]:
        """The arguments after the program's name."""
        raise NotImplementedError

    def ready(self) -> bool:
        """Whether it answers its health check."""
        raise NotImplementedError

    def launch(self) -> None:
        """Start the process without waiting for it."""
        inherited = {
            key: os.environ[key] for key in ("PATH", "SYSTEMROOT", "TMPDIR") if key in os.environ
        }
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.program), *self.command()],
                cwd=self.folder,
                env={**inherited, "HOME": str(self.folder), **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        _running.add(self)

    def start(self) -> None:
        """Start the process and wait until it is ready."""
        for attempt in range(3):
            self.launch()
            eventually(
                lambda: self.process is None or self.process.poll() is not None or self.ready(),
                seconds=READY_SECONDS,
                every=0.05,
            )
            if self.ready():
                return
            taken = "address already in use" in self.log
            self.stop()
            if not taken or attempt == 2:
                break
            # Somebody took a port between our looking and the server's binding.
            self.ports = free_ports(self.ports_needed)
        pytest.fail(f"{self.name} did not get ready; its log ends with:\n{self.log[-3000:]}")

    def kill(self) -> None:
        """End it as the out-of-memory killer would."""
        self._end(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)

    def stop(self) -> None:
        """Ask it to end, and make sure that it does."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Stop it and start it again on the same ports."""
        self.stop()
        self.start()

    def memory(self) -> int:
        """Resident memory in bytes (Linux)."""
        assert self.process is not None
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    def cpu(self) -> float:
        """Seconds of processor time that this life of the process has taken (Linux)."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _end(self, how: signal.Signals) -> None:
        process, self.process = self.process, None
        _running.discard(self)
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(how)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(15)


@atexit.register
def _end_all() -> None:
    for server in list(_running):
        server.stop()
