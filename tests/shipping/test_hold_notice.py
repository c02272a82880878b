"""A receiver that takes nothing until somebody changes something: a person at a terminal is told once, and what to type."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import BIN, Result
from loopback import Loopback, loopback, refuse
from shipping_harness import Post, post

from kedro_otel.shipping.process import launch
from kedro_otel.shipping.state import hold_notice

__all__ = ["loopback", "post"]
FORBIDDEN = refuse(401, {"Content-Type": "text/plain"}, b"who are you?")
COUNTED = """
import os, sys
home = os.environ["KEDRO_OTEL_HOME"]
looks = []
def heard(event, args):
    if event in ("open", "os.listdir", "os.scandir", "os.rename", "os.remove") and "held" in str(args[0]):
        looks.append((event, str(args[0])))
sys.addaudithook(heard)
lexists = os.path.lexists
def counted(path):
    if "held" in str(path):
        looks.append(("lexists", str(path)))
    return lexists(path)
os.path.lexists = counted
from kedro.framework.cli import main
sys.argv = ["kedro", "info"]
try:
    main()
finally:
    with open(os.environ["LOOKS"], "w") as file:
        print(*looks, sep="\\n", file=file)
"""


@pytest.fixture
def at_work(post: Post) -> Iterator[Post]:
    """Return the office of a person who has had the notice that a terminal sees once per machine."""
    post.set(KEDRO_OTEL_SHIP="background")
    post.home.mkdir()
    (post.home / "notice").touch()
    yield post
    shutil.rmtree(
        post.home / "destinations", ignore_errors=True
    )  # so that no shipper outlives the test


def told(text: str) -> list[str]:
    """Return the lines that are ours."""
    return [line for line in text.splitlines() if line.startswith("kedro-otel: ")]


def test_the_next_command_tells_of_a_hold_once(
    at_work: Post, loopback: Loopback, project: Callable[..., Path], terminal: Callable[..., str]
) -> None:
    """Refused with 401: the next command at a terminal says what happened, what is kept and what to type; the one after it nothing."""
    path, kedro = project(), BIN / "kedro"
    loopback.always.update(traces=FORBIDDEN, metrics=FORBIDDEN)
    assert told(terminal(kedro, "info", cwd=path)) == []
    at_work.until(lambda: (at_work.where.folder / hold_notice.UNTOLD).exists() and at_work.idle())
    (line,) = told(terminal(kedro, "info", cwd=path))
    what = "does not take traces and metrics (401: who are you?). Your commands go on, and what it lacks is kept in"
    assert (
        line == f"kedro-otel: {loopback.url} {what} {at_work.home}. What to do: kedro otel doctor"
    )
    at_work.until(at_work.idle)
    assert told(terminal(kedro, "info", cwd=path)) == []
    loopback.always.clear()
    terminal(kedro, "otel", "ship", cwd=path)
    assert loopback.total("kedro.commands") == 3
    loopback.always.update(metrics=403)
    terminal(kedro, "info", cwd=path)
    at_work.until((at_work.where.folder / hold_notice.UNTOLD).exists)
    (line,) = told(terminal(kedro, "info", cwd=path))
    assert "does not take metrics (403)" in line


def test_the_output_is_otherwise_the_same(
    at_work: Post,
    loopback: Loopback,
    project: Callable[..., Path],
    terminal: Callable[..., str],
    kedro: Callable[..., Result],
    tmp_path: Path,
) -> None:
    """Stdout and exit code are as ever, stderr has one line more at its end; through a pipe nothing is said, and the terminal hears it later."""
    path, typed = project(files={"conf/logging.yml": "version: 1"}), BIN / "kedro"
    at_work.set(
        KEDRO_LOGGING_CONFIG=str(path / "conf/logging.yml"),  # Kedro's own would print the time
        KEDRO_OTEL_WRITE_PROJECT_ID="false",  # the first command would say that it wrote one
    )
    loopback.always.update(traces=FORBIDDEN, metrics=FORBIDDEN)
    before = terminal(typed, "--version", cwd=path)
    out = (tmp_path / "out").read_bytes()
    at_work.until((at_work.where.folder / hold_notice.UNTOLD).exists)
    assert told(kedro("--version", cwd=path).err) == []
    after = terminal(typed, "--version", cwd=path)
    assert (tmp_path / "out").read_bytes() == out
    (line,) = told(after)
    assert after == f"{before}{line}\r\n"


def test_who_typed_ship_has_heard_it(
    at_work: Post, loopback: Loopback, project: Callable[..., Path], terminal: Callable[..., str]
) -> None:
    """`kedro otel ship` says what is held, so no command says it again."""
    path, kedro = project(), BIN / "kedro"
    loopback.always.update(traces=401)
    terminal(kedro, "info", cwd=path)
    at_work.until((at_work.where.folder / hold_notice.UNTOLD).exists)
    subprocess.run(
        [kedro, "otel", "ship"], env=at_work.environment, cwd=path, check=False, capture_output=True
    )
    assert told(terminal(kedro, "info", cwd=path)) == []


@pytest.mark.parametrize(("endpoint", "looks"), [(True, 1), (False, 0)], ids=["endpoint", "none"])
def test_looking_for_it_costs_one_look(
    at_work: Post,
    project: Callable[..., Path],
    terminal: Callable[..., str],
    tmp_path: Path,
    *,
    endpoint: bool,
    looks: int,
) -> None:
    """With an endpoint and nothing held a command looks at one file's place; without an endpoint not even that."""
    env: dict[str, Any] = {"LOOKS": str(tmp_path / "looks")} | (
        {} if endpoint else {"OTEL_EXPORTER_OTLP_ENDPOINT": None}
    )
    terminal(sys.executable, "-c", COUNTED, cwd=project(), env=env)
    assert len((tmp_path / "looks").read_text().split()) // 2 == looks


def test_it_is_told_again_only_after_an_acceptance(
    at_work: Post, loopback: Loopback, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    """A refusal that lasts is one hold, whatever stumbles lie between; of a second signal that is refused too, it is said."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    def heard() -> str:
        launch.print_hold_notice(at_work.target.id)
        return capsys.readouterr().err

    def ship() -> None:
        at_work.command()
        journal = at_work.journal
        for one in journal.signals.values():
            one.next_ns = 0
        if journal.path.exists():
            journal.commit()
        at_work.ship()

    loopback.always["traces"] = 401
    ship()
    assert "does not take traces (401)" in heard()
    loopback.always["traces"] = 429
    at_work.command()
    journal = at_work.journal
    journal.signals["traces"].next_ns = 0
    journal.commit()
    process = at_work.shipper()
    at_work.until(lambda: at_work.journal.signals["traces"].failures > 3)
    process.kill()
    process.wait()
    loopback.always["traces"] = 401
    ship()
    assert heard() == ""
    loopback.always.clear()
    ship()
    loopback.always["traces"] = 401
    ship()
    assert "does not take traces (401)" in heard()
    loopback.always["metrics"] = 403
    ship()
    assert "does not take traces and metrics (401; 403)" in heard()
    ship()
    assert heard() == ""


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"signals": 1}', b"\xff", b"[" * 4096])
def test_a_damaged_note_says_nothing_and_goes(
    at_work: Post, capsys: pytest.CaptureFixture[str], monkeypatch, text: bytes
) -> None:
    """Whatever is in the file, no command fails by it, and it is not read twice."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    at_work.where.folder.mkdir(parents=True)
    (at_work.where.folder / hold_notice.UNTOLD).write_bytes(text)
    launch.print_hold_notice(at_work.target.id)
    assert capsys.readouterr().err == ""
    assert not (at_work.where.folder / hold_notice.UNTOLD).exists()


def test_a_backup_of_hard_links_holds_up_nothing(post: Post, loopback: Loopback) -> None:
    """What is noted of a hold changes as before, and the backup keeps what it has."""
    post.command()
    loopback.always.update(traces=FORBIDDEN, metrics=FORBIDDEN)
    post.deliver()
    note = post.where.folder / hold_notice.TOLD
    before = note.read_bytes()
    backup = post.home.parent / "backup"
    shutil.copytree(post.home, backup, copy_function=os.link)
    loopback.always.clear()
    loopback.always["metrics"] = FORBIDDEN
    post.deliver()
    assert note.read_bytes() != before
    assert (backup / note.relative_to(post.home)).read_bytes() == before
    assert loopback.span_names()["kedro run"] == 1
