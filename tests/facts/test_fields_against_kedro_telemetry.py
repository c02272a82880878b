"""Field for field: what is recorded of a real ``kedro`` command equals what kedro-telemetry makes of it in the same process."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from conftest import Result

from kedro_otel.recording import reader
from kedro_otel.recording.model import Operation, Segment
from kedro_otel.semconv import names

WITNESS = '''
"""A plugin: commands of its own, and a hook that writes down what kedro-telemetry would send."""
import json, os
import click
from kedro.framework.cli.hooks import cli_hook_impl

@click.group(name="witness")
def project_commands():
    pass

@project_commands.group()
def outer():
    pass

@outer.group()
@click.option("--level", "-l")
def inner(level):
    pass

@inner.command()
@click.argument("target", required=False)
@click.option("--flag/--no-flag")
@click.option("--word", "-w", multiple=True)
def deep(target, flag, word):
    pass

@project_commands.command(name="real-name", context_settings={"ignore_unknown_options": True})
@click.argument("rest", nargs=-1)
def real(rest):
    pass

project_commands.add_command(real, "alias")

@click.group(name="witness")
def global_commands():
    pass

@global_commands.command()
@click.option("--starter", "-s")
def begin(starter):
    pass

class Hooks:
    @cli_hook_impl(trylast=True)
    def after_command_run(self):
        from kedro_telemetry.plugin import telemetry_hook
        with open(os.environ["WITNESS"], "w") as file:
            json.dump(telemetry_hook._event_properties, file)

hooks = Hooks()
'''
ENTRY_POINTS = """
[kedro.project_commands]
witness = witness:project_commands
[kedro.global_commands]
witness = witness:global_commands
[kedro.cli_hooks]
witness = witness:hooks
"""
OWN_CLI = """
import click

@click.group(name=__file__)
def cli():
    pass

@cli.command(name="our-secret-command")
@click.option("--our-secret-option")
@click.argument("values", nargs=-1)
def our_secret_command(our_secret_option, values):
    pass

@cli.group(name="our-group")
def our_group():
    pass

@our_group.command(name="our-leaf")
def our_leaf():
    pass
"""

M = names.MASK
LINES = {
    # run options: long
    "run --pipeline quiet": f"run --pipeline {M}",
    "run --env local": f"run --env {M}",
    "run --params name:secret": f"run --params {M}",
    "run --from-nodes nobody": f"run --from-nodes {M}",
    "run --tags secret --namespaces secret": f"run --tags {M} --namespaces {M}",
    "run --conf-source s3://bucket/secret --help": f"run --conf-source {M} --help",
    # short
    "run -p nobody": f"run -p {M}",
    "run -e nowhere": f"run -e {M}",
    "run -t secret": f"run -t {M}",
    "run -r SecretRunner": f"run -r {M}",
    "run -n secret,node": f"run -n {M}",
    "run -h": f"run {M}",
    # equals sign
    "run --pipeline=ds --env=test": f"run --pipeline {M} --env {M}",
    "run -p=nobody": f"run -p {M}",
    "run --params=a=b=c": f"run --params {M}",
    "run --unknown=secret": f"run {M}",
    "run --env= --help": f"run --env {M} --help",
    "run =secret": f"run {M}",
    # glued to the value
    "run -enowhere": f"run {M}",
    "run -pnobody": f"run {M}",
    "run -tsecret -nsecret": f"run {M} {M}",
    "run -rSecretRunner": f"run {M}",
    "run --pipelinesecret": f"run {M}",
    # repeated
    "run --tags a --tags b": f"run --tags {M} --tags {M}",
    "run -t a -t b -t c": f"run -t {M} -t {M} -t {M}",
    "run --env a --env b": f"run --env {M} --env {M}",
    "run run run": f"run {M} {M}",
    "run --help --help": "run --help --help",
    # nested groups of Kedro
    "registry list": "registry list",
    "registry describe secret": f"registry describe {M}",
    "catalog list-patterns": "catalog list-patterns",
    "catalog describe-datasets --pipeline secret": f"catalog describe-datasets --pipeline {M}",
    "pipeline create secret --help": f"pipeline create {M} --help",
    "registry --help list": f"registry --help {M}",
    "jupyter": "jupyter",
    # a plugin's commands
    "outer inner deep --word secret -w secret": f"outer inner deep --word {M} -w {M}",
    "outer inner --level 3 deep": f"outer inner --level {M} {M}",
    "outer inner deep --flag": "outer inner deep --flag",
    "outer inner deep --no-flag": f"outer inner deep {M}",
    "begin -s spaceflights-pandas": "begin -s spaceflights-pandas",
    "begin --starter=astro-airflow-iris": "begin --starter astro-airflow-iris",
    "begin --starter secret": f"begin --starter {M}",
    "real-name secret --secret": f"real-name {M} {M}",
    "alias secret": f"{M} {M}",
    # unknown commands
    "secret": M,
    "secret secret --secret": M,
    "registry secret": f"registry {M}",
    "Run": M,
    "outer secret deep": f"outer {M} {M}",
    "-V": M,
    # unknown options
    "run --secret": f"run {M}",
    "run --secret secret": f"run {M} {M}",
    "run -Z": f"run {M}",
    "--secret": M,
    "registry list --secret": f"registry list {M}",
    "run -- secret": f"run {M} {M}",
    # values that equal a command's, an option's or an argument's name
    "run --pipeline run": f"run --pipeline {M}",
    "run --env registry list": f"run --env {M} {M}",
    "run --tags --env": "run --tags --env",
    "registry describe list": f"registry describe {M}",
    "outer inner deep --word deep": f"outer inner deep --word {M}",
    # unicode, quotes, newlines
    "run --env 'Ümläut ß'": f"run --env {M}",
    "run --pipeline 日本語": f"run --pipeline {M}",
    "run --params 'a: \"b\"'": f"run --params {M}",
    "run --params 'a\nb'": f"run --params {M}",
    "'run\n--env' secret": M,
    "run '--env\n'": f"run {M}",
    "run --tags '*****'": f"run --tags {M}",
    # the project's own commands
    "our-secret-command --our-secret-option secret": f"our-secret-command --our-secret-option {M}",
    "our-secret-command secret": f"our-secret-command {M}",
    "our-group our-leaf": "our-group our-leaf",
    "our-group secret": f"our-group {M}",
    "our-secret-command --help": "our-secret-command --help",
    # the top
    "": "",
    "--version": "--version",
    "--help": "--help",
    "-h": "-h",
    "info": "info",
}
"""A command line → its words after masking, as kedro-telemetry has them too."""

OUTSIDE = {
    "info": "info",
    "run --env secret": M,
    "registry list": M,
    "starter list": "starter list",
    "begin --starter secret": f"begin --starter {M}",
    "new --name 'New Project' --tools lint,test --example no": f"new --name {M} --tools {M} --example {M}",
    "new -n New": f"new -n {M}",
    "new --name=New --tools=secret": f"new --name {M} --tools {M}",
    "new --starter spaceflights-pandas --checkout secret --secret": f"new --starter spaceflights-pandas --checkout {M} {M}",
    "new -s secret --directory=secret --secret": f"new -s {M} --directory {M} {M}",
    "new --config secret.yml": f"new --config {M}",
}
"""The same outside a project."""

LEAKS = {
    "--help secret": f"--help {M}",
    "--version secret secret": f"--version {M} {M}",
    "-h run --env secret": f"-h {M} {M} {M}",
    "-v secret": f"-v {M}",
    "'' secret": f" {M}",
    "outer inner deep target": f"outer inner deep {M}",
}
"""Lines of which kedro-telemetry sends a word that the user typed, or fails, and what is recorded here."""


@pytest.fixture
def peer(tmp_path: Path, environment: dict[str, str], kedro_telemetry: dict[str, str]) -> Path:
    """Put kedro-telemetry and the witness of what it makes into the environment; return the file that the witness writes."""
    folder = tmp_path / "plugins"
    (folder / "witness-1.0.dist-info").mkdir(parents=True)
    (folder / "witness.py").write_text(WITNESS)
    (folder / "witness-1.0.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: witness\nVersion: 1.0\n"
    )
    (folder / "witness-1.0.dist-info/entry_points.txt").write_text(ENTRY_POINTS)
    environment.update(
        kedro_telemetry,
        PYTHONPATH=f"{folder}:{kedro_telemetry['PYTHONPATH']}",
        WITNESS=str(tmp_path / "witnessed.json"),
    )
    return tmp_path / "witnessed.json"


def recorded(done: Result | None = None) -> tuple[Segment, Operation]:
    """Return the last segment, and the command in it; ``done`` is what the command said, for the case that there is none."""
    found = reader.segments()
    assert found, f"nothing is recorded: {done}"
    segment = reader.read(found[-1])
    return segment, next(one for one in segment.operations if one.operation == names.COMMAND)


def said(segment: Segment, command: Operation) -> dict[str, Any]:
    """Return what is recorded, under kedro-telemetry's names."""
    here = segment.header.resource
    facts = {
        "username": here.get(names.INSTALLATION_ID),
        "project_id": here.get(names.PROJECT_ID),
        "project_version": here[names.KEDRO_VERSION],
        "python_version": here[names.RUNTIME_DESCRIPTION],
        "os": here[names.KEDRO_PLATFORM],
        "is_ci_env": here[names.CI],
        "command": command.attributes[names.COMMAND_LINE],
        "tools": ", ".join(here[names.PROJECT_TOOLS]) if names.PROJECT_TOOLS in here else None,  # type: ignore[arg-type]
        "example_pipeline": here.get(names.EXAMPLE_PIPELINE),
    }
    return {key: value for key, value in facts.items() if value is not None}


COMPARED = (
    "username",
    "project_id",
    "project_version",
    "python_version",
    "os",
    "is_ci_env",
    "tools",
    "example_pipeline",
)


def check(line: str, masked: str, peer: Path, done: Result) -> None:
    """Compare what is recorded of ``line`` with what kedro-telemetry made of it, and with the table."""
    segment, found = recorded(done)
    ours, theirs = (
        said(segment, found),
        {key: value for key, value in json.loads(peer.read_text()).items() if value is not None},
    )
    expected = f"kedro {masked}" if line else "kedro"
    assert ours["command"] == expected
    assert found.attributes[names.COMMAND_ARGS] == (
        ["kedro", *masked.split(" ")] if line else ["kedro"]
    )
    assert theirs["command"] == expected
    assert {key: ours.get(key) for key in COMPARED} == {key: theirs.get(key) for key in COMPARED}
    kept = segment.path.read_text()
    assert not [
        word
        for word in ("secret", "nobody", "nowhere", "Secret", "Ümläut", "日本語")
        if word in kept and word not in masked
    ]


@pytest.mark.parametrize("line", LINES)
def test_a_command_line_in_a_project(
    line: str, peer: Path, project: Callable[..., Path], kedro: Callable[..., Result]
) -> None:
    """Inside a project the masked words, the ids and all other facts are kedro-telemetry's."""
    path = project(
        files={"src/minimal/cli.py": OWN_CLI},
        pyproject="tools = \"['Linting', 'Testing']\"\nexample_pipeline = \"False\"\n",
    )
    check(line, LINES[line], peer, kedro(*shlex.split(line), cwd=path, code=None))


@pytest.mark.parametrize("line", OUTSIDE)
def test_a_command_line_outside_a_project(
    line: str, peer: Path, kedro: Callable[..., Result]
) -> None:
    """Outside a project the same, and there is no project id."""
    check(line, OUTSIDE[line], peer, kedro(*shlex.split(line), code=None))
    assert names.PROJECT_ID not in recorded()[0].header.resource


@pytest.mark.parametrize("line", LEAKS)
def test_what_kedro_telemetry_lets_through_is_masked(
    line: str, peer: Path, project: Callable[..., Path], kedro: Callable[..., Result]
) -> None:
    """Where kedro-telemetry would send a word that the user typed, it is masked here."""
    path = project()
    done = kedro(*shlex.split(line), cwd=path, code=None)
    segment, found = recorded()
    assert found.attributes[names.COMMAND_LINE] == f"kedro {LEAKS[line]}", done
    assert "secret" not in segment.path.read_text()
    assert not peer.exists() or json.loads(peer.read_text())["command"] != f"kedro {LEAKS[line]}"


@pytest.mark.parametrize(
    "variable", ["CI=true", "GITLAB_CI=1", "BUILDKITE=x", "JENKINS_URL=", "TRAVIS=false"]
)
def test_ci_is_what_kedro_telemetry_takes_for_it(
    variable: str, peer: Path, kedro: Callable[..., Result]
) -> None:
    """The CI flag follows the same variables and values."""
    name, _sign, value = variable.partition("=")
    check("info", "info", peer, kedro("info", env={name: value}))


CATALOG = """
plain:
  type: json.JSONDataset
  filepath: data/plain.json
memory:
  type: MemoryDataset
own:
  type: minimal.own.OwnDataset
"{name}_made":
  type: json.JSONDataset
  filepath: data/{name}.json
"{default}":
  type: MemoryDataset
told:
  type: json.JSONDataset
  filepath: data/told.json
"""
OWN_DATASET = """
from kedro.io import AbstractDataset

class OwnDataset(AbstractDataset):
    def load(self):
        raise RuntimeError("must not be loaded")
    def save(self, data):
        raise RuntimeError("must not be saved")
    def _describe(self):
        return {}
"""


def test_the_sizes_of_a_project(
    peer: Path, project: Callable[..., Path], kedro: Callable[..., Result]
) -> None:
    """Datasets by public type, nodes and pipelines are counted as kedro-telemetry counts them, on the session's own catalog."""
    path = project(catalog=CATALOG, files={"src/minimal/own.py": OWN_DATASET})
    kedro("run", cwd=path)
    segment, _command = recorded()
    run = next(one for one in segment.operations if one.operation == names.RUN)
    theirs = json.loads(peer.read_text())
    assert run.attributes[names.DATASET_COUNT] == theirs["number_of_datasets"]
    assert run.attributes[names.NODE_COUNT] == theirs["number_of_nodes"] == 3
    assert run.attributes[names.PIPELINE_COUNT] == theirs["number_of_pipelines"] == 2
    ours = dict(word.rsplit("=", 1) for word in run.attributes[names.DATASET_TYPE_COUNT])  # type: ignore[union-attr]
    prefix = "dataset_type_count."
    assert {key: int(count) for key, count in ours.items()} == {
        key[len(prefix) :]: count for key, count in theirs.items() if key.startswith(prefix)
    }
    assert ours[names.CUSTOM] == "1"


def test_a_new_project_says_its_tools_on_its_next_command(
    peer: Path, tmp_path: Path, kedro: Callable[..., Result]
) -> None:
    """`kedro new` is a masked command outside a project; what was chosen there is on the next command in the project."""
    kedro("new", "--name", "Newly Made", "--tools=lint,log", "--example=no")
    assert names.PROJECT_ID not in recorded()[0].header.resource
    check(
        "registry list",
        "registry list",
        peer,
        kedro("registry", "list", cwd=tmp_path / "newly-made", code=None),
    )
    here = recorded()[0].header.resource
    assert here[names.PROJECT_TOOLS] == ["Linting", "Custom Logging"]
    assert here[names.EXAMPLE_PIPELINE] == "False"
    assert len(str(here[names.PROJECT_ID])) == 128


def test_many_random_lines_are_masked_alike(
    peer: Path, project: Callable[..., Path], run: Callable[..., Result]
) -> None:
    """Thousands of random lines give the same words, but for those that kedro-telemetry lets through or fails on."""
    path = project(files={"src/minimal/cli.py": OWN_CLI})
    code = dedent(RANDOM_LINES)
    assert run("python", "-c", code, cwd=path).out.splitlines()[-1] == "equal"


RANDOM_LINES = """
import random
from pathlib import Path
from kedro.framework.cli.cli import KedroCLI
from kedro_telemetry.masking import _mask_kedro_cli
from kedro_otel.facts.masking import MASK, mask

cli = KedroCLI(Path.cwd())
words = '''run registry list describe pipeline create delete catalog describe-datasets new starter info jupyter lab setup ipython package outer inner
deep begin real-name alias our-secret-command our-group our-leaf --pipeline --env -e -p --params --help -h -v -V --version --verbose --starter -s
--starter=spaceflights-pandas -s=astro-airflow-iris spaceflights-pandas --env=x -e=x -etest --unknown --unknown=1 -- - x = --= --starter=x --level
--level=1 -l --flag --no-flag --word=deep -w --our-secret-option --our-secret-option=x *****'''.split()
random.seed(20)
for _ in range(4000):
    args = [random.choice(words) for _ in range(random.randint(1, 6))]
    if args[0] in ("--help", "--version", "-h", "-v"):
        continue
    ours, theirs = list(mask(cli, args).words), _mask_kedro_cli(cli, list(args))
    assert ours == theirs, (args, ours, theirs)
print("equal")
"""
