"""A trace as columns of numbers and one table of strings: what the page draws from, a hundred bytes a span."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kedro_otel.semconv import names
from kedro_otel.viewing.html.summary_text import place, words, zone
from kedro_otel.viewing.model import data_history, outcome
from kedro_otel.viewing.model.critical_path import critical_path
from kedro_otel.viewing.model.not_run import not_run
from kedro_otel.viewing.model.phases import totals
from kedro_otel.viewing.text import clean

if TYPE_CHECKING:
    from kedro_otel.viewing.model.trace import Span, Trace

KINDS: Final = (names.COMMAND, names.RUN, names.NODE, names.DATASET, names.FOREIGN)
"""A span's kind is its place in here."""

STATES: Final = ("ended", "open", "died", "unknown")
"""So is its state; one that failed has 8 added."""

_FAILED: Final = 8
_MOST: Final = 1 << 53
"""A number of JavaScript's is whole below this."""

_MOST_FAILURES: Final = 200
_OPERATIONS: Final = {"load": 1, "save": 2}


class Strings:
    """Strings written once and then referred to by number; each fit for a page, and no longer than ``longest``."""

    def __init__(self, longest: int) -> None:
        self.longest = longest
        self.texts: list[str] = []
        self._number: dict[str, int] = {}

    def __call__(self, text: object) -> int:
        """Return the number of ``text``; -1 for nothing."""
        if text is None or text == "":
            return -1
        raw = str(text)
        number = self._number.get(raw)
        if number is None:
            number = self._number[raw] = len(self.texts)
            self.texts.append(clean(raw, self.longest))
        return number

    def each(self, found: object) -> list[int]:
        """Return the numbers of a list's texts."""
        return [self(item) for item in found] if isinstance(found, list) else []


def columns(trace: Trace, *, details: bool = True, longest: int = 400) -> dict[str, Any]:
    """Return what the page draws: times in microseconds since ``begin`` (milliseconds since the epoch, a float).

    Without ``details``, loads, saves and the user's own spans are left out one by one unless they failed; the sums by dataset stay.
    """
    text = Strings(longest)
    spans = [span for span in trace.root.walk() if details or _kept(span)]
    number = {id(span): index for index, span in enumerate(spans)}
    begin = trace.root.operation.start_ns
    run = trace.run or trace.root
    path = critical_path(
        [child for child in run.children if child.operation.operation == names.NODE]
    )
    return {
        "begin": begin / 1e6,
        "zone": zone(begin),
        "run": [_since(run.operation.start_ns, begin), _since(run.end_ns, begin)],
        "end": _since(max(span.end_ns for span in spans), begin),
        "spans": {
            "kind": [KINDS.index(span.operation.operation) for span in spans],
            "parent": [number.get(id(span.parent), -1) for span in spans],
            "name": [text(_label(span)) for span in spans],
            "start": [_since(span.operation.start_ns, begin) for span in spans],
            "took": [max(span.duration_ns, 0) // 1000 for span in spans],
            "state": [
                STATES.index(span.operation.state) + (_FAILED if span.operation.error else 0)
                for span in spans
            ],
        },
        "nodes": _nodes(spans, text),
        "operations": _operations(spans, text),
        "datasets": _datasets(trace, text),
        "failures": [
            {
                "span": number[id(one.span)],
                "type": text(one.types),
                "where": text(one.where),
                "what": text(place(one)),
                "message": words(one.message),
            }
            for one in outcome.failures(trace)[:_MOST_FAILURES]
        ],
        "not_run": _not_run(trace, text),
        "critical": [number[id(node)] for node in path.nodes] if len(path.nodes) > 1 else [],
        "pids": _pids(spans, number),
        "left_out": sum(1 for _ in trace.root.walk()) - len(spans),
        "strings": text.texts,
    }


def _kept(span: Span) -> bool:
    return (
        span.operation.operation in (names.COMMAND, names.RUN, names.NODE) or span.operation.error
    )


def _since(when_ns: int, begin_ns: int) -> int:
    return (when_ns - begin_ns) // 1000


def _label(span: Span) -> str:
    known = span.operation.attributes
    key = {
        names.COMMAND: names.COMMAND_LINE,
        names.NODE: names.NODE_NAME,
        names.RUN: names.PIPELINE_NAME,
        names.DATASET: names.DATASET_NAME,
    }
    return str(known.get(key.get(span.operation.operation, "")) or span.operation.name)


def _nodes(spans: list[Span], text: Strings) -> dict[str, list[Any]]:
    """What only nodes have, in the order of their spans."""
    nodes = [span for span in spans if span.operation.operation == names.NODE]
    spent = [totals(node) for node in nodes]
    known = [node.operation.attributes for node in nodes]
    return {
        "load": [one.load_ns // 1000 for one in spent],
        "save": [one.save_ns // 1000 for one in spent],
        "compute": [one.compute_ns // 1000 for one in spent],
        "hooks": [one.hooks_ns // 1000 for one in spent],
        "cpu": [_whole(one.get(names.NODE_CPU), 1e6) for one in known],
        "peak": [_whole(one.get(names.NODE_PEAK)) for one in known],
        "namespace": [text(one.get(names.NODE_NAMESPACE)) for one in known],
        "function": [text(one.get(names.FUNCTION_NAME)) for one in known],
        "file": [text(one.get(names.FILE_PATH)) for one in known],
        "tags": [text.each(one.get(names.NODE_TAGS)) for one in known],
        "inputs": [text.each(one.get(names.NODE_INPUTS)) for one in known],
        "outputs": [text.each(one.get(names.NODE_OUTPUTS)) for one in known],
    }


def _whole(value: Any, times: float = 1) -> int:
    """Return a number for the page, -1 where it was not recorded."""
    return int(value * times) if type(value) in (int, float) and 0 <= value < _MOST else -1


def _not_run(trace: Trace, text: Strings) -> dict[str, list[Any]]:
    """What is known of the nodes that a failed run never came to."""
    nodes = not_run(trace)
    return {
        "name": [text(node.name) for node in nodes],
        "namespace": [text(node.namespace) for node in nodes],
        "inputs": [text.each(node.inputs) for node in nodes],
        "outputs": [text.each(node.outputs) for node in nodes],
    }


def _operations(spans: list[Span], text: Strings) -> dict[str, list[int]]:
    """What only loads and saves have, in the order of their spans: 1 for a load, 2 for a save."""
    found = [
        span.operation.attributes for span in spans if span.operation.operation == names.DATASET
    ]
    return {
        "what": [_OPERATIONS.get(str(one.get(names.DATASET_OPERATION)), 0) for one in found],
        "type": [text(one.get(names.DATASET_TYPE)) for one in found],
    }


def _datasets(trace: Trace, text: Strings) -> dict[str, list[int]]:
    """One row for each dataset: how often it was loaded and saved, and for how long."""
    rows: dict[str, list[int]] = {}
    known_data = data_history.of_trace(trace)
    for span in trace.spans(names.DATASET):
        known = span.operation.attributes
        name = str(known.get(names.DATASET_NAME) or span.operation.name)
        row = rows.setdefault(
            name, [text(name), text(known.get(names.DATASET_TYPE)), 0, 0, 0, 0, 0]
        )
        place = 2 * _OPERATIONS.get(str(known.get(names.DATASET_OPERATION)), 0)
        if place:
            row[place] += 1
            row[place + 1] += span.duration_ns // 1000
        row[6] |= span.operation.error
    heads = ("name", "type", "loads", "load", "saves", "save", "failed")
    found = {head: [row[index] for row in rows.values()] for index, head in enumerate(heads)}
    found["rows"] = [_whole(known_data[name].rows) if name in known_data else -1 for name in rows]
    return found


def _pids(spans: list[Span], number: dict[int, int]) -> dict[str, list[int]]:
    """Where several processes had a part: the process of each span that is not in its parent's."""
    found = [
        span
        for span in spans
        if span.parent is None
        or id(span.parent) not in number
        or span.header.pid != span.parent.header.pid
    ]
    return {
        "span": [number[id(span)] for span in found],
        "pid": [span.header.pid for span in found],
    }
