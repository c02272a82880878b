"""Kedro's run hooks: each says in one line what happened.

The order in which they run is part of what they promise: ours open last and first, and close last, so that what other
plugins do in their hooks is seen from the inside of the right operation.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl

from kedro_otel.guard import guarded, swallow
from kedro_otel.runtime import sessions
from kedro_otel.runtime.state import state

if TYPE_CHECKING:
    from collections.abc import Callable


def _forward_to_nodes(method: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator for a hook that says to the open nodes what Kedro says: it calls their ``method`` with the hook's own arguments.

    There are six such calls a node, so guard, look-up and hook are one function. Kedro passes arguments by position.
    """

    def decorate(signature: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(signature)
        def hook(self: KedroOtelHooks, *args: Any) -> None:
            try:
                nodes = state.nodes if state.active_hooks is self else None
                if nodes is None:
                    nodes = sessions.nodes_for(self)
                if nodes is not None:
                    getattr(nodes, method)(*args)
            except Exception as error:
                swallow(signature.__qualname__, error)

        return hook

    return decorate


class KedroOtelHooks:
    """Records pipeline runs. Kedro loads an instance by itself; one in ``settings.HOOKS`` as well records nothing twice."""

    @hook_impl(tryfirst=True)
    @guarded
    def after_context_created(self, context: Any) -> None:
        """A session begins."""
        sessions.context_created(self, context)

    @hook_impl(trylast=True)
    @guarded
    def after_catalog_created(self, catalog: Any) -> None:
        """The session has its catalog."""
        if sessions.is_active_hooks(self):
            sessions.catalog_created(catalog)

    @hook_impl(trylast=True)
    @guarded
    def before_pipeline_run(self, run_params: Any, pipeline: Any, catalog: Any) -> None:
        """A run begins, after every other plugin had its chance to set a provider."""
        if sessions.is_active_hooks(self):
            sessions.run_began(run_params, pipeline, catalog)

    @hook_impl(trylast=True)
    @guarded
    def after_pipeline_run(self, run_params: Any) -> None:
        """The run ended well."""
        if sessions.is_active_hooks(self):
            sessions.run_ended(run_params)

    @hook_impl(trylast=True)
    @guarded
    def on_pipeline_error(self, error: Any, run_params: Any) -> None:
        """The run failed."""
        if sessions.is_active_hooks(self):
            sessions.run_ended(run_params, error, failed=True)

    @hook_impl(tryfirst=True)
    @_forward_to_nodes("before_node")
    def before_node_run(self, node: Any, catalog: Any, is_async: bool, run_id: Any) -> None:  # noqa: FBT001 -- Kedro's signature
        """A node's function is about to be called."""

    @hook_impl(trylast=True)
    @_forward_to_nodes("after_node")
    def after_node_run(self, node: Any, outputs: Any, run_id: Any) -> None:
        """It returned."""

    @hook_impl(trylast=True)
    @_forward_to_nodes("node_failed")
    def on_node_error(self, error: Any, node: Any, run_id: Any) -> None:
        """It raised."""

    @hook_impl(tryfirst=True)
    @_forward_to_nodes("before_load")
    def before_dataset_loaded(self, dataset_name: str, node: Any) -> None:
        """A load begins."""

    @hook_impl(trylast=True)
    @_forward_to_nodes("after_load")
    def after_dataset_loaded(self, dataset_name: str, node: Any) -> None:
        """It ended."""

    @hook_impl(tryfirst=True)
    @_forward_to_nodes("before_save")
    def before_dataset_saved(self, dataset_name: str, node: Any) -> None:
        """A save begins."""

    @hook_impl(trylast=True)
    @_forward_to_nodes("after_save")
    def after_dataset_saved(self, dataset_name: str, node: Any) -> None:
        """It ended."""


hooks = KedroOtelHooks()
"""For ``HOOKS`` in settings.py, where entry points are not loaded."""

entry = KedroOtelHooks()
"""What the entry point loads: an object of its own, since Kedro refuses to register one object twice."""
