"""Asks a receiver whether it takes what we send: a test span, metric and log record, under names that no dashboard counts."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, urlsplit

from kedro_otel import __version__
from kedro_otel.config.destination import GRPC, LOGS, METRICS, TRACES, signal
from kedro_otel.semconv import names
from kedro_otel.shipping.state.journal import DOUBT, HOLD, OK, REJECT, RETRY
from kedro_otel.shipping.transport.exporters import Sender
from kedro_otel.shipping.transport.responses import (
    NO_ANSWER,
    NOT_STARTED,
    UNREACHABLE,
    WRONG_PROTOCOL,
    Answer,
)

if TYPE_CHECKING:
    from kedro_otel.config.settings import Settings

TEST: Final = "kedro otel doctor"
ACCEPTED, REJECTED = "accepted", "rejected"
_PATIENCE: Final = 5.0
_SETTINGS: Final = 4
_EMPTY_SETTINGS: Final = bytes([0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0])
_GET: Final = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_GREETING: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _EMPTY_SETTINGS
"""Preface of HTTP/2 and an empty SETTINGS frame (RFC 9113, sections 3.4 and 6.5)."""


def probe(known: Settings) -> dict[str, Answer]:
    """Return what each signal's receiver said, by "traces", "metrics" and "logs"; a signal that is not shipped is not in it."""
    answers: dict[str, Answer] = {}
    for name in (TRACES, METRICS, LOGS):
        found = signal(known, name)
        if found is None:
            continue
        sender = Sender(name, found._replace(timeout=min(found.timeout, _PATIENCE)))
        answers[name] = _asked(sender)
        sender.close()
        answers[name] = _guessed(answers[name], found.url, found.protocol)
    return answers


def _asked(sender: Sender) -> Answer:
    if sender.name == TRACES:
        return sender.spans([_span()])
    return sender.metrics(_metric()) if sender.name == METRICS else sender.logs([_log()])


def verdict(answer: Answer) -> str:
    """Return what became of a probe in one word: accepted, rejected, not started, unreachable, wrong protocol."""
    if answer.outcome == OK:  # with a partial success nothing of the one item is there
        return REJECTED if answer.rejected else ACCEPTED
    if answer.status in (UNREACHABLE, NO_ANSWER):
        return UNREACHABLE
    return answer.status if answer.status in (NOT_STARTED, WRONG_PROTOCOL) else REJECTED


def takes(answer: Answer) -> bool | None:
    """Return whether the receiver takes this signal; None where another answer may come later, or to another caller."""
    if verdict(answer) == ACCEPTED:
        return True
    refused = answer.outcome in (DOUBT, REJECT) and verdict(answer) == REJECTED
    return False if refused else None


def _guessed(answer: Answer, url: str, protocol: str) -> Answer:
    """Recognise a wrong protocol, where the failure itself does not tell it, by what the port speaks."""
    if answer.outcome != RETRY or answer.why == "connection refused":
        return answer
    spoken = _spoken(url)
    wrong = (spoken == GRPC) != (protocol == GRPC) if spoken else False
    return (
        answer._replace(
            outcome=HOLD, status=WRONG_PROTOCOL, why=f"that port speaks {spoken}, not {protocol}"
        )
        if wrong
        else answer
    )


def _spoken(url: str) -> str:
    """Return "grpc" or "http/protobuf" for a port without TLS, "" where it does not say: the one answers HTTP/2's greeting, the other a GET."""
    parts = urlsplit(url if "://" in url else f"//{url}")
    if parts.scheme == "https" or not parts.hostname:
        return ""
    said = _said(parts, _GREETING)
    if len(said) >= len(_EMPTY_SETTINGS) and said[3] == _SETTINGS and not said.startswith(b"HTTP/"):
        return GRPC
    return "http/protobuf" if (said + _said(parts, _GET)).find(b"HTTP/1.") >= 0 else ""


def _said(parts: SplitResult, words: bytes) -> bytes:
    try:
        with socket.create_connection(
            (parts.hostname, parts.port or 80), timeout=2.0
        ) as connection:
            connection.sendall(words)
            return connection.recv(64)
    except (OSError, ValueError):
        return b""


def _resource() -> Any:
    from opentelemetry.sdk.resources import Resource

    return Resource(
        {
            names.SERVICE_NAME: "kedro-otel-doctor",
            names.DISTRO_NAME: "kedro-otel",
            names.DISTRO_VERSION: __version__,
        }
    )


def _span() -> Any:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
    from opentelemetry.trace import SpanContext, TraceFlags

    ids = RandomIdGenerator()
    now = time.time_ns()
    context = SpanContext(
        ids.generate_trace_id(),
        ids.generate_span_id(),
        is_remote=False,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
    return ReadableSpan(
        name=TEST, context=context, resource=_resource(), start_time=now - 1_000_000, end_time=now
    )


def _log() -> Any:
    from kedro_otel.recording.decoder import LogRecord
    from kedro_otel.shipping.transport.otlp import Log

    span = _span().context
    record = LogRecord(
        f"{span.trace_id:032x}", f"{span.span_id:016x}", time.time_ns(), 9, "INFO", TEST, TEST, {}
    )
    return Log(record, f"{span.span_id:016x}", _resource())


def _metric() -> Any:
    from opentelemetry.sdk.metrics.export import (
        AggregationTemporality,
        Metric,
        MetricsData,
        NumberDataPoint,
        ResourceMetrics,
        ScopeMetrics,
        Sum,
    )
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    now = time.time_ns()
    data = Sum(
        [NumberDataPoint({}, now - 1_000_000, now, 1)],
        AggregationTemporality.CUMULATIVE,
        is_monotonic=True,
    )
    metric = Metric(
        "kedro.otel.tests", "Tests of this endpoint by kedro otel doctor.", "{test}", data
    )
    return MetricsData(
        [
            ResourceMetrics(
                _resource(),
                [ScopeMetrics(InstrumentationScope(names.SCOPE, __version__), [metric], "")],
                "",
            )
        ]
    )
