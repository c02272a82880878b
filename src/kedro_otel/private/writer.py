"""Writes the private file: error messages, stack traces, arguments as typed and log lines, which are never sent.

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
from kedro_otel.private.log_bounds import LogBounds
from kedro_otel.recording.model import NEW, PRIVATE_SUFFIX
from kedro_otel.recording.segment_file import SegmentFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kedro_otel.private.log_bounds import Line
    from kedro_otel.recording.writer import Writer

FILE_BYTES: Final = 16 * 1024 * 1024
"""A file of this length takes no more log lines."""

_LEAST: Final = 1024 * 1024
"""Bytes of dropped lines before the file is written anew."""

FORMAT: Final = 1
"""Version of the format; the value of the header's first key."""

MAX_TEXT: Final = 64 * 1024
"""Characters kept of one message, stack trace or argument; the middle of a longer one is left out."""

MAX_NODES: Final = 5_000
"""Nodes of a pipeline beyond which it is not written down."""

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
        self._logs = LogBounds()
        self._lines: list[Line | bytes] = []
        """What is in the file past its first :attr:`_settled` bytes, in order."""
        self._settled = 0

    def command(self, span_id: str, words: Sequence[str]) -> None:
        """Write the words that a command was typed with, without ``kedro`` itself."""
        self._note({"command": span_id, "args": [_cut(str(word)) for word in words]})

    def error(self, span_id: str, error: BaseException) -> None:
        """Write message and stack trace of what the operation ``span_id`` failed with.

        One exception fails a dataset, its node, the run and the command: its text is written once.
        """
        formatted = traceback.TracebackException.from_exception(error)
        message = _cut(str(formatted))
        known = self._writer.stem, id(error), message
        if known == self._last:
            self._note({"error": span_id, "as": self._last_span})
            return
        self._last, self._last_span = known, span_id
        stack = _cut("".join(formatted.format()))
        self._note({"error": span_id, "message": message, "stacktrace": stack})

    def pipeline(self, span_id: str, nodes: Sequence[Any]) -> None:
        """Write what the run ``span_id`` is to do: name, namespace, inputs and outputs of each of Kedro's ``nodes``, in their order."""
        if len(nodes) > MAX_NODES:
            return
        planned = [[node.name, node.namespace, node.inputs, node.outputs] for node in nodes]
        self._note({"pipeline": span_id, "nodes": planned})

    def log(self, span_id: str, line: str, text: str) -> None:
        """Write one log line of the node or run ``span_id``.

        Args:
            span_id: Of the node, or of the run where no node logged it.
            line: Further members, as JSON, each with a comma before it.
            text: The message, as a JSON string.
        """
        with self._lock:
            file = self._ready()
            if file is None:
                return
            node = self._logs.of(span_id)
            number = node.count + 1
            data = f'{{"log":"{span_id}","n":{number}{line},"text":{text}}}\n'.encode()
            if self._settled + self._logs.kept > FILE_BYTES:
                node.count = number
                return
            if file.write(data):
                self._stopped = True
                return
            self._lines.append(self._logs.add(node, data))
            if self._logs.dropped > max(_LEAST, self._logs.kept):
                self._rewrite(file)

    def settle(self) -> None:
        """No run is open any more: what is kept of its log lines is final."""
        with self._lock:
            file = self._file
            if file is not None and self._logs.dropped:
                file = self._rewrite(file)
            if file is not None and file is self._file:
                self._settled += sum(len(_data(line)) for line in self._lines)
            self._lines, self._logs = [], LogBounds()

    def _rewrite(self, file: SegmentFile) -> SegmentFile | None:
        """Replace the file by one without the lines that were dropped; where that fails it stays as it is."""
        self._lines = [line for line in self._lines if _data(line)]
        self._logs.dropped = 0
        fresh = file.path.with_name(f"{NEW}{file.path.name}-{os.urandom(4).hex()}")
        after = None
        try:
            with file.path.open("rb") as before:
                settled = before.read(self._settled)
            after = SegmentFile(fresh)
            reason = after.write(settled + b"".join(map(_data, self._lines)))
            if not reason and file.exists:
                fresh.replace(file.path)
                after.path = file.path
                file.close()
                self._file = after
                return after
        except OSError as error:
            guard.let_through(error)
        if after is not None:
            after.close()
        with guard.suppress(OSError):
            fresh.unlink()
        return None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                file.close()

    def abandon(self) -> None:
        """Close the parent's file in a fork child, and write nothing from then on."""
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
            self._lines.append(line)

    def _ready(self) -> SegmentFile | None:
        """Return the file beside the segment that is being written now, made if necessary; None where none can be."""
        writer = self._writer
        if self._stopped or not writer.look():
            self.close()
            return None
        if self._file is None or self._stem != writer.stem:
            self.close()
            self._stem, self._size = writer.stem, 0
            self._lines, self._logs = [], LogBounds()
            try:
                file = SegmentFile(writer.folder / f"{writer.stem}{PRIVATE_SUFFIX}")
            except OSError as error:
                guard.let_through(error)
                self._stopped = True
                return None
            header = {"kedro-otel-private": FORMAT, "segment": writer.stem}
            line = json.dumps(header, separators=(",", ":")).encode() + b"\n"
            file.write(line)
            self._settled = len(line)
            self._file = file
            if not os.path.lexists(writer.folder / f"{writer.stem}.jsonl"):
                file.path.unlink(missing_ok=True)  # the recordings were erased meanwhile
                self._stopped = True
                self.close()
        return self._file


def _data(line: Line | bytes) -> bytes:
    """Return a line's bytes; none where it was dropped."""
    return line if isinstance(line, bytes) else line[0]


def _cut(text: str) -> str:
    """Return ``text`` without its middle where it is longer than :data:`MAX_TEXT`."""
    if len(text) <= MAX_TEXT:
        return text
    half = MAX_TEXT // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters left out …\n{text[-half:]}"
