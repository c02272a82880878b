"""What was recorded, as an indented text that a test can compare whole."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from textwrap import dedent, indent

from kedro_otel.recording import reader
from kedro_otel.recording.model import Operation, Segment
from kedro_otel.semconv import names


def segments(home: Path) -> list[Segment]:
    """Return every segment recorded under ``home``."""
    return [reader.read(path) for path in reader.segments(home / "recordings")]


def operations(home: Path) -> list[Operation]:
    """Return every operation recorded under ``home``, of all segments, after seeing that none was closed twice."""
    for path in reader.segments(home / "recordings"):
        lines = [json.loads(line) for line in path.read_text().split("\n")[1:-1]]
        closed = Counter(line["spanId"] for line in lines if "end" in line or "span" in line)
        assert set(closed.values()) <= {1}, f"closed twice: {closed}"
    every = segments(home)
    ended = {
        operation.span_id
        for segment in every
        for operation in segment.operations
        if operation.state == "ended"
    }
    # What was open when a recording went on in the next file is in both.
    twice = {
        id(operation)
        for segment in every
        if segment.continued
        for operation in segment.operations
        if operation.state != "ended"
    }
    found = [operation for segment in every for operation in segment.operations]
    return [
        operation
        for operation in found
        if id(operation) not in twice or operation.span_id not in ended
    ]


def tree(found: Iterable[Operation]) -> str:
    """Return operations as a tree: a line each, ``name``, then ``!type`` if it failed, ``unknown`` if nothing tells how it ended, and its state unless it did.

    Siblings are in order of name, so that runners that work in parallel compare equal. A root below a span of another process says so.
    """
    everything = list(found)
    ids = {operation.span_id for operation in everything}
    assert len(ids) == len(everything), "a span id twice"
    children: dict[str, list[Operation]] = defaultdict(list)
    for operation in everything:
        children[operation.parent_id if operation.parent_id in ids else ""].append(operation)

    def lines(parent: str, depth: int) -> Iterable[str]:
        for operation in sorted(children[parent], key=lambda each: each.name):
            yield (
                "  " * depth
                + said(operation)
                + (" (below another process)" if depth == 0 and operation.parent_id else "")
            )
            yield from lines(operation.span_id, depth + 1)

    return "\n".join(lines("", 0)) + "\n"


def said(operation: Operation) -> str:
    """Return one operation as a line."""
    words = [operation.name]
    if operation.error:
        words.append(f"!{operation.attributes.get(names.ERROR_TYPE)}")
    if names.OUTCOME in operation.attributes:
        words.append(str(operation.attributes[names.OUTCOME]))
    if operation.state != "ended":
        words.append(operation.state)
    return " ".join(words)


def below(root: str, *parts: str) -> str:
    """Return an expected tree: ``root``, and under it ``parts``, each a dedented text."""
    return (
        dedent(root).strip()
        + "\n"
        + "".join(indent(dedent(part).strip() + "\n", "  ") for part in parts)
    )
