"""A reader of the Trace Event Format, as viewers of it place what they are given."""

from __future__ import annotations

from typing import Any


class Slice:
    """A stretch of time as a viewer of the Trace Event Format shows it: on a track, with a depth."""

    def __init__(self, event: dict[str, Any], depth: int) -> None:
        self.event = event
        self.depth = depth
        self.arrows: list[tuple[str, int]] = []


def viewed(told: dict[str, Any]) -> list[Slice]:
    """Read a document as the format says: by time, stable in the order of the file, slices strictly nested on each track."""
    stacks: dict[tuple[int, int], list[Slice]] = {}
    found = []
    events = [event for event in told["traceEvents"] if event["ph"] != "M"]
    named = {(event["pid"], event["tid"]) for event in told["traceEvents"] if event["ph"] == "M"}
    for event in sorted(events, key=lambda event: event["ts"]):
        stack = stacks.setdefault((event["pid"], event["tid"]), [])
        while stack and _end(stack[-1].event) <= _ns(event["ts"]):
            if event["ph"] != "X" and _ns(stack[-1].event["ts"]) == _ns(event["ts"]):
                break  # an arrow at a slice that took no time
            stack.pop()
        if event["ph"] == "X":
            assert not stack or _end(event) <= _end(stack[-1].event), "half in, half out"
            stack.append(Slice(event, len(stack)))
            found.append(stack[-1])
        else:
            stack[-1].arrows.append((event["ph"], event["id"]))
    assert set(stacks) <= named, "every track has a name"
    return found


def _ns(microseconds: float) -> int:
    return round(microseconds * 1000)


def _end(event: dict[str, Any]) -> int:
    return _ns(event["ts"]) + _ns(event["dur"])
