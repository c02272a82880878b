"""Whose TracerProvider makes the spans of the user's code: the user's if there is one, else one of ours that records them."""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from kedro_otel.guard import guarded, guarded_or

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider


def of_user() -> Any:
    """Return the global TracerProvider if it is real and not ours, else None."""
    found = trace.get_tracer_provider()
    if isinstance(found, trace.ProxyTracerProvider | trace.NoOpTracerProvider) or getattr(
        found, "_kedro_otel", False
    ):
        return None
    return found


_recipients: list[Callable[[ReadableSpan], None]] = []
"""Who records what our provider's spans say: the newest, for a fork child has the parent's provider and a recording of its own."""


_ours: list[TracerProvider] = []
"""Ours, once made."""


def install(
    resource: Mapping[str, Any], environ: Mapping[str, str], record: Callable[[ReadableSpan], None]
) -> None:
    """Make an SDK provider of ours the global one, if none is set; from now on it hands every finished span to ``record``.

    It is put where OpenTelemetry keeps the global provider, and not set by ``set_tracer_provider``, which works once in a process:
    that once is the user's, also while one of their nodes runs, and after a notebook's first run.
    """
    _recipients[:] = [record]
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        if not _ours:
            _ours.append(_make(resource, environ))
        trace._TRACER_PROVIDER = _ours[0]  # noqa: SLF001 -- see above


def withdraw() -> None:
    """Take ours away again, if it is the global one."""
    if _ours and trace._TRACER_PROVIDER is _ours[0]:  # noqa: SLF001 -- see install
        trace._TRACER_PROVIDER = None  # noqa: SLF001


def _make(resource: Mapping[str, Any], environ: Mapping[str, str]) -> TracerProvider:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult

    from kedro_otel.facts.trace_context import Remote, sampled
    from kedro_otel.tracing import ids

    class Ids(IdGenerator):
        """Ids that do not draw from the user's ``random``."""

        @guarded_or(lambda: int.from_bytes(os.urandom(8), "big"))
        def generate_span_id(self) -> int:
            return int(ids.span_id(), 16)

        @guarded_or(lambda: int.from_bytes(os.urandom(16), "big"))
        def generate_trace_id(self) -> int:
            return int(ids.trace_id(), 16)

    class RecordAll(Sampler):
        """Records every span; ``OTEL_TRACES_SAMPLER`` decides only whether it is marked to be sent."""

        @guarded_or(lambda: SamplingResult(Decision.RECORD_AND_SAMPLE))
        def should_sample(
            self, parent_context: Any, trace_id: int, *rest: Any, attributes: Any = None, **_: Any
        ) -> SamplingResult:
            above = trace.get_current_span(parent_context).get_span_context()
            remote = (
                Remote(f"{above.trace_id:032x}", f"{above.span_id:016x}", above.trace_flags.sampled)
                if above.is_valid
                else None
            )
            send = remote.sampled if remote else sampled(environ, f"{trace_id:032x}", None)
            decision = Decision.RECORD_AND_SAMPLE if send else Decision.RECORD_ONLY
            # By the SDK's signature the attributes come fifth: name, kind, attributes.
            given = rest[2] if len(rest) > 2 else attributes
            return SamplingResult(decision, given, above.trace_state if above.is_valid else None)

        def get_description(self) -> str:
            return "kedro-otel records every span"

    class ToRecording(SpanProcessor):
        """Hands finished spans over as they end."""

        @guarded
        def on_end(self, span: ReadableSpan) -> None:
            for record in _recipients:
                record(span)

    class Ours(TracerProvider):
        """One that stays out of the way of a fork."""

        @guarded
        def _handle_fork(self) -> None:
            # The SDK's would look for resource detectors again, in threads, in every child that the user's code forks.
            self._tracers_lock = Lock()

    provider = Ours(
        sampler=RecordAll(),
        resource=Resource({key: value for key, value in resource.items() if value is not None}),
        id_generator=Ids(),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(ToRecording())
    provider._kedro_otel = True  # type: ignore[attr-defined]  # noqa: SLF001 -- how a later look knows it for ours
    return provider
