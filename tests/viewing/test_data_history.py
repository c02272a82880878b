"""``kedro otel check`` and `compare`: data that left their own history are told at that run, and ordinary growth is not."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fabricate import SECOND, a_run

from kedro_otel.cli import otel
from kedro_otel.viewing.model.data_history import Data, departures

BEGAN = 1_795_341_600 * SECOND


@pytest.fixture
def ran(home: Path) -> Callable[..., None]:
    """Return ``ran(number, **facts)``: record run ``number`` of a pipeline that saves one dataset, of which ``facts`` are known."""

    def ran(number: int, **facts: Any) -> None:
        dataset = {f"kedro_dataset_{key}": value for key, value in facts.items()}
        a_run(
            home / "recordings",
            [("clean", 0.01, 0.02, 0.01)],
            at=BEGAN + number * 60 * SECOND,
            trace=f"{number + 1:032x}",
            attrs={"clean": {"saved": dataset}},
        )

    return ran


def checked(*words: str, code: int = 0) -> Result:
    """Type ``kedro otel check …``."""
    result = CliRunner().invoke(otel, ["check", *words])
    assert result.exit_code == code, f"{result.output} {result.exception!r}"
    return result


def test_a_loss_is_told_at_that_run(ran: Callable[..., None]) -> None:
    """A fifth of the rows lost after five runs is named with both figures, and the exit code says so; the run before was as usual."""
    for number in range(6):
        ran(number, row_count=5000 + number * 10, column_count=4, schema_id="aa")
    assert "as before: 1 dataset held against 5 earlier runs" in checked().stderr
    ran(6, row_count=4040, column_count=5, schema_id="bb", size=10)
    told = checked(code=1).stdout.splitlines()
    assert told == [
        "d1: schema changed: names, order or types of its columns",
        "d1: columns +25%, 5 instead of 4",
        "d1: rows -20%, 4,040 instead of 5,060",
    ]
    as_json = json.loads(checked("--json", code=1).stdout)
    assert as_json["runs"] == 6
    assert [one["what"] for one in as_json["departures"]] == ["schema", "columns", "rows"]
    assert as_json["departures"][2]["relative"] == pytest.approx(-0.2, abs=0.01)


def test_few_runs_say_nothing(ran: Callable[..., None]) -> None:
    """With fewer than five earlier runs nothing is told, and it is said why."""
    for number in range(4):
        ran(number, row_count=5000)
    ran(4, row_count=10)
    assert "4 earlier runs like this one: data are checked from 5 on" in checked().stderr


def test_compare_tells_of_data(ran: Callable[..., None]) -> None:
    """`compare` names what became of the data beside what became of the times."""
    for number in range(6):
        ran(number, row_count=5000)
    ran(6, row_count=3150)
    found = CliRunner().invoke(otel, ["compare"])
    assert "d1: rows -37%, 3,150 instead of 5,000" in found.stdout
    assert json.loads(CliRunner().invoke(otel, ["compare", "--json"]).stdout)["data"]
    assert r"rows \-37%" in CliRunner().invoke(otel, ["compare", "--markdown"]).stdout
    named = CliRunner().invoke(otel, ["compare", "-3", "-1"])
    assert "d1: rows -37%, 3,150 instead of 5,000" in named.stdout


def grown(chance: random.Random, runs: int) -> list[int]:
    """Return the rows of a dataset that is constant or grows, and varies a little."""
    first, growth = 10 ** chance.uniform(2, 7), chance.choice((0, 0, 0.001, 0.005, 0.01, 0.02))
    spread = chance.choice((0, 0, 0.001, 0.002, 0.003, 0.005))
    return [
        max(round(first * (1 + growth) ** run * chance.lognormvariate(0, spread)), 1)
        for run in range(runs)
    ]


def told(rows: list[int]) -> bool:
    """Return whether the last of these rows is told to have left the history of the others."""
    history = [{"d": Data(rows=count)} for count in reversed(rows[:-1])]
    return bool(departures({"d": Data(rows=rows[-1])}, history))


def test_losses_are_found_and_growth_is_not(
    full: bool,
) -> None:
    """Of losses of 5 % and more at least 99 % are told at that run; of equal runs with ordinary growth at most one in a thousand."""
    chance = random.Random(18)
    cases = 20_000 if full else 1000
    false = found = 0
    for _ in range(cases):
        rows = grown(chance, chance.choice((6, 7, 9, 16)))
        false += told(rows)
        found += told([*rows[:-1], round(rows[-1] * (1 - chance.uniform(0.05, 0.6)))])
    assert false <= cases / 1000
    assert found >= cases * 0.99


def test_what_was_before_is_explained() -> None:
    """A weekend that was before, and a loss that was told at the run before, are not told again; all rows gone is."""
    week = [100, 101, 99, 100, 100, 40, 41, 100, 100, 101, 99, 100, 41]
    assert not told(week)
    assert told([*week[:-1], 0])
    level = [5000, 5001, 5002, 5001, 5003, 5004]
    assert told([*level, 4000])
    assert not told([*level, 4000, 4001])
    assert not told([12, 12, 12, 12, 12, 13])


def test_memory_that_was_never_so_high_is_told(home: Path) -> None:
    """`compare` names a node whose peak is above all earlier ones, by how much, and none that is as before."""
    for number in range(7):
        more = 2048 << 20 if number == 6 else 0
        peak = {"kedro_node_memory_peak": (1024 << 20) + more + number * (1 << 20)}
        a_run(
            home / "recordings",
            [("train", 0.01, 0.02, 0.01), ("tell", 0.01, 0.02, 0.01)],
            at=BEGAN + number * 60 * SECOND,
            trace=f"{number + 1:032x}",
            attrs={"train": peak, "tell": {"kedro_node_memory_peak": 1024 << 20}},
        )
    told = CliRunner().invoke(otel, ["compare"]).stdout
    assert "train: peak +2.0 GiB, 3.0 GiB instead of 1.0 GiB" in told
    assert "tell: peak" not in told
