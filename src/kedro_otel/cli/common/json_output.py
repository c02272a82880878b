"""Answers for programs: the ``--json`` option, and a word about the line of its log that Kedro writes to stdout before them."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable

EVERYTHING: Final = "Print everything as one JSON object."


def json_option(sentence: str = EVERYTHING) -> Callable[[Any], Any]:
    """Return the decorator that gives a command its ``--json``, with ``sentence`` as its help."""
    return click.option("--json", "as_json", is_flag=True, help=sentence, callback=_asked)


def warn_of_log_line(ctx: click.Context) -> None:
    """Where a program reads stdout and Kedro's log is on it, say what to type to have the answer alone.

    Kedro writes that line when it is imported, before any plugin is loaded: nothing here can hold it back.
    """
    kedro = type(ctx.find_root().command).__module__.startswith("kedro.")
    if kedro and not sys.stdout.isatty() and any(map(_on_stdout, logging.getLogger().handlers)):
        click.echo(
            f"kedro-otel: stdout begins with a line of Kedro's log. For the answer alone: kedro-otel {ctx.info_name}",
            err=True,
        )


def _asked(ctx: click.Context, _param: click.Parameter, value: bool) -> bool:
    if value:
        warn_of_log_line(ctx)
    return value


def _on_stdout(handler: logging.Handler) -> bool:
    """Return whether a handler, Rich's or Python's own, writes to stdout."""
    rich = getattr(handler, "console", None)
    return (rich.file if rich is not None else getattr(handler, "stream", None)) is sys.stdout
