"""The highest memory of a node that stays below what its process had before, which no mark of the system's shows.

It is looked at every fiftieth of a second, by a thread that exists only while such a node is open. The
thread is none of :mod:`threading`'s: ``threading.enumerate()`` is what it is without us. It takes no signals, and
it ends before the process forks, so that Python does not warn of a fork with threads. Then it looks no longer for the nodes that are open.
"""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import time
from pathlib import Path
from types import BuiltinFunctionType
from typing import Any, Final

from kedro_otel import guard
from kedro_otel.facts import usage

PERIOD: Final = 0.02
"""Seconds between two looks."""

_IDLE: Final = 5
"""Looks without a node that is watched, after which the thread ends."""

_PATIENCE: Final = 0.1
"""Seconds that a fork waits for the thread to end; it takes a tenth of a millisecond."""


class PeakSampler:
    """Watches the memory of this process for the nodes that ask for it."""

    def __init__(self) -> None:
        self._lock = _thread.RLock()  # a signal's handler may fork while it is held
        self._peaks: dict[int, int] = {}
        self._end: Any = None
        """The lock that the thread waits for, None while there is no thread: to release it ends the thread."""
        self._ended: Any = None
        self._native_id = 0
        self._registered = False

    def watch(self, key: int, resident: int) -> None:
        """Begin to look for ``key``, at ``resident`` bytes now."""
        with self._lock:
            self._peaks[key] = resident
            if self._end is None:
                self._start()

    def peak(self, key: int) -> int | None:
        """Return the most bytes that were seen for ``key``, and look no longer; None where nobody looked."""
        if key not in self._peaks:
            return None
        with self._lock:
            found = self._peaks.pop(key, None)
            return found if self._end is not None else None

    def stop(self) -> None:
        """End the thread, and wait until the system knows of none."""
        with self._lock:
            end, self._end = self._end, None
        if end is None:
            return
        end.release()
        if self._ended.acquire(timeout=_PATIENCE):
            task = Path(f"/proc/self/task/{self._native_id}")
            until = time.monotonic() + _PATIENCE
            while task.exists() and time.monotonic() < until:
                pass

    def _start(self) -> None:
        if not isinstance(_thread.start_new_thread, BuiltinFunctionType):
            return  # gevent or eventlet, whose threads take turns only where they wait
        if not self._registered:
            self._registered = True
            atexit.register(guard.guarded(self.stop))
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(
                    before=guard.guarded(self.stop),
                    after_in_child=guard.guarded(self._child),
                )
        self._end, self._ended = _thread.allocate_lock(), _thread.allocate_lock()
        self._end.acquire()
        self._ended.acquire()
        _thread.start_new_thread(self._look, (self._end, self._ended))

    def _child(self) -> None:
        """In the new process, where nothing of this is open."""
        self._lock = _thread.RLock()
        self._peaks, self._end = {}, None

    def _look(self, end: Any, ended: Any) -> None:
        try:
            if hasattr(signal, "pthread_sigmask"):
                signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            self._native_id = _thread.get_native_id()
            self._until(end)
        except Exception as error:  # noqa: BLE001 -- nobody above could swallow it
            guard.swallow("PeakSampler._look", error)
        finally:
            ended.release()

    def _until(self, end: Any) -> None:
        """Look until ``end`` is released, or nothing has been watched for a while."""
        idle = 0
        while not end.acquire(timeout=PERIOD):
            if not self._peaks:
                idle += 1
                if idle > _IDLE:
                    with self._lock:
                        if not self._peaks:
                            if self._end is end:
                                self._end = None
                            return
                continue
            idle = 0
            now = usage.resident() or 0
            for key, most in list(self._peaks.items()):
                if now > most:
                    with self._lock:
                        if key in self._peaks:
                            self._peaks[key] = now


sampler: Final = PeakSampler()
"""The one of this process."""
