"""What shipping takes: 100,000 spans from disk to the real collector, and the detached process after one short command."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.environments import ENVIRONMENTS, ROOT, build

COLLECTOR = """
receivers: {{otlp: {{protocols: {{http: {{endpoint: 127.0.0.1:{port}}}}}}}}}
processors: {{batch: {{}}}}
exporters: {{debug: {{verbosity: basic}}}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    traces: {{receivers: [otlp], processors: [batch], exporters: [debug]}}
    metrics: {{receivers: [otlp], processors: [batch], exporters: [debug]}}
"""
SUBREAPER = 36
"""``PR_SET_CHILD_SUBREAPER``: what our children leave behind becomes ours, so that its cost can be waited for (Linux)."""


def measure(folder: Path, nodes: int = 1000, runs: int = 34) -> dict[str, Any]:
    """Return what it took: ``nodes`` × ``runs`` × 3 spans and a few more; and the cost of the process that one command leaves behind."""
    folder.mkdir(parents=True)
    found = build(ENVIRONMENTS["ours"])
    assert found is not None
    result: dict[str, Any] = {}
    with collector(folder) as url:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder / "home"),
            "KEDRO_OTEL_EPHEMERAL": "false",
            "KEDRO_OTEL_SHIP": "manual",
            "KEDRO_OTEL_DETAIL": "run",
            "KEDRO_OTEL_MAX_BYTES": str(1 << 30),
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        }
        (folder / "home").mkdir()
        print(f"recording {3 * nodes * runs} spans")
        words = [
            str(found / "python"),
            "-W",
            "ignore",
            str(ROOT / "benchmarks" / "noop.py"),
            str(folder / "project"),
            str(nodes),
            str(runs),
        ]
        subprocess.run(words, env=environment, check=True, stdout=subprocess.DEVNULL)
        result["bulk"] = {
            "spans": 3 * nodes * runs,
            **_waited([str(found / "kedro"), "otel", "ship"], environment, folder),
        }
        print(f"  shipped: {result['bulk']}")
        idle = {**environment, "KEDRO_OTEL_SHIP": "background", "HOME": str(folder / "idle")}
        (folder / "idle").mkdir()
        result["idle"] = [
            _left_behind([str(found / "kedro"), "--version"], idle, folder) for _ in range(5)
        ]
        print(f"  the process left behind: {result['idle']}")
    return result


@contextmanager
def collector(folder: Path) -> Iterator[str]:
    """Run the real collector on a free port of 127.0.0.1 and yield its URL; raises RuntimeError if it is not built."""
    spec = importlib.util.spec_from_file_location("servers_build", ROOT / "servers" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    servers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(servers)
    program = servers.find("otelcol")
    if program is None:
        raise RuntimeError("the collector is not built; type: make servers")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "collector.yaml"
    config.write_text(COLLECTOR.format(port=port))
    with (folder / "collector.log").open("wb") as log:
        process = subprocess.Popen([str(program), f"--config={config}"], stdout=log, stderr=log)
    try:
        _until_it_answers(f"http://127.0.0.1:{port}/v1/traces")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _until_it_answers(url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=1)
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)


def _waited(words: list[str], environment: Mapping[str, str], folder: Path) -> dict[str, float]:
    """Run a command to its end; return its wall and CPU seconds and its peak memory in MiB."""
    began = time.perf_counter()
    with (folder / "ship.log").open("wb") as log:
        process = subprocess.Popen(words, env=dict(environment), cwd=folder, stdout=log, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(
            f"{' '.join(words)} exited {process.returncode}: {(folder / 'ship.log').read_text()[-2000:]}"
        )
    return {
        "wall": time.perf_counter() - began,
        "cpu": used.ru_utime + used.ru_stime,
        "memory": used.ru_maxrss / 1024,
    }


def _left_behind(
    words: list[str], environment: Mapping[str, str], folder: Path
) -> dict[str, float]:
    """Run a command, then wait for the process that it leaves behind; return that one's CPU seconds and peak memory in MiB."""
    ctypes.CDLL(None, use_errno=True).prctl(SUBREAPER, 1, 0, 0, 0)
    process = subprocess.Popen(
        words,
        env=dict(environment),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    process.wait()
    began = time.perf_counter()
    cpu = memory = 0.0
    while True:
        try:
            pid, _, used = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if pid:
            cpu += used.ru_utime + used.ru_stime
            memory = max(memory, used.ru_maxrss / 1024)
        elif _others_than_the_collector():
            time.sleep(0.01)
        else:
            break
        if time.perf_counter() - began > 60:
            break
    return {"cpu": cpu, "memory": memory, "wall": time.perf_counter() - began}


def _others_than_the_collector() -> bool:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return any(
        "otelcol" not in Path(f"/proc/{pid}/cmdline").read_text()
        for pid in children
        if Path(f"/proc/{pid}").exists()
    )
