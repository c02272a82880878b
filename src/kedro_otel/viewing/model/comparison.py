"""What took longer than before, and whether that means anything: judged by how much earlier runs differ among themselves."""

from __future__ import annotations

from math import sqrt
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from kedro_otel.semconv import names
from kedro_otel.viewing.model import data_history
from kedro_otel.viewing.model.critical_path import critical_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kedro_otel.viewing.model.data_history import Departure
    from kedro_otel.viewing.model.trace import Span, Trace

SLOWER: Final = "slower"
FASTER: Final = "faster"
SAME: Final = "same"
ADDED: Final = "added"
REMOVED: Final = "removed"
"""What became of a node or a dataset."""

RUN: Final = "run"
NODE: Final = "node"
DATASET: Final = "dataset"

FEW: Final = 3
"""Fewer values than this say nothing about their spread."""

_DEVIATIONS: Final = 4.0
_SIGMA: Final = 1.4826
"""Median absolute deviation × this = the standard deviation, where values are spread normally."""

_USUAL_NOISE: Final = 0.05
_ENOUGH: Final = 5
_PRIOR: Final = 8
"""What all nodes' spread together says weighs as much as so many values of one."""

_RELATIVE: Final = 0.08
_RELATIVE_OF_FEW: Final = 0.4
_ABSOLUTE_NS: Final = 20_000_000
_SHARE_OF_RUN: Final = 0.005
_ABSOLUTE_MOST_NS: Final = 1_000_000_000
_STEADY_NS: Final = 50_000_000
_FAR_SHORTER: Final = 10


class Profile(NamedTuple):
    """One run in figures, in nanoseconds: the whole, each node, each dataset with all its loads and saves (and how many), the critical path."""

    trace: Trace
    took_ns: int
    nodes: dict[str, int]
    datasets: dict[str, int]
    operations: dict[str, int]
    path: tuple[str, ...]
    path_ns: int


class Change(NamedTuple):
    """One line of a comparison. ``limit_ns`` is how far it may be from ``before_ns`` without meaning anything; ``range_ns`` what it used to be."""

    kind: str
    name: str
    verdict: str
    before_ns: int
    after_ns: int
    limit_ns: int
    range_ns: tuple[int, int]

    @property
    def difference_ns(self) -> int:
        """How much longer it took."""
        return self.after_ns - self.before_ns

    @property
    def relative(self) -> float | None:
        """The same as a share of before; None where there is no before."""
        return self.difference_ns / self.before_ns if self.before_ns else None


class Comparison(NamedTuple):
    """All changes, the most telling first; ``typical`` is the earlier run nearest to the median, or the one that was named.

    ``data`` are datasets that are not what they were, and nodes whose memory is not.
    """

    after: Profile
    typical: Profile
    history: int
    named: bool
    run: Change
    nodes: list[Change]
    datasets: list[Change]
    data: list[Departure]


def profile(trace: Trace) -> Profile:
    """Return a run in figures; what has not ended well is left out, its time says nothing."""
    run = trace.run or trace.root
    found: list[Span] = [child for child in run.children if child.operation.operation == names.NODE]
    if trace.root_recorded is not None:  # a run in parts has its nodes below those
        found = trace.spans(names.NODE)
    ended = [node for node in found if node.operation.ok]
    nodes: dict[str, int] = {}
    datasets: dict[str, int] = {}
    operations: dict[str, int] = {}
    for node in ended:
        name = str(node.operation.attributes.get(names.NODE_NAME) or node.operation.name)
        nodes[name] = nodes.get(name, 0) + node.duration_ns
        for child in node.children:
            if child.operation.operation == names.DATASET and not child.operation.error:
                dataset = str(
                    child.operation.attributes.get(names.DATASET_NAME) or child.operation.name
                )
                datasets[dataset] = datasets.get(dataset, 0) + child.duration_ns
                operations[dataset] = operations.get(dataset, 0) + 1
    path = critical_path(ended)
    named = tuple(
        str(node.operation.attributes.get(names.NODE_NAME) or node.operation.name)
        for node in path.nodes
    )
    return Profile(trace, run.duration_ns, nodes, datasets, operations, named, path.duration_ns)


def compare(
    after: Profile, before: Profile | None, history: Sequence[Profile], *, complete: bool = True
) -> Comparison:
    """Compare ``after`` with one run that was named, or (None) with the median of its history.

    ``history`` shows how much runs differ anyway; it may be empty only if ``before`` is given. ``complete`` is False where ``after``
    ended early: what it did not reach is then not called removed. Raises :class:`ValueError` where there is nothing to compare with.
    """
    baseline = [before] if before is not None else list(history)
    if not baseline:
        raise ValueError("nothing to compare with")
    middle = median(one.took_ns for one in baseline)
    typical = min(baseline, key=lambda one: abs(one.took_ns - middle))
    spread = list(history) or baseline
    floor = _floor(typical.took_ns)
    if not complete:
        after = after._replace(
            datasets={
                name: took
                for name, took in after.datasets.items()
                if after.operations[name] == typical.operations.get(name)
            }
        )

    def judged(kind: str, of: Callable[[Profile], Mapping[str, int]]) -> list[Change]:
        return _judged(
            kind,
            of(after),
            [of(one) for one in baseline],
            [of(one) for one in spread],
            floor,
            complete=complete,
        )

    run = judged(RUN, lambda one: {"": one.took_ns})[0]
    nodes, datasets = judged(NODE, lambda one: one.nodes), judged(DATASET, lambda one: one.datasets)
    data = _data(after, before, history)
    return Comparison(after, typical, len(history), before is not None, run, nodes, datasets, data)


def _data(after: Profile, before: Profile | None, history: Sequence[Profile]) -> list[Departure]:
    """Return what became of the data and of the nodes' memory, against the run that was named or else the earlier ones."""
    now = data_history.of_trace(after.trace)
    earlier = [before] if before is not None else list(history)
    then = [data_history.of_trace(one.trace) for one in earlier]
    found = (
        data_history.differences(now, then[0])
        if len(then) < data_history.FEW
        else data_history.departures(now, then)
    )
    memory = [data_history.peaks(one.trace) for one in earlier]
    return found + data_history.peak_changes(data_history.peaks(after.trace), memory)


def _floor(run_ns: int) -> float:
    """Nobody minds less than this, in nanoseconds: 20 ms, half a per cent of the run, at most a second."""
    return max(_ABSOLUTE_NS, min(run_ns * _SHARE_OF_RUN, _ABSOLUTE_MOST_NS))


def _judged(
    kind: str,
    after: Mapping[str, int],
    baseline: Sequence[Mapping[str, int]],
    spread: Sequence[Mapping[str, int]],
    floor: float,
    *,
    complete: bool,
) -> list[Change]:
    before = {
        name: [one[name] for one in baseline if name in one]
        for name in dict.fromkeys(name for one in baseline for name in one)
    }
    values = {name: [one[name] for one in spread if name in one] for name in {*before, *after}}
    noise = _noise(values)
    changes = []
    for name, known in before.items():
        usual = round(median(known))
        seen = values[name] or known
        limits = (min(known), max(known))
        if name not in after:
            if complete and len(known) * 2 > len(baseline):
                changes.append(Change(kind, name, REMOVED, usual, 0, 0, limits))
            continue
        common = _common_noise(noise, usual)
        if len(spread) < _ENOUGH:
            common = max(common, _USUAL_NOISE)
        limit = _limit(usual, seen, common, floor, single=len(baseline) == 1 and len(spread) > 1)
        difference = after[name] - usual
        verdict = SAME if abs(difference) <= limit else SLOWER if difference > 0 else FASTER
        changes.append(Change(kind, name, verdict, usual, after[name], limit, limits))
    changes += [
        Change(kind, name, ADDED, 0, took, 0, (0, 0))
        for name, took in after.items()
        if name not in before
    ]
    order = (SLOWER, FASTER, ADDED, REMOVED, SAME)
    return sorted(
        changes, key=lambda one: (order.index(one.verdict), -abs(one.difference_ns), one.name)
    )


def _noise(values: Mapping[str, list[int]]) -> list[tuple[float, float]]:
    """Return what each thing of some length usually takes, and its relative spread."""
    known = [(median(one), one) for one in values.values() if len(one) >= FEW]
    return [(middle, _deviation(one) / middle) for middle, one in known if middle >= _STEADY_NS]


def _common_noise(noise: Sequence[tuple[float, float]], usual: float) -> float:
    """Return the relative spread that things of this length usually have: a few values of one may agree by luck, those of all do not.

    What is far shorter says little about it, since a hiccup of some milliseconds is a larger share of it.
    """
    alike = [spread for middle, spread in noise if middle * _FAR_SHORTER >= usual]
    found = alike if len(alike) > 1 else [spread for _, spread in noise]
    return median(found) if found else _USUAL_NOISE


def _deviation(values: Sequence[int]) -> float:
    middle = median(values)
    unbiased = len(values) / (
        len(values) - 0.8
    )  # few values lie nearer to their own median than to that of many (Croux and Rousseeuw 1992)
    return _SIGMA * unbiased * median(abs(value - middle) for value in values)


def _limit(usual: int, seen: Sequence[int], common: float, floor: float, *, single: bool) -> int:
    """How far from ``usual`` means nothing. The fewer values there are, the more what is common to all decides how far they are spread."""
    number = len(seen)
    if number < FEW:
        return round(max(floor, _RELATIVE_OF_FEW * usual))
    deviation = sqrt(
        (number * _deviation(seen) ** 2 + _PRIOR * (common * usual) ** 2) / (number + _PRIOR)
    )
    uncertain = (
        sqrt(2) if single else sqrt(1 + 1.57 / number)
    )  # of one run against another; of one run against a median
    return round(max(floor, _RELATIVE * usual, _DEVIATIONS * uncertain * deviation))
