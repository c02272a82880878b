"""Counters and spans are exact through everything that files, hosts, clocks and receivers go through."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from histories import World

RARE = frozenset({54, 214, 362, 373})
"""Histories of rare combinations: a copy of several hosts' state, and names, owners and links that change at once."""


@pytest.mark.faults
def test_random_histories_are_counted_exactly(environment, full, request) -> None:
    """Whatever happens to files, hosts, clocks and processes: no command is counted twice, none is missing without a word."""
    environment.update(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", KEDRO_OTEL_DETAIL="run")
    seeds = range(10_000) if full else sorted({*range(40), *RARE})
    bad = []
    for seed in seeds:
        folder = Path(
            tempfile.mkdtemp(
                prefix="history-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None
            )
        )
        try:
            with pytest.MonkeyPatch.context() as patch:
                for name, value in environment.items():
                    patch.setenv(name, value)
                World(folder, seed, patch).play(40)
        except AssertionError as error:
            bad.append(f"seed {seed}: {error}")
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    assert not bad, f"{len(bad)} of {len(seeds)}:\n" + "\n\n".join(bad[:3])
