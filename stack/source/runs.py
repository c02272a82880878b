"""The dashboard *Runs*: do the pipelines work, how long do they take, and what went wrong. Names are there at detail `run`."""

from __future__ import annotations

import look
import promql
from grafana_foundation_sdk.builders import dashboard
from look import instant, over_time
from variables import chosen, ci, environment, pipeline, project, text

RUNS = "kedro_pipeline_runs_total"
DURATIONS = "kedro_pipeline_run_duration_seconds_bucket"
DIED = 'error_type="kedro_otel.process_died"'
FAILED = 'error_type!=""'
SEARCH = "${jaeger}/search?service=${service}&lookback=custom&start=${__from}000&end=${__to}000&limit=100"


def build() -> dashboard.Dashboard:
    """The whole dashboard."""
    board = (
        dashboard.Dashboard("Kedro: runs")
        .uid("kedro-runs")
        .description(
            "Do the pipelines work, how long do they take, and what went wrong. Names are there at detail `run`."
        )
        .tags(["kedro"])
        .time("now-7d", "now")
        .refresh("1m")
        .timezone("utc")
        .readonly()
        .variables(
            [
                project(),
                pipeline(),
                environment(),
                ci(),
                text("slow", "Slow is longer than", "60s"),
                text("service", "Service", "kedro"),
                text("jaeger", "Jaeger", "http://localhost:16686"),
            ]
        )
        .link(
            dashboard.DashboardLink("Usage")
            .url("/d/kedro-usage")
            .keep_time(keep_time=True)
            .include_vars(include_vars=True)
            .icon("dashboard")
        )
        .link(
            dashboard.DashboardLink("Jaeger")
            .url("${jaeger}/search?service=${service}")
            .target_blank(target_blank=True)
            .icon("external link")
        )
    )
    for row, panels in (
        (None, _work()),
        ("What went wrong", _wrong()),
        ("Where the time goes", _time()),
        ("What nodes use, and how much data", _used()),
        ("Traces", _traces()),
    ):
        if row:
            board = board.with_row(dashboard.Row(row))
        for panel in panels:
            board = board.with_panel(panel)
    return board


def _work() -> list[object]:
    runs, failed = (
        promql.total(chosen(RUNS, pipeline=True)),
        promql.total(chosen(RUNS, FAILED, pipeline=True)),
    )
    durations = chosen(DURATIONS, pipeline=True)
    silent = (
        f"{promql.by_project(promql.last(chosen(RUNS, pipeline=True)), 'kedro_pipeline_name')} > 0"
    )
    recent = promql.by_project(
        promql.grown(chosen(RUNS, pipeline=True), look.DAY), "kedro_pipeline_name"
    )
    return [
        look.number("How many runs?", promql.none(runs)),
        look.number("How many failed?", promql.none(failed), bad=1),
        look.number(
            "How many died without a word?",
            promql.none(promql.total(chosen(RUNS, DIED, pipeline=True))),
            bad=1,
            about="Killed, out of memory, power lost: the process ended before it could say so. They are among the failed.",
        ),
        look.number(
            "What share failed?",
            promql.share(failed, runs),
            unit=look.SHARE,
            empty="no run",
            bad=0.1,
        ),
        look.number(
            "How long does a run take?",
            promql.quantile(0.5, durations),
            unit=look.SECONDS,
            empty="no run",
            about="The median.",
        ),
        look.number(
            "And the slowest of twenty?",
            promql.quantile(0.95, durations),
            unit=look.SECONDS,
            empty="no run",
            about="The 95th percentile.",
        ),
        look.daily(
            "How often does each pipeline run?",
            promql.called(
                promql.each_day(chosen(RUNS, pipeline=True), "kedro_pipeline_name"),
                "kedro_pipeline_name",
            ),
            "{{kedro_pipeline_name}}",
        ),
        look.rows(
            "Which pipelines have not run for a day?",
            {"project": "Project", "kedro_pipeline_name": "Pipeline", "Value": "Runs in 30 days"},
            instant(f"({silent}) unless ({recent} > 0)", as_table=True),
            about="Pipelines that ran within 30 days, and not within the last one.",
            span=8,
        ),
        look.lines(
            "Are runs getting slower?",
            over_time(
                promql.quantile(0.5, durations, window=look.DAY), "median of a day", exemplars=True
            ),
            over_time(
                promql.quantile(0.95, durations, window=look.DAY),
                "95th percentile of a day",
                ref="B",
            ),
            unit=look.SECONDS,
            about="Each dot is one run; a click on it opens its trace.",
            span=24,
        ),
    ]


def _wrong() -> list[object]:
    failures = promql.by_project(
        promql.grown(chosen(RUNS, FAILED, pipeline=True)), "kedro_pipeline_name", "error_type"
    )
    nodes = promql.by_project(
        promql.grown(chosen("kedro_node_runs_total", FAILED)), "kedro_node_name", "error_type"
    )
    tags = "tags=%7B%22error%22%3A%22true%22%7D"
    return [
        look.rows(
            "Which pipelines fail, and of what?",
            {
                "project": "Project",
                "kedro_pipeline_name": "Pipeline",
                "error_type": "Error",
                "Value": "Runs",
            },
            instant(f"{failures} > 0", as_table=True),
            sort="Runs",
            links=[
                (
                    "Pipeline",
                    "Failed runs in Jaeger",
                    f"{SEARCH}&operation=run%20${{__data.fields.Pipeline}}&{tags}",
                )
            ],
        ),
        look.rows(
            "Which nodes fail?",
            {
                "project": "Project",
                "kedro_node_name": "Node",
                "error_type": "Error",
                "Value": "Times",
            },
            instant(f"{nodes} > 0", as_table=True),
            sort="Times",
            links=[
                (
                    "Node",
                    "Its failures in Jaeger",
                    f"{SEARCH}&operation=node%20${{__data.fields.Node}}&{tags}",
                )
            ],
        ),
    ]


def _time() -> list[object]:
    spent = promql.by_project(
        promql.grown(chosen("kedro_node_time_seconds_total")), "kedro_node_name"
    )
    runs = promql.by_project(promql.grown(chosen("kedro_node_runs_total")), "kedro_node_name")
    datasets = promql.total(
        chosen("kedro_dataset_time_seconds_total"), "kedro_dataset_type", "kedro_dataset_operation"
    )
    kinds = f"sum by (kedro_dataset_operation, type) ({promql.types(datasets)})"
    phases = promql.total(chosen("kedro_node_time_seconds_total"), "kedro_node_phase")
    return [
        look.rows(
            "Which nodes are the slowest?",
            {"project": "Project", "kedro_node_name": "Node", "Value": "Time of one run"},
            instant(f"topk(20, {spent} / ({runs} > 0))", as_table=True),
            sort="Time of one run",
            units={"Time of one run": look.SECONDS},
            links=[
                ("Node", "Its runs in Jaeger", f"{SEARCH}&operation=node%20${{__data.fields.Node}}")
            ],
            about="Mean time to load, compute and save.",
        ),
        look.ranking(
            "Loading, computing or saving?",
            instant(f"sort_desc({phases})", "{{kedro_node_phase}}"),
            unit=look.SECONDS,
            span=4,
        ),
        look.ranking(
            "Which datasets take the time?",
            instant(f"sort_desc({kinds} > 0)", "{{kedro_dataset_operation}} {{type}}"),
            unit=look.SECONDS,
        ),
    ]


def _used() -> list[object]:
    cpu = promql.by_project(
        promql.grown(chosen("kedro_node_cpu_time_seconds_total")), "kedro_node_name"
    )
    runs = promql.by_project(promql.grown(chosen("kedro_node_runs_total")), "kedro_node_name")
    peaks = promql.by_project(
        promql.grown(chosen("kedro_node_memory_peak_bytes_bucket")), "le", "kedro_node_name"
    )
    rows = promql.by_project(
        promql.grown(chosen("kedro_dataset_rows_total")),
        "kedro_dataset_name",
        "kedro_dataset_operation",
    )
    return [
        look.rows(
            "Which nodes take the processor?",
            {"project": "Project", "kedro_node_name": "Node", "Value": "CPU of one run"},
            instant(f"topk(20, {cpu} / ({runs} > 0))", as_table=True),
            sort="CPU of one run",
            units={"CPU of one run": look.SECONDS},
            about="Mean CPU time, of all threads. More than the node took: several processors; far less: it waits.",
        ),
        look.rows(
            "Which nodes need the most memory?",
            {"project": "Project", "kedro_node_name": "Node", "Value": "Memory"},
            instant(f"topk(20, histogram_quantile(0.95, {peaks}) >= 0)", as_table=True),
            sort="Memory",
            units={"Memory": look.BYTES},
            about="The 95th percentile of what the node's process had at most.",
        ),
        look.rows(
            "How many rows?",
            {
                "project": "Project",
                "kedro_dataset_name": "Dataset",
                "kedro_dataset_operation": "Operation",
                "Value": "Rows",
            },
            instant(f"topk(50, {rows} > 0)", as_table=True),
            sort="Rows",
            about="Of all loads and saves together.",
        ),
    ]


def _traces() -> list[object]:
    command = {"service": "$service", "operation": "kedro run", "limit": 20}
    return [
        look.traces(
            "Which runs failed last?",
            look.JaegerSearch(**command, tags="error=true"),
            about="A click on one opens its trace.",
        ),
        look.traces(
            "Which runs were slow?",
            look.JaegerSearch(**command, minDuration="$slow"),
            about="Longer than what is typed above.",
        ),
    ]
