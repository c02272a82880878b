"""A session, its catalog and its runs; of the nodes the hooks tell the open runs themselves."""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING, Any

from kedro_otel import guard
from kedro_otel.runtime import leaving, making
from kedro_otel.runtime.state import state

if TYPE_CHECKING:
    from kedro_otel.tracing.nodes import Nodes


def heard(voice: object) -> bool:
    """Return whether ``voice``, one of our hook objects, is the one listened to: a user may have registered a second."""
    if state.voice is None:
        state.voice = voice
    return state.voice is voice


def context_created(voice: object, context: Any) -> None:
    """``after_context_created``: in a session without the command line this is the first that is heard of a project."""
    manager = context._hook_manager  # noqa: SLF001 -- which of our hook objects this session has, nothing else tells
    if state.voice is not voice and manager.is_registered(state.voice):
        return
    state.voice, state.context = voice, weakref.ref(context)
    recorder = state.recorder
    if recorder is not None and recorder.command is not None:
        return
    _watch_notebook()
    if not state.decided or context.project_path != state.root:
        making.decide(context.project_path, context._package_name)  # noqa: SLF001 -- the same name as the CLI's metadata carries


def _watch_notebook() -> None:
    """Learn when a notebook's cell ends: Ctrl-C ends its run without a word of Kedro's."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    if shell is not None and not state.watching:
        state.watching = True
        shell.events.register("post_run_cell", _cell_ended)


@guard.guarded
def _cell_ended(result: Any) -> None:
    recorder = state.recorder
    if recorder is not None and recorder.running:
        recorder.interrupted(result.error_in_exec)
        leaving.ship("run ended")


def catalog_created(catalog: Any) -> None:
    """``after_catalog_created``: count the project's own catalog, before a run adds what its patterns resolve to."""
    if state.recorder is not None:
        from kedro_otel import project
        from kedro_otel.tracing.family import weakly

        del state.statistics[:-4]
        state.statistics.append((weakly(catalog), project.statistics(catalog, None, 0)))


def run_began(params: Any, pipeline: Any, catalog: Any) -> None:
    """``before_pipeline_run``."""
    if not state.decided:
        from pathlib import Path

        where = params.get("project_path") if isinstance(params, dict) else None
        making.decide(Path(where) if where else None, making.package_name())
    recorder = state.recorder
    if recorder is None:
        return
    from kedro_otel import run_facts

    counted: dict[str, Any] = next((found for known, found in reversed(state.statistics) if known() is catalog), {})
    state.statistics = [(known, found) for known, found in state.statistics if known() is not None and known() is not catalog]
    context = state.context() if state.context is not None else None
    values = {**run_facts.values(params, pipeline, recorder.root, context), **counted, **(run_facts.pipeline_statistics() if counted else {})}
    recorder.run_began(run_facts.span_name(params), values, params, pipeline, catalog)
    leaving.ship("run")


def run_ended(params: Any, error: BaseException | None = None, *, failed: bool = False) -> None:
    """``after_pipeline_run`` and ``on_pipeline_error``."""
    recorder = state.recorder
    if recorder is not None:
        recorder.run_ended(params, error, failed=failed)
        if recorder.command is None:
            leaving.ship("run ended")


def nodes_for(voice: object) -> Nodes | None:
    """Return what is open in this process's runs if ``voice`` is listened to; a worker makes its recorder when its first node comes."""
    if state.voice is not voice and not heard(voice):
        return None
    recorder = state.recorder
    if recorder is None:
        if state.decided:
            return None
        recorder = making.join()
    if recorder is not None:
        state.nodes = recorder.runs.nodes
    return state.nodes
