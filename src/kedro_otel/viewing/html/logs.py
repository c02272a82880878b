"""The log lines of a trace, as data for the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kedro_otel.semconv import names
from kedro_otel.viewing.html.columns import Strings
from kedro_otel.viewing.model.logs import logged
from kedro_otel.viewing.text import clean

if TYPE_CHECKING:
    from kedro_otel.private.reader import LogLine
    from kedro_otel.viewing.model.trace import Trace

_LONGEST: Final = 8192
"""Characters of one line of text: no line that is kept is longer."""


def groups(trace: Trace, most: int = 0) -> dict[str, Any]:
    """Return what each run and node logged, in the order of their starts.

    A line is its number, milliseconds since the epoch, level and logger (numbers of ``strings``), and text.
    ``node`` is which node of the page it was, -1 for a run.

    Args:
        trace: With its log lines.
        most: Lines of each, half of them its first; all where it is 0.
    """
    text = Strings(200)
    nodes = (span for span in trace.root.walk() if span.operation.operation == names.NODE)
    number = {id(node): index for index, node in enumerate(nodes)}
    found = []
    for span, lines in logged(trace):
        name = span.operation.attributes.get(names.NODE_NAME) or span.operation.name
        kept = [*lines[: most // 2], *lines[-(most // 2) :]] if 0 < most < len(lines) else lines
        found.append(
            {
                "node": number.get(id(span), -1),
                "name": clean(name),
                "lines": [
                    [
                        line.number,
                        line.time * 1000,
                        text(line.level),
                        text(line.logger),
                        _text(line),
                    ]
                    for line in kept
                ],
            }
        )
    return {"groups": found, "strings": text.texts}


def _text(line: LogLine) -> str:
    lines = [*line.text.splitlines(), *line.stacktrace.splitlines()]
    return "\n".join(clean(one.replace("\t", "    "), _LONGEST) for one in lines)
