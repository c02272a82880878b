"""One transient error of the system, at any call of what ships and of what records, changes no total."""

from __future__ import annotations

import errno
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loopback import Loopback, loopback

__all__ = ["loopback"]
HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="needs Linux and a C compiler"
)
ERRORS = (errno.EIO, errno.EMFILE, errno.ESTALE)
FEW = 20


class Driver:
    """The process in which calls fail."""

    def __init__(self, folder: Path, environment: dict[str, str], loopback: Loopback) -> None:
        library = folder / "one_call.so"
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-o", library, HERE / "one_call.c", "-ldl"], check=True
        )
        shm = Path("/dev/shm")
        self.folder = (shm if shm.is_dir() else folder) / f"one-call-{folder.name}-{id(self)}"
        self.folder.mkdir()
        self.config = str(Path(environment["HOME"], ".config"))
        self.loopback = loopback
        self.process = subprocess.Popen(
            [sys.executable, HERE / "one_call.py"],
            env={
                **environment,
                "LD_PRELOAD": str(library),
                "PYTHONPATH": str(HERE.parent),
                "OTEL_EXPORTER_OTLP_ENDPOINT": loopback.url,
                "KEDRO_OTEL_DETAIL": "run",
                "KEDRO_OTEL_EPHEMERAL": "auto",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def play(self, what: str, at: int, error: int) -> dict[str, Any]:
        """Let the call with the number ``at`` fail with ``error``, and return what came of it."""
        home = self.folder / "home"
        shutil.rmtree(home, ignore_errors=True)
        self.loopback.requests.clear()
        job = {
            "home": str(home),
            "prefixes": [str(home), self.config, "/proc/"],
            "what": what,
            "at": at,
            "error": error,
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert "error" not in found, found
        return found

    def close(self) -> None:
        """End the process."""
        self.process.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def driver(tmp_path: Path, environment: dict[str, str], loopback: Loopback) -> Iterator[Driver]:
    """Return the process in which calls fail."""
    found = Driver(tmp_path, environment, loopback)
    yield found
    found.close()


def counted(loopback: Loopback) -> tuple[float, float, int, float]:
    """Return commands, nodes, different spans, and by how much the series of commands grew, as the receiver has them."""
    series: dict[Any, float] = {}
    grown = 0.0
    for point in loopback.points():
        if point.metric == "kedro.commands":
            grown += max(point.value - series.get(point.series, 0), 0)
            series[point.series] = point.value
    spans = {span.span_id for span in loopback.spans()}
    return loopback.total("kedro.commands"), loopback.total("kedro.node.runs"), len(spans), grown


@pytest.mark.faults
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("what", ["shipper", "writer"])
def test_one_error_changes_no_total(
    what: str, driver: Driver, loopback: Loopback, full: bool, figure: Callable[[str], None]
) -> None:
    """Whichever call fails once: all is counted and sent once; what could not be recorded is said."""
    number = driver.play(what, 0, errno.EIO)["number"]
    right = counted(loopback)
    assert right[0] == (5 if what == "writer" else 4)
    trials = [(at, error) for at in range(1, number + 1) for error in ERRORS]
    if not full:
        trials = random.Random(number).sample(trials, min(FEW, len(trials)))
    bad, failed, lost = [], 0, 0
    for at, error in trials:
        found = driver.play(what, at, error)
        failed += bool(found["what"])
        seen = counted(loopback)
        if what == "writer" and found["said"]:
            lost += seen != right
            less = (right[0] - 1, right[1], right[2] - 1, right[3] - 1)
            if seen in (right, less):
                continue
        if seen != right:
            bad.append(f"{errno.errorcode[error]} at {at}, {found}: {seen} for {right}")
    assert failed
    assert not bad, "\n".join([f"{len(bad)} of {len(trials)}", *bad[:20]])
    figure(
        f"{what}: {number} calls, {failed} failed, {lost} not recorded and said so, 0 totals changed"
    )
