"""What can be chosen at the top of both dashboards, and the selectors that follow the choice."""

from __future__ import annotations

import look
import promql
from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as model


def project() -> dashboard.QueryVariable:
    """Projects, by name where it may leave (detail `run`), else by the first digits of the id; the value is the id."""
    shown = f"group by (kedro_project_id, project) ({promql.named(promql.last('kedro_commands_total'))})"
    return look.choice(
        "project",
        "Project",
        shown,
        '/kedro_project_id="(?<value>[^"]+)".*project="(?<text>[^"]+)"/',
    )


def pipeline() -> dashboard.QueryVariable:
    """Pipelines of the chosen projects; there are names only at detail `run`."""
    return look.choice(
        "pipeline",
        "Pipeline",
        *_seen("kedro_pipeline_name", 'kedro_pipeline_runs_total{kedro_project_id=~"$project"}'),
    )


def environment() -> dashboard.QueryVariable:
    """What senders put into OTEL_RESOURCE_ATTRIBUTES as deployment.environment.name."""
    return look.choice(
        "environment", "Environment", *_seen("deployment_environment_name", "kedro_commands_total")
    )


def _seen(label: str, selector: str) -> tuple[str, str]:
    return f"group by ({label}) ({promql.last(selector)})", f'/{label}="([^"]+)"/'


def ci() -> dashboard.CustomVariable:
    """People, continuous integration, or both."""
    options = (("Both", ".*"), ("People", "false"), ("CI", "true"))
    return (
        dashboard.CustomVariable("ci")
        .label("Run by")
        .values(",".join(f"{text} : {value}" for text, value in options))
        .options(
            [
                model.VariableOption(text=text, value=value, selected=text == "Both")
                for text, value in options
            ]
        )
        .current(model.VariableOption(text="Both", value=".*", selected=True))
    )


def text(name: str, label: str, value: str) -> dashboard.TextBoxVariable:
    """Something to type."""
    option = model.VariableOption(text=value, value=value, selected=True)
    return (
        dashboard.TextBoxVariable(name)
        .label(label)
        .default_value(value)
        .current(option)
        .options([option])
    )


def chosen(metric: str, *more: str, pipeline: bool = False, ci: bool = True) -> str:
    """A selector of a metric that follows the variables; ``more`` are further matchers."""
    matchers = ['kedro_project_id=~"$project"', 'deployment_environment_name=~"$environment"']
    if ci:
        matchers.append('kedro_ci=~"$ci"')
    if pipeline:
        matchers.append('kedro_pipeline_name=~"$pipeline"')
    return f"{metric}{{{', '.join((*matchers, *more))}}}"
