"""Which lines of a trace are worth a screen: every node of a small run; of a large one those that matter, and namespaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kedro_otel.recording.model import OPEN
from kedro_otel.semconv import names
from kedro_otel.viewing.text import count

if TYPE_CHECKING:
    from kedro_otel.viewing.model.trace import Span, Trace

ROWS: Final = 40
"""Nodes that are all shown; of more, those that failed, run or took longest are, and the namespaces of the others."""

MATTERS: Final = 0.05
"""Share of the run from which on a node has its line although its namespace is folded."""

BRIEF: Final = 0.01
"""Share of the run below which a load or save has no line of its own: the bar of its node shows it."""

SPANS: Final = 5
"""Spans of the user's own that are all shown under one parent; of more, those of one name are shown together, then the slowest."""

NAMESPACE: Final = "namespace"
GROUP: Final = "group"
REST: Final = "rest"
"""Kinds of line that are not one operation: the nodes of a namespace, spans of one name, and what is left of many."""

_LEVELS: Final = 3
"""Levels of the user's spans that are shown where nobody asked for a depth."""

_DEEPEST: Final = 50
"""Levels that are distinguished at all."""


class Row:
    """One line: an operation, or several (``members``) together, and the lines below it."""

    __slots__ = (
        "begin_ns",
        "below",
        "brief",
        "end_ns",
        "folded",
        "kind",
        "label",
        "members",
        "prefix",
        "span",
    )

    def __init__(
        self, kind: str, label: str, members: list[Span], span: Span | None = None
    ) -> None:
        """Take the line's stretch of time from its members."""
        self.kind = kind
        self.label = label
        self.span = span
        self.members = members
        self.begin_ns = min(member.operation.start_ns for member in members)
        self.end_ns = max(member.end_ns for member in members)
        self.below: list[Row] = []
        self.brief = 0
        self.folded = False
        self.prefix = ""

    @property
    def spent_ns(self) -> int:
        """Nanoseconds spent: its own duration, or that of its members together."""
        return sum(member.duration_ns for member in self.members)

    @property
    def failed(self) -> bool:
        """Whether it, or one of its members, failed."""
        return any(member.operation.error for member in self.members)

    @property
    def running(self) -> bool:
        """Whether it, or one of its members, runs."""
        return any(member.operation.state == OPEN for member in self.members)


def rows(
    trace: Trace, depth: int | None = None, slowest: int | None = None, most: int = ROWS
) -> Row:
    """Return the lines to show, below the outermost operation's.

    Args:
        trace: the run.
        depth: levels below the run: a namespace is one, a node in it the next, then what the node loads and saves and
            the user's own spans. None chooses: nodes, the user's spans, and what failed.
        slowest: show that many nodes, the slowest first, and nothing else.
        most: lines of nodes that are shown where nobody asked for a depth.
    """
    return _operation(trace.root, depth, slowest, most)


def folded(row: Row) -> int:
    """Return how many nodes at or below ``row`` have no line of their own."""
    own = 0
    if row.folded or (row.kind == REST and row.members[0].operation.operation == names.NODE):
        own = len(row.members) - len(row.below)
    return own + sum(folded(below) for below in row.below)


def brief(row: Row) -> int:
    """Return how many loads and saves of the nodes at or below ``row`` are too short for a line of their own."""
    return row.brief + sum(brief(below) for below in row.below)


def levels(trace: Trace) -> int:
    """Return the depth at which every node of a trace has its line, and no load or save has."""
    return max(
        (
            _height(_by_namespace([node for node in run.children if _is_node(node)]))
            for run in trace.spans(names.RUN) or [trace.root]
        ),
        default=1,
    )


def _height(found: list[Row]) -> int:
    return 1 + max((_height(row.below) for row in found if row.kind == NAMESPACE), default=0)


def _is_node(span: Span) -> bool:
    return span.operation.operation == names.NODE


def _operation(span: Span, depth: int | None, slowest: int | None, most: int) -> Row:
    row = _row(span)
    nodes = [child for child in span.children if _is_node(child)]
    outer = [
        child for child in span.children if child.operation.operation in (names.COMMAND, names.RUN)
    ]
    details = [
        child
        for child in span.children
        if child.operation.operation in (names.DATASET, names.FOREIGN)
    ]
    row.below = [_operation(child, depth, slowest, most) for child in outer]
    if slowest is not None:
        row.below += [
            _row(node) for node in sorted(nodes, key=lambda node: -node.duration_ns)[:slowest]
        ]
        return row
    if depth is None:
        row.below += _nodes(nodes, most, round(span.duration_ns * MATTERS))
        row.below += _some_details(details, _LEVELS)
    elif depth > 0:
        brief_ns = round(span.duration_ns * BRIEF)
        row.below += _to_depth(_by_namespace(nodes), depth, brief_ns)
        row.below += _details(details, depth, 0)
    row.below.sort(key=lambda one: (one.kind == REST, one.begin_ns))
    return row


def _by_namespace(nodes: list[Span], level: int = 0, prefix: str = "") -> list[Row]:
    """Return the lines of all namespaces and nodes, each named as it is called inside the one above."""
    groups: dict[str, list[Span]] = {}
    found: list[Row] = []
    for node in nodes:
        path = namespace(node)
        if len(path) > level:
            groups.setdefault(path[level], []).append(node)
        else:
            found.append(_node(node, prefix))
    for name, members in groups.items():
        if len(members) == 1:
            found.append(_node(members[0], prefix))
            continue
        path, deepest = namespace(members[0]), level + 1
        while len(path) > deepest and all(
            namespace(member)[deepest : deepest + 1] == [path[deepest]] for member in members
        ):
            deepest += 1  # a namespace that has nothing but another one shares its line
        row = Row(NAMESPACE, ".".join([name, *path[level + 1 : deepest]]), members)
        row.prefix = f"{prefix}{row.label}."
        row.below = _by_namespace(members, deepest, row.prefix)
        found.append(row)
    return sorted(found, key=lambda row: row.begin_ns)


def namespace(node: Span) -> list[str]:
    """Return the parts of a node's namespace, outermost first."""
    found = node.operation.attributes.get(names.NODE_NAMESPACE)
    return found.split(".")[:_DEEPEST] if isinstance(found, str) and found else []


def _node(node: Span, prefix: str) -> Row:
    row = _row(node)
    row.label = row.label.removeprefix(prefix) or row.label
    return row


def _nodes(nodes: list[Span], most: int, long_ns: int) -> list[Row]:
    """Return every node, in its namespaces, if there are few; else ``most`` lines.

    Of many, namespaces are opened as long as their lines fit, what failed or runs first, then where
    most time was spent. In one that stays folded, nodes that failed, run or took ``long_ns`` are shown.
    """
    found = _by_namespace(nodes)
    if len(nodes) > most:
        found = _at_most(most, found)
        left = most - len(found)
        groups = [row for row in found if row.kind == NAMESPACE]
        closed = []
        while groups:
            groups.sort(key=_worth)
            row = groups.pop(0)
            if len(row.below) > left:
                closed.append(row)
                continue
            left -= len(row.below)
            groups += [below for below in row.below if below.kind == NAMESPACE]
        for row in closed:
            _fold(row, left, long_ns)
            left = max(left - len(row.below), 0)
    for row in _every(found):
        if row.span is not None:
            row.below = _some_details(row.span.children, _LEVELS)
    return found


def _fold(row: Row, most: int, long_ns: float) -> None:
    """Leave below a namespace only the nodes that failed or run, and of those that took long the ``most`` longest."""
    order = sorted(row.members, key=lambda node: _worth(_row(node)))
    kept = [
        node
        for index, node in enumerate(order)
        if (index < max(most, SPANS) and (node.operation.error or node.operation.state == OPEN))
        or (index < most and node.duration_ns >= long_ns)
    ]
    row.below = sorted((_node(node, row.prefix) for node in kept), key=lambda one: one.begin_ns)
    row.folded = True


def _to_depth(found: list[Row], depth: int, brief_ns: int) -> list[Row]:
    """Return the lines with so many levels, and with what failed or runs at any."""
    for row in found:
        if row.kind == NAMESPACE and depth > 1:
            _to_depth(row.below, depth - 1, brief_ns)
            continue
        if row.kind == NAMESPACE:
            _fold(row, len(row.members), float("inf"))
        for one in row.below if row.kind == NAMESPACE else [row]:
            if one.span is not None:
                children = one.span.children
                if depth > 1:
                    one.below = _details(children, depth - 1, brief_ns)
                    one.brief = len(children) - len(one.below)
                else:
                    failed = [child for child in children if child.operation.error]
                    one.below = _details(failed, 1, 0)
    return found


def _every(found: list[Row]) -> list[Row]:
    return [one for row in found for one in (row, *_every(row.below))]


def _worth(row: Row) -> tuple[bool, bool, int]:
    """Sort what failed first, then what runs, then what took longest."""
    return not row.failed, not row.running, -row.spent_ns


def _details(children: list[Span], depth: int, brief_ns: int) -> list[Row]:
    """Return loads, saves and the user's spans, ``depth`` levels of them; loads and saves shorter than ``brief_ns`` only if they failed."""
    shown = [
        child
        for child in children
        if child.operation.operation != names.DATASET
        or child.operation.error
        or child.children
        or child.duration_ns >= brief_ns
    ]
    found = [_row(child) for child in shown]
    if depth > 1:
        for row, child in zip(found, shown, strict=True):
            row.below = _details(child.children, min(depth, _DEEPEST) - 1, brief_ns)
    return found


def _some_details(children: list[Span], levels: int) -> list[Row]:
    """Return the user's spans, and of loads and saves those that failed or have spans in them; spans of one name together where there are many."""
    shown = [
        child
        for child in children
        if child.operation.operation != names.DATASET or child.operation.error or child.children
    ]
    by_name: dict[str, list[Span]] = {}
    for child in shown:
        by_name.setdefault(child.operation.name, []).append(child)
    found: list[Row] = []
    for name, members in by_name.items():
        together = (
            [member for member in members if not member.operation.error]
            if len(shown) > SPANS and len(members) > 1
            else []
        )
        if together:
            found.append(Row(GROUP, f"{name} \N{MULTIPLICATION SIGN}{len(together):,}", together))
        for member in members:
            if not together or member.operation.error:
                row = _row(member)
                row.below = _some_details(member.children, levels - 1) if levels > 1 else []
                found.append(row)
    return _at_most(SPANS, sorted(found, key=lambda row: row.begin_ns))


def _at_most(most: int, found: list[Row]) -> list[Row]:
    """Return the lines, or those that failed, run or took longest, and one for the others together."""
    if len(found) <= most:
        return found
    order = sorted(found, key=_worth)
    kept = {id(row) for row in order[: most - 1]}
    rest = [member for row in found if id(row) not in kept for member in row.members]
    noun = "node" if rest[0].operation.operation == names.NODE else "span"
    return [row for row in found if id(row) in kept] + [
        Row(REST, f"… {count(len(rest), f'faster {noun}')}", rest)
    ]


def _row(span: Span) -> Row:
    operation = span.operation
    key = {names.NODE: names.NODE_NAME, names.COMMAND: names.COMMAND_LINE}.get(operation.operation)
    label = operation.attributes.get(key) if key else None
    return Row(operation.operation, str(label or operation.name), [span], span)
