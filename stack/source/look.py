"""How panels look and where they lead: one constructor for each kind of panel, the same everywhere."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

PROMETHEUS = model.DataSourceRef(type_val="prometheus", uid="prometheus")
JAEGER = model.DataSourceRef(type_val="jaeger", uid="jaeger")
DAY = "1d"
COUNT, SECONDS, SHARE, BYTES = "short", "s", "percentunit", "bytes"
GOOD, BAD, CALM = "green", "red", "blue"


class JaegerSearch(Dataquery, Builder[Dataquery]):
    """A search of Grafana's Jaeger data source, which the SDK has no builder for."""

    def __init__(self, **search: str | int) -> None:
        """Search by ``service``, ``operation``, ``tags`` (logfmt), ``minDuration`` and ``limit``."""
        self.search = search

    def build(self) -> Dataquery:
        """Return itself: it is its own model."""
        return self

    def to_json(self) -> dict[str, object]:
        """The query as Grafana stores it."""
        return {"refId": "A", "datasource": JAEGER, "queryType": "search", **self.search}


def instant(
    expression: str, legend: str = "", *, ref: str = "A", as_table: bool = False
) -> prometheus.Dataquery:
    """A question with one answer for each row, for the whole range."""
    query = prometheus.Dataquery().expr(expression).instant().ref_id(ref).datasource(PROMETHEUS)
    query = query.legend_format(legend) if legend else query
    return query.format(PromQueryFormat.TABLE) if as_table else query


def over_time(
    expression: str, legend: str, *, ref: str = "A", exemplars: bool = False
) -> prometheus.Dataquery:
    """A question asked again at each step; with exemplars, dots that open the trace of one run."""
    return (
        prometheus.Dataquery()
        .expr(expression)
        .range()
        .legend_format(legend)
        .ref_id(ref)
        .exemplar(exemplars)
        .datasource(PROMETHEUS)
    )


def number(
    title: str,
    expression: str,
    *,
    unit: str = COUNT,
    empty: str = "0",
    bad: float | None = None,
    about: str = "",
) -> stat.Panel:
    """One number; with ``bad``, red from there on."""
    steps = [model.Threshold(value=None, color=CALM if bad is None else GOOD)]
    if bad is not None:
        steps.append(model.Threshold(value=bad, color=BAD))
    return (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(PROMETHEUS)
        .with_target(instant(expression))
        .unit(unit)
        .no_value(empty)
        .thresholds(dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps))
        .graph_mode(kinds.BigValueGraphMode.NONE)
        .color_mode(kinds.BigValueColorMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .height(4)
        .span(4)
    )


def ranking(
    title: str,
    *targets: prometheus.Dataquery,
    unit: str = COUNT,
    empty: str = "nothing yet",
    about: str = "",
    span: int = 8,
) -> bargauge.Panel:
    """Bars from the longest to the shortest, each with its name and number."""
    panel = (
        bargauge.Panel()
        .title(title)
        .description(about)
        .datasource(PROMETHEUS)
        .unit(unit)
        .min(0)
        .no_value(empty)
        .orientation(kinds.VizOrientation.HORIZONTAL)
        .display_mode(kinds.BarGaugeDisplayMode.BASIC)
        .value_mode(kinds.BarGaugeValueMode.TEXT)
        .color_scheme(dashboard.FieldColor().mode(model.FieldColorModeId.FIXED).fixed_color(CALM))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .height(8)
        .span(span)
    )
    for target in targets:
        panel = panel.with_target(target)
    return panel


def daily(
    title: str, expression: str, legend: str, *, about: str = "", span: int = 16
) -> timeseries.Panel:
    """Stacked bars, one for each day (of UTC), today's included."""
    return (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(PROMETHEUS)
        .with_target(over_time(expression, legend).interval(DAY))
        .interval(DAY)
        .unit(COUNT)
        .decimals(0)
        .min(0)
        .no_value("nothing yet")
        .draw_style(kinds.GraphDrawStyle.BARS)
        .bar_alignment(kinds.BarAlignment.AFTER)
        .fill_opacity(80)
        .line_width(1)
        .stacking(common.StackingConfig().mode(kinds.StackingMode.NORMAL).group("A"))
        .legend(_legend())
        .tooltip(_tooltip())
        .height(8)
        .span(span)
    )


def lines(
    title: str, *targets: prometheus.Dataquery, unit: str, about: str = "", span: int = 16
) -> timeseries.Panel:
    """Lines over time."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(PROMETHEUS)
        .unit(unit)
        .min(0)
        .no_value("nothing yet")
        .draw_style(kinds.GraphDrawStyle.LINE)
        .show_points(kinds.VisibilityMode.AUTO)
        .span_nulls(True)  # noqa: FBT003 - the SDK names no such argument
        .fill_opacity(5)
        .legend(_legend())
        .tooltip(_tooltip())
        .height(8)
        .span(span)
    )
    for target in targets:
        panel = panel.with_target(target)
    return panel


def rows(
    title: str,
    columns: dict[str, str],
    *targets: prometheus.Dataquery,
    sort: str = "",
    units: dict[str, str] | None = None,
    links: list[tuple[str, str, str]] | None = None,
    about: str = "",
    span: int = 12,
) -> table.Panel:
    """A table. ``columns`` maps a query's fields to headings, in order, and hides the rest; several queries meet in one row where their labels agree.

    ``links`` are (heading, what it opens, address).
    """
    order = {field: place for place, field in enumerate(columns)}
    panel = (
        table.Panel()
        .title(title)
        .description(about)
        .datasource(PROMETHEUS)
        .no_value("none")
        .filterable(filterable=True)
        .cell_height(kinds.TableCellHeight.SM)
        .height(8)
        .span(span)
    )
    for target in targets:
        panel = panel.with_target(target)
    if len(targets) > 1:
        panel = panel.with_transformation(model.DataTransformerConfig("merge", options={}))
    organized = {
        "includeByName": dict.fromkeys(columns, True),
        "indexByName": order,
        "renameByName": columns,
    }
    panel = panel.with_transformation(model.DataTransformerConfig("organize", options=organized))
    if sort:
        panel = panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(desc=True)])
    for heading, unit in (units or {}).items():
        panel = panel.override_by_name(
            heading, [model.DynamicConfigValue(id_val="unit", value=unit)]
        )
    for heading, what, address in links or []:
        link: dict[str, Any] = {"title": what, "url": address, "targetBlank": True}
        panel = panel.override_by_name(
            heading, [model.DynamicConfigValue(id_val="links", value=[link])]
        )
    return panel


def traces(title: str, search: JaegerSearch, *, about: str, span: int = 12) -> table.Panel:
    """Traces that a search in Jaeger finds; a click on one opens it."""
    panel = table.Panel().title(title).description(about).datasource(JAEGER).with_target(search)
    return (
        panel.no_value("no such trace").cell_height(kinds.TableCellHeight.SM).height(9).span(span)
    )


def choice(name: str, label: str, shown: str, regex: str) -> dashboard.QueryVariable:
    """A variable whose values a regex takes from the answer to ``shown``; All also stands for what has no such label."""
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(PROMETHEUS)
        .query({"qryType": 3, "query": f"query_result({shown})", "refId": name})
        .regex(regex)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
        .current(model.VariableOption(text="All", value="$__all", selected=True))
    )


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .display_mode(kinds.LegendDisplayMode.LIST)
        .placement(kinds.LegendPlacement.BOTTOM)
        .show_legend(show_legend=True)
    )


def _tooltip() -> common.VizTooltipOptions:
    return (
        common.VizTooltipOptions()
        .mode(kinds.TooltipDisplayMode.MULTI)
        .sort(kinds.SortOrder.DESCENDING)
        .hide_zeros(hide_zeros=True)
    )
