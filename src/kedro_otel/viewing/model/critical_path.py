"""The critical path: the chain of nodes, each waiting for the one before, that no number of workers could make shorter."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kedro_otel.semconv import names

if TYPE_CHECKING:
    from kedro_otel.viewing.model.trace import Span


class CriticalPath(NamedTuple):
    """The nodes on it, first to last, and the nanoseconds that they took together."""

    nodes: tuple[Span, ...]
    duration_ns: int


def critical_path(nodes: list[Span]) -> CriticalPath:
    """Return the longest chain, by time, through the datasets that nodes pass on; without recorded datasets it is the longest node."""
    waits_for = upstream(nodes)
    length: dict[int, int] = {}
    before: dict[int, int | None] = {}
    for index in _sorted(waits_for):
        previous = max(
            (one for one in waits_for[index] if one in length),
            key=lambda one: length[one],
            default=None,
        )
        before[index] = previous
        length[index] = nodes[index].duration_ns + (length[previous] if previous is not None else 0)
    if not length:
        return CriticalPath((), 0)
    last: int | None = max(length, key=lambda index: length[index])
    total = length[last] if last is not None else 0
    chain: list[Span] = []
    while last is not None:
        chain.append(nodes[last])
        last = before[last]
    return CriticalPath(tuple(reversed(chain)), total)


def upstream(nodes: list[Span]) -> list[set[int]]:
    """For each node, the indices of the nodes that make its inputs."""
    maker = {
        name: index
        for index, node in enumerate(nodes)
        for name in _datasets(node, names.NODE_OUTPUTS)
    }
    return [
        {maker[name] for name in _datasets(node, names.NODE_INPUTS) if name in maker} - {index}
        for index, node in enumerate(nodes)
    ]


def _datasets(node: Span, key: str) -> set[str]:
    """Transcoded names (``table@pandas``) are one dataset."""
    found = node.operation.attributes.get(key)
    return {str(name).partition("@")[0] for name in found} if isinstance(found, list) else set()


def _sorted(waits_for: list[set[int]]) -> list[int]:
    """Return the indices such that each comes after what it waits for; those in a circle, which no real pipeline has, are left out."""
    missing = [len(upstream) for upstream in waits_for]
    downstream: list[list[int]] = [[] for _ in waits_for]
    for index, upstream in enumerate(waits_for):
        for one in upstream:
            downstream[one].append(index)
    ready = [index for index, number in enumerate(missing) if not number]
    for index in ready:  # grows while it is walked
        for after in downstream[index]:
            missing[after] -= 1
            if not missing[after]:
                ready.append(after)
    return ready
