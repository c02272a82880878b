"""Advice as lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from kedro_otel.viewing.model.advice import MARGIN, THREADS
from kedro_otel.viewing.terminal.console import fit
from kedro_otel.viewing.text import bytes_of, clean, count, duration

if TYPE_CHECKING:
    from kedro_otel.viewing.model.advice import Advice, Prediction

_NAME = 40


def table(found: Advice, width: int) -> list[Text]:
    """Return requests by node and for the run, then what workers would bring."""
    longest = max((len(clean(one.name)) for one in found.nodes), default=0)
    name = min(max(longest, len("the whole run")), _NAME, max(width - 44, 12))
    lines = [
        Text(f"{'':{name}} {'time':>9} {'CPU':>6} {'peak':>9} {'request':>9}", "bright_black"),
        _row("the whole run", found.took_ns, found.cpu, found.peak, found.request, name, "bold"),
    ]
    lines += [
        _row(one.name, one.took_ns, one.cpu, one.peak, one.request, name, "") for one in found.nodes
    ]
    of = f"of {count(found.runs, 'run')}" if found.runs > 1 else "of one run"
    lines.append(
        Text(f"request: the highest peak {of} and {MARGIN:.0%}, in 64 MiB", "bright_black")
    )
    if found.predictions:
        lines += [Text(""), Text("with workers, by this run one node after another", "bold")]
        lines += [_prediction(one, found) for one in found.predictions]
    elif not found.sequential:
        lines.append(Text("what workers would bring is worked out from a SequentialRunner's run"))
    return lines


def _row(
    label: str,
    took_ns: int,
    cpu: float | None,
    peak: int | None,
    request: int | None,
    name: int,
    style: str,
) -> Text:
    share = "" if cpu is None else f"{cpu:.0%}"
    return Text(
        f"{fit(clean(label), name)} {duration(took_ns):>9} {share:>6} "
        f"{_bytes(peak):>9} {_bytes(request):>9}",
        style,
    )


def _prediction(one: Prediction, found: Advice) -> Text:
    share = one.took_ns / found.took_ns - 1 if found.took_ns else 0.0
    words = f"{one.runner}, {count(one.workers, 'worker')}: about {duration(one.took_ns)} ({share:+.0%})"
    if one.most_ns - one.least_ns > one.took_ns / 50:
        words += f", {duration(one.least_ns)} to {duration(one.most_ns)} by the order that comes"
    if one.peak is not None:
        words += f"; {_bytes(one.peak)}" + ("" if one.runner == THREADS else " in all processes")
    return Text(f"  {words}")


def _bytes(number: int | None) -> str:
    return "" if number is None else bytes_of(number)
