"""Ships one process's recording that came by a pipe, because its machine has no place where it could be kept.

There is no journal either: what cannot be delivered within :data:`PATIENCE` is lost. Counters stay exact, since each such
recording is a stream of its own that begins at 0; as on any ephemeral machine only few of them are sent.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kedro_otel.config import consent, destination, settings
from kedro_otel.config.destination import METRICS, TRACES, signal
from kedro_otel.facts import redaction
from kedro_otel.recording.model import SegmentError
from kedro_otel.recording.reader import Follower
from kedro_otel.semconv import measurements as m
from kedro_otel.semconv import names
from kedro_otel.shipping.permission import Permission
from kedro_otel.shipping.process import launch
from kedro_otel.shipping.state import aggregation
from kedro_otel.shipping.state.journal import HOLD, OK, REJECT, WITHDRAWN, instance_id
from kedro_otel.shipping.state.segment_feed import OURS
from kedro_otel.shipping.transport import otlp, responses
from kedro_otel.shipping.transport.exporters import Sender

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedro_otel.config.settings import Settings
    from kedro_otel.recording.model import Operation, Segment
    from kedro_otel.shipping.transport.responses import Answer

PATIENCE: Final = 30.0
"""Seconds for which a receiver that does not answer is asked again, for each signal."""

_BATCH: Final = 256


def main() -> int:
    """Ship what comes on stdin; return 0 if the receiver has taken everything."""
    known = settings.load(os.environ)
    data = sys.stdin.buffer.read()
    if not consent.decide(os.environ, None).enabled:
        return 0
    try:
        segment = parsed(data)
    except SegmentError:
        return 1
    if segment.header.owner == OURS and not deliver(segment, known):
        return 1
    with contextlib.suppress(OSError):  # who waited has gone
        os.write(1, launch.DELIVERED)
    return 0


def parsed(data: bytes) -> Segment:
    """Return the segment that ``data`` spells. What is open in it is dead: its process has let go of it."""
    follower = Follower(Path("memory"))
    offset = 0
    for line in data.split(b"\n")[:-1]:
        offset += len(line) + 1
        follower.take(line, offset)
    follower.known().alive = False
    return follower.close()


def deliver(segment: Segment, known: Settings, patience: float = PATIENCE) -> bool:
    """Send a segment's spans and counters; return whether all of them were accepted."""
    target = destination.current(known)
    permission = None if target is None else Permission(target, known)
    limit = permission.limit(segment.header) if permission is not None else None
    if permission is None or limit is None:
        return False
    level = redaction.narrowest(segment.header.detail, known.value("detail"), limit)
    allowed = permission.allows(level)

    def may_leave() -> bool:
        return allowed() and permission.limit(segment.header) == limit

    leaving = [
        (one, left)
        for one in segment.operations
        if (left := redaction.at(one, segment.header, level)) is not None
    ]
    totals = aggregation.Totals(
        redaction.resource_at(segment.header.resource, level), instance_id(), time.time_ns()
    )
    told = {id(one): left for one, left in leaving}
    for one in segment.operations:
        measured = one if one.operation in {names.NODE, names.DATASET} else told.get(id(one))
        if measured is not None:
            aggregation.add(
                totals, m.measure(measured, level), exemplars=one.sampled, ephemeral=True
            )
    totals.stamp(time.time_ns())
    spans = [left for one, left in leaving if one.sampled]
    senders = {
        name: Sender(name, found, may_leave)
        for name in (TRACES, METRICS)
        if (found := signal(known, name)) is not None
    }
    accepted = True
    if TRACES in senders:
        accepted = _spans(senders[TRACES], spans, totals, time.monotonic() + patience)
    if METRICS in senders:
        accepted = _metrics(senders[METRICS], totals, time.monotonic() + patience) and accepted
    for sender in senders.values():
        sender.close()
    return accepted


def _spans(
    sender: Sender, spans: list[Operation], totals: aggregation.Totals, until: float
) -> bool:
    resource = otlp.resource(totals.attributes, totals.instance)
    batches = [
        [otlp.span(one, resource) for one in spans[start : start + _BATCH]]
        for start in range(0, len(spans), _BATCH)
    ]
    return [_accepted(sender.spans, batch, until) for batch in batches].count(False) == 0


def _metrics(sender: Sender, totals: aggregation.Totals, until: float) -> bool:
    streams = [(otlp.resource(totals.attributes, totals.instance), totals)]
    requests = [
        *(data for data, _ in otlp.zeros(streams)),
        *(data for data, _ in otlp.points(streams)),
    ]
    return [_accepted(sender.metrics, data, until) for data in requests].count(False) == 0


def _accepted(send: Callable[[Any], Answer], data: Any, until: float) -> bool:
    """Send ``data`` until there is an answer that is one, at most ``until`` then."""
    failures = 0
    while True:
        answer = send(data)
        if answer.outcome in {OK, REJECT, HOLD, WITHDRAWN}:
            return answer.outcome == OK
        failures += 1
        wait = responses.wait(answer, failures)
        if time.monotonic() + wait > until:
            return False
        time.sleep(wait)
