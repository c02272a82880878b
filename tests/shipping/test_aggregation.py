"""Totals: what is counted stays counted, once, and says when."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from kedro_otel.semconv import measurements as m
from kedro_otel.semconv import names
from kedro_otel.shipping.state import aggregation

NOW = 1_700_000_000 * aggregation.SECOND
TRACE, SPAN = "a" * 32, "b" * 16


def totals() -> aggregation.Totals:
    """Return totals with nothing in them."""
    return aggregation.Totals({"service.name": "kedro"}, "instance", NOW)


def count(name: str = "kedro.commands", value: float = 1, **attributes: str) -> m.Measurement:
    """Return a measurement of a counter."""
    return m.Measurement(name, value, tuple(sorted(attributes.items())))


def lasted(seconds: float, span: str = SPAN, ended: int = NOW) -> m.Measurement:
    """Return a measurement of a histogram."""
    return m.Measurement("kedro.command.duration", seconds, (), (TRACE, span, ended))


def sizes(ended: int, **kinds: int) -> list[m.Measurement]:
    """Return what a run that ended at ``ended`` says of the catalog."""
    timed = m.Measurement("kedro.pipeline.run.duration", 1.0, (), (TRACE, SPAN, ended))
    return [
        timed,
        *(
            m.Measurement(names.DATASET_COUNT, number, (("kedro.dataset.type", kind),))
            for kind, number in kinds.items()
        ),
    ]


def values(found: aggregation.Totals, instrument: str) -> dict[tuple[object, ...], float]:
    """Return the values of an instrument by attributes."""
    return {
        attributes: series.value
        for (name, attributes), series in found.series.items()
        if name == instrument
    }


def test_counters_add_up_by_their_attributes():
    """Each attribute set is a series of its own, and every change is a revision that the receiver lacks."""
    found = totals()
    assert not found.pending
    for name in ("run", "run", "info"):
        aggregation.add(found, [count(a=name)])
    assert values(found, "kedro.commands") == {(("a", "run"),): 2, (("a", "info"),): 1}
    assert (found.revision, found.acked, found.pending) == (3, 0, True)


def test_a_histogram_has_count_sum_and_buckets_with_inclusive_upper_bounds():
    """A value equal to a boundary is in the bucket below it, as OTLP says; beyond the last is one more bucket."""
    found = totals()
    for seconds in (0.0, 0.01, 0.011, 30.0, 1e9):
        aggregation.add(found, [lasted(seconds)])
    series = found.series["kedro.command.duration", ()]
    assert (series.count, series.value) == (5, pytest.approx(1e9 + 30.021))
    assert series.buckets is not None
    assert {bucket: number for bucket, number in enumerate(series.buckets) if number} == {
        0: 2,
        1: 1,
        7: 1,
        15: 1,
    }
    assert len(series.buckets) == len(m.HISTOGRAM_BOUNDARIES) + 1


def test_a_histograms_sum_is_exact():
    """What lasted is added up."""
    found = totals()
    for seconds in (1.0, 2.5, 0.25):
        aggregation.add(found, [lasted(seconds)])
    assert found.series["kedro.command.duration", ()].value == 3.75


def test_each_bucket_keeps_its_latest_exemplar():
    """A dashboard can go from a bar to a trace; a trace that is not shipped is no exemplar."""
    found = totals()
    aggregation.add(found, [lasted(1.0, "1" * 16)])
    aggregation.add(found, [lasted(1.0, "2" * 16)])
    aggregation.add(found, [lasted(100.0, "3" * 16)])
    aggregation.add(found, [lasted(100.0, "4" * 16)], exemplars=False)
    kept = found.series["kedro.command.duration", ()].exemplars
    assert sorted(exemplar[1] for exemplar in kept.values()) == ["2" * 16, "3" * 16]


def test_sizes_are_replaced_and_what_is_gone_becomes_zero():
    """A dataset type that is no longer in the catalog is not for ever what it last was."""
    found = totals()
    aggregation.add(found, sizes(NOW, csv=3, json=1))
    aggregation.add(found, sizes(NOW + 1, csv=2))
    assert values(found, names.DATASET_COUNT) == {
        (("kedro.dataset.type", "csv"),): 2,
        (("kedro.dataset.type", "json"),): 0,
    }


def test_sizes_as_they_were_are_no_news():
    """What the receiver knows is not sent again; a size that changed, came or went is, in any company."""
    found = totals()

    def tell(**kinds: int) -> bool:
        before = found.revision
        changed = aggregation.add(
            found,
            [
                m.Measurement(names.DATASET_COUNT, number, (("kedro.dataset.type", kind),))
                for kind, number in kinds.items()
            ],
        )
        assert found.revision - before == changed
        return changed

    assert tell(csv=3, json=1)
    assert tell(csv=3, json=1)  # no zero has been acknowledged yet
    for series in found.series.values():
        series.zero_sent = True
    assert not tell(csv=3, json=1)
    assert tell(csv=4, json=1)
    assert tell(csv=4)
    assert not tell(csv=4)
    assert tell(csv=4, yaml=0)
    changed = aggregation.add(
        found,
        [
            m.Measurement(names.NODE_COUNT, 3, ()),
            m.Measurement(names.DATASET_COUNT, 4, (("kedro.dataset.type", "csv"),)),
        ],
    )
    assert changed


def test_what_stands_behind_the_sizes_is_counted_too():
    """The order of an operation's measurements makes no difference; a lasting machine tells all its dataset types."""
    found = totals()
    aggregation.add(found, [*sizes(NOW, **dict.fromkeys("abcdefghij", 1)), count()])
    assert values(found, "kedro.commands") == {(): 1}
    assert len(values(found, names.DATASET_COUNT)) == 10


def test_the_sizes_that_are_read_last_win():
    """The clock may have been ahead; the order in which recordings arrive says how large the project is now."""
    found = totals()
    aggregation.add(found, sizes(NOW + 10, csv=5))
    aggregation.add(found, sizes(NOW, csv=1))
    assert values(found, names.DATASET_COUNT) == {(("kedro.dataset.type", "csv"),): 1}
    assert found.series["kedro.pipeline.run.duration", ()].count == 2


def test_the_two_thousandth_attribute_set_takes_all_that_follow():
    """A name in a loop cannot grow without end: the rest is counted under otel.metric.overflow."""
    found = totals()
    for number in range(aggregation.MAX_SERIES + 10):
        aggregation.add(found, [count("kedro.node.runs", node=str(number))])
    aggregation.add(found, [count("kedro.node.runs", node="0"), count("kedro.commands")])
    runs = values(found, "kedro.node.runs")
    assert len(runs) == aggregation.MAX_SERIES
    assert runs[aggregation.OVERFLOW] == 11
    assert runs[("node", "0"),] == 2
    assert sum(runs.values()) == aggregation.MAX_SERIES + 11
    assert values(found, "kedro.commands") == {(): 1}


def test_an_ephemeral_machine_counts_commands_runs_and_sizes_alone():
    """Where every job is a new set of series, there are at most twelve of them."""
    found = totals()
    kinds = {f"type{number}": number + 1 for number in range(20)}
    every = [
        count(),
        lasted(1.0),
        count("kedro.pipeline.runs"),
        count("kedro.node.runs"),
        count("kedro.dataset.operations"),
    ]
    aggregation.add(
        found,
        [*every, *sizes(NOW, **kinds), count(names.NODE_COUNT, 9), count(names.PIPELINE_COUNT, 2)],
        ephemeral=True,
    )
    assert {name for name, _ in found.series} == {
        "kedro.commands",
        "kedro.pipeline.runs",
        names.DATASET_COUNT,
        names.NODE_COUNT,
        names.PIPELINE_COUNT,
    }
    assert len(found.series) <= 12
    assert sum(values(found, names.DATASET_COUNT).values()) == sum(kinds.values())
    assert values(found, names.DATASET_COUNT)[aggregation.OVERFLOW] == sum(range(1, 14))


def test_the_rarest_types_of_an_ephemeral_machine_are_put_together():
    """Eight types are told apart as they are; of more, the seven most frequent, by name where they are equally many."""
    kinds = dict.fromkeys("hgfedcba", 1)
    found = totals()
    aggregation.add(found, sizes(NOW, **kinds), ephemeral=True)
    assert values(found, names.DATASET_COUNT) == {
        (("kedro.dataset.type", kind),): 1 for kind in kinds
    }
    found = totals()
    aggregation.add(found, sizes(NOW, j=1, i=2, **kinds), ephemeral=True)
    told = values(found, names.DATASET_COUNT)
    assert told.pop(aggregation.OVERFLOW) == 3
    assert told == {(("kedro.dataset.type", kind),): 2 if kind == "i" else 1 for kind in "iabcdef"}


def test_points_of_a_later_attempt_have_a_later_time():
    """Two attempts within a millisecond, or a clock a few minutes back, do not make two points of one time."""
    found = totals()
    times = []
    for now in (NOW, NOW, NOW + 1, NOW - 300 * aggregation.SECOND, NOW + 5 * aggregation.SECOND):
        found.stamp(now)
        times.append(found.time_ns)
    assert times == sorted(set(times))
    assert all(later - earlier >= aggregation.STEP for earlier, later in pairwise(times))
    assert times[-1] == NOW + 5 * aggregation.SECOND


def test_the_zero_lies_between_the_start_and_the_first_point():
    """An increase from nothing to one can be seen: start, then 0, then 1."""
    found = totals()
    found.stamp(NOW)
    assert found.start_ns < found.zero_ns < found.time_ns


def test_a_clock_that_was_a_day_ahead_does_not_hold_points_in_the_future():
    """A receiver that refused those points gets the next at the right time; one that may have taken them gets a new stream."""
    found = totals()
    assert found.stamp(NOW + 86400 * aggregation.SECOND)
    found.answered(refused=True)
    assert found.stamp(NOW)
    assert found.time_ns == NOW
    found.answered(refused=False)
    assert found.stamp(NOW - aggregation.AHEAD)
    assert found.time_ns == NOW + aggregation.STEP
    assert not found.stamp(NOW - aggregation.AHEAD)
    assert found.time_ns == NOW + aggregation.STEP


def test_totals_come_back_from_json_as_they_were():
    """What a journal holds is the whole state."""
    found = totals()
    aggregation.add(found, [count(a="run"), lasted(2.5), *sizes(NOW, csv=3)])
    found.stamp(NOW + 7)
    found.acked = 1
    found.series["kedro.commands", (("a", "run"),)].zero_sent = True
    dumped = json.loads(json.dumps(aggregation.dump(found)))
    again = aggregation.load(dumped)
    assert aggregation.dump(again) == aggregation.dump(found)
    assert (again.instance, again.start_ns, again.time_ns, again.sizes_ns) == (
        "instance",
        NOW - 2 * aggregation.SECOND,
        NOW + 7,
        NOW,
    )
    assert again.series.keys() == found.series.keys()
    aggregation.add(again, [count(a="run")])
    assert values(again, "kedro.commands") == {(("a", "run"),): 2}


def test_an_instrument_of_another_version_is_left_out():
    """A journal written by a newer release loses what this one cannot send, not everything."""
    dumped = aggregation.dump(totals())
    dumped["series"] = [["kedro.unheard.of", [], [0, 1]], ["kedro.commands", [], [1, 4]]]
    assert values(aggregation.load(dumped), "kedro.commands") == {(): 4}


def test_a_histogram_with_other_buckets_is_no_state_to_go_on_from():
    """Counts in other buckets would be added up wrongly."""
    dumped = aggregation.dump(totals())
    dumped["series"] = [["kedro.command.duration", [], [0, 1.0, 1, [1, 0], []]]]
    with pytest.raises(ValueError, match=r"^buckets of another version$"):
        aggregation.load(dumped)


def test_resources_are_told_apart_by_their_attributes_in_any_order():
    """Two segments with the same resource count into the same totals."""
    assert aggregation.resource_key({"a": 1, "b": [True, "x"]}) == aggregation.resource_key(
        {"b": [True, "x"], "a": 1}
    )
    assert aggregation.resource_key({"a": 1}) != aggregation.resource_key({"a": "1"})
