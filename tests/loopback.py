"""An OTLP/HTTP receiver on loopback that behaves as it is told, and remembers what it got.

    server = Loopback()
    server.script("traces", 503, Refuse(429, {"Retry-After": "1"}), HANG)   # then accepts
    ...
    assert server.span_names() == ["kedro run"]

An answer of the script is a status, or a function that gets the handler and does what it likes with the connection.
"""

from __future__ import annotations

import contextlib
import gzip
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

_REQUESTS: dict[str, Any] = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}
Act = Callable[["Handler"], None]


class Request(NamedTuple):
    """What came: ``signal`` is "traces", "metrics" or "logs", ``message`` the parsed protobuf, ``size`` bytes before decompression."""

    signal: str
    path: str
    headers: dict[str, str]
    message: Any
    size: int
    at: float
    accepted: bool


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Loopback

    def do_POST(self) -> None:
        """Take one request."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        named = (name for name in ("metrics", "logs") if name in self.path)
        signal = next(named, "traces")
        act = self.server.next(signal)
        self.server.got(signal, self, body, accepted=act == 200)
        if act == 400:  # as an OTLP receiver says it
            self.answer(act, {"Content-Type": "application/json"}, b'{"code":3,"message":"no"}')
        elif isinstance(act, int):
            self.answer(act)
        else:
            act(self)

    def do_GET(self) -> None:
        """Remember that somebody came by a redirect."""
        self.server.gets.append(self.path)
        self.answer(404)

    def answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        """Answer with a whole response."""
        self.send_response(status)
        for name, value in {"Content-Type": "application/x-protobuf", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Loopback(ThreadingHTTPServer):
    """The receiver. Accepts whatever is not in the script."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.requests: list[Request] = []
        self.gets: list[str] = []
        self.always: dict[str, int | Act] = {}
        self._script: dict[str, list[int | Act]] = {"traces": [], "metrics": [], "logs": []}
        self._mutex = threading.Lock()
        self.closing = threading.Event()
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def script(self, signal: str, *acts: int | Act) -> None:
        """Answer the next requests of ``signal`` so."""
        with self._mutex:
            self._script[signal] += acts

    def next(self, signal: str) -> int | Act:
        """Return what to do with the next request of ``signal``."""
        with self._mutex:
            return (
                self._script[signal].pop(0)
                if self._script[signal]
                else self.always.get(signal, 200)
            )

    def got(self, signal: str, handler: Handler, body: bytes, *, accepted: bool) -> None:
        """Remember a request."""
        kind = handler.headers.get("Content-Encoding", "")
        data = (
            gzip.decompress(body)
            if kind == "gzip"
            else zlib.decompress(body)
            if kind == "deflate"
            else body
        )
        message = _REQUESTS[signal].FromString(data)
        with self._mutex:
            headers = {name.lower(): value for name, value in handler.headers.items()}
            self.requests.append(
                Request(signal, handler.path, headers, message, len(body), time.time(), accepted)
            )

    def close(self) -> None:
        """Stop."""
        self.closing.set()
        self.shutdown()
        self.server_close()

    # --- what came ----------------------------------------------------------------------------------------------

    def of(self, signal: str, *, accepted: bool = True) -> list[Request]:
        """Return the requests of ``signal``, those that were not accepted too if asked."""
        with self._mutex:
            return [
                request
                for request in self.requests
                if request.signal == signal and (request.accepted or not accepted)
            ]

    def spans(self, *, accepted: bool = True) -> list[Any]:
        """All spans that were accepted, in the order in which they came, repetitions included."""
        return [
            span
            for request in self.of("traces", accepted=accepted)
            for resource in request.message.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def span_names(self) -> Counter[str]:
        """Names of the spans that were accepted, each id once."""
        return Counter({span.span_id: span.name for span in self.spans()}.values())

    def resources(self, signal: str = "traces") -> list[dict[str, Any]]:
        """Return the attributes of every resource that came."""
        return [
            attributes(resource.resource.attributes)
            for request in self.of(signal)
            for resource in (
                request.message.resource_spans
                if signal == "traces"
                else request.message.resource_metrics
            )
        ]

    def points(self) -> list[Point]:
        """All points that were accepted, in the order in which they came."""
        return [point for request in self.of("metrics") for point in _points(request.message)]

    def totals(self, metric: str) -> dict[tuple[Any, ...], float]:
        """What a database of cumulative series would say: the value of the latest point of each series, by its attributes, over all instances."""
        latest: dict[tuple[Any, ...], Point] = {}
        for point in self.points():
            if point.metric == metric and (
                point.series not in latest or latest[point.series].time_ns <= point.time_ns
            ):
                latest[point.series] = point
        found: dict[tuple[Any, ...], float] = {}
        for point in latest.values():
            found[point.attributes] = found.get(point.attributes, 0) + point.value
        return found

    def total(self, metric: str) -> float:
        """Return the sum of :meth:`totals`."""
        return sum(self.totals(metric).values())


class Point(NamedTuple):
    """One point: ``series`` is metric, instance and attributes; ``value`` a histogram's count."""

    metric: str
    instance: str
    attributes: tuple[Any, ...]
    start_ns: int
    time_ns: int
    value: float
    data: Any

    @property
    def series(self) -> tuple[Any, ...]:
        """Tell which series it belongs to."""
        return (self.metric, self.instance, self.attributes)


def _points(message: Any) -> Iterator[Point]:
    for resource in message.resource_metrics:
        instance = attributes(resource.resource.attributes).get("service.instance.id", "")
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                for data in getattr(metric, kind).data_points:
                    value = (
                        data.count
                        if kind == "histogram"
                        else data.as_double
                        if data.HasField("as_double")
                        else data.as_int
                    )
                    row = tuple(sorted(attributes(data.attributes).items()))
                    yield Point(
                        metric.name,
                        instance,
                        row,
                        data.start_time_unix_nano,
                        data.time_unix_nano,
                        value,
                        metric,
                    )


def attributes(rows: Any) -> dict[str, Any]:
    """Return OTLP attributes as a dictionary."""
    return {row.key: _value(row.value) for row in rows}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return (
        [_value(item) for item in value.array_value.values]
        if kind == "array_value"
        else getattr(value, kind)
    )


# --- ways to misbehave --------------------------------------------------------------------------------------------


def refuse(status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Act:
    """Answer so."""
    return lambda handler: handler.answer(status, headers, body)


def hang(handler: Handler) -> None:
    """Take the request and never answer."""
    handler.server.closing.wait(60)
    handler.close_connection = True


def drip(handler: Handler) -> None:
    """Answer one byte at a time, for ever."""
    with contextlib.suppress(OSError):
        for byte in b"HTTP/1.1 200 OK\r\nX-Filler: " + b"x" * 10_000:
            handler.connection.sendall(bytes([byte]))
            if handler.server.closing.wait(0.1):
                break
    handler.close_connection = True


def reset(handler: Handler) -> None:
    """Reset the connection in place of an answer."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()


def lose(handler: Handler) -> None:
    """Close the connection in place of an answer."""
    handler.close_connection = True


def redirect_to(url: str, status: int = 302) -> Act:
    """Send elsewhere."""
    return refuse(status, {"Location": url})


def endless(handler: Handler) -> None:
    """Answer 200 with a body that never ends."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/x-protobuf")
    handler.end_headers()
    with contextlib.suppress(OSError):
        while not handler.server.closing.is_set():
            handler.wfile.write(bytes(65536))
    handler.close_connection = True


def partial_spans(rejected: int, message: str) -> Act:
    """Accept all but some."""
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans, response.partial_success.error_message = (
        rejected,
        message,
    )
    return refuse(200, body=response.SerializeToString())


def partial_points(rejected: int, message: str) -> Act:
    """Accept all but some."""
    response = ExportMetricsServiceResponse()
    response.partial_success.rejected_data_points, response.partial_success.error_message = (
        rejected,
        message,
    )
    return refuse(200, body=response.SerializeToString())


def accepted_but_lost(handler: Handler) -> None:
    """Keep what came as accepted, but let nobody know: the connection closes without an answer."""
    with handler.server._mutex:
        handler.server.requests[-1] = handler.server.requests[-1]._replace(accepted=True)
    handler.close_connection = True


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    """Return a receiver for one test."""
    server = Loopback()
    yield server
    server.close()
