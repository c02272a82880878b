"""Writes the private file: error messages, stack traces and arguments as typed, which are never sent.

The file lies beside the segment and has its name, with the suffix ``.private``. Each line is
written by one ``write``. The format is described in docs/private-format.md.
"""

from __future__ import annotations

import json
import os
import traceback
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

from kedro_otel import guard
from kedro_otel.recording.model import PRIVATE_SUFFIX
from kedro_otel.recording.segment_file import SegmentFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kedro_otel.recording.writer import Writer

FORMAT: Final = 1
"""Version of the format; the value of the header's first key."""

MAX_TEXT: Final = 64 * 1024
"""Characters kept of one message, stack trace or argument; the middle of a longer one is left out."""

MAX_NOTES: Final = 4 * 1024 * 1024
"""Bytes of messages, stack traces and arguments that one file takes; what comes later is not kept."""


class PrivateWriter:
    """The private file of one process. Nothing is made before the first line.

    Args:
        writer: This process's segment. While it takes no lines, neither does this file.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._lock = RLock()
        self._file: SegmentFile | None = None
        self._stem = ""
        self._size = 0
        self._stopped = False
        self._last: tuple[str, int, str] = ("", 0, "")
        """The exception written last: the segment then, its id and its message."""
        self._last_span = ""

    def command(self, span_id: str, words: Sequence[str]) -> None:
        """Write the words that a command was typed with, without ``kedro`` itself."""
        self._note({"command": span_id, "args": [_cut(str(word)) for word in words]})

    def error(self, span_id: str, error: BaseException) -> None:
        """Write message and stack trace of what the operation ``span_id`` failed with.

        One exception fails a dataset, its node, the run and the command: its text is written once.
        """
        told = traceback.TracebackException.from_exception(error)
        message = _cut(str(told))
        known = self._writer.stem, id(error), message
        if known == self._last:
            self._note({"error": span_id, "as": self._last_span})
            return
        self._last, self._last_span = known, span_id
        stack = _cut("".join(told.format()))
        self._note({"error": span_id, "message": message, "stacktrace": stack})

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                file.close()

    def abandon(self) -> None:
        """Let go of the parent's file in a fork child, and write nothing any more."""
        self._lock = RLock()
        self._stopped = True
        self.close()

    def _note(self, members: dict[str, Any]) -> None:
        """Write one line, unless the file has grown too long or cannot be written."""
        line = json.dumps(members, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            file = self._ready()
            if file is None:
                return
            if self._size + len(line) > MAX_NOTES:
                return
            if file.write(line):
                self._stopped = True
                return
            self._size += len(line)

    def _ready(self) -> SegmentFile | None:
        """Return the file beside the segment that is being written now, made if necessary; None where none can be."""
        writer = self._writer
        if self._stopped or not writer.on:
            self.close()
            return None
        if self._file is None or self._stem != writer.stem:
            self.close()
            self._stem, self._size = writer.stem, 0
            try:
                file = SegmentFile(writer.folder / f"{writer.stem}{PRIVATE_SUFFIX}")
            except OSError as error:
                guard.let_through(error)
                self._stopped = True
                return None
            header = {"kedro-otel-private": FORMAT, "segment": writer.stem}
            file.write(json.dumps(header, separators=(",", ":")).encode() + b"\n")
            self._file = file
            if not os.path.lexists(writer.folder / f"{writer.stem}.jsonl"):
                file.path.unlink(missing_ok=True)  # the recordings were erased meanwhile
                self._stopped = True
                self.close()
        return self._file


def _cut(text: str) -> str:
    """Return ``text`` without its middle where it is longer than :data:`MAX_TEXT`."""
    if len(text) <= MAX_TEXT:
        return text
    half = MAX_TEXT // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters left out …\n{text[-half:]}"
