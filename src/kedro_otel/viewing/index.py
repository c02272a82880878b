"""The index: runs and nodes of all recordings as a table, so that a question about many runs reads each recording once.

Nothing of the private files and no exception message is in it. :mod:`kedro_otel.viewing.index_file`
keeps it in a file, or in memory where that cannot be.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kedro_otel import guard
from kedro_otel.config import paths
from kedro_otel.recording.model import DIED, ENDED, SegmentError
from kedro_otel.recording.node_scan import dataset_operations, nodes, number
from kedro_otel.recording.reader import look
from kedro_otel.semconv import names
from kedro_otel.viewing.model import outcome
from kedro_otel.viewing.model.find import entries_of
from kedro_otel.viewing.model.summary import summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from kedro_otel.recording.node_scan import NodeFigures
    from kedro_otel.viewing.model.find import Entry
    from kedro_otel.viewing.model.scope import Scope

_MANY: Final = 500
"""Values in one question: SQLite takes no more than 999 of old."""

COLUMNS: Final = {
    "segment": "id integer primary key, name text unique, inode int, size int, mtime int, settled int",
    "run": "segment int, span text, outermost text, start int, project_id text, project text,"
    " pipeline text, is_run int, doc text",
    "node": "segment int, span text, run text, start int, took int, rank int, name text, outcome text,"
    " error text, cpu real, memory real",
}
LOOKED_UP: Final = ("run(start)", "node(run)")
"""The tables, and what of them is looked up."""

_RANK: Final = {ENDED: 2, DIED: 1}


class Run(NamedTuple):
    """A pipeline run, or a command that ran none.

    Attributes:
        number: -1 for the last pipeline run of the scope, as `kedro otel list` counts; None for a command.
        segment: The file that it was read from.
        span_id: Of the run, else of the command.
        start_ns: When it began, in nanoseconds since 1970.
        took_ns: How long it took, so far where it runs.
        known: What `kedro otel list --json` prints, without the message, and ``begin_ns`` (of the command),
            ``cpu_seconds``, ``memory_bytes``, ``command_id``, ``revision``, ``task``, ``ephemeral``, ``machine``.
    """

    number: int | None
    segment: str
    span_id: str
    start_ns: int
    took_ns: int
    known: dict[str, Any]


class Node(NamedTuple):
    """A node in one run; seconds of processor time and bytes of memory where they were recorded."""

    run: str
    name: str
    start_ns: int
    took_ns: int
    outcome: str
    error_type: str
    cpu: float | None
    memory: float | None


class DatasetUse(NamedTuple):
    """A dataset in one run: how often and how long it was loaded and saved, and its rows where they were recorded."""

    run: str
    loads: int
    load_ns: int
    saves: int
    save_ns: int
    rows: int | None
    failed: bool


class Index:
    """The table, and the questions that it answers. One thread at a time uses it."""

    def __init__(self, connection: sqlite3.Connection, folder: Path | None = None) -> None:
        """Take a connection whose tables are there; ``folder`` is the recordings'."""
        self._connection = connection
        self._folder = folder

    def refresh(self) -> None:
        """Read what is new in the recordings, and forget what is gone. Raises :class:`sqlite3.Error`."""
        listed = look(self._folder)
        here = {path.name: (path, known) for path, known in listed.found}
        before = {
            name: (number, (inode, size, mtime), settled)
            for number, name, inode, size, mtime, settled in self._connection.execute(
                "select id, name, inode, size, mtime, settled from segment"
            )
        }
        gone = (
            []
            if listed.failed
            else [number for name, (number, _, _) in before.items() if name not in here]
        )
        new = []
        for name, (path, known) in here.items():
            identity = (known.st_ino, known.st_size, known.st_mtime_ns)
            number, old, settled = before.get(name, (None, None, 0))
            if not settled or old != identity:
                new.append((path, identity))
                gone += [] if number is None else [number]
        if not new and not gone:
            return
        with self._transaction():
            self._forget(gone)
            for path, identity in new:
                self._take(path, identity)

    def runs(
        self,
        scope: Scope | None = None,
        limit: int = 50,
        *,
        commands: bool = False,
        pipeline: str | None = None,
    ) -> list[Run]:
        """Return what ran, the newest first; with ``commands`` also commands that ran no pipeline."""
        rows = self._connection.execute(
            "select segment.name, span, outermost, start, is_run, pipeline, doc"
            " from run join segment on segment.id = segment"
            " where :every or (case when project_id != '' and :id != '' then project_id = :id"
            " else project != '' and project = :name end)"
            " order by start desc, mtime desc, segment.name desc",
            {
                "every": scope is None,
                "id": (scope and scope.id) or "",
                "name": (scope and scope.name) or "",
            },
        )
        found: list[Run] = []
        seen: set[str] = set()
        number = 0
        for segment, span, outermost, start, is_run, named, doc in rows:
            if span in seen:
                continue
            seen.update((span, outermost))
            number -= is_run
            if (is_run or commands) and pipeline in (None, named):
                known = _known(doc)
                took = known.pop("took_ns")
                found.append(Run(number if is_run else None, segment, span, start, took, known))
                if len(found) >= limit:
                    break
        return found

    def run(self, span_id: str) -> Run | None:
        """Return a run or command by its span id; its number is not counted."""
        row = self._connection.execute(
            "select segment.name, start, doc from run join segment on segment.id = segment"
            " where span = ? order by mtime desc, segment.name desc limit 1",
            (span_id,),
        ).fetchone()
        if row is None:
            return None
        known = _known(row[2])
        return Run(None, row[0], span_id, row[1], known.pop("took_ns"), known)

    def projects(self) -> list[str]:
        """Return the names of all projects, sorted."""
        rows = self._connection.execute("select distinct project from run where project != ''")
        return sorted(name for (name,) in rows)

    def failed(self, runs: Iterable[Run]) -> list[str]:
        """Return the names of the nodes that failed in some runs, sorted."""
        return self._names(runs, "outcome = 'failed'")

    def nodes(self, runs: Iterable[Run], name: str | None = None) -> list[Node]:
        """Return the nodes of some runs, or one node of each, by run and start."""
        ids = [run.span_id for run in runs]
        found: dict[str, tuple[int, Node]] = {}
        for some in _some(ids):
            for span, rank, *values in self._connection.execute(
                "select span, rank, run, name, start, took, outcome, error, cpu, memory from node"  # noqa: S608 (question marks)
                f" where run in ({','.join('?' * len(some))}) and (? is null or name = ?)",
                (*some, name, name),
            ):
                if span not in found or found[span][0] < rank:
                    found[span] = (rank, Node(*values))
        order = {run: place for place, run in enumerate(ids)}
        return sorted(
            (node for _, node in found.values()), key=lambda one: (order[one.run], one.start_ns)
        )

    def dataset(self, runs: Iterable[Run], name: str) -> list[DatasetUse]:
        """Return what was recorded of a dataset in some runs; this reads their recordings."""
        order = {run.span_id: place for place, run in enumerate(runs)}
        files = {run.segment for run in runs}
        owner: dict[str, str] = {run: run for run in order}
        for some in _some(list(order)):
            for span, run, file in self._connection.execute(
                "select span, run, segment.name from node join segment on segment.id = segment"  # noqa: S608
                f" where run in ({','.join('?' * len(some))})",
                some,
            ):
                owner[span] = run
                files.add(file)
        folder = paths.recordings() if self._folder is None else self._folder
        found: dict[str, DatasetUse] = {}
        for one in chain.from_iterable(
            dataset_operations(folder / file, name) for file in sorted(files)
        ):
            run = owner.get(one.parent_id)
            if run is None:
                continue
            before = found.get(run) or DatasetUse(run, 0, 0, 0, 0, None, failed=False)
            took = max((one.end_ns or 0) - one.start_ns, 0)
            rows = one.attributes.get(names.DATASET_ROWS)
            loads = one.attributes.get(names.DATASET_OPERATION) == "load"
            found[run] = DatasetUse(
                run,
                before.loads + loads,
                before.load_ns + (took if loads else 0),
                before.saves + (not loads),
                before.save_ns + (0 if loads else took),
                rows if isinstance(rows, int) and not isinstance(rows, bool) else before.rows,
                before.failed or one.error,
            )
        return sorted(found.values(), key=lambda one: order[one.run])

    def node_names(self, runs: Iterable[Run]) -> list[str]:
        """Return the names of the nodes of some runs, sorted."""
        return self._names(runs, "1")

    def _names(self, runs: Iterable[Run], condition: str) -> list[str]:
        found: set[str] = set()
        for some in _some([run.span_id for run in runs]):
            marks = ",".join("?" * len(some))
            rows = self._connection.execute(
                f"select distinct name from node where run in ({marks}) and {condition}",  # noqa: S608
                some,
            )
            found.update(name for (name,) in rows)
        return sorted(found)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._connection.execute("rollback")
            raise
        self._connection.execute("commit")

    def _forget(self, numbers: list[int]) -> None:
        if not numbers:
            return
        self._connection.executemany(
            "delete from segment where id = ?", [(number,) for number in numbers]
        )
        for table in ("run", "node"):
            self._connection.execute(
                f"delete from {table} where segment not in (select id from segment)"  # noqa: S608
            )

    def _take(self, path: Path, identity: tuple[int, int, int]) -> None:
        settled = False
        runs: list[tuple[Any, ...]] = []
        figures: list[NodeFigures] = []
        try:
            segment, figures = nodes(path)
            settled = segment.alive is not True or not any(
                one.state == "open" for one in segment.operations
            )
            runs = [_run_row(entry) for entry in entries_of(segment)]
        except SegmentError as error:
            guard.let_through(error)
        number = self._connection.execute(
            "insert into segment(name, inode, size, mtime, settled) values(?, ?, ?, ?, ?)",
            (path.name, *identity, settled),
        ).lastrowid
        self._connection.executemany(
            f"insert into run values({number}, ?, ?, ?, ?, ?, ?, ?, ?)",
            runs,
        )
        self._connection.executemany(
            f"insert into node values({number}, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            map(_node_row, figures),
        )


def _some(ids: list[str]) -> Iterator[list[str]]:
    for begin in range(0, len(ids), _MANY):
        yield ids[begin : begin + _MANY]


def _known(doc: str) -> dict[str, Any]:
    """Return what is known of a run. Raises :class:`sqlite3.DatabaseError` where the file was damaged."""
    try:
        found: dict[str, Any] = json.loads(doc)
    except (TypeError, ValueError) as error:
        raise sqlite3.DatabaseError("damaged") from error
    return found


def _run_row(entry: Entry) -> tuple[Any, ...]:
    one = summary(entry, None, time.time_ns())
    known = one.plain()
    del known["error_message"]
    run = entry.run.attributes if entry.run else {}
    resource = entry.segment.header.resource
    doc = {
        **known,
        "took_ns": one.duration_ns,
        "begin_ns": entry.outermost.start_ns,
        "cpu_seconds": number(run.get(names.RUN_CPU)),
        "memory_bytes": number(run.get(names.RUN_PEAK)),
        "command_id": entry.command.span_id if entry.command else None,
        "revision": _word(run.get(names.REVISION)),
        "task": _word(run.get(names.TASK_NAME)),
        "ephemeral": one.header.ephemeral,
        "machine": one.header.machine_id[:8],
    }
    return (
        entry.operation.span_id,
        entry.outermost.span_id,
        one.start_ns,
        str(resource.get(names.PROJECT_ID) or ""),
        str(resource.get(names.PROJECT_NAME) or ""),
        one.pipeline,
        entry.run is not None,
        json.dumps(doc),
    )


def _node_row(one: NodeFigures) -> tuple[Any, ...]:
    span, run, name, start, end, state, error, cpu, memory, ended, error_type = one
    plain = state == ENDED and not error and not ended
    known = {} if plain else {names.OUTCOME: ended, names.ERROR_TYPE: error_type}
    word = outcome.OK if plain else outcome.word_of(state, error, known)
    took = max((end or start) - start, 0)
    error_type = error_type if error else ""
    return (span, run, start, took, _RANK.get(state, 0), name, word, error_type, cpu, memory)


def _word(value: object) -> str | None:
    return str(value) if value else None
