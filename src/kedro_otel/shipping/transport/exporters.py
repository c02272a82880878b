"""The official OTLP exporters of one destination, and what became of each request.

Over HTTP the exporters get our session, which tells the answer (:mod:`kedro_otel.shipping.transport.http`). Over gRPC they tell
success or failure, and the status only in what they log; so their log is read, and their own retries are turned off
where they can be.
"""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any, Final

from kedro_otel.config.destination import GRPC, LOGS, METRICS, TRACES, Signal
from kedro_otel.shipping.state.journal import HOLD, OK, REJECT, RETRY, WITHDRAWN
from kedro_otel.shipping.transport.responses import (
    NO_ANSWER,
    NOT_ENCODED,
    Answer,
    of_grpc,
    partial_success,
    redacted,
    secrets_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.metrics.export import MetricsData
    from opentelemetry.sdk.trace import ReadableSpan

_LOGGERS: Final = (
    "opentelemetry.util.re",  # its warning about a malformed header repeats the header
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.http._log_exporter",
)


class Sender:
    """One signal's way to its receiver. The exporter is made, and its packages imported, when there is something to send."""

    def __init__(
        self, name: str, signal: Signal, may_leave: Callable[[], bool] = lambda: True
    ) -> None:
        """Make nothing yet; ``name`` is "traces", "metrics" or "logs". ``may_leave`` is asked before each request."""
        self._may_leave = may_leave
        self.name = name
        self.signal = signal
        self._exporter: Any = None
        self._answered: Any = None

    def spans(self, spans: Sequence[ReadableSpan]) -> Answer:
        """Send ``spans`` in one request."""
        return self._send(spans)

    def metrics(self, data: MetricsData) -> Answer:
        """Send ``data`` in one request."""
        return self._send(data)

    def logs(self, records: Sequence[Any]) -> Answer:
        """Send ``records``, of :func:`otlp.log`, in one request."""
        return self._send(records)

    def close(self) -> None:
        """Close the connection."""
        exporter, self._exporter = self._exporter, None
        if exporter is not None:
            exporter.shutdown()

    def _send(self, data: Any) -> Answer:
        if not self._may_leave():
            return Answer(WITHDRAWN, "not sent: switched off, disconnected or narrowed")
        try:
            if self._exporter is None:
                self._exporter, self._answered = (_grpc if self.signal.protocol == GRPC else _http)(
                    self.name, self.signal
                )
        except ImportError as error:
            return Answer(
                HOLD,
                f"{error.name or 'a package'} is missing for {self.signal.protocol}",
                NO_ANSWER,
            )
        except (OSError, ValueError, TypeError) as error:
            # such as a certificate that is not there: nothing that trying again would mend
            return Answer(HOLD, f"the exporter cannot be used: {type(error).__name__}", NO_ANSWER)
        try:
            accepted = self._exporter.export(data).name == "SUCCESS"
        except Exception:  # noqa: BLE001 (what the network does is an Answer; others are judged below)
            accepted = False
        answer: Answer = self._answered(accepted)
        if (
            not accepted
            and answer.status == NO_ANSWER
            and (why := _encoding_error(self.name, data))
        ):
            return Answer(REJECT, f"cannot be encoded: {why}", NOT_ENCODED)
        secrets = secrets_of(self.signal.headers, self.signal.url)
        return answer._replace(why=redacted(answer.why, secrets))


def _encoding_error(name: str, data: Any) -> str:
    """Return what the exporter's encoder raises for ``data``, "" where it is not the reason of a failure."""
    try:
        encoder(name)(data)
    except Exception as error:  # noqa: BLE001 (whatever it is, nothing will come of trying again)
        return type(error).__name__
    return ""


def encoder(name: str) -> Callable[[Any], Any]:
    """Return the function of the exporters' that makes a message of a signal's data."""
    if name == TRACES:
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

        return encode_spans
    if name == METRICS:
        from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics

        return encode_metrics
    from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs

    return encode_logs


def _exporter_class(name: str, protocol: str) -> Any:
    """Return the official exporter of a signal. Logs' is public by the specification, and by its name a module's own still."""
    from importlib import import_module

    kind = "grpc" if protocol == GRPC else "http"
    module, found = {
        TRACES: ("trace_exporter", "OTLPSpanExporter"),
        METRICS: ("metric_exporter", "OTLPMetricExporter"),
        LOGS: ("_log_exporter", "OTLPLogExporter"),
    }[name]
    return getattr(import_module(f"opentelemetry.exporter.otlp.proto.{kind}.{module}"), found)


def _http(name: str, signal: Signal) -> tuple[Any, Any]:
    from opentelemetry.exporter.otlp.proto.http import Compression

    from kedro_otel.shipping.transport.http import Session

    _quiet()
    session = Session(signal.url, signal.timeout, name, signal.certificate)
    exporter = _exporter_class(name, signal.protocol)(
        endpoint=signal.url,
        certificate_file=signal.certificate,
        client_key_file=signal.client_key,
        client_certificate_file=signal.client_certificate,
        headers=signal.headers
        or {
            "x-kedro-otel": "1"
        },  # with none, the exporter would take those of the environment, meant for another endpoint
        timeout=signal.timeout,
        compression=Compression(signal.compression or "none"),
        session=session,
    )
    return (
        exporter,
        lambda accepted: (
            session.answer
            if accepted == (session.answer.outcome == OK)
            else Answer(RETRY, "not sent", NO_ANSWER)
        ),
    )


def _grpc(name: str, signal: Signal) -> tuple[Any, Any]:
    from grpc import Compression

    log = _quiet()
    exporter_class = _exporter_class(name, GRPC)
    more: dict[str, Any] = {}
    if "retryable_error_codes" in inspect.signature(exporter_class).parameters:
        from grpc import StatusCode

        more["retryable_error_codes"] = [StatusCode.OK]  # none: OK is no error
    exporter = exporter_class(
        endpoint=_without_path(signal.url),
        insecure=_insecure(signal),
        credentials=_credentials(signal),
        headers=tuple(_metadata(signal).items()),
        timeout=signal.timeout,
        compression=Compression.Gzip if signal.compression == "gzip" else Compression.NoCompression,
        **more,
    )
    partial = _listened(exporter, name)

    def answer(accepted: bool) -> Answer:  # noqa: FBT001 (a callback with one meaning)
        found = log.answer(accepted)
        return found._replace(**partial()) if found.outcome == OK else found

    return exporter, answer


def _listened(exporter: Any, name: str) -> Callable[[], dict[str, Any]]:
    """Return a function that tells the partial success of the last answer: the exporter itself drops it.

    What sends is an attribute that the exporter does not promise: where there is none, no partial success is known.
    """
    last: list[Any] = []
    client: Any = getattr(exporter, "_client", None)
    send = getattr(client, "Export", None)
    if send is None:
        return dict

    def export(*args: Any, **options: Any) -> Any:
        last[:] = [send(*args, **options)]
        return last[0]

    client.Export = export

    def partial() -> dict[str, Any]:
        return partial_success(name, last.pop().partial_success) if last else {}

    return partial


class _Log(logging.Handler):
    """Keeps what the exporters log, in place of a terminal: the only public word of theirs about a gRPC status."""

    def __init__(self) -> None:
        super().__init__()
        self.last: tuple[str, str] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        words = record.args if isinstance(record.args, tuple) else ()
        for place, word in enumerate(words):
            code = getattr(word, "name", None)
            if type(word).__name__ == "StatusCode" and code:
                detail = words[place + 1] if len(words) > place + 1 else ""
                self.last = (code, str(detail)[:200])

    def answer(self, accepted: bool) -> Answer:  # noqa: FBT001 (a callback with one meaning)
        last, self.last = self.last, None
        if accepted:
            return Answer(OK, "", "OK")
        return of_grpc(*last) if last else Answer(RETRY, "no answer", NO_ANSWER)


_log = _Log()


def _quiet() -> _Log:
    """Let the exporters log to nobody but :class:`_Log`: what they say repeats what an Answer says, at every attempt."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        for each in list(logger.filters):
            logger.removeFilter(each)  # one of them drops repeated messages, of which we need each
        if _log not in logger.handlers:
            logger.addHandler(_log)
        logger.propagate = False
        logger.setLevel(logging.WARNING)
    return _log


def _insecure(signal: Signal) -> bool | None:
    scheme, separator, _ = signal.url.partition("://")
    if separator:
        return scheme.lower() == "http"
    return bool(signal.insecure)


def _credentials(signal: Signal) -> Any:
    """Return the channel's credentials. Raises OSError for a file that cannot be read, which the exporter would only log."""
    if _insecure(signal):
        return None
    from grpc import ssl_channel_credentials

    def content(path: str | None) -> bytes | None:
        if not path:
            return None
        with open(path, "rb") as file:
            return file.read()

    return ssl_channel_credentials(
        content(signal.certificate), content(signal.client_key), content(signal.client_certificate)
    )


def _metadata(signal: Signal) -> dict[str, str]:
    """Return the headers as gRPC wants them: lower case, with the basic authorization that the URL may hold."""
    from urllib.parse import unquote, urlsplit

    headers = {key.lower(): value for key, value in signal.headers.items()}
    parts = urlsplit(signal.url if "://" in signal.url else f"//{signal.url}")
    if (parts.username or parts.password) and "authorization" not in headers:
        import base64

        pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return headers or {"x-kedro-otel": "1"}


def _without_path(url: str) -> str:
    """Return ``url`` without credentials, path and query: the target of a gRPC channel is a host and a port."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    host = rest.split("/", 1)[0].split("?", 1)[0].rpartition("@")[2]
    return f"{scheme}{separator}{host}"
