"""What recordings say, read line by line by code that shares nothing with the package: the numbers that a dashboard must show.

A start without an end is an operation whose process died, which holds here because nothing runs any more when the files are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

DIED = "kedro_otel.process_died"


class Recorded(NamedTuple):
    """One command, run, node or dataset operation, with what its process said of itself."""

    kind: str
    name: str
    trace: str
    span: str
    start: int
    end: int
    attributes: dict[str, Any]
    failed: bool
    resource: dict[str, Any]

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.end - self.start) / 1e9

    @property
    def error(self) -> str:
        """The type of its error, empty if it had none."""
        return str(self.attributes.get("error.type", "_OTHER")) if self.failed else ""

    @property
    def project(self) -> tuple[str, str]:
        """Its project's id and name, empty outside a project."""
        return self.resource.get("kedro.project.id", ""), self.resource.get(
            "kedro.project.name", ""
        )


def read(*homes: Path) -> list[Recorded]:
    """Every operation in the recordings of these homes that is to be sent somewhere."""
    return [
        operation
        for home in homes
        for file in sorted((home / "recordings").glob("*.jsonl"))
        for operation in _segment(file)
    ]


def _segment(file: Path) -> Iterator[Recorded]:
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    header = lines.pop(0)
    if header["destination"] is None:
        return
    resource = _values(header["resource"]["attributes"])
    begun: dict[str, dict[str, Any]] = {}
    for line in lines:
        if "start" in line:
            begun[line["spanId"]] = line
        elif "drop" in line:
            del begun[line["drop"]]
        elif "end" in line:
            start = begun.pop(line["spanId"])
            yield _recorded(
                line["end"],
                {**start, **line, "attributes": start["attributes"] + line["attributes"]},
                resource,
            )
        elif line.get("span") == "dataset":
            begun.pop(line["spanId"], None)  # it had a line of its own while it was under way
            yield _recorded("dataset", line, resource)
    died = max(
        int(line[key])
        for line in lines
        for key in ("startTimeUnixNano", "endTimeUnixNano")
        if key in line
    )
    for start in begun.values():
        yield _recorded(
            start["start"], {**start, "endTimeUnixNano": died, "status": {"code": 2}}, resource
        )._replace(attributes={**_values(start["attributes"]), "error.type": DIED})


def _recorded(kind: str, line: dict[str, Any], resource: dict[str, Any]) -> Recorded:
    times = int(line["startTimeUnixNano"]), int(line["endTimeUnixNano"])
    failed = line["status"].get("code") == 2
    return Recorded(
        kind,
        line["name"],
        line["traceId"],
        line["spanId"],
        *times,
        _values(line["attributes"]),
        failed,
        resource,
    )


def _values(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    return {one["key"]: _value(one["value"]) for one in attributes}


def _value(value: dict[str, Any]) -> Any:
    ((kind, inside),) = value.items()
    if kind == "arrayValue":
        return [_value(item) for item in inside["values"]]
    return int(inside) if kind == "intValue" else inside
