"""Tests of a Kedro project that ask what was recorded."""

from __future__ import annotations


def test_every_node_succeeds(session, recorded):
    """The default pipeline runs to its end, and no node takes a minute."""
    session.run()
    assert recorded.runs[0].status == "ok"
    assert all(node.status == "ok" for node in recorded.nodes.values())
    assert max(node.seconds for node in recorded.nodes.values()) < 60
