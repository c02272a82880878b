"""Log lines on a screen, under what logged them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from kedro_otel.viewing.text import clean, count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kedro_otel.private.reader import LogLine
    from kedro_otel.viewing.model.live_logs import NewLine
    from kedro_otel.viewing.model.logs import Logged
    from kedro_otel.viewing.model.trace import Span

_LONG: Final = 8192


def lines_of(found: Iterable[Logged]) -> Iterator[str]:
    """Yield the lines to print."""
    for one in found:
        yield clean(one.span.operation.name)
        before = 0
        for line in one.lines:
            if line.number > before + 1:
                yield f"  … {count(line.number - before - 1, 'line')} left out …"
            before = line.number
            yield from (f"  {text}" for text in _texts(line))


def new_lines(found: Iterable[NewLine], before: Span | None) -> Iterator[str]:
    """Yield lines as they come, under the name of what logs them where that is not ``before``."""
    for one in found:
        if before is None or one.span.operation.span_id != before.operation.span_id:
            yield clean(one.span.operation.name)
        before = one.span
        if one.left_out:
            yield f"  … {count(one.left_out, 'line')} left out …"
        yield from (f"  {text}" for text in _texts(one.line))


def last_of(lines: list[LogLine], most: int) -> list[str]:
    """Return the last lines of text of some log lines."""
    texts = [text for line in lines[-most:] for text in _texts(line)]
    return texts[-most:]


def _texts(line: LogLine) -> list[str]:
    """Return a log line as the lines of text that it has."""
    head = " ".join(filter(None, (_clock(line.time), clean(line.level), clean(line.logger))))
    rest = [*line.text.splitlines(), *line.stacktrace.splitlines()]
    return [
        f"{head} {clean(text, _LONG)}" if not at else f"  {clean(text, _LONG)}"
        for at, text in enumerate(rest or [""])
    ]


def _clock(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds).astimezone():%H:%M:%S}"
    except (OverflowError, OSError, ValueError):
        return ""
