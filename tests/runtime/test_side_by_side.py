"""One node that several threads execute at once, as an application inside a run does: each execution has its own times."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trace_text import operations

from kedro_otel.semconv import names

REGISTRY = """
import time
from kedro.pipeline import node, pipeline
def one(): return 1
def work(x): time.sleep(0.1); return x + 1
def register_pipelines():
    return {"__default__": pipeline([node(one, None, "a", name="one"), node(work, "a", "b", name="work")])}
"""
SCRIPT = """
from pathlib import Path
from threading import Thread
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.io import DataCatalog
from kedro.runner import SequentialRunner

class Iterating(SequentialRunner):
    def _run(self, pipeline, catalog, hook_manager=None, run_id=None):
        def iterate():
            for _ in range(3):
                SequentialRunner().run(pipeline, DataCatalog(), hook_manager)
        threads = [Thread(target=iterate) for _ in range(3)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()

bootstrap_project(Path.cwd())
with KedroSession.create(project_path=Path.cwd()) as session:
    session.run(runner=Iterating())
"""


def test_threads_that_execute_one_node_at_once_do_not_share_it(
    project: Callable[..., Path], run: Callable[..., Any], home: Path
) -> None:
    """Nine executions of a node in three threads are nine nodes of one run, each as long as it took, with its own datasets."""
    run(sys.executable, "-c", SCRIPT, cwd=project(registry=REGISTRY))

    found = operations(home)
    (whole,) = [one for one in found if one.operation == names.RUN]
    nodes = [one for one in found if one.name == "node work"]
    assert len(nodes) == 9
    assert {one.parent_id for one in nodes} == {whole.span_id}
    assert not any(one.error for one in found)
    for node in nodes:
        assert 0.1 <= node.attributes[names.NODE_COMPUTE] < 1
        below = sorted(one.name for one in found if one.parent_id == node.span_id)
        assert below == ["load a", "save b"]
