"""The shipped dashboards asked as Grafana asks: each panel's queries with their variables filled in, on the real Prometheus and Jaeger."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from servers import ROOT, Jaeger, Prometheus

BOARDS = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "stack/grafana/dashboards").glob("*.json"))
}
DAY = 86_400
Row = tuple[str, ...]


class Panel(NamedTuple):
    """One panel: its dashboard, its title, and all that Grafana knows of it."""

    board: str
    title: str
    json: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.board}: {self.title}"


def panels() -> Iterator[Panel]:
    """Every panel of both dashboards that shows data."""
    for board, dashboard in BOARDS.items():
        for panel in dashboard["panels"]:
            if panel["type"] != "row":
                yield Panel(board, panel["title"], panel)


def variables(board: str) -> dict[str, str]:
    """What a dashboard's variables hold when it is opened: everything, or what is typed in."""
    found = {}
    for variable in BOARDS[board]["templating"]["list"]:
        value = variable["current"]["value"]
        found[variable["name"]] = variable["allValue"] if value == "$__all" else value
    return found


def filled(text: str, values: Mapping[str, str]) -> str:
    """A query with ``$name`` and ``${name}`` replaced; one that is left over is a variable that nobody declared."""
    result = re.sub(r"\$\{?(\w+)\}?", lambda found: values.get(found[1], found[0]), text)
    assert not re.search(r"\$\{?[a-z_]{2,}", result), result
    return result


def ask(panel: Panel, prometheus: Prometheus, at: float, **chosen: str) -> list[dict[Row, float]]:
    """The answer to each of the panel's questions at that time: what a reader sees as the name of each number, and the number.

    A bar's name is its legend; a table's row is named by its columns; a number alone has no name. Yesterday's and today's bars are added up:
    a test may run at midnight. Of a line it is the last point.
    """
    values = {"__range": "3600s", **variables(panel.board), **chosen}
    return [_rows(panel, target, prometheus, at, values) for target in panel.json["targets"]]


def _rows(
    panel: Panel,
    target: dict[str, Any],
    prometheus: Prometheus,
    at: float,
    values: Mapping[str, str],
) -> dict[Row, float]:
    expression = filled(target["expr"], values)
    if target.get("range"):
        bars = panel.json["fieldConfig"]["defaults"]["custom"]["drawStyle"] == "bars"
        midnight = (
            at // DAY * DAY
        )  # Grafana puts the steps of a range where they divide it: bars of days begin at midnight
        when = (
            {"start": midnight - DAY, "end": midnight, "step": DAY}
            if bars
            else {"start": at - 600, "end": at, "step": 60}
        )
        answer = prometheus.get("query_range", query=expression, **when)
        numbers = [
            (row["metric"], [float(value) for _, value in row["values"]])
            for row in answer["result"]
        ]
        series = [(labels, sum(found) if bars else found[-1]) for labels, found in numbers]
    else:
        series = [
            (row["metric"], float(row["value"][1])) for row in prometheus.query(expression, at=at)
        ]
    named = {_name(panel, target, labels): number for labels, number in series}
    assert len(named) == len(series), "two rows look alike"
    return named


def _name(panel: Panel, target: dict[str, Any], labels: Mapping[str, str]) -> Row:
    if panel.json["type"] == "table":
        (organized,) = [
            one["options"] for one in panel.json["transformations"] if one["id"] == "organize"
        ]
        shown = sorted(organized["includeByName"], key=organized["indexByName"].__getitem__)
        assert set(labels) - {"kedro_project_id"} <= set(shown), "a label that no column shows"
        columns = dict.fromkeys(
            (*shown, "kedro_project_id")
        )  # the id last where it is not shown: it tells namesakes apart
        return tuple(labels.get(column, "") for column in columns if not column.startswith("Value"))
    legend = target.get("legendFormat", "")
    return (
        (re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), legend),)
        if legend
        else ()
    )


def search(panel: Panel, jaeger: Jaeger, **chosen: str) -> set[str]:
    """The ids of the traces that a panel's search finds, asked of Jaeger's API as Grafana's data source asks it."""
    (target,) = panel.json["targets"]
    values = {**variables(panel.board), **chosen}
    asked = {
        key: filled(str(target[key]), values)
        for key in ("service", "operation", "minDuration")
        if key in target
    }
    if "tags" in target:
        asked["tags"] = json.dumps(dict(pair.split("=", 1) for pair in target["tags"].split()))
    return {trace["traceID"] for trace in jaeger.traces(limit=target["limit"], **asked)}


def choices(
    board: str, name: str, prometheus: Prometheus, at: float, **chosen: str
) -> dict[str, str]:
    """What can be chosen for a variable, by what is shown: the answer to its query, through its regular expression."""
    (variable,) = [one for one in BOARDS[board]["templating"]["list"] if one["name"] == name]
    query = re.fullmatch(r"query_result\((.*)\)", variable["query"]["query"])
    assert query
    regex = re.compile(variable["regex"].strip("/").replace("(?<", "(?P<"))
    found = {}
    for row in prometheus.query(filled(query[1], {**variables(board), **chosen}), at=at):
        text = (
            "{"
            + ",".join(f'{key}="{value}"' for key, value in row["metric"].items())
            + "} "
            + row["value"][1]
        )
        if match := regex.search(text):
            groups = match.groupdict() or {"text": match[1], "value": match[1]}
            found[groups["text"]] = groups["value"]
    return found
