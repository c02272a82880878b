"""A run as OpenLineage events, made of the official client's classes (extra ``openlineage``).

Source: https://openlineage.io/spec/2-0-2/OpenLineage.json and the facets that each event names. A pipeline run is a run of the job
``{project}.{pipeline}``; each node is a run of ``{project}.{pipeline}.{node}`` with that one as its parent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from openlineage.client.event_v2 import (
    InputDataset,
    Job,
    OutputDataset,
    Run,
    RunEvent,
    RunState,
    set_producer,
)
from openlineage.client.facet_v2 import (
    error_message_run,
    job_type_job,
    parent_run,
    processing_engine_run,
)
from openlineage.client.serde import Serde

from kedro_otel import __version__
from kedro_otel.semconv import names
from kedro_otel.viewing.model import outcome
from kedro_otel.viewing.model.summary import of_trace
from kedro_otel.viewing.text import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedro_otel.viewing.model.trace import Span, Trace

NAMESPACE: Final = "kedro"
"""Namespace of jobs and datasets where the user names none."""

_PRODUCER: Final = f"https://github.com/kedro-otel/kedro-otel/tree/v{__version__}"
_TERMINAL: Final = {
    outcome.OK: RunState.COMPLETE,
    outcome.FAILED: RunState.FAIL,
    outcome.KILLED: RunState.ABORT,
    outcome.INTERRUPTED: RunState.ABORT,
}
"""How a run ended, by its outcome. One that runs, or of which that is not known, has no such event."""


class _Lineage:
    """The events of one trace's run."""

    def __init__(self, trace: Trace, namespace: str) -> None:
        about = of_trace(trace)
        self._namespace = namespace
        self._project = about.project
        self._run = trace.run or trace.root
        self._name = ".".join(filter(None, (about.project, about.pipeline or "__default__")))
        self._nodes = [span for span in self._run.walk() if span.operation.operation == names.NODE]

    def events(self) -> Iterator[RunEvent]:
        """Yield the events, in no order."""
        read = {name for node in self._nodes for name in _datasets(node, names.NODE_INPUTS)}
        made = {name for node in self._nodes for name in _datasets(node, names.NODE_OUTPUTS)}
        job = self._job(self._name, "PIPELINE")
        yield from self._of(self._run, job, sorted(read - made), sorted(made - read))
        for node in self._nodes:
            name = str(node.operation.attributes.get(names.NODE_NAME, node.operation.name))
            job = self._job(f"{self._name}.{name}", "NODE")
            yield from self._of(
                node,
                job,
                _datasets(node, names.NODE_INPUTS),
                _datasets(node, names.NODE_OUTPUTS),
            )

    def _of(
        self, span: Span, job: Job, inputs: list[str], outputs: list[str]
    ) -> Iterator[RunEvent]:
        state = _TERMINAL.get(outcome.word(span.operation))
        begun = (RunState.START, span.operation.start_ns)
        for kind, when in (begun, *([(state, span.end_ns)] if state else [])):
            yield RunEvent(
                eventType=kind,
                eventTime=timestamp(when),
                run=Run(_run_id(span), self._facets(span, failed=kind is not RunState.START)),
                job=job,
                inputs=[InputDataset(self._namespace, self._dataset(one)) for one in inputs],
                outputs=[OutputDataset(self._namespace, self._dataset(one)) for one in outputs],
            )

    def _job(self, name: str, kind: str) -> Job:
        facet = job_type_job.JobTypeJobFacet(
            processingType="BATCH", integration="KEDRO", jobType=kind
        )
        return Job(self._namespace, name, {"jobType": facet})

    def _facets(self, span: Span, *, failed: bool) -> dict[str, Any]:
        resource = span.header.resource
        facets: dict[str, Any] = {
            "processing_engine": processing_engine_run.ProcessingEngineRunFacet(
                version=str(resource.get(names.KEDRO_VERSION, "unknown")),
                name="Kedro",
                openlineageAdapterVersion=__version__,
            )
        }
        if span is not self._run:
            facets["parent"] = parent_run.ParentRunFacet(
                run=parent_run.Run(_run_id(self._run)),
                job=parent_run.Job(self._namespace, self._name),
            )
        if failed and outcome.word(span.operation) != outcome.OK:
            facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(
                message=outcome.failure(span).text, programmingLanguage="PYTHON"
            )
        return facets

    def _dataset(self, name: str) -> str:
        return f"{self._project}.{name}" if self._project else name


def events(trace: Trace, namespace: str = NAMESPACE) -> Iterator[dict[str, Any]]:
    """Yield the events by time, each ready for JSON.

    Each run has a START, and a COMPLETE, FAIL or ABORT once it has ended: ABORT where it was killed or
    interrupted. Datasets are named by project and catalog; parameters are left out.

    Args:
        trace: A trace with a run.
        namespace: Of jobs and datasets.
    """
    set_producer(_PRODUCER)
    found = sorted(_Lineage(trace, namespace).events(), key=lambda event: event.eventTime)
    for event in found:
        yield Serde.to_dict(event)


def _datasets(node: Span, key: str) -> list[str]:
    """Return a node's inputs or outputs, each once, without parameters and transcoding."""
    known = node.operation.attributes.get(key)
    every = [str(name).partition("@")[0] for name in known] if isinstance(known, list) else []
    return [
        name
        for name in dict.fromkeys(every)
        if name != "parameters" and not name.startswith("params:")
    ]


def _run_id(span: Span) -> str:
    """Return a UUID that the trace's id and the span's make, the same whenever a run is exported."""
    operation = span.operation
    return str(UUID(operation.trace_id[:16] + operation.span_id))
