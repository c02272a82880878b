"""The key of a run that several processes make together: where it comes from, and what follows from it."""

from __future__ import annotations

from hashlib import sha256

import pytest

from kedro_otel.facts import run_key
from kedro_otel.semconv import names

AIRFLOW = {
    "AIRFLOW_CTX_DAG_ID": "daily",
    "AIRFLOW_CTX_DAG_RUN_ID": "scheduled__2026-01-01T00:00:00+00:00",
    "AIRFLOW_CTX_TASK_ID": "train",
    "AIRFLOW_CTX_TRY_NUMBER": "2",
}
GITHUB = {"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "123", "GITHUB_RUN_ATTEMPT": "4"}
GITLAB = {"CI_PIPELINE_ID": "7", "CI_SERVER_HOST": "gitlab.example", "CI_JOB_NAME": "train"}
SLURM = {"SLURM_ARRAY_JOB_ID": "9", "SLURM_ARRAY_TASK_ID": "3", "SLURM_JOB_ID": "12"}
PREFECT = {"PREFECT__FLOW_RUN_ID": "0f4b4a4c-1111-4222-8333-444455556666"}
OURS = {names.PROJECT_NAME: "spaceflights"}


@pytest.mark.parametrize(
    ("environ", "key"),
    [
        ({}, None),
        ({"KEDRO_OTEL_RUN_KEY": "k", **AIRFLOW}, "k"),
        ({"KEDRO_OTEL_RUN_KEY": "none", **AIRFLOW}, None),
        (AIRFLOW, "airflow:spaceflights:daily:scheduled__2026-01-01T00:00:00+00:00"),
        ({**PREFECT, **GITHUB}, "prefect:0f4b4a4c-1111-4222-8333-444455556666"),
        (GITHUB, "1234"),
        ({**GITHUB, "GITHUB_ACTIONS": "false"}, None),
        ({**GITLAB, **SLURM}, None),
        ({"KEDRO_OTEL_RUN_KEY": "from:gitlab", **GITLAB, **GITHUB}, "gitlab:gitlab.example:7"),
        ({"KEDRO_OTEL_RUN_KEY": "from:slurm", **SLURM}, "slurm:spaceflights::9"),
        ({"KEDRO_OTEL_RUN_KEY": "from:slurm", "SLURM_JOB_ID": "12"}, "slurm:spaceflights::12"),
        ({"KEDRO_OTEL_RUN_KEY": "from:slurm"}, None),
    ],
)
def test_the_first_source_that_is_there_gives_the_key(environ, key):
    """The variable first, then the orchestrators that are known; GitLab and SLURM only on request."""
    found = run_key.find(environ, OURS)
    assert (found.key if found else None) == key


def test_the_ids_of_a_github_run_are_those_of_the_githubreceiver():
    """Trace and root span are cut from the hashes that the collector's githubreceiver cuts them from."""
    parent = run_key.parent(GITHUB, OURS)
    assert parent is not None
    assert parent.trace_id == sha256(b"1234t").digest()[:16].hex()
    assert parent.span_id == sha256(b"1234s").digest()[8:16].hex()


def test_every_process_of_a_key_decides_alike_whether_its_trace_is_sent():
    """The ratio is taken of the derived trace id, so that a run is sent whole or not at all."""
    ratio = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"}
    decided = {}
    for key in map(str, range(20)):
        found = {run_key.parent({"KEDRO_OTEL_RUN_KEY": key, **ratio}, {}) for _ in range(3)}
        decided[key] = {one.sampled for one in found if one is not None}
    assert all(len(one) == 1 for one in decided.values())
    assert {next(iter(one)) for one in decided.values()} == {True, False}


def test_a_run_is_a_part_where_somebody_asked_or_it_is_of_chosen_nodes():
    """A whole pipeline that an orchestrator merely surrounds stays a run of its own."""
    part = names.RUN_PART
    assert run_key.attributes({}, OURS, sliced=True) == {}
    assert run_key.attributes(AIRFLOW, OURS, sliced=False)[part] is None
    assert run_key.attributes({"KEDRO_OTEL_RUN_KEY": "k"}, OURS, sliced=False)[part] is True
    assert run_key.attributes(AIRFLOW, OURS, sliced=True) == {
        part: True,
        names.RUN_KEY_SOURCE: "airflow",
        names.TASK_NAME: "train",
        names.TASK_ATTEMPT: 2,
        names.TASK_URL: None,
    }
