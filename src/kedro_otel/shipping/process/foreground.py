"""Delivers everything now, in the foreground, and says what could not be: ``kedro otel ship``."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from kedro_otel.recording.writer import private_folder
from kedro_otel.shipping.process import launch
from kedro_otel.shipping.process.flush import Backlog, lacking, recorded
from kedro_otel.shipping.process.lock import Lock
from kedro_otel.shipping.state import adoption, destination_paths, hold_notice, journal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kedro_otel.config.destination import Destination
    from kedro_otel.config.settings import Settings
    from kedro_otel.shipping.state.journal import Journal

PATIENCE: Final = 10.0
"""Seconds without progress after which a receiver that might recover is no longer waited for."""

HANDOVER: Final = 30.0
"""Seconds for which a detached shipper is waited for that is to end: longer than one request commonly takes."""

_LOOK: Final = 0.1


class BusyError(OSError):
    """A detached shipper is at work and does not end."""

    def __init__(self) -> None:
        super().__init__(
            f"a shipper at work did not end within {HANDOVER:.0f} s; what waits is kept"
        )


class Delivered(NamedTuple):
    """What was done: ``counts`` by word ("spans sent", "spans refused", …), and what the receiver lacks still."""

    counts: Counter[str]
    left: Backlog


def deliver(
    known: Settings, target: Destination, *, everything: bool = False, refused: bool = False
) -> Delivered:
    """Send until nothing is left, or until what is left cannot be sent for now. Raises OSError where no journal can be written.

    If a detached shipper is at work, it is made to try at once, and waited for. With ``everything`` also what was recorded
    for no or another destination goes, and what other machines left in a shared folder: the detached one, which does not
    know that, is asked to end; and so it is with ``refused``, which also sends once more what was refused for good. Raises BusyError if it
    does not end within HANDOVER.
    """
    where = destination_paths.of(target.id)
    private_folder(where.folder.parent)
    private_folder(where.folder)
    before = Counter(journal.load(where.journal).counts)
    where.wake.touch(mode=0o600)
    lock = Lock(where.lock)
    if everything or refused:
        _handed_over(lock, where)
    elif not lock.take():
        return _watch(known, target, where, lock, before)
    try:
        older = [target.receiver_id]
        busy = adoption.adopt(target, [*adoption.others(target), *older] if everything else older)
        done = _deliver(known, target, where, before, everything=everything, refused=refused)
    finally:
        lock.release()
    if everything or refused:
        launch.start("ship", known)  # runs that live on are followed again
    if busy:
        why = "another shipper sends to the same receiver with other credentials"
        return done._replace(left=done.left._replace(why=done.left.why or why))
    return done


def _handed_over(lock: Lock, where: destination_paths.DestinationPaths) -> None:
    """Take the lock from the detached shipper, which ends after the request it is at."""
    end = time.monotonic() + HANDOVER
    while not lock.take(_LOOK):
        where.ask.touch(mode=0o600)
        if time.monotonic() > end:
            raise BusyError


def end_hold(target: Destination, signals: Iterable[str]) -> None:
    """Let what a receiver held up be tried at once: somebody has changed something, or it has accepted a test of ``signals``.

    Raises OSError where the journal cannot be read or written.
    """
    where = destination_paths.of(target.id)
    if not where.journal.exists():
        return
    lock = Lock(where.lock)
    if not lock.take():
        where.wake.touch(mode=0o600)
        return
    try:
        written = journal.take(where.journal)
        for name in signals:
            written.signals[name].next_ns = 0
        written.commit()
    finally:
        lock.release()


def _deliver(
    known: Settings,
    target: Destination,
    where: destination_paths.DestinationPaths,
    before: Counter[str],
    *,
    everything: bool,
    refused: bool = False,
) -> Delivered:
    from kedro_otel.shipping.shipper import Shipper

    taken = journal.take(where.journal)
    if everything:
        for identifier in adoption.others(target):  # what it was sent with other credentials
            taken.learn(journal.load(destination_paths.of(identifier).journal))
    shipper = Shipper(target, known, taken, where, everything=everything)
    shipper.retry_now()
    moved, seen = time.monotonic(), Counter(shipper.journal.counts)
    try:
        if refused:
            shipper.resend()
        while True:
            state = shipper.round(metrics_now=True)
            if shipper.journal.counts != seen:
                moved, seen = time.monotonic(), Counter(shipper.journal.counts)
            wait = (state.due_ns - time.time_ns()) / 1e9
            if not state.pending or time.monotonic() + max(wait, 0) - moved > PATIENCE:
                break
            time.sleep(min(max(wait, _LOOK), 1.0))
    finally:
        shipper.close()
    hold_notice.note(where.folder, shipper.journal, told=True)  # whoever typed this hears it now
    return Delivered(
        _since(before, shipper.journal),
        _left(known, target, shipper.journal, everything=everything),
    )


def _watch(
    known: Settings,
    target: Destination,
    where: destination_paths.DestinationPaths,
    lock: Lock,
    before: Counter[str],
) -> Delivered:
    """Wait for the shipper that is at work; take over if it ends before everything is delivered."""
    began_ns = time.time_ns()
    moved, stamp = time.monotonic(), 0
    while True:
        if lock.take(_LOOK):
            try:
                return _deliver(known, target, where, before, everything=False)
            finally:
                lock.release()
        written = journal.load(where.journal)
        left = _left(known, target, written)
        now = _stamp(where)
        if now != stamp:
            moved, stamp = time.monotonic(), now
        tried = all(
            one.state == journal.OK or one.next_ns > began_ns for one in written.signals.values()
        )
        if (
            not left
            or time.monotonic() - moved > PATIENCE
            or (left.why and tried and time.monotonic() - moved > 1.0)
        ):
            hold_notice.note(where.folder, written, told=True)
            return Delivered(_since(before, written), left)
        time.sleep(_LOOK)


def _left(
    known: Settings, target: Destination, written: Journal, *, everything: bool = False
) -> Backlog:
    return lacking(known, recorded(target, known, written=written, everything=everything), written)


def _since(before: Counter[str], written: Journal) -> Counter[str]:
    return Counter(written.counts) - before


def _stamp(where: destination_paths.DestinationPaths) -> int:
    try:
        return where.journal.stat().st_mtime_ns
    except OSError:
        return 0
