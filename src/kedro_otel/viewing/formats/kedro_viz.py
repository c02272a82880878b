"""A run as the events that Kedro-Viz reads for its *Workflow* view.

Source: kedro_viz/integrations/kedro/run_hooks.py, which writes them, and kedro_viz/api/rest/responses/run_events.py, which reads
them (Kedro-Viz 11.1 to 12.5). Kedro-Viz itself writes them of full runs with the SequentialRunner alone.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from kedro_otel.semconv import names
from kedro_otel.viewing.model import outcome
from kedro_otel.viewing.text import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kedro_otel.viewing.model.trace import Span, Trace

PATH: Final = ".viz/kedro_pipeline_events.json"
"""Where Kedro-Viz looks for the events, in the project's folder."""

_KILLED: Final = "its process was killed or ended without a word"
_VERBS: Final = {"load": "loading", "save": "saving"}
_LOADED: Final = {"load": "after_dataset_loaded", "save": "after_dataset_saved"}


def hashed(text: str) -> str:
    """Return what Kedro-Viz makes an id of: of ``str(node)``, or of a dataset's name without its transcoding."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:8]


def events(trace: Trace, ids: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the events of the trace's run, by time.

    Nodes that run and runs that have not ended have no event of their end. A node's duration is its whole time, with
    loads and saves.

    Args:
        trace: A trace with a run.
        ids: Kedro-Viz's ids of nodes, by the node's name. A node that is not among them has no event.
    """
    run = trace.run or trace.root
    found = [{"event": "before_pipeline_run", "timestamp": timestamp(run.operation.start_ns)}]
    for span in sorted(run.walk(), key=lambda span: span.end_ns):
        if span.operation.operation == names.NODE:
            found += _node(span, ids)
        elif span.operation.operation == names.DATASET:
            found += _dataset(span)
    return found + list(_end(run, ids))


def _node(span: Span, ids: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    word, name = outcome.word(span.operation), _name(span)
    if word in (outcome.RUNNING, outcome.UNCLEAR) or name not in ids:
        return
    about = {"node": name, "node_id": ids[name]}
    seconds = span.duration_ns / 1e9
    status = "success" if word == outcome.OK else "failed"
    yield {"event": "after_node_run", **about, "duration": seconds, "status": status}
    if word != outcome.OK:
        yield {"event": "on_node_error", **about, **_error(span)}


def _dataset(span: Span) -> Iterator[dict[str, Any]]:
    known = span.operation.attributes
    event = _LOADED.get(str(known.get(names.DATASET_OPERATION)))
    if event and outcome.word(span.operation) == outcome.OK:
        name = str(known.get(names.DATASET_NAME, ""))
        node_id = hashed(name.partition("@")[0])
        yield {"event": event, "dataset": name, "node_id": node_id, "status": "Available"}


def _end(run: Span, ids: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield how the run ended: once for each dataset that could not be loaded or saved, else once."""
    word = outcome.word(run.operation)
    if word == outcome.OK:
        yield {"event": "after_pipeline_run", "timestamp": timestamp(run.end_ns)}
    if word not in outcome.BAD:
        return
    event = {"event": "on_pipeline_error", **_error(run)}
    failed = [
        span
        for span in run.walk()
        if span.operation.operation == names.DATASET
        and outcome.word(span.operation) in outcome.BAD
        and span.parent
    ]
    for span in failed:
        known = span.operation.attributes
        name = _name(span.parent or run)
        yield {
            **event,
            **_error(span),
            "timestamp": event["timestamp"],
            "dataset": known.get(names.DATASET_NAME, ""),
            "operation": _VERBS.get(str(known.get(names.DATASET_OPERATION)), ""),
            "node": name,
            "node_id": ids.get(name, ""),
        }
    if not failed:
        yield event


def _error(span: Span) -> dict[str, Any]:
    killed = outcome.word(span.operation) == outcome.KILLED
    return {
        "error": _KILLED if killed else outcome.failure(span).text,
        "timestamp": timestamp(span.end_ns),
        "traceback": outcome.stacktrace(span.operation),
    }


def _name(span: Span) -> str:
    return str(span.operation.attributes.get(names.NODE_NAME, ""))
