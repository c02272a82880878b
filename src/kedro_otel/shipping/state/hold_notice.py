"""A receiver that takes nothing until somebody changes something: told once, at the end of a command.

The detached process has no terminal, so it leaves a note, and the next command whose stderr is a terminal reads it out. After
that nothing is said until the receiver has accepted again, or holds up another signal too.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any, Final

from kedro_otel import guard
from kedro_otel.config import files, paths
from kedro_otel.shipping.process.launch import UNTOLD
from kedro_otel.shipping.state.journal import HOLD, OK, SIGNALS

if TYPE_CHECKING:
    from pathlib import Path

    from kedro_otel.shipping.state.journal import Journal

TOLD: Final = f"{UNTOLD}-told"


def note(folder: Path, written: Journal, *, told: bool = False) -> None:
    """Leave a note in ``folder`` if a signal is held and nobody knows it, ``told`` if somebody has just heard it; take it away if none is.

    Raises OSError where that cannot be written, FileNotFoundError after a purge.
    """
    held = {name: one.why for name, one in written.signals.items() if one.state == HOLD}
    before = _signals(folder / TOLD)
    known = (
        held
        if told
        else {name: why for name, why in before.items() if written.signals[name].state != OK}
    )
    if known != before:
        _write(folder / TOLD, written.address, known)
    unknown = held if held.keys() - known.keys() else {}
    if unknown != _signals(folder / UNTOLD):
        _write(folder / UNTOLD, written.address, unknown)


def tell(folder: Path) -> None:
    """Read out on stderr the note in ``folder``, if there is one."""
    try:
        found = _read(folder / UNTOLD)
        os.replace(
            folder / UNTOLD, folder / TOLD
        )  # of several commands that end at once, one succeeds
    except OSError as error:
        guard.let_through(error)
        return
    sentence = said(found)
    if sentence:
        print(sentence, file=sys.stderr)  # noqa: T201 -- one of the documented lines on stderr


def said(found: dict[str, Any]) -> str:
    """Return the line for stderr: what happened, what is kept, what to type. Empty for a note that says nothing."""
    signals = found.get("signals")
    if not isinstance(signals, dict) or not signals:
        return ""
    what, why = (
        " and ".join(signals),
        "; ".join(dict.fromkeys(filter(None, map(str, signals.values())))),
    )
    line = (
        f"kedro-otel: {found.get('address')} does not take {what}{f' ({why})' if why else ''}. Your commands go on, "
        f"and what it lacks is kept in {paths.home()}. What to do: kedro otel doctor"
    )
    return "".join(letter if letter.isprintable() else "?" for letter in line)


def _signals(path: Path) -> dict[str, Any]:
    try:
        found = _read(path).get("signals")
    except OSError as error:
        guard.let_through(error)
        return {}
    return (
        {name: why for name, why in found.items() if name in SIGNALS}
        if isinstance(found, dict)
        else {}
    )


def _read(path: Path) -> dict[str, Any]:
    """Return a note, an empty one if it is damaged. Raises OSError where there is none."""
    descriptor = os.open(
        path,
        os.O_RDONLY
        | getattr(os, "O_NOFOLLOW", 0)
        | getattr(os, "O_CLOEXEC", 0)
        | getattr(os, "O_NONBLOCK", 0),
    )
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(8192)
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        guard.let_through(error)
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, address: str, signals: dict[str, Any]) -> None:
    """Write a note that names ``signals``; none names none."""
    if signals:
        files.replace(
            path,
            json.dumps({"address": address, "signals": signals}).encode(),
            mode=0o600,
            ours=True,
        )
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
