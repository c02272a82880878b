"""Pages about a run elsewhere: from the variables of each service, without a secret, in each view."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trace_text import operations

from kedro_otel.facts import links

GITHUB = {
    "CI": "true",
    "GITHUB_ACTIONS": "true",
    "GITHUB_RUN_ID": "123",
    "GITHUB_RUN_ATTEMPT": "4",
    "GITHUB_REPOSITORY": "acme/wine",
    "GITHUB_SERVER_URL": "https://github.example",
}
AIRFLOW = {
    "AIRFLOW__API__BASE_URL": "http://user:secret@airflow.example/",
    "AIRFLOW_CTX_DAG_ID": "daily",
    "AIRFLOW_CTX_DAG_RUN_ID": "scheduled__2026-01-01T00:00:00+00:00",
    "AIRFLOW_CTX_TASK_ID": "train/1",
}
AIRFLOW_PAGE = (
    "http://airflow.example/dags/daily/runs/"
    "scheduled__2026-01-01T00%3A00%3A00%2B00%3A00/tasks/train%2F1"
)
GITHUB_PAGE = "https://github.example/acme/wine/actions/runs/123/attempts/4"
AZURE = {
    "SYSTEM_COLLECTIONURI": "https://dev.azure.example/acme/",
    "SYSTEM_TEAMPROJECT": "My wine",
    "BUILD_BUILDID": "77",
}


@pytest.mark.parametrize(
    ("environ", "page"),
    [
        (GITHUB, GITHUB_PAGE),
        ({**GITHUB, "GITHUB_ACTIONS": "false"}, None),
        (
            {"CI_JOB_URL": "https://gitlab.example/a/b/-/jobs/9"},
            "https://gitlab.example/a/b/-/jobs/9",
        ),
        ({"BUILDKITE_BUILD_URL": "https://bk.example/a/builds/9"}, "https://bk.example/a/builds/9"),
        ({"CIRCLE_BUILD_URL": "https://circle.example/gh/a/9"}, "https://circle.example/gh/a/9"),
        ({"JENKINS_URL": "x", "BUILD_URL": "http://j.example/job/9/"}, "http://j.example/job/9/"),
        ({"BUILD_URL": "http://somebody.example/job/9/"}, None),
        (AZURE, "https://dev.azure.example/acme/My%20wine/_build/results?buildId=77"),
        ({**AZURE, "BUILD_BUILDID": "77&token=x"}, None),
        (
            {"CI_JOB_URL": "https://me:secret@g.example:8443/9?token=x#y"},
            "https://g.example:8443/9",
        ),
        ({"CI_JOB_URL": "javascript:alert(1)"}, None),
        ({"CI_JOB_URL": "https://[broken/9"}, None),
        ({"CI_JOB_URL": "https://g.example/\x1b[31m"}, None),
        ({"CI_JOB_URL": "https://g.example/" + "9" * 3000}, None),
        ({}, None),
    ],
)
def test_the_page_of_a_ci_run(environ: dict[str, str], page: str | None) -> None:
    """Each service's own variables give the page, and nothing that could be a secret stays in it."""
    assert links.ci_run(environ) == page


def test_the_page_of_a_task() -> None:
    """Airflow's and Prefect's pages are known where the address of the server is."""
    assert links.airflow_task(AIRFLOW) == AIRFLOW_PAGE
    assert links.airflow_task({**AIRFLOW, "AIRFLOW__API__BASE_URL": ""}) is None
    assert links.airflow_task({**AIRFLOW, "AIRFLOW_CTX_TASK_ID": ""}) is None
    prefect = {"PREFECT__FLOW_RUN_ID": "0f4b", "PREFECT_API_URL": "http://prefect.example/api"}
    assert links.prefect_flow_run(prefect) == "http://prefect.example/runs/flow-run/0f4b"
    hosted = {**prefect, "PREFECT_UI_URL": "https://app.example/a"}
    assert links.prefect_flow_run(hosted) == "https://app.example/a/runs/flow-run/0f4b"
    assert links.prefect_flow_run({"PREFECT_API_URL": "http://prefect.example/api"}) is None


def test_pages_are_recorded_and_shown(
    kedro: Callable[..., Any], project: Callable[..., Path], home: Path, tmp_path: Path
) -> None:
    """A run in CI and one that Airflow started name their pages in `show` and, to click, in the report."""
    path = project()
    kedro("run", cwd=path, env=GITHUB)
    found = {one.operation: one.attributes for one in operations(home)}
    assert found["command"]["cicd.pipeline.run.url.full"] == GITHUB_PAGE
    assert found["run"]["cicd.pipeline.run.url.full"] == GITHUB_PAGE
    assert f"CI run {GITHUB_PAGE}" in kedro("otel", "show", cwd=path).out
    kedro("run", "--nodes", "greet", cwd=path, env=AIRFLOW)
    shown = kedro("otel", "show", cwd=path, env={"COLUMNS": "60"}).out
    assert f"Task {AIRFLOW_PAGE}".replace(" ", "") in "".join(shown.split())
    kedro("otel", "report", "-o", str(tmp_path / "report.html"), cwd=path)
    assert f'<a href="{AIRFLOW_PAGE}"' in (tmp_path / "report.html").read_text()


class _Mlflow:
    """MLflow's module, as far as it is asked."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def active_run(self) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


@pytest.mark.parametrize("answer", [None, ValueError("no"), "not a run"])
def test_an_mlflow_without_a_run_says_nothing(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No active run, one of another shape, and an MLflow that raises give no id."""
    monkeypatch.setitem(sys.modules, "mlflow.tracking.fluent", _Mlflow(answer))
    assert links.mlflow_run_id() is None
