"""One request and its answer: what counts as accepted, what is tried again, and what nobody else gets to see."""

from __future__ import annotations

import base64
import gzip
import logging
import time
from pathlib import Path

import pytest
from loopback import (
    Loopback,
    attributes,
    drip,
    endless,
    hang,
    loopback,
    lose,
    partial_points,
    partial_spans,
    redirect_to,
    refuse,
    reset,
)
from memory_peak import forget, only_where_counted, peak_kib
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from kedro_otel.config.destination import Signal
from kedro_otel.recording.model import ENDED, Operation
from kedro_otel.semconv import measurements as m
from kedro_otel.shipping.state import aggregation
from kedro_otel.shipping.state.journal import DOUBT, HOLD, OK, REJECT, RETRY
from kedro_otel.shipping.state.journal import Signal as State
from kedro_otel.shipping.transport import otlp, responses
from kedro_otel.shipping.transport.exporters import Sender
from kedro_otel.shipping.transport.responses import Answer

__all__ = ["loopback"]
NOW = time.time_ns()
TRACE, SPAN, PARENT = "a" * 32, "b" * 16, "c" * 16


def operation(**attributes: object) -> Operation:
    """Return a finished operation."""
    return Operation(
        "command",
        TRACE,
        SPAN,
        PARENT,
        "kedro run",
        NOW - 10**9,
        end_ns=NOW,
        attributes=dict(attributes),
        state=ENDED,
    )


def wire(url: str, **changes: object) -> Signal:
    """Return what an exporter for ``url`` needs."""
    return Signal(url, "http/protobuf", {}, 2.0, None, None, None, None, None)._replace(**changes)  # type: ignore[arg-type]


def send_span(url: str, what: Operation | None = None, **changes: object) -> Answer:
    """Send a span and return what became of it."""
    sender = Sender("traces", wire(f"{url}/v1/traces", **changes))
    try:
        return sender.spans(
            [otlp.span(what or operation(), otlp.resource({"service.name": "kedro"}, "instance"))]
        )
    finally:
        sender.close()


def send_metric(url: str, **changes: object) -> Answer:
    """Send a counter and return what became of it."""
    totals = aggregation.Totals({"service.name": "kedro"}, "instance", NOW)
    aggregation.add(totals, m.measure(operation(**{"kedro.command.name": "run"}), "usage"))
    totals.stamp(NOW)
    sender = Sender("metrics", wire(f"{url}/v1/metrics", **changes))
    try:
        ((data, _),) = otlp.points([(otlp.resource({"service.name": "kedro"}, "instance"), totals)])
        return sender.metrics(data)
    finally:
        sender.close()


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, OK),
        (202, OK),
        (204, OK),
        (429, RETRY),
        (502, RETRY),
        (503, RETRY),
        (504, RETRY),
        (500, RETRY),
        (408, RETRY),
        (401, HOLD),
        (403, HOLD),
        (407, HOLD),
        (400, REJECT),
        (404, DOUBT),
        (405, DOUBT),
        (409, DOUBT),
        (413, REJECT),
        (421, RETRY),
        (423, RETRY),
        (425, RETRY),
        (511, RETRY),
        (301, DOUBT),
        (302, DOUBT),
        (307, DOUBT),
        (308, DOUBT),
    ],
)
@pytest.mark.parametrize("send", [send_span, send_metric])
def test_each_class_of_answer_has_one_consequence(loopback: Loopback, status, outcome, send):
    """Accepted, tried again, held or refused, as the table says; the exporter neither sleeps nor tries again by itself."""
    for name in ("traces", "metrics"):
        loopback.always[name] = status
    began = time.monotonic()
    answer = send(loopback.url)
    assert (answer.outcome, answer.status) == (outcome, str(status))
    assert len(loopback.requests) == 1
    assert time.monotonic() - began < 1.5


def test_a_span_arrives_as_it_was_recorded(loopback: Loopback):
    """Ids, parent, times, attributes of every type, status, events and links are what was on disk."""
    what = operation(text="x", whole=3, half=0.5, yes=True, words=["a", "b"])
    what.error, what.status_message, what.trace_state, what.kind = True, "no such column", "k=v", 3
    what.events = [
        {
            "timeUnixNano": str(NOW - 5),
            "name": "exception",
            "attributes": [{"key": "exception.type", "value": {"stringValue": "E"}}],
        }
    ]
    what.links = [
        {"traceId": "d" * 32, "spanId": "e" * 16, "attributes": []},
        {"traceId": "nonsense"},
    ]
    assert send_span(loopback.url, what).outcome == OK
    (span,) = loopback.spans()
    assert (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()) == (
        TRACE,
        SPAN,
        PARENT,
    )
    assert (span.name, span.kind, span.start_time_unix_nano, span.end_time_unix_nano) == (
        "kedro run",
        3,
        NOW - 10**9,
        NOW,
    )
    assert attributes(span.attributes) == {
        "text": "x",
        "whole": 3,
        "half": 0.5,
        "yes": True,
        "words": ["a", "b"],
    }
    assert (span.status.code, span.status.message, span.trace_state) == (2, "no such column", "k=v")
    assert [
        (event.name, event.time_unix_nano, attributes(event.attributes)) for event in span.events
    ] == [("exception", NOW - 5, {"exception.type": "E"})]
    assert [(link.trace_id.hex(), link.span_id.hex()) for link in span.links] == [
        ("d" * 32, "e" * 16)
    ]
    (scope,) = {
        scope.scope.name
        for request in loopback.requests
        for rows in request.message.resource_spans
        for scope in rows.scope_spans
    }
    assert scope == "kedro_otel"
    assert loopback.resources()[0].keys() == {
        "service.name",
        "service.instance.id",
        "telemetry.sdk.name",
        "telemetry.sdk.language",
        "telemetry.sdk.version",
    }


@pytest.mark.parametrize("act", [hang, drip])
def test_a_receiver_that_does_not_answer_costs_its_timeout_and_no_more(loopback: Loopback, act):
    """Neither silence nor a byte now and then holds a shipper beyond its deadline."""
    loopback.always["traces"] = act
    began = time.monotonic()
    answer = send_span(loopback.url, timeout=1.0)
    assert (answer.outcome, answer.status) == (RETRY, responses.NO_ANSWER)
    assert time.monotonic() - began < 3.5


@pytest.mark.parametrize("act", [reset, lose])
def test_a_connection_that_breaks_is_tried_again_later(loopback: Loopback, act):
    """No answer is no verdict."""
    loopback.always["traces"] = act
    assert send_span(loopback.url).outcome == RETRY


def test_nobody_listening_is_unreachable():
    """A refused connection says so, without the URL's credentials."""
    answer = send_span("http://user:secret@127.0.0.1:1")
    assert (answer.outcome, answer.status, answer.why) == (
        RETRY,
        responses.UNREACHABLE,
        "connection refused",
    )


@only_where_counted
def test_a_bomb_of_gzip_and_an_answer_without_end_are_not_read_to_their_end(loopback: Loopback):
    """What a receiver says is read to 64 KiB, compressed or not, and a success stays a success."""
    packed = gzip.compress(bytes(200 << 20), 9)
    loopback.script("traces", endless, refuse(200, {"Content-Encoding": "gzip"}, packed))
    before = forget()
    assert send_span(loopback.url).outcome == OK
    assert send_span(loopback.url).outcome == OK
    assert peak_kib() - before < 50_000


def test_a_redirect_is_not_followed(loopback: Loopback):
    """Data and credentials go where the user said and nowhere else."""
    elsewhere = Loopback()
    try:
        loopback.always["traces"] = redirect_to(f"{elsewhere.url}/v1/traces", 307)
        answer = send_span(loopback.url, headers={"authorization": "Bearer secret"})
        assert (answer.outcome, answer.status) == (DOUBT, "307")
        assert (elsewhere.requests, elsewhere.gets, loopback.gets) == ([], [], [])
    finally:
        elsewhere.close()


def test_netrc_is_not_read_and_no_cookie_is_returned(loopback: Loopback, environment):
    """Credentials that lie about for other programs, and what a receiver would have us remember, are not sent."""
    Path(environment["HOME"], ".netrc").write_text(
        "machine 127.0.0.1 login canary password canary\n"
    )
    Path(environment["HOME"], ".netrc").chmod(0o600)
    sender = Sender("traces", wire(f"{loopback.url}/v1/traces"))
    loopback.script("traces", refuse(200, {"Set-Cookie": "canary=1"}))
    for _ in range(2):
        assert sender.spans([otlp.span(operation(), otlp.resource({}, "i"))]).outcome == OK
    sender.close()
    for request in loopback.requests:
        assert "authorization" not in request.headers
        assert "cookie" not in request.headers


def test_user_and_password_of_the_url_authorise_and_a_header_goes_before_them(loopback: Loopback):
    """http://user:password@host is basic authorization; an Authorization header of the user's own stays."""
    url = loopback.url.replace("http://", "http://me:p%40ss@")
    assert send_span(url).outcome == OK
    assert send_span(url, headers={"Authorization": "Bearer x"}).outcome == OK
    first, second = loopback.requests
    assert first.headers["authorization"] == f"Basic {base64.b64encode(b'me:p@ss').decode()}"
    assert second.headers["authorization"] == "Bearer x"
    assert "me:" not in first.headers["host"]


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_headers_and_compression_are_what_the_settings_say(
    loopback: Loopback, compression, monkeypatch
):
    """Headers of the settings go along, those of the environment for another endpoint do not."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "")
    assert send_span(loopback.url, headers={"x-scope": "a"}, compression=compression).outcome == OK
    assert (
        send_metric(loopback.url, headers={"x-scope": "a"}, compression=compression).outcome == OK
    )
    for request in loopback.requests:
        assert request.headers["x-scope"] == "a"
        assert request.headers.get("content-encoding") == compression
        assert request.headers["content-type"] == "application/x-protobuf"


def test_a_partial_success_is_a_success_that_says_how_many_were_dropped(loopback: Loopback):
    """What a receiver accepted in part is not sent again; how many it dropped is told."""
    loopback.script(
        "traces",
        partial_spans(3, "too old"),
        refuse(
            200, {"Content-Type": "application/json"}, b'{"partialSuccess":{"rejectedSpans":"2"}}'
        ),
    )
    loopback.script("metrics", partial_points(4, "out of order\n\x1b[31m"))
    loopback.script("traces", refuse(200, body=b"\xff\xff nonsense"))
    assert send_span(loopback.url) == Answer(OK, "too old", "200", None, 3)
    assert send_span(loopback.url).rejected == 2
    assert send_metric(loopback.url) == Answer(OK, "out of order [31m", "200", None, 4)
    assert send_span(loopback.url) == Answer(OK, "", "200")


def test_a_web_page_is_no_acceptance(loopback: Loopback):
    """A captive portal says 200 to everything; nobody has taken the data."""
    loopback.script(
        "traces", refuse(200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>log in</html>")
    )
    answer = send_span(loopback.url)
    assert (answer.outcome, answer.status) == (HOLD, responses.WRONG_PROTOCOL)


def test_what_a_receiver_says_comes_as_one_short_printable_line(loopback: Loopback):
    """A message may hold anything; a terminal and a log get 200 printable characters of it."""
    loopback.script(
        "traces", refuse(400, {"Content-Type": "text/plain"}, b"bad\x1b[2J\r\n" + b"x" * 5000)
    )
    loopback.script(
        "traces",
        refuse(400, {"Content-Type": "application/json"}, b'{"code":3,"message":"no such tenant"}'),
    )
    answer = send_span(loopback.url)
    assert answer.why.isprintable()
    assert answer.why.startswith("400: bad [2J x")
    assert len(answer.why) <= 205
    assert send_span(loopback.url).why == "400: no such tenant"


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7.0),
        ("999999", 3600.0),
        ("0", 0.0),
        ("soon", None),
        ("-1", None),
        ("", None),
        (None, None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_honoured_up_to_an_hour(said, seconds):
    """Seconds or a date; nonsense is no wish."""
    assert responses.seconds(said) == seconds


def test_retry_after_comes_through(loopback: Loopback):
    """A receiver that asks to be left alone for a while is."""
    loopback.script("traces", refuse(429, {"Retry-After": "17"}))
    answer = send_span(loopback.url)
    state = State()
    responses.note(state, answer, NOW)
    assert (state.state, state.next_ns, state.failures) == (RETRY, NOW + 17 * 10**9, 1)


def test_waits_grow_to_a_quarter_of_an_hour_and_are_spread_evenly():
    """Full jitter: a thousand machines do not come back in the same second; a success forgets the failures."""
    answer = Answer(RETRY, "503", "503")
    for failures, most in ((1, 1.0), (4, 8.0), (40, 900.0)):
        waits = [responses.wait(answer, failures) for _ in range(500)]
        assert max(waits) <= most
        assert min(waits) < most / 10
        assert max(waits) > most * 0.9
    assert responses.wait(Answer(HOLD, "401", "401"), 1) == 3600
    state = State()
    responses.note(state, answer, NOW)
    responses.note(state, Answer(OK), NOW)
    assert (state.state, state.next_ns, state.failures) == (OK, 0, 0)


@pytest.mark.parametrize(
    ("code", "text", "outcome", "status"),
    [
        ("UNAVAILABLE", "connection refused", RETRY, responses.UNREACHABLE),
        ("DEADLINE_EXCEEDED", "", RETRY, responses.NO_ANSWER),
        ("UNAUTHENTICATED", "", HOLD, "UNAUTHENTICATED"),
        ("PERMISSION_DENIED", "", HOLD, "PERMISSION_DENIED"),
        ("INVALID_ARGUMENT", "", REJECT, "INVALID_ARGUMENT"),
        ("UNIMPLEMENTED", "", DOUBT, "UNIMPLEMENTED"),
        ("RESOURCE_EXHAUSTED", "", RETRY, "RESOURCE_EXHAUSTED"),
        (
            "RESOURCE_EXHAUSTED",
            "grpc: received message larger than max (5 vs. 4)",
            REJECT,
            "RESOURCE_EXHAUSTED",
        ),
    ],
)
def test_grpc_statuses_have_the_same_consequences(code, text, outcome, status):
    """The table is one, whatever the protocol; a message that is too large is halved, not repeated."""
    answer = responses.of_grpc(code, text)
    assert (answer.outcome, answer.status) == (outcome, status)


def test_grpc_to_nobody_and_grpc_to_http_are_told_apart(loopback: Loopback):
    """Nobody there is unreachable, an HTTP server there is the wrong protocol or no answer; both within the timeout, time after time."""
    for _ in range(2):
        began = time.monotonic()
        assert send_span("http://127.0.0.1:1", protocol="grpc").status == responses.UNREACHABLE
        assert send_metric("http://127.0.0.1:1", protocol="grpc").status == responses.UNREACHABLE
        assert time.monotonic() - began < 6
    assert send_span(loopback.url, protocol="grpc", timeout=1.0).outcome != OK


def test_a_partial_success_over_grpc_is_read():
    """What was dropped of an accepted request, and why, for both signals; the next whole success is one."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc
    from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceResponse,
    )
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as traces
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    few = [{"rejected_spans": 1, "error_message": "quota"}, {}]

    class Traces(traces.TraceServiceServicer):
        def Export(self, *_):  # noqa: N802 (gRPC's name)
            return ExportTraceServiceResponse(partial_success=few.pop(0))

    class Metrics(metrics.MetricsServiceServicer):
        def Export(self, *_):  # noqa: N802 (gRPC's name)
            return ExportMetricsServiceResponse(
                partial_success={"rejected_data_points": 1, "error_message": "no cumulative sums"}
            )

    server = grpc.server(ThreadPoolExecutor(1))
    traces.add_TraceServiceServicer_to_server(Traces(), server)
    metrics.add_MetricsServiceServicer_to_server(Metrics(), server)
    url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        answer = send_span(url, protocol="grpc")
        assert (answer.outcome, answer.rejected, answer.why) == (OK, 1, "quota")
        answer = send_span(url, protocol="grpc")
        assert (answer.outcome, answer.rejected, answer.why) == (OK, 0, "")
        answer = send_metric(url, protocol="grpc")
        assert (answer.outcome, answer.rejected, answer.why) == (OK, 1, "no cumulative sums")
    finally:
        server.stop(None)


def test_a_certificate_that_is_not_there_is_held_not_raised(loopback: Loopback, tmp_path):
    """A wrong path in the settings is the user's to mend: sending waits and says so."""
    missing = str(tmp_path / "missing.pem")
    assert (
        send_span(
            loopback.url.replace("http:", "https:"), protocol="grpc", certificate=missing
        ).outcome
        == HOLD
    )
    answer = send_span(loopback.url.replace("http:", "https:"), certificate=missing)
    assert answer.outcome == HOLD
    assert loopback.requests == []


def test_plain_http_where_tls_was_expected_says_so(loopback: Loopback):
    """https:// at a port without TLS is not a matter of time."""
    answer = send_span(loopback.url.replace("http:", "https:"))
    assert answer.outcome in (HOLD, RETRY)
    assert "TLS" in answer.why or "connection" in answer.why


def test_the_exporters_write_nothing_to_a_terminal(loopback: Loopback, capfd):
    """What they would log at every attempt is told once, by us."""
    heard: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.name)  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        loopback.always["traces"] = 500
        send_span(loopback.url)
        send_span("http://127.0.0.1:1", protocol="grpc")
    finally:
        logging.getLogger().removeHandler(handler)
    assert [name for name in heard if name.startswith("opentelemetry.exporter")] == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("values", "least"), [({}, 60), ({"a": "x" * 1000, "b": ["é" * 100] * 50}, 11_000)]
)
def test_the_estimated_size_is_never_too_small(values, least):
    """Batches stay under 4 MiB because every span is taken for larger than it is."""
    what = operation(**values)
    real = encode_spans([otlp.span(what, otlp.resource({}, "i"))]).ByteSize()
    assert least < real
    assert real - len("telemetry.sdk") < otlp.size(what) + 250


@pytest.mark.parametrize(
    ("headers", "body", "outcome"),
    [
        ({}, b"", DOUBT),
        ({"Content-Type": "text/plain"}, b"no", DOUBT),
        ({"Content-Type": "text/html"}, b"<html>log in</html>", DOUBT),
        ({"Content-Type": "application/json"}, b'{"error":"no route"}', DOUBT),
        ({"Content-Type": "application/json"}, b'{"code":3,"message":"bad"}', REJECT),
        ({"Content-Type": "application/x-protobuf"}, b"", DOUBT),
        ({"Content-Type": "application/x-protobuf"}, b"\x08\x03\x12\x03bad", REJECT),
        ({"Content-Type": "application/x-protobuf"}, b"\xff\xff", DOUBT),
    ],
)
def test_only_a_status_of_otlp_makes_a_400_final(loopback: Loopback, headers, body, outcome):
    """A proxy or captive portal answers 400 as well; the receiver's own verdict has a ``Status`` body."""
    loopback.script("traces", refuse(400, headers, body))
    assert send_span(loopback.url).outcome == outcome


@pytest.mark.parametrize("when", ["-1", str(1 << 64), "inf", None, [], "0", 5.5, float("inf")])
def test_an_event_whose_time_otlp_cannot_hold_gets_that_of_its_span(loopback: Loopback, when):
    """The span arrives, with its event."""
    what = operation()
    what.events = [{"timeUnixNano": when, "name": "e", "attributes": []}]
    assert send_span(loopback.url, what).outcome == OK
    (span,) = loopback.spans()
    expected = 5 if when == 5.5 else span.start_time_unix_nano
    assert [event.time_unix_nano for event in span.events] == [expected]


@pytest.mark.parametrize("value", ["\ud800", "x\udfff"])
def test_a_span_that_cannot_be_encoded_is_refused_by_itself(loopback: Loopback, value):
    """It is final, of no consequence for the receiver's state, and sends nothing."""
    what = operation()
    what.name = value
    answer = send_span(loopback.url, what)
    assert (answer.outcome, answer.status) == (REJECT, responses.NOT_ENCODED)
    assert loopback.requests == []


@pytest.mark.parametrize(
    ("headers", "url", "said"),
    [
        ({"authorization": "Bearer CANARYTOKEN123"}, "", "bad Bearer CANARYTOKEN123!"),
        ({"x-api-key": "CANARY"}, "", "bad CANARY"),
        ({"authorization": "Bearer CANARYTOKEN123"}, "", "bad CANARYTOK"),
        ({"authorization": "Bearer CANARYTOKEN123"}, "", "x" * 185 + " CANARYTOKEN123"),
        ({}, "me:CANARYPW@", "user me, password CANARYPW"),
        ({}, "me:CANARY%2FPW@", "CANARY/PW and CANARY%2FPW"),
    ],
)
def test_a_receiver_that_repeats_a_credential_is_not_quoted_with_it(
    loopback: Loopback, headers, url, said
):
    """Whole or cut, from a header or the URL: it reaches neither journal nor terminal."""
    loopback.script("traces", refuse(401, {"Content-Type": "text/plain"}, said.encode()))
    answer = send_span(loopback.url.replace("://", f"://{url}"), headers=headers)
    assert answer.outcome == HOLD
    assert "CANA" not in answer.why
    assert answer.why.startswith("401: ")
