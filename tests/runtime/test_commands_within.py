"""Commands that another program calls: each its own, as long as the call, and no failure without an error."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bare import LOGGING
from kedro.framework.project import pipelines
from trace_text import operations, tree

from kedro_otel.semconv import names
from kedro_otel.viewing.model import outcome

NOT_STANDALONE = """
import time
from pathlib import Path
import click
from kedro.framework.cli.cli import KedroCLI

class Ours(KedroCLI):
    def main(self, args=None, **more):
        return super().main(args=args, **more)

class Quiet(KedroCLI):
    "One that tells nothing of its end."
    def main(self, args=None, **more):
        self._cli_hook_manager.hook.before_command_run(project_metadata=self._metadata, command_args=args)
        return click.CommandCollection.main(self, args=args, obj=self._metadata, **more)

for kind, words in (
    (KedroCLI, ["registry", "list"]),
    (Ours, ["run", "--pipeline", "quiet"]),
    (KedroCLI, ["registry", "describe", "quiet"]),
    (Quiet, ["run", "--pipeline", "quiet"]),
    (Quiet, ["registry", "list"]),
):
    called = time.time_ns()
    kind(Path.cwd()).main(words, standalone_mode=False)
    print(called, time.time_ns())
    time.sleep(0.3)
"""
CLI_RUNNER = """
import time
from pathlib import Path
from click.testing import CliRunner
from kedro.framework.cli.cli import KedroCLI
time.sleep(0.5)
called = time.time_ns()
result = CliRunner().invoke(KedroCLI(Path.cwd()), ["registry", "list"])
assert result.exit_code == 0, result.output
print(called)
"""
ONE_PIPELINE = """
from kedro.framework.project import pipelines
from kedro.pipeline import node, pipeline
def _pipe(name): return pipeline([node(lambda: 1, None, name, name=f"make_{name}")])
def register_pipelines():
    asked = getattr(pipelines, "_requested_pipelines", None) or ["one", "two"]
    found = {name: _pipe(name) for name in ("one", "two") if name in asked}
    return {**found, "__default__": sum(found.values(), pipeline([]))}
"""


def test_commands_that_return_are_side_by_side_and_no_failures(
    project: Callable[..., Path], run: Callable[..., Any], home: Path
) -> None:
    """A command called with standalone_mode=False fires no hook at its end: it ends when it returns, ok unless nothing tells that."""
    out = run(sys.executable, "-c", NOT_STANDALONE, cwd=project()).out

    found = operations(home)
    assert "!" not in tree(found)
    commands = sorted(
        (one for one in found if one.operation == names.COMMAND), key=lambda one: one.start_ns
    )
    assert [(one.name, one.parent_id, outcome.word(one)) for one in commands] == [
        ("kedro registry list", "", "ok"),
        ("kedro run", "", "ok"),
        ("kedro registry describe", "", "ok"),
        ("kedro run", "", "ok"),
        ("kedro registry list", "", "unknown"),
    ]
    assert names.EXIT_CODE not in commands[0].attributes
    calls = [line.split() for line in out.splitlines() if line[:3].isdigit()]
    for command, (called, returned) in zip(commands[:3], calls, strict=False):
        assert int(called) <= command.start_ns <= (command.end_ns or 0) <= int(returned)


def test_a_command_in_another_program_begins_when_it_is_called(
    project: Callable[..., Path], run: Callable[..., Any], home: Path
) -> None:
    """What click's CliRunner invokes starts with that call, not with the process."""
    called = int(run(sys.executable, "-c", CLI_RUNNER, cwd=project()).out.split()[-1])

    (command,) = operations(home)
    assert command.start_ns >= called
    assert command.start_ns < time.time_ns()
    assert command.attributes[names.EXIT_CODE] == 0


@pytest.mark.skipif(
    not hasattr(pipelines, "set_requested"), reason="this Kedro always loads every pipeline"
)
def test_what_was_loaded_for_one_pipeline_is_not_the_projects_size(
    project: Callable[..., Path], kedro: Callable[..., Any], home: Path
) -> None:
    """A run of one pipeline says nothing of the project's pipelines where Kedro loaded that one alone."""
    path = project(registry=ONE_PIPELINE)
    kedro("run", cwd=path)
    kedro("run", "--pipeline", "one", cwd=path)

    whole, part = (one.attributes for one in operations(home) if one.operation == names.RUN)
    assert (whole[names.PIPELINE_COUNT], whole[names.NODE_COUNT]) == (3, 2)
    assert names.PIPELINE_COUNT not in part
    assert names.NODE_COUNT not in part


def test_a_reader_that_leaves_is_no_failure(
    environment: dict[str, str], home: Path, kedro: Callable[..., Any]
) -> None:
    """Of `kedro info | head` nothing failed: the exit code is recorded, and no error."""
    logging = home.parent / "logging.yml"
    logging.write_text(LOGGING)
    env = {**environment, "KEDRO_LOGGING_CONFIG": str(logging)}
    reading, writing = os.pipe()
    os.close(reading)
    kedro_program = Path(sys.executable).parent / "kedro"
    words = [kedro_program, "info"]
    done = subprocess.run(words, env=env, stdout=writing, stderr=subprocess.DEVNULL, check=False)
    os.close(writing)
    assert done.returncode == 1
    (command,) = operations(home)
    assert not command.error
    assert command.attributes[names.EXIT_CODE] == 1
    assert names.ERROR_TYPE not in command.attributes
    assert command.attributes[names.OUTCOME] == names.UNKNOWN
    assert "✗" not in kedro("otel", "list").out
