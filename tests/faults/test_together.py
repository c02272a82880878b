"""Many at once: shells, shippers, pruners."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from faulty import BIN, spoken, until
from loopback import Loopback, loopback
from trace_text import operations

__all__ = ["loopback"]
pytestmark = pytest.mark.timeout(900)


def test_many_shells_at_once(
    project: Callable[..., Path],
    kedro: Callable[..., Any],
    environment: dict[str, str],
    home: Path,
    loopback: Loopback,
    full: bool,
    figure: Callable[[str], None],
) -> None:
    """Thirty-two shells in one project, each command shipping: every line is whole, every command counted once, nothing is lost."""
    shells, each = (32, 4) if full else (8, 1)
    path = project()
    kedro("run", cwd=path)  # makes the ids
    for left in (home / "recordings").iterdir():
        left.unlink()
    environment.update(
        OTEL_EXPORTER_OTLP_ENDPOINT=loopback.url,
        KEDRO_OTEL_SHIP="background",
        KEDRO_OTEL_DETAIL="run",
    )

    def shell(_: int) -> list[tuple[int, str]]:
        found = []
        for _round in range(each):
            done = subprocess.run(
                [BIN / "kedro", "registry", "list"],
                cwd=path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            found.append((done.returncode, done.stderr))
        return found

    with ThreadPoolExecutor(shells) as pool:
        results = [result for results in pool.map(shell, range(shells)) for result in results]
    assert {code for code, _ in results} == {0}
    assert [err for _, err in results if "kedro-otel" in err] == []
    number = shells * each
    lines = [
        line
        for recording in (home / "recordings").glob("*.jsonl")
        for line in recording.read_text().splitlines()
    ]
    assert all(json.loads(line) for line in lines)
    found = operations(home)
    assert (len(found), len({one.trace_id for one in found}), {one.state for one in found}) == (
        number,
        number,
        {"ended"},
    )
    until(
        lambda: (
            loopback.total("kedro.commands") == number
            and sum(loopback.span_names().values()) == number
        ),
        120,
    )
    assert len(loopback.spans()) == number
    figure(
        f"{shells} shells × {each} commands: {len(lines)} lines, all whole; {number} commands counted, {len(loopback.spans())} spans, none twice"
    )


def test_pruning_while_writing(
    project: Callable[..., Path],
    kedro: Callable[..., Any],
    environment: dict[str, str],
    home: Path,
    full: bool,
    figure: Callable[[str], None],
) -> None:
    """With bounds that let nothing stay, what is being written stays until it has ended: no command says a word, no live recording goes."""
    path = project()
    environment.update(KEDRO_OTEL_MAX_SEGMENTS="1")
    number = 60 if full else 8
    stop = time.monotonic() + 600

    def write(_: int) -> tuple[int, str]:
        done = subprocess.run(
            [BIN / "kedro", "run"],
            cwd=path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stderr

    def prune(running: list[bool]) -> int:
        rounds = 0
        code = (
            "import os; from kedro_otel.config import settings; from kedro_otel.shipping.state import pruning; "
            "print(pruning.prune(settings.load(os.environ)))"
        )
        while running and time.monotonic() < stop:
            subprocess.run(
                [BIN / "python", "-c", code],
                cwd=path,
                env=environment,
                check=True,
                capture_output=True,
            )
            rounds += 1
        return rounds

    running = [True]
    with ThreadPoolExecutor(4) as pool:
        pruners = pool.submit(prune, running)
        results = list(pool.map(write, range(number)))
        running.clear()
        rounds = pruners.result()
    assert {code for code, _ in results} == {0}
    assert [err for _, err in results if "kedro-otel" in err] == []
    found = operations(home)
    assert {one.state for one in found} == {"ended"}
    dropped = spoken(kedro("otel", "status", "--json", cwd=path).out)["recorded"]["lost"]
    kept = len(list((home / "recordings").glob("[0-9]*.jsonl")))
    assert kept + dropped.get("segments dropped (too many)", 0) == number
    figure(
        f"{number} runs, {rounds} prunings meanwhile: {kept} kept, the other {number - kept} counted as dropped; 0 runs disturbed"
    )
