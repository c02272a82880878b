"""Sends what one destination lacks: spans batch by batch, metrics as totals, each with its own back-off.

A round reads and folds everything new and tries each signal once, if its back-off allows. Nothing is kept in memory
between rounds that a ``kill -9`` would lose: cursors and totals are in the journal.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from kedro_otel.config import destination as destination_settings
from kedro_otel.config.destination import LOGS, METRICS, TRACES, signal
from kedro_otel.facts import redaction
from kedro_otel.recording.decoder import EXCEPTION
from kedro_otel.semconv import names
from kedro_otel.shipping.failpoints import reached
from kedro_otel.shipping.permission import Permission
from kedro_otel.shipping.state import aggregation, dead_letters, destination_paths
from kedro_otel.shipping.state.journal import DOUBT, HOLD, OK, REJECT, WITHDRAWN, Journal
from kedro_otel.shipping.state.log_feed import Found, LogFeed
from kedro_otel.shipping.state.segment_feed import Item, SegmentFeed
from kedro_otel.shipping.transport import otlp, responses
from kedro_otel.shipping.transport.exporters import Sender

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

    from kedro_otel.config.destination import Destination
    from kedro_otel.config.settings import Settings
    from kedro_otel.recording.model import Header, Operation
    from kedro_otel.shipping.state.aggregation import Totals
    from kedro_otel.shipping.transport.responses import Answer

MAX_SPANS: Final = 512
MAX_BYTES: Final = 3 << 20
"""Spans and estimated bytes of one request. Receivers commonly refuse more than 4 MiB."""

MAX_ITEMS: Final = 4 * MAX_SPANS
RESENT: Final = 64
"""Spans of one request with what was refused before."""

HOPELESS: Final = 8
"""Spans refused one by one, with none accepted between them, after which the rest of a batch is taken for refused too."""

METRICS_EVERY: Final = 5.0
"""Seconds between metrics while something runs; at its end they go at once."""


class Round(NamedTuple):
    """What a round left: whether something still runs, whether something is unsent, and when a signal is due again (ns since 1970)."""

    alive: bool
    pending: bool
    due_ns: int


class Shipper:
    """One destination's shipper. ``everything`` ships what was recorded for no or another destination, and by another machine, too."""

    def __init__(
        self,
        destination: Destination,
        settings: Settings,
        journal: Journal,
        where: destination_paths.DestinationPaths,
        *,
        everything: bool = False,
        permission: Permission | None = None,
    ) -> None:
        """Connect to nothing yet."""
        self.journal = journal
        self._permission = permission or Permission(destination, settings)
        self.withdrawn = False
        self._withheld: set[str] = set()
        self._kept: set[str] = set()
        self._sending: Sequence[Totals] = ()
        journal.address = destination_paths.receiver(destination)
        self.where = where
        self._senders = {
            name: Sender(name, found, self._may_leave)
            for name in (TRACES, METRICS, LOGS)
            if (found := signal(settings, name)) is not None
        }

        def wants(header: Header) -> bool:
            return everything or (
                journal.wants(header, destination.id) and destination_paths.mine(header.machine_id)
            )

        level = self._level = self._permission.detail or names.USAGE
        self.reading = SegmentFeed(
            journal,
            wants,
            level,
            traced=TRACES in self._senders,
            reconsider=everything,
            limit=self._permission.limit,
        )
        exceptions = destination_settings.exceptions(settings)
        self._logs = LogFeed(journal, wants, self._permission, exceptions=bool(exceptions))
        self._without = (EXCEPTION,) if exceptions == "logs" else ()
        """Events that leave as log records instead."""
        self._logs_unsent = False
        self._withhold()
        self._resources: dict[str, Resource] = {}
        self._metrics_at = 0.0
        self._refused_in_a_row = 0
        self._final = False  # whether a doubtful refusal counts, after hours of them

    def round(self, *, metrics_now: bool = False) -> Round:
        """Do what can be done now. Raises OSError if the journal cannot be written.

        While something runs, metrics go every METRICS_EVERY seconds only, unless they are to go ``metrics_now``.
        """
        if metrics_now:
            self._metrics_at = 0.0
        self._narrow()
        if self.withdrawn:
            return Round(alive=False, pending=False, due_ns=0)
        started_ns = time.time_ns()
        spans = TRACES in self._senders and self.journal.signals[TRACES].ready(started_ns)
        self._spans(spans=spans)
        if self.reading.touched:
            self.journal.commit()
        if LOGS in self._senders:
            self._log_records()
        if METRICS in self._senders:
            self._metrics()
        return self._state()

    def _narrow(self) -> None:
        """Take the detail in force now; nothing may leave any more where the permission is withdrawn."""
        detail = self._permission.detail
        if detail is None:
            self.withdrawn = True
        elif detail != self._level:
            self._level = detail
            self._withhold()
            self.reading.change(detail)
        self._heed_projects()

    def _may_leave(self) -> bool:
        """Return whether a request may be made that was prepared at what was allowed in this round."""
        return (
            self._permission.detail == self._level
            and self.reading.unchanged()
            and not any(map(self._kept_by_project, self._sending))
        )

    def close(self) -> None:
        """Close connections."""
        for sender in self._senders.values():
            sender.close()

    def retry_now(self) -> None:
        """Forget every back-off: somebody asked."""
        for one in self.journal.signals.values():
            one.next_ns = 0

    def _state(self) -> Round:
        unsent = {
            TRACES: TRACES in self._senders and self.reading.unsent,
            METRICS: METRICS in self._senders and bool(self._pending()),
            LOGS: self._logs_unsent,
        }
        due = [self.journal.signals[name].next_ns for name, lacking in unsent.items() if lacking]
        if self.reading.unread:
            due.append(time.time_ns() + int(self.reading.retry_s * 1e9))
        return Round(self.reading.alive, bool(due), min(due, default=0))

    # --- spans ------------------------------------------------------------------------------------------------------

    def _spans(self, *, spans: bool) -> None:
        sending = spans
        batch: list[Item] = []
        count = size = 0
        for item in self.reading.round(spans=spans):
            if not sending:
                self.reading.abandon([item])
                continue
            weight = otlp.size(item.operation) if item.operation is not None else 0
            if batch and (
                count >= MAX_SPANS or size + weight > MAX_BYTES or len(batch) >= MAX_ITEMS
            ):
                sending = self._ship(batch)
                batch, count, size = [], 0, 0
                if not sending:
                    self.reading.abandon([item])
                    continue
            batch.append(item)
            count += item.operation is not None
            size += weight
        if batch:
            self._ship(batch)

    def _ship(self, batch: list[Item]) -> bool:
        """Send a batch and write down what became of it; return whether to go on."""
        self._refused_in_a_row = 0
        doubted = self.journal.signals[TRACES]
        self._final = (
            doubted.state == DOUBT
            and time.time_ns() - doubted.since_ns > responses.DOUBTED * responses.SECOND
        )
        delivered = self._deliver(batch)
        if delivered < len(batch):
            self.reading.abandon(batch[delivered:])
        self.journal.commit()
        return delivered == len(batch)

    def _deliver(self, items: list[Item]) -> int:
        """Send ``items``, halving what is refused; return how many, from the first, are done with."""
        operations = [
            (item.operation, item.resource) for item in items if item.operation is not None
        ]
        if operations:
            if len(operations) == 1 and otlp.size(operations[0][0]) > MAX_BYTES:
                answer = responses.Answer(REJECT, "larger than 3 MiB: not sent")
            elif self._refused_in_a_row >= HOPELESS:
                answer = responses.Answer(REJECT, self.journal.signals[TRACES].why)
            else:
                answer = self._send(operations)
                if answer.outcome == DOUBT and self._final:
                    answer = answer._replace(outcome=REJECT)
            hopeless = self._refused_in_a_row >= HOPELESS
            if answer.outcome == REJECT and len(operations) > 1 and not hopeless:
                middle = _middle(items)
                done = self._deliver(items[:middle])
                return done if done < middle else middle + self._deliver(items[middle:])
            if answer.outcome == WITHDRAWN:
                return 0
            responses.note(self.journal.signals[TRACES], answer, time.time_ns())
            if answer.outcome == REJECT:
                self._refused_in_a_row += answer.status != responses.NOT_ENCODED
                self.journal.counts["spans refused"] += len(operations)
                dead_letters.write(
                    self.where.letters, answer.why, [operation for operation, _ in operations]
                )
            elif answer.outcome == OK:
                self._refused_in_a_row = 0
                self._accepted(answer, len(operations), "spans")
            else:
                return 0
        self.reading.acknowledge(items)
        return len(items)

    def _send(self, operations: Sequence[tuple[Operation, str]]) -> Answer:
        spans = [self._span(operation, self._resource(key)) for operation, key in operations]
        reached("spans encoded")
        answer = self._senders[TRACES].spans(spans)
        reached("spans answered")
        return answer

    def _span(self, operation: Operation, resource: Resource) -> ReadableSpan:
        foreign = operation.operation == names.FOREIGN
        return otlp.span(operation, resource, without=() if foreign else self._without)

    def resend(self) -> None:
        """Send once more what was refused for good and is still recorded; what is accepted is no longer refused.

        Raises OSError if the letters or the journal cannot be read or written.
        """
        if TRACES not in self._senders:
            return
        found = list(self.reading.again(dead_letters.span_ids(self.where.letters)))
        for start in range(0, len(found), RESENT):
            if not self._resend(found[start : start + RESENT]):
                break

    def _resend(self, operations: list[tuple[Operation, str]]) -> bool:
        """Send ``operations``, halving what is refused; return whether to go on."""
        answer = self._send(operations)
        if answer.outcome == REJECT and len(operations) > 1:
            middle = len(operations) // 2
            return self._resend(operations[:middle]) and self._resend(operations[middle:])
        if answer.outcome == OK and not answer.rejected:
            self._accepted(answer, len(operations), "spans")
            self.journal.counts["spans refused"] -= len(operations)
            dead_letters.remove(self.where.letters, {one.span_id for one, _ in operations})
            self.journal.commit()
        if answer.outcome != WITHDRAWN:
            responses.note(self.journal.signals[TRACES], answer, time.time_ns())
        return answer.outcome in (OK, REJECT)

    def _accepted(self, answer: Answer, count: int, what: str) -> None:
        self.journal.counts[f"{what} sent"] += max(count - answer.rejected, 0)
        if answer.rejected:
            self.journal.counts[f"{what} refused"] += answer.rejected

    def _resource(self, key: str) -> Resource:
        totals = self.journal.totals.get(key) or self.journal.resource(
            json.loads(key), time.time_ns()
        )
        found = self._resources.get(totals.instance)
        if found is None:
            found = otlp.resource(totals.attributes, totals.instance)
            self._resources[totals.instance] = found
        return found

    # --- logs -------------------------------------------------------------------------------------------------------

    def _log_records(self) -> None:
        self._logs_unsent = not self.journal.signals[LOGS].ready(time.time_ns())
        if self._logs_unsent:
            return
        moved = False
        for batch in self._logs.batches(self._level):
            if not self._log_batch(batch.header, batch.records):
                self._logs_unsent = True
                break
            self._logs.acknowledge(batch)
            moved = True
            if batch.records:
                self.journal.commit()
        if moved:
            self.journal.commit()

    def _log_batch(self, header: Header, records: list[Found]) -> bool:
        """Send records, halving what is refused; return whether they are done with."""
        if not records:
            return True
        limit = self._permission.limit(header)
        if limit != names.FULL or not self._permission.lets_logs(header):
            return False  # its project has said otherwise since it was read
        left = redaction.resource_at(header.resource, self._level)
        resource = self._resource(aggregation.resource_key(left))
        reached("logs encoded")
        answer = self._senders[LOGS].logs([otlp.log(header, one, resource) for one in records])
        reached("logs answered")
        if answer.outcome == REJECT and len(records) > 1:
            middle = len(records) // 2
            first, second = records[:middle], records[middle:]
            return self._log_batch(header, first) and self._log_batch(header, second)
        if answer.outcome == WITHDRAWN:
            return False
        responses.note(self.journal.signals[LOGS], answer, time.time_ns())
        if answer.outcome == REJECT:
            self.journal.counts["log records refused"] += len(records)
        elif answer.outcome == OK:
            self._accepted(answer, len(records), "log records")
        return answer.outcome in (OK, REJECT)

    # --- metrics ----------------------------------------------------------------------------------------------------

    def _metrics(self) -> None:
        pending = self._pending()
        soon = self.reading.alive and time.monotonic() < self._metrics_at
        if not pending or soon or not self.journal.signals[METRICS].ready(time.time_ns()):
            return
        now_ns = time.time_ns()
        for key, totals in list(self.journal.totals.items()):
            if totals.pending and not totals.stamp(now_ns):
                self.journal.retire(key, now_ns)
                self.journal.totals[key].stamp(now_ns)
        pending = self._pending()
        self.journal.commit()  # no later attempt may have an earlier time, whatever happens to this process
        for start in range(0, len(pending), 64):
            if not self._totals(pending[start : start + 64]):
                break
        self._metrics_at = time.monotonic() + METRICS_EVERY
        self.journal.closing = [totals for totals in self.journal.closing if totals.pending]
        self.journal.commit()

    def _pending(self) -> list[Totals]:
        """Return the streams that have something to send, and may at the detail in force."""
        return [
            totals
            for totals in self.journal.streams()
            if totals.pending and totals.instance not in self._withheld | self._kept
        ]

    def _withhold(self) -> None:
        """End the streams in which more is told than may leave now; what they lack stays here."""
        level = names.DETAILS.index(self._level)
        for key, totals in list(self.journal.totals.items()):
            if names.DETAILS.index(self.journal.detail_of(totals)) > level:
                self._end(key)
        for totals in self.journal.closing:
            wide = names.DETAILS.index(self.journal.detail_of(totals)) > level
            (self._withheld.add if wide else self._withheld.discard)(totals.instance)

    def _heed_projects(self) -> None:
        """End the streams that their projects do not let out as they are; what they lack stays here as long as that is so."""
        for key, totals in list(self.journal.totals.items()):
            if self._kept_by_project(totals):
                self._end(key)
        self._kept = {
            totals.instance for totals in self.journal.closing if self._kept_by_project(totals)
        }

    def _end(self, key: str) -> None:
        self.journal.retire(key, time.time_ns())
        del self.journal.totals[key]  # its resource may not leave either

    def _kept_by_project(self, totals: Totals) -> bool:
        limit = self._permission.of_project(self.journal.projects.get(totals.instance, ""))
        if limit is None:
            return True
        return names.DETAILS.index(self.journal.detail_of(totals)) > names.DETAILS.index(limit)

    def _totals(self, group: Sequence[Totals]) -> bool:
        """Send ``group``, halving what is refused; return whether to go on."""
        streams = [(otlp.resource(totals.attributes, totals.instance), totals) for totals in group]
        self._sending = group
        try:
            answer = self._streams(streams)
        finally:
            self._sending = ()
        if answer.outcome == REJECT and len(group) > 1:
            middle = len(group) // 2
            return self._totals(group[:middle]) and self._totals(group[middle:])
        if answer.outcome == WITHDRAWN:
            return False
        responses.note(self.journal.signals[METRICS], answer, time.time_ns())
        for totals in group:
            totals.answered(refused=answer.outcome in (REJECT, HOLD))
        if answer.outcome not in (OK, REJECT):
            return False
        if answer.outcome == REJECT:
            refused = sum(count for _, count in otlp.points(streams))
            self.journal.counts["points refused"] += refused
        for totals in group:
            totals.acked = (
                totals.revision
            )  # refused ones too: totals are cumulative, the next change brings everything again
        return True

    def _streams(self, streams: list[tuple[Resource, Totals]]) -> Answer:
        sender = self._senders[METRICS]
        for data, fresh in otlp.zeros(streams):
            reached("zeros encoded")
            answer = sender.metrics(data)
            reached("zeros answered")
            if answer.outcome != OK:
                return answer
            for series in fresh:
                series.zero_sent = True
            for _, totals in streams:
                totals.answered(refused=False)
            self.journal.commit()  # a second zero after the first real point would look like a restart
        answer = responses.Answer(OK)
        for data, count in otlp.points(streams):
            reached("metrics encoded")
            answer = sender.metrics(data)
            reached("metrics answered")
            if answer.outcome != OK:
                return answer
            for _, totals in streams:
                totals.answered(refused=False)
            self._accepted(answer, count, "points")
        return answer


def _middle(items: list[Item]) -> int:
    """Return where to cut ``items`` so that both sides have operations."""
    places_of = [place for place, item in enumerate(items) if item.operation is not None]
    return places_of[len(places_of) // 2]
