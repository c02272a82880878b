"""OTLP over HTTP: a requests session for the official exporters that takes nothing on trust.

It follows no redirect (the exporters would count a 302 as a success), reads at most 64 KiB of an answer, ends a request
that drips when its time is up, hands every answer but a success back as final, so that retrying stays ours, and gives
credentials to nobody but the endpoint they were set for: no ``.netrc``, no cookies.
"""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
import zlib
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final

import requests
from requests.auth import HTTPBasicAuth
from requests.utils import get_auth_from_url

from kedro_otel.shipping.state.journal import HOLD, OK, RETRY
from kedro_otel.shipping.transport.responses import (
    NO_ANSWER,
    UNREACHABLE,
    WRONG_PROTOCOL,
    Answer,
    of_http,
    one_line,
    partial_success,
    said_partially,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_ANSWER: Final = 64 * 1024
FINAL: Final = 400
"""The status that the exporters are shown for whatever was no success: it is the one after which they neither sleep nor try again."""

_SUCCESS: Final = range(200, 300)


class _TimeIsUpError(BaseException):
    """Raised by the alarm, through whatever is waiting for bytes; not an Exception, so that nothing on the way eats it."""


class Session(requests.Session):
    """Sends one request at a time; ``answer`` is what became of the last."""

    def __init__(
        self, url: str, timeout: float, signal_name: str, certificate: str | None = None
    ) -> None:
        """Send to ``url``, which may hold user and password, giving up after ``timeout`` seconds.

        ``signal_name`` is "traces" or "metrics"; ``certificate`` the file of the authorities to trust, if it is not the system's.
        """
        super().__init__()
        self._certificate = certificate
        self.answer = Answer(RETRY, "not sent", NO_ANSWER)
        self._signal = signal_name
        self._timeout = timeout
        user, password = get_auth_from_url(url)
        self._basic = HTTPBasicAuth(user, password) if user or password else None
        self.auth = self._authorise  # whatever is callable here keeps requests from looking into .netrc; proxies stay as they are
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.headers["Accept-Encoding"] = "identity"

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send, read a bounded answer within a bounded time, and show the exporter a success or a final refusal."""
        kwargs["allow_redirects"] = False
        kwargs["stream"] = True
        if self._certificate:
            kwargs["verify"] = (
                self._certificate
            )  # REQUESTS_CA_BUNDLE would go before what the exporter sets
        deadline = time.monotonic() + self._timeout
        try:
            with _alarm(self._timeout + 0.5):
                response = super().send(request, **kwargs)
                with contextlib.closing(response):
                    body = _read(response, deadline)
                    self.answer = self._judged(response, body)
        except _TimeIsUpError:
            self.answer = Answer(RETRY, f"no answer within {self._timeout:g} s", NO_ANSWER)
        except requests.exceptions.RequestException as error:
            self.answer = _of_error(error, self._timeout)
        except (OSError, ValueError):
            # what the network does comes as a RequestException; this is a file that cannot be read, or an odd URL
            self.answer = Answer(
                HOLD, "the endpoint, its certificate or its key cannot be used", UNREACHABLE
            )
        if self.answer.outcome != OK:
            self.close()  # a connection that disappointed is not used again
        return _shown(request, self.answer)

    def _authorise(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._basic is not None and "Authorization" not in request.headers:
            self._basic(request)
        return request

    def _judged(self, response: requests.Response, body: bytes) -> Answer:
        kind = response.headers.get("Content-Type", "").lower()
        if response.status_code in _SUCCESS:
            answer = of_http(response.status_code, content_type=kind)
            return (
                answer._replace(**_partial(self._signal, kind, body))
                if answer.outcome == OK
                else answer
            )
        text, verdict = _said(kind, body)
        return of_http(
            response.status_code,
            text=text,
            verdict=verdict,
            content_type=kind,
            retry_after=response.headers.get("Retry-After"),
        )


def _shown(request: requests.PreparedRequest, answer: Answer) -> requests.Response:
    """Return what the exporter gets to see."""
    response = requests.Response()
    response.status_code = 200 if answer.outcome == OK else FINAL
    response.reason = answer.outcome
    response.request = request
    response.url = ""
    response._content = b""  # noqa: SLF001 (there is no public way to make a Response with a known, empty body)
    return response


def _read(response: requests.Response, deadline: float) -> bytes:
    """Return at most MAX_ANSWER bytes of the answer, decoded. What is beyond is left unread."""
    body = bytearray()
    while len(body) < MAX_ANSWER and time.monotonic() < deadline:
        chunk = response.raw.read(4096, decode_content=False)
        if not chunk:
            break
        body += chunk
    if response.headers.get("Content-Encoding", "").lower() in ("gzip", "deflate", "x-gzip"):
        with contextlib.suppress(zlib.error):
            return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(bytes(body), MAX_ANSWER)
        return b""
    return bytes(body[:MAX_ANSWER])


def _partial(signal_name: str, kind: str, body: bytes) -> dict[str, Any]:
    """Return ``rejected`` and ``why`` of a partial success, {} of a whole one."""
    try:
        if "json" in kind:
            fields = json.loads(body or b"{}").get("partialSuccess") or {}
            words = ("rejectedSpans", "rejectedDataPoints", "rejectedLogRecords")
            rejected = next((found for word in words if (found := fields.get(word))), 0)
            return said_partially(int(rejected), str(fields.get("errorMessage") or ""))
        return partial_success(signal_name, _message(signal_name, body)) if body else {}
    except Exception:  # noqa: BLE001 (a success is a success, whatever bytes come with it)
        return {}


def _message(signal_name: str, body: bytes) -> Any:
    if signal_name == "traces":
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceResponse,
        )

        return ExportTraceServiceResponse.FromString(body).partial_success
    if signal_name == "logs":
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

        return ExportLogsServiceResponse.FromString(body).partial_success
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceResponse,
    )

    return ExportMetricsServiceResponse.FromString(body).partial_success


def _said(kind: str, body: bytes) -> tuple[str, bool]:
    """Return what a refusal says, in one short line, and whether it is a ``Status`` as OTLP wants it of a receiver."""
    if not body or "html" in kind:
        return "", False
    if "protobuf" in kind:
        try:
            from google.rpc import status_pb2

            status = status_pb2.Status.FromString(body)
            return one_line(str(status.message)), bool(status.code or status.message)
        except Exception:  # noqa: BLE001 (a refusal is one, whatever bytes come with it)
            return "", False
    if "json" in kind:
        with contextlib.suppress(ValueError, AttributeError):
            fields = json.loads(body)
            return one_line(str(fields.get("message", ""))), type(fields.get("code")) is int
    return one_line(body.decode("utf-8", "replace")), False


def _of_error(error: requests.exceptions.RequestException, timeout: float) -> Answer:
    """Return what an exception means; its text is not used, since it may repeat the URL with its credentials."""
    if isinstance(error, requests.exceptions.SSLError):
        return Answer(HOLD, f"TLS: {_ssl_reason(error)}", UNREACHABLE)
    if isinstance(error, requests.exceptions.ProxyError):
        return Answer(RETRY, "the proxy did not let us through", UNREACHABLE)
    if isinstance(error, requests.exceptions.Timeout):
        return Answer(RETRY, f"no answer within {timeout:g} s", NO_ANSWER)
    if isinstance(error, requests.exceptions.ConnectionError):
        return _of_connection(str(error))
    if isinstance(
        error,
        requests.exceptions.InvalidURL
        | requests.exceptions.MissingSchema
        | requests.exceptions.InvalidSchema,
    ):
        return Answer(HOLD, "the endpoint is not a URL that can be called", UNREACHABLE)
    return Answer(RETRY, type(error).__name__, NO_ANSWER)


_REASONS: Final = (
    ("Connection refused", "connection refused", UNREACHABLE),
    ("actively refused", "connection refused", UNREACHABLE),
    ("NameResolutionError", "the host's name is not known", UNREACHABLE),
    ("Name or service not known", "the host's name is not known", UNREACHABLE),
    ("getaddrinfo failed", "the host's name is not known", UNREACHABLE),
    ("No route to host", "no route to the host", UNREACHABLE),
    ("Network is unreachable", "the network is unreachable", UNREACHABLE),
    ("BadStatusLine", "the answer is not HTTP; is that a gRPC port?", WRONG_PROTOCOL),
    ("reset by peer", "the connection was reset", NO_ANSWER),
    ("Broken pipe", "the connection was reset", NO_ANSWER),
    ("RemoteDisconnected", "the connection was closed without an answer", NO_ANSWER),
)


def _of_connection(text: str) -> Answer:
    for word, why, status in _REASONS:
        if word in text:
            return Answer(RETRY, why, status)
    return Answer(RETRY, "the connection failed", UNREACHABLE)


def _ssl_reason(error: Exception) -> str:
    text = str(error)
    for word, why in (
        ("CERTIFICATE_VERIFY_FAILED", "the receiver's certificate is not trusted"),
        ("WRONG_VERSION_NUMBER", "the receiver does not speak TLS"),
        ("CERTIFICATE_REQUIRED", "the receiver wants a client certificate"),
        ("HANDSHAKE_FAILURE", "the handshake failed"),
    ):
        if word in text.upper().replace(" ", "_"):
            return why
    return "no secure connection"


@contextlib.contextmanager
def _alarm(after: float) -> Iterator[None]:
    """Raise :class:`_TimeIsUpError` in this thread after ``after`` seconds, where the system has such alarms.

    Timeouts of sockets are per read: a receiver that drips a byte a second would never be done.
    """
    if (
        not hasattr(signal, "setitimer")
        or threading.current_thread() is not threading.main_thread()
    ):
        yield
        return

    def ring(*_: object) -> None:
        raise _TimeIsUpError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, after)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
