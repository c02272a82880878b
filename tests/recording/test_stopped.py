"""A recording that stops is told from a process that died, by readers, counters and what is sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loopback import Loopback, loopback  # noqa: F401 (a fixture)
from trace_text import operations

STOPS = {
    "settings are broken": (
        "path = os.path.expanduser('~/.config/kedro/otel.toml'); open(path, 'w').write('enabled = '); "
        "time.sleep(0.7)"
    ),
    "files may not grow": "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))",
    "no file may be written": "resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))",
}
"""What stops a recording in the middle of a run that goes well."""

NODES = """
import os, resource, time

def greet(name):
    {stop}
    return name

def shout(greeting):
    return greeting

def tell(shouted, fail):
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return {{"text": shouted}}
"""


@pytest.mark.parametrize("why", STOPS)
def test_it_is_no_death(
    why: str,
    project: Callable[..., Path],
    kedro: Callable[..., Any],
    home: Path,
    loopback: Loopback,  # noqa: F811
) -> None:
    """The run is shown as one whose recording stopped, with the reason; nothing says that it died, and no death is counted."""
    path = project(nodes=NODES.format(stop=STOPS[why].strip()))
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": loopback.url, "KEDRO_OTEL_SHIP": "manual"}
    (home.parent / ".config/kedro").mkdir(parents=True)
    kedro("run", cwd=path, env=env)
    (home.parent / ".config/kedro/otel.toml").unlink(missing_ok=True)
    states = {one.name: one.state for one in operations(home)}
    assert states["kedro run"] == states["run __default__"] == "unknown"
    assert "died" not in states.values()
    assert "recording stopped" in kedro("otel", "show", cwd=path, env=env).out
    kedro("otel", "ship", cwd=path, env={**env, "KEDRO_OTEL_DETAIL": "run"}, code=None)
    assert not [span for span in loopback.spans() if span.status.code == 2]
    assert "process_died" not in str(loopback.totals("kedro.commands"))
