"""When each alert of the stack fires and when it does not, as Prometheus's own test runner sees it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from servers import ROOT, binary

pytestmark = pytest.mark.servers

PIPELINE = {"kedro_project_id": "c0ffee1234", "project": "wines", "kedro_pipeline_name": "train"}
LABELS = 'job="kedro", instance="a", kedro_project_id="c0ffee1234", kedro_project_name="wines", kedro_pipeline_name="train"'


def holds(tmp_path: Path, *tests: dict[str, Any], evaluated: str = "5m") -> None:
    """Run promtool over these tests of the shipped rules; what it says is the failure's text."""
    file = tmp_path / "tests.yml"
    file.write_text(
        yaml.safe_dump(
            {
                "rule_files": [str(ROOT / "stack/alerts.yml")],
                "evaluation_interval": evaluated,
                "tests": list(tests),
            }
        )
    )
    done = subprocess.run(
        [binary("promtool"), "test", "rules", file],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def case(
    series: dict[str, str],
    alert: str,
    *,
    interval: str = "1h",
    fires: tuple[str, ...] = (),
    silent: tuple[str, ...] = (),
    **labels: str,
) -> dict[str, Any]:
    """One test: with these samples every ``interval``, the alert fires at these times with these labels, and is silent at those."""
    state = {"alertname": alert, "alertstate": "firing"}
    firing = [
        {"labels": f"ALERTS{{{_inside({**state, 'severity': 'warning', **labels})}}}", "value": 1}
    ]
    expected = [*((at, firing) for at in fires), *((at, []) for at in silent)]
    return {
        "interval": interval,
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": f"ALERTS{{{_inside(state)}}}", "eval_time": at, "exp_samples": samples}
            for at, samples in expected
        ],
    }


def _inside(labels: dict[str, str]) -> str:
    return ", ".join(f'{key}="{value}"' for key, value in labels.items())


def test_a_failed_run_fires_for_an_hour(tmp_path: Path) -> None:
    """One failure of a sender that then falls silent fires at once and for an hour; success does not."""
    failed = {
        f'kedro_pipeline_runs_total{{{LABELS}, error_type="ValueError"}}': "0 0 1 _x6",
        f"kedro_pipeline_runs_total{{{LABELS}}}": "0 1 2 3 4",
    }
    times = {"fires": ("2h", "2h55m"), "silent": ("1h55m", "3h", "5h")}
    holds(
        tmp_path, case(failed, "KedroPipelineFails", **times, **PIPELINE, error_type="ValueError")
    )


def test_a_run_that_died_is_a_failure_although_its_sender_is_new(tmp_path: Path) -> None:
    """The first word of a new installation may be that its run was killed: an explicit zero and a one, back to back."""
    died = {f'kedro_pipeline_runs_total{{{LABELS}, error_type="kedro_otel.process_died"}}': "_ _ 1"}
    holds(
        tmp_path,
        case(
            died,
            "KedroPipelineFails",
            fires=("2h",),
            silent=("1h55m",),
            **PIPELINE,
            error_type="kedro_otel.process_died",
        ),
    )


def test_a_pipeline_without_a_name_is_still_a_failing_project(tmp_path: Path) -> None:
    """At detail `usage` there is no pipeline name: the project's short id stands for it."""
    failed = {
        'kedro_pipeline_runs_total{job="kedro", instance="a", kedro_project_id="c0ffee1234", error_type="_OTHER"}': "0 1"
    }
    holds(
        tmp_path,
        case(
            failed,
            "KedroPipelineFails",
            fires=("1h",),
            kedro_project_id="c0ffee1234",
            project="c0ffee12",
            error_type="_OTHER",
        ),
    )


def runs(seconds: int, last: int, *, days: int = 8) -> dict[str, str]:
    """A run a day that takes ``seconds``, and one on the last day that takes ``last``; samples every hour, at noon a new value."""
    totals = [seconds * day for day in range(days)]
    took = [*totals, totals[-1] + last]
    each = " ".join(" ".join([str(total), *["_"] * 23]) for total in took)
    count = " ".join(" ".join([str(day), *["_"] * 23]) for day in range(days + 1))
    ended = {
        f"kedro_pipeline_run_duration_seconds_{what}{{{LABELS}}}": values
        for what, values in (("sum", each), ("count", count))
    }
    return {**ended, f"kedro_pipeline_runs_total{{{LABELS}}}": count}


@pytest.mark.parametrize(
    ("usual", "today", "slower"),
    [
        pytest.param(100, 151, True, id="over-half-as-long-again"),
        pytest.param(100, 149, False, id="a-little-longer"),
        pytest.param(2, 9, False, id="short"),
    ],
)
def test_a_pipeline_is_slower_when_its_day_is_half_as_long_again_as_its_week(
    tmp_path: Path, usual: int, today: int, slower: bool
) -> None:
    """A day's mean over 1.5 times the week's fires; less does not, nor do runs of seconds."""
    when: dict[str, Any] = (
        {"fires": ("8d1h",), "silent": ("7d20h", "9d1h")} if slower else {"silent": ("8d1h",)}
    )
    holds(
        tmp_path,
        case(runs(usual, today), "KedroPipelineSlower", **when, **PIPELINE),
        evaluated="1h",
    )


def test_a_new_pipeline_has_no_history_to_be_slower_than(tmp_path: Path) -> None:
    """Fewer than five runs in the week before are no history."""
    holds(
        tmp_path,
        case(runs(100, 1000, days=4), "KedroPipelineSlower", silent=("4d1h",), **PIPELINE),
        evaluated="1h",
    )


def test_a_daily_pipeline_that_stays_away_for_a_day_fires(tmp_path: Path) -> None:
    """After a week of daily runs, a day without one fires until the next; a pipeline that rarely runs never does."""
    daily = runs(100, 100)
    holds(
        tmp_path,
        case(
            daily,
            "KedroPipelineSilent",
            fires=("9d1h", "9d12h"),
            silent=("8d20h", "7d1h"),
            **PIPELINE,
        ),
        case(runs(100, 100, days=3), "KedroPipelineSilent", silent=("4d12h", "5d"), **PIPELINE),
        evaluated="1h",
    )


COLLECTOR = {"job": "collector", "instance": "collector:8888"}


def scraped(metric: str, values: str, **labels: str) -> dict[str, str]:
    """A counter of the collector's own, scraped every minute."""
    return {f"{metric}{{{_inside({**COLLECTOR, **labels})}}}": values}


def test_a_collector_that_does_not_answer_fires_after_five_minutes(tmp_path: Path) -> None:
    """Five minutes without an answer fire; a restart does not."""
    holds(
        tmp_path,
        case(
            scraped("up", "1 1 0x20 1x9"),
            "KedroCollectorDown",
            interval="1m",
            fires=("10m", "20m"),
            silent=("5m", "25m"),
            **COLLECTOR,
        ),
        case(
            scraped("up", "1x4 0 0 1x20"),
            "KedroCollectorDown",
            interval="1m",
            silent=("5m", "10m", "15m"),
        ),
    )


@pytest.mark.parametrize("signal", ["spans", "metric_points"])
@pytest.mark.parametrize("born", [False, True], ids=["known", "born-with-its-first-failure"])
@pytest.mark.parametrize(
    ("alert", "metric", "label"),
    [
        ("KedroCollectorRefuses", "otelcol_receiver_refused", "receiver"),
        ("KedroCollectorDrops", "otelcol_exporter_send_failed", "exporter"),
    ],
)
def test_what_the_collector_refuses_or_drops_fires(
    tmp_path: Path, alert: str, metric: str, label: str, signal: str, born: bool
) -> None:
    """A counter that grows fires for ten minutes, also one that did not exist before its first failure."""
    values = f"{'_' if born else '0'}x19 3x40"
    counter = scraped(f"{metric}_{signal}", values, **{label: "otlp"}, transport="http")
    at = {"fires": ("20m", "25m"), "silent": ("15m", "40m")}
    holds(
        tmp_path,
        case(
            counter, alert, interval="1m", **at, instance=COLLECTOR["instance"], **{label: "otlp"}
        ),
    )


def test_a_queue_that_stays_half_full_fires(tmp_path: Path) -> None:
    """Ten minutes over half full fire, with the store that does not keep up."""
    labels = {"exporter": "otlp_grpc/jaeger", "data_type": "traces"}
    series = scraped("otelcol_exporter_queue_size", "10x9 60x30", **labels) | scraped(
        "otelcol_exporter_queue_capacity", "100x40", **labels
    )
    holds(
        tmp_path,
        case(
            series,
            "KedroCollectorQueueFills",
            interval="1m",
            fires=("20m", "30m"),
            silent=("5m", "15m"),
            **COLLECTOR,
            **labels,
        ),
    )


def test_growth_is_counted_exactly_where_increase_guesses(tmp_path: Path) -> None:
    """Five new of nineteen are five, a first one is one, and a silent sender still counts, where `increase` says something else."""
    sys.path.insert(0, str(ROOT / "stack/source"))
    try:
        import promql
    finally:
        sys.path.pop(0)
    sparse = {
        'c{instance="old"}': "14 _x14 19 _x60",  # five new, then silence
        'c{instance="new"}': "_x10 0 _ 1 _x60",  # its first word: an explicit zero, then one
        'c{instance="late"}': "_x12 4 _x60",  # the zero was lost
        'c{instance="quiet"}': "7 _x80",
    }
    at, hour = "1h10m", "1h"
    queries = {
        promql.total("c", window=hour): 10,
        promql.total('c{instance="old"}', window=hour): 5,
        promql.total('c{instance="new"}', window=hour): 1,
        promql.total('c{instance="quiet"}', window=hour): 0,
        f"sum({promql.last('c')})": 31,
        promql.none(promql.total('c{instance="nobody"}', window=hour)): 0,
        promql.share(
            promql.total('c{instance="old"}', window=hour), promql.total("c", window=hour)
        ): 0.5,
    }
    samples = [
        {"expr": query, "eval_time": at, "exp_samples": [{"labels": "{}", "value": value}]}
        for query, value in queries.items()
    ]
    guess = {"expr": "sum(increase(c[1h])) == 10", "eval_time": at, "exp_samples": []}
    forgotten = {"expr": "sum(c)", "eval_time": at, "exp_samples": []}
    series = [{"series": name, "values": values} for name, values in sparse.items()]
    holds(
        tmp_path,
        {
            "interval": "1m",
            "input_series": series,
            "promql_expr_test": [*samples, guess, forgotten],
        },
    )
