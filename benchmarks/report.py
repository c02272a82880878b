"""docs/performance.md and its picture, from the raw results that are kept: nothing in them is typed by hand."""

from __future__ import annotations

import json
import platform
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.commands import costs
from benchmarks.environments import ENVIRONMENTS, ROOT
from benchmarks.nodes import added, cpu_per_node, memory
from benchmarks.processes import Ratio, compare

RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "performance.svg"
COMMANDS = {"version": "kedro --version", "registry": "kedro registry list", "run": "kedro run"}
TITLES = {
    "ours": "**kedro-otel**, no endpoint",
    "ours off": "**kedro-otel**, switched off",
    "ours up": "**kedro-otel**, collector up",
    "ours refused": "**kedro-otel**, connection refused",
    "ours hung": "**kedro-otel**, collector accepts and never answers",
    "ours slow": "**kedro-otel**, collector answers after 2 s",
    "plain refused": "a hook on the SDK, connection refused",
    "instrument refused": "opentelemetry-instrument, connection refused",
}
BUDGETS = {
    "version": {
        "ours": 1.04,
        "ours off": 1.01,
        "ours up": 1.08,
        "ours refused": 1.08,
        "ours hung": 1.08,
        "ours slow": 1.08,
    },
    "registry": {
        "ours": 1.04,
        "ours off": 1.01,
        "ours up": 1.08,
        "ours refused": 1.08,
        "ours hung": 1.08,
        "ours slow": 1.08,
    },
    "run": {
        "ours": 1.02,
        "ours off": 1.01,
        "ours up": 1.03,
        "ours refused": 1.03,
        "ours hung": 1.03,
        "ours slow": 1.03,
    },
}
HEAD = """# Performance

<!-- Written by `make bench` from benchmarks/results. Do not edit: run it again. -->

What kedro-otel costs, beside Kedro without any telemetry plugin and beside what else one could install. Whole processes, in rounds: each
round runs every contestant once, each in an environment and a HOME of its own with the same Kedro, so that whatever the machine does
meanwhile falls on all alike. A figure is the median over the rounds of the ratio to Kedro alone in the same round; in brackets is where that
median lies with 95 % confidence, and ~ marks a budget between that interval's lower end and the median. An endpoint is a server on this
machine; shipping goes on in the background, as it does where the machine stays (in CI and containers a command waits for its shipping, five
seconds at most).
`make bench` measures anew and rewrites this page; the raw numbers are in `benchmarks/results`.
"""


def write() -> None:
    """Write the page from the results that there are."""
    kept = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(RESULTS.glob("*.json"))
    }
    commands = {name: kept[name] for name in COMMANDS if name in kept}
    parts = [HEAD]
    if commands:
        parts.append(
            "## Whole commands\n\n![Time of a command over Kedro alone](performance.svg)\n"
        )
        for name, one in commands.items():
            parts += [*_command(name, one["data"]), f"*{_where(one)}*\n"]
        _draw({name: one["data"] for name, one in commands.items()})
    for name, section in (("nodes", _nodes), ("shipper", _shipper), ("views", _views)):
        if name in kept:
            parts += [*section(kept[name]["data"]), f"*{_where(kept[name])}*\n"]
    parts += [_compared(next(iter(kept.values()))["versions"])] if kept else []
    PAGE.write_text("\n".join(parts), encoding="utf-8")
    print(f"wrote {PAGE}")


def _command(work: str, raw: Mapping[str, Any]) -> Iterator[str]:
    yield f"### `{COMMANDS[work]}`\n"
    yield f"{len(raw['bare']['mine'])} rounds. CPU counts the command's own and that of children it waits for.\n"
    rows = []
    for name in raw:
        if name == "bare again":
            continue
        mine, base = costs(raw[name]["mine"]), costs(raw[name]["base"])
        wall, cpu = compare(mine, base, "wall"), compare(mine, base, "cpu")
        budget = BUDGETS[work].get(name)
        met = "" if budget is None else f"≤ {budget:.2f} {_met(wall, budget)}"
        first = f"{statistics.median(cost.wall for cost in mine):.3f} s"
        rows.append(
            (
                _title(name),
                first,
                f"{wall.median:.3f} ({wall.low:.3f}–{wall.high:.3f})",
                f"{cpu.median:.3f}",
                met,
            )
        )
    yield _table(("", "median", "wall, × Kedro alone", "CPU, × Kedro alone", "budget"), rows)


def _met(found: Ratio, budget: float) -> str:
    """Return whether a budget was met, ``~`` where the median is above it and the interval is not."""
    return "✓" if found.median <= budget else "~" if found.low <= budget else "✗"


def _nodes(data: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    rows_of = list(data)
    names = list(dict.fromkeys(row["name"] for row in rows_of))
    yield "## A node\n"
    yield "Nodes that do nothing, with one input and one output in memory – three operations –, logging off. CPU: it is nothing else.\n"
    rows = []
    for nodes in sorted({row["nodes"] for row in rows_of}):
        rounds = len(cpu_per_node(rows_of, "bare", nodes))
        for name in names:
            if not any(row["name"] == name and row["nodes"] == nodes for row in rows_of):
                continue
            mine, more = (
                statistics.median(cpu_per_node(rows_of, name, nodes)),
                added(rows_of, name, nodes),
            )
            between = f" ({1e6 * more.low:.0f}–{1e6 * more.high:.0f})" if rounds > 1 else ""
            says = "" if name == "bare" else f"{1e6 * more.median:,.0f} µs{between}"
            budget = f"≤ 60 µs {_met(more, 60e-6)}" if name == "ours" and nodes == 100 else ""
            peak = (
                ""
                if name == "bare"
                else f"{memory(rows_of, name, nodes) - memory(rows_of, 'bare', nodes):+.1f} MiB"
            )
            peak += (
                " (≤ 20 ✓)"
                if name == "ours" and nodes == 10_000 and float(peak.split(maxsplit=1)[0]) <= 20
                else ""
            )
            rows.append(
                (
                    f"{nodes:,}",
                    str(rounds),
                    _title(name),
                    f"{1e6 * mine:,.0f} µs",
                    says,
                    budget,
                    peak,
                )
            )
    yield _table(("nodes", "rounds", "", "a node", "added", "budget", "peak memory, added"), rows)
    yield "What is added is the median over the rounds, which at 10,000 nodes is one, and no more than a hint.\n"
    ours = [row for row in rows_of if row["name"] == "ours"]
    done = sum(row["nodes"] * row["runs"] for row in ours)
    yield f"The recording takes {sum(row['bytes'] for row in ours) / done:.0f} bytes and {sum(row['lines'] for row in ours) / done:.1f} lines a node."
    yield "The budget is 2,048 bytes.\n"


def _shipper(data: Mapping[str, Any]) -> Iterator[str]:
    bulk, idle = data["bulk"], data["idle"]
    yield "## Shipping\n"
    yield _table(
        ("", "", "budget"),
        [
            (
                f"{bulk['spans']:,} spans from disk to the real collector",
                f"{bulk['wall']:.0f} s",
                "≤ 60 s",
            ),
            ("its peak memory", f"{bulk['memory']:.0f} MiB", "≤ 150 MiB"),
            (
                "CPU of the process that one `kedro --version` leaves behind",
                f"{statistics.median(one['cpu'] for one in idle):.2f} s",
                "≤ 0.5 s",
            ),
        ],
    )


def _views(data: Mapping[str, Any]) -> Iterator[str]:
    start = statistics.median(cost.wall for cost in costs(data["start"]))
    budgets = {"list 2000": 0.3, "show 10000": 1.0}
    yield "## Looking\n"
    yield f"Beyond the {start:.2f} s that `kedro --version` takes by itself.\n"
    rows = []
    for name, raw in data.items():
        if name != "start":
            more = statistics.median(cost.wall for cost in costs(raw)) - start
            verb, number = name.split()
            what = f"`kedro otel {verb}`, {int(number):,} {'recordings' if verb == 'list' else 'nodes'}"
            budget = (
                f"≤ {budgets[name]:.1f} s {'✓' if more <= budgets[name] else '✗'}"
                if name in budgets
                else ""
            )
            rows.append((what, f"{more:.2f} s", budget))
    yield _table(("", "more", "budget"), rows)


def _draw(data: Mapping[str, Any]) -> None:
    """Draw the commands' times over Kedro alone, as an SVG that is the same for the same numbers."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "kedro-otel"
    mpl.rcParams["svg.fonttype"] = "none"
    figure = Figure(figsize=(9, 2.6 * len(data)), layout="tight")
    for axes, (work, raw) in zip(
        figure.subplots(len(data), 1, squeeze=False)[:, 0], data.items(), strict=True
    ):
        names = [name for name in reversed(raw) if not name.startswith("bare")]
        ratios = [
            compare(costs(raw[name]["mine"]), costs(raw[name]["base"]), "wall") for name in names
        ]
        shown = [min(ratio.median, 3.0) for ratio in ratios]
        axes.barh(
            [_title(name).replace("*", "") for name in names],
            [one - 1 for one in shown],
            left=1,
            color=["#00897b" if n.startswith("ours") else "#b0bec5" for n in names],
        )
        for index, ratio in enumerate(ratios):
            axes.text(shown[index] + 0.01, index, f"×{ratio.median:.2f}", va="center", fontsize=8)
        axes.set_title(f"{COMMANDS[work]}: × Kedro alone", fontsize=10, loc="left")
        axes.set_xlim(0.95, 3.2)
        axes.axvline(1, color="#555", linewidth=0.8)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(PICTURE, metadata={"Date": None})


def _title(name: str) -> str:
    return TITLES.get(name) or ENVIRONMENTS[name].title


def _where(kept: Mapping[str, Any]) -> str:
    machine = kept["machine"]
    busy = (
        f" The machine had other work too (load {machine['load']}), so times spread."
        if machine["load"] > 2
        else ""
    )
    note = f" {kept['note']}" if "note" in kept else ""
    return (
        f"Measured on {kept['date']}: {machine['processor']}, {machine['cores']} cores, {machine['system']}, "
        f"Python {machine['python']}.{busy}{note}"
    )


def _compared(versions: Mapping[str, Mapping[str, str]]) -> str:
    told = (
        "kedro",
        "kedro-otel",
        "kedro-telemetry",
        "opentelemetry-sdk",
        "opentelemetry-instrumentation-click",
        "kedro-psutil-telemetry",
    )
    told += ("kedro-profile", "kedro-mlflow", "mlflow")
    rows = [
        (ENVIRONMENTS[name].title, ", ".join(f"{key} {found[key]}" for key in told if key in found))
        for name, found in versions.items()
    ]
    missing = [
        environment.title for name, environment in ENVIRONMENTS.items() if name not in versions
    ]
    note = f"Could not be installed beside this Kedro: {', '.join(missing)}.\n" if missing else ""
    return f"## What was compared\n\n{_table(('', 'versions'), rows)}{note}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def processor() -> str:
    """Return the processor's name, where the machine tells it."""
    path = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", path.read_text()) if path.exists() else None
    return found[1] if found else platform.processor() or platform.machine()
