"""The public API as users call it: never run, only type-checked (`make types`), so a changed signature is an error here first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import kedro_otel
from kedro_otel import Dataset, Node, NotFoundError, Run, __version__
from kedro_otel.hooks import KedroOtelHooks, hooks
from kedro_otel.testing import Recorded, Span, recorded

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from kedro_otel.recording.model import Value

pytest_plugins = ("kedro_otel.testing",)
version: str = __version__
HOOKS: tuple[KedroOtelHooks, ...] = (hooks,)
kedro_otel.describe.register(Path, lambda path: {"size": path.stat().st_size})
fixture: Callable[..., object] = recorded


def test_my_run(recorded: Recorded) -> None:
    """What a project's own test asks of a run."""
    train: Span = recorded.nodes["train"]
    status: str = train.status
    seconds: float = train.seconds
    why: str = train.error_type
    tags: Value = train.attributes["kedro.node.tags"]
    assert (status, why) == ("ok", "")
    assert seconds < 60
    assert tags
    assert recorded.runs[0].attributes["kedro.runner.name"] == "SequentialRunner"
    assert [span.name for span in recorded.datasets] == ["load cars", "save model"]
    assert recorded.commands[0].trace_id == recorded.spans[0].trace_id
    assert not train.parent_id.startswith("0")
    assert train.span_id


def what_ran() -> None:
    """What a notebook or a script asks."""
    found: list[Run] = kedro_otel.runs(5, pipeline="training", failed=True, commands=False)
    try:
        run: Run = kedro_otel.last()
    except NotFoundError as error:
        raise SystemExit(str(error)) from None
    older: Run = kedro_otel.get_run("-2")
    seconds: float = run.duration - older.duration
    began: datetime = run.start
    nodes: list[Node] = run.nodes
    datasets: list[Dataset] = run.datasets
    page: Path = run.report("run.html")
    rows = run.to_pandas()
    print(found, seconds, began, nodes[0].compute, datasets[0].operation, page, rows, run.to_dict())  # noqa: T201


def elsewhere(handed: dict[str, str]) -> None:
    """What a runner with workers of its own does, here and there."""
    carrier: dict[str, str] = kedro_otel.carrier()
    with kedro_otel.attached(carrier or handed):
        pass
