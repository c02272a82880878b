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
    run = tape.start("run", "run a", 3.0, parent=command, kedro_pipeline_name="a")
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
