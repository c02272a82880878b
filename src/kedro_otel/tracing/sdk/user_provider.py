"""The user's own TracerProvider: every operation is a real span of theirs too."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan, Status, StatusCode

import kedro_otel
from kedro_otel.guard import guarded
from kedro_otel.semconv import names
from kedro_otel.tracing.sdk.context import MARK, span_context

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import TracerProvider

    from kedro_otel.tracing.span import ActiveSpan

FLUSH_MS = 2000
"""What a worker waits, at its end, for each of the user's providers, in milliseconds."""


class Live:
    """Operations as spans of the user's provider.

    Args:
        provider: The user's provider.
        resource: Our resource's facts: attributes of command and run spans, since the resource is the user's.
    """

    def __init__(self, provider: TracerProvider, resource: Mapping[str, Any]) -> None:
        self.provider = provider
        self._tracer = provider.get_tracer(names.SCOPE, kedro_otel.__version__)
        self._resource = {key: value for key, value in resource.items() if key not in _THEIRS}

    @guarded  # what the user's processors raise does not keep an operation from the recording
    def begin(self, operation: ActiveSpan) -> None:
        """Start a span for ``operation`` at its own time, and take over the identity that the provider gave it."""
        above = operation.parent
        around = context.get_current()
        if above is not None:
            real = getattr(above, "real", None)
            around = trace.set_span_in_context(
                real if real is not None else NonRecordingSpan(span_context(above, remote=True)),
                around,
            )
        else:
            around = trace.set_span_in_context(trace.INVALID_SPAN, around)
        values = operation.values
        if operation.kind in {names.COMMAND, names.RUN}:
            values = {**self._resource, **values}
        span = self._tracer.start_span(
            operation.name, context=around, attributes=_clean(values), start_time=operation.start_ns
        )
        with contextlib.suppress(AttributeError):
            setattr(span, MARK, operation)
        operation.real = span
        found = span.get_span_context()
        if found.is_valid:
            operation.trace_id = f"{found.trace_id:032x}"
            operation.span_id = f"{found.span_id:016x}"
            operation.sampled = found.trace_flags.sampled

    @guarded
    def finish(
        self,
        operation: ActiveSpan,
        values: Mapping[str, Any],
        end_ns: int,
        *,
        error: BaseException | None,
        failed: bool,
    ) -> None:
        """End the span of ``operation`` as its record ends."""
        span, operation.real = operation.real, None
        try:
            span.set_attributes(_clean(values))
            if failed:
                span.set_status(Status(StatusCode.ERROR))
                if error is not None:
                    span.record_exception(error, timestamp=end_ns)
        finally:
            span.end(end_time=end_ns)

    def flush_worker(self) -> None:
        """In a worker process, which ends without the exit handlers of the user's providers, ask them to send what they hold."""
        from multiprocessing import parent_process

        if parent_process() is None:
            return
        metrics = sys.modules.get("opentelemetry.metrics")
        for provider in (
            self.provider,
            metrics.get_meter_provider() if metrics is not None else None,
        ):
            flush = getattr(provider, "force_flush", None)
            if callable(flush):
                flush(FLUSH_MS)


_THEIRS = frozenset({names.SERVICE_NAME, names.SDK_NAME, names.SDK_LANGUAGE, names.SDK_VERSION})


def _clean(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
