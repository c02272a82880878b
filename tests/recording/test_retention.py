"""Recordings are kept within bounds: the oldest go first, what is alive or still needed never does, and what went is counted."""

from __future__ import annotations

import errno
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fabricate import SECOND, Tape

from kedro_otel.recording import reader, retention
from kedro_otel.recording.retention import Limits

DAY = 86400 * SECOND
NOW = time.time_ns()
WIDE = Limits(max_bytes=10**9, max_age_days=30, max_segments=1000)


@pytest.fixture
def folder(home: Path) -> Path:
    """Return where recordings are kept."""
    return home / "recordings"


def written(folder: Path, days_ago: float, **header: object) -> Tape:
    """Return a segment that was last written so many days ago."""
    tape = Tape(folder, NOW - round(days_ago * DAY) - SECOND, **header)
    tape.start("run", "run", 0)
    os.utime(tape.path, ns=(NOW, NOW - round(days_ago * DAY)))
    return tape


def prune(folder: Path, limits: Limits, *kept: Tape) -> dict[str, int]:
    """Prune, keeping some segments as not yet shipped."""
    return dict(
        retention.prune(folder, limits, lambda path: path in {tape.path for tape in kept}, NOW)
    )


def test_within_bounds_nothing_goes(folder: Path) -> None:
    """Within bounds nothing goes, and where there are no recordings nothing is made."""
    assert prune(folder, WIDE) == {}
    assert not folder.exists()
    tapes = [written(folder, day) for day in range(3)]
    assert prune(folder, WIDE) == {}
    assert len(reader.segments(folder)) == len(tapes)


def test_what_is_too_old_goes(folder: Path) -> None:
    """What was last written too long ago goes, however little there is."""
    written(folder, 31)
    young = written(folder, 29)
    edge = written(folder, 30)
    assert prune(folder, WIDE) == {"age": 1}
    assert reader.segments(folder) == [edge.path, young.path]
    assert retention.prune(folder, WIDE._replace(max_age_days=29.5), lambda _: False) == {"age": 1}


def test_of_too_many_the_oldest_go(folder: Path) -> None:
    """Of too many segments, or too many bytes, the oldest go, and no more than needed."""
    tapes = [written(folder, day) for day in (5, 4, 3, 2, 1)]
    assert prune(folder, WIDE._replace(max_segments=4)) == {"segments": 1}
    assert reader.segments(folder) == [tape.path for tape in tapes[1:]]
    two = sum(tape.path.stat().st_size for tape in tapes[3:])
    assert prune(folder, WIDE._replace(max_bytes=two)) == {"bytes": 2}
    assert reader.segments(folder) == [tape.path for tape in tapes[3:]]


@pytest.mark.parametrize("reason", ["segments", "bytes", "age"])
def test_ten_times_the_limits_are_brought_back_to_them(
    reason: str, folder: Path, full: bool
) -> None:
    """Ten times what may be kept, by number, size or age, is brought back to it at once, and what went is counted by that reason."""
    number = 2000 if full else 100
    for index in range(number):
        written(folder, 29 * (number - index) / number)
    size = sum(path.stat().st_size for path in reader.segments(folder))
    limits = {
        "segments": WIDE._replace(max_segments=number // 10),
        "bytes": WIDE._replace(max_bytes=size // 10),
        "age": WIDE._replace(max_age_days=2.9),
    }
    assert prune(folder, limits[reason]) == {reason: number * 9 // 10} == retention.dropped(folder)
    left = reader.segments(folder)
    assert len(left) == number // 10
    assert sum(path.stat().st_size for path in left) <= size // 10


def test_what_is_alive_or_needed_stays(folder: Path) -> None:
    """What is being written stays, and so does what is not folded yet: the next oldest go instead."""
    alive, needed, first, last = (written(folder, day) for day in (40, 39, 2, 1))
    alive.live()
    assert prune(folder, WIDE._replace(max_segments=3), needed) == {"segments": 1}
    assert reader.segments(folder) == [alive.path, needed.path, last.path]
    assert first.path not in reader.segments(folder)
    alive.dead()
    assert prune(folder, WIDE) == {"age": 2}


def test_where_it_cannot_be_told_a_day_is_waited(folder: Path) -> None:
    """What may be alive on another host stays for a day after it was last written."""
    fresh = written(folder, 0.5, bootId="another", machineId="another")
    written(folder, 1.5, bootId="another", machineId="another")
    written(folder, 1.5, locked=False)
    written(folder, 1, locked=False)
    assert prune(folder, WIDE._replace(max_segments=0)) == {"segments": 3}
    assert reader.segments(folder) == [fresh.path]


def test_a_damaged_segment_goes_like_any_other(folder: Path) -> None:
    """A segment that cannot be read counts, and goes when its time has come, unless a process holds it."""
    tape = written(folder, 31)
    tape.path.write_bytes(b"\0" * 100)
    os.utime(tape.path, ns=(NOW, NOW - 31 * DAY))
    tape.live()
    assert prune(folder, WIDE) == {}
    tape.dead()
    assert prune(folder, WIDE) == {"age": 1}
    fresh = written(folder, 0)
    fresh.path.write_bytes(b"\0" * 100)
    assert prune(folder, WIDE._replace(max_segments=0)) == {"segments": 1}


def test_what_cannot_be_read_or_removed_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that answers with errors costs no recording that may be alive, and what stayed is not counted as gone."""
    written(folder, 31)

    def refuse(*_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    for name in ("read", "unlink"):
        with monkeypatch.context() as broken:
            broken.setattr(os, name, refuse)
            assert prune(folder, WIDE) == {}
    assert retention.dropped(folder) == {}
    assert prune(folder, WIDE) == {"age": 1}


def test_a_count_that_cannot_be_written_costs_nothing_else(folder: Path) -> None:
    """On a full disk what is too old goes all the same."""
    full = os.open("/dev/full", os.O_RDWR)
    retention._note(full, Counter(age=1))
    os.close(full)


def test_another_folder_is_pruned_apart(folder: Path, tmp_path: Path) -> None:
    """It is the folder that was named that is brought within bounds."""
    mine = written(folder, 31)
    written(tmp_path / "other", 31)
    assert prune(tmp_path / "other", WIDE) == {"age": 1}
    assert reader.segments(folder) == [mine.path]


def test_what_no_segment_tells_can_be_noted(folder: Path, tmp_path: Path) -> None:
    """What was lost apart from segments is counted beside them, in a file of ours that is no link."""
    retention.note(folder, "internal_error", 2)
    retention.note(folder, "internal_error", 3)
    assert retention.dropped(folder) == {"internal_error": 5}
    ledger = folder / retention.LEDGER
    assert [mode & 0o777 for mode in (folder.stat().st_mode, ledger.stat().st_mode)] == [
        0o700,
        0o600,
    ]
    ledger.rename(tmp_path / "elsewhere")
    ledger.symlink_to(tmp_path / "elsewhere")
    before = (tmp_path / "elsewhere").read_bytes()
    with pytest.raises(OSError):
        retention.note(folder, "internal_error", 1)
    written(folder, 31)
    assert prune(folder, WIDE) == {}
    assert (tmp_path / "elsewhere").read_bytes() == before


def test_a_clock_set_back_or_forward_a_day_expires_nothing(folder: Path) -> None:
    """A clock that was a day ahead or behind makes nothing expire early."""
    written(folder, -1)
    written(folder, 28)
    assert retention.prune(folder, WIDE, lambda _: False, NOW + DAY) == {}
    assert retention.prune(folder, WIDE, lambda _: False, NOW - DAY) == {}
    assert retention.prune(folder, WIDE, lambda _: False) == {}
    assert retention.prune(folder, WIDE, lambda _: False, NOW + 3 * DAY) == {"age": 1}


def test_nobody_elses_file_is_touched(folder: Path, tmp_path: Path) -> None:
    """A file that is no recording stays, and what a planted link points to stays."""
    mine = tmp_path / "mine"
    mine.write_text("precious")
    folder.mkdir(parents=True)
    (folder / f"{1:020d}-1-00000000.jsonl").symlink_to(mine)
    (folder / "notes.txt").write_text("precious")
    os.utime(folder / "notes.txt", (0, 0))
    assert prune(folder, Limits(0, 0, 0)) == {}
    assert (mine.read_text(), (folder / "notes.txt").read_text()) == ("precious", "precious")


def test_litter_is_swept_after_a_day(folder: Path) -> None:
    """What a process left half made goes after a day, unless the process still lives."""
    folder.mkdir(parents=True)
    old = [
        folder / name
        for name in (".new-1", "handoff-999999999.json", f"handoff-{os.getpid()}.json")
    ]
    for path, age in zip(old, (1, 2, 2), strict=True):
        path.touch()
        os.utime(path, ns=(NOW, NOW - age * DAY))
    (folder / ".new-2").touch()
    (folder / ".new-3").symlink_to(old[2])
    (folder / ".new-4").mkdir()
    os.utime(folder / ".new-4", ns=(NOW, NOW - 2 * DAY))
    prune(folder, WIDE)
    left = [".new-2", ".new-3", ".new-4", "dropped.jsonl", old[2].name]
    assert sorted(path.name for path in folder.iterdir()) == sorted(left)


def test_what_went_is_remembered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What went is counted by reason over all times, in a file that does not grow for ever."""
    monkeypatch.setattr(retention, "_LEDGER_BYTES", 100)
    for _ in range(20):
        written(folder, 31)
        written(folder, 2)
        prune(folder, WIDE._replace(max_segments=0))
    with (folder / retention.LEDGER).open("ab") as file:
        file.write(b'{"torn')
    assert retention.dropped(folder) == {"age": 20, "segments": 20}
    assert (folder / retention.LEDGER).stat().st_size < 200
    assert (folder / retention.LEDGER).stat().st_mode & 0o777 == 0o600
    assert retention.dropped(folder / "nowhere") == {}


def test_many_pruners_at_once_remove_and_count_once(folder: Path) -> None:
    """Several that prune at once remove each segment once and count it once."""
    for index in range(50):
        written(folder, 31 + index / 100)
    with ThreadPoolExecutor(8) as pool:
        counted = list(pool.map(lambda _: prune(folder, WIDE), range(8)))
    assert sum(one.get("age", 0) for one in counted) == 50
    assert retention.dropped(folder) == {"age": 50}
    assert reader.segments(folder) == []
