"""The nodes of a pipeline that a failed run never came to, and how to go on from there."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final

from kedro_otel.recording.model import OPEN
from kedro_otel.semconv import names

if TYPE_CHECKING:
    from kedro_otel.private.reader import PlannedNode
    from kedro_otel.viewing.model.trace import Trace

_RUNNER: Final = "kedro.runner"
_FROM_NODES: Final = re.compile(r'--from-nodes "([^"]+)"')
"""What Kedro's runner writes to its log when a run fails."""


def not_run(trace: Trace) -> list[PlannedNode]:
    """Return the planned nodes of runs that ended badly that nothing was recorded of, in the pipeline's order."""
    found = []
    for run in trace.spans(names.RUN):
        planned = trace.planned.get(run.operation.span_id)
        if not planned or run.operation.state == OPEN or run.operation.ok:
            continue
        began = {
            span.operation.attributes.get(names.NODE_NAME)
            for span in run.walk()
            if span.operation.operation == names.NODE
        }
        found += [node for node in planned if node.name not in began]
    return found


def resume_command(trace: Trace) -> str:
    """Return the command that goes on with the run, as Kedro's runner proposed it; empty where it did not, or the run did not fail."""
    for run in reversed(trace.spans(names.RUN)):
        for line in reversed(trace.logs.get(run.operation.span_id) or ()):
            proposed = line.logger.startswith(_RUNNER) and _FROM_NODES.search(line.text)
            if proposed and not run.operation.ok:
                command = str(
                    trace.root.operation.attributes.get(names.COMMAND_LINE) or "kedro run"
                )
                return f"{command} --from-nodes {shlex.quote(proposed[1])}"
    return ""
