"""Secrets placed wherever a user may have some, looked for in all that is recorded and in all that leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result
from loopback import Loopback, loopback

from kedro_otel.config import project_folders
from kedro_otel.recording import reader

__all__ = ["loopback"]

NODES = """
from opentelemetry import trace

class ProjectWordError(Exception):
    pass

def project_word_make(value):
    with trace.get_tracer("project_word_tracer").start_as_current_span("project_word_span", attributes={"a": "CANARY-attribute"}) as span:
        span.add_event("event", {"a": "CANARY-event"})
    return "CANARY-data"

def project_word_fail(data, fail):
    if fail == "own":
        raise ProjectWordError(f"CANARY-message {data}")
    if fail == "built-in":
        raise ValueError(f"CANARY-message {data}")
    return data
"""
REGISTRY = """
from kedro.pipeline import node, pipeline

from .nodes import project_word_fail, project_word_make

def register_pipelines():
    whole = pipeline([
        node(project_word_make, "params:secret", "project_word_data", name="project_word_first", tags="project_word_tag", namespace=None),
        node(project_word_fail, ["project_word_data", "params:fail"], "project_word_out", name="project_word_second"),
    ])
    return {"__default__": whole, "project_word_pipeline": whole}
"""
CATALOG = """
project_word_out:
  type: project_word.own.ProjectWordDataset
  filepath: data/CANARY-path.bin
  credentials: keys
"""
OWN = """
from kedro.io import AbstractDataset

class ProjectWordDataset(AbstractDataset):
    def __init__(self, filepath, credentials):
        self.filepath = filepath
    def load(self):
        return None
    def save(self, data):
        pass
    def _describe(self):
        return {"filepath": self.filepath}
"""
CLI = """
import click

@click.group()
def cli():
    pass

@cli.command()
@click.option("--project-word-option")
def project_word(project_word_option):
    raise SystemExit(3)
"""
# Commands that a project registers as entry points: one of its package, one of another module in its folder.
REGISTERED = """
import click

commands = click.Group("anything")

@commands.group(name="project-word-group", invoke_without_command=True)
def group():
    pass

@group.command(name="project-word-inner")
def inner():
    pass

commands.add_command(click.Group("project-word-bare", commands={"inner": inner}))
"""
BESIDE = """
import click

@click.group()
def commands():
    pass

@commands.command(name="project-word-beside")
def beside():
    pass
"""
ENTRY_POINTS = """
[kedro.project_commands]
registered = project_word.registered:commands
[kedro.global_commands]
beside = project_word_beside:commands
"""
COMMANDS = [
    ("run",),
    (
        "run",
        "--pipeline=project_word_pipeline",
        "--tags",
        "project_word_tag",
        "--params",
        "secret=CANARY-params",
    ),
    ("run", "--params", "fail=own,secret=CANARY-params"),
    ("run", "--params", "fail=built-in"),
    ("run", "--conf-source", "CANARY-conf-source"),
    ("run", "--tags", "CANARY-tag"),
    ("run", "--env", "CANARY-env"),
    ("run", "--nodes", "CANARY-node"),
    ("run", "--runner", "CANARY.Runner"),
    ("CANARY-command", "--CANARY-option"),
    ("run", "--CANARY=CANARY", "-CANARY"),
    ("--help", "CANARY"),
    ("project-word", "--project-word-option", "CANARY-value"),
    ("registry", "describe", "CANARY-pipeline"),
    ("project-word-group", "project-word-inner"),
    ("project-word-bare", "inner"),
    ("project-word-beside",),
]


def everything(loopback: Loopback) -> bytes:
    """Return all that the receiver got."""
    return b"".join(request.message.SerializeToString() for request in loopback.requests)


@pytest.mark.parametrize("level", ["usage", "run", "full"])
def test_no_secret_is_recorded_or_leaves(
    level: str,
    project: Callable[..., Path],
    kedro: Callable[..., Result],
    environment: dict[str, str],
    loopback: Loopback,
    tmp_path: Path,
) -> None:
    """Canaries are in the private files, and none is in the recording or in what a receiver gets; at `usage` no word of the project is in what it gets.

    At `full`, which is for messages and others' attributes, those canaries sing: the others would be heard too.
    """
    user = tmp_path / "CANARY-home"
    user.mkdir()
    environment.update(
        HOME=str(user),
        USER="CANARY-user",
        LOGNAME="CANARY-user",
        HOSTNAME="CANARY-host",
        MY_SECRET="CANARY-variable",
        KEDRO_OTEL_DETAIL=level,
        KEDRO_OTEL_SHIP="manual",
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://CANARY-user:CANARY-password@{loopback.url[7:]}",
        OTEL_EXPORTER_OTLP_HEADERS="x-token=CANARY-header",
    )
    path = project(
        "project_word",
        nodes=NODES,
        registry=REGISTRY,
        catalog=CATALOG,
        parameters="secret: CANARY-parameter\nfail: 'no'\n",
        files={
            "src/project_word/own.py": OWN,
            "src/project_word/cli.py": CLI,
            "src/project_word/registered.py": REGISTERED,
            "src/project_word_beside.py": BESIDE,
            "src/project_word-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: project_word\nVersion: 1\n",
            "src/project_word-1.dist-info/entry_points.txt": ENTRY_POINTS,
            "conf/local/credentials.yml": "keys: {password: CANARY-credential}\n",
        },
        parent=user,
    )
    for words in COMMANDS if level != "full" else COMMANDS[:4]:
        kedro(*words, cwd=path, code=None)
    if level == "full":
        kedro("otel", "ship", cwd=path)
        sent = everything(loopback)
        assert all(
            word in sent for word in (b"CANARY-message", b"CANARY-attribute", b"CANARY-event")
        )
        assert not [
            word
            for word in (b"CANARY-password", b"CANARY-header", b"CANARY-credential")
            if word in sent
        ]
        return
    recordings = [found.read_text() for found in reader.segments()]
    assert len(recordings) == len(COMMANDS)
    assert [text for text in recordings if "CANARY" in text] == []
    assert str(user) not in "".join(recordings)
    kedro("otel", "ship", cwd=path)
    sent = everything(loopback)
    assert {request.signal for request in loopback.requests} == {"traces", "metrics"}
    as_sent = "".join(
        kedro("otel", "export", "--as-sent", f"-{number + 1}", cwd=path, code=None).out
        for number in range(3)
    )
    assert "CANARY" not in as_sent.replace(str(path), "")
    assert not [
        word
        for word in ("project_word", "ProjectWord")
        if level == "usage" and word in as_sent.replace(str(path), "")
    ]
    assert b"kedro run --pipeline ***** --tags ***** --params *****" in sent
    assert b"CANARY" not in sent
    own = [word for word in (b"project_word", b"project-word", b"ProjectWord") if word in sent]
    assert own == ([] if level == "usage" else own)
    assert (b"project_word_first" in sent) == (level == "run")
    for name in environment["KEDRO_OTEL_HOME"], str(user / ".config"):
        files = [found for found in Path(name).rglob("*") if found.is_file()]
        private = [found for found in files if found.suffix == ".private"]
        places = [found for found in files if found.parent.name == project_folders.FOLDERS]
        files = [found for found in files if found not in private + places]
        kept = b"".join(found.read_bytes() for found in private)
        assert name != environment["KEDRO_OTEL_HOME"] or all(
            word in kept for word in (b"CANARY-message", b"CANARY-params", b"CANARY-value")
        )
        assert not [found for found in files if b"CANARY" in found.read_bytes()], files
