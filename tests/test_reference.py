"""The documentation says what the code does."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from conftest import Result

from kedro_otel import names
from kedro_otel.recording import reader
from kedro_otel.settings import SETTINGS

ROOT = Path(__file__).parents[1]


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
        assert reference.written(text) == text, f"{name} is not current. Type: python scripts/reference.py"
    assert all(f"begin {part}:" in "".join((ROOT / name).read_text(encoding="utf-8") for name in reference.PAGES) for part in reference.PARTS)


def test_every_field_and_setting_is_told() -> None:
    """Each key is in the documentation with a meaning, an example, a source and a level; each setting with a sentence."""
    text = (ROOT / "docs/telemetry.md").read_text(encoding="utf-8")
    for field in names.FIELDS:
        assert f"| `{field.key}` |" in text
        assert all((field.meaning, field.example, field.source)), field
        assert field.detail in names.DETAILS
    assert all(setting.sentence.endswith(".") for setting in SETTINGS)


def test_no_key_is_both_a_leaf_and_a_prefix() -> None:
    """A backend that makes trees of keys can hold them all."""
    keys = {field.key for field in names.FIELDS}
    assert not [(key, other) for key in keys for other in keys if other.startswith(f"{key}.")]
    assert len(keys) == len({(field.key, field.on) for field in names.FIELDS})


def test_every_recorded_key_is_in_the_table(project: Callable[..., Path], kedro: Callable[..., Result]) -> None:
    """A run that works and one that fails record no key that has no row for that kind of operation."""
    path = project(pyproject='tools = "[\'Linting\']"\nexample_pipeline = "False"\n')
    kedro("run", "--params", "fail=true", cwd=path, code=1, env={"KEDRO_OTEL_DETAIL": "full"})
    kedro("run", cwd=path)
    rows = {(kind, field.key) for field in names.FIELDS for kind in field.on}
    for found in map(reader.read, reader.segments()):
        assert {("resource", key) for key in found.header.resource} <= rows
        for operation in found.operations:
            assert {(operation.operation, key) for key in operation.attributes} <= rows
            assert {("event", attribute["key"]) for event in operation.events for attribute in event.get("attributes", [])} <= rows
