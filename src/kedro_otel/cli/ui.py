"""``kedro otel ui``: all runs in a browser."""

from __future__ import annotations

import os
import sys

import click

from kedro_otel.cli.common.output import fail, message
from kedro_otel.cli.common.run_argument import project_options, say_if_off, scope_of


def _screen() -> bool:
    """Return whether a browser has a screen to open on; without one, Python would start a text browser in this terminal."""
    known = ("DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in known)


@click.command("ui", short_help="Look at all runs in a browser.")
@click.option(
    "--port",
    type=click.IntRange(min=0, max=65535),
    default=0,
    help="The port on loopback. [default: a free one]",
)
@click.option("--no-open", is_flag=True, help="Open no browser.")
@project_options
@click.pass_context
def ui_(ctx: click.Context, port: int, no_open: bool) -> None:
    """Look at the runs of this project in a browser: what ran, trends, two runs side by side, a run while it runs.

    A server on this machine alone (127.0.0.1) reads the recordings and writes nothing. The address that it prints holds a random token,
    without which it answers nothing. Through SSH: ssh -L 8000:127.0.0.1:8000 HOST, and --port 8000 --no-open there. Ctrl-C ends it.
    """
    from kedro_otel.viewing.web.answers import Answers
    from kedro_otel.viewing.web.server import Server

    try:
        server = Server(Answers(scope_of(ctx)), port)
    except OSError as error:
        fail(f"port {port} cannot be used ({error.strerror}): name another one, or none")
    say_if_off(ctx)
    click.echo(server.address)
    message("this address is yours alone; Ctrl-C ends the server")
    if not no_open and _screen():
        click.launch(server.one_time_address())
    try:
        server.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        click.echo(err=True)
    finally:
        server.server_close()
