"""The user changes their mind while a run is recorded: it stops soon, nothing comes back, and the run does not notice."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faulty import begin, chain, until
from loopback import Loopback, loopback

__all__ = ["loopback"]
pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="an open file cannot be removed there"
)


def files(*folders: Path) -> dict[str, int]:
    """Return every file under ``folders`` with its size."""
    return {
        str(path): path.stat().st_size
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("runner", ["SequentialRunner", "ParallelRunner"])
@pytest.mark.parametrize("word", ["off", "purge"])
def test_recording_and_sending_stop_within_a_second(
    word: str,
    runner: str,
    project: Callable[..., Path],
    kedro: Callable[..., Any],
    environment: dict[str, str],
    home: Path,
    loopback: Loopback,
    figure: Callable[[str], None],
) -> None:
    """After `kedro otel off` or `purge` has returned, a second later nothing is written or sent any more, though the run goes on to its end."""
    path = chain(project, 40, parallel=runner == "ParallelRunner")
    environment.update(
        OTEL_EXPORTER_OTLP_ENDPOINT=loopback.url,
        KEDRO_OTEL_SHIP="background",
        KEDRO_OTEL_DETAIL="run",
        NODE_SECONDS="0.3",
    )
    process = begin(
        ["run", f"--runner={runner}"],
        path,
        environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    until(loopback.spans, 60)
    kedro("otel", word, cwd=path)
    said = time.time()
    time.sleep(1.1)
    before = files(home)
    node = (path / "evidence.txt").read_text().count("\n")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "kedro-otel" not in out + err
    assert "Traceback" not in err
    assert (path / "evidence.txt").read_text().count("\n") == 40
    assert node < 40, "the run was over before"
    time.sleep(1.5)
    after = files(home)
    late = [request for request in loopback.requests if request.at > said + 1]
    assert late == []
    grown = {
        name
        for name in after
        if after[name] != before.get(name, 0) and not name.endswith((".lock", ".log", "notice"))
    }
    assert grown == set()
    if word == "purge":
        assert [name for name in after if "/recordings/" in name] == []
    last = max((request.at - said for request in loopback.requests), default=0)
    figure(
        f"last request {max(last, 0):.2f} s after the command had returned, 0 bytes written later than 1.1 s after it; exit code 0"
    )


def test_on_again_is_for_the_next_command(
    project: Callable[..., Path], kedro: Callable[..., Any], environment: dict[str, str], home: Path
) -> None:
    """A file of settings that is written without saying no does not stop the run that is recorded."""
    path = chain(project, 20)
    environment["NODE_SECONDS"] = "0.15"
    process = begin(
        ["run"], path, environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until(lambda: list((home / "recordings").glob("*.jsonl")))
    kedro("otel", "on", cwd=path)
    assert process.wait(60) == 0
    found = [recording.read_text() for recording in (home / "recordings").glob("*.jsonl")]
    assert sum(text.count('{"end":"node"') for text in found) == 20
