"""What stdout and stderr get: messages in one style, and one line where the answer cannot be written."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING, Final, NoReturn

import click

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_STDOUT: Final = (errno.ENOSPC, errno.EPIPE, errno.EIO, errno.EBADF, errno.EFBIG, errno.EINVAL)
"""What the system answers to a write where nothing can be written, or nobody reads."""


def message(text: str) -> None:
    """Print one line that is not the answer, on stderr."""
    with contextlib.suppress(OSError):
        click.echo(f"kedro-otel: {text}", err=True)


def fail(text: str) -> NoReturn:
    """Print what happened, what was kept and what to type next, on stderr; end the command.

    Raises:
        click.exceptions.Exit: always, with exit code 1.
    """
    message(text)
    raise click.exceptions.Exit(1)


def write_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace a file in one step; what is no regular file (a device, a pipe) is written to as it is.

    Args:
        path: the file.
        data: its whole content.
        mode: the permissions of a new file; one that is there keeps its own.

    Raises:
        click.exceptions.Exit: with exit code 1, where the file could not be written.
    """
    from kedro_otel.config import files

    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)
        else:
            files.replace(path, data, mode=None if path.exists() else mode)
    except OSError as error:
        fail(
            f"{path} was not written: {error.strerror}. The run stays recorded; name another file with -o"
        )


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Turn an error of the system that ends a command into one line on stderr and exit code 1.

    ``> /dev/full``, a pipe that nobody reads and a full disk are such errors. What is buffered is
    written before the command ends, so that Python has nothing left to complain of at its exit.

    Raises:
        click.exceptions.Exit: with exit code 1, where the answer could not be written.
    """
    try:
        try:
            yield
        finally:
            if sys.stdout is not None and not sys.stdout.closed:
                sys.stdout.flush()
    except OSError as error:
        _ended(error)
    except SystemExit as error:  # Rich's way to end where nobody reads its console
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        _ended(error.__context__)


def _ended(error: OSError) -> NoReturn:
    why = error.strerror or str(error)
    if error.filename is not None:
        fail(f"{error.filename}: {why}")
    if error.errno in _STDOUT:
        _discard_stdout()
        fail(f"the answer could not be written to stdout ({why})")
    fail(f"the command failed ({why})")


def _discard_stdout() -> None:
    """Let what is still buffered go nowhere: Python would try to write it once more at its exit."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
