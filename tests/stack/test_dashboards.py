"""Every panel shows the right number: real commands through the real servers, against what the recordings say."""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from installations import Person, demo, doomed_project
from panels import Panel, ask, choices, panels, search
from segment_totals import DIED, Recorded, read

from kedro_otel.semconv.measurements import HISTOGRAM_BOUNDARIES, MEMORY_BOUNDARIES
from servers import Stack, eventually

pytest.importorskip("sklearn", reason="the extra `demo` is not installed")
pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]


class World(NamedTuple):
    """The servers, what was recorded, and when all of it had arrived."""

    stack: Stack
    recorded: list[Recorded]
    at: float

    def of(self, kind: str, wanted: Callable[[Recorded], bool] = bool) -> list[Recorded]:
        """The recorded operations of one kind."""
        return [one for one in self.recorded if one.kind == kind and wanted(one)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two people, three projects (two of one name), CI, a production machine; successes, failures, and one run killed."""
    folder = tmp_path_factory.mktemp("world")
    stack = Stack(folder / "stack").start()
    ana, ben = (Person(folder / name, stack.collector.otlp_http) for name in ("ana", "ben"))
    wines, vines = (demo(folder / name) for name in ("wines", "vines"))
    doomed = doomed_project(folder / "doomed")

    ana.kedro("--version", cwd=folder)
    ana.kedro("run", cwd=wines)
    ana.kedro("run", "--params", "folds=1", cwd=wines, code=1)
    ana.kedro("registry", "list", cwd=wines)
    ben.kedro("run", "--pipeline", "data", cwd=wines)
    ben.kedro("run", cwd=vines, OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=production")
    ben.kedro("run", cwd=doomed)
    ben.kedro("run", "--params", "how=fail", cwd=doomed, code=1)
    ben.kedro("run", "--params", "how=die", cwd=doomed, code=-9)
    ana.kedro("run", cwd=doomed, CI="true", GITHUB_ACTIONS="true")

    for person in (ana, ben):
        person.kedro("otel", "ship", cwd=folder)
    recorded = read(ana.home, ben.home)
    commands = sum(one.kind == "command" for one in recorded)
    arrived = eventually(
        lambda: stack.prometheus.total("kedro_commands_total"),
        lambda total: total == commands,
        seconds=60,
        every=0.5,
    )
    assert arrived == commands == 10
    nodes = sum(one.kind == "node" for one in recorded)
    assert (
        eventually(
            lambda: stack.prometheus.total("kedro_node_runs_total"),
            lambda total: total == nodes,
            seconds=30,
        )
        == nodes
    )
    assert eventually(
        lambda: len(stack.jaeger.spans()), lambda spans: spans >= len(recorded), seconds=30
    ) == len(recorded)
    yield World(stack, recorded, time.time() + 1)
    stack.stop()


# --- what each panel must show, from the recordings -----------------------------------------------------------------

Numbers = dict[tuple[str, ...], float]


def one(number: float) -> list[Numbers]:
    """A number alone."""
    return [{(): number}]


def counted(rows: Any) -> list[Numbers]:
    """How often each row is there."""
    return [{key: float(number) for key, number in Counter(rows).items()}]


def added(rows: Any) -> list[Numbers]:
    """The sum of each row's numbers."""
    total: Numbers = defaultdict(float)
    for key, number in rows:
        total[key] += number
    return [dict(total)]


def shown(operation: Recorded, *labels: str) -> tuple[str, ...]:
    """A table's row: the project by name, the labels, and the id that tells namesakes apart."""
    ident, name = operation.project
    return (name, *labels, ident)


def quantile(
    q: float, seconds: list[float], boundaries: tuple[float, ...] = HISTOGRAM_BOUNDARIES
) -> float:
    """What a histogram with our boundaries can say of a quantile: a straight line within the bucket where it falls."""
    rank, below, lower = q * len(seconds), 0, 0.0
    for upper in boundaries:
        inside = sum(lower < one <= upper for one in seconds)
        if inside and below + inside >= rank:
            return lower + (upper - lower) * (rank - below) / inside
        below, lower = below + inside, upper
    return lower


def commands(world: World) -> list[Numbers]:
    """Commands by their known words."""
    return counted(
        (f"kedro {one.attributes['kedro.command.name']}",) for one in world.of("command")
    )


def people_with(world: World, key: str) -> list[Numbers]:
    """People by one attribute of their commands."""
    found = {
        (one.resource["app.installation.id"], one.resource[key])
        for one in world.of("command", lambda one: not one.resource["kedro.ci"])
    }
    return counted((value,) for _, value in found)


def sizes(world: World, key: str) -> Numbers:
    """A size of each project as of its whole runs."""
    whole = world.of("run", lambda one: not one.attributes["kedro.run.filtered"])
    return {shown(one): float(one.attributes[key]) for one in whole}


def dataset_types(world: World) -> list[Numbers]:
    """Datasets by short type, each project once."""
    whole = world.of("run", lambda one: not one.attributes["kedro.run.filtered"])
    of_project = {
        one.project: one.attributes.get("kedro.project.dataset.type.counts", []) for one in whole
    }
    rows = [row.rpartition("=") for counts in of_project.values() for row in counts]
    return added(((short(kind),), float(count)) for kind, _, count in rows)


def short(kind: str) -> str:
    """A class with its family."""
    parts = kind.split(".")
    return f"{parts[-3]}.{parts[-1]}" if len(parts) > 2 else kind


def tools(world: World) -> list[Numbers]:
    """Projects by each tool, in the panel's order."""
    chosen = {
        one.project: one.resource.get("kedro.project.tools", []) for one in world.of("command")
    }
    names = ("Linting", "Testing", "Custom Logging", "Documentation", "Data Structure", "PySpark")
    return [{(name,): float(sum(name in tools for tools in chosen.values()))} for name in names]


def slowest(world: World) -> list[Numbers]:
    """Mean time of a node's runs."""
    total: Numbers = defaultdict(float)
    runs: Counter[tuple[str, ...]] = Counter()
    for node in world.of("node"):
        key = shown(node, node.attributes["kedro.node.name"])
        runs[key] += 1
        total[key] += sum(
            node.attributes.get(f"kedro.node.{phase}.duration", 0.0)
            for phase in ("load", "compute", "save", "hooks")
        )
    return [{key: total[key] / runs[key] for key in runs}]


def cpu(world: World) -> list[Numbers]:
    """Mean CPU time of a node's runs."""
    spent: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for node in world.of("node"):
        key = shown(node, node.attributes["kedro.node.name"])
        spent[key].append(node.attributes.get("kedro.node.cpu.time", 0.0))
    return [{key: sum(each) / len(each) for key, each in spent.items()}]


def memory(world: World) -> list[Numbers]:
    """The 95th percentile of a node's memory, as the buckets tell it."""
    peaks: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for node in world.of("node", lambda one: "kedro.node.memory.peak" in one.attributes):
        key = shown(node, node.attributes["kedro.node.name"])
        peaks[key].append(float(node.attributes["kedro.node.memory.peak"]))
    return [{key: quantile(0.95, each, MEMORY_BOUNDARIES) for key, each in peaks.items()}]


def rows(world: World) -> list[Numbers]:
    """Rows by dataset and operation."""
    of = ("kedro.dataset.name", "kedro.dataset.operation")
    return added(
        (
            shown(one, *(one.attributes[key] for key in of)),
            one.attributes["kedro.dataset.row.count"],
        )
        for one in world.of("dataset", lambda one: "kedro.dataset.row.count" in one.attributes)
    )


def died(world: World) -> list[Recorded]:
    """Runs whose process ended without a word."""
    return world.of("run", lambda one: one.error == DIED)


def seconds(world: World) -> list[float]:
    """How long each run took."""
    return [one.seconds for one in world.of("run")]


EXPECTED: dict[str, Callable[[World], list[Numbers]]] = {
    "usage: How many commands were run?": lambda world: one(len(world.of("command"))),
    "usage: How many pipeline runs were among them?": lambda world: one(len(world.of("run"))),
    "usage: By how many people?": lambda world: one(
        len({one.resource["app.installation.id"] for one in world.of("command")})
    ),
    "usage: In how many projects?": lambda world: one(
        len({one.project for one in world.of("command") if one.project[0]})
    ),
    "usage: What share of commands failed?": lambda world: one(
        len(world.of("command", lambda one: one.failed)) / len(world.of("command"))
    ),
    "usage: What share ran in CI?": lambda world: one(1 / len(world.of("command"))),
    "usage: How many commands were run each day?": commands,
    "usage: Which commands?": commands,
    "usage: Which versions of Kedro do people have?": lambda world: people_with(
        world, "kedro.version"
    ),
    "usage: Which versions of Python?": lambda world: people_with(world, "kedro.python"),
    "usage: Which operating systems?": lambda world: people_with(world, "os.type"),
    "usage: How big are the projects?": lambda world: [
        sizes(world, f"kedro.project.{kind}.count") for kind in ("node", "dataset", "pipeline")
    ],
    "usage: Which types of dataset do they hold?": dataset_types,
    "usage: Which tools did they choose?": tools,
    "runs: How many runs?": lambda world: one(len(world.of("run"))),
    "runs: How many failed?": lambda world: one(len(world.of("run", lambda one: one.failed))),
    "runs: How many died without a word?": lambda world: one(len(died(world))),
    "runs: What share failed?": lambda world: one(
        len(world.of("run", lambda one: one.failed)) / len(world.of("run"))
    ),
    "runs: How long does a run take?": lambda world: one(quantile(0.5, seconds(world))),
    "runs: And the slowest of twenty?": lambda world: one(quantile(0.95, seconds(world))),
    "runs: How often does each pipeline run?": lambda world: counted(
        (one.attributes["kedro.pipeline.name"],) for one in world.of("run")
    ),
    "runs: Are runs getting slower?": lambda world: [
        {("median of a day",): quantile(0.5, seconds(world))},
        {("95th percentile of a day",): quantile(0.95, seconds(world))},
    ],
    "runs: Which pipelines fail, and of what?": lambda world: counted(
        shown(one, one.attributes["kedro.pipeline.name"], one.error)
        for one in world.of("run", lambda one: one.failed)
    ),
    "runs: Which nodes fail?": lambda world: counted(
        shown(one, one.attributes["kedro.node.name"], one.error)
        for one in world.of("node", lambda one: one.failed)
    ),
    "runs: Which nodes are the slowest?": slowest,
    "runs: Loading, computing or saving?": lambda world: added(
        ((phase,), node.attributes.get(f"kedro.node.{phase}.duration", 0.0))
        for node in world.of("node")
        for phase in ("load", "compute", "save", "hooks")
    ),
    "runs: Which datasets take the time?": lambda world: added(
        (
            (
                f"{one.attributes['kedro.dataset.operation']} {short(one.attributes['kedro.dataset.type'])}",
            ),
            one.seconds,
        )
        for one in world.of("dataset")
    ),
    "runs: Which nodes take the processor?": cpu,
    "runs: Which nodes need the most memory?": memory,
    "runs: How many rows?": rows,
    "runs: Which pipelines have not run for a day?": lambda world: counted(
        shown(one, one.attributes["kedro.pipeline.name"]) for one in world.of("run")
    ),
}
"""Panel → what it must show. A panel without a row here must be in :data:`SEARCHES`, or the test of completeness fails."""

SEARCHES = {"runs: Which runs failed last?", "runs: Which runs were slow?"}
UNKNOWABLE: set[str] = set()
"""Panels whose number cannot be computed from the recordings; there is none."""


def test_every_panel_is_checked() -> None:
    """No panel is without a number to be held to."""
    assert {str(panel) for panel in panels()} == set(EXPECTED) | SEARCHES | UNKNOWABLE


@pytest.mark.parametrize(
    "panel", [panel for panel in panels() if str(panel) not in SEARCHES], ids=str
)
def test_a_panel_shows_what_was_recorded(world: World, panel: Panel) -> None:
    """The panel's queries on the real Prometheus give the recordings' own numbers, and something to see."""
    later = 25 * 3600 if "not run for a day" in panel.title else 0
    expected = EXPECTED[str(panel)](world)
    answers = ask(panel, world.stack.prometheus, world.at + later)
    assert any(answers), "an empty panel"
    assert len(answers) == len(expected)
    for answer, numbers, target in zip(answers, expected, panel.json["targets"], strict=True):
        limit = re.search(r"topk\((\d+)", target.get("expr", ""))
        _same_rows(answer, numbers, int(limit[1]) if limit else None)


def _same_rows(answer: Numbers, numbers: Numbers, limit: int | None) -> None:
    """The answer holds these numbers; where the query has a limit, the highest ones, and of equal ones any."""
    answer, numbers = _without_zeros(answer), _without_zeros(numbers)
    expected = {key: numbers.get(key) for key in answer} if limit else numbers
    assert answer == pytest.approx(expected, abs=1e-3)
    highest = sorted(numbers.values(), reverse=True)[:limit]
    assert sorted(answer.values(), reverse=True) == pytest.approx(highest, abs=1e-3)


def _without_zeros(numbers: Numbers) -> Numbers:
    return {key: number for key, number in numbers.items() if number or key == ()}


@pytest.mark.parametrize("hours", [1, 24])
def test_a_panel_shows_the_same_later(world: World, hours: int) -> None:
    """With a range that reaches back far enough, hours of silence change nothing."""
    (panel,) = [panel for panel in panels() if str(panel) == "usage: Which commands?"]
    later = ask(panel, world.stack.prometheus, world.at + hours * 3600, __range=f"{hours + 1}h")
    assert later == EXPECTED[str(panel)](world)
    assert ask(panel, world.stack.prometheus, world.at + hours * 3600, __range="30m") == [{}]


def test_the_failed_and_the_slow_are_found_in_jaeger(world: World) -> None:
    """The searches for traces find exactly the failed `kedro run`s, and exactly those over the duration that was typed in."""
    found = {panel.title: panel for panel in panels() if str(panel) in SEARCHES}
    runs = world.of("command", lambda one: one.name == "kedro run")
    failed = {one.trace for one in runs if one.failed}
    assert len(failed) == 3
    assert search(found["Which runs failed last?"], world.stack.jaeger) == failed
    middle = sorted(one.seconds for one in runs)[len(runs) // 2] - 0.01
    slow = {one.trace for one in runs if one.seconds > middle}
    assert 0 < len(slow) < len(runs)
    assert search(found["Which runs were slow?"], world.stack.jaeger, slow=f"{middle:.3f}s") == slow


def test_a_dot_on_the_durations_is_a_run_s_trace(world: World) -> None:
    """The exemplars of the panel of durations are runs, each with a trace that Jaeger has."""
    (panel,) = [panel for panel in panels() if panel.title == "Are runs getting slower?"]
    expression = next(target["expr"] for target in panel.json["targets"] if target.get("exemplar"))
    for name in ("project", "pipeline", "environment", "ci"):
        expression = expression.replace(f"${name}", ".*")
    answer = world.stack.prometheus.get(
        "query_exemplars", query=expression, start=world.at - 3600, end=world.at + 60
    )
    traces = {
        exemplar["labels"]["trace_id"]: float(exemplar["value"])
        for series in answer
        for exemplar in series["exemplars"]
    }
    assert traces == {
        one.trace: pytest.approx(one.seconds) for one in world.of("run") if one.trace in traces
    }
    assert traces
    assert all(world.stack.jaeger.trace(trace) for trace in traces)


def test_what_can_be_chosen_is_what_there_is(world: World) -> None:
    """The variables offer the projects by name, the pipelines, the environments; choosing one narrows a panel to it."""
    prometheus, at = world.stack.prometheus, world.at
    projects = {one.project for one in world.of("command") if one.project[0]}
    assert {
        (ident, name) for name, ident in choices("runs", "project", prometheus, at).items()
    } <= projects
    assert set(choices("runs", "project", prometheus, at)) == {name for _, name in projects}
    assert set(choices("runs", "pipeline", prometheus, at)) == {
        one.attributes["kedro.pipeline.name"] for one in world.of("run")
    }
    assert set(choices("usage", "environment", prometheus, at)) == {"production"}
    doomed = choices("runs", "project", prometheus, at)["doomed"]
    assert set(choices("runs", "pipeline", prometheus, at, project=doomed)) == {"__default__"}
    (panel,) = [panel for panel in panels() if str(panel) == "runs: How many runs?"]
    assert ask(panel, prometheus, at, project=doomed) == one(4)
    assert ask(panel, prometheus, at, pipeline="data") == one(1)
    assert ask(panel, prometheus, at, environment="production") == one(1)
    assert ask(panel, prometheus, at, ci="true") == one(1)
    assert ask(panel, prometheus, at, project="nobody's") == one(0)


def test_the_usage_dashboard_needs_no_more_than_usage(tmp_path: Path, stack: Stack) -> None:
    """At detail `usage` no panel of Usage is empty, and Runs still counts runs, under no name."""
    person, project = (
        Person(tmp_path / "cautious", stack.collector.otlp_http, "usage"),
        doomed_project(tmp_path / "doomed"),
    )
    person.kedro("run", cwd=project)
    person.kedro("run", "--params", "how=fail", cwd=project, code=1)
    person.kedro("otel", "ship", cwd=project)
    assert (
        eventually(lambda: stack.prometheus.total("kedro_commands_total"), lambda total: total == 2)
        == 2
    )
    at = time.time() + 1
    for panel in panels():
        if panel.board == "usage":
            assert any(ask(panel, stack.prometheus, at)), panel
    runs, pipelines = (
        next(panel for panel in panels() if panel.title == title)
        for title in ("How many runs?", "How often does each pipeline run?")
    )
    assert ask(runs, stack.prometheus, at) == one(2)
    assert ask(pipelines, stack.prometheus, at) == [{("(not named)",): 2}]
    ((shown_as, ident),) = choices("usage", "project", stack.prometheus, at).items()
    assert ident.startswith(shown_as)
    assert len(shown_as) == 8
