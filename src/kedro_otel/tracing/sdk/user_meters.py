"""The user's own MeterProvider: what finished operations add goes to instruments of theirs, by the numbers that are sent elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import kedro_otel
from kedro_otel.facts import redaction
from kedro_otel.guard import guarded
from kedro_otel.recording.model import ENDED, Header, Operation
from kedro_otel.semconv import measurements, names

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedro_otel.tracing.span import ActiveSpan

_OF_THE_API = "opentelemetry.metrics"


def of_user() -> Any:
    """Return the global MeterProvider if it is real, else None; nobody can have set one before the API was imported."""
    api = sys.modules.get(_OF_THE_API)
    found = api.get_meter_provider() if api is not None else None
    # The API's own providers, a stand-in and one that does nothing, are nobody's.
    return None if found is None or type(found).__module__.startswith(_OF_THE_API) else found


def measure(provider: Any, level: str) -> Callable[[ActiveSpan, int, dict[str, Any], bool], None]:
    """Return what is called with each finished operation (its end in nanoseconds since 1970, further attributes, whether it failed).

    Args:
        provider: The user's MeterProvider.
        level: The detail in force: which attributes the instruments get.
    """
    live = measurements.Live(provider.get_meter(names.SCOPE, kedro_otel.__version__))
    header = Header("", "", 0, 0, "", "", 0, names.FULL, None, False, "user", {})  # noqa: FBT003 -- of no file: only its detail is asked for

    @guarded
    def measure(operation: ActiveSpan, end_ns: int, values: dict[str, Any], failed: bool) -> None:  # noqa: FBT001 -- called for every operation
        parent = operation.parent.span_id if operation.parent is not None else ""
        whole = Operation(
            operation.kind,
            operation.trace_id,
            operation.span_id,
            parent,
            operation.name,
            operation.start_ns,
            end_ns=end_ns,
            attributes={
                key: value
                for key, value in {**operation.values, **values}.items()
                if value is not None
            },
            error=failed,
            state=ENDED,
        )
        found = (
            redaction.at(whole, header, level)
            if operation.kind in {names.COMMAND, names.RUN}
            else whole
        )
        if found is not None:
            live.record(measurements.measure(found, level))

    return measure
