"""What looking takes: ``kedro otel list`` with many recordings, ``show`` of a large run, beyond Kedro's own start."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.environments import ENVIRONMENTS, build
from benchmarks.nodes import WORKER
from benchmarks.processes import Contestant, once, rounds

RECORDINGS = (10, 100, 1000, 2000)


def measure(folder: Path, count: int, sizes: Sequence[int] = (100, 1000, 10_000)) -> dict[str, Any]:
    """Return the raw costs of ``list`` by number of recordings and of ``show`` by number of nodes, beside ``kedro --version``."""
    folder.mkdir(parents=True)
    found = build(ENVIRONMENTS["ours"])
    assert found is not None
    base = {
        "PATH": os.environ["PATH"],
        "KEDRO_OTEL_EPHEMERAL": "false",
        "COLUMNS": "120",
        "LANG": "C.UTF-8",
    }
    words = [str(found / "kedro"), "otel"]
    contestants = [
        Contestant(
            f"list {number}",
            [*words, "list"],
            base | {"HOME": str(folder / f"list-{number}")},
            folder,
        )
        for number in RECORDINGS
    ]
    template = folder / "template"
    template.mkdir()
    print("making recordings")
    once(_run(found, template, 3, base))
    (segment,) = template.rglob("recordings/*.jsonl")
    for number in RECORDINGS:
        _copies(segment, folder / f"list-{number}", number)
    for nodes in sizes:
        home = folder / f"show-{nodes}"
        home.mkdir()
        once(_run(found, home, nodes, base), timeout=3600)
        contestants.append(
            Contestant(f"show {nodes}", [*words, "show"], base | {"HOME": str(home)}, folder)
        )
    start = Contestant(
        "start",
        [str(found / "kedro"), "--version"],
        base | {"HOME": str(folder), "KEDRO_OTEL_ENABLED": "false"},
        folder,
    )
    print(f"looking, {count} rounds")
    return {
        name: [cost._asdict() for cost in costs]
        for name, costs in rounds([start, *contestants], count).items()
    }


def _run(found: Path, home: Path, nodes: int, base: dict[str, str]) -> Contestant:
    words = [
        str(found / "python"),
        "-W",
        "ignore",
        str(WORKER),
        str(home / "project"),
        str(nodes),
        "1",
    ]
    return Contestant(f"run {nodes}", words, base | {"HOME": str(home)}, home)


def _copies(segment: Path, home: Path, number: int) -> None:
    """Put ``number`` copies of a segment under ``home``, each a minute older than the one before, with ids and a name of its own."""
    recordings = home / segment.parent.relative_to(segment.parents[4])
    recordings.mkdir(parents=True, mode=0o700)
    _, pid, _ = segment.stem.split("-")
    text = segment.read_text(encoding="utf-8").replace(segment.stem, "{name}")
    trace = text.split('"traceId":"', 1)[1][:32]
    pieces = re.split(r'(?<=TimeUnixNano":")(\d+)', text.replace(trace, "{trace}"))
    began = int(segment.stem.split("-")[0])
    for index in range(number):
        earlier = 60 * 10**9 * index
        name = f"{began - earlier:020d}-{pid}-{index:08x}"
        moved = "".join(
            str(int(piece) - earlier) if odd % 2 else piece for odd, piece in enumerate(pieces)
        )
        (recordings / f"{name}.jsonl").write_text(
            moved.replace("{name}", name).replace("{trace}", f"{index + 1:032x}"), encoding="utf-8"
        )
