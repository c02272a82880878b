"""Whose exception is it? Every place on a user's path that could end one asks."""

from __future__ import annotations

import ast
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import kedro_otel
from kedro_otel import guard

PACKAGE = Path(kedro_otel.__file__).parent
ELSEWHERE = (
    "cli/",
    "runtime/notifier.py",
    "testing.py",
    "viewing/",
    "shipping/failpoints.py",
    "shipping/preview.py",
    "shipping/shipper.py",
    "shipping/status.py",
    "shipping/transport/",
    "shipping/process/daemon.py",
    "shipping/process/detached.py",
    "shipping/process/foreground.py",
    "shipping/process/stdin.py",
    "shipping/process/trial.py",
    "shipping/state/aggregation.py",
    "shipping/state/dead_letters.py",
    "shipping/state/pruning.py",
    "shipping/state/segment_feed.py",
)
"""What runs in no user's process: commands of ours, and the detached processes."""

BROAD = {"BaseException", "Exception", "OSError", "ValueError", "RuntimeError", "TimeoutError"}
"""What a handler of a user's may well raise: a clause that names a subclass of them alone ends nothing of it."""

ASKS = {"let_through", "swallow"}


def modules() -> Iterator[Path]:
    """Yield the modules that a user's process may load."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if not str(path.relative_to(PACKAGE)).startswith(ELSEWHERE):
            yield path


def named(node: ast.expr | None) -> set[str]:
    """Return the exceptions that a clause names."""
    if node is None:
        return {"BaseException"}
    names = node.elts if isinstance(node, ast.Tuple) else [node]
    return {name.id for name in names if isinstance(name, ast.Name)} | {
        name.attr for name in names if isinstance(name, ast.Attribute)
    }


def asks(clause: ast.ExceptHandler) -> bool:
    """Tell whether a clause begins with the question, or ends with the exception itself."""
    first = clause.body[0]
    called = first.value if isinstance(first, ast.Expr) else None
    if isinstance(called, ast.Call):
        name = called.func
        if (
            isinstance(name, ast.Attribute | ast.Name)
            and (name.attr if isinstance(name, ast.Attribute) else name.id) in ASKS
        ):
            return True
    last = clause.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def test_every_clause_asks() -> None:
    """No `except` of a broad class, and no `contextlib.suppress`, ends an exception without asking whose it is."""
    found = []
    for path in modules():
        if path.name == "guard.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ExceptHandler) and named(node.type) & BROAD and not asks(node):
                found.append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
                words = ast.unparse(node.func)
                broad = set().union(*(named(one) for one in node.args)) & BROAD
                if words in {"contextlib.suppress", "suppress"} and broad:
                    found.append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    assert found == []


class UsersError(Exception):
    """Of a user's."""


def caught(function: Callable[[], Any]) -> BaseException:
    """Return what ``function`` raises, as a clause of ours would see it."""
    scope: dict[str, Any] = {"__name__": "kedro_otel.runtime.anything", "function": function}
    exec(
        "def ours():\n    try:\n        function()\n    except Exception as error:\n        return error",
        scope,
    )
    error = scope["ours"]()
    assert isinstance(error, BaseException)
    return error


def interrupted(handler: Callable[..., Any]) -> Callable[[], None]:
    """Return a function of this package's in the middle of which ``handler`` is called as the interpreter would call it."""
    scope: dict[str, Any] = {
        "__name__": "kedro_otel.recording.anything",
        "signal": signal,
        "handler": handler,
    }
    exec(INTERRUPTED, scope)
    return scope["write"]  # type: ignore[no-any-return]


INTERRUPTED = """
def write():
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
"""


def ring(number: int, frame: FrameType) -> None:
    """Raise as a soft time limit does."""
    raise TimeoutError("out of time")


def test_a_handlers_exception_is_foreign() -> None:
    """Its class does not matter: a built-in one with words that ours could have raised is foreign too."""
    assert guard.is_foreign(caught(interrupted(ring)))


def fails() -> None:
    """Raise what a call of ours to the user's code meets."""
    raise UsersError("in a property of a dataset")


def test_what_our_call_to_the_users_code_meets_is_ours() -> None:
    """Without us it would not have been called, so that it must not be seen."""
    assert not guard.is_foreign(caught(fails))


@pytest.mark.parametrize(
    "code",
    [
        "open('/nowhere/at/all')",
        "{}['x']",
        "raise TimeoutError",
        "int('x')",
        "next(iter(()))",
        "import no_such_module",
    ],
)
def test_what_arises_in_our_code_is_ours(code: str) -> None:
    """What the system and Python's library raise, with words or without."""
    scope: dict[str, Any] = {"__name__": "kedro_otel.facts.anything"}
    exec(f"def ours():\n    {code}", scope)
    assert not guard.is_foreign(caught(scope["ours"]))


def test_swallowing_lets_a_foreign_one_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guarded function, a clause that asks and a block that suppresses all end what is ours and nothing else."""
    monkeypatch.delenv("KEDRO_OTEL_RAISE")
    ours, theirs = caught(fails), caught(interrupted(ring))
    guard.let_through(ours)
    guard.swallow("here", ours)  # type: ignore[arg-type]
    assert guard.errors.pop("here") == 1
    with pytest.raises(TimeoutError):
        guard.let_through(theirs)
    with pytest.raises(TimeoutError):
        guard.swallow("here", theirs)  # type: ignore[arg-type]
    assert "here" not in guard.errors
    with guard.suppress(OSError):
        Path("/nowhere/at/all").read_bytes()
