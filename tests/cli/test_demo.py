"""The demo: what a newcomer sees first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result

pytest.importorskip("sklearn", reason="the extra `demo` is not installed")

NODES = {
    "clean_measurements",
    "clean_cultivars",
    "join_tables",
    "describe_wines",
    "split_wines",
    "train_forest",
    "train_linear",
    "evaluate_models",
    "choose_model",
    "explain_model",
    "plot_confusion",
    "write_report",
}


def test_the_demo_runs_fails_and_shows_it(
    kedro: Callable[..., Result], tmp_path: Path, full: bool
) -> None:
    """`kedro otel demo` runs a project on real data and draws a bar for each of its nodes; what it suggests to try next works."""
    shown = kedro("otel", "demo", "wines", timeout=300).out
    project = tmp_path / "wines"
    waterfall = shown[shown.index("$ kedro otel show") :]
    for name in NODES:
        (line,) = [line for line in waterfall.splitlines() if name in line and "kedro" not in line]
        assert set(line) & set("█▉▊▋▌▍▎▏▐━─▒░▓#="), line
    assert "proline" in (project / "data/08_reporting/report.md").read_text()
    assert (project / "data/08_reporting/confusion.png").read_bytes().startswith(b"\x89PNG")

    if full:
        kedro("run", "--pipeline", "data", cwd=project)
        assert "kedro run --pipeline data" in kedro("otel", "show", cwd=project).out

    kedro("run", "--params", "folds=1", cwd=project, code=1)
    failed = kedro("otel", "show", cwd=project).out
    assert "train_forest" in failed
    assert "InvalidParameterError" in failed


def test_the_demo_leaves_a_folder_that_is_not_empty_alone(
    kedro: Callable[..., Result], tmp_path: Path
) -> None:
    """A folder with something in it is refused in one line that says what to type."""
    (tmp_path / "wines").mkdir()
    (tmp_path / "wines/mine.txt").write_text("mine")
    refused = kedro("otel", "demo", "wines", code=2)
    assert (
        refused.err.strip()
        == "kedro-otel: wines is not empty, and nothing in it was changed. Name a new folder: kedro otel demo wines-2"
    )
    assert [path.name for path in (tmp_path / "wines").iterdir()] == ["mine.txt"]


def test_the_demo_says_which_library_is_missing(
    kedro: Callable[..., Result], tmp_path: Path
) -> None:
    """Without the extra, nothing is written and the line to type is there."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['sklearn'] = None\n")
    refused = kedro("otel", "demo", "wines", code=1, env={"PYTHONPATH": str(tmp_path)})
    assert "needs scikit-learn;" in refused.err
    assert refused.err.strip().endswith("Type: pip install 'kedro-otel[demo]'")
    assert not (tmp_path / "wines").exists()
