"""The documentation says what the code does."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import Result

from kedro_otel.config.settings import SETTINGS
from kedro_otel.recording import reader
from kedro_otel.semconv import names
from kedro_otel.semconv.fields import FIELDS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def reference() -> ModuleType:
    """Return the script that writes the tables."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_current(reference: ModuleType) -> None:
    """docs/telemetry.md and docs/settings.md are what scripts/reference.py would write now."""
    for name in reference.PAGES:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert reference.written(text) == text, (
            f"{name} is not current. Type: python scripts/reference.py"
        )
    assert all(
        f"begin {part}:"
        in "".join((ROOT / name).read_text(encoding="utf-8") for name in reference.PAGES)
        for part in reference.PARTS
    )


def test_every_field_and_setting_is_told() -> None:
    """Each key is in the documentation with a meaning, an example, a source and a level; each setting with a sentence."""
    text = (ROOT / "docs/telemetry.md").read_text(encoding="utf-8")
    for field in FIELDS:
        assert f"| `{field.key}` |" in text
        assert all((field.meaning, field.example, field.source)), field
        assert field.detail in names.DETAILS
    assert all(setting.sentence.endswith(".") for setting in SETTINGS)


RARE = {
    names.SERVICE_INSTANCE_ID,
    names.SDK_NAME,
    names.SDK_LANGUAGE,
    names.SDK_VERSION,
    names.DATASET_LAZY,
    names.OUTCOME,
    names.VALIDATED_COUNT,
    names.VALIDATOR_TYPE_COUNT,
    names.DATASET_COLUMNS,
    names.DATASET_SCHEMA,
    names.NODE_READ,
    names.NODE_WRITE,
    names.NODE_PEAK,
    names.NODE_PEAK_METHOD,
    names.NODE_GROWTH,
    names.RUN_PEAK,
    names.MLFLOW_RUN_ID,
}
"""Keys that are added when sent, or that need validators, lazy data, tables, storage, MLflow, nodes that last, or an unknown end."""


CATALOG = """
greeting:
  type: json.JSONDataset
  filepath: data/greeting.json
told:
  type: json.JSONDataset
  filepath: data/told.json
"""


def test_every_documented_key_is_exported(
    project: Callable[..., Path], kedro: Callable[..., Result]
) -> None:
    """`kedro otel export` shows each field under its documented name, on what the documentation says that it is on."""
    registry = """
    from kedro.pipeline import node, pipeline
    from .nodes import greet, shout, tell

    def register_pipelines():
        return {"__default__": pipeline([
            node(greet, "params:name", "greeting", name="greet", tags="loud"),
            node(shout, "greeting", "shouted", name="shout", namespace="space"),
            node(tell, ["shouted", "params:fail"], "told", name="tell"),
        ])}
    """
    repository = {".git/HEAD": "ref: refs/heads/main\n", ".git/refs/heads/main": f"{'1234' * 10}\n"}
    path = project(
        registry=registry,
        catalog=CATALOG,
        files=repository,
        pyproject='tools = "[\'Linting\']"\nexample_pipeline = "False"\n',
    )
    more = {
        "KEDRO_OTEL_DETAIL": "full",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        "KEDRO_OTEL_RUN_KEY": "from:airflow",
        "AIRFLOW_CTX_DAG_ID": "daily",
        "AIRFLOW_CTX_DAG_RUN_ID": "manual__1",
        "AIRFLOW_CTX_TASK_ID": "all",
        "AIRFLOW_CTX_TRY_NUMBER": "1",
        "AIRFLOW__API__BASE_URL": "http://airflow.example",
    }
    ci = {"GITLAB_CI": "true", "CI_JOB_URL": "https://gitlab.example/job/17"}
    found: set[tuple[str, str]] = set()
    for words, where in (
        (("--from-nodes", "space.shout"), more),
        (("--params", "fail=false"), more),
        (("--params", "fail=true"), more | ci),
    ):
        kedro("run", "--env", "local", *words, cwd=path, code=None, env=where)
        for line in kedro("otel", "export", cwd=path).out.splitlines():
            if line.startswith("{"):
                found.update(keys(json.loads(line)))
    documented = {(kind, field.key) for field in FIELDS for kind in field.on}
    assert found <= documented
    assert {(kind, key) for kind, key in documented - found if key not in RARE} == set()


def keys(message: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield every key of an OTLP/JSON message with what it is on."""
    for of_resource in message["resourceSpans"]:
        yield from (("resource", one["key"]) for one in of_resource["resource"]["attributes"])
        for span in (span for scope in of_resource["scopeSpans"] for span in scope["spans"]):
            kind = {"kedro": names.COMMAND, "run": names.RUN, "node": names.NODE}.get(
                span["name"].split(" ")[0], names.DATASET
            )
            yield from ((kind, one["key"]) for one in span["attributes"])
            yield from (
                ("event", one["key"])
                for event in span.get("events", [])
                for one in event["attributes"]
            )


def test_no_key_is_both_a_leaf_and_a_prefix() -> None:
    """A backend that makes trees of keys can hold them all."""
    keys = {field.key for field in FIELDS}
    assert not [(key, other) for key in keys for other in keys if other.startswith(f"{key}.")]
    assert len(keys) == len({(field.key, field.on) for field in FIELDS})


def test_every_recorded_key_is_in_the_table(
    project: Callable[..., Path], kedro: Callable[..., Result]
) -> None:
    """A run that works and one that fails record no key that has no row for that kind of operation."""
    path = project(pyproject='tools = "[\'Linting\']"\nexample_pipeline = "False"\n')
    kedro("run", "--params", "fail=true", cwd=path, code=1, env={"KEDRO_OTEL_DETAIL": "full"})
    kedro("run", cwd=path)
    rows = {(kind, field.key) for field in FIELDS for kind in field.on}
    for found in map(reader.read, reader.segments()):
        assert {("resource", key) for key in found.header.resource} <= rows
        for operation in found.operations:
            assert {(operation.operation, key) for key in operation.attributes} <= rows
            assert {
                ("event", attribute["key"])
                for event in operation.events
                for attribute in event.get("attributes", [])
            } <= rows
