"""Installations of Kedro that send what they record, and projects to run there, for tests that span several of each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from conftest import BIN, KEPT

DOOMED = """
import os, signal, time

def first(name):
    return name

def second(name, how):
    if how == "fail":
        raise ValueError("told to fail")
    if how == "die":
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    return name
"""
REGISTRY = """
from kedro.pipeline import node, pipeline
from .nodes import first, second

def register_pipelines():
    return {"__default__": pipeline([node(first, "params:name", "a", name="first"), node(second, ["a", "params:how"], "b", name="second")])}
"""


class Person:
    """An installation of Kedro: a HOME of its own, and commands that send what they record."""

    def __init__(self, folder: Path, endpoint: str, detail: str = "run") -> None:
        self.home = folder / "kedro-otel"
        folder.mkdir()
        kept = {key: os.environ[key] for key in KEPT if key in os.environ}
        self.environment = {
            **kept,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "KEDRO_OTEL_HOME": str(self.home),
            "KEDRO_OTEL_EPHEMERAL": "false",
            "KEDRO_OTEL_SHIP": "background",
            "KEDRO_OTEL_DETAIL": detail,
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        }

    def kedro(
        self, *words: str, cwd: Path, code: int | None = 0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end; ``code=None`` accepts any exit code."""
        command = [BIN / "kedro", *words]
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done


def demo(folder: Path) -> Path:
    """Write the demo project."""
    code = f"from pathlib import Path; from kedro_otel.cli.demo import _write; _write(Path({str(folder)!r}))"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    return folder


def doomed_project(folder: Path) -> Path:
    """Write a project of two nodes whose second does as `how` says: well, fail, die."""
    import kedro

    files = {
        "pyproject.toml": f'[tool.kedro]\npackage_name = "doomed"\nproject_name = "doomed"\nkedro_init_version = "{kedro.__version__}"\n'
        'tools = ["Linting", "Testing"]\n',
        "src/doomed/__init__.py": "",
        "src/doomed/settings.py": "",
        "src/doomed/nodes.py": DOOMED,
        "src/doomed/pipeline_registry.py": REGISTRY,
        "conf/base/catalog.yml": "b: {type: json.JSONDataset, filepath: data/b.json}\n",
        "conf/base/parameters.yml": "name: world\nhow: well\n",
        "conf/local/.gitkeep": "",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder
