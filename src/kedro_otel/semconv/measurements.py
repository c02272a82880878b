"""What one finished operation adds to which instrument.

The same measurements feed the counters that are sent to an endpoint (:mod:`kedro_otel.shipping.state.aggregation`) and, where the user
has a MeterProvider of their own, live instruments of that (:class:`Live`). Nothing here imports OpenTelemetry.
"""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kedro_otel.semconv import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kedro_otel.recording.model import Operation

Attributes = tuple[tuple[str, str | bool], ...]
"""Attributes of one series, sorted by key."""

COUNTER: Final = "counter"
HISTOGRAM: Final = "histogram"
UPDOWNCOUNTER: Final = "updowncounter"

HISTOGRAM_BOUNDARIES: Final = (
    0.01,
    0.03,
    0.1,
    0.3,
    1.0,
    3.0,
    10.0,
    30.0,
    60.0,
    180.0,
    600.0,
    1800.0,
    3600.0,
    7200.0,
    21600.0,
)
"""Upper bounds in seconds, 10 ms to 6 h: what Kedro commands and runs take, in steps of two to three."""

MEMORY_BOUNDARIES: Final = tuple(float(1 << power) for power in range(25, 40))
"""Upper bounds in bytes, 32 MiB to 512 GiB, each twice the one before: as many as those of durations."""

NODE_PHASE: Final = names.NODE_PHASE
LOAD, COMPUTE, SAVE, HOOKS = "load", "compute", "save", "hooks"
_NS: Final = 1e9


class Instrument(NamedTuple):
    """One instrument: what it counts, by which attributes, each with the detail level at which it is there.

    ``ephemeral`` is whether it is sent from machines that vanish with their job, where each job is a new series, ``detail`` from which
    level on there is any measurement, ``boundaries`` the upper bounds of a histogram.
    """

    name: str
    kind: str
    unit: str
    description: str
    attributes: tuple[tuple[str, str], ...]
    ephemeral: bool = False
    detail: str = names.USAGE
    boundaries: tuple[float, ...] = HISTOGRAM_BOUNDARIES


class Measurement(NamedTuple):
    """``value`` for ``instrument``: added to a counter, recorded in a histogram, the new state of an up-down counter.

    ``exemplar`` is (trace id, span id, nanoseconds since 1970), for histograms.
    """

    instrument: str
    value: int | float
    attributes: Attributes
    exemplar: tuple[str, str, int] | None = None


_COMMAND: Final = (names.COMMAND_NAME, names.USAGE)
_PIPELINE: Final = (names.PIPELINE_NAME, names.RUN)
_NODE: Final = (names.NODE_NAME, names.RUN)
_ERROR: Final = (names.ERROR_TYPE, names.USAGE)
_OUTCOME: Final = (names.OUTCOME, names.USAGE)
_PHASE: Final = (NODE_PHASE, names.USAGE)
_TYPE: Final = (names.DATASET_TYPE, names.USAGE)
_WHAT: Final = (names.DATASET_OPERATION, names.USAGE)

_DATASET: Final = (names.DATASET_NAME, names.RUN)
_DIRECTION: Final = (names.IO_DIRECTION, names.RUN)

NODE_CPU_TIME: Final = "kedro.node.cpu.time"
NODE_DISK_IO: Final = "kedro.node.disk.io"
NODE_MEMORY_PEAK: Final = "kedro.node.memory.peak"
DATASET_ROWS: Final = "kedro.dataset.rows"

INSTRUMENTS: Final[tuple[Instrument, ...]] = (
    Instrument(
        "kedro.commands",
        COUNTER,
        "{command}",
        "Kedro commands that ended.",
        (_COMMAND, _ERROR, _OUTCOME),
        ephemeral=True,
    ),
    Instrument(
        "kedro.command.duration",
        HISTOGRAM,
        "s",
        "Duration of Kedro commands, from process start.",
        (_COMMAND,),
    ),
    Instrument(
        "kedro.pipeline.runs",
        COUNTER,
        "{run}",
        "Pipeline runs that ended.",
        (_PIPELINE, _ERROR, _OUTCOME),
        ephemeral=True,
    ),
    Instrument(
        "kedro.pipeline.run.duration", HISTOGRAM, "s", "Duration of pipeline runs.", (_PIPELINE,)
    ),
    Instrument(
        "kedro.pipeline.run.parts",
        COUNTER,
        "{part}",
        "Parts of pipeline runs that several processes made together.",
        (_PIPELINE, _ERROR, _OUTCOME),
        ephemeral=True,
    ),
    Instrument("kedro.node.runs", COUNTER, "{run}", "Nodes that ran.", (_NODE, _ERROR, _OUTCOME)),
    Instrument(
        "kedro.node.time",
        COUNTER,
        "s",
        "Time that nodes spent loading, computing, saving and in hooks.",
        (_NODE, _PHASE),
    ),
    Instrument(
        NODE_CPU_TIME,
        COUNTER,
        "s",
        "CPU time that nodes took.",
        (_NODE,),
        detail=names.RUN,
    ),
    Instrument(
        NODE_DISK_IO,
        COUNTER,
        "By",
        "Bytes that nodes read from storage and wrote to it.",
        (_NODE, _DIRECTION),
        detail=names.RUN,
    ),
    Instrument(
        NODE_MEMORY_PEAK,
        HISTOGRAM,
        "By",
        "The most memory that the process of a node had meanwhile.",
        (_NODE,),
        detail=names.RUN,
        boundaries=MEMORY_BOUNDARIES,
    ),
    Instrument(
        DATASET_ROWS,
        COUNTER,
        "{row}",
        "Rows that were loaded and saved.",
        (_DATASET, _WHAT),
        detail=names.RUN,
    ),
    Instrument(
        "kedro.dataset.operations",
        COUNTER,
        "{operation}",
        "Loads and saves of datasets.",
        (_TYPE, _WHAT, _ERROR, _OUTCOME),
    ),
    Instrument(
        "kedro.dataset.time",
        COUNTER,
        "s",
        "Time spent in loads and saves of datasets.",
        (_TYPE, _WHAT),
    ),
    Instrument(
        names.DATASET_COUNT,
        UPDOWNCOUNTER,
        "{dataset}",
        "Datasets in the project's catalog.",
        (_TYPE,),
        ephemeral=True,
    ),
    Instrument(
        names.NODE_COUNT,
        UPDOWNCOUNTER,
        "{node}",
        "Nodes in the project's default pipeline.",
        (),
        ephemeral=True,
    ),
    Instrument(
        names.PIPELINE_COUNT,
        UPDOWNCOUNTER,
        "{pipeline}",
        "Registered pipelines of the project.",
        (),
        ephemeral=True,
    ),
)
"""All instruments, in the order in which docs/telemetry.md shows them."""

BY_NAME: Final = {instrument.name: instrument for instrument in INSTRUMENTS}
_PHASES: Final = (
    (LOAD, names.NODE_LOAD),
    (COMPUTE, names.NODE_COMPUTE),
    (SAVE, names.NODE_SAVE),
    (HOOKS, names.NODE_HOOKS),
)


def measure(operation: Operation, detail: str) -> Iterator[Measurement]:
    """Yield what a finished operation adds, with the attributes that may be known at ``detail``.

    Commands and runs must come as they may leave (masked by ``detail.at``); the names and error types of nodes and
    datasets, which do not leave at ``usage`` but are counted there, are masked here. What has not ended yields nothing.
    """
    if operation.end_ns is None:
        return
    seconds = max(operation.end_ns - operation.start_ns, 0) / _NS
    exemplar = (operation.trace_id, operation.span_id, operation.end_ns)
    known = _known(operation, detail)
    if operation.operation == names.COMMAND:
        yield _one("kedro.commands", 1, known)
        yield _one("kedro.command.duration", seconds, known, exemplar)
    elif operation.operation == names.RUN and operation.attributes.get(names.RUN_PART) is True:
        yield _one("kedro.pipeline.run.parts", 1, known)
        yield from _sizes(operation)
    elif operation.operation == names.RUN:
        yield _one("kedro.pipeline.runs", 1, known)
        yield _one("kedro.pipeline.run.duration", seconds, known, exemplar)
        yield from _sizes(operation)
    elif operation.operation == names.NODE:
        yield from _node(operation, known)
        if detail != names.USAGE:
            yield from _used(operation, known, exemplar)
    elif operation.operation == names.DATASET:
        yield _one("kedro.dataset.operations", 1, known)
        yield _one("kedro.dataset.time", seconds, known)
        if detail != names.USAGE:
            yield from _rows(operation, known)


def _rows(operation: Operation, known: dict[str, str | bool]) -> Iterator[Measurement]:
    """Yield the rows of a load or save, if they were recorded."""
    rows = _amount(operation, names.DATASET_ROWS)
    if rows is not None:
        name = str(operation.attributes.get(names.DATASET_NAME))
        yield _one(DATASET_ROWS, rows, {**known, names.DATASET_NAME: name})


def _node(operation: Operation, known: dict[str, str | bool]) -> Iterator[Measurement]:
    """Yield that a node ran, and the seconds of its phases."""
    yield _one("kedro.node.runs", 1, known)
    for phase, key in _PHASES:
        spent = operation.attributes.get(key)
        if isinstance(spent, float | int) and 0 <= spent < float("inf"):
            yield _one("kedro.node.time", float(spent), {**known, NODE_PHASE: phase})


def _used(
    operation: Operation, known: dict[str, str | bool], exemplar: tuple[str, str, int]
) -> Iterator[Measurement]:
    """Yield what a node used, as far as that was recorded."""
    cpu, peak = _amount(operation, names.NODE_CPU), _amount(operation, names.NODE_PEAK)
    if cpu is not None:
        yield _one(NODE_CPU_TIME, cpu, known)
    if peak is not None:
        yield _one(NODE_MEMORY_PEAK, peak, known, exemplar)
    for direction, key in (("read", names.NODE_READ), ("write", names.NODE_WRITE)):
        moved = _amount(operation, key)
        if moved is not None:
            yield _one(NODE_DISK_IO, moved, {**known, names.IO_DIRECTION: direction})


def _amount(operation: Operation, key: str) -> int | float | None:
    value = operation.attributes.get(key)
    return value if type(value) in (int, float) and 0 <= value < float("inf") else None  # type: ignore[operator, return-value]


def error_type(operation: Operation, detail: str) -> str | None:
    """Return the class of the operation's error as it may be named at ``detail``; None if it had none."""
    if not operation.error:
        return None
    word = operation.attributes.get(names.ERROR_TYPE)
    if not isinstance(word, str) or not word:
        return names.OTHER
    if detail == names.USAGE and word not in (names.PROCESS_DIED, names.TERMINATED):
        found = getattr(builtins, word, None)
        return word if isinstance(found, type) and issubclass(found, BaseException) else names.OTHER
    return word


def by_series(measurements: Iterable[Measurement]) -> dict[str, dict[Attributes, int | float]]:
    """Return the new states that ``measurements`` give to up-down counters: whatever series is not in it is now 0."""
    states: dict[str, dict[Attributes, int | float]] = {}
    for measurement in measurements:
        if BY_NAME[measurement.instrument].kind == UPDOWNCOUNTER:
            states.setdefault(measurement.instrument, {})[measurement.attributes] = (
                measurement.value
            )
    return states


class Live:
    """The instruments in a MeterProvider of the user's, made when they are first needed."""

    def __init__(self, meter: Any) -> None:
        """Make nothing yet. ``meter`` is an OpenTelemetry ``Meter``."""
        self._meter = meter
        self._made: dict[str, Any] = {}
        self._sizes: dict[tuple[str, Attributes], int | float] = {}

    def record(self, measurements: Iterable[Measurement]) -> None:
        """Hand ``measurements``, of one operation, to the instruments."""
        every = list(measurements)
        for measurement in every:
            kind = BY_NAME[measurement.instrument].kind
            if kind == COUNTER:
                self._instrument(measurement.instrument).add(
                    measurement.value, dict(measurement.attributes)
                )
            elif kind == HISTOGRAM:
                self._instrument(measurement.instrument).record(
                    measurement.value, dict(measurement.attributes)
                )
        for name, states in by_series(every).items():
            gone = [
                attributes
                for known, attributes in self._sizes
                if known == name and attributes not in states
            ]
            for attributes, value in [*states.items(), *((attributes, 0) for attributes in gone)]:
                change = value - self._sizes.get((name, attributes), 0)
                self._sizes[name, attributes] = value
                if change:
                    self._instrument(name).add(change, dict(attributes))

    def _instrument(self, name: str) -> Any:
        if name not in self._made:
            facts = BY_NAME[name]
            words = {"unit": facts.unit, "description": facts.description}
            if facts.kind == HISTOGRAM:
                self._made[name] = self._meter.create_histogram(
                    name, explicit_bucket_boundaries_advisory=list(facts.boundaries), **words
                )
            elif facts.kind == COUNTER:
                self._made[name] = self._meter.create_counter(name, **words)
            else:
                self._made[name] = self._meter.create_up_down_counter(name, **words)
        return self._made[name]


def _known(operation: Operation, detail: str) -> dict[str, str | bool]:
    """Return what can be an attribute of a measurement at ``detail``; which instrument has which is decided by :func:`_one`."""
    level = names.DETAILS.index(detail)
    known: dict[str, str | bool] = {}
    for key, least in (_COMMAND, _PIPELINE, _NODE, _TYPE, _WHAT):
        value = operation.attributes.get(key)
        if isinstance(value, str) and value and names.DETAILS.index(least) <= level:
            known[key] = value
    error = error_type(operation, detail)
    if error is not None:
        known[names.ERROR_TYPE] = error
    elif operation.attributes.get(names.OUTCOME) == names.UNKNOWN:
        known[names.OUTCOME] = names.UNKNOWN
    return known


def _one(
    instrument: str,
    value: float,
    known: dict[str, str | bool],
    exemplar: tuple[str, str, int] | None = None,
) -> Measurement:
    attributes = tuple(
        sorted((key, known[key]) for key, _ in BY_NAME[instrument].attributes if key in known)
    )
    return Measurement(instrument, value, attributes, exemplar)


def _sizes(operation: Operation) -> Iterator[Measurement]:
    """Yield the sizes of the project.

    A filtered run gives none, unless it is a part: of a run in parts no process runs the whole.
    """
    part = operation.attributes.get(names.RUN_PART) is True
    if operation.attributes.get(names.RUN_FILTERED) is True and not part:
        return
    for name in (names.NODE_COUNT, names.PIPELINE_COUNT):
        value = operation.attributes.get(name)
        if type(value) is int:
            yield Measurement(name, value, ())
    total = operation.attributes.get(names.DATASET_COUNT)
    rows = operation.attributes.get(names.DATASET_TYPE_COUNT)
    counts = _counts(rows) if isinstance(rows, list) else {}
    for kind, count in counts.items():
        yield Measurement(names.DATASET_COUNT, count, ((names.DATASET_TYPE, kind),))
    if not counts and type(total) is int:
        yield Measurement(names.DATASET_COUNT, total, ())


def _counts(rows: list[Any]) -> dict[str, int]:
    """Return ``["type=2", …]`` as a dictionary, without what is not spelled so."""
    counts: dict[str, int] = {}
    for row in rows:
        kind, sign, count = str(row).rpartition("=")
        if sign and kind and count.isascii() and count.isdigit():
            counts[kind] = counts.get(kind, 0) + int(count)
    return counts
