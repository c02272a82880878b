"""Random pipelines whose nodes, datasets and hooks write down their own times: ours lie around these, and inside the hooks' next to them."""

from __future__ import annotations

import json
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from bare import LOGGING
from trace_text import operations

from kedro_otel.recording.model import Operation

TRUTH = '''
"""What really happens: each interval is written down by whoever spends it, on the clock of this process."""
import json, os, pickle, random, threading
from pathlib import Path
from time import perf_counter_ns, sleep

from kedro.framework.hooks import hook_impl
from kedro.io import AbstractDataset

HERE = threading.local()


def note(kind, name, begin, end, node=""):
    with open(f"truth/{os.getpid()}.jsonl", "a") as file:
        file.write(json.dumps([kind, name, node, begin, end]) + "\\n")


def spend(*seed):
    """Take between nothing and four milliseconds, the same time for the same seed."""
    chance = random.Random(repr(seed)).random()
    if chance > 0.3:
        sleep(0.004 * chance)


class Timed(AbstractDataset):
    """Keeps its value in a file and takes its time."""

    def __init__(self, path): self._path = Path("data", path.replace("/", "_"))
    def _describe(self): return {}
    def _exists(self): return self._path.exists()

    def _load(self):
        begin = perf_counter_ns()
        spend(self._path, "load")
        value = pickle.loads(self._path.read_bytes())
        note("load", self._path.name, begin, perf_counter_ns(), getattr(HERE, "node", ""))
        return value

    def _save(self, data):
        begin = perf_counter_ns()
        spend(self._path, "save")
        self._path.write_bytes(pickle.dumps(data))
        note("save", self._path.name, begin, perf_counter_ns())


class Hooks:
    """Somebody else's hooks: each takes its time too."""

    def _take(self, hook, node, name=""):
        begin = perf_counter_ns()
        spend(hook, node.name, name)
        note(hook, name, begin, perf_counter_ns(), node.name)

    @hook_impl
    def before_dataset_loaded(self, dataset_name, node):
        HERE.node = node.name
        self._take("before_dataset_loaded", node, dataset_name)

    @hook_impl
    def after_dataset_loaded(self, dataset_name, node): self._take("after_dataset_loaded", node, dataset_name)
    @hook_impl
    def before_node_run(self, node): self._take("before_node_run", node)
    @hook_impl
    def after_node_run(self, node): self._take("after_node_run", node)
    @hook_impl
    def before_dataset_saved(self, dataset_name, node): self._take("before_dataset_saved", node, dataset_name)
    @hook_impl
    def after_dataset_saved(self, dataset_name, node): self._take("after_dataset_saved", node, dataset_name)
'''
REGISTRY = '''
import inspect, os, random
from functools import partial
from pathlib import Path
from time import perf_counter_ns

from kedro.framework.session import KedroSession
from kedro.pipeline import node, pipeline

from .truth import note, spend

KEY = "pipeline_names" if "pipeline_names" in inspect.signature(KedroSession.run).parameters else "pipeline_name"


def run(name, **words):
    with KedroSession.create(project_path=Path.cwd()) as session:
        session.run(**{KEY: [name] if KEY == "pipeline_names" else name}, **words)


def work(name, outputs, inner, *_):
    begin = perf_counter_ns()
    spend(name)
    if inner:
        run(inner)
    note("node", "", begin, perf_counter_ns(), name)
    return 1 if outputs == 1 else [1] * outputs or None


def chunks(name, x):
    for number in range(3):
        begin = perf_counter_ns()
        spend(name, number)
        note("node", "", begin, perf_counter_ns(), name)
        yield number


def dag(seed, inner=""):
    """Nodes that each take up to three outputs of earlier ones, some from memory, some in chunks; the last may run a pipeline itself."""
    choice, nodes, made = random.Random(seed), [], []
    for number in range(choice.randint(1, 6)):
        name = f"n{seed}_{number}"
        inputs = choice.sample(made, min(len(made), choice.randint(0, 3)))
        outputs = [f"{choice.choice(['kept', 'kept', 'memory'])}.{seed}_{number}_{index}" for index in range(choice.randint(0 if inputs else 1, 2))]
        if len(inputs) == 1 and len(outputs) == 1 and not inner and choice.random() < 0.5 and "STREAMS" in os.environ:
            nodes.append(node(partial_of(chunks, name), inputs, outputs[0], name=name))
        else:
            function = partial_of(work, name, len(outputs), inner if not nodes else "")
            nodes.append(node(function, inputs or None, (outputs if len(outputs) != 1 else outputs[0]) or None, name=name))
        made += outputs
    return pipeline(nodes)


def partial_of(function, *words):
    """A partial, which Kedro takes for a generator function where it is one."""
    return partial(function, *words)


def register_pipelines():
    first, count = int(os.environ["FIRST"]), int(os.environ["COUNT"])
    found = {f"p{seed}": dag(seed) for seed in range(first, first + count)}
    found |= {f"i{seed}": dag(10**6 + seed) for seed in range(first, first + count)}
    found |= {f"o{seed}": dag(seed, f"i{seed}") for seed in range(first, first + count)}
    return {**found, "__default__": pipeline([])}
'''
CATALOG = '"kept.{name}": {type: minimal.truth.Timed, path: "{name}"}\n'
SCRIPT = """
import os, sys
from pathlib import Path
from kedro.framework.startup import bootstrap_project
from kedro.runner import ParallelRunner, SequentialRunner, ThreadRunner

if __name__ == "__main__":
    bootstrap_project(Path.cwd())
    from minimal.pipeline_registry import run
    words = {"sequential": lambda: SequentialRunner(), "async": lambda: SequentialRunner(is_async=True), "nested": lambda: SequentialRunner(),
             "thread": lambda: ThreadRunner(max_workers=3), "parallel": lambda: ParallelRunner(max_workers=2),
             "parallel async": lambda: ParallelRunner(max_workers=2, is_async=True)}
    first, count = int(os.environ["FIRST"]), int(os.environ["COUNT"])
    for seed in range(first, first + count):
        run(("o" if sys.argv[1] == "nested" else "p") + str(seed), runner=words[sys.argv[1]]())
"""
WAYS = ("sequential", "async", "nested", "thread", "parallel", "parallel async")
PHASES = ("load", "compute", "save", "hooks")
MINUTE = 60 * 10**9
SLACK = 2 * 10**6
TRIES = 6
INNER = 10**6
"""What is added to the seed of a pipeline for that of the one inside it."""


class Bracket(NamedTuple):
    """An interval of ours and what really happened: it began between the times of ``first`` and ended between those of ``last``."""

    trace: str
    what: str
    begin: int
    end: int
    first: tuple[int, int]
    last: tuple[int, int]

    @property
    def seed(self) -> int:
        """The seed of the pipeline that it is in."""
        return int(self.what.removeprefix("n").partition("_")[0]) % INNER

    @property
    def away(self) -> int:
        """By how many nanoseconds ours is longer than what it measures, beyond one per cent; 0 where that wrote nothing down."""
        true = self.last[0] - self.first[1]
        return self.end - self.begin - true - true // 100 if true > 0 else 0


class Share(NamedTuple):
    """A figure of ours in nanoseconds, and the least and the most that it can truly be."""

    what: str
    ours: int
    least: int
    most: int


class Truth:
    """What was written down in a run: intervals by what spent them, on what, for which node; each in order of time."""

    def __init__(self, rows: list[list[Any]]) -> None:
        self.rows: dict[tuple[str, str, str], list[tuple[int, int]]] = defaultdict(list)
        for kind, name, node, begin, end in sorted(rows, key=lambda row: row[3]):
            self.rows[kind, name, node].append((begin, end))

    def around(
        self, verb: str, name: str, node: str, index: int
    ) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the intervals of the hooks before and after a load or save, each (begin, end)."""
        done = {"load": "loaded", "save": "saved"}[verb]
        return self.rows[f"before_dataset_{done}", name, node][index], self.rows[
            f"after_dataset_{done}", name, node
        ][index]

    def inside(self, verb: str, name: str, node: str, index: int) -> tuple[int, int] | None:
        """Return what the dataset itself spent, or None for one in memory, which writes nothing down."""
        found = self.rows.get((verb, name.removeprefix("kept."), node if verb == "load" else ""))
        return found[index] if name.startswith("kept.") and found else None


def length(intervals: list[tuple[int, int]]) -> int:
    """Return the time in which at least one of the intervals was under way."""
    total, until = 0, 0
    for begin, end in sorted(intervals):
        total += max(end - max(begin, until), 0)
        until = max(until, end)
    return total


@pytest.fixture
def measured(
    project: Callable[..., Path], home: Path, run: Callable[..., Any], environment: dict[str, str]
) -> Callable[..., tuple[list[Bracket], list[Share]]]:
    """Return ``measured(way, first, count)``, which runs the random pipelines of so many seeds and returns what was seen of them."""
    path = project(
        registry=REGISTRY,
        catalog=CATALOG,
        settings="from minimal.truth import Hooks\nHOOKS = (Hooks(),)\n",
        files={"src/minimal/truth.py": TRUTH, "script.py": SCRIPT, "logging.yml": LOGGING},
    )
    environment.update(
        {
            "KEDRO_LOGGING_CONFIG": str(path / "logging.yml"),
            "PYTHONWARNINGS": "ignore",
            "KEDRO_MP_CONTEXT": "fork",
        }
    )

    def measured(way: str, first: int, count: int) -> tuple[list[Bracket], list[Share]]:
        for folder in (home / "recordings", path / "truth", path / "data"):
            shutil.rmtree(folder, ignore_errors=True)
        (path / "truth").mkdir()
        (path / "data").mkdir()
        streams = {} if "async" in way else {"STREAMS": "1"}  # which Kedro refuses there
        env = {"FIRST": str(first), "COUNT": str(count), **streams}
        run(sys.executable, "script.py", way, cwd=path, env=env, timeout=1800)
        rows = [
            json.loads(line)
            for file in (path / "truth").iterdir()
            for line in file.read_text().splitlines()
        ]
        return compared(operations(home), Truth(rows))

    return measured


def compared(found: list[Operation], truth: Truth) -> tuple[list[Bracket], list[Share]]:
    """Return our intervals and figures, each beside what really happened."""
    brackets: list[Bracket] = []
    shares: list[Share] = []
    inner: dict[str, list[Operation]] = defaultdict(list)
    for operation in sorted(found, key=lambda one: one.start_ns):
        if operation.operation == "dataset":
            inner[operation.parent_id].append(operation)
    nodes = [operation for operation in found if operation.operation == "node"]
    assert sorted(str(node.attributes["kedro.node.name"]) for node in nodes) == sorted(
        node
        for (kind, _, node), rows in truth.rows.items()
        if kind == "before_node_run"
        for _ in rows
    )
    for node in nodes:
        _of_node(node, inner[node.span_id], truth, brackets, shares)
    return brackets, shares


def _of_node(
    operation: Operation,
    datasets: list[Operation],
    truth: Truth,
    brackets: list[Bracket],
    shares: list[Share],
) -> None:
    """Add what is seen of one node and of what it loads and saves."""
    node = str(operation.attributes["kedro.node.name"])
    number: dict[str, int] = defaultdict(int)
    ((called_from, called),), ((returned, returned_to),) = (
        truth.rows["before_node_run", "", node],
        truth.rows["after_node_run", "", node],
    )
    touched = [called_from, returned_to]
    most: dict[str, list[tuple[int, int]]] = {"load": [], "save": []}
    least: dict[str, list[tuple[int, int]]] = {"load": [], "save": []}
    hooks = [(called_from, called), (returned, returned_to)]
    assert operation.end_ns is not None
    for dataset in datasets:
        name, verb = (
            str(dataset.attributes["kedro.dataset.name"]),
            str(dataset.attributes["kedro.dataset.operation"]),
        )
        before, after = truth.around(verb, name, node, number[dataset.name])
        inside = truth.inside(verb, name, node, number[dataset.name])
        number[dataset.name] += 1
        begin, end = inside or (after[0], before[1])
        touched += [before[0], after[1]]
        hooks += [before, after]
        most[verb].append((before[1], after[0]))
        least[verb] += [inside] if inside else []
        assert dataset.end_ns is not None
        brackets.append(
            Bracket(
                operation.trace_id,
                f"{node}: {dataset.name}",
                dataset.start_ns,
                dataset.end_ns,
                (before[1], begin),
                (end, after[0]),
            )
        )
    early, late = min(touched), max(touched)
    brackets.append(
        Bracket(
            operation.trace_id,
            node,
            operation.start_ns,
            operation.end_ns,
            (early - MINUTE, early),
            (late, late + MINUTE),
        )
    )
    spent = {
        phase: round(float(operation.attributes[f"kedro.node.{phase}.duration"]) * 1e9)
        for phase in PHASES
    }  # type: ignore[arg-type]
    assert abs(sum(spent.values()) - (operation.end_ns - operation.start_ns)) <= len(PHASES), (
        f"{node}: the phases add up to its duration"
    )
    shares += [
        Share(f"{node}: {verb}", spent[verb], length(least[verb]), length(around))
        for verb, around in most.items()
    ]
    worked = truth.rows["node", "", node]
    saves = sorted(most["save"])
    between = [(called, returned)]
    if len(worked) > 1:  # in chunks: what is not in a hook or a save is in the function
        ends = [
            after[1]
            for after in sorted(
                truth.rows[
                    "after_dataset_saved", str(datasets[-1].attributes["kedro.dataset.name"]), node
                ]
            )
        ]
        begins = [
            before[0]
            for before in sorted(
                truth.rows[
                    "before_dataset_saved", str(datasets[-1].attributes["kedro.dataset.name"]), node
                ]
            )
        ]
        between += list(zip([returned_to, *ends[:-1]], begins, strict=True))
    assert saves or len(worked) == 1
    shares.append(
        Share(
            f"{node}: compute",
            spent["compute"],
            sum(end - begin for begin, end in worked),
            sum(end - begin for begin, end in between),
        )
    )
    overlap = length(hooks + most["load"] + most["save"] + between) - length(
        most["load"] + most["save"] + between
    )
    shares.append(
        Share(f"{node}: hooks", spent["hooks"], overlap, operation.end_ns - operation.start_ns)
    )


def one_clock(brackets: list[Bracket]) -> str:
    """Return what does not fit: within a trace there must be one difference between our clock and the true one by which every time is right."""
    for trace in {bracket.trace for bracket in brackets}:
        mine = [one for one in brackets if one.trace == trace]
        least = max(
            [(one.begin - one.first[1], f"{one.what} begins") for one in mine]
            + [(one.end - one.last[1], f"{one.what} ends") for one in mine]
        )
        most = min(
            [(one.begin - one.first[0], f"{one.what} begins") for one in mine]
            + [(one.end - one.last[0], f"{one.what} ends") for one in mine]
        )
        if least[0] > most[0]:
            return f"{least[1]} too late, or {most[1]} too early, by {least[0] - most[0]} ns"
    return ""


@pytest.mark.parametrize("way", WAYS)
def test_times_lie_between_the_work_and_the_hooks_around_it(
    way: str, measured: Callable[..., Any], full: bool
) -> None:
    """Whatever runs, each load, save and node begins and ends where it really does, and the phases are what was spent in them."""
    count = 167 if full else 5
    brackets, shares = measured(way, 0, count)
    assert len(brackets) > 3 * count
    assert not one_clock(brackets)
    wrong = [share for share in shares if not share.least <= share.ours <= share.most]
    assert not wrong

    # How much longer ours are depends on whatever else the machine does, so what is too long is measured again: what we measure
    # wrongly is too long each time. An asynchronous save is known to have ended when Kedro comes to say so, which may be busy with
    # another one's hooks.
    def far(found: list[Bracket]) -> set[str]:
        return {
            one.what
            for one in found
            if one.away > SLACK and not ("async" in way and ": save" in one.what)
        }

    for seed in sorted({one.seed for one in brackets if one.what in far(brackets)}):
        again = {one.what for one in brackets if one.seed == seed} & far(brackets)
        for _ in range(TRIES):
            again &= far(measured(way, seed, 1)[0]) if again else set()
        assert not again, f"seed {seed}"
