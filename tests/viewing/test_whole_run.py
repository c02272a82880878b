"""All parts of a run that several processes made, seen as one."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner
from fabricate import SECOND, Tape

from kedro_otel.cli import otel
from kedro_otel.facts.run_key import RunKey

KEY = RunKey("k", "key", requested=True)


def part(folder: Path, at: float, name: str, parent: str) -> None:
    """Record a command of 10 s with a node of 4 s in it, ``at`` seconds after the 1.7e9th."""
    tape = Tape(folder, at=int((1.7e9 + at) * SECOND), trace=KEY.trace_id)
    command = tape.start("command", "kedro run", 0.0, parent=parent, kedro_command_name="run")
    more = {"kedro_run_key_source": "key", "kedro_run_part": True}
    run = tape.start("run", "run a", 3.0, parent=command, kedro_pipeline_name="a", **more)
    node = tape.start("node", f"node {name}", 4.0, parent=run, kedro_node_name=name)
    tape.end(node, 8.0)
    tape.end(run, 9.0)
    tape.end(command, 10.0)


def show(*words: object) -> str:
    """Type `kedro otel show`."""
    found = CliRunner().invoke(otel, ["show", *map(str, words)])
    assert found.exit_code == 0, found.output
    return found.stdout


def test_all_parts_are_drawn_and_their_times_add_up(environment, home, tmp_path):
    """Parts from folders that were brought together, one below an orchestrator's own span: nodes, starting and waiting make the extent."""
    part(tmp_path / "one/recordings", 0.0, "x", KEY.span_id)
    part(tmp_path / "two/recordings", 15.0, "y", "ab" * 8)
    shown = show("--run-key", KEY.key, "--from", tmp_path / "one", "--from", tmp_path / "two")
    assert " x " in shown
    assert " y " in shown
    assert "2 nodes" in shown
    times = "nodes 8.00 s + Python and Kedro starting 12.0 s + waiting between tasks 5.00 s"
    assert f"{times} = 25.0 s" in shown, shown
    assert "no root span is" in shown


def test_a_finished_run_has_its_own_root(environment, home, tmp_path):
    """After `kedro otel finish` the root is the recorded one, with the extent that it says."""
    part(home / "recordings", 0.0, "x", KEY.span_id)
    times = ["--start", "1699999990", "--end", "1700000020", "--status", "ok"]
    assert not CliRunner().invoke(otel, ["finish", "--run-key", KEY.key, *times]).exit_code
    shown = show("--run-key", KEY.key)
    assert "waiting between tasks 20.0 s = 30.0 s" in shown, shown
    assert "no root span is" not in shown
    found = json.loads(show("--run-key", KEY.key, "--json"))
    assert found["trace_id"] == KEY.trace_id


def test_what_is_not_recorded_is_said(environment, home):
    """A key of which nothing is here ends with one line that says what to do."""
    found = CliRunner().invoke(otel, ["show", "--run-key", "other"])
    assert (found.exit_code, "--from" in found.output) == (1, True)


def listed() -> list[dict[str, object]]:
    """Type `kedro otel list --json`."""
    found = CliRunner().invoke(otel, ["list", "--json"])
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_parts_are_one_row_and_one_run(environment, home):
    """`list` has one row for all parts, with their extent; `show` draws them all, and counts them as one run."""
    for at, name in ((0.0, "x"), (15.0, "y"), (40.0, "z")):
        part(home / "recordings", at, name, KEY.span_id)
    before = Tape(home / "recordings", at=int(1.6e9 * SECOND))
    before.end(before.start("run", "run b", 0.0, kedro_pipeline_name="b"), 1.0)
    found = listed()
    assert [(one["run"], one["parts"]) for one in found] == [(-1, 3), (-2, None)]
    assert found[0]["duration_seconds"] == 50.0
    assert (found[0]["outcome"], found[0]["pipeline"]) == ("ok", "a")
    text = CliRunner().invoke(otel, ["list"]).stdout
    assert "kedro run in 3 parts" in text
    for shown in (show(), show(KEY.trace_id[:8])):
        assert all(f" {name} " in shown for name in "xyz")
        assert "waiting between tasks 20.0 s = 50.0 s" in shown
    assert "run b" in show("-2")


def test_a_finished_run_says_how_it_went(environment, home):
    """The row has the extent and outcome that `kedro otel finish` was given, whatever its parts say."""
    for at, name in ((0.0, "x"), (15.0, "y")):
        part(home / "recordings", at, name, KEY.span_id)
    times = ["--start", "1699999990", "--end", "1700000030", "--status", "failed"]
    assert not CliRunner().invoke(otel, ["finish", "--run-key", KEY.key, *times]).exit_code
    (found,) = listed()
    assert (found["outcome"], found["duration_seconds"], found["parts"]) == ("failed", 40.0, 2)


def test_one_part_alone_is_a_run_like_any_other(environment, home):
    """Where no other part is recorded here, its row and its waterfall are its own."""
    part(home / "recordings", 0.0, "x", KEY.span_id)
    (found,) = listed()
    assert (found["parts"], found["duration_seconds"]) == (None, 6.0)
    assert "waiting between tasks" not in show()


def test_recordings_of_other_machines_are_read_where_they_lie(environment, home, tmp_path):
    """`--from` without a key draws the newest run below a folder, or the one that is named, and leaves this machine's alone."""
    part(tmp_path / "one/recordings", 0.0, "x", KEY.span_id)
    part(tmp_path / "deep/down/two/recordings", 15.0, "y", KEY.span_id)
    other = Tape(tmp_path / "deep/recordings", at=int(1.6e9 * SECOND), trace="ef" * 16)
    other.end(other.start("run", "run b", 0.0, kedro_pipeline_name="b"), 1.0)
    (tmp_path / "one/recordings/not-ours.jsonl").write_text("hello\n")
    shown = show("--from", tmp_path)
    assert " x " in shown
    assert " y " in shown
    assert "run b" in show("ef" * 16, "--from", tmp_path)
    assert not home.exists()
    found = CliRunner().invoke(otel, ["show", "--from", str(tmp_path / "one"), "ab" * 16])
    assert (found.exit_code, "nothing of the run" in found.output) == (1, True)
