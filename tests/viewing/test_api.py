"""The public Python API: what a notebook or a script asks of the recordings."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import Result
from fabricate import a_run

import kedro_otel
from kedro_otel.cli import otel
from kedro_otel.config import paths

BEGAN = 1_795_341_600 * 10**9
NODES = [("load_cars", 0.9, 0.05, 0.1), ("split", 0.1, 0.3, 0.12), ("train", 0.2, 1.5, 0.2)]


@pytest.fixture
def folder() -> Path:
    """Return this test's folder of recordings."""
    return paths.recordings()


def test_the_last_run(folder: Path) -> None:
    """``last()`` is the run that `kedro otel show` shows, with its nodes and what they loaded and saved."""
    a_run(folder, NODES, at=BEGAN - 60 * 10**9)
    a_run(folder, NODES, at=BEGAN, trace="0123456789abcdef" * 2, error=("train", "shop.StockError"))
    run = kedro_otel.last()
    assert run.trace_id == "0123456789abcdef" * 2
    assert (run.outcome, run.error_type, run.pipeline) == (
        "failed",
        "shop.StockError",
        "__default__",
    )
    assert (run.command, run.runner, run.environment) == ("kedro run", "SequentialRunner", "local")
    assert run.start == datetime.fromtimestamp(BEGAN / 1e9 + 0.4, tz=timezone.utc)
    assert run.duration == pytest.approx(1.05 + 0.52 + 1.7 + 0.01, abs=0.001)
    assert [(node.name, node.outcome, node.critical) for node in run.nodes] == [
        ("load_cars", "ok", True),
        ("split", "ok", True),
        ("train", "failed", True),
    ]
    assert run.nodes[1][3:7] == (0.52, 0.1, 0.3, 0.12)
    assert [(one.operation, one.name, one.node) for one in run.datasets[:2]] == [
        ("load", "d0", "load_cars"),
        ("save", "d1", "load_cars"),
    ]
    assert run.failures == ["in node train: shop.StockError"]
    assert repr(run) == "<Run 01234567 failed · 3.28 s · kedro run · __default__>"


def test_runs_are_filtered(folder: Path) -> None:
    """``runs()`` has the newest first, at most ``limit``, of a pipeline, and those that failed."""
    for index, told in enumerate([{}, {"pipeline": "other"}, {"dies": True}, {}]):
        a_run(folder, NODES, at=BEGAN + index * 60 * 10**9, trace=f"{index + 1:032x}", **told)
    numbers = lambda found: [int(run.trace_id, 16) for run in found]  # noqa: E731
    assert numbers(kedro_otel.runs()) == [4, 3, 2, 1]
    assert numbers(kedro_otel.runs(2)) == [4, 3]
    assert numbers(kedro_otel.runs(None, pipeline="other")) == [2]
    assert numbers(kedro_otel.runs(failed=True)) == [3]
    assert kedro_otel.get_run("-2").outcome == "killed"
    assert kedro_otel.get_run(f"{2:032x}").pipeline == "other"


def test_nothing_recorded() -> None:
    """Where nothing is recorded, ``runs()`` is empty, and ``last()`` says what to do."""
    assert kedro_otel.runs() == []
    with pytest.raises(kedro_otel.NotFoundError, match="kedro run"):
        kedro_otel.last()


def test_a_run_as_a_table(folder: Path) -> None:
    """``to_pandas()`` has a row for each node, with its figures in seconds."""
    pytest.importorskip("pandas")
    a_run(folder, NODES, at=BEGAN)
    table = kedro_otel.last().to_pandas()
    assert list(table.columns) == [
        "name",
        "outcome",
        "start",
        "duration",
        "load",
        "compute",
        "save",
        "hooks",
        "critical",
        "error_type",
    ]
    assert table.set_index("name").loc["train", "compute"] == 1.5
    assert str(table["start"].dtype).endswith("UTC]")


def test_without_pandas(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pandas is missing, ``to_pandas()`` says what to install and what there is without it."""
    a_run(folder, NODES, at=BEGAN)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install pandas.*run\.nodes"):
        kedro_otel.last().to_pandas()


def test_a_run_shows_itself(folder: Path, tmp_path: Path) -> None:
    """In a notebook a run is its report's page, in a frame that it cannot leave: the page is text in one attribute."""
    a_run(folder, [('"><script>alert(1)</script>', 0.1, 1, 0.1)], at=BEGAN)
    run = kedro_otel.last()
    frame = run._repr_html_()
    assert frame.startswith('<iframe title="')
    assert 'sandbox="allow-scripts"' in frame
    assert frame.count("<") == 2  # the frame's own tags
    assert frame.endswith('"></iframe>')
    assert run.report(tmp_path / "run.html").read_text(encoding="utf-8") == run.to_html()


def test_the_same_as_json(folder: Path) -> None:
    """``to_dict()`` is what `kedro otel show --json` prints."""
    a_run(folder, NODES, at=BEGAN)
    told = CliRunner().invoke(otel, ["show", "--json"]).stdout
    assert kedro_otel.last().to_dict() == json.loads(told)


def test_the_magic(folder: Path) -> None:
    """``%load_ext kedro_otel`` adds ``%otel_show``, which returns the run for the notebook to show, or says why there is none."""
    a_run(folder, NODES, at=BEGAN)
    script = (
        "from IPython.core.interactiveshell import InteractiveShell as S; s = S.instance();"
        "s.run_line_magic('load_ext', 'kedro_otel');"
        "print(s.run_line_magic('otel_show', ''), s.run_line_magic('otel_show', '-9'))"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=120
    ).stdout
    assert "<Run " in told
    assert "kedro-otel: only 1 pipeline run is recorded" in told


def test_importing_it_is_cheap(run: Callable[..., Result]) -> None:
    """``import kedro_otel`` loads none of the package's other modules; an unknown name is an AttributeError."""
    probe = "import sys, kedro_otel; print([m for m in sys.modules if m.startswith('kedro_otel.')])"
    assert run(sys.executable, "-c", probe).out == "[]\n"
    assert not hasattr(kedro_otel, "nothing_of_this_name")
    assert {"runs", "last", "Run"} <= set(dir(kedro_otel))


def test_after_a_real_session(
    project: Callable[..., Path], run: Callable[..., Any], tmp_path: Path
) -> None:
    """A script that ran a session asks the same process what its run did."""
    path = project()
    script = tmp_path / "script.py"
    script.write_text(
        f"""
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
import kedro_otel
bootstrap_project({str(path)!r})
with KedroSession.create(project_path={str(path)!r}) as session:
    session.run()
print("RUN", kedro_otel.last().outcome, [node.name for node in kedro_otel.last().nodes])
"""
    )
    assert "RUN ok ['greet', 'shout', 'tell']" in run(sys.executable, script).out
