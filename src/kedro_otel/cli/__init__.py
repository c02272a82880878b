"""``kedro otel …``: one file per family of commands, imported when it is called."""

from __future__ import annotations

from importlib import import_module
from typing import Final

import click

_FAMILIES: Final = {
    "list": "show",
    "show": "show",
    "report": "report",
    "compare": "compare",
    "export": "show",
    "status": "consent",
    "on": "consent",
    "off": "consent",
    "purge": "consent",
    "connect": "connect",
    "disconnect": "connect",
    "doctor": "connect",
    "ship": "connect",
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


@click.group(cls=_Families, context_settings={"help_option_names": ["-h", "--help"]})
def otel() -> None:
    """See, keep and send what your Kedro runs do."""


@click.group(name="kedro")
def commands() -> None:  # noqa: D103 (Kedro would print it as part of its own help)
    pass


commands.add_command(otel)
