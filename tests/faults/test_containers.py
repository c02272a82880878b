"""A machine that vanishes with the command: what was recorded is sent within the bounded wait, or said to be left behind."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from faulty import BIN
from loopback import Loopback, hang, loopback

__all__ = ["loopback"]


@pytest.fixture(autouse=True)
def namespaces() -> None:
    """Skip where this user may make no PID namespace."""
    made = (
        shutil.which("unshare")
        and subprocess.run(
            ["unshare", "-pf", "--mount-proc", "true"], capture_output=True, check=False
        ).returncode
        == 0
    )
    if not made:
        pytest.skip("no PID namespace may be made here")


INIT = "import os, subprocess, sys; child = subprocess.Popen(sys.argv[1:]); [None for _ in iter(lambda: os.wait()[0] != child.pid, False)]; os._exit(0)"
WAYS = {
    "as PID 1": lambda kedro: kedro,
    "as sh -c": lambda kedro: ["sh", "-c", f"{' '.join(kedro)}; true"],
    "under an init": lambda kedro: [sys.executable, "-c", INIT, *kedro],
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("receiver", ["answers", "hangs", "is away"])
def test_a_container_stopped_right_after_the_run(
    way: str,
    receiver: str,
    project: Callable[..., Path],
    environment: dict[str, str],
    home: Path,
    loopback: Loopback,
    figure: Callable[[str], None],
) -> None:
    """The namespace's first process ends with the command, and the kernel kills whatever is left in it."""
    path = project()
    environment.update(
        OTEL_EXPORTER_OTLP_ENDPOINT=loopback.url if receiver != "is away" else "http://127.0.0.1:9",
        KEDRO_OTEL_SHIP_TIMEOUT="5",
    )
    environment.pop("KEDRO_OTEL_EPHEMERAL")
    if receiver == "hangs":
        loopback.always.update(traces=hang, metrics=hang)
    command = [str(BIN / "kedro"), "run"]
    quiet = subprocess.run(
        [*command],
        cwd=path,
        env={**environment, "KEDRO_OTEL_ENABLED": "false"},
        capture_output=True,
        check=True,
    )
    assert quiet.returncode == 0
    began = time.monotonic()
    done = subprocess.run(
        ["unshare", "-pf", "--mount-proc", "--kill-child", *WAYS[way](command)],
        cwd=path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    took = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    ours = [line for line in done.stderr.splitlines() if "kedro-otel" in line]
    if receiver == "answers":
        assert ours == []
        assert sum(loopback.span_names().values()) == 2
        assert loopback.total("kedro.commands") == 1
        figure(f"{way}: all sent, in {took:.1f} s with the run")
    else:
        assert len(ours) == 1
        assert "did not reach" in ours[0]
        assert "kedro otel ship" in ours[0]
        figure(f"{way}, the receiver {receiver}: 1 line on stderr, in {took:.1f} s with the run")
    assert len(list((home / "recordings").glob("*.jsonl"))) == 1
