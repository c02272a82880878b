"""This process's own segment, in whole lines, one or more a ``write``; what a write returned for is on record, whatever happens next."""

from __future__ import annotations

import os
import stat
import time
from collections import Counter
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

from kedro_otel import guard
from kedro_otel.config import files
from kedro_otel.facts.clock import clock
from kedro_otel.recording import encoder, machine
from kedro_otel.recording.segment_file import (
    GOES_ON,
    HEADER_BEGINS,
    NOT_WRITTEN,
    SWITCHED_OFF,
    SegmentFile,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

ROTATE_BYTES: Final = 16 * 1024 * 1024
"""A segment longer than this is continued in a new one."""

DROP_FOREIGN_BYTES: Final = 256 * 1024 * 1024
"""One process's recording past which foreign spans, and past nine eighths of which dataset lines too, are dropped."""

_DROP_AFTER: Final = {"foreign": DROP_FOREIGN_BYTES, "dataset": DROP_FOREIGN_BYTES // 8 * 9}

LOG_BYTES: Final = 16 * 1024 * 1024
"""Bytes of log lines past which one process's are no longer recorded to be sent."""

LOOK_SECONDS: Final = 0.5
"""After this long the next line waits until it is known that recording is still wanted."""


class RecordingError(OSError):
    """The recording cannot be written here; the message says what is wrong and ends without a full stop."""


def private_folder(folder: Path) -> None:
    """Make ``folder`` (0700) where it is missing, and refuse it unless it is a real folder of this user's.

    Raises:
        RecordingError: It is a symbolic link, somebody else's, or cannot be made.
    """
    try:
        files.make_folders(folder)
        found = os.lstat(folder)
    except OSError as error:
        guard.let_through(error)
        message = f"{folder} cannot be made ({error.strerror or error})"
        raise RecordingError(message) from error
    if not stat.S_ISDIR(found.st_mode):
        message = f"{folder} is not a folder"
        raise RecordingError(message)
    if hasattr(os, "geteuid"):
        if found.st_uid != os.geteuid():
            message = f"{folder} belongs to another user"
            raise RecordingError(message)
        if found.st_mode & 0o077:
            folder.chmod(0o700)


class Writer:
    """The segment of one process, from its header to its last line.

    Args:
        folder: The recordings' folder; made 0700 where it is missing.
        resource: Attributes of the resource.
        facts: Further members of the header: ``detail``, ``destination``, ``ephemeral``.
        complain: Called once, with one sentence, when writing had to stop.
        wanted: Called at most every :data:`LOOK_SECONDS`: whether the user still allows it. A purge needs no word, the file is gone then.

    Raises:
        RecordingError: There is no writable place.
    """

    def __init__(
        self,
        folder: Path,
        resource: Mapping[str, Any],
        facts: Mapping[str, Any],
        warn: Callable[[str], None],
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        self.process = os.urandom(8).hex()
        self.folder = folder
        self.resource = dict(resource)
        self.facts = dict(facts)
        self.lost: Counter[str] = Counter()
        self._complain = warn
        self._wanted = wanted
        self._look_at = time.monotonic() + LOOK_SECONDS
        self._lock = RLock()
        self._open: dict[str, bytes] = {}
        self._owned_by_user = False
        self._sequence = 0
        self._drop_after = dict(_DROP_AFTER)
        self._earlier = 0
        """Bytes in the segments before this one."""
        self._size = self._logged = 0
        self._file: SegmentFile | None = None
        self.stem = ""
        self._begin()

    def start(self, span_id: str, line: bytes, operation: str = "") -> None:
        """Write the line with which the operation ``span_id`` begins, and keep it until it ends.

        One of a kind whose lines are dropped by now, such as a ``dataset`` operation, is not written.
        """
        with self._lock:
            if operation and self._earlier + self._size > self._drop_after[operation]:
                return
            self._write(line)
            self._open[span_id] = (
                line  # afterwards: a new segment begins with what was open before this line
            )

    def end(self, span_id: str, line: bytes, dataset: bytes = b"", dataset_id: str = "") -> None:
        """Write the line with which the operation ``span_id`` ends, and before it, in the same write, that of its last ``dataset``.

        ``dataset_id`` is that one's span id if a line said that it began.
        """
        with self._lock:
            if dataset and self._earlier + self._size > self._drop_after["dataset"]:
                self.lost["dataset_too_much"] += 1
                dataset = b""
            self._write(line, dataset)
            self._open.pop(span_id, None)
            if dataset_id:
                self._open.pop(dataset_id, None)

    def span(self, operation: str, line: bytes, span_id: str = "") -> None:
        """Write the line of a whole dataset operation or foreign span; dropped and counted where the recording is far too long.

        ``span_id`` is given if a line said that the operation began.
        """
        with self._lock:  # also to count: a count that is told meanwhile would be lost with it
            if self._earlier + self._size > self._drop_after[operation]:
                self.lost[f"{operation}_too_much"] += 1
            else:
                self._write(line)
            if span_id:
                self._open.pop(span_id, None)

    def log(self, line: bytes) -> None:
        """Write a log record that is to be sent; dropped and counted where there are far too many, left out where the user's provider sends."""
        with self._lock:
            if self._owned_by_user:
                return
            if self._logged > LOG_BYTES:
                self.lost["log_too_much"] += 1
                return
            self._logged += len(line)
            self._write(line)

    def drop(self, span_id: str) -> None:
        """Declare the open operation ``span_id`` void."""
        with self._lock:
            if span_id in self._open:
                self._write(f'{{"drop":"{span_id}"}}\n'.encode())
                del self._open[span_id]

    def owned_by_user(self, *, anew: bool = False) -> None:
        """Mark the segment, and what continues it, as sent by the user's own provider: not ours to ship.

        ``anew`` leaves what was recorded so far as it is, and goes on in a new segment.
        """
        with self._lock:
            if not self._owned_by_user:
                self._owned_by_user = True
                if anew and self._file is not None:
                    self._rotate(self._file)
                else:
                    self._write(b'{"owner":"user"}\n')

    def close(self) -> None:
        """Write what was lost, and let go of the segment: from here on the process counts as ended."""
        with self._lock:
            if self._file is not None:
                self._count_reopened(self._file)
            self._tell_lost()
            self._release()

    def abandon(self) -> None:
        """Let go of a descriptor that a fork brought along, without a word: the segment is the parent's."""
        self._lock = RLock()
        self._release()

    @property
    def on(self) -> bool:
        """Whether lines are still taken."""
        return self._file is not None

    def look(self) -> bool:
        """Return the same, after a look whether the user still wants it where the last one was a while ago."""
        if self._file is not None and time.monotonic() > self._look_at:
            with self._lock:
                if self._file is not None:
                    self._still_wanted(self._file)
        return self._file is not None

    def _begin(self) -> None:
        """Make a segment and go on in it: a header, and the beginnings of what is open, there together or not at all."""
        private_folder(self.folder)
        now = clock.now()
        stem = f"{now:020d}-{os.getpid()}-{os.urandom(4).hex()}"
        fresh = self.folder / f".new-{stem}"
        file, head = None, b""
        try:
            # The lock comes before the name that readers look for, so that nobody meets a live segment without it.
            file = SegmentFile(fresh)
            head = b"".join(
                map(
                    encoder.sealed,
                    [self._header(stem, now, locked=file.locked), *self._open.values()],
                )
            )
            reason = file.write(head)
            if not reason:
                os.rename(fresh, self.folder / f"{stem}.jsonl")
        except OSError as error:
            guard.let_through(error)
            reason = error.strerror or str(error)
        if file is None or reason:
            if file is not None:
                file.close()
                with guard.suppress(OSError):
                    os.unlink(fresh)
            message = f"{self.folder} cannot be written ({reason})"
            raise RecordingError(message)
        file.path = self.folder / f"{stem}.jsonl"
        self._file, self.stem, self._size = file, stem, len(head)

    def _header(self, stem: str, now: int, *, locked: bool) -> bytes:
        words = {
            "segment": stem,
            "process": self.process,
            "bootId": machine.boot_id(),
            "machineId": machine.machine_id(create=True),
            "processStart": machine.process_start(os.getpid()),
            "startTimeUnixNano": str(now),
            "sinceBootNano": str(machine.since_boot_ns()),
            "owner": "user" if self._owned_by_user else "kedro-otel",
            **{key: value for key, value in self.facts.items() if isinstance(value, str)},
        }
        flags = {
            "locked": locked,
            **{key: value for key, value in self.facts.items() if not isinstance(value, str)},
        }
        members = [f'"{key}":{encoder.text(value)}' for key, value in words.items()]
        members += [f'"{key}":{_JSON[value]}' for key, value in flags.items()]
        return (
            f'{HEADER_BEGINS}{GOES_ON},"sequence":{self._sequence},"pid":{os.getpid()},{",".join(members)},'
            f'"resource":{{"attributes":{encoder.attributes(self.resource)}}}}}\n'
        ).encode()

    def _write(self, line: bytes, before: bytes = b"") -> None:
        """Write a line, and in the same write the one ``before`` it, each with its checksum."""
        file = self._file
        if file is None:
            self.lost["recording_stopped"] += 1
            return
        if time.monotonic() > self._look_at and not self._still_wanted(file):
            return
        if self._size > ROTATE_BYTES:
            self._rotate(file)
            file = self._file
            if file is None:
                return
        data = encoder.sealed(before) + encoder.sealed(line) if before else encoder.sealed(line)
        reason = file.write(data)
        if reason:
            self._stop(file, reason)
            return
        self._size += len(data)

    def _still_wanted(self, file: SegmentFile) -> bool:
        """Look whether the user has switched recording off or purged the recordings meanwhile; if so, stop without a word."""
        self._look_at = time.monotonic() + LOOK_SECONDS
        exists = file.exists
        if exists and self._wanted():
            return True
        if exists:
            file.mark_stopped(SWITCHED_OFF)
        self._release()
        return False

    def _rotate(self, before: SegmentFile) -> None:
        self._sequence += 1
        self._earlier += self._size
        try:
            self._begin()
        except RecordingError as error:
            self._stop(before, str(error))
            return
        reason = before.write(encoder.sealed(f'{{"continued":"{self.stem}"}}\n'.encode()))
        after = self._file
        if reason and after is not None:
            # What is open is told once: in the segment before, which nothing continues.
            with guard.suppress(OSError):
                os.unlink(after.path)
            after.close()
            self._stop(before, reason)
            return
        self._count_reopened(before)
        before.close()

    def _stop(self, file: SegmentFile, reason: str) -> None:
        """Record no more: say so in the segment, and once to the user, unless the segment was purged."""
        purged = not file.exists
        if not purged:
            file.mark_stopped(NOT_WRITTEN)
        file.close()
        self._file = None
        self.lost["recording_stopped"] += 1
        if not purged:
            self._complain(
                f"kedro-otel stopped recording ({reason}); your run goes on unchanged, and what was recorded before is kept: kedro otel status"
            )

    def _tell_lost(self) -> None:
        if self.lost:
            members = ",".join(f'"{reason}":{count}' for reason, count in self.lost.items())
            self.lost = Counter()
            self._write(f'{{"lost":{{{members}}}}}\n'.encode())

    def _count_reopened(self, file: SegmentFile) -> None:
        """Count how often the program around us closed the segment's file."""
        if file.reopened:
            self.lost["descriptor_closed"] += file.reopened
            file.reopened = 0

    def _release(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


_JSON: Final = {None: "null", True: "true", False: "false"}
