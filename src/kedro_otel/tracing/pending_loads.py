"""Loads of which only ``before_node_run`` will tell for which of several runs they are made: until then they wait here."""

from __future__ import annotations

import time
from threading import RLock, get_ident
from typing import Any


class Load:
    """A load that began at ``start_ns`` (nanoseconds since 1970), and ended once ``end_ns`` is not 0."""

    def __init__(self, dataset: str, start_ns: int) -> None:
        self.dataset = dataset
        self.start_ns = start_ns
        self.end_ns = 0
        self.thread = get_ident()


class PendingLoads:
    """The loads that wait, by the Kedro node they are made for."""

    def __init__(self) -> None:
        self._lock = RLock()
        self.waiting: dict[int, list[Load]] = {}

    def began(self, dataset: str, node: Any, now: int) -> None:
        """A load of ``dataset`` for ``node`` began at ``now``."""
        with self._lock:
            self.waiting.setdefault(id(node), []).append(Load(dataset, now))

    def ended(self, dataset: str, node: Any) -> bool:
        """Note that this thread's load of ``dataset`` for ``node`` ended; return whether one of those that wait it was."""
        thread = get_ident()
        for load in reversed(self.waiting.get(id(node), ())):
            if load.dataset == dataset and load.thread == thread and not load.end_ns:
                load.end_ns = time.time_ns()
                return True
        return False

    def take(self, node: Any, *, is_async: bool) -> list[Load]:
        """Take out the loads that ended for ``node``: this thread's, or, made in other threads, one of each dataset.

        What else this thread began for it has failed.
        """
        with self._lock:
            waiting, thread = self.waiting.pop(id(node), []), get_ident()
            taken = {
                load.dataset: load
                for load in reversed(waiting)
                if load.end_ns and (is_async or load.thread == thread)
            }
            rest = [
                load for load in waiting if load not in taken.values() and load.thread != thread
            ]
            if rest:
                self.waiting[id(node)] = rest
        return sorted(taken.values(), key=lambda load: load.start_ns)
