"""purge, on, detail and status: what they ask, name and leave out."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import BIN
from fabricate import Tape, a_run

from kedro_otel.cli import otel
from kedro_otel.config import paths

NODES = [("train", 0.1, 1, 0.1)]
DAY = 86_400 * 10**9


def typed(*words: str) -> Result:
    """Run a command in this process, where stdin is no terminal."""
    return CliRunner().invoke(otel, list(words))


def recordings() -> int:
    """Return how many recordings there are."""
    return len(list(paths.recordings().glob("*.jsonl")))


def on_a_terminal(
    environment: dict[str, str], cwd: Path, answer: bytes, *words: str
) -> tuple[int, str]:
    """Run a command on a terminal, type ``answer``, and return its exit code and what it printed."""
    mine, theirs = pty.openpty()
    process = subprocess.Popen(
        [BIN / "kedro-otel", *words],
        env=environment,
        cwd=cwd,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    os.write(mine, answer)
    said = b""
    while True:
        try:
            read = os.read(mine, 65536)
        except OSError:
            break
        if not read:
            break
        said += read
    os.close(mine)
    return process.wait(60), said.decode()


@pytest.mark.process
def test_purge_asks_on_a_terminal(environment: dict[str, str], tmp_path: Path) -> None:
    """On a terminal purge says what it would erase and asks; no keeps everything, --yes does not ask."""
    a_run(paths.recordings(), NODES)
    code, said = on_a_terminal(environment, tmp_path, b"\n", "purge")
    assert (code, recordings()) == (1, 1)
    assert "Erase 1 files" in said
    assert "nothing was erased" in said
    code, said = on_a_terminal(environment, tmp_path, b"y\n", "purge")
    assert (code, recordings()) == (0, 0)
    a_run(paths.recordings(), NODES)
    code, said = on_a_terminal(environment, tmp_path, b"", "purge", "--yes")
    assert (code, recordings()) == (0, 0)
    assert "[y/N]" not in said


def test_purge_without_a_terminal() -> None:
    """Where nobody can answer, purge erases as it always did."""
    a_run(paths.recordings(), NODES)
    assert typed("report").exit_code == 0
    mine = paths.reports() / "mine.html"
    mine.touch()
    assert typed("purge").exit_code == 0
    assert recordings() == 0
    assert list(paths.reports().iterdir()) == [mine]


def test_purge_of_a_part() -> None:
    """--before and --project erase the recordings that are both, and nothing else; --dry-run erases none."""
    import time

    now = time.time_ns()
    for days, name in ((40, "shop"), (40, "bank"), (1, "shop")):
        tape = Tape(paths.recordings(), now - days * DAY, resource={"kedro.project.name": name})
        tape.end(tape.start("command", "kedro run", 0), 1)
        os.utime(tape.path, ns=(tape.ns(1), tape.ns(1)))
    journal = paths.destinations() / ("0" * 16) / "journal"
    journal.parent.mkdir(parents=True)
    journal.write_text("{}")
    told = typed("purge", "--before", "30d", "--project", "shop", "--dry-run")
    assert told.stdout.startswith("Would erase 1 files")
    assert recordings() == 3
    assert typed("purge", "--before", "30d", "--project", "shop").exit_code == 0
    assert recordings() == 2
    assert typed("purge", "--project", "shop").exit_code == 0
    assert recordings() == 1
    assert "nothing to erase" in typed("purge", "--project", "shop").stdout
    assert journal.exists()
    assert typed("purge", "--before", "soon").exit_code == 2
    assert typed("purge", "--dry-run").stdout.startswith("Would erase 2 files")


def test_on_names_everything_else_that_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where something stronger says no, on names all of it."""
    monkeypatch.setenv("KEDRO_OTEL_ENABLED", "false")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    told = typed("on")
    assert told.exit_code == 0
    assert "KEDRO_OTEL_ENABLED=false and OTEL_SDK_DISABLED=true" in told.stderr
    assert told.stderr.startswith("kedro-otel: ")
    monkeypatch.delenv("KEDRO_OTEL_ENABLED")
    monkeypatch.delenv("OTEL_SDK_DISABLED")
    monkeypatch.setenv("DO_NOT_TRACK", "1")
    assert typed("on").exit_code == 0


def test_detail_needs_no_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """`detail` says what is in force, `detail run` saves it, and what is stronger is named."""
    assert typed("detail").stdout.startswith("usage (default): ")
    told = typed("detail", "run")
    assert told.exit_code == 0
    assert told.stdout.startswith("run (user file ")
    monkeypatch.setenv("KEDRO_OTEL_DETAIL", "usage")
    told = typed("detail", "full")
    assert told.stdout.startswith("usage (environment ")
    assert "KEDRO_OTEL_DETAIL" in told.stderr
    assert typed("detail", "everything").exit_code == 2


def test_unknown_settings_are_unknown(
    monkeypatch: pytest.MonkeyPatch, project: Callable[..., Path]
) -> None:
    """A setting that there is not is unknown, in the environment, the user's file and a project."""
    monkeypatch.setenv("KEDRO_OTEL_DETIAL", "run")
    path = paths.user_config()
    path.parent.mkdir(parents=True)
    path.write_text("detial = 'run'\n")
    monkeypatch.chdir(project(pyproject="[tool.kedro_otel]\ndetal = 'run'\n"))
    problems = json.loads(typed("status", "--json").stdout)["problems"]
    for name in ("KEDRO_OTEL_DETIAL", "detial", "detal"):
        assert [one for one in problems if f"unknown setting: {name!r}" in one], (name, problems)


def test_no_known_variable_is_unknown(environment: dict[str, str]) -> None:
    """What the tests themselves set is no problem."""
    assert json.loads(typed("status", "--json").stdout)["problems"] == []


def test_status_fits_a_screen() -> None:
    """Status is at most 24 lines, whatever is set and wrong; --verbose has the rest."""
    a_run(paths.recordings(), NODES)
    path = paths.user_config()
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"unknown_{number} = 1\n" for number in range(40)))
    short, long = typed("status").stdout, typed("status", "--verbose").stdout
    assert len(short.splitlines()) <= 24
    assert "status --verbose" in short
    assert "1 commands, 1 runs" in short
    assert "app.installation.id" not in short
    assert all(word in long for word in ("app.installation.id", "site settings", "unknown_39"))
