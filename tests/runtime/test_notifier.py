"""Notifications: which runs are posted, once each, in which shape, with what in them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import Result

from kedro_otel.shipping.process import lock
from kedro_otel.shipping.transport import webhook

SLEEP = """
import os, signal, time

def work(how):
    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "fail":
        raise ValueError("CANARY")
    if how == "interrupt":
        raise KeyboardInterrupt
    time.sleep(float(os.environ.get("TAKES", "0")))
"""
REGISTRY = """
from kedro.pipeline import node, pipeline
from .nodes import work

def register_pipelines():
    return {"__default__": pipeline([node(work, "params:how", None, name="work")])}
"""


class Receiver(ThreadingHTTPServer):
    """A webhook: answers as scripted, else 200, and keeps what was posted."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hook)
        self.posts: list[dict[str, Any]] = []
        self.answers: list[int] = []
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        """Its address, with a secret in it as such addresses have."""
        return f"http://127.0.0.1:{self.server_address[1]}/services/T0/SECRET"


class Hook(BaseHTTPRequestHandler):
    """One request."""

    server: Receiver

    def do_POST(self) -> None:
        """Keep what is posted where it is accepted."""
        data = self.rfile.read(int(self.headers["Content-Length"]))
        code = self.server.answers.pop(0) if self.server.answers else 200
        if code < 300:
            self.server.posts.append(json.loads(data))
        self.send_response(code)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A webhook on loopback."""
    found = Receiver()
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture
def run_pipeline(
    project: Callable[..., Path],
    kedro: Callable[..., Result],
    environment: dict[str, str],
    receiver: Receiver,
    home: Path,
) -> Callable[..., Result]:
    """Return ``run_pipeline(how, code=0, **env)``, which runs the pipeline and waits for the notifier."""
    path = project(nodes=SLEEP, registry=REGISTRY, parameters="how: well\n", catalog="")
    environment.update(KEDRO_OTEL_NOTIFY=receiver.url, KEDRO_OTEL_DETAIL="run")

    def run_pipeline(how: str, code: int = 0, **env: str) -> Result:
        done = kedro("run", "--params", f"how={how}", cwd=path, env=env, code=code)
        settle(home)
        return done

    return run_pipeline


def settle(home: Path) -> None:
    """Wait until the notifier has ended: it leaves its lock."""
    end = time.monotonic() + 30
    time.sleep(0.7)
    while lock.held(home / "notified.lock"):
        assert time.monotonic() < end, "the notifier does not end"
        time.sleep(0.1)


def test_what_is_posted(
    run_pipeline: Callable[..., Result],
    receiver: Receiver,
    kedro: Callable[..., Result],
    home: Path,
) -> None:
    """A failed and a killed run are posted once each; one that went well and one that a person stopped are not."""
    run_pipeline("well")
    run_pipeline("interrupt", code=1)
    assert receiver.posts == []
    run_pipeline("fail", code=1)
    (failed,) = receiver.posts
    assert failed["event"] == "failed"
    assert failed["text"].startswith("Pipeline __default__ of minimal failed after ")
    assert failed["text"].endswith(" in node work: ValueError at src/minimal/nodes.py:8.")
    assert failed["attributes"]["kedro.pipeline.name"] == "__default__"
    assert failed["resource"]["kedro.project.name"] == "minimal"
    run_pipeline("die", code=-9)
    assert [one["event"] for one in receiver.posts] == ["failed", "killed"]
    assert " was killed after " in receiver.posts[1]["text"]
    assert " in node work" in receiver.posts[1]["text"]
    run_pipeline("well")
    assert len({one["trace_id"] for one in receiver.posts}) == len(receiver.posts) == 2
    assert "CANARY" not in json.dumps(receiver.posts)
    status = kedro("otel", "status").out
    assert "Notifying   http://127.0.0.1:" in status
    for path in home.rglob("*"):
        assert path.is_dir() or b"SECRET" not in path.read_bytes()
    assert "SECRET" not in status + kedro("otel", "status", "--json").out
    kedro("otel", "purge", "--yes")
    assert not [path for path in home.rglob("*") if path.name.startswith("notified")]


def test_at_usage_no_word_of_the_project_is_posted(
    run_pipeline: Callable[..., Result], receiver: Receiver
) -> None:
    """The notification has what may leave at the detail in force."""
    run_pipeline("fail", code=1, KEDRO_OTEL_DETAIL="usage")
    (failed,) = receiver.posts
    assert failed["text"].startswith("A pipeline run failed after ")
    assert failed["text"].endswith(": ValueError.")
    for word in ("minimal", "work", "nodes.py", "CANARY", "__default__"):
        assert word not in json.dumps(failed)


def test_a_webhook_that_is_away_gets_it_later(
    run_pipeline: Callable[..., Result], receiver: Receiver
) -> None:
    """A refusal is no answer for good: it is tried again, and posted once."""
    receiver.answers += [503, 404]
    run_pipeline("fail", code=1)
    assert [one["event"] for one in receiver.posts] == ["failed"]


def test_a_run_that_takes_longer_than_before_is_posted(
    run_pipeline: Callable[..., Result], receiver: Receiver
) -> None:
    """From three earlier runs on, a run that is slower than chance explains is posted, with what is usual."""
    for _ in range(3):
        run_pipeline("well", TAKES="0.05")
    assert receiver.posts == []
    run_pipeline("well", TAKES="2")
    (slower,) = receiver.posts
    assert slower["event"] == "slower"
    assert "Pipeline __default__ of minimal took 2." in slower["text"]
    assert ", usually 0." in slower["text"]


def test_a_machine_that_vanishes_waits_for_it(
    run_pipeline: Callable[..., Result], receiver: Receiver
) -> None:
    """In CI the command ends after the notification is posted."""
    run_pipeline("fail", code=1, KEDRO_OTEL_EPHEMERAL="true")
    assert [one["event"] for one in receiver.posts] == ["failed"]


def test_a_project_may_not_name_a_webhook(
    project: Callable[..., Path], kedro: Callable[..., Result], receiver: Receiver
) -> None:
    """Only the user and the site name one; a project's is a problem that `status` names."""
    path = project(pyproject=f'\n[tool.kedro_otel]\nnotify = "{receiver.url}"\n')
    kedro("run", "--params", "fail=true", cwd=path, code=1)
    status = kedro("otel", "status", cwd=path).out
    assert "A project cannot set 'notify'" in status
    time.sleep(1)
    assert receiver.posts == []


@pytest.mark.parametrize(
    ("address", "body"),
    [
        ("https://hooks.slack.com/services/T/B/X", {"text": "It failed."}),
        (
            "https://acme.webhook.office.com/webhookb2/x",
            {
                "type": "message",
                "attachments": [
                    {
                        "contentType": "application/vnd.microsoft.card.adaptive",
                        "content": {
                            "type": "AdaptiveCard",
                            "version": "1.4",
                            "body": [{"type": "TextBlock", "text": "It failed.", "wrap": True}],
                        },
                    }
                ],
            },
        ),
        ("https://slack.com.example.org/x", {"event": "failed", "text": "It failed."}),
    ],
)
def test_the_shapes(address: str, body: dict[str, Any]) -> None:
    """Slack and Teams get what they take, by the host; everybody else gets all of it."""
    assert webhook.body(address, {"event": "failed", "text": "It failed."}) == body
