"""What the package costs, counted rather than timed: the same on every machine, so a regression is a failure and never noise.

Seconds are measured by `make bench` and told in docs/performance.md.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bare import bare_python
from conftest import Result

from kedro_otel.config import paths
from kedro_otel.recording import reader

__all__ = ["bare_python"]

LOADED = """
import atexit, json, sys
atexit.register(lambda: open({file!r}, "w").write(json.dumps(sorted(sys.modules))))
sys.argv = ["kedro", *{words!r}]
from kedro.framework.cli.cli import main
main()
"""
NODES = 50
REGISTRY = f"""
from kedro.pipeline import node, pipeline

def same(x):
    return x

def register_pipelines():
    return {{"__default__": pipeline([node(same, "params:name", f"d{{i}}", name=f"n{{i}}") for i in range({NODES})])}}
"""


@pytest.fixture
def loads(run: Callable[..., Result], bare_python: Path, tmp_path: Path) -> Callable[..., set[str]]:
    """Return ``loads(*words, cwd=, env=)``: the modules that a command loads here, and not where some plugin that does nothing is installed.

    Kedro itself reads the metadata of every plugin whose hooks a session has, which takes a score of modules on some Pythons.
    """
    plugin = tmp_path / "plugin"
    (plugin / "nothing-1.dist-info").mkdir(parents=True)
    (plugin / "nothing.py").write_text("hooks = object()\n")
    (plugin / "nothing-1.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: nothing\nVersion: 1\n"
    )
    (plugin / "nothing-1.dist-info/entry_points.txt").write_text(
        "[kedro.hooks]\nnothing = nothing:hooks\n"
    )

    def modules(
        python: str | Path, words: tuple[str, ...], options: dict[str, Any], **more: str
    ) -> set[str]:
        file = tmp_path / "modules.json"
        run(
            python,
            "-c",
            LOADED.format(file=str(file), words=words),
            **{**options, "env": {**options.get("env", {}), **more}},
        )
        return set(json.loads(file.read_text()))

    return lambda *words, **options: (
        modules(sys.executable, words, options)
        - modules(bare_python, words, options, PYTHONPATH=str(plugin))
    )


def test_a_start_loads_little(loads: Callable[..., set[str]], tmp_path: Path) -> None:
    """`kedro --version` loads at most forty-five of our modules, packages included, none of Python's library, and nothing of anybody else's."""
    extra = loads("--version", cwd=tmp_path)
    ours = {name for name in extra if name.split(".")[0] == "kedro_otel"}
    python = {
        name
        for name in extra - ours
        if name.split(".")[0].lstrip("_") in {word.lstrip("_") for word in sys.stdlib_module_names}
    }
    assert extra - ours - python == set()
    assert len(ours) <= 45, sorted(ours)
    assert python <= {
        "encodings.utf_8_sig"
    }  # by which Python reads the path of a package that is installed as editable


def test_an_endpoint_loads_nothing_of_a_network(
    loads: Callable[..., set[str]], tmp_path: Path
) -> None:
    """With an endpoint the command itself still loads nothing that could speak to it; that is the shipper's."""
    extra = loads(
        "--version", cwd=tmp_path, env={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    )
    assert not {name.split(".")[0] for name in extra} & {
        "opentelemetry",
        "google",
        "grpc",
        "requests",
        "urllib3",
        "rich",
        "kedro_telemetry",
    }


def test_off_loads_next_to_nothing(loads: Callable[..., set[str]], tmp_path: Path) -> None:
    """Switched off, the package has loaded only what it takes to find that out."""
    extra = loads("--version", cwd=tmp_path, env={"KEDRO_OTEL_ENABLED": "false"})
    assert len({name for name in extra if name.startswith("kedro_otel")}) <= 16, sorted(extra)


def test_a_run_loads_no_exporter(
    loads: Callable[..., set[str]], project: Callable[..., Path]
) -> None:
    """A pipeline run loads OpenTelemetry's API and tracing, and neither its metrics nor anything that sends."""
    extra = loads("run", cwd=project())
    assert "opentelemetry.trace" in extra
    heavy = (
        "opentelemetry.sdk.metrics",
        "opentelemetry.exporter",
        "google",
        "grpc",
        "requests",
        "urllib3",
    )
    assert not [name for name in extra if name.startswith(heavy)]


def test_a_node_writes_each_operation_once(
    project: Callable[..., Path], run: Callable[..., Result], tmp_path: Path
) -> None:
    """A node with one load and one save is four lines, its start, its end, one for each of the two, and three writes: the last two are one."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    path = project(registry=REGISTRY, catalog="{}")
    log = tmp_path / "writes.txt"
    kedro = Path(sys.executable).with_name("kedro")
    run(
        strace,
        "-f",
        "-y",
        "-e",
        "trace=write,writev,pwrite64,fsync,fdatasync",
        "-e",
        "signal=none",
        "-o",
        log,
        kedro,
        "run",
        cwd=path,
    )
    written = log.read_text(errors="replace").splitlines()
    assert not [line for line in written if "/recordings/" in line and "sync" in line]
    ours = [line for line in written if ".jsonl>" in line]
    private = [line for line in written if ".private>" in line]
    assert len(private) <= sum(
        len(file.read_bytes().splitlines()) for file in paths.recordings().glob("*.private")
    )
    lines = Counter(
        b":".join(line.split(b":", 2)[:2]).partition(b",")[0]
        for file in reader.segments()
        for line in file.read_bytes().splitlines()
    )
    for kind, count in (("command", 1), ("run", 1), ("node", NODES)):
        assert lines[f'{{"start":"{kind}"'.encode()] == lines[f'{{"end":"{kind}"'.encode()] == count
    # A load or a save that lasts has a start line too; how many do depends on the machine.
    lasting = lines[b'{"start":"dataset"']
    assert lasting <= 2 * NODES
    assert lines[b'{"span":"dataset"'] == 2 * NODES
    assert len(ours) <= sum(lines.values()) - NODES + lasting


def test_a_node_takes_little_more_than_two_kibibytes(
    project: Callable[..., Path], kedro: Callable[..., Result]
) -> None:
    """The recording of a no-op node with one load and one save is at most 2,200 bytes."""
    kedro("run", cwd=project(registry=REGISTRY, catalog="{}"))
    lines = [line for file in reader.segments() for line in file.read_bytes().splitlines(True)]
    total = 0
    # nodes that last, as some do on a busy machine, have their memory recorded, too
    lines = [line for line in lines if b"kedro.node.memory" not in line]
    for kind, count in ((b'{"start":"node"', 1), (b'{"span":"dataset"', 2), (b'{"end":"node"', 1)):
        sizes = sorted(len(line) for line in lines if line.startswith(kind))
        assert len(sizes) >= NODES // 4
        total += count * sizes[len(sizes) // 2]
    assert total <= 2200
