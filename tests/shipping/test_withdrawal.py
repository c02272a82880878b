"""What may leave is asked before each request: a no, another receiver and less detail count at once, for every sender."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from loopback import Loopback, loopback
from shipping_harness import SHIPPER, Post, post

from kedro_otel.config.user_file import save
from kedro_otel.shipping.process import foreground

__all__ = ["loopback", "post"]

STDIN = "import sys; from kedro_otel.shipping.process.stdin import main; sys.exit(main())"


def told(post: Post, loopback: Loopback, detail: str) -> None:
    """Name the receiver in the user's file, as ``connect`` does."""
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "KEDRO_OTEL_DETAIL", "KEDRO_OTEL_ENABLED"):
        os.environ.pop(name, None)
        post.environment.pop(name, None)
    save({"endpoint": loopback.url, "detail": detail})


def said(what: str) -> None:
    """Say in the user's file what a command of the table says."""
    save(
        {
            "disconnect": {"endpoint": None, "detail": None},
            "off": {"enabled": False},
            "narrow": {"detail": "usage"},
            "elsewhere": {"endpoint": "http://127.0.0.1:9"},
        }[what]
    )


def slow(handler) -> None:
    """Take a while to accept."""
    time.sleep(0.3)
    handler.answer(200)


def recorded(post: Post) -> None:
    """Record enough for many requests, at full detail."""
    for _ in range(3):
        post.run(600, detail="full")


@pytest.mark.parametrize("what", ["disconnect", "off", "narrow", "elsewhere"])
@pytest.mark.parametrize("sender", ["detached", "memory", "foreground"])
def test_no_request_begins_after_the_word(post: Post, loopback: Loopback, what: str, sender: str):
    """Of what a sender has before it, nothing leaves once the word is written, or nothing but what the narrower detail lets out."""
    told(post, loopback, "full")
    loopback.always = {"traces": slow, "metrics": slow}
    if sender == "memory":
        data = post.run(3000, detail="full").path.read_bytes()
        process = subprocess.Popen(
            [sys.executable, "-c", STDIN], env=post.environment, stdin=subprocess.PIPE
        )
        process.stdin.write(data)
        process.stdin.close()
    else:
        recorded(post)
        code = SHIPPER if sender == "detached" else FOREGROUND
        process = subprocess.Popen([sys.executable, "-c", code], env=post.environment)
    post.processes.append(process)
    post.until(lambda: len(loopback.requests) >= 2)
    said(what)
    word_at = time.time()
    process.wait(60)
    late = [one for one in loopback.requests if one.at > word_at + 0.15]
    if what == "narrow":
        wide = {
            span.name
            for one in late
            for resource in getattr(one.message, "resource_spans", ())
            for scope in resource.scope_spans
            for span in scope.spans
        } - {"kedro run", "run"}
        named = [one for one in late if b"kedro.node" in one.message.SerializeToString()]
        assert not wide
        assert not [one for one in named if one.signal == "traces"]
    else:
        assert not late


FOREGROUND = """
import os
from kedro_otel.config import destination, settings
from kedro_otel.shipping.process import foreground
known = settings.load(os.environ)
foreground.deliver(known, destination.current(known))
"""


def test_less_detail_counts_whatever_the_clocks_said(post: Post, loopback: Loopback, monkeypatch):
    """What was recorded at full and waits leaves at usage when that is in force, also where it seems to come from the future."""
    told(post, loopback, "full")
    monkeypatch.setattr(foreground, "PATIENCE", 0.5)
    loopback.always = {"traces": 503, "metrics": 503}
    post.run(2, at=time.time_ns() + 86_400_000_000_000, detail="full")
    post.deliver()
    said("narrow")
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
