"""Whole processes, one after the other, in rounds: each round runs every contestant once, and the next round starts with another one.

Whatever the machine does meanwhile then falls on all of them alike, and a contestant is compared with the one it ran beside.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Cost(NamedTuple):
    """What one process took: wall and CPU seconds (its own and of the children it waited for), and its peak memory in MiB."""

    wall: float
    cpu: float
    memory: float


class Contestant(NamedTuple):
    """One command in one environment; ``prepare`` is called before each time it runs, untimed."""

    name: str
    words: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    prepare: Callable[[], object] = lambda: None
    code: int = 0


class Ratio(NamedTuple):
    """A contestant's cost over the first one's: the median over the rounds, and where it lies with 95 % confidence."""

    median: float
    low: float
    high: float


def once(contestant: Contestant, *, timeout: float = 600) -> Cost:
    """Run the contestant's command to its end and return what it took; raises RuntimeError if it exits otherwise than it should."""
    contestant.prepare()
    log = contestant.folder / "output.log"
    with log.open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            list(contestant.words),
            cwd=contestant.folder,
            env=dict(contestant.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        killer = _after(timeout, process)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        killer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != contestant.code:
        text = log.read_text(errors="replace")[-2000:]
        raise RuntimeError(
            f"{contestant.name}: {' '.join(contestant.words)} exited {process.returncode}\n{text}"
        )
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def rounds(
    contestants: Sequence[Contestant], count: int, *, say: Callable[[str], object] = print
) -> dict[str, list[Cost]]:
    """Run all contestants ``count`` times, in turn, after one round that is not counted; return each one's costs in order."""
    costs: dict[str, list[Cost]] = {contestant.name: [] for contestant in contestants}
    for contestant in contestants:
        once(contestant)
    for number in range(count):
        first = number % len(contestants)
        for contestant in [*contestants[first:], *contestants[:first]]:
            costs[contestant.name].append(once(contestant))
    base = contestants[0].name
    for contestant in contestants:
        mine = costs[contestant.name]
        ratio = compare(mine, costs[base], "wall")
        say(
            f"  {contestant.name:24} {statistics.median(c.wall for c in mine):7.3f} s  x{ratio.median:.3f} ({ratio.low:.3f}-{ratio.high:.3f})"
        )
    return costs


def compare(mine: Sequence[Cost], base: Sequence[Cost], what: str) -> Ratio:
    """Return the median over the rounds of ``mine`` over ``base``, with a bootstrap interval; ``what`` is a field of :class:`Cost`."""
    return middle([getattr(a, what) / getattr(b, what) for a, b in zip(mine, base, strict=True)])


def middle(figures: Sequence[float]) -> Ratio:
    """Return the median of one figure a round, with a bootstrap interval."""
    chance = random.Random(0)
    medians = sorted(
        statistics.median(chance.choices(figures, k=len(figures))) for _ in range(2000)
    )
    return Ratio(statistics.median(figures), medians[50], medians[-51])


def _after(seconds: float, process: subprocess.Popen[bytes]) -> threading.Timer:
    timer = threading.Timer(seconds, process.kill)
    timer.daemon = True
    timer.start()
    return timer
