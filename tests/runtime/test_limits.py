"""The limits hold in every mode, and what a process leaves for its workers is theirs alone."""

from __future__ import annotations

import multiprocessing.process
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kedro_otel.recording import reader, retention, worker_context
from kedro_otel.recording.worker_context import WorkerContext, WorkerContextFile


@pytest.mark.parametrize(
    "way",
    [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "KEDRO_OTEL_SHIP": "manual"}],
    ids=["no endpoint", "manual"],
)
def test_recordings_stay_within_bounds_without_a_shipper(
    way: dict[str, str], project: Callable[..., Path], kedro: Callable[..., Any]
) -> None:
    """Where nothing is sent, or only when somebody asks, a command's end keeps the limits."""
    path = project()
    for _ in range(4):
        kedro("registry", "list", cwd=path, env={"KEDRO_OTEL_MAX_SEGMENTS": "2", **way})
    assert len(reader.segments()) == 2
    assert sum(retention.dropped(reader.paths.recordings()).values()) == 2


def test_what_was_dropped_is_counted_for_ever(tmp_path: Path) -> None:
    """However often something is noted: the ledger is put together in between and loses nothing."""
    for _ in range(6000):
        retention.note(tmp_path, "internal_error", 1)
    assert retention.dropped(tmp_path) == {"internal_error": 6000}
    assert (tmp_path / retention.LEDGER).stat().st_size < 20 * 1024
    with (tmp_path / retention.LEDGER).open("ab") as file:
        file.write(b'{"age": 1}\n' * 10_000)
    assert retention.dropped(tmp_path) == {"internal_error": 6000, "age": 10_000}


def test_two_families_of_processes_with_one_number_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers that share a folder count their processes alike; each one's workers find their own parent's file."""
    ours = multiprocessing.process.current_process()
    for number, secret in enumerate((b"one", b"other")):
        monkeypatch.setitem(
            ours._config, "authkey", multiprocessing.process.AuthenticationString(secret)
        )
        shared = WorkerContext((), {"number": number}, {}, None, "usage")
        WorkerContextFile(tmp_path, shared).note([], for_strangers=True)
    for number, secret in enumerate((b"one", b"other")):
        monkeypatch.setitem(
            ours._config, "authkey", multiprocessing.process.AuthenticationString(secret)
        )
        found = worker_context.of_parent(tmp_path, os.getpid())
        assert found is not None
        assert found.resource == {"number": number}


def test_a_pipe_in_place_of_the_file_is_not_waited_for(tmp_path: Path) -> None:
    """A worker that finds something else there records nothing, at once."""
    os.mkfifo(tmp_path / worker_context._name(os.getpid()))
    assert worker_context.of_parent(tmp_path, os.getpid()) is None
