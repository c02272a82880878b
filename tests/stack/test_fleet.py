"""A fleet through the shipped collector: nothing lost, within the memory it was given; `FULL=1 pytest -s` prints the figures of the documentation."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fleet import send, template
from installations import Person, demo, doomed_project
from panels import BOARDS, filled, variables

from servers import Stack, eventually

pytestmark = [pytest.mark.servers, pytest.mark.timeout(1800)]

HEAVY = (
    "How many commands were run?",
    "By how many people?",
    "Which commands?",
    "How big are the projects?",
    "And the slowest of twenty?",
)
MIB = 2**20


@pytest.mark.parametrize("detail", ["usage", "run"])
def test_a_fleet_sends_through_one_collector(
    tmp_path: Path, stack: Stack, full: bool, detail: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Installations made from a real one's messages all arrive, counted exactly, in the memory that the collector has been given."""
    person, project = (
        Person(tmp_path / "ana", "http://127.0.0.1:1", detail),
        (demo if full else doomed_project)(tmp_path / "project"),
    )
    person.kedro("run", cwd=project)
    one = template(person.kedro("otel", "export", "--as-sent", cwd=project).stdout)
    heavy = {
        panel["title"]: filled(
            panel["targets"][0]["expr"], {**variables(board), "__range": "3600s"}
        )
        for board, dashboard in BOARDS.items()
        for panel in dashboard["panels"]
        if panel["title"] in HEAVY
    }
    assert len(heavy) == len(HEAVY)
    if full:
        stack.prometheus.every = (
            "15s"  # as shipped, so that its own work is not measured sixteen times over
        )
        stack.prometheus.restart()
    assert eventually(lambda: stack.prometheus.query('up{job="collector"}'), seconds=60)
    report = send(
        stack, one, installations=1000 if full else 40, rounds=3, senders=16, panels=heavy
    )
    if full:
        with capsys.disabled():
            sys.stdout.write(f"\n{detail}: {report}\n")
    assert report.series <= 300 * report.installations
    assert (
        report.collector_bytes < 640 * MIB
    )  # its memory_limiter refuses at 512, and a gibibyte is its container's
