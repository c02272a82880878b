"""What nodes used and how many rows there were: beside the waterfall of a wide screen, and where it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from fabricate import a_run

from kedro_otel.cli import otel


@pytest.fixture
def shown(home: Path) -> Callable[..., list[list[str]]]:
    """Return ``shown(*words, columns=)``: what stands right of the durations of the nodes ``train`` and ``tell``, and of the title."""
    used = {
        "kedro_node_cpu_time": 1.6,
        "kedro_node_memory_peak": 3 << 29,
        "kedro_node_memory_method": "at_most",
        "saved": {"kedro_dataset_row_count": 7203},
    }
    nodes = [("train", 0.1, 0.8, 0.1), ("tell", 0.01, 0.02, 0.01)]
    a_run(home / "recordings", nodes, attrs={"train": used}, run_id="a-run")

    def shown(*words: str, columns: int = 100, code: int = 0) -> list[list[str]]:
        result = CliRunner().invoke(otel, ["show", *words], env={"COLUMNS": str(columns)})
        assert result.exit_code == code, result.output
        lines = result.stdout.replace("◆", "").splitlines()
        title = [line.split() for line in lines if line.rstrip().endswith(("rows", "CPU"))]
        after = [line.rpartition(" ms" if "tell" in line else " s")[2].split() for line in lines if "─ t" in line]  # fmt: skip
        return [*(one[-3:] for one in title), *after]

    return shown


def test_a_wide_screen_has_them(shown: Callable[..., list[list[str]]]) -> None:
    """From 120 columns of the screen on CPU, memory and rows of each node stand beside it; a narrower one is as it was."""
    assert shown(columns=120) == [["CPU", "peak", "rows"], ["160%", "<1.5", "GiB", "7,203"], []]
    assert shown(columns=119) == [[], []]
    assert shown("--columns", "none", columns=200) == [[], []]


def test_columns_can_be_chosen(shown: Callable[..., list[list[str]]]) -> None:
    """``--columns`` puts those it names beside the waterfall of any screen, and knows no others."""
    assert shown("--columns", "rows,cpu", columns=100)[1:] == [["160%", "7,203"], []]
    assert shown("--columns", "cows", code=2) == []
