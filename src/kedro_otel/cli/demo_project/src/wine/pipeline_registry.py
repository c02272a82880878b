"""The pipelines that ``kedro run`` knows."""

from kedro.pipeline import Pipeline

from wine.pipelines import data, training


def register_pipelines() -> dict[str, Pipeline]:
    """Return the pipelines by name; ``kedro run`` runs ``__default__``."""
    pipelines = {"data": data.create_pipeline(), "training": training.create_pipeline()}
    return {"__default__": pipelines["data"] + pipelines["training"], **pipelines}
