"""Endpoints on loopback, as a user may meet them: up, refused, hung and slow."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SLOW_SECONDS = 2.0


class _Answer(BaseHTTPRequestHandler):
    """Accepts whatever OTLP is posted, after ``delay`` seconds."""

    delay = 0.0
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(self.delay)
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Slow(_Answer):
    delay = SLOW_SECONDS


@contextlib.contextmanager
def endpoint(kind: str) -> Iterator[str]:
    """Yield the URL of an endpoint that is ``up``, ``slow`` (answers after two seconds), ``hung`` (never answers) or ``refused``."""
    if kind in {"up", "slow"}:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Slow if kind == "slow" else _Answer)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        server.server_close()
        return
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if kind == "hung":
            listener.listen(1024)  # the kernel accepts, and nobody ever reads
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
