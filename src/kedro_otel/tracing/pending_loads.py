"""Loads of which only ``before_node_run`` will tell for which of several runs they are made: until then they wait here."""

from __future__ import annotations

from collections import Counter
from threading import RLock, get_ident
from typing import Any

from kedro_otel.facts.clock import clock


class Load:
    """A load that began at ``start_ns`` (nanoseconds since 1970), and ended once ``end_ns`` is not 0.

    ``first_ns`` is when the first hook before it was called, ``described`` what is known of the data.
    """

    def __init__(self, dataset: str, start_ns: int) -> None:
        self.dataset = dataset
        self.first_ns = self.start_ns = start_ns
        self.end_ns = 0
        self.thread = get_ident()
        self.described: dict[str, Any] | None = None


class PendingLoads:
    """The loads that wait, by the Kedro node they are made for."""

    def __init__(self) -> None:
        self._lock = RLock()
        self.waiting: dict[int, list[Load]] = {}

    def began(self, dataset: str, node: Any, now: int) -> None:
        """A load of ``dataset`` for ``node`` began at ``now``."""
        with self._lock:
            self.waiting.setdefault(id(node), []).append(Load(dataset, now))

    def starts(self, dataset: str, node: Any) -> bool:
        """Note that the hooks before this thread's load have returned; return whether one that waits it was."""
        load = self._under_way(dataset, node)
        if load is not None:
            load.start_ns = clock.now()
        return load is not None

    def ended(self, dataset: str, node: Any, now: int) -> Load | None:
        """Note that this thread's load ended at ``now``; return it if it is one of those that wait."""
        load = self._under_way(dataset, node)
        if load is not None:
            load.end_ns = now
        return load

    def _under_way(self, dataset: str, node: Any) -> Load | None:
        thread = get_ident()
        for load in reversed(self.waiting.get(id(node), ())):
            if load.dataset == dataset and load.thread == thread and not load.end_ns:
                return load
        return None

    def take(self, node: Any, *, is_async: bool) -> list[Load]:
        """Take out the loads that ended for ``node``: this thread's, or, made in other threads, one of each input.

        What else this thread began for it has failed.
        """
        with self._lock:
            waiting, thread = self.waiting.pop(id(node), []), get_ident()
            missing = Counter(node.inputs)
            taken = []
            for load in reversed(waiting):
                mine = load.end_ns and (is_async or load.thread == thread)
                if mine and missing[load.dataset] > 0:
                    missing[load.dataset] -= 1
                    taken.append(load)
            rest = [load for load in waiting if load not in taken and load.thread != thread]
            if rest:
                self.waiting[id(node)] = rest
        return sorted(taken, key=lambda load: load.start_ns)
