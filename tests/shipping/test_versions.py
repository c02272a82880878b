"""Real older versions of this package on one home: upgraded and downgraded, all is counted once; what a newer one wrote is left alone."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import BIN
from loopback import Loopback, loopback

from kedro_otel.recording import encoder

__all__ = ["loopback"]
ROOT = Path(__file__).parents[2]
CACHE = Path.home() / ".cache" / "kedro-otel" / "versions"
OLDER = {
    "f6c1a40": "before checksums, machine ids and generations",
    "ea91239": "before destinations knew credentials",
}
ORDERS = ("old new old new", "new old new", "old old new new", "old new new old old new")


@pytest.fixture(scope="module", params=OLDER, ids=OLDER.get)
def older(request: pytest.FixtureRequest) -> Path:
    """Return a folder with an older version, built from the history of this repository."""
    folder = CACHE / request.param
    if not (folder / "kedro_otel").is_dir():
        known = ["git", "-C", str(ROOT), "cat-file", "-e", f"{request.param}^{{commit}}"]
        if subprocess.run(known, check=False, capture_output=True).returncode:
            pytest.skip("this checkout has no such history")
        source = CACHE / f"{request.param}.src"
        source.mkdir(parents=True, exist_ok=True)
        archive = subprocess.run(
            ["git", "-C", str(ROOT), "archive", request.param], check=True, capture_output=True
        )
        subprocess.run(["tar", "x", "-C", source], input=archive.stdout, check=True)
        build = ["--no-deps", "--no-index", "--no-build-isolation", "--target", folder, source]
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *build], check=True)
    return folder


def grown(loopback: Loopback) -> float:
    """Return by how much all series of commands grew."""
    last: dict[Any, float] = {}
    total = 0.0
    for point in loopback.points():
        if point.metric == "kedro.commands":
            total += max(point.value - last.get(point.series, 0), 0)
            last[point.series] = point.value
    return total


@pytest.fixture
def typed(
    older: Path, environment: dict[str, str], loopback: Loopback, tmp_path: Path, full: bool
) -> Callable[..., str]:
    """Return ``typed(which, *words)``, which runs `kedro` with the old or the new version, and returns what it said."""
    if not full:
        pytest.skip("with FULL=1")
    environment.update(
        OTEL_EXPORTER_OTLP_ENDPOINT=loopback.url, KEDRO_OTEL_SHIP="manual", KEDRO_OTEL_DETAIL="run"
    )

    def typed(which: str, *words: str, code: int | None = 0) -> str:
        env = {**environment, **({"PYTHONPATH": str(older)} if which == "old" else {})}
        done = subprocess.run(
            [BIN / "kedro", *words],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr
        assert code is None or done.returncode == code, done.stderr
        return done.stdout + done.stderr

    return typed


@pytest.mark.timeout(600)
@pytest.mark.parametrize("order", ORDERS)
def test_versions_take_turns(typed: Callable[..., str], loopback: Loopback, order: str) -> None:
    """Each records a command, and every second one ships what both recorded: each command is counted and sent once."""
    for number, which in enumerate(order.split()):
        typed(which, "info")
        if number % 2:
            typed(which, "otel", "ship")
    typed("new", "otel", "ship")
    typed("old", "otel", "ship", code=None)
    typed("new", "otel", "ship")
    ran = len(order.split())
    assert (loopback.total("kedro.commands"), grown(loopback)) == (ran, ran)
    spans = [span.span_id for span in loopback.spans()]
    assert len(spans) == len(set(spans)) == ran


@pytest.mark.timeout(600)
def test_what_a_newer_version_wrote_is_left_alone_and_named(
    typed: Callable[..., str], loopback: Loopback, home: Path
) -> None:
    """A recording and a journal of format 2 stay byte for byte as they are, whatever is typed; status or ship say what is the matter."""
    typed("new", "info")
    typed("new", "otel", "ship")
    (journal,) = (
        path for path in home.glob("destinations/*/journal-*.json") if "before" not in path.name
    )
    (recording,) = home.glob("recordings/0*.jsonl")
    newer = recording.with_name(f"{'9' * 20}-1-0123abcd.jsonl")
    newer.write_bytes(encoder.sealed(b'{"kedro-otel":2,"anything":"else"}\n'))
    body = b'{"anything":"else"}'
    head = {"kedro-otel-journal": 2, "sha256": hashlib.sha256(body).hexdigest()}
    journal.write_bytes(
        encoder.sealed(json.dumps(head, separators=(",", ":")).encode() + b"\n") + body + b"\n"
    )
    before = {path: path.read_bytes() for path in (journal, newer)}
    loopback.requests.clear()
    typed("new", "info")
    said = typed("new", "otel", "ship", code=None) + typed("new", "otel", "status", code=None)
    typed("new", "otel", "list")
    assert {path: path.read_bytes() for path in before} == before
    assert loopback.requests == []
    assert "newer" in said or "upgrade" in said
    assert "segments unreadable" in said
