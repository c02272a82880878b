"""From what was recorded and counted to what OpenTelemetry's exporters take: ReadableSpan and MetricsData."""

from __future__ import annotations

from binascii import a2b_base64
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from kedro_otel.recording.model import Base64
from kedro_otel.semconv import measurements as m
from kedro_otel.semconv import names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from opentelemetry.sdk.metrics.export import Metric, MetricsData
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Link

    from kedro_otel.recording.decoder import LogRecord
    from kedro_otel.recording.model import Header, Operation
    from kedro_otel.shipping.state.aggregation import Series, Totals
    from kedro_otel.shipping.state.log_feed import Found

MAX_POINTS: Final = 4000
MAX_BYTES: Final = 3 << 20
"""Points and estimated bytes of one request of metrics. Receivers commonly refuse more than 4 MiB."""

_POINT_BYTES: Final = 700
"""Bytes of a histogram's point without its attributes: times, buckets, exemplars."""

_ABSENT: Final[Any] = None
"""Least and greatest value of a histogram are optional in OTLP, and of a total they would be those of all time."""

_SPAN_BYTES: Final = 160
_VALUE_BYTES: Final = 12


def span(
    operation: Operation, resource: Resource, *, without: Collection[str] = ()
) -> ReadableSpan:
    """Return ``operation``, which has ended, as a span that an exporter takes, without its events of these names."""
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
    from opentelemetry.trace.span import TraceState

    trace_id = int(operation.trace_id, 16)
    state = TraceState.from_header([operation.trace_state]) if operation.trace_state else None
    sampled = TraceFlags(TraceFlags.SAMPLED)
    context = SpanContext(
        trace_id,
        int(operation.span_id, 16),
        is_remote=False,
        trace_flags=sampled,
        trace_state=state,
    )
    parent = (
        SpanContext(trace_id, int(operation.parent_id, 16), is_remote=False, trace_flags=sampled)
        if operation.parent_id
        else None
    )
    return ReadableSpan(
        name=operation.name,
        context=context,
        parent=parent,
        resource=resource,
        attributes={key: _sent(value) for key, value in operation.attributes.items()},
        events=[
            Event(str(event.get("name", "")), _attributes(event), _time(event, operation.start_ns))
            for event in operation.events
            if event.get("name") not in without
        ],
        links=list(_links(operation.links)),
        kind=_kinds().get(operation.kind, SpanKind.INTERNAL),
        status=Status(StatusCode.ERROR, operation.status_message or None)
        if operation.error
        else Status(StatusCode.UNSET),
        start_time=operation.start_ns,
        end_time=max(operation.end_ns or 0, operation.start_ns),
        instrumentation_scope=_scope(),
    )


class Log:
    """A log record as every release of the exporters reads one: their own classes for it are not stable yet."""

    def __init__(self, record: LogRecord, uid: str, resource: Resource) -> None:
        from opentelemetry._logs import SeverityNumber
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        self.log_record = self
        self.resource = resource
        self.instrumentation_scope = InstrumentationScope(record.logger)
        self.timestamp = self.observed_timestamp = record.time_ns
        self.trace_id, self.span_id = int(record.trace_id, 16), int(record.span_id, 16)
        self.trace_flags = 1
        self.severity_text = record.level
        self.severity_number = SeverityNumber(record.severity)
        self.body = record.body
        self.attributes = {**record.attributes, names.LOG_RECORD_UID: uid}
        self.dropped_attributes = 0
        self.event_name = record.event


def log(header: Header, found: Found, resource: Resource) -> Log:
    """Return a log record of a segment as an exporter takes it: with an id that is the same however often it is sent."""
    return Log(found.record, f"{header.segment}:{found.place}", resource)


def size(operation: Operation) -> int:
    """Return at most how many bytes ``operation`` takes in a request, roughly and rather too many."""
    total = _SPAN_BYTES + 4 * len(operation.name) + 4 * len(operation.status_message)
    total += sum(len(key) + _bytes(value) for key, value in operation.attributes.items())
    if operation.events or operation.links:
        try:
            total += len(repr(operation.events)) + len(repr(operation.links))
        except RecursionError:
            total += 1 << 20  # the request that holds it alone is refused by our own encoder
    return total


def resource(attributes: Mapping[str, Any], instance: str) -> Resource:
    """Return the resource of a stream: the attributes that may leave, its instance id, and the SDK whose data model this is."""
    from opentelemetry.sdk.resources import Resource

    return Resource({**attributes, **_sdk(), names.SERVICE_INSTANCE_ID: instance})


def zeros(streams: Sequence[tuple[Resource, Totals]]) -> Iterator[tuple[MetricsData, list[Series]]]:
    """Yield requests with the explicit first point of every series that has none yet, and the series in each.

    They go ahead of the first real points, in requests of their own: receivers differ in what they make of two points of
    one series in one request.
    """
    for group in _groups(streams, only_new=True):
        yield _data(group, zero=True), [series for _, _, rows in group for _, _, series in rows]


def points(streams: Sequence[tuple[Resource, Totals]]) -> Iterator[tuple[MetricsData, int]]:
    """Yield requests with every series of ``streams``, as it is now, and the number of points in each."""
    for group in _groups(streams, only_new=False):
        yield _data(group, zero=False), sum(len(rows) for _, _, rows in group)


_Row = tuple[str, m.Attributes, "Series"]
_Group = list[tuple["Resource", "Totals", list[_Row]]]


def _groups(streams: Sequence[tuple[Resource, Totals]], *, only_new: bool) -> Iterator[_Group]:
    """Cut what is to be sent into groups of at most MAX_POINTS points and about MAX_BYTES."""
    group: _Group = []
    count = size = 0
    for described, totals in streams:
        rows = [
            (name, attributes, series)
            for (name, attributes), series in totals.series.items()
            if not (only_new and series.zero_sent)
        ]
        own = sum(len(key) + _bytes(value) for key, value in totals.attributes.items())
        taken: list[_Row] = []
        for row in rows:
            weight = _POINT_BYTES + sum(len(key) + _bytes(value) for key, value in row[1])
            if count and (count >= MAX_POINTS or size + weight > MAX_BYTES):
                if taken:
                    group.append((described, totals, taken))
                yield group
                group, taken, count, size = [], [], 0, 0
            size += weight if taken else weight + own
            count += 1
            taken.append(row)
        if taken:
            group.append((described, totals, taken))
    if group:
        yield group


def _data(group: _Group, *, zero: bool) -> MetricsData:
    from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics

    return MetricsData(
        [
            ResourceMetrics(
                described,
                [ScopeMetrics(_scope(), list(_metrics(totals, rows, zero=zero)), names.SCHEMA_URL)],
                "",
            )
            for described, totals, rows in group
        ]
    )


def _metrics(totals: Totals, rows: Iterable[_Row], *, zero: bool) -> Iterator[Metric]:
    from opentelemetry.sdk.metrics.export import (
        AggregationTemporality,
        Histogram,
        HistogramDataPoint,
        Metric,
        NumberDataPoint,
        Sum,
    )

    when = totals.zero_ns if zero else totals.time_ns
    by_name: dict[str, list[tuple[m.Attributes, Series]]] = {}
    for name, attributes, series in rows:
        by_name.setdefault(name, []).append((attributes, series))
    for name, found in by_name.items():
        facts = m.BY_NAME[name]
        data: Sum | Histogram
        if facts.kind == m.HISTOGRAM:
            data = Histogram(
                [
                    HistogramDataPoint(
                        attributes=dict(attributes),
                        start_time_unix_nano=totals.start_ns,
                        time_unix_nano=when,
                        count=0 if zero else series.count,
                        sum=0.0 if zero else float(series.value),
                        bucket_counts=[0 if zero else count for count in series.buckets or []],
                        explicit_bounds=facts.boundaries,
                        min=_ABSENT,
                        max=_ABSENT,
                        exemplars=[] if zero else _exemplars(series),
                    )
                    for attributes, series in found
                ],
                AggregationTemporality.CUMULATIVE,
            )
        else:
            data = Sum(
                [
                    NumberDataPoint(
                        dict(attributes),
                        totals.start_ns,
                        when,
                        _zero(series) if zero else series.value,
                    )
                    for attributes, series in found
                ],
                AggregationTemporality.CUMULATIVE,
                is_monotonic=facts.kind == m.COUNTER,
            )
        yield Metric(name, facts.description, facts.unit, data)


def _zero(series: Series) -> int | float:
    return 0.0 if isinstance(series.value, float) else 0


def _exemplars(series: Series) -> list[Any]:
    from opentelemetry.sdk.metrics import Exemplar

    return [
        Exemplar({}, value, when, int(span_id, 16), int(trace_id, 16))
        for trace_id, span_id, when, value in series.exemplars.values()
    ]


def _links(links: Iterable[Mapping[str, Any]]) -> Iterator[Link]:
    from opentelemetry.trace import Link, SpanContext, TraceFlags

    for link in links:
        try:
            context = SpanContext(
                int(link["traceId"], 16),
                int(link["spanId"], 16),
                is_remote=False,
                trace_flags=TraceFlags(TraceFlags.SAMPLED),
            )
        except (KeyError, ValueError, TypeError):
            continue
        if context.is_valid:
            yield Link(context, _attributes(link))


def _attributes(row: Mapping[str, Any]) -> dict[str, Any]:
    from kedro_otel.recording.decoder import BadLineError, attributes

    try:
        found = attributes(row.get("attributes", []))
    except BadLineError:
        return {}
    return {key: _sent(value) for key, value in found.items()}


def _sent(value: Any) -> Any:
    """Return the value of an attribute as an exporter takes it: bytes as bytes."""
    if isinstance(value, Base64):
        return a2b_base64(value)
    if isinstance(value, list):
        return [_sent(item) for item in value]
    if isinstance(value, dict):
        return {key: _sent(item) for key, item in value.items()}
    return value


def _time(row: Mapping[str, Any], otherwise: int) -> int:
    """Return the time of an event; ``otherwise`` where it has none that OTLP's 64 bits can hold."""
    try:
        when = int(row["timeUnixNano"])
    except (KeyError, ValueError, TypeError, OverflowError):
        return otherwise
    return when if 0 < when < 1 << 64 else otherwise


def _bytes(value: Any) -> int:
    if isinstance(value, str):
        return 4 * len(value) + _VALUE_BYTES if not value.isascii() else len(value) + _VALUE_BYTES
    if isinstance(value, list | tuple):
        return _VALUE_BYTES + sum(map(_bytes, value))
    if isinstance(value, dict):
        return _VALUE_BYTES + sum(4 * len(key) + _bytes(item) for key, item in value.items())
    return 2 * _VALUE_BYTES


@lru_cache(maxsize=1)
def _kinds() -> dict[int, Any]:
    """Return OTLP's number of a span kind → the SDK's kind."""
    from opentelemetry.trace import SpanKind

    return {
        1: SpanKind.INTERNAL,
        2: SpanKind.SERVER,
        3: SpanKind.CLIENT,
        4: SpanKind.PRODUCER,
        5: SpanKind.CONSUMER,
    }


@lru_cache(maxsize=1)
def _scope() -> InstrumentationScope:
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from kedro_otel import __version__

    return InstrumentationScope(names.SCOPE, __version__, names.SCHEMA_URL)


@lru_cache(maxsize=1)
def _sdk() -> dict[str, str]:
    from opentelemetry.sdk.version import __version__

    return {
        names.SDK_NAME: "opentelemetry",
        names.SDK_LANGUAGE: "python",
        names.SDK_VERSION: __version__,
    }
