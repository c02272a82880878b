"""docs/registry/: the names in weaver's form, and those that are OpenTelemetry's."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any, Final

import opentelemetry.semconv._incubating.attributes as developing
import opentelemetry.semconv.attributes as stable
import yaml

from kedro_otel.semconv import names
from kedro_otel.semconv.fields import FIELDS
from kedro_otel.semconv.measurements import INSTRUMENTS

REGISTRY: Final = Path(__file__).parents[2] / "docs" / "registry"
TYPES: Final = {
    f"{one}{many}" for one in ("string", "int", "double", "boolean") for many in ("", "[]")
}
NEEDED: Final[dict[str, dict[str, set[str]]]] = {
    "attribute_group": {},
    "span": {"span_kind": {"client", "server", "producer", "consumer", "internal"}},
    "metric": {"instrument": {"counter", "gauge", "histogram", "updowncounter"}},
}
"""Types of group that we use → what each must say besides, and what it may say."""


def read(name: str) -> Any:
    """Return a file of the registry."""
    return yaml.safe_load((REGISTRY / name).read_text(encoding="utf-8"))


def opentelemetrys() -> set[str]:
    """Return every attribute of the semantic conventions that are installed with the SDK."""
    modules = [
        importlib.import_module(f"{package.__name__}.{found.name}")
        for package in (stable, developing)
        for found in pkgutil.iter_modules(package.__path__)
    ]
    return {
        value
        for module in modules
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str)
    }


def test_names_are_ours_or_opentelemetrys() -> None:
    """A key is in our own namespace, or one that the semantic conventions know."""
    keys = {field.key for field in FIELDS}
    assert {key for key in keys if not key.startswith("kedro.")} <= opentelemetrys()
    assert read("manifest.yaml")["dependencies"][0]["schema_url"] == names.SCHEMA_URL


def test_registry_is_in_weavers_form() -> None:
    """Each group and attribute says what weaver's syntax asks of it, and refers only to what is defined."""
    groups = read("kedro.yaml")["groups"]
    ids = [group["id"] for group in groups]
    assert len(set(ids)) == len(ids)
    own = {}
    for group in groups:
        assert group["brief"]
        for key, allowed in NEEDED[group["type"]].items():
            assert group[key] in allowed
        if group["type"] != "attribute_group":
            assert group["stability"] == "development"
        if group["type"] == "metric":
            assert group["metric_name"]
            assert group["unit"]
        for attribute in group["attributes"]:
            if "id" in attribute:
                assert attribute["id"] not in own
                assert attribute["type"] in TYPES
                assert attribute["brief"]
                assert attribute["stability"] == "development"
                assert attribute["type"] == "boolean" or attribute["examples"]
                own[attribute["id"]] = attribute
    references = {
        attribute["ref"]
        for group in groups
        for attribute in group["attributes"]
        if "ref" in attribute
    }
    assert references - own.keys() <= opentelemetrys()
    assert {one.name for one in INSTRUMENTS} == {
        group["metric_name"] for group in groups if group["type"] == "metric"
    }
