"""Keep the recordings within bounds: the oldest go first, never one that is being written, and what went is counted for ever."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import time
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from kedro_otel import guard
from kedro_otel.recording import decoder, locking, machine
from kedro_otel.recording.decoder import BadLineError
from kedro_otel.recording.model import NEW, PRIVATE_SUFFIX, SUFFIX, SegmentError
from kedro_otel.recording.reader import listing, opened
from kedro_otel.recording.writer import private_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

AGE: Final = "age"
BYTES: Final = "bytes"
SEGMENTS: Final = "segments"
"""Why a segment went: too old, or the oldest of too many bytes or of too many files."""

LEDGER: Final = "dropped.jsonl"
"""In the recordings' folder: one line for each time that something went, ``{"age": 3}``."""

_APPEND: Final = (
    os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
)
_DAY_NS: Final = 86400 * 10**9
_MANY: Final = 200
_NOTE_TRIES: Final = 20
_WEEK_NS: Final = 7 * _DAY_NS
_LEDGER_BYTES: Final = 16 * 1024
_LITTER: Final = re.compile(re.escape(NEW) + r".+|handoff-(\d+)(?:-[0-9a-f]{16})?\.json")


class Limits(NamedTuple):
    """What may be kept: bytes and number of all segments, and days since one was last written."""

    max_bytes: int
    max_age_days: float
    max_segments: int


def prune(
    folder: Path, limits: Limits, keep: Callable[[Path], bool], now_ns: int | None = None
) -> Counter[str]:
    """Remove segments until ``folder`` is within ``limits``; return how many went, by reason.

    Segments that are alive stay, and those that ``keep`` says are still needed, even beyond the limits. So do, for a day after they were
    last written, those of which it cannot be told whether they are alive. Never raises: what cannot be removed stays.
    """
    now_ns = time.time_ns() if now_ns is None else now_ns
    with _alone(folder) as ledger:
        if ledger is None:
            return Counter()
        _sweep(folder, now_ns)
        found = listing(folder)
        private = _private(folder)
        sizes = {path: known.st_size + private.pop(path.stem, 0) for path, known in found}
        _remove_lonely(folder, private, now_ns)
        size, number = sum(sizes.values()), len(found)
        gone: Counter[str] = Counter()
        for path, known in found:
            reason = _reason(limits, (now_ns - known.st_mtime_ns) / _DAY_NS, size, number)
            if (
                reason
                and not keep(path)
                and not _needed(path, now_ns - known.st_mtime_ns)
                and _removed(path)
            ):
                gone[reason] += 1
                _removed(path.with_suffix(PRIVATE_SUFFIX))
                size -= sizes[path]
                number -= 1
        if gone:
            _note(ledger, gone)
    return gone


def exceeded(folder: Path, limits: Limits) -> bool:
    """Tell, at the cost of one look at the folder, whether something is beyond the limits.

    Where there are many segments their sizes are asked for now and then only.
    """
    names: list[str] = []
    with guard.suppress(OSError), os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.endswith((SUFFIX, PRIVATE_SUFFIX))]
    names = [name for name in names if name[:1].isdecimal()]
    number = sum(name.endswith(SUFFIX) for name in names)
    oldest = min(names, default="")
    if number > limits.max_segments:
        return True
    if number > _MANY and os.getpid() % 16:
        return False
    sizes = 0
    for name in names:
        with guard.suppress(OSError):
            known = os.lstat(folder / name)
            sizes += known.st_size
            if name == oldest and (time.time() - known.st_mtime) / 86400 > limits.max_age_days:
                return True
    return sizes > limits.max_bytes


def dropped(folder: Path) -> Counter[str]:
    """Return how many segments ever went from ``folder``, by reason."""
    with guard.suppress(OSError), open(folder / LEDGER, "rb") as file:
        return _sum(file.read())
    return Counter()


def note(folder: Path, reason: str, count: int) -> None:
    """Add to what :func:`dropped` tells, for what no segment could tell. Raises OSError where that cannot be written."""
    private_folder(folder)
    descriptor = os.open(folder / LEDGER, _APPEND, 0o600)
    try:
        for _ in range(_NOTE_TRIES):
            if locking.hold(descriptor) is not False:
                _note(descriptor, Counter({reason: count}))
                return
            time.sleep(0.01)  # somebody may be about to put its lines together
        _write(descriptor, {reason: count})
    finally:
        os.close(descriptor)


def _private(folder: Path) -> dict[str, int]:
    """Return the sizes of the private files in ``folder``, in bytes, by the names of their segments."""
    found: dict[str, int] = {}
    with guard.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            stem, dot, suffix = entry.name.rpartition(".")
            if dot + suffix == PRIVATE_SUFFIX and entry.name[:1].isdecimal():
                with guard.suppress(OSError):
                    found[stem] = entry.stat(follow_symlinks=False).st_size
    return found


def _remove_lonely(folder: Path, private: Mapping[str, int], now_ns: int) -> None:
    """Remove ``private`` files whose segment is gone: for a day it may only have been impossible to see."""
    for stem in private:
        path = folder / f"{stem}{PRIVATE_SUFFIX}"
        with guard.suppress(OSError):
            known = os.lstat(path)
            lonely = not os.path.lexists(path.with_suffix(SUFFIX))
            if lonely and stat.S_ISREG(known.st_mode) and now_ns - known.st_mtime_ns >= _DAY_NS:
                _removed(path)


def _reason(limits: Limits, age_days: float, size: int, number: int) -> str:
    if age_days > limits.max_age_days:
        return AGE
    if size > limits.max_bytes:
        return BYTES
    return SEGMENTS if number > limits.max_segments else ""


def _needed(path: Path, age_ns: int) -> bool:
    """Whether a segment's process may still be writing it."""
    try:
        descriptor = opened(path)
    except SegmentError:
        return False
    try:
        header = decoder.header(
            decoder.parse(os.read(descriptor, 1 << 20).partition(b"\n")[0]), path.name
        )
        alive = locking.alive(descriptor, header)
    except (SegmentError, BadLineError):
        alive = locking.held(descriptor)
    except OSError as error:
        guard.let_through(error)
        return True
    finally:
        os.close(descriptor)
    return age_ns < _DAY_NS if alive is None else alive


def _removed(path: Path | str) -> bool:
    try:
        os.unlink(path)
    except OSError as error:
        guard.let_through(error)
        return False
    return True


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[int | None]:
    """Open the ledger and keep other pruners out meanwhile; None where one is at it, or nothing may be written here."""
    try:
        descriptor = os.open(folder / LEDGER, _APPEND, 0o600)
    except OSError as error:
        guard.let_through(error)
        yield None
        return
    try:
        # Without locks two pruners meet at worst over one file, which one of them then does not find.
        yield None if locking.hold(descriptor) is False else descriptor
    finally:
        os.close(descriptor)


def _note(ledger: int, gone: Counter[str]) -> None:
    with guard.suppress(OSError):
        if os.fstat(ledger).st_size > _LEDGER_BYTES:
            os.lseek(ledger, 0, os.SEEK_SET)
            gone = gone + _sum(_all(ledger))
            os.ftruncate(ledger, 0)
        _write(ledger, gone)


def _all(ledger: int) -> bytes:
    found = b""
    while piece := os.read(ledger, _LEDGER_BYTES):
        found += piece
    return found


def _write(ledger: int, gone: Mapping[str, int]) -> None:
    os.write(ledger, json.dumps(gone).encode() + b"\n")


def _sum(data: bytes) -> Counter[str]:
    total: Counter[str] = Counter()
    for line in data.splitlines():
        with guard.suppress(BadLineError):
            total.update(
                {
                    reason: count
                    for reason, count in decoder.parse(line).items()
                    if type(count) is int
                }
            )
    return total


def _sweep(folder: Path, now_ns: int) -> None:
    """Remove what a process left behind that died while it made a segment, or before it took back its word to its workers."""
    with guard.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            litter = _LITTER.fullmatch(entry.name)
            if litter is None:
                continue
            known = os.lstat(entry.path)
            age_ns = now_ns - known.st_mtime_ns
            if (
                stat.S_ISREG(known.st_mode)
                and age_ns >= _DAY_NS
                and (not litter[1] or _gone(int(litter[1])) or age_ns >= _WEEK_NS)
            ):
                _removed(entry.path)


def _gone(pid: int) -> bool:
    """Whether there is surely no process of this number: some systems do not say."""
    return bool(machine.process_start(os.getpid())) and not machine.process_start(pid)
