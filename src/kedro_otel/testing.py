"""For the tests of your own project: what did my run record?

Ask for the fixture in your ``conftest.py``, and nothing else changes::

    pytest_plugins = ("kedro_otel.testing",)

    def test_training_is_reached(recorded):
        with KedroSession.create(project_path=PROJECT) as session:
            session.run()
        assert recorded.nodes["train"].status == "ok"
        assert recorded.runs[0].attributes["kedro.runner.name"] == "SequentialRunner"

Commands in a process of their own are recorded there too, if they inherit the environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from kedro_otel.config import paths
from kedro_otel.recording import reader
from kedro_otel.runtime import state
from kedro_otel.semconv import names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kedro_otel.recording.model import Operation, Value

__all__ = ["Recorded", "Span", "recorded"]

_NANO = 1_000_000_000


class Span(NamedTuple):
    """One recorded operation.

    Attributes:
        name: The span's name, such as ``node train``.
        status: ``ok``, ``error``, or ``open`` where it has not ended.
        error_type: Class of the error, such as ``ValueError``; empty unless ``status`` is ``error``.
        seconds: How long it took, in seconds; 0 while it is open.
        attributes: Everything else that is known of it, by the names of docs/telemetry.md.
        trace_id: The trace that it belongs to: 32 hex digits.
        span_id: Its own id: 16 hex digits.
        parent_id: Its parent's; empty for a root.
    """

    name: str
    status: str
    error_type: str
    seconds: float
    attributes: dict[str, Value]
    trace_id: str
    span_id: str
    parent_id: str


class Recorded:
    """What was recorded since the test began. Every property reads it anew, so ask after the run.

    Raises:
        kedro_otel.recording.model.SegmentError: A recording cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def commands(self) -> list[Span]:
        """The commands, in order of beginning; a session in Python has none."""
        return self._of(names.COMMAND)

    @property
    def runs(self) -> list[Span]:
        """The pipeline runs, in order of beginning."""
        return self._of(names.RUN)

    @property
    def nodes(self) -> dict[str, Span]:
        """The nodes by name; of a node that ran several times, the last."""
        return {str(span.attributes[names.NODE_NAME]): span for span in self._of(names.NODE)}

    @property
    def datasets(self) -> list[Span]:
        """The loads and saves of datasets, parameters included, in order of beginning."""
        return self._of(names.DATASET)

    @property
    def spans(self) -> list[Span]:
        """Everything, spans of your own code included, in order of beginning."""
        return self._of(*names.OPERATIONS)

    def _of(self, *kinds: str) -> list[Span]:
        found = [
            operation
            for path in reader.segments(self._folder)
            for operation in reader.read(path).operations
            if operation.operation in kinds
        ]
        return [
            _span(operation)
            for operation in sorted(found, key=lambda operation: operation.start_ns)
        ]


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    """Record what this test runs into a folder of its own, whatever the environment says of consent, and send nothing."""
    monkeypatch.setenv(paths.HOME_VARIABLE, str(tmp_path / "kedro-otel"))
    for name, value in _ALWAYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
    state.reset()
    yield Recorded(paths.recordings())
    state.reset()


_ALWAYS = {"KEDRO_OTEL_ENABLED": "true", "KEDRO_OTEL_SHIP": "manual"}


def _span(operation: Operation) -> Span:
    status = "error" if operation.error else "ok" if operation.end_ns is not None else "open"
    return Span(
        name=operation.name,
        status=status,
        error_type=str(operation.attributes.get(names.ERROR_TYPE, "")) if operation.error else "",
        seconds=(operation.end_ns - operation.start_ns) / _NANO
        if operation.end_ns is not None
        else 0.0,
        attributes=dict(operation.attributes),
        trace_id=operation.trace_id,
        span_id=operation.span_id,
        parent_id=operation.parent_id,
    )
