"""The detached process: one per destination, from the first thing to send until nothing is left or waiting has become long.

Started by :mod:`kedro_otel.shipping.process.launch`; it never imports anything of the user's project.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Final

from kedro_otel.config import consent, destination, settings
from kedro_otel.recording.writer import private_folder
from kedro_otel.shipping.failpoints import reached
from kedro_otel.shipping.permission import Permission
from kedro_otel.shipping.process import launch
from kedro_otel.shipping.process.lock import Lock
from kedro_otel.shipping.state import destination_paths, hold_notice, journal

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from kedro_otel.config.destination import Destination
    from kedro_otel.config.settings import Settings
    from kedro_otel.shipping.shipper import Shipper

POLL: Final = 0.5
"""Seconds between two looks at what is running."""

PATIENCE: Final = 60.0
"""Seconds for which the process stays to try again when nothing runs any more; after that the next command takes over."""

PRUNE_EVERY: Final = 600.0
"""Seconds between two prunings while something runs."""

GUARD: Final = 0.4
"""Seconds between two looks at whether shipping is still wanted."""

GRACE: Final = 20.0
"""Seconds for which the process goes on after SIGTERM: a batch system that ends a job sends it to all processes, and kills them some 30 s later."""

MAX_LOG: Final = 64 * 1024


def main() -> int:
    """Ship until done; return the exit code: 0 in every case that is not a bug."""
    found = settings.load(os.environ)
    target = destination.current(found)
    if target is None or not consent.decide(os.environ, None).enabled:
        return 0
    signal.signal(signal.SIGTERM, _terminated)
    where = destination_paths.of(target.id)
    private_folder(where.folder.parent)
    private_folder(where.folder)
    try:
        while work(target, found, where):
            pass
    except Exception as error:
        log(
            where,
            f"stopped by a mistake of ours, {_place(error)}; what is recorded stays and is tried again",
        )
        raise
    return 0


def _terminated(number: int, _: FrameType | None) -> None:
    """Deliver what the job that ends has left, for a bounded time."""
    signal.signal(number, signal.SIG_IGN)
    timer = threading.Timer(GRACE, os._exit, [0])
    timer.daemon = True
    timer.start()


def work(target: Destination, found: Settings, where: destination_paths.DestinationPaths) -> bool:
    """Ship as the one shipper, if no other is; return whether there is something new since, which nobody else will see."""
    lock = Lock(where.lock)
    if not lock.take():
        return False
    reached("locked")
    stop = _guarded(lock)
    try:
        taken = _taken(where)
        later = taken is None or _ship(target, found, where, lock, taken)
    finally:
        stop.set()
        lock.release()
    reached("unlocked")
    return not later and _more(target, found, where)


def _ship(
    target: Destination,
    found: Settings,
    where: destination_paths.DestinationPaths,
    lock: Lock,
    taken: journal.Journal,
) -> bool:
    """Ship round by round; return whether what is left has to wait for a later process."""
    from kedro_otel.shipping.shipper import Shipper

    permission = Permission(target, found, still=lambda: lock.mine)
    shipper = Shipper(target, found, taken, where, permission=permission)
    if shipper.journal.note:
        log(where, shipper.journal.note)
    # a command may have asked for an attempt between starting this process and now
    woken, flushed = min(_touched(where.wake), launch.settings_taken_ns()), _touched(where.flush)
    asked = _touched(where.ask)
    left_at: float | None = None
    prune_at = time.monotonic() + PRUNE_EVERY
    said = ""
    try:
        while lock.mine and not shipper.withdrawn and _touched(where.ask) == asked:
            before = woken, flushed
            woken, flushed = _touched(where.wake), _touched(where.flush)
            if woken != before[0]:
                shipper.retry_now()
            state = shipper.round(metrics_now=(woken, flushed) != before)
            said = _tell(where, shipper, said)
            hold_notice.note(where.folder, shipper.journal)
            if state.alive:
                left_at = None
                if time.monotonic() > prune_at:
                    _prune(found, shipper)
                    prune_at = time.monotonic() + PRUNE_EVERY
            elif not state.pending:
                _prune(found, shipper)
                return shipper.withdrawn
            else:
                left_at = left_at or time.monotonic()
                if (state.due_ns - time.time_ns()) / 1e9 > PATIENCE - (time.monotonic() - left_at):
                    _prune(found, shipper)
                    return True
            time.sleep(POLL)
    except FileNotFoundError:
        pass  # purged: nothing of ours is to be written any more
    except OSError as error:
        log(
            where,
            f"the journal cannot be written ({error.strerror}); what is not acknowledged is sent again later",
        )
    finally:
        shipper.close()
    return True


def _taken(where: destination_paths.DestinationPaths) -> journal.Journal | None:
    """Return the journal to go on with, None where that is not possible now; the log then says why."""
    try:
        return journal.take(where.journal)
    except journal.JournalError as error:
        log(where, f"nothing is sent: {error}")
        return None


def _more(target: Destination, found: Settings, where: destination_paths.DestinationPaths) -> bool:
    """Look once more after unlocking: a command may have found the lock taken a moment ago, and left its work to us."""
    from kedro_otel.shipping.state.segment_feed import SegmentFeed

    written = journal.load(where.journal)
    if written.newer or not written.readable:
        return False
    reading = SegmentFeed(
        written,
        lambda header: (
            written.wants(header, target.id) and destination_paths.mine(header.machine_id)
        ),
        "usage",
        limit=Permission(target, found).limit,
    )
    return reading.waiting()


def _prune(found: Settings, shipper: Shipper) -> None:
    from kedro_otel.shipping.state.pruning import prune, tidy

    shipper.journal.commit()  # counted before it goes
    tidy()
    if prune(found, {shipper.where.folder.name: shipper.journal}):
        reached("pruned")
        shipper.journal.commit()


def _guarded(lock: Lock) -> threading.Event:
    """End this process at once when shipping is switched off or its files are purged, whatever it is waiting for.

    The journal makes that safe at any moment.
    """
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(GUARD):
            if not (lock.mine and consent.decide(os.environ, None).enabled) and not stop.is_set():
                os._exit(0)

    threading.Thread(target=watch, name="kedro-otel-guard", daemon=True).start()
    return stop


def _place(error: BaseException) -> str:
    """Return the class of an error and where it arose, without its message, which may hold anything."""
    import traceback

    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {os.path.basename(frame.filename)}:{frame.lineno}"


def _touched(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _tell(where: destination_paths.DestinationPaths, shipper: Shipper, said: str) -> str:
    """Log how the signals stand, when that has changed; return what was logged."""
    now = "; ".join(
        f"{name}: {one.state}{f' ({one.why})' if one.why else ''}"
        for name, one in shipper.journal.signals.items()
    )
    if now != said:
        log(where, now)
    return now


def log(where: destination_paths.DestinationPaths, text: str) -> None:
    """Add a line to the log, which is begun anew when it is long."""
    line = f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {os.getpid()} {text}\n".encode()
    with contextlib.suppress(OSError):
        if where.log.exists() and where.log.stat().st_size > MAX_LOG:
            os.replace(where.log, where.log.with_suffix(".before.log"))
        descriptor = os.open(
            where.log,
            os.O_WRONLY
            | os.O_APPEND
            | os.O_CREAT
            | getattr(os, "O_NOFOLLOW", 0)
            | getattr(os, "O_CLOEXEC", 0),
            0o600,
        )
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
