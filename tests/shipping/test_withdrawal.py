"""What may leave is asked before each request: a no, another receiver and less detail count at once, for every sender."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import BIN
from faulty import begin, chain
from loopback import Loopback, loopback
from shipping_harness import SHIPPER, USAGE, Post, post

from kedro_otel.config import project_folders
from kedro_otel.config.user_file import save
from kedro_otel.shipping.process import foreground, lock

__all__ = ["loopback", "post"]

STDIN = "import sys; from kedro_otel.shipping.process.stdin import main; sys.exit(main())"


NARROWED = ("detail", "project detail")
"""Words after which something may leave, with less in it."""

WORDS = {
    "disconnect": ["disconnect"],
    "off": ["off"],
    "detail": ["detail", "usage"],
    "elsewhere": ["connect", "http://127.0.0.1:9", "--untested"],
    "purge": ["purge", "--yes"],
    "project off": {"pyproject.toml": "[tool.kedro_otel]\nenabled = false\n"},
    "project consent": {".telemetry": "consent: false\n"},
    "project detail": {"pyproject.toml": '[tool.kedro_otel]\ndetail = "usage"\n'},
}
"""What withdraws: a command of `kedro-otel`, or a file of the project."""

SENDERS = ("detached", "memory", "foreground", "waiting", "mid-run")
PAIRS = [(what, sender) for what in WORDS for sender in SENDERS]
PAIRS.remove(("purge", "memory"))  # there is no file of it to erase
FEW = [(what, SENDERS[number % 5]) for number, what in enumerate(WORDS)]

FOREGROUND = """
import os
from kedro_otel.config import destination, settings
from kedro_otel.shipping.process import foreground
known = settings.load(os.environ)
foreground.deliver(known, destination.current(known))
"""
WAITING = """
from kedro_otel.shipping.process import launch
launch.start("end")
launch.wait(30)
"""
CODE = {"detached": SHIPPER, "foreground": FOREGROUND, "waiting": WAITING}


def told(post: Post, loopback: Loopback, detail: str) -> None:
    """Name the receiver in the user's file, as ``connect`` does."""
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "KEDRO_OTEL_DETAIL", "KEDRO_OTEL_ENABLED"):
        os.environ.pop(name, None)
        post.environment.pop(name, None)
    save({"endpoint": loopback.url, "detail": detail})


def withdraw(what: str, post: Post, root: Path) -> float:
    """Say it, and return when that was done."""
    word = WORDS[what]
    if isinstance(word, list):
        subprocess.run(
            [BIN / "kedro-otel", *word],
            cwd=root,
            env=post.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
        )
    else:
        for name, text in word.items():
            with (root / name).open("a") as file:
                file.write(text)
    return time.time()


def slow(handler) -> None:
    """Take a while to accept."""
    time.sleep(0.3)
    handler.answer(200)


def begun(post: Post, sender: str, root: Path) -> subprocess.Popen[bytes]:
    """Start a sender that has much before it, at full detail, of the project at ``root``."""
    mine = {"detail": "full", "project": project_folders.note(root)}
    if sender == "mid-run":
        environment = {**post.environment, "NODE_SECONDS": "0.1", "KEDRO_OTEL_SHIP": "background"}
        quiet = subprocess.DEVNULL
        return begin(["run"], root, environment, stdout=quiet, stderr=quiet)
    if sender == "memory":
        data = post.run(3000, detail="full", root=str(root)).path.read_bytes()
        process = subprocess.Popen(
            [sys.executable, "-c", STDIN], env=post.environment, stdin=subprocess.PIPE
        )
        process.stdin.write(data)
        process.stdin.close()
        return process
    for _ in range(3):
        post.run(600, **mine)
    return subprocess.Popen([sys.executable, "-c", CODE[sender]], env=post.environment)


def wide(requests) -> list[str]:
    """Return what of ``requests`` tells more than usage does."""
    names = [
        span.name
        for one in requests
        for resource in getattr(one.message, "resource_spans", ())
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    return [name for name in names if name not in ("kedro run", "run")]


@pytest.mark.parametrize(("what", "sender"), PAIRS)
def test_no_request_begins_after_the_word(
    post: Post, loopback: Loopback, project, full: bool, what: str, sender: str
):
    """Of what a sender has before it, nothing leaves once the word is written, or nothing but what the narrower detail lets out."""
    if not full and (what, sender) not in FEW:
        pytest.skip("the whole matrix with FULL=1")
    root = chain(project, 40)
    told(post, loopback, "full")
    loopback.always = {"traces": slow, "metrics": slow}
    process = begun(post, sender, root)
    post.processes.append(process)
    post.until(lambda: len(loopback.requests) >= 2, 60)
    word_at = withdraw(what, post, root)
    process.wait(60)
    if sender in ("waiting", "mid-run"):
        post.until(lambda: not any(map(lock.held, post.home.glob("destinations/*/*.lock"))), 30)
    late = [one for one in loopback.requests if one.at > word_at + 0.1]
    if what in NARROWED:
        assert not wide(late)
    else:
        assert not late


def test_a_project_that_says_no_keeps_what_waits(
    post: Post, loopback: Loopback, project, monkeypatch
):
    """Spans and counters of one project stay, those of another go; with its yes they go, each counted once."""
    one, two = project(), project("other")
    monkeypatch.setattr(foreground, "PATIENCE", 0.5)
    loopback.always = {"traces": 503, "metrics": 503}
    post.command(
        "run", project=project_folders.note(one), resource={**USAGE, "kedro.project.id": "1"}
    )
    post.deliver()
    loopback.always = {}
    post.command(
        "info", project=project_folders.note(one), resource={**USAGE, "kedro.project.id": "1"}
    )
    post.command(
        "catalog", project=project_folders.note(two), resource={**USAGE, "kedro.project.id": "2"}
    )
    said = (one / "pyproject.toml").read_text()
    (one / "pyproject.toml").write_text(said + "[tool.kedro_otel]\nenabled = false\n")
    post.deliver()
    post.ship()
    assert set(loopback.span_names()) == {"kedro catalog"}
    assert loopback.total("kedro.commands") == 1
    (one / "pyproject.toml").write_text(said)
    post.ship()
    assert set(loopback.span_names()) == {"kedro catalog", "kedro run", "kedro info"}
    assert loopback.total("kedro.commands") == 3


def test_less_detail_counts_whatever_the_clocks_said(post: Post, loopback: Loopback, monkeypatch):
    """What was recorded at full and waits leaves at usage when that is in force, also where it seems to come from the future."""
    told(post, loopback, "full")
    monkeypatch.setattr(foreground, "PATIENCE", 0.5)
    loopback.always = {"traces": 503, "metrics": 503}
    post.run(2, at=time.time_ns() + 86_400_000_000_000, detail="full")
    post.deliver()
    save({"detail": "usage"})
    loopback.always = {}
    later = post.run(1, detail="full")
    post.deliver()
    assert {span.name for span in loopback.spans()} == {"kedro run", "run"}
    blob = b"".join(one.message.SerializeToString() for one in loopback.of("metrics"))
    assert b"n0" not in blob
    assert b"demo" not in blob
    assert later.trace in {span.trace_id.hex() for span in loopback.spans()}
    save({"detail": "full"})
    post.deliver()
    assert loopback.total("kedro.pipeline.runs") == 2, "what was withheld leaves when it may"
