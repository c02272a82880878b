"""A destination is a receiver and who it is asked as: nothing recorded for one account reaches another."""

from __future__ import annotations

import os
import stat
import time

import pytest
from loopback import Loopback, loopback
from shipping_harness import Post, post

from kedro_otel.config import paths
from kedro_otel.shipping.process import foreground

__all__ = ["loopback", "post"]

CREDENTIALS = {
    "none": {},
    "token": {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer one"},
    "other token": {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer two"},
    "tenant": {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer one,x-scope-orgid=b"},
    "token of traces": {"OTEL_EXPORTER_OTLP_TRACES_HEADERS": "authorization=Bearer one"},
    "user in URL": {"user": "ann:secret@"},
    "other user in URL": {"user": "bob:secret@"},
    "query": {"query": "/?key=one"},
    "client certificate": {
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": "/c.pem",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": "/k.pem",
    },
}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """Give up soon on a receiver that fails."""
    monkeypatch.setattr(foreground, "PATIENCE", 0.5)


_VARIABLES = sorted({name for one in CREDENTIALS.values() for name in one if name.isupper()})


def use(post: Post, loopback: Loopback, who: str) -> None:
    """Take the credentials of ``who`` for what follows."""
    for name in _VARIABLES:
        os.environ.pop(name, None)
        post.environment.pop(name, None)
    chosen = dict(CREDENTIALS[who])
    user, query = chosen.pop("user", ""), chosen.pop("query", "")
    post.set(
        OTEL_EXPORTER_OTLP_ENDPOINT=loopback.url.replace("://", f"://{user}") + query, **chosen
    )


def waiting(post: Post, *, nodes: int = 0) -> str:
    """Record a command for the destination in force; return its trace id."""
    return (post.run(nodes) if nodes else post.command()).trace


def arrived(loopback: Loopback) -> list[str]:
    """Return the trace id of each span that was accepted."""
    return sorted(span.trace_id.hex() for span in loopback.spans())


def test_each_of_the_credentials_makes_a_destination(post: Post, loopback: Loopback):
    """Tokens, tenants, users and keys in URLs and client certificates tell destinations apart; the same are the same."""
    ids = {}
    for who in CREDENTIALS:
        use(post, loopback, who)
        ids[who] = post.target.id
        assert post.target.id == ids[who]
    assert len(set(ids.values())) == len(CREDENTIALS)
    assert ids["none"] == post.target.receiver_id != ids["query"]


def test_the_key_is_private_and_each_home_has_its_own(post: Post, loopback: Loopback, tmp_path):
    """An id tells nobody whether a guessed token is right: its key is random, and only the owner reads it."""
    use(post, loopback, "token")
    first = post.target.id
    key = paths.destination_key()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert b"one" not in key.read_bytes()
    post.set(KEDRO_OTEL_HOME=str(tmp_path / "other"))
    assert post.target.id != first


@pytest.mark.parametrize(
    "second", [one for one in CREDENTIALS if one not in ("token", "client certificate")]
)
def test_nothing_goes_to_another_account(post: Post, loopback: Loopback, second: str):
    """What one account's command recorded does not leave with another's credentials, by no sender, and leaves with its own."""
    use(post, loopback, "token")
    first = waiting(post)
    use(post, loopback, second)
    other = waiting(post)
    post.ship()
    post.deliver()
    assert arrived(loopback) == [other]
    use(post, loopback, "token")
    post.ship()
    assert arrived(loopback) == sorted([first, other])


def test_all_sends_what_waits_for_the_receiver_with_other_credentials_once(
    post: Post, loopback: Loopback
):
    """After a token was renewed, ``ship --all`` sends what waits, what was sent before stays sent, and later ones stay apart."""
    use(post, loopback, "token")
    sent = waiting(post, nodes=2)
    post.ship()
    before = arrived(loopback)
    loopback.always = {"traces": 401, "metrics": 401}
    late = waiting(post, nodes=1)
    post.ship()
    loopback.always = {}
    use(post, loopback, "other token")
    assert not post.deliver(everything=True).left
    assert loopback.total("kedro.pipeline.runs") == 2
    assert arrived(loopback) == sorted([*before, *[late] * (len(arrived(loopback)) - len(before))])
    assert sent in before
    use(post, loopback, "token")
    post.ship()
    assert loopback.total("kedro.pipeline.runs") == 2
    apart = waiting(post)
    use(post, loopback, "other token")
    post.ship()
    assert apart not in arrived(loopback)
    use(post, loopback, "token")
    post.deliver()  # asks although it was refused before
    assert arrived(loopback).count(apart) == 1


def test_what_an_older_version_left_is_sent_once_where_a_person_says_so(
    post: Post, loopback: Loopback
):
    """Recordings and a journal of a version that knew no credentials wait for ``kedro otel ship``, and are sent and counted once."""
    use(post, loopback, "none")
    older = post.target.id
    before = post.run(1)
    post.ship()
    loopback.always = {"traces": 503, "metrics": 503}
    late = post.command()
    post.deliver()
    loopback.always = {}
    sent = len(arrived(loopback))
    use(post, loopback, "token")
    assert post.target.receiver_id == older != post.target.id
    post.ship()
    assert len(arrived(loopback)) == sent
    post.deliver()
    assert arrived(loopback).count(late.trace) == 1
    assert len(arrived(loopback)) == sent + 1
    post.deliver(everything=True)
    assert len(arrived(loopback)) == sent + 1
    assert loopback.total("kedro.commands") == 2
    assert before.trace in arrived(loopback)


def test_a_renewed_token_is_not_held_for_what_the_old_one_was(post: Post, loopback: Loopback):
    """A receiver that refused one token is asked with another at once."""
    use(post, loopback, "token")
    loopback.always = {"traces": 401, "metrics": 401}
    waiting(post)
    post.ship()
    assert post.journal.signals["traces"].next_ns > time.time_ns() + 1_000_000_000
    loopback.always = {}
    use(post, loopback, "other token")
    late = waiting(post)
    post.ship()
    assert arrived(loopback) == [late]
