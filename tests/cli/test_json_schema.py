"""``--json`` of list and show: the documented schema, and one meaning per key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fabricate import Tape, a_run
from jsonschema import Draft202012Validator

from kedro_otel.cli import otel
from kedro_otel.config import paths

SCHEMA = json.loads(
    (Path(__file__).parents[2] / "docs/schemas/runs.schema.json").read_text(encoding="utf-8")
)
NODES = [("load_cars", 0.9, 0.05, 0.1), ("train", 0.2, 1.5, 0.2)]
KINDS: dict[str, dict[str, Any]] = {
    "ok": {},
    "failed": {"error": ("train", "shop.StockError")},
    "interrupted": {"error": ("train", "KeyboardInterrupt")},
    "killed": {"dies": True},
    "in Python": {"command": None},
}


def printed(*words: str) -> Any:
    """Return what a command prints as JSON."""
    result = CliRunner().invoke(otel, [*words, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def held(found: Any, name: str) -> None:
    """Hold ``found`` to a definition of the schema, and to the schema as a whole."""
    Draft202012Validator.check_schema(SCHEMA)
    for schema in (SCHEMA, {**SCHEMA, "oneOf": [{"$ref": f"#/$defs/{name}"}]}):
        Draft202012Validator(schema).validate(found)


def test_the_schema_bites() -> None:
    """A key that is missing, unknown or of another type is found."""
    a_run(paths.recordings(), NODES)
    found = printed("show")
    for change in ({"nodes": "two"}, {"surprise": 1}, {"outcome": "fine"}):
        assert not Draft202012Validator(SCHEMA).is_valid({**found, **change})
    del found["nodes"]
    assert not Draft202012Validator(SCHEMA).is_valid(found)


@pytest.mark.parametrize("kind", KINDS)
def test_one_meaning_per_key(kind: str) -> None:
    """What list and show both say of one run is the same, under every outcome, and as the schema has it."""
    a_run(paths.recordings(), NODES, **KINDS[kind])
    listed, shown = printed("list"), printed("show")
    held(listed, "list")
    held(shown, "show")
    common = listed[0].keys() & shown.keys()
    assert common == set(SCHEMA["$defs"]["summary"]["properties"])
    assert {key: listed[0][key] for key in common} == {key: shown[key] for key in common}


def test_a_command_that_fails_after_its_run() -> None:
    """A run that completed in a command that failed has failed, in both."""
    tape = Tape(paths.recordings())
    command = tape.start("command", "kedro run", 0, kedro_command_line="kedro run")
    run = tape.start("run", "run", 0.2, command, kedro_run_node_count=1)
    tape.end(run, 1.2)
    tape.end(command, 1.5, "RuntimeError", process_exit_code=1)
    assert printed("list")[0]["outcome"] == printed("show")["outcome"] == "failed"


def test_a_command_without_a_run() -> None:
    """A command that ran no pipeline is told with its own times, and without a number."""
    tape = Tape(paths.recordings())
    command = tape.start("command", "kedro info", 0, kedro_command_line="kedro info")
    tape.end(command, 0.7)
    listed, shown = printed("list"), printed("show", "last")
    held(listed, "list")
    held(shown, "show")
    assert listed[0]["run"] is None
    assert listed[0]["duration_seconds"] == shown["duration_seconds"] == 0.7
    assert shown["duration_seconds"] == shown["command_duration_seconds"]
