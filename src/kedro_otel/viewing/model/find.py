"""Which run is meant: newest first, reading no further than needed."""

from __future__ import annotations

import heapq
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from kedro_otel.recording.model import SegmentError
from kedro_otel.recording.reader import listing
from kedro_otel.recording.scan import glance
from kedro_otel.semconv import names
from kedro_otel.viewing.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kedro_otel.recording.model import Operation, Segment
    from kedro_otel.viewing.model.scope import Scope

LAST: Final = "last"
_PREFIX: Final = re.compile(r"[0-9a-fA-F]{4,32}")
_SHORT: Final = re.compile(r"[0-9a-fA-F]{1,3}")
_BACK: Final = re.compile(r"-[1-9]\d{0,5}")


class NotFoundError(LookupError):
    """No recorded run is the one asked for; the message says what to type next."""


class Entry(NamedTuple):
    """One line of ``kedro otel list``: a pipeline run, with the command that it was part of, or a command that ran no pipeline."""

    segment: Segment
    command: Operation | None
    run: Operation | None

    @property
    def operation(self) -> Operation:
        """The run, or else the command."""
        found = self.run or self.command
        assert found is not None, "an entry has one of them"  # noqa: S101
        return found

    @property
    def outermost(self) -> Operation:
        """The command, or else the run."""
        found = self.command or self.run
        assert found is not None, "an entry has one of them"  # noqa: S101
        return found

    @property
    def is_part(self) -> bool:
        """Whether other processes may have made parts of the same run, which has a key then."""
        return self.run is not None and names.RUN_KEY_SOURCE in self.run.attributes

    @property
    def run_id(self) -> str:
        """Kedro's id of the run, or nothing."""
        return str(self.run.attributes.get(names.RUN_ID, "")) if self.run else ""


class Found(NamedTuple):
    """The entry asked for, and a note where the question was not quite clear.

    ``failed`` is the last ``kedro run``, where that is newer than the entry and failed before its pipeline.
    """

    entry: Entry
    note: str = ""
    failed: Entry | None = None


def newest_first(folder: Path | None = None, scope: Scope | None = None) -> Iterator[Entry]:
    """Yield what ran, by its start, the latest first; with a scope, in that project alone."""
    entries = _newest_first(folder)
    if scope is None:
        return entries
    return (entry for entry in entries if scope.has(entry.segment.header))


def newest_runs(folder: Path | None = None, scope: Scope | None = None) -> Iterator[Entry]:
    """Yield the same, and of the parts of one run that several processes made the newest one alone."""
    seen: set[str] = set()
    for entry in newest_first(folder, scope):
        if entry.is_part:
            if entry.operation.trace_id in seen:
                continue
            seen.add(entry.operation.trace_id)
        yield entry


def _newest_first(folder: Path | None) -> Iterator[Entry]:
    """Yield every entry; a segment is read only when nothing later can be in another.

    What was last written at a time cannot hold what began after it: so files are opened by that time, and an entry is due
    when it began after the next file was last written. A run that goes on in a second segment is taken from that one, which
    was written last, and its command with it, which began before it.
    """
    files = sorted(listing(folder), key=lambda found: (found[1].st_mtime_ns, found[0].name))
    due: list[tuple[int, int, Entry]] = []
    seen: set[str] = set()
    serial = 0
    while files or due:
        while files and (not due or -due[0][0] < files[-1][1].st_mtime_ns):
            path, _ = files.pop()
            try:
                entries = entries_of(glance(path))
            except SegmentError:
                continue
            for entry in entries:
                serial += 1
                heapq.heappush(due, (-entry.operation.start_ns, serial, entry))
        if due:
            entry = heapq.heappop(due)[2]
            if entry.operation.span_id not in seen:
                seen.update((entry.operation.span_id, entry.outermost.span_id))
                yield entry


def find(run: str | None = None, folder: Path | None = None, scope: Scope | None = None) -> Found:
    """Return the entry that ``run`` names.

    Nothing: the last pipeline run. ``last``: the last command of any kind. ``-2``: the pipeline run before the last. These are of
    the scope's project. Else a run id of Kedro's, a trace id, or at least four characters of one, of any project.

    Raises:
        NotFoundError: No recorded run is the one asked for; the message says what to do.
    """
    entries = newest_runs(folder, scope)
    if not run or _BACK.fullmatch(run):
        return _back(-int(run or "-1"), entries, nothing(folder, scope))
    if run == LAST:
        entry = next(entries, None)
        if entry is None:
            raise NotFoundError(nothing(folder, scope))
        return Found(entry)
    return _named(run, newest_first(folder))


def nothing(folder: Path | None = None, scope: Scope | None = None) -> str:
    """Return the sentence for where nothing is recorded, or nothing of the scope's project."""
    if scope is not None and next(newest_first(folder), None) is not None:
        name = clean(scope.name or "this project", 60)
        return (
            f"nothing of the project {name} is recorded yet: type `kedro run` there;"
            " what ran in others: kedro otel list --all-projects"
        )
    return "nothing is recorded yet: type `kedro run` in a project, then `kedro otel show`"


def _back(steps: int, entries: Iterator[Entry], empty: str) -> Found:
    runs = commands = 0
    failed: Entry | None = None
    for entry in entries:
        commands += entry.run is None
        runs += entry.run is not None
        if runs == steps:
            return Found(entry, failed=failed if steps == 1 else None)
        if failed is None and _failed_early(entry):
            failed = entry
    if runs:
        raise NotFoundError(
            f"only {runs} pipeline run{'s are' if runs > 1 else ' is'} recorded: `kedro otel list` shows what there is"
        )
    if commands:
        raise NotFoundError(
            "no pipeline run is recorded yet, only other commands: type `kedro run`, or `kedro otel show last` for the last command"
        )
    raise NotFoundError(empty)


def _failed_early(entry: Entry) -> bool:
    """Return whether this is a ``kedro run`` that failed before its pipeline."""
    command = entry.command
    return (
        entry.run is None
        and command is not None
        and command.attributes.get(names.COMMAND_NAME) == "run"
        and command.error
    )


def _named(run: str, entries: Iterator[Entry]) -> Found:
    prefix = run.lower() if _PREFIX.fullmatch(run) else None
    matching: list[Entry] = []
    some = False
    for entry in entries:
        some = True
        if run == entry.run_id:
            return Found(entry)
        if prefix and entry.operation.trace_id.startswith(prefix):
            matching.append(entry)
    if not some:
        raise NotFoundError(nothing())
    if not matching:
        raise NotFoundError(
            "at least four characters of a trace id are needed, or a number such as -2: `kedro otel list` shows both"
            if _SHORT.fullmatch(run)
            else "no recorded run has this run id or trace id: `kedro otel list` shows what there is"
        )
    first = matching[0]
    others = {entry.outermost.span_id for entry in matching} - {first.outermost.span_id}
    if not others:
        return Found(first)
    same = all(entry.operation.trace_id == first.operation.trace_id for entry in matching)
    what = (
        f"{len(others) + 1} commands share this trace"
        if same
        else f"{len(others) + 1} commands match {run}"
    )
    return Found(first, f"{what}; this is the newest")


def entries_of(segment: Segment) -> list[Entry]:
    """Return the pipeline runs of a segment, and its commands that ran none."""
    commands = {
        operation.span_id: operation
        for operation in segment.operations
        if operation.operation == names.COMMAND
    }
    runs = [operation for operation in segment.operations if operation.operation == names.RUN]
    entries = [Entry(segment, commands.get(run.parent_id), run) for run in runs]
    with_runs = {entry.command.span_id for entry in entries if entry.command}
    return entries + [
        Entry(segment, command, None)
        for command in commands.values()
        if command.span_id not in with_runs
    ]
