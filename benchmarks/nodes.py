"""What a node adds to a run: CPU, memory, bytes and lines, at 100, 1,000 and 10,000 no-op nodes."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.environments import ENVIRONMENTS, ROOT, build
from benchmarks.processes import Ratio, middle

WORKER = ROOT / "benchmarks" / "noop.py"


def measure(
    folder: Path,
    sizes: Sequence[tuple[int, int, int]],
    names: Sequence[str] = ("bare", "ours", "plain"),
) -> list[dict[str, Any]]:
    """Return one row per process: for each (nodes, runs in a process, processes) of ``sizes`` and each environment of ``names``, in turn."""
    rows = []
    for nodes, runs, processes in sizes:
        print(f"{nodes} no-op nodes, {runs} runs in each of {processes} processes")
        mine: list[dict[str, Any]] = []
        for number in range(processes):
            turn = names if number % 2 == 0 else list(reversed(names))
            mine += [one(folder / f"{name}-{nodes}-{number}", name, nodes, runs) for name in turn]
        for name in names:
            each, more = (
                statistics.median(cpu_per_node(mine, name, nodes)),
                added(mine, name, nodes),
            )
            print(
                f"  {name:6} {1e6 * each:8.1f} µs a node, {1e6 * more.median:+.1f} ({1e6 * more.low:.1f} to {1e6 * more.high:.1f})",
                end="",
            )
            print(f", peak {memory(mine, name, nodes):.1f} MiB")
        rows += mine
    return rows


def one(folder: Path, name: str, nodes: int, runs: int) -> dict[str, Any]:
    """Run the no-op pipeline in a process of the named environment; the recording's size goes with what it printed."""
    found = build(ENVIRONMENTS[name])
    assert found is not None
    folder.mkdir(parents=True)
    # The plain hook gets an exporter that refuses at once: its spans are made and dropped, nothing is sent.
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "KEDRO_OTEL_EPHEMERAL": "false",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "0.001",
    }
    if name == "ours":
        del environment["OTEL_EXPORTER_OTLP_TIMEOUT"]
    words = [
        str(found / "python"),
        "-W",
        "ignore",
        str(WORKER),
        str(folder / "project"),
        str(nodes),
        str(runs),
    ]
    done = subprocess.run(
        words, env=environment, cwd=folder, check=True, capture_output=True, text=True
    )
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    recorded = [path.read_bytes() for path in folder.rglob("recordings/*.jsonl")]
    row |= {
        "name": name,
        "runs": runs,
        "bytes": sum(map(len, recorded)),
        "lines": sum(data.count(b"\n") for data in recorded),
    }
    shutil.rmtree(folder)
    return row


def cpu_per_node(rows: Sequence[Mapping[str, Any]], name: str, nodes: int) -> list[float]:
    """Return seconds of CPU a node, one figure a process: the median of its best quarter of runs, the first aside, which loads modules.

    Interference only ever adds, so the quick runs are the undisturbed ones; the same is done to every contestant. Many processes are needed:
    where Python happens to put things in memory costs one process several microseconds a node more than the next.
    """
    quick = []
    for row in rows:
        if row["name"] == name and row["nodes"] == nodes:
            later = sorted(row["cpu"][1:] or row["cpu"])
            quick.append(statistics.median(later[: max(len(later) // 4, 1)]) / nodes)
    return quick


def added(rows: Sequence[Mapping[str, Any]], name: str, nodes: int) -> Ratio:
    """Return what the environment ``name`` adds to a node, in seconds of CPU: of each round its process less that of Kedro alone."""
    pairs = zip(cpu_per_node(rows, name, nodes), cpu_per_node(rows, "bare", nodes), strict=True)
    return middle([mine - bare for mine, bare in pairs])


def memory(rows: Sequence[Mapping[str, Any]], name: str, nodes: int) -> float:
    """Return the peak memory in MiB, the median over the processes."""
    return statistics.median(
        row["memory_mib"] for row in rows if row["name"] == name and row["nodes"] == nodes
    )
