"""The public Python API: what ran, for notebooks and scripts. Import it from ``kedro_otel``."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from html import escape
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kedro_otel.recording.model import Value
from kedro_otel.semconv import names
from kedro_otel.viewing.model import outcome
from kedro_otel.viewing.model.critical_path import critical_path
from kedro_otel.viewing.model.find import NotFoundError, find, newest_first
from kedro_otel.viewing.model.phases import totals
from kedro_otel.viewing.model.summary import of_trace, summarised
from kedro_otel.viewing.model.trace import load
from kedro_otel.viewing.text import clean, duration

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell
    from pandas import DataFrame

    from kedro_otel.viewing.model.find import Entry
    from kedro_otel.viewing.model.summary import Summary
    from kedro_otel.viewing.model.trace import Span, Trace

__all__ = [
    "Dataset",
    "Node",
    "NotFoundError",
    "Run",
    "get_run",
    "last",
    "load_ipython_extension",
    "runs",
]

_HEIGHT: Final = 640
"""Pixels of a run that shows itself in a notebook."""


class Node(NamedTuple):
    """A node of a run.

    Attributes:
        name: The node's name, with its namespace.
        outcome: How it ended: ``ok``, ``failed``, ``killed``, ``interrupted``, ``running`` or ``unknown``.
        start: When it began, with the time zone UTC.
        duration: How long it took, in seconds; how long it has taken so far while it runs.
        load: Seconds spent loading its inputs.
        compute: Seconds spent in its function.
        save: Seconds spent saving its outputs.
        hooks: Seconds spent in hooks and in what Kedro does between.
        critical: Whether it is on the critical path, the chain that no number of workers makes shorter.
        error_type: The class of what it failed with, such as ``ValueError``; empty if it did not fail.
        attributes: Everything else that is known of it, by the keys of docs/telemetry.md.
    """

    name: str
    outcome: str
    start: datetime
    duration: float
    load: float
    compute: float
    save: float
    hooks: float
    critical: bool
    error_type: str
    attributes: dict[str, Value]


class Dataset(NamedTuple):
    """One load or save of a dataset.

    Attributes:
        name: The dataset's name in the catalog.
        operation: ``load`` or ``save``.
        type: The dataset's class, such as ``pandas.csv_dataset.CSVDataset``; empty if it is not known.
        node: The name of the node that it was loaded or saved for; empty if it is not known.
        outcome: How it ended, as of a node.
        start: When it began, with the time zone UTC.
        duration: How long it took, in seconds.
        error_type: The class of what it failed with; empty if it did not fail.
        attributes: Everything else that is known of it, by the keys of docs/telemetry.md.
    """

    name: str
    operation: str
    type: str
    node: str
    outcome: str
    start: datetime
    duration: float
    error_type: str
    attributes: dict[str, Value]


class Run:
    """A recorded pipeline run, or a command that ran none. In a notebook it shows itself as the page of `kedro otel report`.

    It is read when something of it is asked for, once. A run that goes on is as it was then: ask
    :func:`last` or :func:`get_run` again.

    Attributes:
        trace_id: The trace that it belongs to: 32 hex digits.
        run_id: Kedro's id of the run; empty if Kedro gave none.
        outcome: How it ended: ``ok``, ``failed``, ``killed``, ``interrupted``, ``running`` or ``unknown``.
        start: When it began, with the time zone UTC.
        duration: How long it took, in seconds, without the start of the command around it.
        command: The masked command line, such as ``kedro run``; empty for a run in Python.
        pipeline: The pipeline's name; empty if it is not known.
        runner: The runner's class; empty if it is not known.
        environment: Kedro's configuration environment; empty if it is not known.
        project: The project's name; empty if it is not known.
        error_type: The class of what it failed with; empty if it did not fail.
    """

    def __init__(self, entry: Entry, summary: Summary | None = None) -> None:
        """Take what was found; use :func:`runs`, :func:`last` or :func:`get_run` to find it."""
        self._entry = entry
        self._loaded: Trace | None = None
        found = of_trace(self._trace) if summary is None else summary
        self.trace_id: str = found.trace_id
        self.run_id: str = found.run_id
        self.outcome: str = found.outcome
        self.start: datetime = _time(found.start_ns)
        self.duration: float = found.duration_ns / 1e9
        self.command: str = found.command
        self.pipeline: str = found.pipeline
        self.runner: str = found.runner
        self.environment: str = found.environment
        self.project: str = found.project
        self.error_type: str = found.error_type

    @property
    def nodes(self) -> list[Node]:
        """The nodes, by their start.

        Raises:
            NotFoundError: The recording was removed meanwhile.
        """
        found = self._spans(names.NODE)
        critical = {id(node) for node in critical_path(found).nodes}
        return [_node(node, critical=id(node) in critical) for node in found]

    @property
    def datasets(self) -> list[Dataset]:
        """The loads and saves of datasets, parameters included, by their start.

        Raises:
            NotFoundError: The recording was removed meanwhile.
        """
        return [_dataset(span) for span in self._spans(names.DATASET)]

    @property
    def failures(self) -> list[str]:
        """One sentence for each failure: what, where, and the message where it was recorded.

        Raises:
            NotFoundError: The recording was removed meanwhile.
        """
        return [
            clean(": ".join(filter(None, (outcome.place(one.span), one.type, one.message))))
            for one in outcome.failures(self._trace)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data, as `kedro otel show --json` prints it.

        Raises:
            NotFoundError: The recording was removed meanwhile.
        """
        from kedro_otel.viewing.trace_json import document

        return document(self._trace)

    def to_pandas(self) -> DataFrame:
        """Return the nodes as a pandas DataFrame, one row each, with the columns of :class:`Node` but ``attributes``.

        Raises:
            ImportError: pandas is not installed.
            NotFoundError: The recording was removed meanwhile.
        """
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise ImportError(
                "to_pandas() needs pandas: pip install pandas. Without it: run.nodes"
            ) from error

        columns = [field for field in Node._fields if field != "attributes"]
        return DataFrame([node[: len(columns)] for node in self.nodes], columns=columns)

    def to_html(self) -> str:
        """Return the page that `kedro otel report` writes: one HTML document that loads nothing.

        Raises:
            NotFoundError: The recording was removed meanwhile.
        """
        from kedro_otel.viewing.html.page import page

        return page(self._trace)

    def report(self, path: str | Path) -> Path:
        """Write that page to a file.

        Args:
            path: The file, which is replaced if it exists.

        Returns:
            The path of the file.

        Raises:
            NotFoundError: The recording was removed meanwhile.
            OSError: The file cannot be written.
        """
        found = Path(path)
        found.write_text(self.to_html(), encoding="utf-8")
        return found

    def _repr_html_(self) -> str:
        """Return the page in a frame of its own: neither the page nor the notebook can reach the other."""
        return (
            f'<iframe title="{escape(clean(str(self)))}" sandbox="allow-scripts" '
            f'style="width:100%;height:{_HEIGHT}px;border:0" srcdoc="{escape(self.to_html())}"></iframe>'
        )

    def __repr__(self) -> str:
        what = self.command or "in Python"
        parts = [self.outcome, duration(round(self.duration * 1e9)), what, self.pipeline]
        return clean(f"<Run {self.trace_id[:8]} {' · '.join(filter(None, parts))}>")

    @property
    def _trace(self) -> Trace:
        if self._loaded is None:
            self._loaded = load(self._entry)
        return self._loaded

    def _spans(self, kind: str) -> list[Span]:
        top = self._trace.run or self._trace.root
        found = [span for span in top.walk() if span.operation.operation == kind]
        return sorted(found, key=lambda span: span.operation.start_ns)


def runs(
    limit: int | None = 20,
    *,
    pipeline: str | None = None,
    failed: bool = False,
    commands: bool = False,
) -> list[Run]:
    """Return what was recorded on this machine, the newest first.

    Args:
        limit: At most so many; None is all.
        pipeline: Only runs of the pipeline of this name.
        failed: Only what failed, was killed or was interrupted.
        commands: Also commands that ran no pipeline.

    Returns:
        The runs; an empty list where nothing is recorded.
    """
    found = (
        Run(entry, summary)
        for entry, summary in summarised(newest_first(), time.time_ns())
        if (commands or entry.run is not None)
        and (pipeline is None or summary.pipeline == pipeline)
        and (not failed or summary.outcome in outcome.BAD)
    )
    return list(islice(found, limit))


def last() -> Run:
    """Return the last pipeline run.

    Raises:
        NotFoundError: None is recorded; the message says what to do.
    """
    return get_run("-1")


def get_run(run: str) -> Run:
    """Return the run that `kedro otel show RUN` shows.

    Args:
        run: ``-2`` for the run before the last, ``last`` for the last command of any kind, a run
            id of Kedro's, a trace id, or at least four characters of one.

    Raises:
        NotFoundError: No recorded run is the one asked for; the message says what to do.
    """
    return Run(find(run).entry)


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Add ``%otel_show [RUN]``, which shows a run in a notebook: ``%load_ext kedro_otel``.

    Args:
        shell: IPython's shell, which calls this.
    """

    def otel_show(line: str) -> Run | None:
        """Show a recorded run: %otel_show RUN, with RUN as for `kedro otel show`."""
        try:
            return get_run(line.strip() or "-1")
        except NotFoundError as error:
            print(f"kedro-otel: {error}")  # noqa: T201 (a notebook's cell has no other place)
            return None

    shell.register_magic_function(otel_show, "line", "otel_show")  # type: ignore[arg-type]


def _node(span: Span, *, critical: bool) -> Node:
    operation, spent = span.operation, totals(span)
    return Node(
        name=str(operation.attributes.get(names.NODE_NAME, operation.name)),
        outcome=outcome.word(operation),
        start=_time(operation.start_ns),
        duration=span.duration_ns / 1e9,
        load=spent.load_ns / 1e9,
        compute=spent.compute_ns / 1e9,
        save=spent.save_ns / 1e9,
        hooks=spent.hooks_ns / 1e9,
        critical=critical,
        error_type=_error_type(span),
        attributes=dict(operation.attributes),
    )


def _dataset(span: Span) -> Dataset:
    operation = span.operation
    known = operation.attributes
    node = span.parent.operation.attributes if span.parent else {}
    return Dataset(
        name=str(known.get(names.DATASET_NAME, operation.name)),
        operation=str(known.get(names.DATASET_OPERATION, "")),
        type=str(known.get(names.DATASET_TYPE, "")),
        node=str(node.get(names.NODE_NAME, "")),
        outcome=outcome.word(operation),
        start=_time(operation.start_ns),
        duration=span.duration_ns / 1e9,
        error_type=_error_type(span),
        attributes=dict(known),
    )


def _error_type(span: Span) -> str:
    operation = span.operation
    return str(operation.attributes.get(names.ERROR_TYPE, "")) if operation.error else ""


def _time(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, tz=timezone.utc)
