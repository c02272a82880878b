"""Which datasets of a run are not what their own history says: rows, columns, schema and size, after five runs.

Counts may grow, shrink and vary as they did before: a line through the earlier runs says what was to be expected, and
how far they were from it says how far means nothing. What was as far before is explained by that.
"""

from __future__ import annotations

from math import exp, log, sqrt
from statistics import median
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kedro_otel.semconv import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kedro_otel.viewing.model.trace import Trace

FEW: Final = 5
"""Fewer earlier runs than this are no history."""

ROWS: Final = "rows"
COLUMNS: Final = "columns"
SCHEMA: Final = "schema"
SIZE: Final = "size"
PEAK: Final = "peak"

_DEVIATIONS: Final = 8.0
_SIGMA: Final = 1.4826
_SHARE: Final = {ROWS: 0.03, SIZE: 0.1}
"""A smaller change than this share means nothing."""

_LEAST: Final = {ROWS: 1.5, SIZE: 4096.0}
_AS_FAR: Final = 0.8
_PEAK_SHARE: Final = 0.2
_PEAK_BYTES: Final = 64 << 20
_TIMES_THE_FARTHEST: Final = 5.0
_MANY: Final = 8
_RESTLESS: Final = 0.02
"""Of what varies by more than this share, fewer runs than :data:`_MANY` are too few: then only half or double counts."""


class Data(NamedTuple):
    """What a dataset was in one run; None where that was not recorded."""

    rows: int | None = None
    columns: int | None = None
    schema: str | None = None
    size: int | None = None


class Departure(NamedTuple):
    """One figure of a dataset that left its history.

    Attributes:
        dataset: The dataset's name.
        what: ``rows``, ``columns``, ``schema`` or ``size``; ``peak``, where ``dataset`` is a node.
        usual: What was to be expected; of a schema, what it was before.
        found: What it is.
        runs: How many earlier runs say so.
    """

    dataset: str
    what: str
    usual: Any
    found: Any
    runs: int

    @property
    def relative(self) -> float | None:
        """The change as a share of what is usual; None of a schema, and where that is nothing."""
        return None if self.what == SCHEMA or not self.usual else self.found / self.usual - 1


def of_trace(trace: Trace) -> dict[str, Data]:
    """Return what each dataset of the run was: what was saved, all chunks together, else what was loaded."""
    saved: dict[str, list[Data]] = {}
    loaded: dict[str, list[Data]] = {}
    for span in trace.spans(names.DATASET):
        known = span.operation.attributes
        name = known.get(names.DATASET_NAME)
        if isinstance(name, str) and span.operation.ok:
            kind = saved if known.get(names.DATASET_OPERATION) == "save" else loaded
            kind.setdefault(name, []).append(_data(known))
    return {
        name: _together(saved[name]) if name in saved else loaded[name][0]
        for name in sorted({*saved, *loaded})
    }


def departures(after: dict[str, Data], history: Sequence[dict[str, Data]]) -> list[Departure]:
    """Return what left its own history: ``history`` is of earlier runs, the newest first."""
    found: list[Departure] = []
    for name, data in after.items():
        earlier = [one[name] for one in reversed(history) if name in one]
        found += _of_dataset(name, data, earlier)
    return sorted(found, key=lambda one: (-abs(one.relative or 1), one.dataset, one.what))


def differences(after: dict[str, Data], before: dict[str, Data]) -> list[Departure]:
    """Return what differs from one earlier run, by more than a smallest share."""
    found = []
    for name, data in after.items():
        for what in (ROWS, COLUMNS, SCHEMA, SIZE):
            now, then = getattr(data, what), getattr(before.get(name), what, None)
            if now is None or then is None or now == then:
                continue
            small = what in _SHARE and abs(now - then) <= max(_SHARE[what] * then, _LEAST[what])
            if not small:
                found.append(Departure(name, what, then, now, 1))
    return sorted(found, key=lambda one: (-abs(one.relative or 1), one.dataset, one.what))


def peaks(trace: Trace) -> dict[str, int]:
    """Return the highest memory of each node of the run, in bytes, where that was recorded."""
    found: dict[str, int] = {}
    for span in trace.spans(names.NODE):
        known = span.operation.attributes
        peak = _whole(known.get(names.NODE_PEAK))
        if peak is not None:
            name = str(known.get(names.NODE_NAME) or span.operation.name)
            found[name] = max(found.get(name, 0), peak)
    return found


def peak_changes(after: dict[str, int], history: Sequence[dict[str, int]]) -> list[Departure]:
    """Return the nodes whose memory is further from the median of ``history`` than it ever was, by a fifth and 64 MiB at least."""
    found = []
    for name, peak in after.items():
        values = [one[name] for one in history if name in one]
        usual = round(median(values)) if values else peak
        apart = abs(peak - usual) > max(_PEAK_SHARE * usual, _PEAK_BYTES)
        if apart and not min(values) <= peak <= max(values):
            found.append(Departure(name, PEAK, usual, peak, len(values)))
    return sorted(found, key=lambda one: (-abs(one.found - one.usual), one.dataset))


def _of_dataset(name: str, data: Data, earlier: Sequence[Data]) -> Iterable[Departure]:
    for what, judge in _JUDGES.items():
        now = getattr(data, what)
        values = [one for one in (getattr(each, what) for each in earlier) if one is not None]
        if now is None or len(values) < FEW:
            continue
        usual = judge(what, now, values)
        if usual is not None:
            yield Departure(name, what, usual, now, len(values))


def _counted(what: str, now: int, values: Sequence[int]) -> int | None:
    """Return what was to be expected of a count that grows or varies; None if ``now`` is in keeping with it."""
    logs = [log(max(value, 0.5)) for value in values]
    number = len(logs)
    slope = median(
        (logs[later] - logs[one]) / (later - one)
        for one in range(number)
        for later in range(one + 1, number)
    )
    level = median(value - slope * place for place, value in enumerate(logs))
    residuals = [value - level - slope * place for place, value in enumerate(logs)]
    far = log(max(now, 0.5)) - level - slope * number
    usual = exp(level + slope * number)
    spread = _SIGMA * number / (number - 1.5) * median(abs(one) for one in residuals)
    farthest = max(abs(one) for one in residuals)
    # the end of a line through few points is less certain than its middle
    limit = max(
        log(1 + _SHARE[what]),
        _DEVIATIONS * spread * sqrt(1 + 4 / number),
        _TIMES_THE_FARTHEST * farthest * 2 * FEW / (FEW + number),
    )
    if number < _MANY and farthest > _RESTLESS:
        limit = max(limit, log(2))
    if abs(far) <= limit or abs(now - usual) <= _LEAST[what]:
        return None
    if any(one * far > 0 and abs(one) >= abs(far) * _AS_FAR for one in residuals):
        return None
    return round(usual)


def _steady(what: str, now: Any, values: Sequence[Any]) -> Any:  # noqa: ARG001 -- as _counted
    """Return what was the same in the last runs; None if ``now`` was there before, or nothing was."""
    last = values[-FEW:]
    return last[-1] if len(set(last)) == 1 and now not in values else None


_JUDGES: Final[dict[str, Callable[..., Any]]] = {
    ROWS: _counted,
    COLUMNS: _steady,
    SCHEMA: _steady,
    SIZE: _counted,
}


def _data(known: dict[str, Any]) -> Data:
    schema = known.get(names.DATASET_SCHEMA)
    return Data(
        _whole(known.get(names.DATASET_ROWS)),
        _whole(known.get(names.DATASET_COLUMNS)),
        schema if isinstance(schema, str) else None,
        _whole(known.get(names.DATASET_SIZE)),
    )


def _together(chunks: Sequence[Data]) -> Data:
    """Return several saves of a run as one: a generator's chunks. Of a file the last one's size counts, it is appended to."""
    rows = [one.rows for one in chunks]
    last = chunks[-1]
    known = [one for one in rows if one is not None]
    return last._replace(rows=sum(known) if len(known) == len(rows) else None)


def _whole(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None
