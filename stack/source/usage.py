"""The dashboard *Usage*: who uses Kedro, how, and on what. It needs nothing beyond detail `usage`."""

from __future__ import annotations

import look
import promql
from grafana_foundation_sdk.builders import dashboard
from look import instant
from variables import chosen, ci, environment, project

COMMANDS = "kedro_commands_total"
PEOPLE = ("app_installation_id", chosen(COMMANDS, 'kedro_ci="false"', ci=False))
TOOLS = ("Linting", "Testing", "Custom Logging", "Documentation", "Data Structure", "PySpark")
"""The tools that `kedro new` offers; a project's list is one label, so each is looked for by name."""


def build() -> dashboard.Dashboard:
    """The whole dashboard."""
    board = (
        dashboard.Dashboard("Kedro: usage")
        .uid("kedro-usage")
        .description("Who uses Kedro, how, and on what. Counters are exact: N commands are N here.")
        .tags(["kedro"])
        .time("now-30d", "now")
        .refresh("5m")
        .timezone("utc")
        .readonly()
        .variables([project(), environment(), ci()])
        .link(
            dashboard.DashboardLink("Runs")
            .url("/d/kedro-runs")
            .keep_time(keep_time=True)
            .include_vars(include_vars=True)
            .icon("dashboard")
        )
    )
    for row, panels in ((None, _much()), ("Who and what", _who()), ("Projects", _projects())):
        if row:
            board = board.with_row(dashboard.Row(row))
        for panel in panels:
            board = board.with_panel(panel)
    return board


def _much() -> list[object]:
    commands = promql.total(chosen(COMMANDS))
    failed = promql.total(chosen(COMMANDS, 'error_type!=""'))
    in_ci = promql.total(chosen(COMMANDS, 'kedro_ci="true"', ci=False))
    everyone = promql.total(chosen(COMMANDS, ci=False))
    projects = promql.distinct("kedro_project_id", chosen(COMMANDS, 'kedro_project_id!=""'))
    runs = promql.none(promql.total(chosen("kedro_pipeline_runs_total")))
    return [
        look.number("How many commands were run?", promql.none(commands)),
        look.number("How many pipeline runs were among them?", runs),
        look.number(
            "By how many people?",
            promql.none(promql.distinct(*PEOPLE)),
            about="Installations of Kedro that ran a command, CI left out.",
        ),
        look.number(
            "In how many projects?",
            promql.none(projects),
            about="Projects in which a command was run.",
        ),
        look.number(
            "What share of commands failed?",
            promql.share(failed, commands),
            unit=look.SHARE,
            empty="no command",
            bad=0.25,
        ),
        look.number(
            "What share ran in CI?",
            promql.share(in_ci, everyone),
            unit=look.SHARE,
            empty="no command",
        ),
        look.daily(
            "How many commands were run each day?",
            f"sum by (command) ({promql.commands(promql.each_day(chosen(COMMANDS), 'kedro_command_name'))})",
            "{{command}}",
            about="Days of UTC; today's bar grows until midnight.",
        ),
        look.ranking(
            "Which commands?",
            _ranked(
                promql.commands(promql.total(chosen(COMMANDS), "kedro_command_name")), "{{command}}"
            ),
        ),
    ]


def _who() -> list[object]:
    def people(label: str) -> object:
        return _ranked(promql.distinct(*PEOPLE, label), f"{{{{{label}}}}}")

    about = "Installations that ran a command, CI left out; one that changed counts in both."
    return [
        look.ranking(
            "Which versions of Kedro do people have?", people("kedro_version"), about=about
        ),
        look.ranking("Which versions of Python?", people("kedro_python"), about=about),
        look.ranking("Which operating systems?", people("os_type"), about=about),
    ]


def _projects() -> list[object]:
    tools = [
        instant(_projects_with(tool), tool, ref=chr(ord("A") + place))
        for place, tool in enumerate(TOOLS)
    ]
    sizes = {
        "Nodes": promql.by_project(promql.last(chosen("kedro_project_node_count")), how="max"),
        "Datasets": promql.by_project(_datasets("kedro_project_id, kedro_project_name"), how="max"),
        "Pipelines": promql.by_project(
            promql.last(chosen("kedro_project_pipeline_count")), how="max"
        ),
    }
    columns = {
        "project": "Project",
        "kedro_project_id": "Project id",
        **{f"Value #{size[0]}": size for size in sizes},
    }
    types = f"sum by (type) ({promql.types(_datasets('kedro_project_id'))})"
    return [
        look.rows(
            "How big are the projects?",
            columns,
            *(
                instant(expression, ref=size[0], as_table=True)
                for size, expression in sizes.items()
            ),
            sort="Nodes",
            about="As of the last run of a whole pipeline; the largest that any installation saw.",
        ),
        look.ranking("Which types of dataset do they hold?", _ranked(types, "{{type}}"), span=6),
        look.ranking(
            "Which tools did they choose?",
            *tools,
            about="Projects by the tools chosen at `kedro new`.",
            span=6,
        ),
    ]


def _datasets(by: str) -> str:
    largest = (
        f"max by ({by}, kedro_dataset_type) ({promql.last(chosen('kedro_project_dataset_count'))})"
    )
    return largest if by == "kedro_project_id" else f"sum by ({by}) ({largest})"


def _projects_with(tool: str) -> str:
    # Resource attributes that are no labels of the counters stay on target_info, one series for each sender.
    sender = chosen("target_info", f'kedro_project_tools=~".*{tool}.*"')
    return promql.none(
        f"count(count by (kedro_project_id) (last_over_time({sender}[{promql.RANGE}])))"
    )


def _ranked(expression: str, legend: str) -> object:
    return instant(f"sort_desc({expression} > 0)", legend)
