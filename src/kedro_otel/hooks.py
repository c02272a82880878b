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


def _forward_to_nodes(
    method: str, *, first: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator for a hook that tells the open nodes what Kedro says.

    It calls their ``method`` with the hook's own arguments, which Kedro passes by position. There
    are a dozen such calls a node, so guard, look-up and hook are one function.

    Args:
        method: The name of a method of :class:`kedro_otel.tracing.nodes.Nodes`.
        first: Whether there is a second hook of ours for the same call. Then only that one decides
            which of our hook objects is active: older pluggy removes it alone when a project
            disables our hooks.
    """

    def decorate(signature: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(signature)
        def hook(self: KedroOtelHooks, *args: Any) -> None:
            try:
                if state.active_hooks is self:
                    nodes = state.nodes
                elif first:
                    return
                else:
                    nodes = None
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

    # What lies between the two hooks of one call is what other plugins' hooks take.

    @hook_impl(tryfirst=True)
    @_forward_to_nodes("before_node", first=True)
    def before_node_run(self, node: Any, catalog: Any, is_async: bool, run_id: Any) -> None:  # noqa: FBT001 -- Kedro's signature
        """A node's function is going to be called."""

    @hook_impl(trylast=True, specname="before_node_run")
    @_forward_to_nodes("call")
    def last_before_node_run(self, node: Any, catalog: Any, is_async: bool, run_id: Any) -> None:  # noqa: FBT001 -- Kedro's signature
        """It is called next."""

    @hook_impl(tryfirst=True)
    @_forward_to_nodes("returned", first=True)
    def after_node_run(self, node: Any, outputs: Any, run_id: Any) -> None:
        """It has just returned."""

    @hook_impl(trylast=True, specname="after_node_run")
    @_forward_to_nodes("after_node")
    def last_after_node_run(self, node: Any, run_id: Any) -> None:
        """Everybody knows that it returned."""

    @hook_impl(tryfirst=True)
    @_forward_to_nodes("raised", first=True)
    def on_node_error(self, node: Any, run_id: Any) -> None:
        """It has just raised."""

    @hook_impl(trylast=True, specname="on_node_error")
    @_forward_to_nodes("node_failed")
    def last_on_node_error(self, error: Any, node: Any, run_id: Any) -> None:
        """Everybody knows that it raised."""

    @hook_impl(tryfirst=True)
    @_forward_to_nodes("before_load", first=True)
    def before_dataset_loaded(self, dataset_name: str, node: Any) -> None:
        """A load is going to begin."""

    @hook_impl(trylast=True, specname="before_dataset_loaded")
    @_forward_to_nodes("load")
    def last_before_dataset_loaded(self, dataset_name: str, node: Any) -> None:
        """It begins next."""

    @hook_impl(tryfirst=True)
    @_forward_to_nodes("loaded", first=True)
    def after_dataset_loaded(self, dataset_name: str, data: Any, node: Any) -> None:
        """It has just ended."""

    @hook_impl(trylast=True, specname="after_dataset_loaded")
    @_forward_to_nodes("after_load")
    def last_after_dataset_loaded(self, dataset_name: str, node: Any) -> None:
        """Everybody knows that it ended."""

    @hook_impl(tryfirst=True)
    @_forward_to_nodes("before_save", first=True)
    def before_dataset_saved(self, dataset_name: str, node: Any) -> None:
        """A save is going to begin."""

    @hook_impl(trylast=True, specname="before_dataset_saved")
    @_forward_to_nodes("save")
    def last_before_dataset_saved(self, dataset_name: str, data: Any, node: Any) -> None:
        """It begins next."""

    @hook_impl(tryfirst=True)
    @_forward_to_nodes("saved", first=True)
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Any) -> None:
        """It has just ended."""

    @hook_impl(trylast=True, specname="after_dataset_saved")
    @_forward_to_nodes("after_save")
    def last_after_dataset_saved(self, dataset_name: str, node: Any) -> None:
        """Everybody knows that it ended."""


hooks = KedroOtelHooks()
"""For ``HOOKS`` in settings.py, where entry points are not loaded."""

entry = KedroOtelHooks()
"""What the entry point loads: an object of its own, since Kedro refuses to register one object twice."""
