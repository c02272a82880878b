"""What Kedro's run parameters say about a pipeline run."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Final

from kedro_otel.facts import links, project
from kedro_otel.semconv import names

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT: Final = "__default__"
_OBJECT: Final = re.compile(r"<([\w.]+) object at ")
_KEDRO_RUNNERS: Final = "kedro.runner."
_FILTERS: Final = (
    "tags",
    "from_nodes",
    "to_nodes",
    "node_names",
    "from_inputs",
    "to_outputs",
    "namespaces",
    "namespace",
    "node_namespaces",
    "only_missing_outputs",
)


def pipeline_name(params: Any) -> str:
    """Return the name of the pipeline that is run; several names are joined with commas."""
    found = _get(params, "pipeline_names") or _get(params, "pipeline_name") or DEFAULT
    return ",".join(map(str, found)) if isinstance(found, list | tuple | set) else str(found)


def span_name(params: Any) -> str:
    """Return the name of the run's span."""
    return f"run {pipeline_name(params)}"


def runner_name(params: Any) -> str:
    """Return the runner's class: bare for Kedro's own, dotted for others, ``custom`` where it cannot be told."""
    found = str(_get(params, "runner") or "SequentialRunner")
    shown = _OBJECT.match(found)
    name = shown.group(1) if shown else found
    if name.startswith(_KEDRO_RUNNERS):
        return name.rsplit(".", 1)[1]
    if name == "None":
        return "SequentialRunner"
    return name if shown else names.CUSTOM


def filtered(params: Any) -> bool:
    """Return whether the run is of a part of the project: of another pipeline than the default, or of chosen nodes."""
    return pipeline_name(params) != DEFAULT or sliced(params)


def sliced(params: Any) -> bool:
    """Return whether the run is of chosen nodes of its pipeline."""
    return any(_get(params, key) for key in _FILTERS)


def values(params: Any, pipeline: Any, root: Path | None, context: Any = None) -> dict[str, Any]:
    """Return the attributes of a run's span that its parameters, its pipeline and the session's ``context`` give."""
    run_id = _get(params, "run_id") or _get(params, "session_id")
    return {
        names.PIPELINE_NAME: pipeline_name(params),
        names.RUN_ID: None if run_id is None else str(run_id),
        names.RUNNER_NAME: runner_name(params),
        names.ENVIRONMENT_NAME: _text(
            _get(params, "env")
            or getattr(getattr(context, "config_loader", None), "default_run_env", None)
        ),
        names.REVISION: project.revision(root) if root is not None else None,
        names.MLFLOW_RUN_ID: links.mlflow_run_id(),
        names.RUN_NODES: len(pipeline.nodes),
        names.RUN_DATASETS: sum(
            1 for name in pipeline.datasets() if not name.startswith(project.PARAMETERS)
        ),
        names.RUN_FILTERED: filtered(params),
    }


def pipeline_statistics() -> dict[str, Any]:
    """Return the numbers of nodes and pipelines as kedro-telemetry counts them.

    They are read where Kedro has them already. ``kedro run --pipeline`` may load
    that pipeline alone; then nothing is known of the whole project, and nothing is returned.
    """
    registry = getattr(sys.modules.get("kedro.framework.project"), "pipelines", None)
    if registry is None or getattr(registry, "_requested_pipelines", None):
        return {}  # only what was asked for is loaded: that is not the project's size
    default = registry.get(DEFAULT)
    return {
        names.NODE_COUNT: len(default.nodes) if default else None,
        names.PIPELINE_COUNT: len(registry),
    }


def _get(params: Any, key: str) -> Any:
    return params.get(key) if isinstance(params, dict) else None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
