"""What a node adds to a run: CPU, memory, bytes and lines, at 100, 1,000 and 10,000 no-op nodes."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.environments import ENVIRONMENTS, ROOT, build

WORKER = ROOT / "benchmarks" / "noop.py"


def measure(folder: Path, sizes: Sequence[tuple[int, int, int]], names: Sequence[str] = ("bare", "ours", "plain")) -> list[dict[str, Any]]:
    """Return one row per process: for each (nodes, runs in a process, processes) of ``sizes`` and each environment of ``names``, in turn."""
    rows = []
    for nodes, runs, processes in sizes:
        print(f"{nodes} no-op nodes, {runs} runs in each of {processes} processes")
        mine: list[dict[str, Any]] = []
        for number in range(processes):
            turn = names if number % 2 == 0 else list(reversed(names))
            mine += [one(folder / f"{name}-{nodes}-{number}", name, nodes, runs) for name in turn]
        for name in names:
            print(f"  {name:6} {1e6 * cpu_per_node(mine, name, nodes):8.1f} µs a node, peak {memory(mine, name, nodes):.1f} MiB")
        rows += mine
    return rows


def one(folder: Path, name: str, nodes: int, runs: int) -> dict[str, Any]:
    """Run the no-op pipeline in a process of the named environment; the recording's size goes with what it printed."""
    found = build(ENVIRONMENTS[name])
    assert found is not None
    folder.mkdir(parents=True)
    # The plain hook gets an exporter that refuses at once: its spans are made and dropped, nothing is sent.
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "KEDRO_OTEL_EPHEMERAL": "false", "OTEL_EXPORTER_OTLP_TIMEOUT": "0.001"}
    if name == "ours":
        del environment["OTEL_EXPORTER_OTLP_TIMEOUT"]
    words = [str(found / "python"), "-W", "ignore", str(WORKER), str(folder / "project"), str(nodes), str(runs)]
    done = subprocess.run(words, env=environment, cwd=folder, check=True, capture_output=True, text=True)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    recorded = [path.read_bytes() for path in folder.rglob("recordings/*.jsonl")]
    row |= {"name": name, "runs": runs, "bytes": sum(map(len, recorded)), "lines": sum(data.count(b"\n") for data in recorded)}
    shutil.rmtree(folder)
    return row


def cpu_per_node(rows: Sequence[dict[str, Any]], name: str, nodes: int) -> float:
    """Return seconds of CPU a node: of every run but each process's first, which loads modules, the median of the processes' best quarter.

    Interference only ever adds, so the quick runs are the undisturbed ones; the same is done to every contestant.
    """
    quick = []
    for row in rows:
        if row["name"] == name and row["nodes"] == nodes:
            later = sorted(row["cpu"][1:] or row["cpu"])
            quick.append(statistics.median(later[: max(len(later) // 4, 1)]))
    return statistics.median(quick) / nodes


def memory(rows: Sequence[dict[str, Any]], name: str, nodes: int) -> float:
    """Return the peak memory in MiB, the median over the processes."""
    return statistics.median(row["memory_mib"] for row in rows if row["name"] == name and row["nodes"] == nodes)
