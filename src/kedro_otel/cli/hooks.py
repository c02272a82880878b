"""Kedro's command line: every command begins and ends here, and ours are among them.

Kedro loads this module for its :data:`commands`, in the moment when its command hooks are known and no command has begun,
and loading it registers our hooks. An entry point of ``kedro.cli_hooks`` would do the same, but of a plugin that has one
Kedro reads name and version out of its metadata, twice and with Python's e-mail parser, which nothing else at its start
needs: that alone cost ``kedro --version`` two per cent.
"""

from __future__ import annotations

from typing import Any

from kedro.framework.cli.hooks import cli_hook_impl, manager

from kedro_otel.cli import commands
from kedro_otel.guard import guarded

__all__ = ["commands"]


class KedroOtelCliHooks:
    """Records commands."""

    @cli_hook_impl(trylast=True)
    @guarded
    def before_command_run(self, project_metadata: Any, command_args: list[str]) -> None:
        """A command begins."""
        from kedro_otel.runtime import commands as running

        running.began(project_metadata, command_args)

    @cli_hook_impl(trylast=True)
    @guarded
    def after_command_run(self, exit_code: Any) -> None:
        """It ended, well or not."""
        from kedro_otel.runtime import commands as running

        running.ended(exit_code)


@guarded
def _register() -> None:
    """Hear of this process's commands. Kedro's function that gives its manager would have it trace each call once more."""
    known = getattr(manager, "_cli_hook_manager", None) or manager.get_cli_hook_manager()
    known.register(KedroOtelCliHooks(), name="kedro-otel")


_register()
