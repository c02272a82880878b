"""The nodes of one run, and each between its first load and its last save: what is known of it meanwhile."""

from __future__ import annotations

import inspect
import sys
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from threading import get_ident
from types import CodeType
from typing import TYPE_CHECKING, Any, Final

from kedro_otel.facts import project
from kedro_otel.guard import guarded
from kedro_otel.semconv import names
from kedro_otel.tracing.span import ActiveDataset, ActiveSpan

if TYPE_CHECKING:
    from kedro_otel.facts.trace_context import Remote
    from kedro_otel.facts.usage import Memory, Reading

_MOST: Final = 32
"""Decorators that are looked behind."""


class RunNodes:
    """The nodes of one run: those open, and what they share.

    Args:
        parent: The run, or the run in another process for which this one works.
        run_id: Kedro's id of the run.
        catalog: The run's catalog, where it is known.
    """

    __slots__ = (
        "_catalog",
        "ended_well",
        "failed",
        "last_ns",
        "left",
        "open",
        "parent",
        "peak",
        "run_id",
        "side_by_side",
        "types",
        "why",
    )

    def __init__(
        self, parent: ActiveSpan | Remote | None, run_id: str | None, catalog: Any = None
    ) -> None:
        self.parent = parent
        self.run_id = run_id
        self._catalog: Callable[[], Any] | None = None
        self.catalog = catalog
        self.failed = False
        self.ended_well = False
        """Whether the node that ended last ended well."""
        self.why: dict[str, Any] = {}
        """What is said of the last failure: not the exception itself, which holds all that was on the stack."""
        self.last_ns = 0
        self.left = 0
        """How many nodes are still to end, where that is known."""
        self.open: dict[Any, ActiveNode] = {}
        """By node, and where several threads execute one node at once, by node and thread for all but the first."""
        self.side_by_side = False
        """Whether that ever happened."""
        self.types: dict[str, str] = {}
        self.peak = 0
        """The highest memory of a node that ended, in bytes."""

    @property
    def catalog(self) -> Any:
        """The run's catalog, as long as somebody else holds it: with it go the user's data."""
        return self._catalog() if self._catalog is not None else None

    @catalog.setter
    def catalog(self, catalog: Any) -> None:
        self._catalog = weakly(catalog) if catalog is not None else None

    def type_of(self, dataset: str) -> str | None:
        """Return the public type of ``dataset``, ``custom``, or None while the catalog is not known."""
        known = self.types.get(dataset)
        catalog = self.catalog if known is None else None
        if catalog is not None:
            known = self.types[dataset] = project.type_in(catalog, dataset)
        return known

    def busy(self, node: Any, thread: int) -> bool:
        """Return whether ``thread`` loads or saves a dataset of ``node`` now."""
        found = self.execution(node)
        return found is not None and any(
            opened.thread == thread for opened in found.datasets.values()
        )

    def execution(self, node: Any) -> ActiveNode | None:
        """Return the execution of ``node`` that this thread works for, if it is open."""
        key = id(node)
        if self.side_by_side:
            mine = self.open.get((key, get_ident()))
            if mine is not None:
                return mine
        return self.open.get(key)


class ActiveNode(ActiveSpan):
    """A node between its first load and its last save."""

    __slots__ = (
        "called_ns",
        "datasets",
        "expected",
        "family",
        "file",
        "final",
        "first_thread",
        "function",
        "inputs",
        "is_async",
        "key",
        "last_ns",
        "loads",
        "memory",
        "namespace",
        "node",
        "node_name",
        "outputs",
        "peak",
        "raised",
        "returned_ns",
        "saves",
        "shared",
        "stopped_ns",
        "streamed_ns",
        "streaming",
        "tags",
        "untyped",
        "used",
        "used_last",
        "used_thread",
        "watched",
    )

    def __init__(self, family: RunNodes, node: Any, start_ns: int, key: Any) -> None:
        name = node.name
        super().__init__(names.NODE, f"node {name}", family.parent, start_ns)
        self.family, self.node, self.node_name, self.first_thread = family, node, name, self.thread
        self.tags, self.namespace, self.inputs, self.outputs = (
            sorted(node.tags),
            node.namespace,
            node.inputs,
            node.outputs,
        )
        self.key = key
        self.function = ""
        self.file: str | None = None
        self.called_ns = self.returned_ns = self.last_ns = self.streamed_ns = self.stopped_ns = 0
        self.loads: list[tuple[int, int]] = []
        self.saves: list[tuple[int, int]] = []
        self.final: ActiveDataset | None = None
        self.is_async = self.streaming = False
        self.expected: int | None = None
        self.raised: BaseException | None = None
        self.watched: tuple[weakref.ref[Any], ...] = ()
        self.datasets: dict[tuple[str, str, int], ActiveDataset] = {}
        self.untyped: list[ActiveDataset] = []
        self.used: Reading | None = None
        self.used_last: Reading | None = None
        self.memory: Memory | None = None
        self.peak: int | None = None
        self.used_thread = 0
        self.shared = False
        """Whether another node was open in this process at the same time."""

    @property
    def values(self) -> Mapping[str, Any]:
        """What is recorded of it when it begins."""
        return {
            names.NODE_NAME: self.node_name,
            names.NODE_TAGS: self.tags or None,
            names.NODE_NAMESPACE: self.namespace,
            names.FUNCTION_NAME: self.function,
            names.FILE_PATH: self.file,
            names.NODE_INPUTS: self.inputs or None,
            names.NODE_OUTPUTS: self.outputs or None,
        }

    def returned(self, outputs: Mapping[str, Any] | None, now: int) -> None:
        """The node's function returned ``outputs`` at ``now``: so many saves follow, or, of a generator, nobody knows how many."""
        self.returned_ns = self.last_ns = now
        outputs = outputs or {}
        self.expected = len(outputs)
        self.streaming = bool(outputs) and (_generates(self.node.func) or _iterates(outputs))
        if self.streaming and not isinstance(self.family.parent, ActiveSpan):
            self._watch(outputs)

    @property
    def awaits_nothing(self) -> bool:
        """Whether all saves that are to come have ended."""
        return self.expected is not None and self.expected <= 0 and not self.streaming

    @property
    def last_sign_was_ok(self) -> bool:
        """Whether it returned, and saves nothing now: of a generator, or where somebody else saves its outputs, no more comes."""
        return bool(self.last_ns) and not self.datasets

    def _watch(self, outputs: Mapping[str, Any]) -> None:
        """Learn of a generator of a worker's what no hook tells: that it raised. What it raised is being handled when it goes."""

        @guarded
        def gone(_: Any) -> None:
            self.raised = self.raised or sys.exc_info()[1]

        with suppress(TypeError):  # an iterator that cannot be watched
            self.watched = tuple(weakref.ref(item, gone) for item in outputs.values())

    def times(self, end_ns: int) -> tuple[int, int, int, int]:
        """Return the nanoseconds of loads, of the function, of saves, and the rest of the duration: of hooks."""
        load, save, compute = covered(self.loads), covered(self.saves), self.streamed_ns
        if self.called_ns:
            compute += (self.returned_ns or end_ns) - self.called_ns
        return load, compute, save, max(end_ns - self.start_ns - load - compute - save, 0)


def covered(intervals: list[tuple[int, int]]) -> int:
    """Return the time in which at least one of the ``intervals``, each (begin, end), was under way."""
    if len(intervals) == 1:
        return intervals[0][1] - intervals[0][0]
    total = until = 0
    for begin, end in sorted(intervals):
        total += max(end - max(begin, until), 0)
        until = max(until, end)
    return total


def weakly(catalog: Any) -> Callable[[], Any]:
    """Return what returns ``catalog`` for as long as somebody else holds it; of one that cannot be referred to so, for ever."""
    try:
        return weakref.ref(catalog)
    except TypeError:
        return lambda: catalog


def behind(function: Any) -> Any:
    """Return the function that a user wrote, behind partials and decorators; of an object that answers to every name, soon give up."""
    for _ in range(_MOST):
        inner = (
            function.func
            if isinstance(function, partial)
            else getattr(function, "__wrapped__", None)
        )
        if inner is None:
            break
        function = inner
    return function


def _iterates(outputs: Mapping[str, Any]) -> bool:
    """Return whether all of ``outputs`` are iterators: by their classes, since to ask the abstract one takes its time."""
    for item in outputs.values():
        kind = type(item)
        if not (hasattr(kind, "__next__") and hasattr(kind, "__iter__")):
            return False
    return True


def _generates(function: Any) -> bool:
    """Return whether ``function`` is a generator's, as :func:`inspect.isgeneratorfunction` does, which takes its time."""
    code = getattr(function, "__code__", None)
    return (
        bool(code.co_flags & inspect.CO_GENERATOR)
        if isinstance(code, CodeType)
        else inspect.isgeneratorfunction(function)
    )
