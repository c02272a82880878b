"""One finished operation, and what it adds to which instrument."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from kedro_otel.recording.model import DIED, ENDED, Operation
from kedro_otel.semconv import measurements as m
from kedro_otel.semconv import names

SECOND = 10**9
TRACE, SPAN = "a" * 32, "b" * 16


def ended(
    kind: str,
    seconds: float = 2.0,
    *,
    error: str | None = None,
    state: str = ENDED,
    **attributes: object,
) -> Operation:
    """Return a finished operation; ``kedro_node_name=…`` is the attribute ``kedro.node.name``."""
    values = {key.replace("_", "."): value for key, value in attributes.items()}
    if error is not None:
        values[names.ERROR_TYPE] = error
    return Operation(
        kind,
        TRACE,
        SPAN,
        "",
        "x",
        SECOND,
        end_ns=SECOND + int(seconds * SECOND),
        attributes=values,
        error=error is not None,
        state=state,
    )


def added(
    operation: Operation, detail: str = names.RUN
) -> dict[tuple[str, tuple[tuple[str, object], ...]], float]:
    """Return what an operation adds, by instrument and attributes."""
    return {(one.instrument, one.attributes): one.value for one in m.measure(operation, detail)}


def test_a_command_is_counted_and_timed_by_its_name():
    """A command adds one to its counter and its seconds to its histogram, with an exemplar of its span."""
    command = ended("command", 2.5, kedro_command_name="registry list")
    name = ((names.COMMAND_NAME, "registry list"),)
    assert added(command) == {("kedro.commands", name): 1, ("kedro.command.duration", name): 2.5}
    exemplars = {one.instrument: one.exemplar for one in m.measure(command, names.USAGE)}
    assert exemplars["kedro.command.duration"] == (TRACE, SPAN, SECOND + int(2.5 * SECOND))


def test_the_error_stands_on_the_counter_and_not_on_the_histogram():
    """A failed command has its error's type on the counter; durations are told apart by name alone."""
    failed = ended("command", error="ValueError", kedro_command_name="run")
    assert set(added(failed)) == {
        ("kedro.commands", ((names.ERROR_TYPE, "ValueError"), (names.COMMAND_NAME, "run"))),
        ("kedro.command.duration", ((names.COMMAND_NAME, "run"),)),
    }


@pytest.mark.parametrize(
    ("word", "detail", "told"),
    [
        ("ValueError", names.USAGE, "ValueError"),
        ("SystemExit", names.USAGE, "SystemExit"),
        ("kedro_otel.process_died", names.USAGE, "kedro_otel.process_died"),
        ("secret.project.CustomError", names.USAGE, names.OTHER),
        ("print", names.USAGE, names.OTHER),
        ("", names.USAGE, names.OTHER),
        ("secret.project.CustomError", names.RUN, "secret.project.CustomError"),
    ],
)
def test_at_usage_an_error_is_named_only_if_it_is_a_builtin(word, detail, told):
    """Classes of the project or of a library are ``_OTHER`` unless names may leave."""
    assert m.error_type(ended("node", error=word), detail) == told


def test_an_error_without_a_type_is_counted_as_other():
    """A failure whose class nobody recorded is still told apart from a success."""
    operation = ended(
        "dataset", error="x", kedro_dataset_type="custom", kedro_dataset_operation="load"
    )
    del operation.attributes[names.ERROR_TYPE]
    assert (
        "kedro.dataset.operations",
        (
            (names.ERROR_TYPE, names.OTHER),
            (names.DATASET_OPERATION, "load"),
            (names.DATASET_TYPE, "custom"),
        ),
    ) in added(operation)


def test_a_run_of_the_whole_project_tells_its_sizes():
    """A run without a filter gives sizes: nodes, pipelines, and datasets by type."""
    run = ended(
        "run",
        kedro_pipeline_name="__default__",
        **{
            names.RUN_FILTERED: False,
            names.DATASET_COUNT: 3,
            names.NODE_COUNT: 9,
            names.PIPELINE_COUNT: 2,
            names.DATASET_TYPE_COUNT: ["pandas.CSVDataset=2", "custom=1", "nonsense", "=4", "x=y"],
        },
    )
    name = ((names.PIPELINE_NAME, "__default__"),)
    assert added(run) == {
        ("kedro.pipeline.runs", name): 1,
        ("kedro.pipeline.run.duration", name): 2.0,
        (names.NODE_COUNT, ()): 9,
        (names.PIPELINE_COUNT, ()): 2,
        (names.DATASET_COUNT, ((names.DATASET_TYPE, "pandas.CSVDataset"),)): 2,
        (names.DATASET_COUNT, ((names.DATASET_TYPE, "custom"),)): 1,
    }


def test_a_filtered_run_says_nothing_of_sizes():
    """A run of a part of the project leaves the sizes as they were."""
    run = ended(
        "run",
        **{
            names.RUN_FILTERED: True,
            names.NODE_COUNT: 1,
            names.DATASET_COUNT: 1,
            names.PIPELINE_COUNT: 1,
        },
    )
    assert set(added(run)) == {("kedro.pipeline.runs", ()), ("kedro.pipeline.run.duration", ())}


def test_sizes_without_types_are_one_number():
    """A catalog whose types nobody counted still has its size."""
    run = ended("run", **{names.DATASET_COUNT: 5})
    assert added(run)[names.DATASET_COUNT, ()] == 5


def test_a_node_is_counted_and_its_time_split_in_three():
    """A node adds one run, and the seconds of its load, compute and save."""
    times = {names.NODE_LOAD: 0.5, names.NODE_COMPUTE: 1.0, names.NODE_SAVE: 0.0}
    node = ended("node", kedro_node_name="train", **times)
    name = (names.NODE_NAME, "train")
    assert added(node) == {
        ("kedro.node.runs", (name,)): 1,
        ("kedro.node.time", (name, (names.NODE_PHASE, "load"))): 0.5,
        ("kedro.node.time", (name, (names.NODE_PHASE, "compute"))): 1.0,
        ("kedro.node.time", (name, (names.NODE_PHASE, "save"))): 0.0,
    }


@pytest.mark.parametrize("nonsense", ["1", float("nan"), float("inf"), -1.0, None])
def test_a_time_that_is_none_is_not_added(nonsense):
    """A counter takes no text, no infinity and nothing negative, whatever a damaged recording says."""
    node = ended("node", **{names.NODE_LOAD: nonsense})
    assert set(added(node)) == {("kedro.node.runs", ())}


def test_at_usage_nothing_of_the_project_is_on_a_metric():
    """Nodes and pipelines are counted without their names where names may not leave."""
    node = ended("node", error="secret.Error", kedro_node_name="train", **{names.NODE_LOAD: 1.0})
    run = ended("run", kedro_pipeline_name="secret")
    assert set(added(node, names.USAGE)) == {
        ("kedro.node.runs", ((names.ERROR_TYPE, names.OTHER),)),
        ("kedro.node.time", ((names.NODE_PHASE, "load"),)),
    }
    assert set(added(run, names.USAGE)) == {
        ("kedro.pipeline.runs", ()),
        ("kedro.pipeline.run.duration", ()),
    }


def test_a_dataset_operation_is_counted_and_timed_by_type():
    """A load adds one operation and its seconds."""
    load = ended(
        "dataset",
        0.25,
        kedro_dataset_name="secret",
        kedro_dataset_type="custom",
        kedro_dataset_operation="load",
    )
    kind = ((names.DATASET_OPERATION, "load"), (names.DATASET_TYPE, "custom"))
    assert added(load, names.USAGE) == {
        ("kedro.dataset.operations", kind): 1,
        ("kedro.dataset.time", kind): 0.25,
    }


def test_what_has_not_ended_and_what_is_foreign_adds_nothing():
    """Open operations and spans of other libraries are no business of these counters."""
    running = ended("run")
    running.end_ns = None
    assert added(running) == {}
    assert added(ended("foreign")) == {}


def test_a_clock_set_back_takes_nothing_away():
    """An operation that ended before it began lasted 0 seconds."""
    command = ended("command", -5.0, state=DIED)
    assert added(command)["kedro.command.duration", ()] == 0


def test_every_instrument_has_a_unit_and_a_description():
    """What arrives in a backend explains itself."""
    assert all(one.unit and one.description.endswith(".") for one in m.INSTRUMENTS)
    assert [one.name for one in m.INSTRUMENTS if one.ephemeral] == [
        "kedro.commands",
        "kedro.pipeline.runs",
        "kedro.pipeline.run.parts",
        names.DATASET_COUNT,
        names.NODE_COUNT,
        names.PIPELINE_COUNT,
    ]
    assert list(m.HISTOGRAM_BOUNDARIES) == sorted(m.HISTOGRAM_BOUNDARIES)
    assert (m.HISTOGRAM_BOUNDARIES[0], m.HISTOGRAM_BOUNDARIES[-1]) == (0.01, 6 * 3600)


def test_a_users_own_meter_provider_gets_the_same_numbers():
    """With a MeterProvider of the user's, live instruments take the measurements; sizes follow the last run."""
    reader = InMemoryMetricReader()
    live = m.Live(MeterProvider([reader]).get_meter("test"))
    for kinds in (["a=2", "b=1"], ["a=3"]):
        live.record(
            m.measure(
                ended(
                    "run",
                    kedro_pipeline_name="p",
                    **{names.DATASET_TYPE_COUNT: kinds, names.NODE_COUNT: 4},
                ),
                names.RUN,
            )
        )
    found = {}
    data = reader.get_metrics_data()
    assert data is not None
    for metric in data.resource_metrics[0].scope_metrics[0].metrics:
        for point in metric.data.data_points:
            found[metric.name, tuple(point.attributes.items())] = getattr(
                point, "value", None
            ) or getattr(point, "count", 0)
            if metric.name == "kedro.pipeline.run.duration":
                assert tuple(point.explicit_bounds) == m.HISTOGRAM_BOUNDARIES
    assert found == {
        ("kedro.pipeline.runs", ((names.PIPELINE_NAME, "p"),)): 2,
        ("kedro.pipeline.run.duration", ((names.PIPELINE_NAME, "p"),)): 2,
        (names.NODE_COUNT, ()): 4,
        (names.DATASET_COUNT, ((names.DATASET_TYPE, "a"),)): 3,
        (names.DATASET_COUNT, ((names.DATASET_TYPE, "b"),)): 0,
    }


def test_a_part_is_counted_as_a_part_and_not_as_a_run():
    """A part adds one to the parts and nothing to the runs or their durations; sizes may come from it."""
    part = ended(
        "run",
        kedro_pipeline_name="a",
        kedro_run_part=True,
        kedro_run_filtered=True,
        kedro_project_node_count=3,
    )
    assert added(part) == {
        ("kedro.pipeline.run.parts", ((names.PIPELINE_NAME, "a"),)): 1,
        (names.NODE_COUNT, ()): 3,
    }


def test_a_node_adds_what_it_used_where_names_may_leave():
    """CPU, memory and bytes of a node, and rows of a dataset, are counted at `run` and not at `usage`."""
    node = ended(
        "node",
        kedro_node_name="train",
        kedro_node_cpu_time=1.5,
        kedro_node_memory_peak=1 << 30,
        kedro_node_io_read=4096,
        kedro_node_io_write=True,
    )
    name = ((names.NODE_NAME, "train"),)
    counted = added(node)
    del counted["kedro.node.runs", name]
    assert counted == {
        (m.NODE_CPU_TIME, name): 1.5,
        (m.NODE_MEMORY_PEAK, name): 1 << 30,
        (m.NODE_DISK_IO, ((names.IO_DIRECTION, "read"), *name)): 4096,
    }
    assert added(node, names.USAGE) == {("kedro.node.runs", ()): 1}
    saved = {names.DATASET_ROWS: 7, names.DATASET_NAME: "d", names.DATASET_OPERATION: "save"}
    dataset = ended("dataset", **saved)
    key = ((names.DATASET_NAME, "d"), (names.DATASET_OPERATION, "save"))
    assert added(dataset)[m.DATASET_ROWS, key] == 7
    assert not [one for one, _ in added(dataset, names.USAGE) if "rows" in one]


def test_every_histogram_has_as_many_buckets():
    """Journals keep buckets by place: all histograms have the same number of them."""
    assert {len(one.boundaries) for one in m.INSTRUMENTS} == {len(m.HISTOGRAM_BOUNDARIES)}
    assert list(m.MEMORY_BOUNDARIES) == sorted(m.MEMORY_BOUNDARIES)
