"""Waits for the detached shipper, where the machine may vanish with the command; and says what is still to be delivered."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from kedro_otel import guard
from kedro_otel.config import destination, paths, settings
from kedro_otel.recording import reader
from kedro_otel.recording.model import UnreadableError
from kedro_otel.shipping.permission import Permission
from kedro_otel.shipping.process import lock
from kedro_otel.shipping.state import destination_paths, journal
from kedro_otel.shipping.state.journal import HOLD, OK, REJECT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedro_otel.config.destination import Destination
    from kedro_otel.config.settings import Settings
    from kedro_otel.shipping.state.journal import Journal, Signal

STALLED: Final = 3.0
"""Seconds without progress after which a shipper that does not run is not waited for: it needs less than that to start."""

FAILURES: Final = 2
"""Failures in a row after which a receiver that answers is not waited for: one may be a stumble."""

ATTEMPT: Final = 0.8
"""Seconds for which a receiver that failed before is asked once more."""

_LOOK: Final = 0.05


class Backlog(NamedTuple):
    """What a receiver lacks: how many of ``sizes``' segments of spans, whether counters and log records too, and why (a short text)."""

    spans: int
    metrics: bool
    logs: bool
    why: str

    def __bool__(self) -> bool:
        """Whether anything is left, or may be."""
        return bool(self.spans or self.metrics or self.logs)


def wait(deadline_s: float) -> str | None:
    """Wait as :func:`kedro_otel.shipping.process.launch.wait` says."""
    known = settings.load(os.environ)
    target = destination.current(known)
    if target is None:
        return None
    where = destination_paths.of(target.id)
    sizes = recorded(target, known)
    began = time.monotonic()
    end = began + deadline_s
    written = journal.load(where.journal)
    for mark in (where.wake, where.flush):
        with guard.suppress(OSError):
            mark.touch(mode=0o600)
    stamp, moved = -1, time.monotonic()
    first = {name: one.failures for name, one in written.signals.items()}
    left = Backlog(len(sizes.bytes) + sizes.unread, bool(sizes.bytes), bool(sizes.logs), "")
    while True:
        changed = _stamp(where)
        if changed != stamp:
            stamp, before, written = changed, left, journal.load(where.journal)
            left = lacking(known, sizes, written)
            if left[:3] != before[:3]:
                moved = time.monotonic()
            if not left:
                break
        now = time.monotonic()
        if now - began > ATTEMPT:
            first = {}
        if _given_up(written, left, first, end - now):
            break
        if now >= end or (now - moved > STALLED and not lock.held(where.lock)):
            break
        time.sleep(_LOOK)
    return said(left, target) if left else None


class Recorded(NamedTuple):
    """Bytes of each segment that is to be sent, by its id, how many could not be looked at, and of how many the project says no.

    ``logs`` are those that may have log records.
    """

    bytes: dict[str, int]
    unread: int
    withheld: int = 0
    logs: frozenset[str] = frozenset()


def recorded(
    target: Destination,
    known: Settings,
    *,
    written: Journal | None = None,
    everything: bool = False,
) -> Recorded:
    """Return every segment that is to go to ``target`` from here, also those that its journal ``written`` was given.

    With ``everything``, all that are ours.
    """
    from kedro_otel.shipping.state.segment_feed import OURS, headers_in

    permission = Permission(target, known)
    sizes: dict[str, int] = {}
    withheld = 0
    logs: set[str] = set()
    listing = reader.look()
    unread = listing.failed
    for path, found, header in headers_in(listing):
        if isinstance(header, UnreadableError):
            unread += 1
            continue
        for_it = header.destination == target.id or (written and written.wants(header, target.id))
        here = for_it and destination_paths.mine(header.machine_id)
        if header.owner != OURS or not (everything or here):
            continue
        if permission.limit(header) is None:
            withheld += 1
        else:
            identifier = header.segment or path.stem
            sizes[identifier] = max(sizes.get(identifier, 0), found.st_size)
            if header.logs and permission.lets_logs(header):
                logs.add(identifier)
    return Recorded(sizes, unread, withheld, frozenset(logs))


def lacking(known: Settings, found: Recorded, written: Journal) -> Backlog:
    """Return what of ``found`` the receiver lacks, by the journal."""
    traces = destination.signal(known, destination.TRACES) is not None
    metrics = destination.signal(known, destination.METRICS) is not None
    logs = destination.signal(known, destination.LOGS) is not None and any(
        written.logs.get(segment, 0) < found.bytes[segment] for segment in found.logs
    )
    begun = [
        (written.segments.get(segment), size)
        for segment, size in found.bytes.items()
        if segment in written.segments or segment not in written.gone
    ]
    undone = [
        (cursor, size)
        for cursor, size in begun
        if cursor is None or cursor.size not in (size, journal.NOT_OURS)
    ]
    spans = sum(1 for cursor, size in undone if cursor is None or cursor.spans < size)
    lacks = any(cursor is None or cursor.folded < size for cursor, size in undone) or any(
        totals.pending for totals in written.streams()
    )
    reasons = [
        one.why for one in written.signals.values() if one.state not in (OK, REJECT) and one.why
    ]
    if written.newer or not written.readable:
        reasons.append(written.note)
    if found.unread:
        reasons.append(f"{found.unread} could not be read now")
        spans, lacks = spans + found.unread, True  # nobody knows, so it is not said to be there
    why = "; ".join(dict.fromkeys(reasons))
    return Backlog(spans if traces else 0, lacks if metrics else False, logs, why)


def _stamp(where: destination_paths.DestinationPaths) -> int:
    try:
        return where.journal.stat().st_mtime_ns
    except OSError as error:
        guard.let_through(error)
        return 0


def _given_up(written: Journal, left: Backlog, first: Mapping[str, int], remaining: float) -> bool:
    """Return whether every signal that lacks something was refused, and will not be accepted soon.

    Args:
        written: The journal.
        left: What is lacking.
        first: Failures in a row when the waiting began, by signal: those are asked once more.
        remaining: Seconds left to wait.
    """
    lack = {
        destination.TRACES: bool(left.spans),
        destination.METRICS: left.metrics,
        destination.LOGS: left.logs,
    }
    late_ns = time.time_ns() + int(remaining * 1e9)
    waiting = [
        one
        for name, one in written.signals.items()
        if lack[name]
        and (not one.failures or one.failures == first.get(name) or _may_be_a_stumble(one, late_ns))
    ]
    return not waiting


def _may_be_a_stumble(one: Signal, late_ns: int) -> bool:
    """Return whether a receiver that answered, busy or in trouble, is asked again before ``late_ns``."""
    answered = one.why[:3].isdigit() and one.state != HOLD
    return answered and one.failures < FAILURES and one.next_ns <= late_ns


def said(left: Backlog, target: Destination) -> str:
    """Return what was left behind as one line for stderr."""
    recordings = (
        f"the spans of {left.spans} recording{'s' if left.spans > 1 else ''}" if left.spans else ""
    )
    words = (recordings, "counters" if left.metrics else "", "log records" if left.logs else "")
    what = " and ".join(word for word in words if word)
    why = f" ({left.why})" if left.why else ""
    where = destination_paths.receiver(target)
    return f"kedro-otel: {what} did not reach {where}{why}; they are kept in {paths.home()}. To send them: kedro otel ship"
