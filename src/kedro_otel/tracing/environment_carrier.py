"""``TRACEPARENT`` for the processes that the user's code starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedro_otel.facts import trace_context

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from kedro_otel.facts.trace_context import Remote
    from kedro_otel.tracing.span import ActiveSpan


class EnvironmentCarrier:
    """Names the operation that is open in the environment, and puts back what was there.

    Args:
        environ: The environment of this process.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self._environ = environ
        self._outer: str | None = None
        self._said: str | None = None

    def incoming(self) -> Remote | None:
        """Return the parent that the environment gave to this process: never an operation that was named here."""
        self._look()
        return (
            trace_context.parse(self._outer, self._environ.get(trace_context.TRACESTATE, ""))
            if self._outer
            else None
        )

    def name(self, operation: ActiveSpan | None) -> None:
        """Let processes that start from now on be children of ``operation``; with None, of what they would be without us."""
        self._look()
        if operation is not None:
            self._environ[trace_context.TRACEPARENT] = self._said = trace_context.spell(
                operation.trace_id, operation.span_id, sampled=operation.sampled
            )
        elif self._said is not None:
            self._said = None
            if self._outer is None:
                del self._environ[trace_context.TRACEPARENT]
            else:
                self._environ[trace_context.TRACEPARENT] = self._outer

    def _look(self) -> None:
        """Read what is there now: from us, or, before us or meanwhile, from somebody else."""
        found = self._environ.get(trace_context.TRACEPARENT)
        if found != self._said:
            self._outer, self._said = found, None
