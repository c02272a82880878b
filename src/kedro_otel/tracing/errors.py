"""What an exception says about where a run failed."""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final

from kedro_otel.semconv import names

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_TASK = "kedro.runner.task"


class Terminated(BaseException):
    """Stands for SIGTERM, which ends a process without an exception."""


def type_name(error: BaseException) -> str:
    """Return the class of ``error``: bare for a built-in, else with its module."""
    kind = type(error)
    if kind is Terminated:
        return names.TERMINATED
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )


def facts(error: BaseException | None, root: Path | None) -> dict[str, Any]:
    """Return the attributes of a failure: its type, its first cause's, and file and line of the innermost frame inside the project ``root``.

    Where no frame is the project's, the innermost one that is not Kedro's counts, by its file's name alone. Without an
    exception (no hook says why) the type is ``_OTHER``.
    """
    if error is None:
        return {names.ERROR_TYPE: names.OTHER}
    found: dict[str, Any] = {names.ERROR_TYPE: type_name(error)}
    cause = _first_cause(error)
    if cause is not None and type(cause) is not type(error):
        found[names.ERROR_CAUSE] = type_name(cause)
    where = _inside(error, root) or _outside_kedro(cause or error) or _outside_kedro(error)
    if where is not None:
        from kedro_otel.facts import project

        file = where.tb_frame.f_code.co_filename
        found[names.ERROR_FILE] = (
            project.relative(file, root) if root else file.replace("\\", "/").rsplit("/", 1)[-1]
        )
        found[names.ERROR_LINE] = where.tb_lineno
    return found


def _inside(error: BaseException, root: Path | None) -> TracebackType | None:
    """Return the innermost frame inside the project, of ``error`` or of what caused it (Kedro wraps what datasets raise)."""
    prefix = _spelled(f"{root}/") if root else None
    cause: BaseException | None = error
    seen: set[int] = set()
    while prefix and cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        found, step = None, cause.__traceback__
        while step is not None:
            file = _spelled(step.tb_frame.f_code.co_filename)
            if file.startswith(prefix) and "/site-packages/" not in file:
                found = step
            step = step.tb_next
        if found is not None:
            return found
        cause = cause.__cause__ or cause.__context__
    return None


def _spelled(path: str) -> str:
    """Return ``path`` with one kind of separator and, where the system does not tell them apart, one of letters."""
    return os.path.normcase(path).replace("\\", "/")


def _first_cause(error: BaseException) -> BaseException | None:
    """Return the exception at the end of the chain that ``raise … from`` makes; None where there is no chain."""
    seen = {id(error)}
    found, cause = None, error.__cause__
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        found, cause = cause, cause.__cause__
    return found


def _outside_kedro(error: BaseException) -> TracebackType | None:
    """Return the innermost frame that is no code of Kedro's: that code names no place that a user could mend."""
    found, step = None, error.__traceback__
    while step is not None:
        package = str(step.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        if package != "kedro":
            found = step
        step = step.tb_next
    return found


def _last(error: BaseException) -> TracebackType | None:
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    return step


def node_of(error: BaseException) -> Any:
    """Return the Kedro node whose task ``error`` came through, or None; a failed load or a generator names it nowhere else."""
    step = error.__traceback__
    while step is not None:
        frame = step.tb_frame
        if frame.f_globals.get("__name__") == _TASK and frame.f_code.co_name == "execute":
            return getattr(frame.f_locals.get("self"), "node", None)
        step = step.tb_next
    return None


_UNHEARD: Final = "_PacifyFlushWrapper"
"""Click's class of stdout after whoever read it has gone."""


def behind(error: BaseException | None) -> BaseException | None:
    """Return what made click leave: the usage error, Ctrl-C or reader gone behind its ``SystemExit``, else ``error`` itself.

    Older releases of click exit while they handle the exception, which is then the context; 8.5 keeps only how it is
    going to be reported, in a local variable.
    """
    if not isinstance(error, SystemExit):
        return error
    import click

    context = error.__context__
    if isinstance(context, click.exceptions.Abort):
        return context.__cause__ or KeyboardInterrupt()
    if isinstance(context, click.ClickException | BrokenPipeError):
        return context
    return _kept_by_click(error) or error


def _kept_by_click(error: SystemExit) -> BaseException | None:
    """Return what click 8.5 is leaving for, from the local variables of its ``main``; None where that is nothing or not known."""
    import click

    last = _last(error)
    frame = last.tb_frame if last is not None else None
    if (
        frame is not None
        and frame.f_globals.get("__name__") == "click.core"
        and frame.f_code.co_name == "main"
    ):
        report = frame.f_locals.get("report")
        reported = getattr(report, "__self__", None)
        if isinstance(reported, click.ClickException):
            return reported
        if report is not None:
            return KeyboardInterrupt()
        if type(sys.stdout).__name__ == _UNHEARD:
            return BrokenPipeError()
    return None


def event(error: BaseException, when_ns: int) -> tuple[str, int, dict[str, Any]]:
    """Return the ``exception`` event of the semantic conventions, with message and stack trace: for ``full`` detail only.

    An exception that cannot say what it is has a message all the same, as in Python's own stack traces.
    """
    stack = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    values = {
        names.EXCEPTION_TYPE: type_name(error),
        names.EXCEPTION_MESSAGE: str(traceback.TracebackException(type(error), error, None)),
        names.EXCEPTION_STACKTRACE: stack,
    }
    return ("exception", when_ns, values)
