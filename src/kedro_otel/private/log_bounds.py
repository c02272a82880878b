"""Which log lines are kept: the first and the last of each node and of the run, not the middle.

Times and texts are not looked at here. A line is dropped from memory at once, and from the file
when that is written anew.
"""

from __future__ import annotations

from collections import deque
from typing import Final

NODE_BYTES: Final = 64 * 1024
"""Bytes of log lines kept of one node: half of them its first lines, half its last."""

RUN_BYTES: Final = 4 * 1024 * 1024
"""Bytes of log lines kept of everything that is open: half of them first lines, half last."""


class Line:
    """One line of the private file; ``data`` is empty once it is dropped."""

    __slots__ = ("data", "owner")

    def __init__(self, data: bytes, owner: NodeLines) -> None:
        self.data = data
        self.owner = owner


class NodeLines:
    """The log lines of one node, or of a run outside of its nodes; ``count`` is of all, the dropped ones too."""

    __slots__ = ("count", "first", "last", "last_bytes")

    def __init__(self) -> None:
        self.count = 0
        self.first = 0
        self.last: deque[Line] = deque()
        self.last_bytes = 0


class LogBounds:
    """The log lines of a file that are kept, by span id.

    Attributes:
        kept: Bytes of them.
        dropped: Bytes that are in the file still and were dropped since it was written anew.
    """

    def __init__(self) -> None:
        self._nodes: dict[str, NodeLines] = {}
        self._last: deque[Line] = deque()
        self._first = 0
        self.kept = self.dropped = 0

    def of(self, span_id: str) -> NodeLines:
        """Return the lines of the operation ``span_id``."""
        found = self._nodes.get(span_id)
        if found is None:
            found = self._nodes[span_id] = NodeLines()
        return found

    def add(self, node: NodeLines, data: bytes) -> Line:
        """Keep one more line of ``node``, and drop the oldest of the middle where there are too many."""
        line, size = Line(data, node), len(data)
        node.count += 1
        self.kept += size
        if node.first + size <= NODE_BYTES // 2 and self._first + size <= RUN_BYTES // 2:
            node.first += size
            self._first += size
            return line
        node.last.append(line)
        node.last_bytes += size
        self._last.append(line)
        while node.last_bytes > NODE_BYTES // 2 and len(node.last) > 1:
            self._drop(node.last[0])
        while self.kept > RUN_BYTES and self._last[0] is not line:
            self._drop(self._last[0])
        while not self._last[0].data:
            self._last.popleft()
        return line

    def _drop(self, line: Line) -> None:
        """Drop a line, the oldest of the last ones of its node."""
        size = len(line.data)
        if size:
            line.data = b""
            line.owner.last.popleft()
            line.owner.last_bytes -= size
            self.kept -= size
            self.dropped += size
        elif self._last[0] is line:
            self._last.popleft()
