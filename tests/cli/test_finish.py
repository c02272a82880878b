"""`kedro otel finish` ends a run of many processes, as the recordings or whoever calls it say."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fabricate import SECOND, Tape

from kedro_otel.cli import otel
from kedro_otel.facts.run_key import RunKey
from kedro_otel.recording import reader
from kedro_otel.recording.model import Operation

KEY = RunKey("k", "key", requested=True)
DIED = "kedro_otel.process_died"


def finish(*words: str) -> Result:
    """Type `kedro otel finish`."""
    return CliRunner().invoke(otel, ["finish", "--run-key", KEY.key, *words])


def root(home: Path) -> Operation:
    """Return the one root span that is recorded."""
    found = [
        one
        for path in reader.segments(home / "recordings")
        for one in reader.read(path).operations
        if one.span_id == KEY.span_id
    ]
    assert len(found) == 1
    return found[0]


def part(home: Path, at: float, name: str, *, how: str = "ok") -> None:
    """Record a part that runs one node for a second, ``at`` seconds after the 2e9th of the epoch."""
    tape = Tape(home / "recordings", at=int((2e9 + at) * SECOND), trace=KEY.trace_id)
    run = tape.start("run", "run a", 0.0, parent=KEY.span_id, kedro_pipeline_name="a")
    node = tape.start("node", name, 0.2, parent=run, kedro_node_name=name)
    if how != "died":
        error = "ValueError" if how == "failed" else None
        tape.end(node, 0.8, error)
        tape.end(run, 1.0, error)


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ([("x", "ok"), ("y", "ok")], None),
        ([("x", "failed"), ("y", "ok"), ("x", "ok")], None),
        ([("x", "ok"), ("y", "failed")], "ValueError"),
        ([("x", "died"), ("y", "ok")], DIED),
    ],
)
def test_the_recordings_say_when_and_how(environment, home, parts, error):
    """The extent is that of all parts; a node that was tried again counts as its last try, one that was killed as killed."""
    for at, (name, how) in enumerate(parts):
        part(home, 10 * at, name, how=how)
    found = finish()
    assert found.exit_code == 0, found.output
    span = root(home)
    assert span.start_ns == 2 * 10**9 * SECOND
    last = 0.2 if parts[-1][1] == "died" else 1.0
    assert span.end_ns == int((2e9 + 10 * (len(parts) - 1) + last) * SECOND)
    assert (span.error, span.attributes.get("error.type")) == (error is not None, error)
    assert (span.parent_id, span.attributes["kedro.pipeline.name"]) == ("", "a")


def test_what_is_given_counts_and_the_second_time_nothing_happens(environment, home):
    """Times and status as orchestrators write them; a run that is finished stays as it is."""
    given = ("--start", "2033-05-18T03:33:20Z", "--end", "2000000060.5", "--status", "Failed")
    assert finish(*given).exit_code == 0
    assert "finished before" in finish(*given).output
    span = root(home)
    assert (span.start_ns, span.end_ns) == (2000000000 * SECOND, int(2000000060.5 * SECOND))
    assert (span.error, span.attributes["error.type"]) == (True, "_OTHER")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 1, "kedro otel finish --start TIME"),
        (("--start", "yesterday"), 2, "is no time"),
        (("--start", "0", "--status", "maybe"), 2, "ok or failed"),
    ],
)
def test_what_cannot_be_known_is_asked_for(environment, home, words, code, said):
    """Without a recording and without a time there is nothing to write."""
    found = finish(*words)
    assert (found.exit_code, said in found.output) == (code, True), found.output
    assert not reader.segments(home / "recordings")
