"""A comparison for its readers: a screen, a program, a pull request, one line of a CI log."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from rich.cells import cell_len
from rich.text import Text

from kedro_otel.semconv import names
from kedro_otel.viewing.model import outcome
from kedro_otel.viewing.model.comparison import ADDED, FASTER, REMOVED, SAME, SLOWER
from kedro_otel.viewing.terminal import data_text
from kedro_otel.viewing.terminal.console import fit, join, wrap
from kedro_otel.viewing.text import clean, count, duration, moment, timestamp

if TYPE_CHECKING:
    from kedro_otel.viewing.model.comparison import Change, Comparison, Profile
    from kedro_otel.viewing.terminal.bars import Glyphs

_STYLES: Final = {
    SLOWER: "bold red",
    FASTER: "bold green",
    ADDED: "cyan",
    REMOVED: "yellow",
    SAME: "bright_black",
}
_ROWS: Final = 25
_BESIDE: Final = 52
"""What a line has beside the name."""
_BESIDE_NARROW: Final = 21
"""The same on a screen that has no room for that."""
_IN_MARKDOWN: Final = 30
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>()#+!|~@&-])")


def screen_lines(
    found: Comparison, width: int, glyphs: Glyphs, now_ns: int, *, every: bool = False
) -> list[Text]:
    """Return the lines for a screen: the run, then what changed, then (if they are few, or ``every``) the nodes that did not."""
    after = found.after.trace.root.operation
    lines = wrap(
        [
            Text(clean(outcome.title(after)), "bold"),
            Text(moment(after.start_ns, now_ns), "bright_black"),
            *(Text(f"pipeline {name}", "bright_black") for name in _apart(found)[:1]),
            Text(f"against {against(found, now_ns)}", "bright_black"),
        ],
        width,
        f" {glyphs.dot} ",
    )
    nodes = _shown(found.nodes, every=every)
    datasets = [one for one in found.datasets if every or one.verdict != SAME]
    longest = max(13, *(cell_len(clean(one.name)) for one in (*nodes, *datasets)))
    name = min(longest, max(width - (_BESIDE if width >= 13 + _BESIDE else _BESIDE_NARROW), 13))
    lines += [Text(""), _row(found.run._replace(name="the whole run"), name, width)]
    for title, changes in (("nodes", nodes), ("datasets, loads and saves together", datasets)):
        if changes:
            lines += [Text(""), Text(title, "bold"), *(_row(one, name, width) for one in changes)]
    if found.data:
        lines += [Text(""), Text("data and memory", "bold")]
        lines += [Text(fit(f"  {data_text.line(one)}", width), "yellow") for one in found.data]
    hidden = len(found.nodes) - len(nodes)
    lines.append(Text(""))
    if not changed(found):
        lines.append(Text(no_change_text(found), "green"))
    if hidden:
        lines.append(Text(f"{count(hidden, 'node')} as before: --all shows them", "bright_black"))
    return lines + _paths(found, width, glyphs)


def against(found: Comparison, now_ns: int) -> str:
    """Return what the run is compared with, in words."""
    if found.named:
        root = found.typical.trace.root.operation
        return f"{clean(outcome.title(root))} of {moment(root.start_ns, now_ns)}" + "".join(
            f", pipeline {name}" for name in _apart(found)[1:]
        )
    pipeline = _pipeline(found.after)
    of = f" of {pipeline}" if pipeline else ""
    return (
        f"the median of {count(found.history, 'earlier run')}{of}"
        if found.history > 1
        else f"the one earlier run{of}"
    )


def _apart(found: Comparison) -> tuple[str, ...]:
    """Return the pipelines that ran, now and then, where they are not the same."""
    pipelines = _pipeline(found.after), _pipeline(found.typical)
    return pipelines if pipelines[0] != pipelines[1] else ()


def _pipeline(one: Profile) -> str:
    run = one.trace.run
    return clean(run.operation.attributes.get(names.PIPELINE_NAME, ""), 80) if run else ""


def changed(found: Comparison) -> list[Change]:
    """Return what changed: nodes first, then datasets."""
    return [one for one in (*found.nodes, *found.datasets) if one.verdict != SAME]


def no_change_text(found: Comparison) -> str:
    """Return the sentence for nothing of note."""
    if found.run.verdict != SAME:
        return "no single node or dataset accounts for it: none differs by more than earlier runs differ among themselves"
    return "as before: no node and no dataset differs by more than earlier runs differ among themselves"


def line(found: Comparison, allowed: float, now_ns: int, *, slower: bool) -> str:
    """Return one line for a CI log: how much slower the run was, and which nodes most of it is in."""
    run = found.run
    change = f"{_percent(run)} {'slower' if run.difference_ns >= 0 else 'faster'}".lstrip("+-")
    sentence = f"{'SLOWER' if slower else 'ok'}: the run took {duration(run.after_ns)}, {change} than {against(found, now_ns)} ({duration(run.before_ns)})"
    culprits = [one for one in found.nodes if one.verdict in (SLOWER, ADDED)][:3]
    sentence += f"; allowed {allowed:.0%}"
    if not slower and run.relative is not None and run.relative > allowed:
        sentence += "; earlier runs differ as much among themselves"
    return sentence + (
        f"; most of it in {', '.join(f'{clean(one.name, 80)} {_difference(one)}' for one in culprits)}"
        if culprits
        else ""
    )


def plain(found: Comparison) -> dict[str, Any]:
    """Return a dictionary ready for JSON: durations in seconds, every node and dataset."""
    return {
        "after": _told(found.after),
        "before": {
            **_told(found.typical),
            "of": "run" if found.named else "median",
            "runs": 1 if found.named else found.history,
        },
        "history": found.history,
        "run": _change(found.run),
        "nodes": [_change(one) for one in found.nodes],
        "datasets": [_change(one) for one in found.datasets],
        "data": [data_text.plain(one) for one in found.data],
    }


def markdown(found: Comparison, now_ns: int) -> str:
    """Return a comment for a pull request: the verdict, what changed, and the rest folded away."""
    run = found.run
    sign = {SLOWER: "🔴", FASTER: "🟢"}.get(run.verdict, "⚪")
    head = f"**{sign} `kedro run`: {duration(run.after_ns)}, {_difference(run)}** against {_escaped(against(found, now_ns))} ({duration(run.before_ns)})"
    telling = changed(found)
    parts = [head, ""]
    parts += _markdown_table(telling[:_IN_MARKDOWN]) if telling else [f"_{no_change_text(found)}_"]
    if len(telling) > _IN_MARKDOWN:
        parts.append(f"\nand {len(telling) - _IN_MARKDOWN:,} more")
    parts += [f"\n⚠️ {_escaped(data_text.line(one))}" for one in found.data[:_IN_MARKDOWN]]
    if found.after.path:
        parts += [
            "",
            f"Critical path {duration(found.after.path_ns)} (was {duration(found.typical.path_ns)}): {_markdown_path(found.after.path)}",
        ]
        if found.after.path != found.typical.path:
            parts.append(f"It was: {_markdown_path(found.typical.path)}")
    rest = [one for one in found.nodes if one.verdict == SAME]
    if rest:
        parts += [
            "",
            f"<details><summary>{count(len(rest), 'node')} as before</summary>",
            "",
            *_markdown_table(rest[:200]),
            "",
            "</details>",
        ]
    return "\n".join(parts)


def _shown(nodes: list[Change], *, every: bool) -> list[Change]:
    return nodes if every or len(nodes) <= _ROWS else [one for one in nodes if one.verdict != SAME]


def _row(one: Change, name: int, width: int) -> Text:
    """Return a change as a line: from what to what, by how much, and what that is called; where there is no room, the last two are left."""
    style = _STYLES[one.verdict]
    quiet = "bright_black" if one.verdict == SAME else ""
    before = "" if one.verdict == ADDED else duration(one.before_ns)
    after = "" if one.verdict == REMOVED else duration(one.after_ns)
    word = one.verdict if one.verdict != SAME else ""
    relative = "" if one.verdict in (ADDED, REMOVED) else _percent(one)
    head = [("  ", ""), (fit(clean(one.name), name), quiet if one.verdict == SAME else style)]
    if width < 13 + _BESIDE:
        return join([*head, (f" {_signed(one.difference_ns):>9} {word or relative:>8}", style)])
    cells = [
        *head,
        (f" {before:>9} {'→' if before and after else ' '} {after:<9}", quiet),
        (f" {_signed(one.difference_ns):>9} {relative:>8}", style),
        (f"  {word}", style),
    ]
    return join(cells)


def _paths(found: Comparison, width: int, glyphs: Glyphs) -> list[Text]:
    after, before = found.after, found.typical
    if not after.path:
        return []
    lines = [Text(f"critical path {duration(after.path_ns)}, was {duration(before.path_ns)}")]
    lines += _chain("  now ", after.path, set(before.path), width, glyphs)
    if after.path != before.path:
        lines += _chain("  was ", before.path, set(after.path), width, glyphs)
    return lines


def _chain(
    label: str, path: tuple[str, ...], other: set[str], width: int, glyphs: Glyphs
) -> list[Text]:
    most = 30
    shown = [Text(clean(name, 60), "" if name in other else "bold yellow") for name in path[:most]]
    if len(path) > most:
        shown.append(Text(f"{glyphs.ellipsis} {len(path) - most:,} more", "bright_black"))
    lines = wrap(shown, width - len(label), f" {glyphs.after} ")
    return [
        join([(label if not index else " " * len(label), "bright_black")]) + one
        for index, one in enumerate(lines)
    ]


def _signed(nanoseconds: int) -> str:
    return f"{'+' if nanoseconds >= 0 else '-'}{duration(abs(nanoseconds))}"


def _percent(one: Change) -> str:
    return "" if one.relative is None else f"{one.relative:+.0%}"


def _difference(one: Change) -> str:
    if one.verdict in (ADDED, REMOVED):
        return f"{one.verdict} ({duration(max(one.after_ns, one.before_ns))})"
    return f"{_signed(one.difference_ns)} ({_percent(one)})"


def _told(one: Profile) -> dict[str, Any]:
    run = (one.trace.run or one.trace.root).operation
    return {
        "trace_id": one.trace.trace_id,
        "run_id": run.attributes.get(names.RUN_ID),
        "start": timestamp(run.start_ns),
        "outcome": outcome.of(one.trace),
        "duration_seconds": one.took_ns / 1e9,
        "critical_path": {"duration_seconds": one.path_ns / 1e9, "nodes": list(one.path)},
    }


def _change(one: Change) -> dict[str, Any]:
    return {
        "name": one.name,
        "verdict": one.verdict,
        "before_seconds": None if one.verdict == ADDED else one.before_ns / 1e9,
        "after_seconds": None if one.verdict == REMOVED else one.after_ns / 1e9,
        "difference_seconds": one.difference_ns / 1e9,
        "relative": one.relative,
        "limit_seconds": one.limit_ns / 1e9,
    }


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", clean(text, 120))


def _markdown_path(path: tuple[str, ...]) -> str:
    shown = [_escaped(name) for name in path[:20]]
    return " → ".join(shown + ([f"… {len(path) - 20:,} more"] if len(path) > 20 else []))


def _markdown_table(changes: list[Change]) -> list[str]:
    rows = ["| | before | after | difference | |", "| --- | ---: | ---: | ---: | --- |"]
    for one in changes:
        before = "" if one.verdict == ADDED else duration(one.before_ns)
        after = "" if one.verdict == REMOVED else duration(one.after_ns)
        difference = "" if one.verdict in (ADDED, REMOVED) else _difference(one)
        kind = "" if one.kind == "node" else "dataset "
        word = "" if one.verdict == SAME else one.verdict
        rows.append(f"| {kind}{_escaped(one.name)} | {before} | {after} | {difference} | {word} |")
    return rows
