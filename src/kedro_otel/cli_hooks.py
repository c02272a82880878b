"""Kedro's command hooks: every command begins and ends here."""

from __future__ import annotations

from typing import Any

from kedro.framework.cli.hooks import cli_hook_impl  # noqa: TID253 (who loads this module has loaded that)

from kedro_otel.guard import guarded


class KedroOtelCliHooks:
    """Records commands."""

    @cli_hook_impl(trylast=True)
    @guarded
    def before_command_run(self, project_metadata: Any, command_args: list[str]) -> None:
        """A command begins."""
        from kedro_otel import runtime

        runtime.command_began(project_metadata, command_args)

    @cli_hook_impl(trylast=True)
    @guarded
    def after_command_run(self, exit_code: Any) -> None:
        """It ended, well or not."""
        from kedro_otel import runtime

        runtime.command_ended(exit_code)


entry = KedroOtelCliHooks()
