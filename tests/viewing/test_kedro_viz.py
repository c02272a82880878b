"""`kedro otel viz`, read by the real Kedro-Viz."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from kedro_otel.cli import otel

READERS = Path.home() / ".cache/kedro-otel/readers/bin/python"
NODES = """
import os, signal

def greet(name):
    return f"hello {name}"

def shout(greeting):
    return greeting.upper() + "!"

def tell(shouted, fail):
    if fail == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fail:
        raise ValueError("not so loud")
"""
REGISTRY = """
from kedro.pipeline import node, pipeline

from .nodes import greet, shout, tell

def register_pipelines():
    whole = pipeline([
        node(greet, "params:name", "greeting", name="greet"),
        node(shout, "greeting", "shouted"),
        node(tell, {"shouted": "shouted", "fail": "params:fail"}, None, name="tell"),
    ], namespace="loud", parameters={"name", "fail"})
    return {"__default__": whole, "quiet": whole.filter(from_nodes=["loud.greet"], to_nodes=["loud.greet"])}
"""
RUN = """
from contextlib import suppress
from pathlib import Path
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.runner import ThreadRunner

bootstrap_project(Path.cwd())
for runner, pipeline, fail in (
    (ThreadRunner(), None, ""), (None, "quiet", ""), (None, None, "yes"), (None, None, "kill")
):
    with suppress(ValueError), KedroSession.create(runtime_params={"fail": fail}) as session:
        session.run(pipeline_name=pipeline, runner=runner)
"""
WRITE = """
from kedro_otel.cli import otel

for number in (4, 3, 2, 1):
    otel(["viz", f"-{number}", "-o", f"run{number}.json"], standalone_mode=False)
"""
READ = """
import json, sys
from pathlib import Path
from kedro_viz.api.rest.responses.pipelines import get_pipeline_response
from kedro_viz.api.rest.responses.run_events import transform_events_to_structured_format as read
from kedro_viz.server import load_and_populate_data

load_and_populate_data(Path.cwd())
known = {node.id: node.name for node in get_pipeline_response().nodes}
found = []
for file in sys.argv[1:]:
    one = read(json.loads(Path(file).read_text())).model_dump(mode="json")
    for kind in ("nodes", "datasets"):
        one[kind] = {known[key]: value for key, value in one[kind].items()}
    found.append(one)
print("\\n" + json.dumps(found))
"""


@pytest.mark.skipif(not READERS.exists(), reason="Kedro-Viz is not there: make readers")
def test_kedro_viz_shows_every_run(
    run: Callable[..., Any], project: Callable[..., Path], environment: dict[str, str]
) -> None:
    """Kedro-Viz finds every node and dataset of threaded, partial, failed and killed runs in its graph, with times and errors."""
    path = project(nodes=NODES, registry=REGISTRY, catalog="", settings="")
    assert run(sys.executable, "-c", RUN, cwd=path, code=None).code == -9
    run(sys.executable, "-c", WRITE, cwd=path)
    files = [f"run{number}.json" for number in (4, 3, 2, 1)]
    done = subprocess.run(
        [READERS, "-c", READ, *files], cwd=path, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    whole, part, failed, killed = json.loads(done.stdout.splitlines()[-1])
    # Kedro-Viz shows a node without a name by its function, and each name without its namespace.
    assert sorted(whole["nodes"]) == ["greet", "shout", "tell"]
    assert set(whole["datasets"]) >= {"loud.greeting", "loud.shouted"}
    assert {one["status"] for one in whole["nodes"].values()} == {"success"}
    assert all(one["duration"] > 0 for one in whole["nodes"].values())
    assert [*part["nodes"], part["pipeline"]["status"]] == ["greet", "success"]
    for one, error in ((failed, "ValueError"), (killed, "its process was killed")):
        assert one["pipeline"]["status"] == one["nodes"]["tell"]["status"] == "failed"
        assert one["nodes"]["greet"]["status"] == "success"
        assert one["nodes"]["tell"]["error"]["message"].startswith(error)
        assert one["pipeline"]["duration"] > 0


def test_other_places_are_refused(
    project: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written outside a project, or where Kedro-Viz is not installed and no file is named."""
    monkeypatch.chdir(tmp_path)
    assert "no Kedro project" in CliRunner().invoke(otel, ["viz"]).stderr
    path = project()
    monkeypatch.chdir(path)
    result = CliRunner().invoke(otel, ["viz"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Kedro-Viz is not installed" in result.stderr
    assert not (path / ".viz").exists()
