"""``python -m benchmarks [--quick] [WORK …]``: measure (all works, or those named), then write docs/performance.md from all results kept."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import commands, nodes, report, shipper, views
from benchmarks.environments import ENVIRONMENTS, build, folder, versions


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description="What kedro-otel costs, beside its alternatives.")
    parser.add_argument(
        "works",
        nargs="*",
        metavar="WORK",
        help="version, registry, run, nodes, shipper, views; all if none is named; `report` measures nothing",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a few rounds: to see that everything works, not for the record",
    )
    options = parser.parse_args()
    count = 12 if options.quick else 40
    works: dict[str, Callable[[Path], Any]] = {
        "version": lambda where: commands.measure("version", where, count),
        "registry": lambda where: commands.measure("registry", where, count // 2),
        "run": lambda where: commands.measure("run", where, max(count // 4, 3)),
        "nodes": lambda where: nodes.measure(
            where,
            [(100, 20, 5), (1000, 4, 2)]
            if options.quick
            else [(100, 25, 25), (1000, 4, 7), (10_000, 1, 1)],
        ),
        "shipper": shipper.measure,
        "views": lambda where: views.measure(
            where, count // 3, (100, 1000) if options.quick else (100, 1000, 10_000)
        ),
    }
    unknown = set(options.works) - set(works) - {"report"}
    if unknown:
        parser.error(
            f"no work is called {', '.join(sorted(unknown))}; there are {', '.join(works)}"
        )
    installed = {
        name: versions(environment)
        for name, environment in ENVIRONMENTS.items()
        if build(environment) is not None and folder(environment)
    }
    for name in options.works or works:
        if name in works:
            where = Path(tempfile.mkdtemp(prefix="kedro-otel-bench-"))
            try:
                keep(name, works[name](where / name), installed)
            finally:
                shutil.rmtree(where, ignore_errors=True)
    report.write()


def keep(name: str, data: Any, installed: dict[str, dict[str, str]]) -> None:
    """Write a work's raw results, with the machine, the versions and the date."""
    report.RESULTS.mkdir(exist_ok=True)
    machine = {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "processor": report.processor(),
    }
    machine["load"] = round(os.getloadavg()[0], 1)
    kept = {
        "date": dt.datetime.now(tz=dt.timezone.utc).date().isoformat(),
        "machine": machine,
        "versions": installed,
        "data": data,
    }
    (report.RESULTS / f"{name}.json").write_text(
        json.dumps(kept, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
