"""Applications that call Kedro's runners themselves: the real kedro-boot and kedro-dagster, where an environment has them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trace_text import operations

from kedro_otel.semconv import names
from kedro_otel.viewing.model import outcome

PLACE = os.environ.get("KEDRO_OTEL_ORCHESTRATORS", "")
pytestmark = pytest.mark.skipif(
    not PLACE,
    reason="KEDRO_OTEL_ORCHESTRATORS names no environment with kedro-boot, kedro-dagster and this package",
)
REGISTRY = """
import time
from kedro.pipeline import node, pipeline
def start(): return 1
def work(x): time.sleep(0.2); return x + 1
def register_pipelines():
    return {"__default__": pipeline([node(start, None, "a", name="start"), node(work, "a", "b", name="work")])}
"""
APP = """
from threading import Thread
from kedro_boot.app import AbstractKedroBootApp
class App(AbstractKedroBootApp):
    def _run(self, session):
        def iterate():
            for _ in range(3): session.run()
        threads = [Thread(target=iterate) for _ in range(2)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
"""
DAGSTER = """
executors:
  many:
    multiprocess:
      max_concurrent: 2
jobs:
  default:
    pipeline:
      pipeline_name: __default__
    executor: many
"""
DEFINITIONS = """
from pathlib import Path
import dagster
from kedro_dagster import KedroProjectTranslator
code = KedroProjectTranslator(env="base", project_path=Path(__file__).parents[2]).to_dagster()
defs = dagster.Definitions(assets=list(code.named_assets.values()), resources=code.named_resources | {"io_manager": dagster.fs_io_manager},
    jobs=list(code.named_jobs.values()), sensors=list(code.named_sensors.values()))
"""


def test_iterations_of_kedro_boot_in_threads(
    project: Callable[..., Path], run: Callable[..., Any], home: Path
) -> None:
    """Six iterations in two threads are six nodes of one run, each as long as it took, and nothing failed."""
    path = project(registry=REGISTRY, files={"src/minimal/app.py": APP})
    run(Path(PLACE) / "bin" / "kedro", "boot", "run", "--app", "minimal.app.App", cwd=path)

    found = operations(home)
    assert {outcome.word(one) for one in found} == {"ok"}
    assert [one.operation for one in found].count(names.RUN) == 1
    works = [one for one in found if one.name == "node work"]
    assert len(works) == 6
    assert all(0.2 <= one.attributes[names.NODE_COMPUTE] < 0.5 for one in works)


def test_a_good_job_of_kedro_dagster(
    project: Callable[..., Path], run: Callable[..., Any], home: Path, tmp_path: Path
) -> None:
    """Hooks that come in processes of their own leave ends that nothing tells, and no failure; nodes are ok."""
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    path = project(
        registry=REGISTRY,
        catalog="a: {type: MemoryDataset}\nb: {type: MemoryDataset}\n",
        files={"conf/base/dagster.yml": DAGSTER, "src/minimal/definitions.py": DEFINITIONS},
    )
    env = {"DAGSTER_HOME": str(tmp_path / "dagster"), "PYTHONPATH": str(path / "src")}
    words = ("job", "execute", "-m", "minimal.definitions", "-j", "base__default")
    run(Path(PLACE) / "bin" / "dagster", *words, cwd=path, env=env, timeout=200)

    found = operations(home)
    assert not any(one.error for one in found)
    nodes = {one.name: outcome.word(one) for one in found if one.operation == names.NODE}
    assert nodes == {"node start": "ok", "node work": "ok"}
