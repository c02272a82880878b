"""The names as a registry of semantic conventions, in the form that OpenTelemetry's weaver reads.

``scripts/reference.py`` writes docs/registry/ from :data:`~kedro_otel.semconv.fields.FIELDS` and
:data:`~kedro_otel.semconv.measurements.INSTRUMENTS`. Source: schemas/semconv-syntax.md and schemas/definition-manifest.v2.json in
open-telemetry/weaver.
"""

from __future__ import annotations

import json
from typing import Any

import yaml

from kedro_otel import __version__
from kedro_otel.semconv import names
from kedro_otel.semconv.fields import FIELDS, Field
from kedro_otel.semconv.measurements import INSTRUMENTS, Instrument

OURS = "kedro."
SPANS = {
    names.COMMAND: "A command of Kedro's, named as its known words.",
    names.RUN: "A pipeline run, named `run {kedro.pipeline.name}`.",
    names.NODE: "A node of a pipeline run, named `node {kedro.node.name}`.",
    names.DATASET: "A load or save of a dataset, named `load {kedro.dataset.name}`, or `save`.",
}
HEAD = "# Written by scripts/reference.py from src/kedro_otel/semconv/. Do not edit.\n"


def manifest() -> str:
    """Return the registry's manifest: its own address, and the conventions that it refers to."""
    version = names.SCHEMA_URL.rpartition("/")[2]
    return _yaml(
        {
            "description": "What kedro-otel records of Kedro's commands, runs, nodes and datasets.",
            "schema_url": f"https://github.com/kedro-otel/kedro-otel/schemas/{__version__}",
            "stability": "development",
            "dependencies": [
                {
                    "schema_url": names.SCHEMA_URL,
                    "registry_path": "https://github.com/open-telemetry/semantic-conventions/archive/"
                    f"refs/tags/v{version}.zip[model]",
                }
            ],
        }
    )


def registry() -> str:
    """Return every attribute of our own, and what is on the resource, each span and each instrument."""
    own = {field.key: _attribute(field) for field in FIELDS if field.key.startswith(OURS)}
    own[names.NODE_PHASE] = {
        "id": names.NODE_PHASE,
        "type": "string",
        "stability": "development",
        "brief": "A part of a node's time.",
        "examples": ["load", "compute", "save", "hooks"],
    }
    groups: list[dict[str, Any]] = [
        {
            "id": "registry.kedro",
            "type": "attribute_group",
            "display_name": "Kedro Attributes",
            "brief": "Attributes of Kedro's commands, runs, nodes and datasets.",
            "attributes": list(own.values()),
        },
        {
            "id": "kedro.resource",
            "type": "attribute_group",
            "display_name": "Kedro Resource",
            "brief": "Who and where, on everything.",
            "attributes": _references("resource"),
        },
    ]
    groups += [
        {
            "id": f"span.kedro.{kind}",
            "type": "span",
            "span_kind": "internal",
            "stability": "development",
            "brief": brief,
            "attributes": _references(kind),
        }
        for kind, brief in SPANS.items()
    ]
    groups += [_metric(one) for one in INSTRUMENTS]
    return _yaml({"groups": groups})


def _attribute(field: Field) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": field.key,
        "type": field.type,
        "stability": "development",
        "brief": field.meaning,
        "annotations": {"kedro_otel": {"leaves_at": field.detail, "source": field.source}},
    }
    if field.unit:
        found["annotations"]["kedro_otel"]["unit"] = field.unit
    if field.type != "boolean":
        read = str if field.type == "string" else json.loads
        found["examples"] = [read(field.example)]
    return found


def _references(kind: str) -> list[dict[str, str]]:
    return [_reference(field.key, field.detail) for field in FIELDS if kind in field.on]


def _reference(key: str, detail: str) -> dict[str, str]:
    """Return a reference: what leaves only at a wider detail level than the first is opted in to."""
    return {"ref": key, "requirement_level": "recommended" if detail == names.USAGE else "opt_in"}


def _metric(one: Instrument) -> dict[str, Any]:
    return {
        "id": f"metric.{one.name}",
        "type": "metric",
        "metric_name": one.name,
        "instrument": one.kind,
        "unit": one.unit,
        "stability": "development",
        "brief": one.description,
        "attributes": [_reference(key, detail) for key, detail in one.attributes],
    }


def _yaml(what: dict[str, Any]) -> str:
    return HEAD + yaml.safe_dump(what, sort_keys=False, allow_unicode=True, width=120)


FILES = {
    "docs/registry/manifest.yaml": manifest,
    "docs/registry/kedro.yaml": registry,
}
