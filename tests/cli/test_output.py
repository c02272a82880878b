"""What the commands print where, and what happens where nothing can be printed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import BIN, Result
from fabricate import a_run

import kedro_otel
from kedro_otel.cli import otel
from kedro_otel.config import paths

WORDS = (
    "list",
    "list --json",
    "show",
    "show --json",
    "status",
    "export",
    "report -o -",
    "--help",
    "--version",
    "show --help",
)


@pytest.fixture
def recorded_run() -> None:
    """Fabricate one run."""
    a_run(paths.recordings(), [("train", 0.1, 1, 0.1)])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full, on Linux")
@pytest.mark.parametrize("words", WORDS)
def test_an_answer_that_cannot_be_written(
    recorded_run: None, run: Callable[..., Result], words: str
) -> None:
    """Where stdout is full or closed by its reader, stderr has one line that says so, and the exit code is 1."""
    command = f"{BIN}/kedro-otel {words}"
    full = run("sh", "-c", f"{command} > /dev/full", code=1)
    assert full.err.count("\n") == 1
    assert "No space left on device" in full.err
    closed = run("bash", "-c", f"{command} | true; exit ${{PIPESTATUS[0]}}", code=1)
    assert closed.err.count("\n") == 1
    assert "Broken pipe" in closed.err


def test_the_console_script_prints_the_answer_alone(
    recorded_run: None, run: Callable[..., Result]
) -> None:
    """``kedro-otel`` is ``python -m kedro_otel``: stdout has the answer, and stderr nothing."""
    script = run(BIN / "kedro-otel", "show", "--json")
    module = run(sys.executable, "-m", "kedro_otel", "show", "--json")
    assert script.out == module.out
    assert script.out.startswith("{")
    assert script.err == module.err == ""


def test_the_version(kedro: Callable[..., Result], tmp_path: Path) -> None:
    """``kedro otel --version`` says the version, as ``kedro-otel --version`` does."""
    said = f"kedro-otel {kedro_otel.__version__}\n"
    assert CliRunner().invoke(otel, ["--version"]).output == said
    assert kedro("otel", "--version", cwd=tmp_path).out.endswith(said)


def test_a_heading_of_its_own(kedro: Callable[..., Result], tmp_path: Path) -> None:
    """``kedro --help`` lists our command under a heading that names the plugin, and Kedro's own as before."""
    told = kedro("--help", cwd=tmp_path, env={"KEDRO_LOGGING_CONFIG": None}).out
    ours = told.partition("Global commands from kedro-otel")[2].partition(" from ")[0]
    assert "  otel  See, keep and send" in ours
    assert "  new " in told.partition("Global commands from kedro\n")[2].partition(" from ")[0]


@pytest.mark.parametrize("words", [("show", "--depth", "-1"), ("show", "--slowest", "-2")])
def test_a_negative_number_is_an_options_value(recorded_run: None, words: tuple[str, ...]) -> None:
    """A negative number behind an option is its value: out of its range, and quoted as it was typed."""
    result = CliRunner().invoke(otel, list(words))
    assert result.exit_code == 2
    assert f"{words[2]} is not in the range" in result.stderr


def test_a_negative_number_is_a_run(recorded_run: None) -> None:
    """Before and behind options with values of their own, a negative number names a run."""
    for words in (["show", "-1", "--depth", "1"], ["show", "--depth", "1", "-1"]):
        assert CliRunner().invoke(otel, words).exit_code == 0
