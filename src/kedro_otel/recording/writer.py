"""This process's own segment, in whole lines, one or more a ``write``; what a write returned for is on record, whatever happens next."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections import Counter
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

from kedro_otel.recording import encoder, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

ROTATE_BYTES: Final = 16 * 1024 * 1024
"""A segment longer than this is continued in a new one."""

DROP_FOREIGN_BYTES: Final = 256 * 1024 * 1024
"""One process's recording past which foreign spans, and past nine eighths of which dataset lines too, are dropped."""

_DROP_AFTER: Final = {"foreign": DROP_FOREIGN_BYTES, "dataset": DROP_FOREIGN_BYTES // 8 * 9}

LOOK_SECONDS: Final = 0.5
"""After this long the next line waits until it is known that recording is still wanted."""

FORMAT: Final = 1

_FRESH: Final = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_EXCL
    | os.O_APPEND
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)
)


class RecordingError(OSError):
    """The recording cannot be written here; the message says what is wrong and ends without a full stop."""


def private_folder(folder: Path) -> None:
    """Make ``folder`` (0700) where it is missing, and refuse it unless it is a real folder of this user's.

    Raises:
        RecordingError: It is a symbolic link, somebody else's, or cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = os.lstat(folder)
    except OSError as error:
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


def lock(descriptor: int) -> bool:
    """Take the lock that says "this segment's process lives", without waiting; return whether the file system could."""
    try:
        if os.name == "nt":
            import msvcrt

            position = os.lseek(descriptor, 0, os.SEEK_CUR)
            os.lseek(descriptor, 2**62, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
            os.lseek(descriptor, position, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


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
        self._size = 0
        self._descriptor = -1
        self.stem = ""
        self._begin()

    def start(self, span_id: str, line: bytes) -> None:
        """Write the line with which the operation ``span_id`` begins, and keep it until :meth:`end`."""
        with self._lock:
            self._write(line)
            self._open[span_id] = (
                line  # afterwards: a new segment begins with what was open before this line
            )

    def end(self, span_id: str, line: bytes, dataset: bytes = b"") -> None:
        """Write the line with which the operation ``span_id`` ends, and before it, in the same write, that of its last ``dataset``."""
        with self._lock:
            if dataset and self._earlier + self._size > self._drop_after["dataset"]:
                self.lost["dataset_too_much"] += 1
                dataset = b""
            self._write(line, dataset)
            self._open.pop(span_id, None)

    def span(self, operation: str, line: bytes) -> None:
        """Write the only line of a dataset operation or a foreign span; dropped and counted where the recording is far too long."""
        with self._lock:  # also to count: a count that is told meanwhile would be lost with it
            if self._earlier + self._size > self._drop_after[operation]:
                self.lost[f"{operation}_too_much"] += 1
            else:
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
                if anew and self._descriptor >= 0:
                    self._rotate()
                else:
                    self._write(b'{"owner":"user"}\n')

    def close(self) -> None:
        """Write what was lost, and let go of the segment: from here on the process counts as ended."""
        with self._lock:
            self._tell_lost()
            self._release()

    def abandon(self) -> None:
        """Let go of a descriptor that a fork brought along, without a word: the segment is the parent's."""
        self._lock = RLock()
        self._release()

    @property
    def on(self) -> bool:
        """Whether lines are still taken."""
        return self._descriptor >= 0

    def _begin(self) -> None:
        """Make a segment and go on in it: a header, and the beginnings of what is open, there together or not at all."""
        private_folder(self.folder)
        now = time.time_ns()
        stem = f"{now:020d}-{os.getpid()}-{os.urandom(4).hex()}"
        fresh = self.folder / f".new-{stem}"
        try:
            descriptor = os.open(fresh, _FRESH, 0o600)
        except OSError as error:
            message = f"{self.folder} cannot be written ({error.strerror or error})"
            raise RecordingError(message) from error
        try:
            # The lock comes before the name that readers look for, so that nobody meets a live segment without it.
            locked = lock(descriptor)
            head = b"".join(
                map(encoder.sealed, [self._header(stem, now, locked=locked), *self._open.values()])
            )
            if os.write(descriptor, head) != len(head):
                message = f"{self.folder} cannot be written (no space left)"
                raise RecordingError(message)
            os.rename(fresh, self.folder / f"{stem}.jsonl")
        except OSError as error:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                os.unlink(fresh)
            if isinstance(error, RecordingError):
                raise
            message = f"{self.folder} cannot be written ({error.strerror or error})"
            raise RecordingError(message) from error
        self._descriptor, self.stem, self._size = descriptor, stem, len(head)

    def _header(self, stem: str, now: int, *, locked: bool) -> bytes:
        words = {
            "segment": stem,
            "process": self.process,
            "bootId": machine.boot_id(),
            "machineId": machine.machine_id(create=True),
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
            f'{{"kedro-otel":{FORMAT},"sequence":{self._sequence},"pid":{os.getpid()},{",".join(members)},'
            f'"resource":{{"attributes":{encoder.attributes(self.resource)}}}}}\n'
        ).encode()

    def _write(self, line: bytes, before: bytes = b"") -> None:
        """Write a line, and in the same write the one ``before`` it, each with its checksum."""
        if self._descriptor < 0:
            self.lost["recording_stopped"] += 1
            return
        if time.monotonic() > self._look_at and not self._still_wanted():
            return
        if self._size > ROTATE_BYTES:
            self._rotate()
            if self._descriptor < 0:
                return
        data = encoder.sealed(before) + encoder.sealed(line) if before else encoder.sealed(line)
        try:
            written = os.write(self._descriptor, data)
        except OSError as error:
            self._stop(error.strerror or str(error))
            return
        if written != len(data):
            self._stop("no space left on device")
            return
        self._size += written

    def _still_wanted(self) -> bool:
        """Look whether the user has switched recording off or purged the recordings meanwhile; if so, stop without a word."""
        self._look_at = time.monotonic() + LOOK_SECONDS
        if (
            os.fstat(self._descriptor).st_nlink or (self.folder / f"{self.stem}.jsonl").exists()
        ) and self._wanted():
            return True
        self._release()
        return False

    def _rotate(self) -> None:
        descriptor, self._sequence = self._descriptor, self._sequence + 1
        self._earlier += self._size
        try:
            self._begin()
        except RecordingError as error:
            self._stop(str(error))
            return
        said = encoder.sealed(f'{{"continued":"{self.stem}"}}\n'.encode())
        try:
            refused = "" if os.write(descriptor, said) == len(said) else "no space left on device"
        except OSError as error:
            refused = error.strerror or str(error)
        os.close(descriptor)
        if refused:
            self._stop(refused)
            with contextlib.suppress(OSError):
                os.unlink(
                    self.folder / f"{self.stem}.jsonl"
                )  # what is open is told once: in the segment before, which nothing continues

    def _stop(self, reason: str) -> None:
        self._release()
        self.lost["recording_stopped"] += 1
        self._complain(
            f"kedro-otel stopped recording ({reason}); your run goes on unchanged, and what was recorded before is kept: kedro otel status"
        )

    def _tell_lost(self) -> None:
        if self.lost:
            members = ",".join(f'"{reason}":{count}' for reason, count in self.lost.items())
            self.lost = Counter()
            self._write(f'{{"lost":{{{members}}}}}\n'.encode())

    def _release(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)


_JSON: Final = {None: "null", True: "true", False: "false"}
