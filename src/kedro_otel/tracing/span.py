"""An operation that is open, and how it begins and ends on record."""

from __future__ import annotations

from threading import get_ident
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from kedro_otel.facts import trace_context
from kedro_otel.facts.clock import clock
from kedro_otel.recording import encoder
from kedro_otel.semconv import names
from kedro_otel.tracing import errors, ids

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kedro_otel.facts.trace_context import Remote
    from kedro_otel.private.writer import PrivateWriter
    from kedro_otel.recording.writer import Writer
    from kedro_otel.tracing.run_nodes import ActiveNode
    from kedro_otel.tracing.sdk.user_provider import Live


_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class ActiveSpan:
    """An operation between its beginning and its end.

    Every attribute has a slot and a value from the start: Python takes far longer for one that an instance and its class both have.
    """

    __slots__ = (
        "current",
        "kind",
        "name",
        "parent",
        "previous",
        "real",
        "said",
        "sampled",
        "span_id",
        "start_ns",
        "state",
        "thread",
        "trace_id",
        "within",
    )

    def __init__(
        self, kind: str, name: str, parent: ActiveSpan | Remote | None, start_ns: int
    ) -> None:
        self.kind, self.name, self.parent, self.start_ns = kind, name, parent, start_ns
        self.thread, self.span_id = get_ident(), ids.span_id()
        self.trace_id: str = parent.trace_id if parent is not None else ""
        self.sampled: bool = parent.sampled if parent is not None else True
        self.state: str = parent.state if parent is not None else ""
        self.said: Mapping[str, Any] = _NOTHING
        self.real: Any = None
        self.current: Any = None
        self.previous: Any = None
        self.within: Any = None

    @property
    def values(self) -> Mapping[str, Any]:
        """What was recorded of it when it began."""
        return self.said


class ActiveDataset(ActiveSpan):
    """The load or save of a dataset; ``type`` is its public type, ``custom``, or None while that is not known."""

    __slots__ = (
        "around",
        "dataset",
        "described",
        "end_ns",
        "lazy",
        "outer",
        "owner",
        "type",
        "verb",
        "written",
    )

    kind = names.DATASET

    def __init__(
        self, verb: str, dataset: str, type_: str | None, parent: ActiveNode, start_ns: int
    ) -> None:
        # What Open's own does of an operation whose parent is known, without the call: nothing is made more often.
        self.parent = self.owner = parent
        self.start_ns, self.thread, self.span_id = (
            start_ns,
            get_ident(),
            ids.span_id(),
        )
        self.trace_id, self.sampled, self.state = parent.trace_id, parent.sampled, parent.state
        self.real = self.current = self.previous = self.within = None
        self.described: dict[str, Any] | None = None
        self.around: Any = None
        self.outer: Any = None
        self.end_ns, self.lazy, self.written = 0, False, False
        self.verb, self.dataset, self.type = verb, dataset, type_

    @property
    def name(self) -> str:  # type: ignore[override]
        """What it is called."""
        return f"{self.verb} {self.dataset}"

    @property
    def values(self) -> Mapping[str, Any]:
        """What is recorded of it."""
        return {
            names.DATASET_NAME: self.dataset,
            names.DATASET_TYPE: self.type,
            names.DATASET_OPERATION: self.verb,
            names.DATASET_LAZY: self.lazy or None,
            **(self.described or {}),
        }


def seconds(times: tuple[int, int, int, int]) -> dict[str, float]:
    """Return how long a node loaded, computed, saved and was in hooks (nanoseconds) as the attributes that say so."""
    load, compute, save, hooks = times
    return {
        names.NODE_LOAD: load / _NANO,
        names.NODE_COMPUTE: compute / _NANO,
        names.NODE_SAVE: save / _NANO,
        names.NODE_HOOKS: hooks / _NANO,
    }


_NANO: Final = 1_000_000_000


class SpanWriter:
    """Writes operations down as they begin and end: to the segment and, where the user owns a provider, through that.

    Args:
        writer: This process's segment.
        environ: The environment, for the sampler.
        full: Whether exception messages and stack traces are recorded.
    """

    def __init__(self, writer: Writer, environ: Mapping[str, str], *, full: bool) -> None:
        self.writer = writer
        self.full = full
        self.private: PrivateWriter | None = None
        self.live: Live | None = None
        self.measure: Callable[[ActiveSpan, int, dict[str, Any], bool], None] | None = None
        self._environ = environ

    def dataset_begins(self, operation: ActiveDataset) -> None:
        """Write that a dataset is being loaded or saved, so that it is named if the process dies in it."""
        operation.written = True
        line = encoder.dataset_start(operation, _more(operation))
        self.writer.start(operation.span_id, line, names.DATASET)

    def dataset(self, operation: ActiveDataset) -> None:
        """Write the operation of a dataset that ended well: the short way of :meth:`begin` and :meth:`finish`, for there are many."""
        end_ns = operation.end_ns
        if (
            self.live is not None
            or self.measure is not None
            or not operation.sampled
            or operation.state
        ):
            self.finish(operation, {}, end_ns=end_ns)
            return
        line = encoder.dataset(operation, end_ns)
        self.writer.span(names.DATASET, line, operation.span_id if operation.written else "")

    def node_ends(
        self,
        operation: ActiveSpan,
        end_ns: int,
        times: tuple[int, int, int, int],
        used: dict[str, Any],
        last: ActiveDataset | None,
    ) -> None:
        """Write that a node ended well, with its ``times`` in nanoseconds and what it ``used``, and before it its ``last`` dataset: the short way too."""
        if (
            self.live is not None
            or self.measure is not None
            or not operation.sampled
            or operation.state
            or end_ns < operation.start_ns
        ):
            if last is not None:
                self.finish(last, {}, end_ns=last.end_ns)
            self.finish(operation, {**seconds(times), **used}, end_ns=end_ns)
            return
        line = encoder.end(
            names.NODE,
            operation.trace_id,
            operation.span_id,
            end_ns,
            encoder.times(*times, encoder.members(used)),
            error=False,
        )
        if last is None:
            self.writer.end(operation.span_id, line)
        else:
            known = last.span_id if last.written else ""
            self.writer.end(operation.span_id, line, encoder.dataset(last, last.end_ns), known)

    def node_begins(self, operation: ActiveSpan) -> None:
        """Write that a node began, whose parent is known: the short way of :meth:`begin`."""
        if self.live is not None:
            self.live.begin(operation)
        parent = operation.parent
        self.writer.start(
            operation.span_id,
            encoder.node(operation, parent.span_id if parent is not None else "", _more(operation)),
        )

    def begin(
        self, operation: ActiveSpan, values: Mapping[str, Any] | None = None, *, own: bool = False
    ) -> None:
        """Give ``operation`` its identity and, if there are ``values`` and it is not to be written whole at its end, write that it began."""
        if values is not None:
            operation.said = values
        if not operation.trace_id:
            operation.trace_id = ids.trace_id()
            operation.sampled = trace_context.sampled(self._environ, operation.trace_id, None)
        elif isinstance(operation.parent, trace_context.Remote):
            operation.sampled = trace_context.sampled(
                self._environ, operation.trace_id, operation.parent
            )
        if self.live is not None:
            self.live.begin(operation)
        if values is not None:
            parent = operation.parent
            line = encoder.start(
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

    def finish(
        self,
        operation: ActiveSpan,
        values: dict[str, Any],
        *,
        end_ns: int = 0,
        error: BaseException | None = None,
        failed: bool = False,
    ) -> None:
        """Write that ``operation`` ended; ``values`` are what became known meanwhile.

        Args:
            operation: What ended.
            values: Further attributes.
            end_ns: When, in nanoseconds since 1970; 0 for now. Never taken to be before the beginning.
            error: The exception it failed with, if known.
            failed: Whether it failed.
        """
        end_ns = max(end_ns or clock.now(), operation.start_ns)
        told = (
            encoder.events([errors.event(error, end_ns)])
            if failed and self.full and error is not None
            else ""
        )
        if operation.kind == names.DATASET:
            line = encoder.span(
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
            self.writer.span(operation.kind, line, operation.span_id)
        else:
            said = encoder.attributes(values)
            line = encoder.end(
                operation.kind,
                operation.trace_id,
                operation.span_id,
                end_ns,
                said,
                error=failed,
                events=told,
            )
            self.writer.end(operation.span_id, line)
        if self.measure is not None:
            self.measure(operation, end_ns, values, failed)
        if self.live is not None and operation.real is not None:
            self.live.finish(operation, values, end_ns, error=error, failed=failed)
        if failed and error is not None and self.private is not None:
            self.private.error(operation.span_id, error)


def _more(operation: ActiveSpan) -> str:
    return (
        ""
        if operation.sampled and not operation.state
        else encoder.rare(sampled=operation.sampled, state=operation.state)
    )
