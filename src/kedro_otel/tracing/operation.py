"""An operation that is open, and how it begins and ends on record."""

from __future__ import annotations

import time
from threading import get_ident
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kedro_otel import names, propagation
from kedro_otel.recording import lines
from kedro_otel.tracing import failures, ids

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kedro_otel.propagation import Remote
    from kedro_otel.recording.writer import Writer
    from kedro_otel.tracing.live import Live


class Open:
    """An operation between its beginning and its end. What few operations have is a default of the class: there are many of them."""

    trace_id = ""
    sampled = True
    state = ""
    real: Any = None
    current: Any = None
    previous: Any = None
    values: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, kind: str, name: str, parent: Open | Remote | None, start_ns: int) -> None:
        self.kind = kind
        self.name = name
        self.parent = parent
        self.start_ns = start_ns
        self.thread = get_ident()
        self.span_id = ids.span_id()
        if parent is not None:
            self.trace_id = parent.trace_id
            if not parent.sampled or parent.state:
                self.sampled, self.state = parent.sampled, parent.state


class OpenDataset(Open):
    """The load or save of a dataset; ``type`` is its public type, ``custom``, or None while that is not known."""

    def __init__(self, verb: str, dataset: str, type_: str | None, parent: Open, start_ns: int) -> None:
        super().__init__(names.DATASET, f"{verb} {dataset}", parent, start_ns)
        self.verb, self.dataset, self.type = verb, dataset, type_

    @property
    def values(self) -> dict[str, Any]:  # type: ignore[override]
        """What is recorded of it."""
        return {names.DATASET_NAME: self.dataset, names.DATASET_TYPE: self.type, names.DATASET_OPERATION: self.verb}


_TIMES = (names.NODE_LOAD, names.NODE_COMPUTE, names.NODE_SAVE)


class Scribe:
    """Writes operations down as they begin and end: to the segment and, where the user owns a provider, through that.

    Args:
        writer: This process's segment.
        environ: The environment, for the sampler.
        full: Whether exception messages and stack traces are recorded.
    """

    def __init__(self, writer: Writer, environ: Mapping[str, str], *, full: bool) -> None:
        self.writer = writer
        self.full = full
        self.live: Live | None = None
        self.measure: Callable[[Open, int, dict[str, Any], bool], None] | None = None
        self._environ = environ

    def dataset(self, operation: OpenDataset, end_ns: int, *, more_follows: bool = False) -> None:
        """Write the operation of a dataset that ended well: the short way of :meth:`begin` and :meth:`finish`, for there are many.

        With ``more_follows`` it is written together with the next line, which comes before anybody else's code runs.
        """
        if self.live is not None or self.measure is not None or not operation.sampled or operation.state:
            self.finish(operation, {}, end_ns=end_ns)
            return
        self.writer.span(names.DATASET, lines.dataset(operation, end_ns), hold=more_follows)

    def node(self, operation: Open, end_ns: int, times: tuple[float, float, float]) -> None:
        """Write that a node ended well, with its ``times`` in seconds: the short way of :meth:`finish`."""
        if self.live is not None or self.measure is not None:
            self.finish(operation, dict(zip(_TIMES, times, strict=True)), end_ns=end_ns)
            return
        end_ns = max(end_ns, operation.start_ns)
        self.writer.end(operation.span_id, lines.end(names.NODE, operation.trace_id, operation.span_id, end_ns, lines.times(*times), error=False))

    def begin(self, operation: Open, values: Mapping[str, Any] | None = None, *, own: bool = False) -> None:
        """Give ``operation`` its identity and, if there are ``values`` and it is not to be written whole at its end, write that it began."""
        if values is not None:
            operation.values = values
        if not operation.trace_id:
            operation.trace_id = ids.trace_id()
            operation.sampled = propagation.sampled(self._environ, operation.trace_id, None)
        if self.live is not None:
            self.live.begin(operation)
        if values is not None:
            parent = operation.parent
            line = lines.start(
                operation.kind,
                operation.trace_id,
                operation.span_id,
                parent.span_id if parent is not None else "",
                operation.name,
                operation.start_ns,
                values,
                more=_more(operation) + (',"projectCommand":true' if own else ""),
            )
            self.writer.start(operation.span_id, line)

    def finish(self, operation: Open, values: dict[str, Any], *, end_ns: int = 0, error: BaseException | None = None, failed: bool = False) -> None:
        """Write that ``operation`` ended; ``values`` are what became known meanwhile.

        Args:
            operation: What ended.
            values: Further attributes.
            end_ns: When, in nanoseconds since 1970; 0 for now. Never taken to be before the beginning.
            error: The exception it failed with, if known.
            failed: Whether it failed.
        """
        end_ns = max(end_ns or time.time_ns(), operation.start_ns)
        told = lines.events([failures.event(error, end_ns)]) if failed and self.full and error is not None else ""
        if operation.kind == names.DATASET:
            line = lines.span(
                operation.kind,
                operation.trace_id,
                operation.span_id,
                operation.parent.span_id if operation.parent is not None else "",
                operation.name,
                (operation.start_ns, end_ns),
                {**operation.values, **values} if values else operation.values,
                error=failed,
                more=_more(operation) + (f',"events":{told}' if told else ""),
            )
            self.writer.span(operation.kind, line)
        else:
            said = lines.attributes(values)
            line = lines.end(operation.kind, operation.trace_id, operation.span_id, end_ns, said, error=failed, events=told)
            self.writer.end(operation.span_id, line)
        if self.measure is not None:
            self.measure(operation, end_ns, values, failed)
        if self.live is not None and operation.real is not None:
            self.live.finish(operation, values, end_ns, error=error, failed=failed)


def _more(operation: Open) -> str:
    return "" if operation.sampled and not operation.state else lines.rare(sampled=operation.sampled, state=operation.state)
