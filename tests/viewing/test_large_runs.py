"""Big pipelines: nothing is lost, and what is shown can still be read."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trace_text import operations, segments

from kedro_otel.semconv import names

REGISTRY = """
from kedro.pipeline import node, pipeline

def step(*_): return 1

def long(nodes):
    # A chain, in namespaces of a hundred: each part begins with what the one before it ends with.
    return pipeline([node(step, f"d{i - 1}" if i else None, f"d{i}", name=f"n{i}", namespace=f"part{i // 100}") for i in range(nodes)])

def wide(nodes):
    return pipeline([node(step, "params:n", f"w{i}", name=f"w{i}") for i in range(nodes)])

def register_pipelines():
    import os
    made = {"long": long, "wide": wide}[os.environ["SHAPE"]](int(os.environ["NODES"]))
    return {"__default__": made}
"""
QUIET = "version: 1\ndisable_existing_loggers: false\nroot: {level: ERROR}\nloggers: {kedro: {level: ERROR}}\n"


@pytest.mark.timeout(
    3600
)  # Kedro itself takes minutes for ten thousand nodes, and more on a busy machine
@pytest.mark.parametrize(
    ("shape", "runner"),
    [
        ("long", "SequentialRunner"),
        ("wide", "SequentialRunner"),
        ("wide", "ThreadRunner"),
        ("wide", "ParallelRunner"),
    ],
)
def test_nothing_of_a_big_run_is_lost(
    shape: str,
    runner: str,
    project: Callable[..., Path],
    home: Path,
    kedro: Callable[..., Any],
    environment: dict[str, str],
    *,
    full: bool,
) -> None:
    """Every node and every load and save is there once, under one run; `show` folds them into something short, and finds the slowest."""
    nodes = {"long": (1000, 10_000), "wide": (300, 2000)}[shape][full]
    if runner == "ParallelRunner" and not full:
        nodes = 100  # Kedro loads every plugin's entry points again for each node
    path = project(registry=REGISTRY, catalog="", parameters="n: 1\n", files={"logging.yml": QUIET})
    environment |= {
        "KEDRO_LOGGING_CONFIG": str(path / "logging.yml"),
        "SHAPE": shape,
        "NODES": str(nodes),
        "KEDRO_MP_CONTEXT": "fork",
    }
    kedro("run", f"--runner={runner}", cwd=path, timeout=3000)

    found = operations(home)
    (run,) = [operation for operation in found if operation.operation == names.RUN]
    loads = nodes - (shape == "long")
    assert Counter(operation.operation for operation in found) == {
        names.COMMAND: 1,
        names.RUN: 1,
        names.NODE: nodes,
        names.DATASET: loads + nodes,
    }
    assert len({operation.span_id for operation in found}) == len(found)
    assert {operation.state for operation in found} == {"ended"}
    assert {operation.parent_id for operation in found if operation.operation == names.NODE} == {
        run.span_id
    }
    inside = {operation.span_id for operation in found if operation.operation == names.NODE}
    assert {
        operation.parent_id for operation in found if operation.operation == names.DATASET
    } <= inside
    assert not any(segment.lost or segment.skipped for segment in segments(home))
    assert bytes_of_nodes(home) / nodes < 2250, "more than 2.2 KiB a node"

    folded = kedro("otel", "show", cwd=path, timeout=100).out
    assert len(folded.splitlines()) < 100
    assert ("part0" if shape == "long" else "w") in folded
    slowest = kedro("otel", "show", "--slowest", "5", cwd=path, timeout=100).out
    assert 5 <= len(slowest.splitlines()) < 40
    assert len(kedro("otel", "show", "--depth", "0", cwd=path, timeout=100).out.splitlines()) < 20
    told = json.loads(kedro("otel", "show", "--json", cwd=path, timeout=100).out)
    assert json.dumps(told).count('"node') >= nodes


_LASTING = re.compile(rb',\{"key":"kedro\.node\.(?:memory|io)\.[^{}]*\{[^{}]*\}\}')
"""The memory and I/O of a node: how many nodes take long enough to have them depends on the machine."""


def bytes_of_nodes(home: Path) -> int:
    """Return the bytes of all lines but headers, and of what only nodes, loads and saves have that take longer than a moment."""
    lines = [
        line
        for file in (home / "recordings").glob("*.jsonl")
        for line in file.read_bytes().splitlines(keepends=True)
    ]
    return sum(
        len(_LASTING.sub(b"", line))
        for line in lines
        if not line.startswith((b'{"kedro-otel"', b'{"start":"dataset"'))
    )
