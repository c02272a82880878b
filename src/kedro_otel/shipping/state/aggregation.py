"""From measurements to cumulative totals: pure arithmetic, no clock, no file, no network.

A :class:`Totals` is what one resource has counted since it was first seen: one stream of metrics with its own random
``service.instance.id`` and a fixed start. Sending it again, late or twice changes nothing at the receiver.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from kedro_otel.semconv import measurements as m
from kedro_otel.semconv import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_SERIES: Final = 2000
"""Attribute sets of one instrument in one resource; the last of them, ``otel.metric.overflow=true``, takes what is beyond."""

MAX_TYPES_EPHEMERAL: Final = 8
"""Dataset types told apart in the sizes that an ephemeral machine sends, where every job is a new set of series."""

OVERFLOW: Final[m.Attributes] = ((names.OVERFLOW, True),)
SECOND: Final = 1_000_000_000
STEP: Final = 1_000_000
"""Least distance of two points, in nanoseconds: receivers round to milliseconds."""

AHEAD: Final = 600 * SECOND
"""A clock set back by more than this is followed at once, in a new stream: points far in the future may have been accepted."""

_BUCKETS: Final = len(m.HISTOGRAM_BOUNDARIES) + 1


class Series:
    """One attribute set of one instrument.

    ``value`` is a counter's total or an up-down counter's state. A histogram has ``count``, ``value`` (the sum) and
    ``buckets``, and the latest exemplar (trace id, span id, nanoseconds, value) of each bucket. ``zero_sent`` tells
    whether its explicit first point of 0 has been acknowledged.
    """

    __slots__ = ("buckets", "count", "exemplars", "value", "zero_sent")

    def __init__(self, *, histogram: bool) -> None:
        """Begin at 0."""
        self.value: int | float = 0
        self.count = 0
        self.buckets: list[int] | None = [0] * _BUCKETS if histogram else None
        self.exemplars: dict[int, tuple[str, str, int, float]] = {}
        self.zero_sent = False


class Totals:
    """What one resource has counted, and how much of it the receiver has.

    ``revision`` grows with every change, ``acked`` is the last revision that was acknowledged; ``time_ns`` is the time of
    the points of the last attempt to send; ``sizes_ns`` is when the run ended that gave the sizes: the last that was read.
    """

    __slots__ = (
        "_numbers",
        "_offered_ns",
        "acked",
        "attributes",
        "instance",
        "revision",
        "series",
        "sizes_ns",
        "start_ns",
        "time_ns",
    )

    def __init__(self, attributes: Mapping[str, Any], instance: str, now_ns: int) -> None:
        """Begin with nothing counted; ``instance`` is the random ``service.instance.id``, ``now_ns`` nanoseconds since 1970."""
        self.attributes = dict(attributes)
        self.instance = instance
        self.start_ns = now_ns - 2 * SECOND
        self.time_ns = self._offered_ns = (
            self.start_ns + SECOND
        )  # the first points, of 0, are a second before the next
        self.sizes_ns = 0
        self.revision = 0
        self.acked = 0
        self.series: dict[tuple[str, m.Attributes], Series] = {}
        self._numbers: Counter[str] = Counter()

    @property
    def derived(self) -> bool:
        """Whether the stream counts the one run whose key its instance id follows from."""
        return self.instance.startswith(names.RUN_INSTANCE)

    def counts_at(self, ended_ns: int) -> None:
        """Give a derived stream's points the time at which its run ended (nanoseconds since 1970)."""
        if self.derived and self.time_ns == self.start_ns + SECOND:
            self.start_ns, self.time_ns = ended_ns - 2 * SECOND, ended_ns - SECOND
            self._offered_ns = self.time_ns

    @property
    def pending(self) -> bool:
        """Whether the receiver lacks something."""
        return self.revision > self.acked

    def put(self, key: tuple[str, m.Attributes], series: Series) -> None:
        """Begin a series."""
        self.series[key] = series
        self._numbers[key[0]] += 1

    def numbers(self, instrument: str) -> int:
        """Return how many series ``instrument`` has."""
        return self._numbers[instrument]

    @property
    def zero_ns(self) -> int:
        """Time of the explicit first points of 0 in the attempt whose points have ``time_ns``."""
        return self.time_ns - SECOND

    def stamp(self, now_ns: int) -> bool:
        """Give the points of the next attempt their time: later than those of all before; return whether that was possible.

        It is not where those of an earlier attempt, made while the clock was ahead, may have been accepted far in the
        future: then the stream has to end (:meth:`.Journal.retire`).
        """
        ended_ns = self.start_ns + 2 * SECOND
        if self.derived and abs(now_ns - ended_ns) < AHEAD:
            self.time_ns = ended_ns  # the same points, whoever sends them, however often
            return True
        if self.time_ns == self.start_ns + SECOND:  # nothing was sent
            self.start_ns = min(self.start_ns, now_ns - 2 * SECOND)
            self.time_ns = self.start_ns + SECOND
        if self.time_ns - now_ns > AHEAD:
            return False
        self.time_ns = max(now_ns, self.time_ns + STEP)
        return True

    def answered(self, *, refused: bool) -> None:
        """Note an answer to the last attempt: of points that were ``refused`` for good, none is there to come after."""
        if refused:
            self.time_ns = self._offered_ns
        else:
            self._offered_ns = self.time_ns

    def end(self, step_ns: int) -> None:
        """Give the last points their time, for good: a little later than those before.

        Two copies of different age tell different values at different times, all before the original's next points.

        Args:
            step_ns: Nanoseconds for each change that was not acknowledged.
        """
        self.time_ns += step_ns * min(max(self.revision - self.acked, 1), 999)
        self._offered_ns = self.time_ns

    def forget_unsent(self) -> int:
        """Drop the series of which nothing was sent; return how many."""
        unsent = [key for key, series in self.series.items() if not series.zero_sent]
        for key in unsent:
            del self.series[key]
            self._numbers[key[0]] -= 1
        if not self.series:
            self.acked = self.revision
        return len(unsent)

    def sizes_from(self, other: Totals) -> None:
        """Begin with the sizes that ``other``, an earlier stream of the same resource, ended with."""
        for (name, attributes), series in other.series.items():
            if m.BY_NAME[name].kind == m.UPDOWNCOUNTER and series.value:
                _series(self, name, attributes).value = series.value
                self.revision = 1
        self.sizes_ns = other.sizes_ns


def add(
    totals: Totals,
    found: Iterable[m.Measurement],
    *,
    exemplars: bool = True,
    ephemeral: bool = False,
) -> bool:
    """Add the measurements of one operation, and return whether anything changed.

    Args:
        totals: What to add to.
        found: Measurements of *one* operation: the sizes among them replace all former sizes.
        exemplars: Whether the trace of the operation is shipped, so that an exemplar may point at it.
        ephemeral: Whether only the instruments for ephemeral machines count.
    """
    every = list(found)
    ended_ns = max((one.exemplar[2] for one in every if one.exemplar), default=0)
    sizes = m.by_series(every)
    changed = False
    for one in every:
        if ephemeral and not m.BY_NAME[one.instrument].ephemeral:
            continue
        kind = m.BY_NAME[one.instrument].kind
        if kind == m.COUNTER:
            _series(totals, one.instrument, one.attributes).value += one.value
        elif kind == m.HISTOGRAM:
            _record(_series(totals, one.instrument, one.attributes), one, exemplars=exemplars)
        else:
            continue
        changed = True
    if sizes:
        totals.sizes_ns = ended_ns
        for instrument, states in sizes.items():
            changed |= _resize(totals, instrument, _fewer(states) if ephemeral else states)
    totals.revision += changed
    return changed


def resource_key(attributes: Mapping[str, Any]) -> str:
    """Return what names a resource: two with the same attributes have the same key."""
    return json.dumps(attributes, sort_keys=True)


def dump(totals: Totals) -> dict[str, Any]:
    """Return ``totals`` as JSON can hold it."""
    return {
        "attributes": totals.attributes,
        "instance": totals.instance,
        "start": totals.start_ns,
        "time": totals.time_ns,
        "sizes": totals.sizes_ns,
        "revision": totals.revision,
        "acked": totals.acked,
        "series": [
            [name, attributes, _dump(series)]
            for (name, attributes), series in totals.series.items()
        ],
    }


def load(fields: Mapping[str, Any]) -> Totals:
    """Return what :func:`dump` made. Raises KeyError, TypeError or ValueError if it did not."""
    totals = Totals(
        fields["attributes"], str(fields["instance"]), int(fields["start"]) + 2 * SECOND
    )
    totals.time_ns = totals._offered_ns = int(fields["time"])  # noqa: SLF001
    totals.sizes_ns = int(fields["sizes"])
    totals.revision, totals.acked = int(fields["revision"]), int(fields["acked"])
    for name, attributes, row in fields["series"]:
        if (
            name in m.BY_NAME
        ):  # an instrument that this version does not know stays with the version that does
            totals.put((name, tuple((str(key), value) for key, value in attributes)), _load(row))
    return totals


def _dump(series: Series) -> list[Any]:
    row: list[Any] = [int(series.zero_sent), series.value]
    if series.buckets is not None:
        row += [
            series.count,
            series.buckets,
            [[bucket, *exemplar] for bucket, exemplar in series.exemplars.items()],
        ]
    return row


def _load(row: list[Any]) -> Series:
    series = Series(histogram=len(row) > 2)
    series.zero_sent, series.value = bool(row[0]), row[1]
    if series.buckets is not None:
        series.count, series.buckets = int(row[2]), [int(count) for count in row[3]]
        series.exemplars = {
            int(bucket): (trace, span, int(when), float(value))
            for bucket, trace, span, when, value in row[4]
        }
        if len(series.buckets) != _BUCKETS:
            raise ValueError("buckets of another version")
    return series


def _series(totals: Totals, instrument: str, attributes: m.Attributes) -> Series:
    key = (instrument, attributes)
    found = totals.series.get(key)
    if found is None and totals.numbers(instrument) >= MAX_SERIES - 1:
        key = (instrument, OVERFLOW)
        found = totals.series.get(key)
    if found is None:
        found = Series(histogram=m.BY_NAME[instrument].kind == m.HISTOGRAM)
        totals.put(key, found)
    return found


def _record(series: Series, one: m.Measurement, *, exemplars: bool) -> None:
    if series.buckets is None:
        return
    bucket = bisect_left(m.BY_NAME[one.instrument].boundaries, one.value)
    series.buckets[bucket] += 1
    series.count += 1
    series.value += one.value
    if exemplars and one.exemplar is not None:
        series.exemplars[bucket] = (*one.exemplar, float(one.value))


def _resize(totals: Totals, instrument: str, states: Mapping[m.Attributes, int | float]) -> bool:
    """Make ``states`` the sizes of ``instrument``; a series that is not among them becomes 0. Return whether anything changed."""
    changed = False
    for attributes, value in states.items():
        series = _series(totals, instrument, attributes)
        changed |= series.value != value or not series.zero_sent
        series.value = value
    for (name, attributes), series in totals.series.items():
        if name == instrument and attributes not in states and series.value:
            series.value, changed = 0, True
    return changed


def _fewer(states: Mapping[m.Attributes, int | float]) -> dict[m.Attributes, int | float]:
    """Return ``states`` with the rarest put together, so that a job makes few series."""
    rows = sorted(states.items(), key=lambda row: (-row[1], row[0]))
    if len(rows) <= MAX_TYPES_EPHEMERAL:
        return dict(rows)
    kept = dict(rows[: MAX_TYPES_EPHEMERAL - 1])
    kept[OVERFLOW] = sum(value for _, value in rows[MAX_TYPES_EPHEMERAL - 1 :])
    return kept
