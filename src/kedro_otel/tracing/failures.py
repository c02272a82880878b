"""What an exception says about where a run failed."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

from kedro_otel import names, project

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_TASK = "kedro.runner.task"


def type_name(error: BaseException) -> str:
    """Return the class of ``error``: bare for a built-in, else with its module."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def facts(error: BaseException | None, root: Path | None) -> dict[str, Any]:
    """Return the attributes of a failure: its type, and file and line of the innermost frame inside the project ``root``.

    Where no frame is the project's, the innermost of all counts, by its file's name alone. Without an exception (nothing
    told us why) the type is ``_OTHER``.
    """
    if error is None:
        return {names.ERROR_TYPE: names.OTHER}
    found: dict[str, Any] = {names.ERROR_TYPE: type_name(error)}
    inside = last = None
    prefix = f"{root}/" if root else None
    step: TracebackType | None = error.__traceback__
    while step is not None:
        last = step
        file = step.tb_frame.f_code.co_filename
        if prefix and file.startswith(prefix) and "/site-packages/" not in file:
            inside = step
        step = step.tb_next
    where = inside or last
    if where is not None:
        file = where.tb_frame.f_code.co_filename
        found[names.ERROR_FILE] = project.relative(file, root) if root else file.replace("\\", "/").rsplit("/", 1)[-1]
        found[names.ERROR_LINE] = where.tb_lineno
    return found


def node_of(error: BaseException) -> Any:
    """Return the Kedro node whose task ``error`` came through, or None; a failed load or a generator names it nowhere else."""
    step = error.__traceback__
    while step is not None:
        frame = step.tb_frame
        if frame.f_globals.get("__name__") == _TASK and frame.f_code.co_name == "execute":
            return getattr(frame.f_locals.get("self"), "node", None)
        step = step.tb_next
    return None


def behind(error: BaseException | None) -> BaseException | None:
    """Return what made click leave: the usage error or Ctrl-C behind its ``SystemExit``, else ``error`` itself."""
    if not isinstance(error, SystemExit):
        return error
    import click  # noqa: PLC0415 -- loaded by Kedro; this module is also used without it

    context = error.__context__
    if isinstance(context, click.exceptions.Abort):
        return context.__cause__ or KeyboardInterrupt()
    return context if isinstance(context, click.ClickException) else error


def event(error: BaseException, when_ns: int) -> tuple[str, int, dict[str, Any]]:
    """Return the ``exception`` event of the semantic conventions, with message and stack trace: for ``full`` detail only."""
    stack = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    values = {names.EXCEPTION_TYPE: type_name(error), names.EXCEPTION_MESSAGE: str(error), names.EXCEPTION_STACKTRACE: stack}
    return ("exception", when_ns, values)
