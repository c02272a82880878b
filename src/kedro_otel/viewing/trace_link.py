"""Where a trace is in the user's backend: the address that their template makes of its id, and how a terminal is told."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing import TextIO

    from kedro_otel.config.settings import Settings

_PLACE: Final = "{trace_id}"
_FIT: Final = re.compile(r"https?://[\x21-\x7e]+")
_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")


def address(known: Settings, trace_id: str, sent_to: str | None) -> str | None:
    """Return the address of a trace that was recorded for the destination with the id ``sent_to``.

    None where nothing says what addresses look like there, or the trace is not sent: no template, no endpoint, or another one since.
    """
    template = known.value("trace_url")
    if not template or not sent_to or not _TRACE_ID.fullmatch(trace_id):
        return None
    from kedro_otel.config import destination

    where = destination.current(known)
    found = str(template).replace(_PLACE, trace_id)
    if (
        where is None
        or where.id != sent_to
        or where.traces is None
        or found == template
        or not _FIT.fullmatch(found)
    ):
        return None
    return found


def written(url: str, *, terminal: bool) -> str:
    """Return one line that tells the address; on a terminal it is a link (OSC 8), and still to be read where links are not known."""
    return f"trace: \033]8;;{url}\033\\{url}\033]8;;\033\\" if terminal else f"trace: {url}"


def tell(
    known: Settings,
    trace_id: str,
    sent_to: str | None,
    *,
    everywhere: bool,
    file: TextIO | None = None,
) -> None:
    """Write the address of a trace to stderr, if it has one: on a terminal, or ``everywhere``."""
    file = file or sys.stderr
    if file is None or not (everywhere or file.isatty()):
        return
    url = address(known, trace_id, sent_to)
    if url:
        file.write(written(url, terminal=file.isatty()) + "\n")
        file.flush()
