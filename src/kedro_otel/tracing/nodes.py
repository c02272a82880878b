"""Nodes and datasets of the runs that are open: which hook call belongs to which operation, and when each closes.

Kedro's hooks do not pair up with what a node is. Loads come before ``before_node_run`` and saves after
``after_node_run``; a failed load or save fires no hook of its own; a generator node computes during its saves and nothing
says which chunk is the last; dataset hooks name a node but no run. So operations are kept by key, a node closes when its
last expected save has ended, and what nothing closes is closed by what comes next: another node of the same thread, the
end of the run, or of the process.
"""

from __future__ import annotations

from threading import RLock, get_ident
from types import CodeType
from typing import TYPE_CHECKING, Any, Final

from kedro_otel.facts import data_description, data_file, project
from kedro_otel.facts.clock import clock
from kedro_otel.semconv import names
from kedro_otel.tracing import kedro_frames
from kedro_otel.tracing.node_usage import AUTO, NodeUsage
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
_MOMENT_NS: Final = 10_000_000
_UNKNOWN: Final = {names.OUTCOME: names.UNKNOWN}


class Nodes:
    """The open nodes of one process.

    Args:
        scribe: Writes them down.
        root: The project's folder, for relative file names.
        family_of: Returns the run that a node of this thread belongs to (by run id and catalog where they are known), or None
            while that cannot be told.
        enter: Makes an operation the current context.
        leave: Puts the context back.
        contexts: Returns :mod:`kedro_otel.tracing.sdk.context`.
        memory: How the highest memory of a node is found: the setting ``memory``.
    """

    def __init__(
        self,
        span_writer: SpanWriter,
        root: Path | None,
        family_of: Callable[..., RunNodes | None],
        enter: Callable[[ActiveSpan], None],
        leave: Callable[[ActiveSpan], None],
        contexts: Callable[[], Any],
        memory: str = AUTO,
    ) -> None:
        self._span_writer = span_writer
        self._root = root
        self._family_of = family_of
        self._enter = enter
        self._leave = leave
        self._contexts = contexts
        self.usage = NodeUsage(memory)
        self._lock = RLock()
        self.only: RunNodes | None = None
        """The one run that is open, where there is no doubt that a node is one of its."""
        self._files: dict[str, str] = {}
        self._unplaced = PendingLoads()
        self._current: dict[int, ActiveNode] = {}
        self._latest: ActiveDataset | None = None
        """The load that was seen last, which the next hook of the same call is about."""
        self._around: dict[int, ActiveDataset] = {}
        """By thread, the load next to whose hooks the node is current."""

    # Of each hook of Kedro's there may be two methods: the first is called before every other
    # plugin's hook, the second after. What lies between is other people's time.

    def before_load(self, dataset: str, node: Any) -> None:
        """A load is going to begin: first of ``before_dataset_loaded``."""
        now = clock.now()
        family = self.only or self._family_of(node, None)
        if family is None:
            self._unplaced.began(dataset, node, now)
            return
        found = self._execution(family, node, now)
        self._latest = opened = self._open(LOAD, dataset, family, found, now)
        if opened.type != _MEMORY:  # nobody's code runs in a load from memory
            self._enter_parent(opened)

    def load(self, dataset: str, node: Any) -> None:
        """It begins: last of ``before_dataset_loaded``."""
        opened = self._latest
        if not (
            opened is not None
            and opened.dataset is dataset
            and opened.owner.node is node
            and opened.thread == get_ident()
        ):
            opened = self._find_dataset(LOAD, dataset, node)
        if opened is not None:
            self._start(opened)
        elif not (self._unplaced.waiting and self._unplaced.starts(dataset, node)):
            # The first call in a worker, which made the recorder: nothing of ours came before it.
            self.before_load(dataset, node)
            opened = self._find_dataset(LOAD, dataset, node)
            if opened is not None:
                self._start(opened)

    def loaded(self, dataset: str, data: Any, node: Any) -> None:
        """It ended well: first of ``after_dataset_loaded``."""
        now = clock.now()
        if self._unplaced.waiting:
            load = self._unplaced.ended(dataset, node, now)
            if load is not None:
                load.described = _described(dataset, data)
                return
        opened = self._pop_dataset(LOAD, dataset, node)
        if opened is None:
            return
        opened.end_ns = now
        found = opened.owner
        found.loads.append((opened.start_ns, now))
        if opened.current is not None:
            self._leave(opened)
        opened.described = _described(dataset, data)
        self._end_dataset(found, opened)

    def after_load(self, dataset: str, node: Any) -> None:  # noqa: ARG002 -- what the hook gets
        """Every other hook has run: last of ``after_dataset_loaded``."""
        if self._around:
            opened = self._around.pop(get_ident(), None)
            if opened is not None:
                self._leave_parent(opened)

    def before_save(self, dataset: str, node: Any) -> None:  # noqa: ARG002 -- what the hook gets
        """A save is going to begin: first of ``before_dataset_saved``. A generator has computed until now."""
        family = self.only or self._family_of(node, None)
        found = family.execution(node) if family is not None else None
        if found is not None and found.streaming:
            found.streamed_ns += clock.now() - found.last_ns

    def save(self, dataset: str, data: Any, node: Any) -> None:
        """It begins: last of ``before_dataset_saved``."""
        now = clock.now()
        family = self.only or self._family_of(node, None)
        if family is None:
            return
        found = self._execution(family, node, now)
        opened = self._open(SAVE, dataset, family, found, now)
        opened.lazy = opened.type != _MEMORY and project.is_lazy(type(data))
        self._start(opened)

    def saved(self, dataset: str, data: Any, node: Any) -> None:
        """It ended well: first of ``after_dataset_saved``."""
        now = clock.now()
        opened = self._pop_dataset(SAVE, dataset, node)
        if opened is None:
            return
        opened.end_ns = now
        found = opened.owner
        found.saves.append((opened.start_ns, now))
        if opened.current is not None:
            self._leave(opened)
        if found.expected is not None:
            found.expected -= 1
        opened.described = _described(dataset, data)
        if found.awaits_nothing and opened.type is not None:
            self._add_file(opened)
            found.final = opened  # written together with the node's end
        else:
            self._end_dataset(found, opened)

    def after_save(self, dataset: str, node: Any) -> None:  # noqa: ARG002 -- what the hook gets
        """Every other hook has run: last of ``after_dataset_saved``."""
        found = self._find(node, None)
        if found is not None:
            found.last_ns = now = clock.now()
            if found.awaits_nothing:
                self._finish(found, now)
            elif found.streaming:
                self.usage.pauses(found)

    def before_node(self, node: Any, catalog: Any, is_async: bool, run_id: str | None) -> None:  # noqa: FBT001 -- as Kedro passes them
        """The node's function is going to be called: first of ``before_node_run``."""
        now = clock.now()
        family = self.only or self._family_of(node, run_id, catalog)
        if family is None:
            return
        if (
            family.catalog is None
        ):  # not known yet, or, in a worker, that of a node before, and gone with it
            family.catalog = catalog
        loads = self._unplaced.take(node, is_async=is_async) if self._unplaced.waiting else []
        found = self._execution(family, node, min((load.first_ns for load in loads), default=now))
        found.thread = get_ident()
        found.is_async = is_async
        if loads:
            self._place_loads(found, loads)
        if found.untyped:
            self._type_loads(found)
        self._enter(found)
        self._current[found.thread] = found

    def call(self, node: Any, catalog: Any, is_async: bool, run_id: str | None) -> None:  # noqa: FBT001 -- as Kedro passes them
        """It is called: last of ``before_node_run``."""
        found = self._find(node, run_id)
        if found is None:  # the first call in a worker
            self.before_node(node, catalog, is_async, run_id)
            found = self._find(node, run_id)
        if found is not None:
            found.called_ns = clock.now()

    def returned(self, node: Any, outputs: Any, run_id: str | None) -> None:
        """It returned ``outputs``: first of ``after_node_run``. Saves follow."""
        now = clock.now()
        found = self._find(node, run_id)
        if found is not None:
            found.returned(outputs, now)

    def after_node(self, node: Any, run_id: str | None) -> None:
        """Every other hook has run: last of ``after_node_run``."""
        found = self._find(node, run_id)
        if found is not None and (found.streaming or not found.expected):
            found.last_ns = now = clock.now()
            if not found.expected:
                self._finish(found, now)
            else:
                self.usage.pauses(found)

    def raised(self, node: Any, run_id: str | None) -> None:
        """The node's function raised: first of ``on_node_error``."""
        now = clock.now()
        found = self._find(node, run_id)
        if found is not None:
            found.returned_ns = now

    def node_failed(self, error: BaseException, node: Any, run_id: str | None) -> None:
        """Every other hook has run with its ``error``: last of ``on_node_error``."""
        found = self._find(node, run_id)
        if found is not None:
            self._finish(found, clock.now(), error=error, failed=True)

    def close(
        self,
        family: RunNodes,
        error: BaseException | None,
        failing: Any,
        *,
        failed: bool,
        unknown: bool = False,
    ) -> None:
        """Close what is still open of a run that ended.

        Args:
            family: The run's nodes.
            error: Why the run failed, if it did and if that is known.
            failing: The Kedro node in which it did, if known: that one gets ``error``, others failed for unknown reasons.
            failed: Whether the run failed. A node that returned and saves nothing now has ended well all the same, unless it is ``failing``.
            unknown: Whether nothing tells how the run ended, and so how such nodes did.
        """
        remaining = list(family.open.values())
        for found in remaining:
            under_way = not found.last_sign_was_ok
            doubtful = bool(found.stopped_ns) or under_way
            wrong = bool(found.raised) or (failed and (found.node is failing or doubtful))
            unclear = not wrong and (bool(found.stopped_ns) or (unknown and under_way))
            why = found.raised or (
                error
                if wrong and (found.node is failing or failing is None or len(remaining) == 1)
                else None
            )
            self._finish(
                found,
                found.stopped_ns if wrong or unclear else found.last_ns,
                error=why,
                failed=wrong,
                unknown=unclear,
            )

    def _open(
        self, verb: str, dataset: str, family: RunNodes, found: ActiveNode, now: int
    ) -> ActiveDataset:
        """Open the load or save of a dataset, in place of one of this thread's that nothing ended."""
        key = verb, dataset, get_ident()
        again = found.datasets.pop(key, None)
        if again is not None:
            self._fail_dataset(again, now)
        kind = family.types.get(dataset) or family.type_of(dataset)
        found.datasets[key] = opened = ActiveDataset(verb, dataset, kind, found, now)
        return opened

    def _start(self, opened: ActiveDataset) -> None:
        """Begin a load or save, whose hooks have all returned: what follows is its own time.

        That it began is written at once, so that it is named if the process dies in it; not of one
        in memory in the first moment of its node, which takes less time than the line.
        """
        found = opened.owner
        opened.start_ns = now = clock.now()
        if self._span_writer.live is not None:
            self._span_writer.begin(opened)
        in_memory = opened.type == _MEMORY
        if not in_memory or now - found.start_ns > _MOMENT_NS:
            self._span_writer.dataset_begins(opened)
        # Asynchronous saves run in other threads, several at once: none of them is current here.
        if not in_memory and (opened.verb == LOAD or not found.is_async):
            self._enter(opened)

    def _find_dataset(self, verb: str, dataset: str, node: Any) -> ActiveDataset | None:
        """Return the load or save of this thread that is under way."""
        family = self.only or self._family_of(node, None)
        found = family.execution(node) if family is not None else None
        return found.datasets.get((verb, dataset, get_ident())) if found is not None else None

    def _pop_dataset(self, verb: str, dataset: str, node: Any) -> ActiveDataset | None:
        """Take out the load or save of this thread that is under way."""
        family = self.only or self._family_of(node, None)
        found = family.execution(node) if family is not None else None
        return found.datasets.pop((verb, dataset, get_ident()), None) if found is not None else None

    def _enter_parent(self, opened: ActiveDataset) -> None:
        """Let the node be current while other plugins' hooks run before and after its load."""
        self._contexts().enter_parent(opened)
        self._around[get_ident()] = opened

    def _leave_parent(self, opened: ActiveDataset) -> None:
        self._contexts().leave_parent(opened)

    def _find(self, node: Any, run_id: str | None) -> ActiveNode | None:
        family = self.only or self._family_of(node, run_id)
        return family.execution(node) if family is not None else None

    def _execution(self, family: RunNodes, node: Any, start_ns: int) -> ActiveNode:
        """Return the execution of ``node`` that this thread works for, begun at ``start_ns`` if there is none: its loads may come from several threads at once.

        Several threads may execute one node at once, each in a call of a runner of its own.
        """
        found = family.execution(node) or self._node(family, node, start_ns, id(node))
        thread = get_ident()
        if found.thread != thread and (
            kedro_frames.execute(node, thread, found.thread)
            or family.open.get(found.key) is not found  # it ended just now
        ):
            return self._node(family, node, start_ns, (id(node), thread))
        return found

    def _node(self, family: RunNodes, node: Any, start_ns: int, key: Any) -> ActiveNode:
        if self._current:
            self._close_predecessor(family)
        with self._lock:
            found = family.open.get(key)
            if found is None:
                found = ActiveNode(family, node, start_ns, key)
                self._look_at_function(found)
                self._span_writer.node_begins(found)
                family.side_by_side = family.side_by_side or key != id(node)
                family.open[key] = self._current[found.thread] = found
                self.usage.begins(found)
        return found

    def _close_predecessor(self, family: RunNodes) -> None:
        """Close the node that this thread ran before for the same run: a generator that ended, or one whose failure no hook told."""
        before = self._current.get(get_ident())
        if before is None or before.family is not family:
            return
        if before.last_sign_was_ok:
            self._finish(
                before, before.last_ns, error=before.raised, failed=before.raised is not None
            )
        elif isinstance(family.parent, ActiveSpan):
            # The run will end here too, and then say why it failed.
            before.stopped_ns = clock.now()
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
        unknown: bool = False,
    ) -> None:
        """Close a node: ended well unless it ``failed`` or that is ``unknown``."""
        of = found.family
        now = end_ns or clock.now()
        with self._lock:  # nodes of several threads end at once
            of.left -= of.open.pop(found.key, None) is not None
            of.last_ns = max(of.last_ns, now)
        try:
            used = self.usage.ends(found, now)
            if found.datasets:
                for opened in list(found.datasets.values()):
                    self._leave(opened)
                    if self._around.get(opened.thread) is opened:
                        self._leave_parent(self._around.pop(opened.thread))
                    (found.loads if opened.verb == LOAD else found.saves).append(
                        (opened.start_ns, max(now, opened.start_ns))
                    )
                    if failed:
                        self._fail_dataset(opened, now, error)
                    elif unknown:
                        self._span_writer.finish(opened, _UNKNOWN, end_ns=now)
                    else:
                        opened.end_ns = now
                        self._end_dataset(found, opened)
                found.datasets.clear()
            if found.untyped:
                self._type_loads(found, always=True)
            last, found.final = found.final, None
            if last is not None and (failed or unknown):
                self._span_writer.dataset(last)
            if failed:
                of.failed, of.why, of.left = True, self._facts(error), 0
                self._span_writer.finish(
                    found,
                    {**seconds(found.times(now)), **used, **of.why},
                    end_ns=now,
                    error=error,
                    failed=True,
                )
            elif unknown:
                of.ended_well = False
                self._span_writer.finish(
                    found, {**seconds(found.times(now)), **used, **_UNKNOWN}, end_ns=now
                )
            else:
                of.ended_well = True
                self._span_writer.node_ends(found, now, found.times(now), used, last)
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

    def _end_dataset(self, found: ActiveNode, opened: ActiveDataset) -> None:
        if opened.type is None:
            found.untyped.append(opened)
        else:
            self._add_file(opened)
            self._span_writer.dataset(opened)

    def _add_file(self, opened: ActiveDataset) -> None:
        """Add what is known of the file of a dataset whose load or save ended well."""
        if opened.type != _MEMORY:
            of_file = data_file.facts(opened.owner.family.catalog, opened.dataset, opened.verb)
            if of_file:
                opened.described = {**(opened.described or {}), **of_file}

    def _fail_dataset(
        self, opened: ActiveDataset, end_ns: int, error: BaseException | None = None
    ) -> None:
        self._span_writer.finish(
            opened, self._facts(error), end_ns=end_ns, error=error, failed=True
        )

    def _type_loads(self, found: ActiveNode, *, always: bool = False) -> None:
        """Write the loads that waited for the catalog, without which their dataset's type is not known."""
        if always or found.family.catalog is not None:
            for opened in found.untyped:
                opened.type = found.family.type_of(opened.dataset) or names.CUSTOM
                self._add_file(opened)
                self._span_writer.dataset(opened)
            found.untyped.clear()

    def of_thread(self) -> ActiveNode | None:
        """Return the node that this thread runs; in a thread that runs none, the only one that is open."""
        current = self._current
        found = current.get(get_ident())
        if found is None and len(current) == 1:
            found = next(iter(current.values()), None)
        return found

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
            opened.end_ns, opened.described = load.end_ns, load.described
            self._add_file(opened)
            found.loads.append((load.start_ns, load.end_ns))
            self._span_writer.begin(opened)
            self._span_writer.dataset(opened)

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


def _described(dataset: str, data: Any) -> dict[str, Any] | None:
    """Return what is known of ``data``, unless they are parameters."""
    return None if dataset.startswith(project.PARAMETERS) else data_description.describe(data)
