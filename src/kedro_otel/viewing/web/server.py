"""The local server: Python's own, on loopback, one thread for each connection."""

from __future__ import annotations

import json
import re
import socket
import sys
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

from kedro_otel import guard
from kedro_otel.viewing.html.page import page
from kedro_otel.viewing.model.find import NotFoundError
from kedro_otel.viewing.trace_json import finite
from kedro_otel.viewing.web.access import Access, stranger
from kedro_otel.viewing.web.live import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedro_otel.viewing.web.answers import Answers

LOOPBACK: Final = "127.0.0.1"
_HERE: Final = Path(__file__).parent
_SHARED: Final = _HERE.parent / "html"
_FILES: Final = {
    "/app.css": ("text/css", (_SHARED / "page.css", _HERE / "app.css")),
    "/app.js": (
        "text/javascript",
        tuple(
            _HERE / f"{name}.js" for name in ("parts", "runs", "history", "compare", "live", "app")
        ),
    ),
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_REPORT_POLICY: Final = "frame-ancestors 'none'; form-action 'none'; base-uri 'none'"
"""What a page cannot say of itself; the report says the rest, with the digests of its script and style."""

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_ID: Final = re.compile(r"[0-9a-f]{16}")
_IDLE_S: Final = 60.0


class Server(ThreadingHTTPServer):
    """Answers on a free port of loopback, or on the one that is named."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, answers: Answers, port: int = 0) -> None:
        """Bind the port. Raises OSError where it is taken."""
        super().__init__((LOOPBACK, port), Handler)
        self.answers = answers
        self.access = Access()

    @property
    def address(self) -> str:
        """The address to open: with the token."""
        return self._with(self.access.token)

    def one_time_address(self) -> str:
        """Return an address that opens once."""
        return self._with(self.access.one_time())

    def _with(self, token: str) -> str:
        return f"http://{LOOPBACK}:{self.server_port}/?token={token}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing where a browser closed its connection."""
        if not isinstance(
            sys.exception() if hasattr(sys, "exception") else sys.exc_info()[1], OSError
        ):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S

    def do_GET(self) -> None:
        """Answer, or refuse."""
        why = stranger(self.headers)
        split = urlsplit(self.path)
        asked = {key: values[-1] for key, values in parse_qs(split.query).items()}
        access = self.server.access
        if why:
            self._refuse(why)
        elif split.path == "/" and "token" in asked:
            if access.opens(asked["token"]):
                self._send(
                    HTTPStatus.SEE_OTHER,
                    b"",
                    "text/plain",
                    {"Location": "/", "Set-Cookie": access.cookie},
                )
            else:
                self._refuse("this token is not the one that `kedro otel ui` printed")
        elif not access.knows(self.headers):
            self._refuse("open the address that `kedro otel ui` printed")
        else:
            self._answer(split.path, asked)

    do_HEAD = do_GET  # noqa: N815 (as the base class calls it)

    def _answer(self, path: str, asked: dict[str, str]) -> None:
        try:
            if path == "/":
                self._send(
                    HTTPStatus.OK,
                    (_HERE / "app.html").read_bytes(),
                    "text/html",
                    {"Content-Security-Policy": _POLICY},
                )
            elif path in _FILES:
                self._send(HTTPStatus.OK, _content(path), _FILES[path][0])
            elif path.startswith("/run/"):
                html = page(self.server.answers.trace(_ident(path[5:])), home="/").encode()
                self._send(
                    HTTPStatus.OK, html, "text/html", {"Content-Security-Policy": _REPORT_POLICY}
                )
            elif path == "/api/live":
                self._stream(Watch(self.server.answers.run(_ident(asked.get("run", "")))))
            elif path in _QUESTIONS:
                found = finite(_QUESTIONS[path](self.server.answers, asked))
                self._send(HTTPStatus.OK, json.dumps(found).encode(), "application/json")
            else:
                self._send(HTTPStatus.NOT_FOUND, b"there is no such page\n", "text/plain")
        except NotFoundError as error:
            self._send(HTTPStatus.NOT_FOUND, f"{error}\n".encode(), "text/plain")
        except ValueError as error:
            guard.let_through(error)
            self._send(HTTPStatus.BAD_REQUEST, b"this is no question\n", "text/plain")

    def _stream(self, watch: Watch) -> None:
        """Send what changes, as server-sent events, until the run or the connection ends."""
        self.close_connection = True
        self._begin(HTTPStatus.OK, "text/event-stream", {})
        if self.command == "HEAD":
            return
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for change in watch.changes():
            self.wfile.write(f"data: {json.dumps(change)}\n\n".encode())

    def _refuse(self, why: str) -> None:
        self._send(HTTPStatus.FORBIDDEN, f"refused: {why}\n".encode(), "text/plain")

    def _send(
        self, status: HTTPStatus, body: bytes, kind: str, headers: dict[str, str] | None = None
    ) -> None:
        self._begin(status, kind, {"Content-Length": str(len(body)), **(headers or {})})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _begin(self, status: HTTPStatus, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        policy = {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"}
        content = {"Content-Type": f"{kind}; charset=utf-8"}
        for key, value in {**_HEADERS, **policy, **content, **headers}.items():
            self.send_header(key, value)
        self.end_headers()

    def version_string(self) -> str:
        """Name the program and no version."""
        return "kedro-otel"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class names it)
        """Print nothing."""


_QUESTIONS: Final[dict[str, Callable[[Answers, dict[str, str]], Any]]] = {
    "/api/runs": lambda answers, asked: answers.runs(asked.get("project", ""), _limit(asked, 200)),
    "/api/names": lambda answers, asked: answers.names(asked.get("project", "")),
    "/api/history": lambda answers, asked: answers.history(
        asked.get("kind", ""), asked.get("name", ""), asked.get("project", ""), _limit(asked, 50)
    ),
    "/api/compare": lambda answers, asked: answers.compare(
        _ident(asked.get("a", "")), _ident(asked.get("b", ""))
    ),
}


def _limit(asked: dict[str, str], default: int) -> int:
    return max(int(asked.get("limit", default)), 1)


def _ident(text: str) -> str:
    if not _ID.fullmatch(text):
        raise ValueError(text)
    return text


@cache
def _content(path: str) -> bytes:
    """Return a file of the app: its parts, one after another; a script's share one scope of their own."""
    kind, parts = _FILES[path]
    text = "\n".join(part.read_text(encoding="utf-8") for part in parts)
    if kind == "text/javascript":
        text = f"(() => {{\n'use strict';\n{text}}})();"
    return text.encode()
