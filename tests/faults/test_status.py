"""What was skipped, lost or failed is told by `kedro otel status`, and neighbours of what is damaged survive."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faulty import chain, spoken
from loopback import Loopback, loopback
from trace_text import operations

__all__ = ["loopback"]


def lost(kedro: Callable[..., Any], path: Path) -> dict[str, int]:
    """Return what status says was lost."""
    found: dict[str, int] = spoken(kedro("otel", "status", "--json", cwd=path).out)["recorded"][
        "lost"
    ]
    return found


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: data[: len(data) // 2], "lines skipped (torn)"),
        (
            lambda data: data.replace(b'{"end":"node"', b'{"xnd":"node"', 1),
            "lines skipped (damaged: its checksum does not match)",
        ),
        (lambda _: b"", "segments unreadable"),
        (
            lambda data: data.replace(b'{"kedro-otel":1', b'{"kedro-otel":999', 1),
            "segments unreadable",
        ),
        (lambda data: b"\x00" * len(data), "segments unreadable"),
    ],
    ids=["truncated", "a line", "0 bytes", "unknown version", "zeros"],
)
def test_neighbours_survive_and_status_says_so(
    damage: Callable[[bytes], bytes],
    says: str,
    project: Callable[..., Path],
    kedro: Callable[..., Any],
    home: Path,
    figure: Callable[[str], None],
) -> None:
    """One of three recordings is damaged: the others are listed, and status says what was skipped."""
    path = project()
    for _ in range(3):
        kedro("registry", "list", cwd=path)
    kedro("run", cwd=path)
    recordings = sorted((home / "recordings").glob("*.jsonl"))
    recordings[3].write_bytes(damage(recordings[3].read_bytes()))
    assert lost(kedro, path) == {says: 1}
    commands = operations_of(recordings[:3])
    assert len(commands) == 3
    figure(f"{says}: 1; neighbours: 3 of 3 read")


def test_a_folder_in_a_recordings_place_is_said(
    project: Callable[..., Path], kedro: Callable[..., Any], home: Path
) -> None:
    """What has a recording's name and is none is counted as unreadable; its neighbours are told."""
    path = project()
    for _ in range(2):
        kedro("registry", "list", cwd=path)
    (recording, _) = sorted((home / "recordings").glob("*.jsonl"))
    recording.unlink()
    recording.mkdir()
    assert lost(kedro, path) == {"segments unreadable": 1}
    assert spoken(kedro("otel", "status", "--json", cwd=path).out)["recorded"]["commands"] == 1


def test_a_damaged_journal_is_said_and_nothing_is_stuck(
    project: Callable[..., Path],
    kedro: Callable[..., Any],
    environment: dict[str, str],
    home: Path,
    loopback: Loopback,
    figure: Callable[[str], None],
) -> None:
    """With a folder or nonsense in the journal's place the commit before goes on: all is counted once, and status says what was damaged."""
    environment.update(OTEL_EXPORTER_OTLP_ENDPOINT=loopback.url, KEDRO_OTEL_SHIP="manual")
    path = project()
    damages: list[Callable[[Path], Any]] = [
        lambda place: place.mkdir(),
        lambda place: place.write_bytes(b"nonsense"),
    ]
    for number, damage in enumerate(damages, 1):
        kedro("registry", "list", cwd=path)
        kedro("otel", "ship", cwd=path)
        (place,) = (
            found
            for found in (home / "destinations").glob("*/journal-*.json")
            if ".before" not in found.name
        )
        place.unlink()
        damage(place)
        (told,) = spoken(kedro("otel", "status", "--json", cwd=path).out)["shipped"]
        assert told["lost"] == {"journals damaged": number}
    kedro("registry", "list", cwd=path)
    kedro("otel", "ship", cwd=path)
    assert loopback.total("kedro.commands") == 3
    assert len({span.span_id for span in loopback.spans()}) == 3
    figure("2 journals damaged: 3 commands counted of 3, 3 unique spans of 3, 2 told by status")


def operations_of(paths: list[Path]) -> list[Any]:
    """Return the operations in recordings."""
    from kedro_otel.recording import reader

    return [one for path in paths for one in reader.read(path).operations]


FAILING = """
from kedro_otel.tracing import nodes

def broken(*_):
    raise RuntimeError("an error of kedro-otel's own")

nodes.Nodes.after_node = broken
"""


def test_an_internal_error_is_counted(
    project: Callable[..., Path],
    kedro: Callable[..., Any],
    home: Path,
    figure: Callable[[str], None],
) -> None:
    """What fails in our code is counted in the recording, and shown."""
    path = project(settings=FAILING)
    result = kedro("run", cwd=path, env={"KEDRO_OTEL_RAISE": None})
    assert "own" not in result.err
    assert lost(kedro, path) == {"internal_error": 3}
    assert "internal_error 3" in kedro("otel", "status", cwd=path).out
    assert len(operations(home)) == 12
    figure("3 errors of ours: exit code 0, 3 counted, 12 of 12 operations recorded")


def test_what_the_bounds_dropped_is_said(
    project: Callable[..., Path], kedro: Callable[..., Any], environment: dict[str, str], home: Path
) -> None:
    """Recordings beyond the bounds are counted by reason in what status says."""
    path = chain(project, 2)
    for _ in range(4):
        kedro("registry", "list", cwd=path)
    environment["KEDRO_OTEL_MAX_SEGMENTS"] = "2"
    kedro("otel", "list", cwd=path)
    said = lost(kedro, path)
    kept = len(list((home / "recordings").glob("[0-9]*.jsonl")))
    assert said == {"segments dropped (too many)": 4 - kept}
    assert kept < 4
