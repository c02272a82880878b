"""``kedro otel …``: one file per family of commands, imported when it is called."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import click

from kedro_otel import __version__

_FAMILIES: Final = {
    "list": "show",
    "show": "show",
    "report": "report",
    "compare": "compare",
    "check": "check",
    "advise": "advise",
    "history": "history",
    "ui": "ui",
    "export": "export",
    "nodes": "export",
    "viz": "viz",
    "status": "consent",
    "on": "consent",
    "off": "consent",
    "purge": "consent",
    "detail": "consent",
    "connect": "connect",
    "disconnect": "connect",
    "doctor": "connect",
    "ship": "connect",
    "finish": "finish",
    "stack": "stack",
    "demo": "demo",
}
"""Command → the module of this package that holds it, as a function of the command's name and a trailing underscore."""


class _Families(click.Group):
    """A group whose commands are imported only when they are asked for, so that ``kedro`` starts as fast as before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_FAMILIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        family = _FAMILIES.get(cmd_name)
        if family is None:
            return None
        command: click.Command = getattr(import_module(f"{__name__}.{family}"), f"{cmd_name}_")
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does; ``--help`` and ``--version`` print their answer here."""
        from kedro_otel.cli.common.output import reported

        with reported():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an answer that cannot be written is one line on stderr and exit code 1."""
        from kedro_otel.cli.common.output import reported

        with reported():
            return super().invoke(ctx)


@click.version_option(
    __version__,
    "--version",
    "-V",
    message="kedro-otel %(version)s",
    help="Show the version and exit.",
)
@click.group(cls=_Families, context_settings={"help_option_names": ["-h", "--help"]})
def otel() -> None:
    """See, keep and send what your Kedro runs do."""


@click.group(name="kedro-otel")
def commands() -> None:  # noqa: D103 (Kedro would print it as part of its own help; the name is the heading there)
    pass


commands.add_command(otel)
