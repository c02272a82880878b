"""Which lines of a trace are worth a screen: all of a small run, namespaces of a large one, the slowest of a wide one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kedro_otel.recording.model import OPEN
from kedro_otel.semconv import names
from kedro_otel.viewing.text import count

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kedro_otel.viewing.model.trace import Span, Trace

ROWS: Final = 40
"""Nodes that are all shown; of more, namespaces are, or the slowest."""

SPANS: Final = 5
"""Spans of the user's own that are all shown under one parent; of more, those of one name are told together, then the slowest."""

NAMESPACE: Final = "namespace"
GROUP: Final = "group"
REST: Final = "rest"
"""Kinds of line that are not one operation: the nodes of a namespace, spans of one name, and what is left of many."""

_LEVELS: Final = 3
"""Levels of the user's spans that are shown where nobody asked for a depth."""

_DEEPEST: Final = 50
"""Levels that are told apart at all."""


class Row:
    """One line: an operation, or several (``members``) told together, and the lines below it."""

    __slots__ = ("begin_ns", "below", "end_ns", "kind", "label", "members", "span")

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

    ``depth`` is the number of levels below the run: 1 is nodes, 2 also what they load and save and the user's own spans; namespaces
    are levels of their own where there are more than :data:`ROWS` nodes. None shows nodes, the user's spans and what failed.
    ``slowest`` shows that many nodes, the slowest first, and nothing else. ``most`` is how many nodes' lines are shown before some
    are told together.
    """
    return _operation(trace.root, depth, slowest, most)


def _operation(span: Span, depth: int | None, slowest: int | None, most: int) -> Row:
    row = _row(span)
    nodes = [child for child in span.children if child.operation.operation == names.NODE]
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
        row.below += _nodes(nodes, most) + _some_details(details, _LEVELS)
    elif depth > 0:
        row.below += (
            _namespaces(nodes, 0, depth)
            if len(nodes) > ROWS
            else [_node(node, depth) for node in nodes]
        ) + _details(details, depth)
    row.below.sort(key=lambda one: (one.kind == REST, one.begin_ns))
    return row


def _nodes(nodes: list[Span], most: int) -> list[Row]:
    """Nodes one by one; by namespace where there are many, as many levels as fit; and at most so many lines."""
    if len(nodes) <= most:
        return [_node(node, None) for node in nodes]
    found = _namespaces(nodes, 0, 1)
    for depth in range(2, max(len(namespace(node)) for node in nodes) + 1):
        deeper = _namespaces(nodes, 0, depth)
        if _lines(deeper) > most:
            break
        found = deeper
    return _at_most(most, found)


def _namespaces(nodes: list[Span], level: int, depth: int) -> list[Row]:
    """Lines of the namespaces at a level, and of the nodes in none; ``depth`` levels are shown, this one included, and what failed or runs."""
    groups: dict[str, list[Span]] = {}
    found: list[Row] = []
    for node in nodes:
        path = namespace(node)
        if len(path) > level:
            groups.setdefault(path[level], []).append(node)
        else:
            found.append(_node(node, depth))
    for name, members in groups.items():
        row = Row(NAMESPACE, name, members)
        if depth > 1:
            row.below = _namespaces(members, level + 1, depth - 1)
        else:
            row.below = [
                _node(node, 1)
                for node in members
                if node.operation.error or node.operation.state == OPEN
            ]
        found.append(row)
    return sorted(found, key=lambda row: row.begin_ns)


def namespace(node: Span) -> list[str]:
    """Return the parts of a node's namespace, outermost first."""
    found = node.operation.attributes.get(names.NODE_NAMESPACE)
    return found.split(".")[:_DEEPEST] if isinstance(found, str) and found else []


def _node(node: Span, depth: int | None) -> Row:
    row = _row(node)
    if depth is None:
        row.below = _some_details(node.children, _LEVELS)
    else:
        row.below = _details(
            node.children
            if depth > 1
            else [child for child in node.children if child.operation.error],
            depth - 1,
        )
    return row


def _details(children: list[Span], depth: int) -> list[Row]:
    """Loads, saves and the user's spans, ``depth`` levels of them."""
    found = [_row(child) for child in children]
    if depth > 1:
        for row, child in zip(found, children, strict=True):
            row.below = _details(child.children, min(depth, _DEEPEST) - 1)
    return found


def _some_details(children: list[Span], levels: int) -> list[Row]:
    """The user's spans, and of loads and saves those that failed or have spans in them; spans of one name together where there are many."""
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
    order = sorted(found, key=lambda row: (not row.failed, not row.running, -row.spent_ns))
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


def _lines(found: Iterable[Row]) -> int:
    return sum(1 + _lines(row.below) for row in found)
