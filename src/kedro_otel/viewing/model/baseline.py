"""Which earlier runs a run may be measured by: those that set out to do the same, and did it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from kedro_otel.semconv import names
from kedro_otel.viewing.model import outcome
from kedro_otel.viewing.model.find import NotFoundError, newest_first
from kedro_otel.viewing.model.trace import load

if TYPE_CHECKING:
    from pathlib import Path

    from kedro_otel.viewing.model.find import Entry
    from kedro_otel.viewing.model.trace import Trace

MOST: Final = 15
"""Peers that are read: more would say little more, and older ones are of older code."""

_LOOKED_AT: Final = 1000
_SAME: Final = (names.PIPELINE_NAME, names.RUN_FILTERED, names.RUNNER_NAME, names.ENVIRONMENT_NAME)
_PROJECT: Final = (names.PROJECT_ID, names.PROJECT_NAME)


def peers(trace: Trace, most: int = MOST, folder: Path | None = None) -> list[Trace]:
    """Return the successful runs of the same project and pipeline, runner, environment and filter, begun before ``trace``'s; newest first.

    What a filter said is masked in the recording: a filtered run is the same when it has the same nodes.
    """
    run = trace.run
    if run is None:
        return []
    found: list[Trace] = []
    for entry in islice(newest_first(folder), _LOOKED_AT):
        if len(found) >= most:
            break
        if not _alike(entry, trace):
            continue
        try:
            other = load(entry, folder)
        except NotFoundError:
            continue
        if not run.operation.attributes.get(names.RUN_FILTERED) or _node_names(
            other
        ) == _node_names(trace):
            found.append(other)
    return found


def _alike(entry: Entry, trace: Trace) -> bool:
    run = trace.run
    if (
        run is None
        or entry.run is None
        or entry.run.span_id == run.operation.span_id
        or entry.run.start_ns >= run.operation.start_ns
    ):
        return False
    mine, theirs = run.operation.attributes, entry.run.attributes
    project, other = run.header.resource, entry.segment.header.resource
    return (
        outcome.word(entry.run) == outcome.OK
        and all(mine.get(key) == theirs.get(key) for key in _SAME)
        and all(project.get(key) == other.get(key) for key in _PROJECT)
    )


def _node_names(trace: Trace) -> set[object]:
    return {node.operation.attributes.get(names.NODE_NAME) for node in trace.spans(names.NODE)}
