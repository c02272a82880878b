"""What the pages ask for, as plain data. Nothing here writes anything but the index."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

from kedro_otel import guard
from kedro_otel.config import paths
from kedro_otel.private import reader as private
from kedro_otel.recording.model import PRIVATE_SUFFIX, SegmentError
from kedro_otel.recording.scan import glance
from kedro_otel.semconv import names
from kedro_otel.viewing.index_file import IndexFile
from kedro_otel.viewing.model import history, outcome
from kedro_otel.viewing.model.baseline import peers
from kedro_otel.viewing.model.comparison import compare, profile
from kedro_otel.viewing.model.find import NotFoundError, entries_of
from kedro_otel.viewing.model.private_facts import add_to_trace
from kedro_otel.viewing.model.scope import Scope
from kedro_otel.viewing.model.trace import Trace, load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kedro_otel.viewing.index import Index, Run
    from kedro_otel.viewing.model.find import Entry

_T = TypeVar("_T")

EVERY: Final = "*"
"""Stands for all projects."""

_MOST: Final = 2000
_FLAKY: Final = 200
"""Runs among which flaky nodes are looked for."""


class Answers:
    """The questions, for any number of threads; ``scope`` is the project that is meant where none is named."""

    def __init__(self, scope: Scope | None) -> None:
        """Read nothing yet."""
        self._scope = scope
        self._lock = threading.Lock()
        self._index = IndexFile()

    def runs(self, project: str = "", limit: int = 200) -> dict[str, Any]:
        """Return the runs of a project, and commands that failed before theirs, the newest first."""

        def question(table: Index) -> tuple[list[str], list[Run], list[Run], list[history.Flaky]]:
            found = table.runs(self._of(project), min(limit, _MOST), commands=True)
            runs = [one for one in found if one.number is not None]
            return table.projects(), found, runs, history.flaky(table, runs[:_FLAKY])

        every, found, runs, flaky = self._ask(question)
        marks = {
            one.run.span_id: one.stands_out.get("duration")
            for one in history.of_runs_alone(runs).points
        }
        return {
            "project": project or (self._scope.name if self._scope else EVERY),
            "projects": every,
            "read": len(found),
            "flaky": [one._asdict() for one in flaky],
            "runs": [
                {**_told(one), "stands_out": marks.get(one.span_id)}
                for one in found
                if one.number is not None or one.known["outcome"] in outcome.BAD
            ],
        }

    def history(self, kind: str, name: str, project: str = "", limit: int = 50) -> dict[str, Any]:
        """Return the history of a node or a dataset over the last runs."""

        def question(table: Index) -> history.History:
            runs = table.runs(self._of(project), min(limit, _MOST))
            of = history.of_dataset if kind == history.DATASET else history.of_node
            return of(table, runs, name)

        found = self._ask(question)
        ids = [one.run.span_id for one in found.points]
        answer = history.plain(found)
        for point, ident in zip(answer["points"], ids, strict=True):
            point["id"] = ident
        return answer

    def names(self, project: str = "", limit: int = 20) -> dict[str, list[str]]:
        """Return the nodes of the last runs, and the datasets of the last one."""

        def question(table: Index) -> tuple[list[Run], list[str]]:
            runs = table.runs(self._of(project), limit)
            return runs, table.node_names(runs)

        runs, nodes = self._ask(question)
        datasets: set[str] = set()
        for run in runs[:1]:
            try:
                found = load(_entry(run)).spans(names.DATASET)
            except NotFoundError as error:
                guard.let_through(error)
                continue
            datasets = {
                str(span.operation.attributes.get(names.DATASET_NAME, span.operation.name))
                for span in found
            }
        return {"nodes": nodes, "datasets": sorted(datasets)}

    def compare(self, before: str, after: str) -> dict[str, Any]:
        """Return two runs side by side, as `kedro otel compare --json` prints them. Raises :class:`NotFoundError`."""
        from kedro_otel.viewing.terminal import data_text
        from kedro_otel.viewing.terminal.comparison_text import plain

        first, second = (load(_entry(self.run(run))) for run in (before, after))
        if first.run is None or second.run is None:
            raise NotFoundError("only pipeline runs can be compared")
        found = compare(
            profile(second),
            profile(first),
            [profile(one) for one in peers(second)],
            complete=outcome.of(second) == outcome.OK,
        )
        return {
            **plain(found),
            "told_of_data": [data_text.line(one) for one in found.data],
            "outcomes": [outcome.of(first), outcome.of(second)],
            "ids": [before, after],
        }

    def trace(self, run: str) -> Trace:
        """Return a run with what is kept on this machine alone. Raises :class:`NotFoundError`."""
        found = load(_entry(self.run(run)))
        add_to_trace(found, logs=True)
        return found

    def run(self, run: str) -> Run:
        """Return a run or command, by its span id. Raises :class:`NotFoundError`."""
        found = self._ask(lambda table: table.run(run))
        if found is None:
            raise NotFoundError("no such run is recorded")
        return found

    def _of(self, project: str) -> Scope | None:
        if project == EVERY:
            return None
        return Scope(None, project) if project else self._scope

    def _ask(self, question: Callable[[Index], _T]) -> _T:
        with self._lock:
            return self._index.answer(question)


def _entry(run: Run) -> Entry:
    try:
        segment = glance(paths.recordings() / run.segment)
    except SegmentError as error:
        raise NotFoundError("its recording has just been removed") from error
    for entry in entries_of(segment):
        if entry.operation.span_id == run.span_id:
            return entry
    raise NotFoundError("its recording has changed")


def _told(one: Run) -> dict[str, Any]:
    """Return a run for the list, with what its owner typed and why it failed."""
    known = dict(one.known)
    message = ""
    masked = names.MASK in str(known["command"])
    if masked or known["error_type"]:
        path = paths.recordings() / one.segment
        messages, commands = _private(path, _changed(path.with_suffix(PRIVATE_SUFFIX)))
        message = messages.get(one.span_id, "")
        known["command"] = commands.get(str(known["command_id"]), known["command"])
    return {
        "id": one.span_id,
        "run": one.number,
        "took": one.took_ns / 1e3,
        "begin": one.start_ns / 1e6,
        "message": message,
        **known,
    }


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        guard.let_through(error)
        return 0


@lru_cache(maxsize=1024)
def _private(path: Path, changed: int) -> tuple[dict[str, str], dict[str, str]]:
    """Return messages and commands beside a segment by span; they are read for whoever looks, and are in no index."""
    if not changed:
        return {}, {}
    found = private.read(path)
    return (
        {span: one.message for span, one in found.failures.items()},
        {span: " ".join(words) for span, words in found.commands.items()},
    )
