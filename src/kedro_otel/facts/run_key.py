"""The key of a run that several processes make together, and the ids that follow from it.

Every process derives the same trace and the same root span from the key, so no process has to
communicate with another one. The ids of a GitHub workflow run are those of the collector's githubreceiver.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kedro_otel.facts import trace_context
from kedro_otel.facts.trace_context import Remote
from kedro_otel.semconv import names

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE: Final = "KEDRO_OTEL_RUN_KEY"
NONE: Final = "none"
"""As the value of the variable: no key, whatever the orchestrator says."""

KEY, AIRFLOW, PREFECT, GITHUB, GITLAB, SLURM = (
    "key",
    "airflow",
    "prefect",
    "github",
    "gitlab",
    "slurm",
)
SOURCES: Final = (KEY, AIRFLOW, PREFECT, GITHUB, GITLAB, SLURM)
"""Where a key may come from, strongest first; the last two only where the variable names them."""

_ON_REQUEST: Final = {f"from:{source}": source for source in SOURCES[1:]}


class RunKey(NamedTuple):
    """What names a logical run.

    Attributes:
        key: The key, unique among all runs that one backend sees.
        source: One of :data:`SOURCES`.
        requested: Whether the variable asked for it.
        task: The orchestrator's name of this process's task, or "".
        attempt: The number of its try, or None.
        url: The address of the task's page in the orchestrator, or None.
    """

    key: str
    source: str
    requested: bool
    task: str = ""
    attempt: int | None = None
    url: str | None = None

    @property
    def trace_id(self) -> str:
        """The run's trace: 32 hex digits."""
        return self._digest("t")[:32]

    @property
    def span_id(self) -> str:
        """The run's root span: 16 hex digits."""
        return self._digest("s")[16:32]

    @property
    def instance_id(self) -> str:
        """The ``service.instance.id`` of what counts the run once, wherever it is counted."""
        return f"{names.RUN_INSTANCE}{self._digest('i')[:32]}"

    def _digest(self, purpose: str) -> str:
        return hashlib.sha256(f"{self.key}{purpose}".encode(errors="surrogatepass")).hexdigest()


def find(environ: Mapping[str, str], resource: Mapping[str, Any]) -> RunKey | None:
    """Return the key that the environment gives, or None.

    Args:
        environ: The environment.
        resource: The resource of this process: the project's name tells apart keys of an
            orchestrator whose ids are unique within one installation only.
    """
    given = environ.get(VARIABLE, "").strip()
    if given.lower() == NONE:
        return None
    asked = _ON_REQUEST.get(given.lower())
    if given and asked is None:
        return RunKey(given, KEY, requested=True)
    project = str(resource.get(names.PROJECT_NAME, ""))
    if asked is not None:
        found = _FINDERS[asked](environ, project)
        return found._replace(requested=True) if found else None
    for source in (AIRFLOW, PREFECT, GITHUB):
        found = _FINDERS[source](environ, project)
        if found is not None:
            return found
    return None


def parent(environ: Mapping[str, str], resource: Mapping[str, Any]) -> Remote | None:
    """Return the root span that follows from the key, with the sampler's decision on its trace."""
    found = find(environ, resource)
    if found is None:
        return None
    trace_id = found.trace_id
    sampled = trace_context.sampled(environ, trace_id, None)
    return Remote(trace_id, found.span_id, sampled)


def attributes(
    environ: Mapping[str, str], resource: Mapping[str, Any], *, sliced: bool
) -> dict[str, Any]:
    """Return what is recorded of the key with a pipeline run.

    Args:
        environ: The environment.
        resource: The resource of this process.
        sliced: Whether the run is of chosen nodes. Where the user asked for a key, every run is a
            part; where an orchestrator merely is there, a whole pipeline stays a run of its own.
    """
    found = find(environ, resource)
    if found is None:
        return {}
    return {
        names.RUN_PART: True if found.requested or sliced else None,
        names.RUN_KEY_SOURCE: found.source,
        names.TASK_NAME: found.task or None,
        names.TASK_ATTEMPT: found.attempt,
        names.TASK_URL: found.url,
    }


def _airflow(environ: Mapping[str, str], project: str) -> RunKey | None:
    """Return the key of an Airflow DAG run, from the variables that Airflow sets for each task."""
    dag, run = environ.get("AIRFLOW_CTX_DAG_ID"), environ.get("AIRFLOW_CTX_DAG_RUN_ID")
    if not dag or not run:
        return None
    from kedro_otel.facts import links

    return RunKey(
        f"{AIRFLOW}:{project}:{dag}:{run}",
        AIRFLOW,
        requested=False,
        task=environ.get("AIRFLOW_CTX_TASK_ID", ""),
        attempt=_number(environ.get("AIRFLOW_CTX_TRY_NUMBER", "")),
        url=links.airflow_task(environ),
    )


def _prefect(environ: Mapping[str, str], _project: str) -> RunKey | None:
    """Return the key of a Prefect flow run, whose id is a UUID."""
    run = environ.get("PREFECT__FLOW_RUN_ID")
    if not run:
        return None
    from kedro_otel.facts import links

    url = links.prefect_flow_run(environ)
    return RunKey(f"{PREFECT}:{run}", PREFECT, requested=False, url=url)


def _github(environ: Mapping[str, str], _project: str) -> RunKey | None:
    """Return the key of a GitHub workflow run: spelt as the collector's githubreceiver spells it."""
    run, attempt = environ.get("GITHUB_RUN_ID"), environ.get("GITHUB_RUN_ATTEMPT")
    if environ.get("GITHUB_ACTIONS") != "true" or not run or not attempt:
        return None
    return RunKey(
        f"{run}{attempt}",
        GITHUB,
        requested=False,
        task=environ.get("GITHUB_JOB", ""),
        attempt=_number(attempt),
    )


def _gitlab(environ: Mapping[str, str], _project: str) -> RunKey | None:
    """Return the key of a GitLab pipeline, whose id is unique within one GitLab."""
    pipeline = environ.get("CI_PIPELINE_ID")
    if not pipeline:
        return None
    host = environ.get("CI_SERVER_HOST", "")
    key = f"{GITLAB}:{host}:{pipeline}"
    return RunKey(key, GITLAB, requested=False, task=environ.get("CI_JOB_NAME", ""))


def _slurm(environ: Mapping[str, str], project: str) -> RunKey | None:
    """Return the key of a SLURM job array, or of the job where there is no array."""
    job = environ.get("SLURM_ARRAY_JOB_ID") or environ.get("SLURM_JOB_ID")
    if not job:
        return None
    cluster = environ.get("SLURM_CLUSTER_NAME", "")
    return RunKey(
        f"{SLURM}:{project}:{cluster}:{job}",
        SLURM,
        requested=False,
        task=environ.get("SLURM_ARRAY_TASK_ID", ""),
        attempt=_number(environ.get("SLURM_RESTART_COUNT", "")),
    )


_FINDERS: Final = {
    AIRFLOW: _airflow,
    PREFECT: _prefect,
    GITHUB: _github,
    GITLAB: _gitlab,
    SLURM: _slurm,
}


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
