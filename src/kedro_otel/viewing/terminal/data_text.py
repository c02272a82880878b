"""What left its history, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kedro_otel.viewing.model.data_history import PEAK, SCHEMA, SIZE
from kedro_otel.viewing.text import bytes_of, clean

if TYPE_CHECKING:
    from kedro_otel.viewing.model.data_history import Departure


def line(one: Departure) -> str:
    """Return one departure as a line: ``companies: rows -37%, 4,536 instead of 7,200``."""
    return f"{clean(one.dataset, 80)}: {change(one)}"


def change(one: Departure) -> str:
    """Return the same without the dataset's name."""
    if one.what == SCHEMA:
        return "schema changed: names, order or types of its columns"
    if one.what == PEAK:
        sign = "+" if one.found > one.usual else "-"
        return (
            f"peak {sign}{bytes_of(abs(one.found - one.usual))}, {bytes_of(one.found)} "
            f"instead of {bytes_of(one.usual)}"
        )
    share = "" if one.relative is None else f" {one.relative:+.0%}"
    return (
        f"{one.what}{share}, {_shown(one.what, one.found)} instead of {_shown(one.what, one.usual)}"
    )


def plain(one: Departure) -> dict[str, Any]:
    """Return it ready for JSON."""
    return {
        "dataset": one.dataset,
        "what": one.what,
        "usual": one.usual,
        "found": one.found,
        "relative": one.relative,
        "runs": one.runs,
    }


def _shown(what: str, value: int) -> str:
    return bytes_of(value) if what == SIZE else f"{value:,}"
