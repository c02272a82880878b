"""A session, its catalog and its runs. Hooks of nodes and datasets go to the open runs directly."""

from __future__ import annotations

import os
import sys
import weakref
from typing import TYPE_CHECKING, Any

from kedro_otel import guard
from kedro_otel.runtime import setup, shutdown
from kedro_otel.runtime.state import state

if TYPE_CHECKING:
    from kedro_otel.tracing.nodes import Nodes


def is_active_hooks(hooks: object) -> bool:
    """Return whether ``hooks`` is the one hook object that records: a user may have registered a second."""
    if state.active_hooks is None:
        state.active_hooks = hooks
    return state.active_hooks is hooks


def context_created(hooks: object, context: Any) -> None:
    """``after_context_created``: in a session without the command line, the first hook that names a project."""
    manager = context._hook_manager  # noqa: SLF001 -- which of our hook objects this session has, nothing else tells
    if state.active_hooks is not hooks and manager.is_registered(state.active_hooks):
        return
    state.active_hooks, state.context = hooks, weakref.ref(context)
    recorder = state.recorder
    if recorder is not None and recorder.command is not None:
        return
    _watch_notebook()
    if not state.decided or context.project_path != state.root:
        setup.decide(context.project_path, context._package_name)  # noqa: SLF001 -- the same name as the CLI's metadata carries


def _watch_notebook() -> None:
    """Register for the end of a notebook's cell: Kedro calls no hook when Ctrl-C ends a run."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    if shell is not None and not state.ipython_hooked:
        state.ipython_hooked = True
        shell.events.register("post_run_cell", _cell_ended)


@guard.guarded
def _cell_ended(result: Any) -> None:
    recorder = state.recorder
    if recorder is not None and recorder.running:
        recorder.interrupted(result.error_in_exec)
        shutdown.ship("run ended")


def catalog_created(catalog: Any) -> None:
    """``after_catalog_created``: count the project's own catalog, before a run adds what its patterns resolve to."""
    if state.recorder is not None:
        from kedro_otel.facts import project
        from kedro_otel.tracing.run_nodes import weakly

        del state.statistics[:-4]
        state.statistics.append((weakly(catalog), project.catalog_statistics(catalog)))


def run_began(params: Any, pipeline: Any, catalog: Any) -> None:
    """``before_pipeline_run``."""
    if not state.decided:
        from pathlib import Path

        where = params.get("project_path") if isinstance(params, dict) else None
        setup.decide(Path(where) if where else None, setup.package_name())
    recorder = state.recorder
    if recorder is None:
        return
    from kedro_otel.facts import links, run_attributes, run_key
    from kedro_otel.semconv import names

    counted: dict[str, Any] = next(
        (found for known, found in reversed(state.statistics) if known() is catalog), {}
    )
    state.statistics = [
        (known, found)
        for known, found in state.statistics
        if known() is not None and known() is not catalog
    ]
    context = state.context() if state.context is not None else None
    resource = recorder.writer.resource
    values = {
        **run_attributes.values(params, pipeline, recorder.root, context),
        names.CI_RUN_URL: links.ci_run(os.environ) if resource.get(names.CI) else None,
        **counted,
        **(run_attributes.pipeline_statistics() if counted else {}),
        **run_key.attributes(os.environ, resource, sliced=run_attributes.sliced(params)),
    }
    recorder.run_began(run_attributes.span_name(params), values, params, pipeline, catalog)
    shutdown.ship("run")


def run_ended(params: Any, error: BaseException | None = None, *, failed: bool = False) -> None:
    """``after_pipeline_run`` and ``on_pipeline_error``."""
    recorder = state.recorder
    if recorder is not None:
        recorder.run_ended(params, error, failed=failed)
        if recorder.command is None:
            shutdown.ship("run ended")


def nodes_for(hooks: object) -> Nodes | None:
    """Return the open nodes of this process's runs if ``hooks`` is active.

    A worker makes its recorder when its first node begins.
    """
    if state.active_hooks is not hooks and not is_active_hooks(hooks):
        return None
    recorder = state.recorder
    if recorder is None:
        if state.decided:
            return None
        recorder = setup.join()
    if recorder is not None:
        state.nodes = recorder.runs.nodes
    return state.nodes
