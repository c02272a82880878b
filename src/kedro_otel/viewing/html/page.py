"""The page itself: the words as HTML, the columns as inert data, and a policy that lets nothing but our own script and style run."""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, Final

from kedro_otel.semconv import names
from kedro_otel.viewing.html import summary_text
from kedro_otel.viewing.html.columns import columns
from kedro_otel.viewing.html.logs import groups
from kedro_otel.viewing.model import outcome
from kedro_otel.viewing.model.summary import of_trace
from kedro_otel.viewing.model.trace import pages
from kedro_otel.viewing.text import clean, duration

if TYPE_CHECKING:
    from kedro_otel.viewing.model.trace import Trace

LARGEST: Final = 4_500_000
"""Bytes of data beyond which single loads, saves and the user's spans are left out, then long names are cut."""

_HERE: Final = Path(__file__).parent
_STYLES: Final = ("page.css", "log.css")
_SCRIPTS: Final = ("data.js", "waterfall.js", "graph.js", "table.js", "log.js", "page.js")
_UNSAFE: Final = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}
_FEW: Final = 25
_ICONS: Final = {outcome.OK: "✓", outcome.RUNNING: "▶", outcome.UNCLEAR: "?"}


def page(trace: Trace, *, home: str = "") -> str:
    """Return a whole HTML document that shows a trace; ``home`` is the address of all runs, where a server shows it."""
    style = "\n".join((_HERE / name).read_text(encoding="utf-8") for name in _STYLES).strip()
    script = (
        "(() => {\n'use strict';\n"
        + "\n".join((_HERE / name).read_text(encoding="utf-8") for name in _SCRIPTS)
        + "})();"
    )
    what = clean(outcome.title(trace.root.operation))
    word = outcome.of(trace)
    return Template((_HERE / "page.html").read_text(encoding="utf-8")).substitute(
        policy=f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; base-uri 'none'; form-action 'none'",
        title=escape(_title(trace, f"{summary_text.LABELS[word]}: {what}")),
        style=style,
        home=f'<a class="home" href="{escape(home)}">All runs</a>' if home else "",
        script=script,
        data=inert(_fitting(trace)),
        logs=inert(_fitting_logs(trace)),
        outcome=escape(word),
        badge=f'<span aria-hidden="true">{_ICONS.get(word, "✕")}</span> {escape(summary_text.LABELS[word])}',
        what=escape(what),
        sentence=_lede(trace),
        failures=_failures(trace),
        figures=_figures(trace),
        shares=_shares(trace),
        facts="".join(
            f"<div><dt>{escape(label)}</dt><dd><bdi>{escape(value)}</bdi></dd></div>"
            for label, value in summary_text.facts(trace)
        )
        + "".join(
            f'<div><dt>{label}</dt><dd><a href="{escape(url)}" rel="noreferrer">{escape(url)}</a></dd></div>'
            for label, url in pages(trace)
        ),
        slowest=_slowest(trace),
    )


def _title(trace: Trace, what: str) -> str:
    """Return what a browser's tab says: the outcome and command, the pipeline, the project."""
    one = of_trace(trace)
    return " · ".join(filter(None, (what, clean(one.pipeline, 80), clean(one.project, 80))))


def inert(data: dict[str, Any]) -> str:
    """Return JSON that no HTML parser takes for anything but text."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for unsafe, safe in _UNSAFE.items():
        text = text.replace(unsafe, safe)
    return text


def _fitting(trace: Trace) -> dict[str, Any]:
    """Return the columns, fewer where a file would grow too large to send around."""
    data = columns(trace)
    for fewer in ({"details": False}, {"details": False, "longest": 60}):
        if len(inert(data).encode()) <= LARGEST:
            return data
        data = columns(trace, **fewer)
    return data


def _fitting_logs(trace: Trace) -> dict[str, Any]:
    """Return the log lines, of each node its first and last where they are too many."""
    data = groups(trace)
    for most in (1000, 200, 40, 8):
        if len(inert(data).encode()) <= LARGEST:
            break
        data = groups(trace, most)
    return data


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _lede(trace: Trace) -> str:
    run = trace.run.operation.attributes if trace.run else {}
    parts = [summary_text.when(trace.root.operation.start_ns)]
    parts += [f"pipeline {run[names.PIPELINE_NAME]}"] if run.get(names.PIPELINE_NAME) else []
    parts += (
        [str(trace.root.header.resource[names.PROJECT_NAME])]
        if trace.root.header.resource.get(names.PROJECT_NAME)
        else []
    )
    return " · ".join(f"<bdi>{escape(clean(part))}</bdi>" for part in parts)


def _failures(trace: Trace) -> str:
    found = summary_text.failures(trace)
    if not found:
        if outcome.of(trace) in (outcome.OK, outcome.RUNNING, outcome.UNCLEAR):
            return ""
        found = [summary_text.FailureText(clean(outcome.sentence(trace)), "", "", "")]
    every = len(outcome.failures(trace))
    more = f'<p class="more">and {every - len(found):,} more</p>' if every > len(found) else ""
    return f'<section class="failures" aria-label="What went wrong">{"".join(map(_failure, range(len(found)), found))}{more}</section>'


def _failure(index: int, one: summary_text.FailureText) -> str:
    typed = one.type if one.type != names.PROCESS_DIED else ""
    detail = " at ".join(
        f'<code class="{kind}"><bdi>{escape(text)}</bdi></code>'
        for kind, text in (("type", typed), ("where", one.where))
        if text
    )
    return "".join(
        (
            f"<article><h2><bdi>{escape(one.what)}</bdi></h2>",
            f"<p>{detail}</p>" if detail else "",
            f'<pre class="message"><bdi>{escape(one.message)}</bdi></pre>'
            if one.message and typed
            else "",
            f"<p>{escape(one.message)}</p>" if one.message and not typed else "",
            f"<details><summary>Stack trace</summary><pre>{escape(one.stack)}</pre></details>"
            if one.stack
            else "",
            f"<details><summary>Last log lines</summary><pre>{escape(one.log)}</pre></details>"
            if one.log
            else "",
            f'<button type="button" class="goto" data-failure="{index}" hidden>Show in the timeline</button></article>',
        )
    )


def _figures(trace: Trace) -> str:
    return "".join(
        f'<div class="figure"><dt>{escape(label)}</dt><dd><strong>{escape(figure)}</strong> <small><bdi>{escape(remark)}</bdi></small></dd></div>'
        for label, figure, remark in summary_text.figures(trace)
    )


def _shares(trace: Trace) -> str:
    """Return how all nodes' time divides into load, compute and save: an SVG, since the policy allows no style of an element's own."""
    found = [(kind, spent) for kind, spent in summary_text.shares(trace) if spent]
    total = sum(spent for _, spent in found)
    if not total:
        return ""
    bars, at = [], 0.0
    for kind, spent in found:
        width = spent / total * 1000
        bars.append(
            f'<rect class="{kind}" x="{at:.2f}" width="{max(width - (2 if at + width < 999 else 0), 1):.2f}" height="10"/>'
        )
        at += width
    key = "".join(
        f'<li class="{kind}">{kind} <b>{escape(duration(spent))}</b> {spent / total:.0%}</li>'
        for kind, spent in found
    )
    return (
        '<div class="shares"><svg viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">'
        f'{"".join(bars)}</svg><ul class="key" aria-label="Time of all nodes">{key}</ul></div>'
    )


def _slowest(trace: Trace) -> str:
    """Return the slowest nodes as a table for readers without JavaScript, such as a mail program or a CI's preview."""
    nodes = sorted(trace.spans(names.NODE), key=lambda node: -node.duration_ns)[:_FEW]
    if not nodes:
        return ""
    rows = "".join(
        f"<tr><th scope=row><bdi>{escape(clean(node.operation.attributes.get(names.NODE_NAME, node.operation.name)))}</bdi></th>"
        f"<td>{escape(duration(node.duration_ns))}</td><td>{escape(outcome.word(node.operation))}</td></tr>"
        for node in nodes
    )
    return f"<table><caption>The slowest nodes</caption><tr><th>Node</th><th>Time</th><th>Outcome</th></tr>{rows}</table>"
