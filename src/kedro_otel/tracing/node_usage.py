"""What each node used: the difference of two readings, one where it begins and one where it ends.

A node has its process to itself, or shares it with the nodes of other threads. Then its CPU is that of its
thread alone, its I/O is not known, and its memory is that of the process meanwhile.
"""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Any, Final

from kedro_otel.facts import usage
from kedro_otel.facts.clock import clock
from kedro_otel.semconv import names
from kedro_otel.tracing.peak_sampler import sampler

if TYPE_CHECKING:
    from kedro_otel.tracing.run_nodes import ActiveNode

AUTO: Final = "auto"
EXACT: Final = "exact"
OFF: Final = "off"

_FRESH_NS: Final = 1_000_000
"""The reading at the end of a node is that of the next one's beginning too, if that comes within a millisecond."""

_LASTING_NS: Final = 10_000_000
"""The memory of a node that takes less is not recorded, unless it raised the process's highest."""

_PAGE: Final = 4096
"""Bytes up to which I/O is not recorded: the recording itself takes as much."""

_RISE: Final = 1 << 20
_ROOM: Final = 8 << 20
"""Bytes below the process's highest memory, from which on a node is watched: whatever rises above that shows by itself."""


def cpu() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    return usage.read().cpu + usage.children()


def of_run(began: float, peak: int) -> dict[str, Any]:
    """Return what a run used, as attributes: ``began`` is :func:`cpu` at its beginning, ``peak`` the most that one of its nodes had."""
    found: dict[str, Any] = {names.RUN_CPU: round(max(cpu() - began, 0.0), 6)}
    if peak:
        found[names.RUN_PEAK] = peak
    return found


class NodeUsage:
    """The readings of one process's nodes.

    Args:
        memory: How the highest memory of a node is found: ``auto``, ``exact`` (which resets the system's mark), or ``off``.
    """

    def __init__(self, memory: str = AUTO) -> None:
        self._mode = memory
        self._open: dict[int, ActiveNode] = {}
        self._last = usage.Reading(0.0, 0.0, None, None, 0)
        self._last_ns = 0
        self._last_thread = 0
        self._memory: usage.Memory | None = None
        self._memory_ns = 0
        self._memory_mark = -1

    def begins(self, node: ActiveNode) -> None:
        """Take the reading at the beginning of ``node``."""
        now, thread = clock.now(), get_ident()
        fresh = thread == self._last_thread and 0 <= now - self._last_ns < _FRESH_NS
        reading = self._last if fresh else usage.read()
        node.used, node.used_thread = reading, thread
        if self._open:
            node.shared = True
            for other in list(self._open.values()):
                other.shared = True
        if self._mode == EXACT:
            self._forget_peak(node)
        elif self._mode == AUTO:
            if reading.mark != self._memory_mark or now - self._memory_ns > _LASTING_NS:
                self._look(now, reading.mark)
            node.memory = found = self._memory
            if (
                found is not None
                and found.resident is not None
                and found.peak - found.resident > _ROOM
            ):
                sampler.watch(id(node), found.resident)
        self._open[id(node)] = node

    def pauses(self, node: ActiveNode) -> None:
        """Take the reading at what may be the end of ``node``: no hook says when a generator ends."""
        if node.used is not None:
            node.used_last = usage.read()

    def ends(self, node: ActiveNode, end_ns: int) -> dict[str, Any]:
        """Return what ``node``, which ends now or ended at ``end_ns``, used, as attributes."""
        begin = node.used
        if begin is None or self._open.pop(id(node), None) is None:
            return {}
        thread = get_ident()
        reading = node.used_last or usage.read()
        if node.used_last is None:
            self._last, self._last_ns, self._last_thread = reading, clock.now(), thread
        found: dict[str, Any] = {}
        if not node.shared:
            found[names.NODE_CPU] = round(max(reading.cpu - begin.cpu, 0.0), 6)
            for key, before, after in (
                (names.NODE_READ, begin.read, reading.read),
                (names.NODE_WRITE, begin.write, reading.write),
            ):
                if before is not None and after is not None and after - before > _PAGE:
                    found[key] = after - before
        elif thread == node.used_thread:
            found[names.NODE_CPU] = round(max(reading.thread - begin.thread, 0.0), 6)
        if self._mode != OFF:
            self._add_memory(node, end_ns, reading.mark, found)
        return found

    def _look(self, now: int, mark: int) -> None:
        self._memory, self._memory_ns, self._memory_mark = usage.memory(), now, mark

    def _add_memory(self, node: ActiveNode, end_ns: int, mark: int, found: dict[str, Any]) -> None:
        before = node.memory
        seen = sampler.peak(id(node)) if self._mode == AUTO else None
        rose = node.used is not None and mark - node.used.mark >= _RISE
        if before is None or (end_ns - node.start_ns < _LASTING_NS and not rose):
            return
        self._look(end_ns, mark)
        after = self._memory
        if after is None:
            return
        if self._mode == EXACT and node.peak is not None:
            peak, method = max(node.peak, after.peak), names.PEAK_EXACT
        elif after.peak > before.peak:
            peak, method = after.peak, names.PEAK_EXACT
        elif seen is not None:
            peak, method = max(seen, before.resident or 0, after.resident or 0), names.PEAK_SAMPLED
        else:
            peak, method = after.peak, names.PEAK_AT_MOST
        found[names.NODE_PEAK], found[names.NODE_PEAK_METHOD] = peak, method
        if after.resident is not None and before.resident is not None:
            found[names.NODE_GROWTH] = after.resident - before.resident
        node.family.peak = max(node.family.peak, peak)

    def _forget_peak(self, node: ActiveNode) -> None:
        """Reset the system's mark for ``node``, after it was noted for the nodes that are open."""
        before = usage.memory()
        if before is None:
            return
        node.memory = before
        for other in list(self._open.values()):
            if other.peak is not None:
                other.peak = max(other.peak, before.peak)
        if before.resident is not None and usage.forget_peak():
            node.peak = before.resident
