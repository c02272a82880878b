"""The right questions for counters that many short-lived processes feed rarely.

`rate` and `increase` extrapolate between samples and miss a series' first one, and a bare `sum(x)` forgets whoever has not spoken for five
minutes. So every query here subtracts two remembered values instead; each counter starts with an explicit zero, so nothing is missed and nothing
is guessed.
"""

from __future__ import annotations

MEMORY = "30d"
"""How long a silent installation's last value counts; Prometheus keeps 90 days."""

RANGE = "$__range"
"""The time range chosen in Grafana."""


def last(selector: str, offset: str = "") -> str:
    """The last value of each series, however long ago (within :data:`MEMORY`)."""
    return f"last_over_time({selector}[{MEMORY}]{f' offset {offset}' if offset else ''})"


def grown(selector: str, window: str = RANGE, offset: str = "", before: str = "") -> str:
    """How much each counter grew in the window that ends ``offset`` ago; ``before`` is window plus offset, where they differ from the window."""
    now = last(selector, offset)
    return f"({now} - ({last(selector, before or window)} or {now} * 0))"


def total(selector: str, *by: str, window: str = RANGE) -> str:
    """The growth summed by these labels."""
    return f"sum{_by(by)}({grown(selector, window)})"


def each_day(selector: str, *by: str) -> str:
    """The growth of the day that *begins* at each step of one day, so that today's bar is there before the day is over."""
    return f"sum{_by(by)}({grown(selector, offset='-1d', before='0s')})"


def none(expression: str) -> str:
    """The same, with 0 instead of nothing."""
    return f"({expression}) or vector(0)"


def share(part: str, whole: str) -> str:
    """How much of the whole a part is, 0 to 1; nothing when there is no whole."""
    return f"(({part}) or vector(0)) / ({whole} > 0)"


def distinct(label: str, selector: str, *by: str) -> str:
    """How many values of a label did anything in the range, by these labels."""
    return f"count{_by(by)}(count by ({', '.join((label, *by))}) ({grown(selector)} > 0))"


def quantile(q: float, histogram: str, *by: str, window: str = RANGE) -> str:
    """A quantile of what a histogram took up in the window; nothing (rather than NaN) if that was nothing."""
    return f"histogram_quantile({q}, {total(histogram, 'le', *by, window=window)}) >= 0"


def named(expression: str) -> str:
    """Give each row a label ``project``: the project's name where it may leave (detail `run`), else the first eight digits of its id."""
    short = f'label_replace({expression}, "project", "$1", "kedro_project_id", "(.{{8}}).*")'
    return f'label_replace({short}, "project", "$1", "kedro_project_name", "(.+)")'


def commands(expression: str) -> str:
    """Give each row a label ``command``: `kedro` and the words that are known."""
    return f'label_replace({expression}, "command", "kedro $1", "kedro_command_name", "(.*)")'


def types(expression: str) -> str:
    """Give each row a label ``type``: a dataset's class with its family, `pandas.CSVDataset` for short."""
    whole = f'label_replace({expression}, "type", "$1", "kedro_dataset_type", "(.*)")'
    return f'label_replace({whole}, "type", "$1.$2", "kedro_dataset_type", "(?:.*[.])?([^.]+)[.][^.]+[.]([^.]+)")'


def called(expression: str, label: str) -> str:
    """The same rows, those without a name (detail `usage`) under one word."""
    return f'label_replace({expression}, "{label}", "(not named)", "{label}", "")'


def by_project(expression: str, *by: str, how: str = "sum") -> str:
    """Aggregate by project and these labels; the label ``project`` is a name to read, ``kedro_project_id`` tells namesakes apart."""
    return f"{how} by ({', '.join(('kedro_project_id', 'project', *by))}) ({named(expression)})"


def _by(labels: tuple[str, ...]) -> str:
    return f" by ({', '.join(labels)}) " if labels else " "
