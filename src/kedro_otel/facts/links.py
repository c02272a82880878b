"""Pages about a run elsewhere: the CI service's, the orchestrator's task, and the MLflow run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit, urlunsplit

from kedro_otel import guard

if TYPE_CHECKING:
    from collections.abc import Mapping

_GIVEN: Final = (
    "CI_JOB_URL",  # GitLab
    "BUILDKITE_BUILD_URL",
    "CIRCLE_BUILD_URL",
    "TRAVIS_BUILD_WEB_URL",
    "BUILD_URL",  # Jenkins
)
"""Variables whose value is the page, most specific first."""

_MAX_LENGTH: Final = 2_000


def ci_run(environ: Mapping[str, str]) -> str | None:
    """Return the address of the CI run's page, or None where the service gives none."""
    run, repository = environ.get("GITHUB_RUN_ID"), environ.get("GITHUB_REPOSITORY")
    if environ.get("GITHUB_ACTIONS") == "true" and run and repository:
        server = environ.get("GITHUB_SERVER_URL", "https://github.com")
        attempt = environ.get("GITHUB_RUN_ATTEMPT", "1")
        return _page(server, f"{repository}/actions/runs/{run}/attempts/{attempt}")
    organization, project, build = (
        environ.get(name)
        for name in ("SYSTEM_COLLECTIONURI", "SYSTEM_TEAMPROJECT", "BUILD_BUILDID")
    )
    if organization and project and build and build.isdigit():  # Azure Pipelines
        page = _page(organization, f"{quote(project)}/_build/results")
        return f"{page}?buildId={build}" if page else None
    for name in _GIVEN:
        given = environ.get(name)
        if given and (name != "BUILD_URL" or environ.get("JENKINS_URL")):
            return _page(given)
    return None


def airflow_task(environ: Mapping[str, str]) -> str | None:
    """Return the address of an Airflow 3 task's page, or None where the address of its server is not set."""
    server, dag, run, task = (
        environ.get(name, "")
        for name in (
            "AIRFLOW__API__BASE_URL",
            "AIRFLOW_CTX_DAG_ID",
            "AIRFLOW_CTX_DAG_RUN_ID",
            "AIRFLOW_CTX_TASK_ID",
        )
    )
    dag, run, task = (quote(part, safe="") for part in (dag, run, task))
    return _page(server, f"dags/{dag}/runs/{run}/tasks/{task}") if server and task else None


def prefect_flow_run(environ: Mapping[str, str]) -> str | None:
    """Return the address of a Prefect 3 flow run's page, or None where the address of its server is not set."""
    run = environ.get("PREFECT__FLOW_RUN_ID", "")
    server = environ.get("PREFECT_UI_URL") or environ.get("PREFECT_API_URL", "").removesuffix(
        "/api"
    )
    return _page(server, f"runs/flow-run/{quote(run, safe='')}") if server and run else None


def mlflow_run_id() -> str | None:
    """Return the id of the MLflow run that is active in this thread; MLflow is not imported for it."""
    mlflow = sys.modules.get("mlflow.tracking.fluent")
    if mlflow is not None:
        with guard.suppress(Exception):
            active = mlflow.active_run()
            return str(active.info.run_id) if active is not None else None
    return None


def _page(address: str, path: str = "") -> str | None:
    """Return an HTTP address without user, password, query and fragment, and with ``path`` after its own."""
    try:
        parts = urlsplit(address.strip())
    except ValueError as error:
        guard.let_through(error)
        return None
    host = parts.netloc.rpartition("@")[2]
    if parts.scheme not in ("http", "https") or not host:
        return None
    whole = f"{parts.path.rstrip('/')}/{path}" if path else parts.path
    page = urlunsplit((parts.scheme, host, whole, "", ""))
    return page if len(page) <= _MAX_LENGTH and page.isprintable() else None
