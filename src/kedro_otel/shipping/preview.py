"""What would leave of some operations, as messages that nobody sends: ``kedro otel export --as-sent``.

The messages are made by what makes the real ones, and spelled as OTLP/JSON. Totals are those of a receiver that has
nothing yet: they count these operations and no earlier ones. Once something was shipped, the journal tells under
which ``service.instance.id`` and at which times.

Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any, Final

from kedro_otel.config import destination
from kedro_otel.facts import redaction
from kedro_otel.recording.decoder import EXCEPTION
from kedro_otel.recording.model import DIED, ENDED
from kedro_otel.semconv import measurements as m
from kedro_otel.semconv import names
from kedro_otel.shipping.shipper import MAX_SPANS
from kedro_otel.shipping.state import aggregation, destination_paths, journal, log_feed
from kedro_otel.shipping.state.segment_feed import OURS
from kedro_otel.shipping.transport import otlp
from kedro_otel.shipping.transport.exporters import encoder

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from kedro_otel.config.settings import Settings
    from kedro_otel.recording.model import Header, Operation
    from kedro_otel.shipping.state.aggregation import Totals

_IDS: Final = ("traceId", "spanId", "parentSpanId")
"""Bytes that OTLP/JSON spells in hex, where JSON made from protocol buffers has base64."""


def messages(
    operations: Iterable[tuple[Header, Operation]],
    settings: Settings,
    signals: Collection[str] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield ``{"resourceSpans": …}`` and ``{"resourceMetrics": …}``, as they would leave at the detail in force.

    Args:
        operations: each with the header of its segment. What has not ended, what was not sampled, and what the user's own
            provider sends, does not leave.
        settings: whose detail and exporters count. Whether an endpoint is named does not matter here.
        signals: which signals; without it those that have an exporter.
    """
    ours = [
        (header, operation)
        for header, operation in operations
        if header.owner == OURS and operation.state in (ENDED, DIED)
    ]
    ours.sort(key=lambda pair: (pair[0].segment, pair[1].state == DIED, pair[1].offset))
    level = settings.value("detail")
    totals = _counted(ours, settings, level)
    if signals is None:
        signals = [
            name
            for name in (destination.TRACES, destination.METRICS)
            if settings.value(f"{name}_exporter") != "none"
        ]
    if destination.TRACES in signals:
        replaced = destination.exceptions(settings) == "logs"
        yield from _traces(ours, totals, level, (EXCEPTION,) if replaced else ())
    if destination.METRICS in signals:
        yield from _metrics([found for found in totals.values() if found.series])


def log_messages(
    segments: list[Path], trace_id: str, settings: Settings
) -> Iterator[dict[str, Any]]:
    """Yield ``{"resourceLogs": …}`` with the log records of a trace, as they would leave at the detail in force."""
    name = destination.LOGS
    if name not in destination.signals(settings) or not destination.uses(
        settings, name, destination.OTLP
    ):
        return
    level = settings.value("detail")
    exceptions = bool(destination.exceptions(settings))
    for header, found in log_feed.of_segments(segments, trace_id, exceptions=exceptions):
        if not found or not redaction.logs_leave(header, level):
            continue
        attributes = redaction.resource_at(header.resource, level)
        target = destination.current(settings)
        known = journal.load(_journal(target.id)).totals if target else {}
        totals = _named(attributes, known.get(aggregation.resource_key(attributes)))
        resource = otlp.resource(attributes, totals.instance)
        for start in range(0, len(found), log_feed.MOST):
            batch = found[start : start + log_feed.MOST]
            yield _json(encoder(name)([otlp.log(header, one, resource) for one in batch]))


def _counted(
    ours: list[tuple[Header, Operation]], settings: Settings, level: str
) -> dict[str, Totals]:
    """Fold the operations, by resource, into totals that are named and timed as those already shipped, if any are."""
    way = (
        destination.OTLP
        if destination.uses(settings, destination.METRICS, destination.OTLP)
        else destination.CONSOLE
    )
    traced = destination.uses(
        settings, destination.TRACES, way
    )  # an exemplar that leads to no trace is of no use
    target = destination.current(settings)
    known = journal.load(_journal(target.id)).totals if target else {}
    totals: dict[str, Totals] = {}
    for header, operation in ours:
        at = redaction.narrowest(header.detail, level)
        resource = redaction.resource_at(header.resource, at)
        key = aggregation.resource_key(resource)
        if key not in totals:
            totals[key] = _named(resource, known.get(key))
        left = (
            operation
            if operation.operation in (names.NODE, names.DATASET)
            else redaction.at(operation, header, at)
        )
        if left is not None:
            aggregation.add(
                totals[key],
                m.measure(left, at),
                exemplars=traced and operation.sampled,
                ephemeral=header.ephemeral,
            )
    return totals


def _journal(identifier: str) -> Path:
    return destination_paths.of(identifier).journal


def _named(resource: Mapping[str, Any], known: Totals | None) -> Totals:
    now = time.time_ns()
    totals = aggregation.Totals(resource, known.instance if known else journal.instance_id(), now)
    if known:
        totals.start_ns, totals.time_ns = known.start_ns, known.time_ns
    else:
        totals.stamp(now)
    return totals


def _traces(
    ours: list[tuple[Header, Operation]],
    totals: Mapping[str, Totals],
    level: str,
    without: Collection[str],
) -> Iterator[dict[str, Any]]:
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    resources = {
        key: otlp.resource(found.attributes, found.instance) for key, found in totals.items()
    }
    spans = []
    for header, operation in ours:
        at = redaction.narrowest(header.detail, level)
        left = redaction.at(operation, header, at) if operation.sampled else None
        if left is not None:
            spans.append(
                otlp.span(
                    left,
                    resources[aggregation.resource_key(redaction.resource_at(header.resource, at))],
                    without=() if left.operation == names.FOREIGN else without,
                )
            )
    for start in range(0, len(spans), MAX_SPANS):
        yield _json(encode_spans(spans[start : start + MAX_SPANS]))


def _metrics(totals: list[Totals]) -> Iterator[dict[str, Any]]:
    from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics

    streams = [(otlp.resource(found.attributes, found.instance), found) for found in totals]
    for data, _fresh in otlp.zeros(streams):
        yield _json(encode_metrics(data))
    for data, _count in otlp.points(streams):
        yield _json(encode_metrics(data))


def _json(message: Any) -> dict[str, Any]:
    """Return a message of protocol buffers as OTLP/JSON."""
    from google.protobuf.json_format import MessageToJson  # type: ignore[import-untyped]

    spelled: dict[str, Any] = json.loads(
        MessageToJson(message, use_integers_for_enums=True), object_hook=_hexed
    )
    return spelled


def _hexed(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        key: base64.b64decode(value).hex() if key in _IDS else value
        for key, value in fields.items()
    }
