"""The journal: whole or absent, one owner, and never a number counted twice."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kedro_otel.semconv import measurements as m
from kedro_otel.shipping.failpoints import VARIABLE
from kedro_otel.shipping.process import lock
from kedro_otel.shipping.state import aggregation, journal

NOW = 1_700_000_000 * aggregation.SECOND


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where this test's journal is."""
    folder = tmp_path / "destination"
    folder.mkdir()
    return folder / "journal-0123456789abcdef.json"


def filled(path: Path, commands: int = 3) -> journal.Journal:
    """Return a journal in which everything is something."""
    found = journal.Journal(path)
    found.address = "http://localhost:4318/v1/traces"
    done = found.cursor("done")
    done.spans = done.folded = done.size = 100
    half = found.cursor("half")
    half.spans, half.folded, half.dead, half.dead_shipped = 10, 20, ["d" * 16, "e" * 16], ["d" * 16]
    found.cursor("theirs").size = journal.NOT_OURS
    totals = found.resource({"service.name": "kedro", "kedro.project.tools": ["Linting"]}, NOW)
    for _ in range(commands):
        aggregation.add(
            totals, [m.Measurement("kedro.commands", 1, (("kedro.command.name", "run"),))]
        )
    found.signals["traces"].state, found.signals["traces"].why, found.signals["traces"].next_ns = (
        journal.HOLD,
        "401",
        NOW,
    )
    found.counts["spans sent"] = 7
    found.folded_before_ns = 5
    return found


def state(found: journal.Journal) -> dict[str, Any]:
    """Return all that a journal knows."""
    told: dict[str, Any] = json.loads(json.dumps(journal._dump(found)))
    return told


def commands(found: journal.Journal) -> float:
    """Return how many commands a journal has counted."""
    return sum(
        series.value for totals in found.totals.values() for series in totals.series.values()
    )


def test_what_is_committed_is_what_is_read(path):
    """A journal comes back from disk as it was."""
    written = filled(path)
    written.commit()
    read = journal.load(path)
    assert state(read) == state(written)
    assert read.note == ""
    assert read.segments["half"].dead_shipped == ["d" * 16]
    assert read.segments["done"].size == 100
    assert read.segments["theirs"].size == journal.NOT_OURS


def test_a_journal_that_is_not_there_is_empty_and_not_damaged(path):
    """The first shipper begins with nothing and says nothing."""
    found = journal.load(path)
    assert (found.segments, found.totals, found.note, found.folded_before_ns, found.path) == (
        {},
        {},
        "",
        0,
        path,
    )
    assert not found.counts
    below = path / "below"
    path.write_bytes(b"")
    assert journal.load(below).note == ""


def test_only_the_user_may_read_it(path):
    """Modes are 0600, whatever the umask."""
    before = os.umask(0)
    try:
        for commands_ in (1, 2):
            filled(path, commands_).commit()
    finally:
        os.umask(before)
    assert {oct(file.stat().st_mode & 0o777) for file in path.parent.iterdir()} == {"0o600"}


def test_damage_at_any_byte_costs_at_most_the_last_commit(path):
    """Cut or flipped anywhere, the journal is read as of now or as of the commit before, which counts nothing twice."""
    written = filled(path, 1)
    written.commit()
    totals = next(iter(written.totals.values()))
    aggregation.add(totals, [m.Measurement("kedro.commands", 1, (("kedro.command.name", "run"),))])
    written.commit()
    whole = path.read_bytes()
    assert commands(journal.load(path)) == 2
    for place in range(len(whole)):
        path.write_bytes(whole[:place])
        assert commands(journal.load(path)) == (2 if place >= len(whole) - 1 else 1)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        found = journal.load(path)
        assert commands(found) == 2 or (commands(found) == 1 and "damaged" in found.note)


def test_with_both_commits_damaged_counting_begins_anew_after_the_last(path):
    """What was counted until then is not counted again: a number too small can be explained, one too large cannot."""
    filled(path, 1).commit()
    filled(path, 2).commit()
    when = path.stat().st_mtime_ns
    for file in path.parent.iterdir():
        file.write_bytes(b"nonsense\n")
        os.utime(file, ns=(when, when))
    found = journal.load(path)
    assert (commands(found), found.folded_before_ns) == (0, when)
    assert found.note == "the journal was damaged beyond use; counting begins anew"
    assert found.counts == {"journals damaged": 1}


def test_a_new_journal_knows_nothing(path):
    """No receiver, no answer, no count."""
    fresh = ["ok", "", 0, 0, 0]
    signals = {"traces": fresh, "metrics": fresh, "logs": fresh}
    assert state(journal.Journal(path)) == {
        "logs": {},
        "segments": {},
        "totals": [],
        "signals": signals,
        "counts": {},
        "address": "",
        "foldedBefore": 0,
        "gone": {"before": 0, "days": {}},
        "closing": [],
        "left": {},
        "marks": [],
        "copies": 0,
        "details": {},
        "projects": {},
        "adopted": [],
        "environments": {},
    }


def test_without_hard_links_the_one_before_is_copied(path, monkeypatch):
    """Where the file system has no second names, and where a killed process left something, the commit before is kept all the same."""

    def refuse(*_):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    leftover = path.with_suffix(".kept")
    for number in (1, 2, 3):
        leftover.write_bytes(b"half")
        filled(path, number).commit()
    assert not leftover.exists()
    kept = path.with_suffix(".before.json")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    path.unlink()
    assert commands(journal.load(path)) == 2


def test_a_commit_is_synced_and_so_is_its_folder(path, monkeypatch):
    """File first, then the folder that names it; a folder that cannot be synced is no error."""
    synced = []

    def sync(descriptor):
        synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        if synced[-1]:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", sync)
    filled(path).commit()
    assert synced == [False, True]
    assert commands(journal.load(path)) == 3


def test_a_commit_goes_step_by_step(path, monkeypatch):
    """It is written beside, the one before is kept, then it takes its place: at each step a whole journal is there."""
    filled(path, 1).commit()
    steps = []
    monkeypatch.setattr(
        journal,
        "reached",
        lambda step: steps.append(
            (step, sorted(file.name.partition(".")[2] for file in path.parent.iterdir()))
        ),
    )
    filled(path, 2).commit()
    assert steps == [
        ("journal written", ["json", "new"]),
        ("journal kept", ["before.json", "json", "new"]),
        ("journal replaced", ["before.json", "json"]),
    ]
    assert b'": ' not in path.read_bytes().splitlines()[1]


def test_half_a_character_is_kept(path):
    """A resource's attribute that is no whole text does not stop the counting."""
    found = filled(path)
    found.resource({"name": "\ud800"}, NOW)
    found.commit()
    assert [totals.attributes for totals in journal.load(path).totals.values()][1:] == [
        {"name": "\ud800"}
    ]


@pytest.mark.parametrize(
    ("spans", "folded", "size", "dead", "row"),
    [
        (0, 0, journal.UNDONE, [], [0, 0, journal.UNDONE, [], []]),
        (7, 7, 7, [], 7),
        (7, 7, 8, [], [7, 7, 8, [], []]),
        (7, 6, 7, [], [7, 6, 7, [], []]),
        (6, 7, 7, [], [6, 7, 7, [], []]),
        (7, 7, 7, ["d"], [7, 7, 7, ["d"], ["d"]]),
        (0, 0, journal.NOT_OURS, [], journal.NOT_OURS),
    ],
)
def test_a_cursor_is_kept_as_short_as_can_be(path, spans, folded, size, dead, row):
    """A segment that is done is one number; whatever else is known of one is kept whole."""
    written = journal.Journal(path)
    new = written.cursor("s")
    assert (new.spans, new.folded, new.size, new.dead, new.dead_shipped) == (
        0,
        0,
        journal.UNDONE,
        [],
        [],
    )
    assert written.cursor("s") is new
    new.spans, new.folded, new.size, new.dead, new.dead_shipped = (
        spans,
        folded,
        size,
        dead,
        list(dead),
    )
    assert state(written)["segments"] == {"s": row}
    written.commit()
    read = journal.load(path).cursor("s")
    assert (read.spans, read.folded, read.size, read.dead, read.dead_shipped) == (
        spans,
        folded,
        size,
        dead,
        dead,
    )


def test_after_damage_the_one_before_goes_on_in_its_place(path):
    """The commit before is taken, says so and counts it; what is committed next is where the damage was."""
    for times in (1, 2):
        for number in (1, 2):
            found = filled(path, number)
            found.counts = journal.load(path).counts
            found.commit()
        path.write_bytes(b"nonsense\n")
        found = journal.load(path)
        assert commands(found) == 1
        assert (
            found.note
            == "the journal was damaged; the one before was taken, nothing is counted twice"
        )
        assert found.counts["journals damaged"] == times
        found.commit()
        assert journal.load(path).note == ""


def test_a_journal_that_was_taken_away_is_the_one_before(path):
    """Where only the commit before is there, it is taken, and nothing was damaged."""
    filled(path, 1).commit()
    filled(path, 2).commit()
    path.unlink()
    found = journal.load(path)
    assert (commands(found), found.note) == (1, "")


def test_what_came_back_goes_on(path):
    """A resource that is known keeps its stream, a segment whose file is gone is remembered, a signal of another version stays."""
    written = filled(path)
    written.signals["logs"] = journal.Signal()
    written.commit()
    read = journal.load(path)
    (totals,) = read.totals.values()
    assert (
        read.resource({"kedro.project.tools": ["Linting"], "service.name": "kedro"}, NOW + 1)
        is totals
    )
    assert read.signals["logs"].state == journal.OK
    read.missing({"half", "unheard"})
    assert "half" in read.segments
    counted = {one for one, cursor in written.segments.items() if cursor.folded}
    assert all(one in read.segments or one in read.gone for one in counted)


def elsewhere(path: Path) -> Path:
    """Return a whole journal in another place."""
    other = path.with_name("other.json")
    filled(other).commit()
    return other


@pytest.mark.parametrize(
    "plant",
    [
        lambda path: path.mkdir(),
        lambda path: (path / "full").mkdir(parents=True),
        lambda path: path.symlink_to(elsewhere(path)),
        os.mkfifo,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(
            elsewhere(path)
            .read_bytes()
            .replace(b'"kedro-otel-journal": 1', b'"kedro-otel-journal": 2')
        ),
    ],
    ids=["folder", "full folder", "link", "pipe", "empty", "unknown version"],
)
def test_something_else_in_its_place_is_damage(path, plant):
    """A folder, a link, a pipe, an empty file or a later version is not followed, waited for or trusted; the next commit takes its place."""
    plant(path)
    found = journal.load(path)
    assert found.totals == {}
    assert "damaged" in found.note
    aside = sorted(other.name for other in path.glob("*"))
    totals = found.resource({}, NOW)
    for number in (1, 2):
        aggregation.add(totals, [m.Measurement("kedro.commands", 1, ())])
        found.commit()
        assert stat.S_ISREG(path.lstat().st_mode)
        again = journal.load(path)
        assert (commands(again), again.note) == (number, "")
    assert (
        sorted(other.name for kept in path.parent.glob("*.aside") for other in kept.glob("*"))
        == aside
    )


@pytest.mark.parametrize("step", ["journal written", "journal kept", "journal replaced"])
def test_a_kill_at_any_step_of_a_commit_leaves_a_whole_journal(path, step, environment):
    """The state is the one before or the one after, and the next commit goes through."""
    filled(path, 1).commit()
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path; import test_journal\n"
        "found = test_journal.filled(Path(sys.argv[1]), 2); found.commit()"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, str(path), str(Path(__file__).parent)],
        env={**environment, VARIABLE: step},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    found = journal.load(path)
    assert commands(found) == (2 if step == "journal replaced" else 1)
    assert found.note == ""
    filled(path, 3).commit()
    assert commands(journal.load(path)) == 3


def test_a_commit_that_changes_nothing_writes_nothing(path):
    """A shipper that looks twice a second does not wear the disk."""
    found = filled(path)
    found.commit()
    stamp = path.stat().st_mtime_ns
    time.sleep(0.02)
    found.commit()
    assert path.stat().st_mtime_ns == stamp


def test_a_purged_folder_is_not_written_again(path):
    """After a purge a commit fails; nothing of ours comes back."""
    found = filled(path)
    found.commit()
    folder = path.parent
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    aggregation.add(next(iter(found.totals.values())), [m.Measurement("kedro.commands", 1, ())])
    with pytest.raises(FileNotFoundError):
        found.commit()
    assert not folder.exists()


def test_instance_ids_are_random():
    """No copy of a home folder, and no second resource, has the same stream."""
    assert len({journal.instance_id() for _ in range(100)}) == 100


def test_resources_are_forgotten_when_there_are_too_many_and_they_are_sent(path):
    """A job id in OTEL_RESOURCE_ATTRIBUTES does not grow the journal without end; what waits is kept."""
    found = journal.Journal(path)
    for number in range(3 * journal.MAX_RESOURCES):
        totals = found.resource({"job": number}, NOW)
        totals.time_ns = NOW + number
        if number % 100 == 0:
            totals.revision = 1
    assert len(found.totals) <= journal.MAX_RESOURCES
    assert {totals.attributes["job"] for totals in found.totals.values() if totals.pending} == {
        0,
        100,
        200,
        300,
        400,
        500,
        600,
        700,
    }
    assert found.counts["resources forgotten"] == 3 * journal.MAX_RESOURCES - len(found.totals)


def test_a_quarter_is_forgotten_at_a_time(path):
    """The limit itself is kept; beyond it the longest unchanged go, a quarter at once."""
    found = journal.Journal(path)
    for number in range(journal.MAX_RESOURCES):
        found.resource({"job": number}, NOW + number)
    assert len(found.totals) == journal.MAX_RESOURCES
    found.resource({"job": "one more"}, NOW)
    assert found.counts == {"resources forgotten": journal.MAX_RESOURCES // 4}
    assert [totals.attributes["job"] for totals in found.totals.values()] == [
        *range(journal.MAX_RESOURCES // 4, journal.MAX_RESOURCES),
        "one more",
    ]


def test_one_process_holds_the_lock_until_it_dies(tmp_path, environment):
    """A second shipper gets no lock; a killed one leaves none behind; looking does not take it."""
    path = tmp_path / "shipper.lock"
    mine = lock.Lock(path)
    assert not lock.held(path)
    assert mine.take()
    assert mine.mine
    assert lock.held(path)
    assert not lock.Lock(path).take(0.05)
    mine.release()
    assert not lock.held(path)
    code = f"from kedro_otel.shipping.process.lock import Lock; from pathlib import Path; print(Lock(Path({str(path)!r})).take(), flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    assert other.stdout is not None
    assert other.stdout.readline() == b"True\n"
    assert lock.held(path)
    assert not mine.take(0.05)
    other.kill()
    other.communicate()
    assert mine.take()
    mine.release()


def test_a_lock_whose_file_was_purged_is_no_longer_ours(tmp_path):
    """A shipper notices that its folder was taken away."""
    path = tmp_path / "shipper.lock"
    mine = lock.Lock(path)
    assert mine.take()
    path.unlink()
    assert not mine.mine


def test_a_planted_link_is_not_locked(tmp_path):
    """A lock that is a symbolic link is refused, not followed."""
    target = tmp_path / "target"
    (tmp_path / "shipper.lock").symlink_to(target)
    with pytest.raises(OSError):
        lock.Lock(tmp_path / "shipper.lock").take()
    assert not target.exists()


def test_a_signal_held_in_the_future_is_tried_again_when_the_clock_was_wrong():
    """A clock set back by a day does not stop sending for a day."""
    one = journal.Signal()
    one.next_ns = NOW + 600 * aggregation.SECOND
    assert not one.ready(NOW)
    assert one.ready(one.next_ns)
    longest = 2 * 3600 * aggregation.SECOND
    assert not one.ready(one.next_ns - longest)
    assert one.ready(one.next_ns - longest - 1)
