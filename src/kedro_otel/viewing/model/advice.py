"""What to request for a pod, and what more workers would bring: worked out from recordings of runs one node after another.

Kedro hands every node whose inputs are there to its workers, in no order that is known before. So a run with workers is
simulated for several orders, from what each node took, used and held, and the median of them is shown.
"""

from __future__ import annotations

import random
from collections import deque
from statistics import median
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kedro_otel.semconv import names
from kedro_otel.viewing.model.critical_path import upstream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kedro_otel.viewing.model.trace import Span, Trace

MARGIN: Final = 0.2
"""What is added to the most memory that was seen."""

THREADS: Final = "ThreadRunner"
PROCESSES: Final = "ParallelRunner"

_MIB: Final = 1 << 20
_STEP: Final = 64 * _MIB
_ORDERS: Final = 15
_MOST_NODES: Final = 2_000


class NodeAdvice(NamedTuple):
    """One node: the middle of its durations in nanoseconds, processors that it kept busy, the most memory it had, and the request that follows, in bytes."""

    name: str
    took_ns: int
    cpu: float | None
    peak: int | None
    request: int | None


class Prediction(NamedTuple):
    """A run with ``workers`` of a runner: nanoseconds, the least and the most over the orders, and bytes; None where memory was not recorded."""

    runner: str
    workers: int
    took_ns: int
    least_ns: int
    most_ns: int
    peak: int | None


class Advice(NamedTuple):
    """What follows from ``runs`` runs: the last of them was ``sequential`` or not; predictions only where it was."""

    runs: int
    sequential: bool
    took_ns: int
    cpu: float | None
    peak: int | None
    request: int | None
    nodes: list[NodeAdvice]
    predictions: list[Prediction]


class _Work(NamedTuple):
    took: float
    cpu: float
    held: int
    growth: int
    waits_for: frozenset[int]


def advise(trace: Trace, history: Sequence[Trace], workers: Sequence[int], cores: int) -> Advice:
    """Return what follows from a run and earlier ones of its kind, for so many ``workers`` on a machine of so many ``cores``."""
    run = trace.run or trace.root
    every = [trace, *history]
    spans = [_nodes(one) for one in every]
    nodes = [_of_node(name, [one[name] for one in spans if name in one]) for name in spans[0]]
    peaks = [one.peak for one in nodes if one.peak is not None]
    peak = max(peaks, default=None)
    used = [
        _number(node, names.NODE_CPU)
        for node in spans[0].values()
        if _number(node, names.NODE_CPU) is not None
    ]
    sequential = run.operation.attributes.get(names.RUNNER_NAME) == "SequentialRunner"
    predictions = []
    if sequential and 1 < len(nodes) <= _MOST_NODES:
        work, base, rest_ns = _work(list(spans[0].values()), run)
        for runner, processors in ((THREADS, 1), (PROCESSES, cores)):
            predictions += [
                _predicted(runner, count, work, base if peaks else None, rest_ns, processors)
                for count in workers
            ]
    return Advice(
        len(every),
        sequential,
        run.duration_ns,
        sum(one for one in used if one is not None) * 1e9 / max(run.duration_ns, 1)
        if used
        else None,
        peak,
        _request(peak),
        nodes,
        predictions,
    )


def _nodes(trace: Trace) -> dict[str, Span]:
    """Return the nodes of the run that ended well, by name, in the order in which they began."""
    found = [span for span in trace.spans(names.NODE) if span.operation.ok]
    found.sort(key=lambda span: span.operation.start_ns)
    return {
        str(span.operation.attributes.get(names.NODE_NAME) or span.operation.name): span
        for span in found
    }


def _of_node(name: str, spans: Sequence[Span]) -> NodeAdvice:
    took = round(median(span.duration_ns for span in spans))
    cpus = [
        used * 1e9 / max(span.duration_ns, 1)
        for span in spans
        if (used := _number(span, names.NODE_CPU)) is not None
    ]
    peaks = [int(one) for span in spans if (one := _number(span, names.NODE_PEAK)) is not None]
    peak = max(peaks, default=None)
    return NodeAdvice(name, took, median(cpus) if cpus else None, peak, _request(peak))


def _request(peak: int | None) -> int | None:
    """Return a peak and its margin, in whole steps of 64 MiB."""
    return None if peak is None else -int(-peak * (1 + MARGIN) // _STEP) * _STEP


def _work(nodes: Sequence[Span], run: Span) -> tuple[list[_Work], int, int]:
    """Return what each node took, used and held, the memory before the first, and the run's time between the nodes.

    What a process had before a node is not recorded, only by how much more it had after it. So the first one's beginning is
    the most that none of the nodes contradicts.
    """
    growths = [int(_number(node, names.NODE_GROWTH, signed=True) or 0) for node in nodes]
    peaks = [_number(node, names.NODE_PEAK) for node in nodes]
    before = [sum(growths[:index]) for index in range(len(nodes))]
    known = [int(peak) - before[index] for index, peak in enumerate(peaks) if peak is not None]
    base = min(known, default=0)
    waits_for = upstream(list(nodes))
    work = []
    for index, node in enumerate(nodes):
        peak = peaks[index]
        held = 0 if peak is None else max(int(peak) - base - before[index], 0)
        used = _number(node, names.NODE_CPU)
        took = node.duration_ns
        cpu = min(used * 1e9 / took, 1.0) if used is not None and took else 1.0
        work.append(_Work(took, cpu, held, growths[index], frozenset(waits_for[index])))
    rest = max(run.duration_ns - sum(node.duration_ns for node in nodes), 0)
    return work, base, rest


def _predicted(
    runner: str, workers: int, work: Sequence[_Work], base: int | None, rest_ns: int, cores: int
) -> Prediction:
    chance = random.Random(workers)  # noqa: S311 -- orders that are the same each time
    runs = [_simulated(work, workers, cores, chance) for _ in range(_ORDERS)]
    times = [round(took) + rest_ns for took, _ in runs]
    peak = None
    if base is not None:
        # each process has what the first had, too
        processes = 1 if runner == THREADS else workers + 1
        peak = base * processes + round(median(held for _, held in runs))
    return Prediction(runner, workers, round(median(times)), min(times), max(times), peak)


def _simulated(
    work: Sequence[_Work], workers: int, cores: int, chance: random.Random
) -> tuple[float, float]:
    """Return how long a run of ``work`` takes and what it holds at most, for one order of what is ready at once.

    ``cores`` is how many can compute at once: one among threads, which share the interpreter. A node that waits
    half of its time needs half of one; where more is asked for than there is, computing takes so much longer.
    """
    waiting = {index: set(one.waits_for) for index, one in enumerate(work)}
    queue: deque[int] = deque()
    running: dict[int, float] = {}
    now = kept = most = 0.0

    def submit() -> None:
        ready = [index for index, left in waiting.items() if not left]
        chance.shuffle(ready)
        queue.extend(ready)
        for index in ready:
            del waiting[index]

    submit()
    while queue or running:
        while queue and len(running) < workers:
            index = queue.popleft()
            running[index] = work[index].took
        most = max(most, kept + sum(work[index].held for index in running))
        asked = sum(work[index].cpu for index in running)
        slower = max(asked / cores, 1.0)
        speed = {index: 1 / ((1 - work[index].cpu) + work[index].cpu * slower) for index in running}
        step = min(left / speed[index] for index, left in running.items())
        now += step
        for index in list(running):
            running[index] -= step * speed[index]
            if running[index] <= 1:
                del running[index]
                kept += work[index].growth
                for left in waiting.values():
                    left.discard(index)
        submit()
    return now, most


def plain(found: Advice) -> dict[str, Any]:
    """Return it for JSON: seconds and bytes."""
    return {
        "runs": found.runs,
        "sequential": found.sequential,
        "duration_seconds": found.took_ns / 1e9,
        "cpu": found.cpu,
        "memory_peak_bytes": found.peak,
        "memory_request_bytes": found.request,
        "nodes": [
            {
                "name": one.name,
                "duration_seconds": one.took_ns / 1e9,
                "cpu": one.cpu,
                "memory_peak_bytes": one.peak,
                "memory_request_bytes": one.request,
            }
            for one in found.nodes
        ],
        "predictions": [
            {
                "runner": one.runner,
                "workers": one.workers,
                "duration_seconds": one.took_ns / 1e9,
                "least_seconds": one.least_ns / 1e9,
                "most_seconds": one.most_ns / 1e9,
                "memory_peak_bytes": one.peak,
            }
            for one in found.predictions
        ],
    }


def _number(span: Span, key: str, *, signed: bool = False) -> float | None:
    value: Any = span.operation.attributes.get(key)
    return value if type(value) in (int, float) and (signed or value >= 0) else None
