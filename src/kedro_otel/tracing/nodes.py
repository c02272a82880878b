"""Nodes and datasets of the runs that are open: which hook call belongs to which operation, and when each closes.

Kedro's hooks do not pair up with what a node is. Loads come before ``before_node_run`` and saves after
``after_node_run``; a failed load or save fires no hook of its own; a generator node computes during its saves and nothing
says which chunk is the last; dataset hooks name a node but no run. So operations are kept by key, a node closes when its
last expected save has ended, and what nothing closes is closed by what comes next: another node of the same thread, the
end of the run, or of the process.
"""

from __future__ import annotations

import time
from functools import partial
from threading import RLock, get_ident
from types import CodeType
from typing import TYPE_CHECKING, Any, Final

from kedro_otel.facts import project
from kedro_otel.semconv import names
from kedro_otel.tracing.pending_loads import PendingLoads
from kedro_otel.tracing.run_nodes import ActiveNode, behind
from kedro_otel.tracing.span import ActiveDataset, ActiveSpan, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from kedro_otel.tracing.pending_loads import Load
    from kedro_otel.tracing.run_nodes import RunNodes
    from kedro_otel.tracing.span import SpanWriter

LOAD: Final = "load"
SAVE: Final = "save"

_MEMORY: Final = "kedro.io.memory_dataset.MemoryDataset"


class Nodes:
    """The open nodes of one process.

    Args:
        scribe: Writes them down.
        root: The project's folder, for relative file names.
        family_of: Returns the run that a node of this thread belongs to (by run id and catalog where they are known), or None
            while that cannot be told.
        enter: Makes an operation the current context.
        leave: Puts the context back.
    """

    def __init__(
        self,
        span_writer: SpanWriter,
        root: Path | None,
        family_of: Callable[..., RunNodes | None],
        enter: Callable[[ActiveSpan], None],
        leave: Callable[[ActiveSpan], None],
    ) -> None:
        self._span_writer = span_writer
        self._root = root
        self._family_of = family_of
        self._enter = enter
        self._leave = leave
        self._lock = RLock()
        self.only: RunNodes | None = None
        """The one run that is open, where there is no doubt that a node is one of its."""
        self._files: dict[str, str] = {}
        self._unplaced = PendingLoads()
        self._current: dict[int, ActiveNode] = {}
        self.before_load, self.before_save = (
            partial(self.before_dataset, LOAD),
            partial(self.before_dataset, SAVE),
        )
        self.after_load, self.after_save = (
            partial(self.after_dataset, LOAD),
            partial(self.after_dataset, SAVE),
        )

    def before_dataset(self, operation: str, dataset: str, node: Any) -> None:
        """A load or save begins."""
        now = time.time_ns()
        family = self.only or self._family_of(node, None)
        if family is None:
            if operation == LOAD:
                self._unplaced.began(dataset, node, now)
            return
        found = family.open.get(id(node)) or self._node(family, node, now)
        again = found.datasets.pop((operation, dataset), None)
        if again is not None:
            self._fail_dataset(again, now)
        kind = family.types.get(dataset) or family.type_of(dataset)
        opened = ActiveDataset(operation, dataset, kind, found, now)
        if self._span_writer.live is not None:
            self._span_writer.begin(opened)
        found.datasets[operation, dataset] = opened
        # Nobody's code runs in a load from memory. Asynchronous saves run in other threads, several at once: none of them is current here.
        if kind != _MEMORY and (operation == LOAD or not found.is_async):
            self._enter(opened)

    def after_dataset(self, operation: str, dataset: str, node: Any) -> None:
        """A load or save ended well."""
        if self._unplaced.waiting and operation == LOAD and self._unplaced.ended(dataset, node):
            return
        family = self.only or self._family_of(node, None)
        if family is None:
            return
        found = family.open.get(id(node))
        opened = found.datasets.pop((operation, dataset), None) if found is not None else None
        if found is None or opened is None:
            return
        if opened.current is not None:
            self._leave(opened)
        now = time.time_ns()
        if operation == LOAD:
            self._end_dataset(found, opened, now)
            return
        found.last_ns = now
        found.saved_ns += now - opened.start_ns
        if found.expected is not None:
            found.expected -= 1
        last = found.expected is not None and found.expected <= 0 and not found.streaming
        together = last and opened.type is not None
        if not together:
            self._end_dataset(found, opened, now)
        if last:
            self._finish(found, now, last=opened if together else None)

    def before_node(self, node: Any, catalog: Any, is_async: bool, run_id: str | None) -> None:  # noqa: FBT001 -- as Kedro passes them
        """The node's function is about to be called."""
        now = time.time_ns()
        family = self.only or self._family_of(node, run_id, catalog)
        if family is None:
            return
        if (
            family.catalog is None
        ):  # not known yet, or, in a worker, that of a node before, and gone with it
            family.catalog = catalog
        loads = self._unplaced.take(node, is_async=is_async) if self._unplaced.waiting else []
        found = family.open.get(id(node)) or self._node(
            family, node, min((load.start_ns for load in loads), default=now)
        )
        found.thread = get_ident()
        found.ran_ns = now
        found.is_async = is_async
        if loads:
            self._place_loads(found, loads)
        if found.untyped:
            self._type_loads(found)
        self._enter(found)
        self._current[found.thread] = found

    def after_node(self, node: Any, outputs: Any, run_id: str | None) -> None:
        """The node's function returned ``outputs``; its saves follow."""
        found = self._find(node, run_id)
        if found is None:
            return
        found.returned(outputs, time.time_ns())
        if not found.expected:
            self._finish(found, found.computed_ns)

    def node_failed(self, error: BaseException, node: Any, run_id: str | None) -> None:
        """The node's function raised ``error``."""
        found = self._find(node, run_id)
        if found is not None:
            found.computed_ns = time.time_ns()
            self._finish(found, found.computed_ns, error=error, failed=True)

    def close(
        self, family: RunNodes, error: BaseException | None, failing: Any, *, failed: bool
    ) -> None:
        """Close what is still open of a run that ended.

        Args:
            family: The run's nodes.
            error: Why the run failed, if it did and if that is known.
            failing: The Kedro node in which it did, if known: that one gets ``error``, others failed for unknown reasons.
            failed: Whether the run failed. A generator node with no save under way has ended well all the same, unless it is ``failing``.
        """
        remaining = list(family.open.values())
        for found in remaining:
            wrong = bool(found.stopped_ns or found.raised) or (
                failed and (found.node is failing or bool(found.datasets) or not found.streaming)
            )
            why = found.raised or (
                error
                if wrong and (found.node is failing or failing is None or len(remaining) == 1)
                else None
            )
            self._finish(
                found, found.stopped_ns if wrong else found.last_ns, error=why, failed=wrong
            )

    def _find(self, node: Any, run_id: str | None) -> ActiveNode | None:
        family = self.only or self._family_of(node, run_id)
        return family.open.get(id(node)) if family is not None else None

    def _node(self, family: RunNodes, node: Any, start_ns: int) -> ActiveNode:
        """Return the open operation of ``node``, begun at ``start_ns`` if there is none: its loads may come from several threads at once."""
        found = family.open.get(id(node))
        if found is None:
            if self._current:
                self._close_predecessor(family)
            with self._lock:
                found = family.open.get(id(node))
                if found is None:
                    found = ActiveNode(family, node, start_ns)
                    self._look_at_function(found)
                    self._span_writer.node_begins(found)
                    family.open[id(node)] = self._current[found.thread] = found
        return found

    def _close_predecessor(self, family: RunNodes) -> None:
        """Close the node that this thread ran before for the same run: a generator that ended, or one whose failure no hook told."""
        before = self._current.get(get_ident())
        if before is None or before.family is not family:
            return
        if before.streaming and not before.datasets:
            self._finish(
                before, before.last_ns, error=before.raised, failed=before.raised is not None
            )
        elif isinstance(family.parent, ActiveSpan):
            # The run will end here too, and then say why it failed.
            before.stopped_ns = time.time_ns()
            self._forget(before)
        else:
            self._finish(before, 0, failed=True)

    def _finish(
        self,
        found: ActiveNode,
        end_ns: int,
        *,
        error: BaseException | None = None,
        failed: bool = False,
        last: ActiveDataset | None = None,
    ) -> None:
        """Close a node; ``last`` is the dataset whose save, the last one, ended at the same time."""
        of = found.family
        of.left -= of.open.pop(id(found.node), None) is not None
        now = end_ns or time.time_ns()
        of.last_ns = max(of.last_ns, now)
        try:
            if found.datasets:
                for opened in list(found.datasets.values()):
                    self._leave(opened)
                    if failed:
                        self._fail_dataset(opened, now, error)
                    else:
                        self._end_dataset(found, opened, now)
                found.datasets.clear()
            if found.untyped:
                self._type_loads(found, always=True)
            if failed:
                of.failed, of.why, of.left = True, self._facts(error), 0
                self._span_writer.finish(
                    found,
                    {**seconds(found.times(now)), **of.why},
                    end_ns=now,
                    error=error,
                    failed=True,
                )
            else:
                self._span_writer.node_ends(found, now, found.times(now), last)
        finally:
            self._leave(found)
            self._forget(found)
            found.raised, found.watched = None, ()

    def _forget(self, found: ActiveNode) -> None:
        current = self._current
        if current.get(found.thread) is found:
            del current[found.thread]
        if found.first_thread != found.thread and current.get(found.first_thread) is found:
            del current[found.first_thread]

    def _end_dataset(self, found: ActiveNode, opened: ActiveDataset, end_ns: int) -> None:
        if opened.type is None:
            found.untyped.append((opened, end_ns))
        else:
            self._span_writer.dataset(opened, end_ns)

    def _fail_dataset(
        self, opened: ActiveDataset, end_ns: int, error: BaseException | None = None
    ) -> None:
        self._span_writer.finish(
            opened, self._facts(error), end_ns=end_ns, error=error, failed=True
        )

    def _type_loads(self, found: ActiveNode, *, always: bool = False) -> None:
        """Write the loads that waited for the catalog, without which their dataset's type is not known."""
        if always or found.family.catalog is not None:
            for opened, end_ns in found.untyped:
                opened.type = found.family.type_of(opened.dataset) or names.CUSTOM
                self._span_writer.dataset(opened, end_ns)
            found.untyped.clear()

    def here(self, node: Any) -> RunNodes | None:
        """Return the run for which this thread runs the Kedro ``node``, if it does."""
        found = self._current.get(get_ident())
        return found.family if found is not None and found.node is node else None

    def _place_loads(self, found: ActiveNode, loads: Iterable[Load]) -> None:
        for load in loads:
            opened = ActiveDataset(
                LOAD,
                load.dataset,
                found.family.type_of(load.dataset) or names.CUSTOM,
                found,
                load.start_ns,
            )
            self._span_writer.begin(opened)
            self._span_writer.dataset(opened, load.end_ns)

    def _look_at_function(self, found: ActiveNode) -> None:
        """Note which function the user wrote, and where."""
        function = behind(found.node.func)
        code = getattr(function, "__code__", None)
        qualified = getattr(function, "__qualname__", None)
        if not isinstance(qualified, str):
            qualified = type(function).__qualname__
        found.function = f"{getattr(function, '__module__', None) or ''}.{qualified}".strip(".")
        if isinstance(code, CodeType):
            found.file = self._file(code.co_filename)

    def _file(self, path: str) -> str | None:
        """Return ``path`` as it may be recorded."""
        known = self._files.get(path)
        if known is None and self._root is not None:
            known = self._files[path] = project.relative(path, self._root)
        return known

    def _facts(self, error: BaseException | None) -> dict[str, Any]:
        from kedro_otel.tracing import errors

        return errors.facts(error, self._root)
