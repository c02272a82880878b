"""A byte that changes on the disk, of a recording or of a journal, never makes a wrong count without a message."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from loopback import Loopback, loopback
from shipping_harness import USAGE, Post, post

from kedro_otel.recording import encoder, machine, reader
from kedro_otel.recording.writer import Writer
from kedro_otel.shipping import status

__all__ = ["loopback", "post"]
FEW = 40
FACTS = {"detail": "usage", "ephemeral": False}


def recorded(post: Post) -> Path:
    """Record a command by the real writer, and return the recording."""
    writer = Writer(post.recordings, USAGE, {**FACTS, "destination": post.target.id}, pytest.fail)
    trace, span = os.urandom(16).hex(), os.urandom(8).hex()
    words = {"kedro.command.name": "run"}
    now = time.time_ns()
    writer.start(span, encoder.start("command", trace, span, "", "kedro run", now, words))
    writer.end(span, encoder.end("command", trace, span, now + 1, "[]", error=False))
    writer.close()
    return post.recordings / f"{writer.stem}.jsonl"


def words() -> Counter[str]:
    """Return what status says was lost, and what it notes."""
    found: Counter[str] = Counter()
    for row in status.summary():
        found.update(row["lost"])
        found.update({word: 1 for word in row["notes"] if word == "journal"})
        found["waiting"] += row["waiting recordings"]
    found["strangers"] = reader.strangers()
    return found


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("what", ["recording", "journal", "both commits"])
def test_a_changed_byte_is_counted_right_or_said(
    what: str,
    post: Post,
    loopback: Loopback,
    full: bool,
    monkeypatch: pytest.MonkeyPatch,
    figure: Callable[[str], None],
) -> None:
    """Commands counted are never more than ran; where they are fewer, status says what was damaged."""
    monkeypatch.setattr(machine, "runs", lambda *_: False)  # as if this process had ended
    monkeypatch.setattr(os, "fsync", lambda _: None)
    for _ in range(2):
        recorded(post)
        post.deliver()
    ran, draw = 2, random.Random(7)
    length = (
        recorded(post).stat().st_size if what == "recording" else post.where.journal.stat().st_size
    )
    ran += what == "recording"
    post.deliver()
    places = range(length) if full else sorted(draw.sample(range(length), FEW))
    counted = loopback.total("kedro.commands")
    assert counted == ran
    said = 0
    for place in places:
        fresh = recorded(post)
        ran += 1
        files = {
            "recording": [fresh],
            "journal": [post.where.journal],
            "both commits": [post.where.journal, post.where.journal.with_suffix(".before.json")],
        }[what]
        before = words()
        for file in files:
            data = bytearray(file.read_bytes())
            data[place % len(data)] ^= 1 << draw.randrange(8)
            file.write_bytes(data)
        post.deliver()
        now = loopback.total("kedro.commands")
        assert now <= ran
        more = words() - before
        if what == "both commits":  # counting begins anew, and so does the count of that
            more = Counter({word: count for word, count in words().items() if "damaged" in word})
        if now - counted != 1:
            assert more, f"{place}: {counted} and 1 more are {now}"
        said += bool(more)
        ran, counted = now, now
        fresh.unlink(missing_ok=True)
        post.deliver()
    figure(f"{what}: {len(places)} bytes changed, {said} said, 0 wrong without a word")
