"""A recording without a place: where nothing can be written, lines are kept in memory until somebody takes them to be sent."""

from __future__ import annotations

from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

from kedro_otel.facts.clock import clock
from kedro_otel.recording import encoder
from kedro_otel.recording.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BYTES: Final = 8 * 1024 * 1024
"""What is kept at most; past three quarters of it no dataset or foreign span is, so that commands, runs and nodes still fit."""


class InMemoryWriter(Writer):
    """What a :class:`Writer` does, in memory.

    Args:
        resource: Attributes of the resource.
        facts: Further members of the header.
    """

    _kept: list[bytes]
    _begun: int

    def __init__(self, resource: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        self._on = True
        super().__init__(Path(), resource, facts, lambda _: None)
        self._drop_after = dict.fromkeys(self._drop_after, MAX_BYTES // 4 * 3)

    def take(self, *, whole: bool = False) -> bytes:
        """Return a segment of what was recorded since the last call, b"" while something is open, unless the ``whole`` of it is asked for."""
        with self._lock:
            if not self._kept or (self._open and not whole):
                return b""
            self._tell_lost()
            header = encoder.sealed(self._header(self.stem, self._begun, locked=False))
            taken = b"".join([header, *self._kept])
            self._begin()
            return taken

    def log(self, line: bytes) -> None:
        """Take no log record: what memory holds are operations."""

    def abandon(self) -> None:
        """Forget, in a fork child, what is the parent's."""
        self._on, self._kept, self._lock = False, [], RLock()

    @property
    def on(self) -> bool:
        """Whether lines are still taken."""
        return self._on

    def _begin(self) -> None:
        self._kept, self._size, self._begun, self.stem = (
            [],
            0,
            clock.now(),
            f"{clock.now():020d}-memory",
        )

    def _write(self, line: bytes, before: bytes = b"") -> None:
        line = encoder.sealed(before) + encoder.sealed(line) if before else encoder.sealed(line)
        if not self._on or self._size + len(line) > MAX_BYTES:
            self.lost["memory_full"] += 1
            return
        self._kept.append(line)
        self._size += len(line)

    def _release(self) -> None:
        self._on = False
