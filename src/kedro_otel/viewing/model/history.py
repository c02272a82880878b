"""One thing over many runs: the runs of a project, a node, or a dataset; what stands out, and what is flaky."""

from __future__ import annotations

from collections import defaultdict
from statistics import median
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kedro_otel.viewing.model import outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kedro_otel.viewing.index import DatasetUse, Index, Node, Run

RUNS: Final = "runs"
NODE: Final = "node"
DATASET: Final = "dataset"
ABOVE: Final = "above"
BELOW: Final = "below"

FEW: Final = 5
"""Fewer values than this say nothing about what is usual."""

_DEVIATIONS: Final = 4.0
_SIGMA: Final = 1.4826
"""Median absolute deviation × this = the standard deviation, where values are spread normally."""

_RELATIVE: Final = 0.1
_LEAST: Final = {"duration": 20e6, "memory": float(1 << 20), "rows": 1.0}
"""What nobody minds: nanoseconds, bytes, rows."""

_MOST_FLAKY: Final = 50


class Point(NamedTuple):
    """One run in a history.

    Attributes:
        run: The run.
        outcome: Of the run, or of the node or dataset in it.
        took_ns: How long that took; of a dataset all loads and saves together.
        memory: Bytes, None where not recorded.
        cpu: Seconds of processor time, None where not recorded.
        rows: Of a dataset, None where not recorded.
        use: The loads and saves of a dataset.
        stands_out: ``above`` or ``below`` for each of ``duration``, ``memory`` and ``rows`` that is far from what is usual.
    """

    run: Run
    outcome: str
    took_ns: int
    memory: float | None = None
    cpu: float | None = None
    rows: int | None = None
    use: DatasetUse | None = None
    stands_out: dict[str, str] = {}  # noqa: RUF012 (a default that nobody changes)


class Flaky(NamedTuple):
    """A node that both failed and passed on one commit."""

    node: str
    revision: str
    passed: int
    failed: int


class History(NamedTuple):
    """What was found, the newest first; ``usual_ns`` is None where too few succeeded."""

    kind: str
    name: str
    points: list[Point]
    usual_ns: int | None
    flaky: list[Flaky]


def of_runs(index: Index, runs: list[Run]) -> History:
    """Return the history of whole runs, and their flaky nodes."""
    return of_runs_alone(runs)._replace(flaky=flaky(index, runs))


def of_runs_alone(runs: list[Run]) -> History:
    """Return the history of whole runs; each is measured by the successful ones of its pipeline."""
    points = [
        Point(
            run,
            str(run.known["outcome"]),
            run.took_ns,
            memory=run.known["memory_bytes"],
            cpu=run.known["cpu_seconds"],
        )
        for run in runs
    ]
    by_pipeline: dict[tuple[object, object], list[int]] = defaultdict(list)
    for place, run in enumerate(runs):
        by_pipeline[run.known["project"], run.known["pipeline"]].append(place)
    for places in by_pipeline.values():
        for place, point in zip(places, _marked([points[one] for one in places]), strict=True):
            points[place] = point
    usual = _usual(points) if len(by_pipeline) == 1 else None
    return History(RUNS, "", points, usual, [])


def of_node(index: Index, runs: list[Run], name: str) -> History:
    """Return the history of a node; where it ran several times in one run, the last of them."""
    last: dict[str, Node] = {node.run: node for node in index.nodes(runs, name)}
    points = [
        Point(run, node.outcome, node.took_ns, memory=node.memory, cpu=node.cpu)
        for run in runs
        if (node := last.get(run.span_id))
    ]
    points = _marked(points)
    return History(NODE, name, points, _usual(points), _flaky(name, points))


def of_dataset(index: Index, runs: list[Run], name: str) -> History:
    """Return the history of a dataset: all its loads and saves in each run."""
    uses = {use.run: use for use in index.dataset(runs, name)}
    points = _marked(
        [
            Point(
                run,
                outcome.FAILED if use.failed else outcome.OK,
                use.load_ns + use.save_ns,
                rows=use.rows,
                use=use,
            )
            for run in runs
            if (use := uses.get(run.span_id))
        ]
    )
    return History(DATASET, name, points, _usual(points), [])


def flaky(index: Index, runs: list[Run]) -> list[Flaky]:
    """Return the nodes that both failed and passed on one commit, by name."""
    found: list[Flaky] = []
    for name in index.failed(runs)[:_MOST_FLAKY]:
        found += of_node(index, runs, name).flaky
    return found


def plain(found: History) -> dict[str, Any]:
    """Return it for JSON: docs/schemas/history.schema.json."""
    return {
        "kind": found.kind,
        "name": found.name or None,
        "usual_seconds": None if found.usual_ns is None else found.usual_ns / 1e9,
        "points": [_plain_point(one) for one in found.points],
        "flaky": [one._asdict() for one in found.flaky],
    }


def _plain_point(one: Point) -> dict[str, Any]:
    known, use = one.run.known, one.use
    return {
        "run": one.run.number,
        **{
            key: known[key]
            for key in ("start", "trace_id", "run_id", "command", "pipeline", "project", "revision")
        },
        "run_outcome": known["outcome"],
        "outcome": one.outcome,
        "duration_seconds": one.took_ns / 1e9,
        "cpu_seconds": one.cpu,
        "memory_bytes": None if one.memory is None else round(one.memory),
        "rows": one.rows,
        "loads": use.loads if use else None,
        "load_seconds": use.load_ns / 1e9 if use else None,
        "saves": use.saves if use else None,
        "save_seconds": use.save_ns / 1e9 if use else None,
        "stands_out": one.stands_out,
    }


def _flaky(name: str, points: Iterable[Point]) -> list[Flaky]:
    passed: dict[str, int] = defaultdict(int)
    failed: dict[str, int] = defaultdict(int)
    for one in points:
        revision = one.run.known["revision"]
        if revision and one.outcome in (outcome.OK, outcome.FAILED):
            (passed if one.outcome == outcome.OK else failed)[revision] += 1
    return [
        Flaky(name, revision, passed[revision], count)
        for revision, count in failed.items()
        if passed.get(revision)
    ]


def _usual(points: list[Point]) -> int | None:
    values = [one.took_ns for one in points if one.outcome == outcome.OK]
    return round(median(values)) if len(values) >= FEW else None


def _marked(points: list[Point]) -> list[Point]:
    """Return the points with what stands out among those that ended well; of the others no time says anything."""
    good = [place for place, one in enumerate(points) if one.outcome == outcome.OK]
    found: list[dict[str, str]] = [{} for _ in points]
    for key, least in _LEAST.items():
        values = {
            place: value for place in good if (value := _value(points[place], key)) is not None
        }
        for place, word in zip(values, _words(list(values.values()), least), strict=True):
            if word:
                found[place][key] = word
    return [one._replace(stands_out=words) for one, words in zip(points, found, strict=True)]


def _value(one: Point, key: str) -> float | None:
    return {"duration": one.took_ns, "memory": one.memory, "rows": one.rows}[key]


def _words(values: Sequence[float], least: float) -> list[str]:
    """Return for each value whether it is far above or below the median: by four deviations, a tenth, and what nobody minds."""
    if len(values) < FEW:
        return [""] * len(values)
    middle = median(values)
    deviation = _SIGMA * median(abs(value - middle) for value in values)
    limit = max(_DEVIATIONS * deviation, _RELATIVE * abs(middle), least)
    return [
        ABOVE if value - middle > limit else BELOW if middle - value > limit else ""
        for value in values
    ]
