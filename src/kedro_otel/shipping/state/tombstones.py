"""Segments that were counted and sent to the end, remembered after their files are gone: a backup may bring one back.

Each is a digest of 8 bytes, kept by the day on which the segment began, so that the oldest can be forgotten together. What
began before a forgotten day and is not known is then taken for counted: too small a number can be explained.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_SEGMENTS: Final = 20_000
"""Segments remembered: ten times as many as are kept by default, in 220 KiB of the journal."""

_BYTES: Final = 8
_DAY_NS: Final = 86400 * 10**9


class Tombstones:
    """Which segments are done with. ``before_day`` is the first day since 1970 of which all is remembered."""

    def __init__(self, limit: int = MAX_SEGMENTS) -> None:
        """Remember nothing yet.

        Args:
            limit: Segments remembered at most.
        """
        self.before_day = 0
        self._days: dict[int, set[bytes]] = {}
        self._limit = limit
        self._number = 0

    def __contains__(self, segment: str) -> bool:
        """Return whether the segment is remembered."""
        found = self._days.get(_day(segment))
        return found is not None and _digest(segment) in found

    def __len__(self) -> int:
        """Return how many are remembered."""
        return self._number

    def forgotten(self, segment: str) -> bool:
        """Return whether the segment began on a day that is no longer remembered."""
        return _day(segment) < self.before_day

    def add(self, segment: str) -> None:
        """Remember a segment; beyond the limit, forget the oldest day."""
        day = _day(segment)
        if day < self.before_day:
            return
        digests = self._days.setdefault(day, set())
        self._number += _digest(segment) not in digests
        digests.add(_digest(segment))
        while self._number > self._limit and len(self._days) > 1:
            oldest = min(self._days)
            self._number -= len(self._days.pop(oldest))
            self.before_day = oldest + 1

    def update(self, other: Tombstones) -> None:
        """Remember what ``other`` does, too."""
        for day, digests in other._days.items():
            if day >= self.before_day:
                known = self._days.setdefault(day, set())
                self._number += len(digests - known)
                known |= digests

    def dump(self) -> dict[str, Any]:
        """Return what is remembered as JSON can hold it."""
        days = {
            str(day): base64.b64encode(b"".join(sorted(digests))).decode()
            for day, digests in self._days.items()
        }
        return {"before": self.before_day, "days": days}

    def load(self, fields: Mapping[str, Any]) -> None:
        """Remember what :meth:`dump` returned. Raises KeyError, TypeError or ValueError if it did not."""
        self.before_day = int(fields["before"])
        for day, packed in fields["days"].items():
            data = base64.b64decode(packed, validate=True)
            self._days[int(day)] = {data[at : at + _BYTES] for at in range(0, len(data), _BYTES)}
        self._number = sum(map(len, self._days.values()))


def _day(segment: str) -> int:
    """Return the day since 1970 on which the segment began, as its id tells."""
    digits = segment[:20]
    return int(digits) // _DAY_NS if digits.isdecimal() else 0


def _digest(segment: str) -> bytes:
    return hashlib.sha256(segment.encode()).digest()[:_BYTES]
