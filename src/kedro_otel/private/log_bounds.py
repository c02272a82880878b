"""Which log lines are kept: the first and the last of each node and of the run, not the middle.

Times and texts are not looked at here. A line is dropped from memory at once, and from the file
when that is written anew.
"""

from __future__ import annotations

from collections import deque
from typing import Final, TypeAlias

NODE_BYTES: Final = 64 * 1024
"""Bytes of log lines kept of one node: half of them its first lines, half its last."""

RUN_BYTES: Final = 4 * 1024 * 1024
"""Bytes of log lines kept of everything that is open: half of them first lines, half last."""

_NODE_HALF: Final = NODE_BYTES // 2
_RUN_HALF: Final = RUN_BYTES // 2


Line: TypeAlias = list[bytes]
"""One line of the private file that may be dropped: its bytes, which are empty from then on."""


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
        self._long: deque[NodeLines] = deque()
        """Those with more than first lines, by when they had."""
        self._first = 0
        self.kept = self.dropped = 0

    def of(self, span_id: str) -> NodeLines:
        """Return the lines of the operation ``span_id``."""
        found = self._nodes.get(span_id)
        if found is None:
            found = self._nodes[span_id] = NodeLines()
        return found

    def add(self, node: NodeLines, data: bytes) -> Line | bytes:
        """Keep one more line of ``node``, and drop of the middle where there are too many.

        The oldest lines of a node go, and where all have too many those of the node that had many first.

        Returns:
            The line; one of the first, which is never dropped, as it is.
        """
        size = len(data)
        node.count += 1
        self.kept += size
        if node.first + size <= _NODE_HALF and self._first + size <= _RUN_HALF:
            node.first += size
            self._first += size
            return data
        line = [data]
        last = node.last
        if not last:
            self._long.append(node)
        last.append(line)
        node.last_bytes += size
        while node.last_bytes > _NODE_HALF and len(last) > 1:
            self._drop(node)
        if self.kept > RUN_BYTES:
            self._drop_of_others(line)
        return line

    def _drop_of_others(self, line: Line) -> None:
        """Drop lines of whichever node had many first until the run has no more than it may, but not ``line``."""
        while self.kept > RUN_BYTES:
            node = self._long[0]
            if not node.last:
                self._long.popleft()
            elif node.last[0] is line:
                return
            else:
                self._drop(node)

    def _drop(self, node: NodeLines) -> None:
        """Drop the oldest of a node's last lines."""
        line = node.last.popleft()
        size = len(line[0])
        line[0] = b""
        node.last_bytes -= size
        self.kept -= size
        self.dropped += size
