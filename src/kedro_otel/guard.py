"""Never break the user's run: the one place where an exception of this package is swallowed.

An exception that arises while our frames are on the stack need not be ours. A signal's handler, a
trace function or another thread raises in whichever frame runs just then, and the user waits for
it. :func:`is_foreign` tells the two apart by the traceback; every ``except`` on the path of a user's
process asks it, through :func:`guarded`, :func:`swallow`, :func:`let_through` or :class:`suppress`.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

if TYPE_CHECKING:
    from types import CodeType, FrameType, TracebackType

_F = TypeVar("_F", bound=Callable[..., Any])

RAISE: Final = "KEDRO_OTEL_RAISE"
"""Environment variable that makes guarded functions re-raise: for this package's own tests only."""

errors: Counter[str] = Counter()
"""How often each guarded function failed in this process, by qualified name."""

_OURS: Final = __name__.partition(".")[0]
_LIBRARIES: Final = frozenset(
    {
        _OURS,
        "eventlet",
        "gevent",
        "greenlet",
        "kedro",
        "opentelemetry",
        "platformdirs",
        "tomli",
        "yaml",
    }
)
"""Packages that our code calls, or is interrupted in: none raises a class that it does not know."""

_VARARGS: Final = 0x04  # inspect.CO_VARARGS


def guarded(function: _F) -> _F:
    """Return ``function`` such that an :class:`Exception` of ours in it is logged once and counted.

    ``BaseException`` (Ctrl-C, SystemExit) passes, and so does what :func:`is_foreign` finds. With
    ``KEDRO_OTEL_RAISE`` set every exception passes.
    """
    return guarded_or(lambda: None)(function)


def guarded_or(instead: Callable[[], Any]) -> Callable[[_F], _F]:
    """Return a decorator like :func:`guarded` for a function that must answer: with ``instead``."""

    def decorate(function: _F) -> _F:
        @functools.wraps(function)
        def guard(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except Exception as error:
                swallow(function.__qualname__, error)
                return instead()

        return cast("_F", guard)

    return decorate


def swallow(where: str, error: Exception) -> None:
    """Count ``error`` under ``where`` and log it, the first time only, at DEBUG with its stack.

    Raises:
        Exception: ``error`` itself, where it is not ours to swallow.
    """
    if os.environ.get(RAISE) or is_foreign(error):
        raise error
    errors[where] += 1
    if errors[where] == 1:
        logging.getLogger("kedro_otel").debug(
            "kedro-otel failed in %s; your run goes on unchanged.", where, exc_info=error
        )


def let_through(error: BaseException) -> None:
    """Raise ``error`` again if it is not ours: the first line of an ``except`` that would end it."""
    if is_foreign(error):
        raise error


class suppress(contextlib.suppress):  # noqa: N801 -- named as what it stands for
    """:class:`contextlib.suppress` that lets through what :func:`is_foreign` finds."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Return whether the exception ends here."""
        ended = bool(super().__exit__(kind, error, trace))
        return ended and error is not None and not is_foreign(error)


def is_foreign(error: BaseException) -> bool:
    """Return whether ``error`` was raised by code that no code of this package called.

    That is so if a frame in the traceback interrupted the frame before it, or if nothing in the
    traceback could have raised an exception of this class: another thread set it.
    """
    trace = error.__traceback__
    if trace is None:
        return False
    roots = {_root(trace.tb_frame)}
    while trace.tb_next is not None:
        before, trace = trace.tb_frame, trace.tb_next
        if _interrupts(trace.tb_frame, before):
            return True
        roots.add(_root(trace.tb_frame))
    if not all(root in _LIBRARIES or root in sys.stdlib_module_names for root in roots):
        return False
    kind = type(error).__module__.partition(".")[0]
    if kind == "builtins":
        return _came_from_nowhere(error, trace)
    return kind not in roots and kind not in sys.stdlib_module_names


def _root(frame: FrameType) -> str:
    """Return the package whose code ``frame`` runs."""
    return str(frame.f_globals.get("__name__")).partition(".")[0]


def _interrupts(frame: FrameType, before: FrameType) -> bool:
    """Return whether the interpreter called ``frame`` in the middle of the frame ``before`` it.

    A signal's handler, a trace or profile function is given the frame that it interrupts, and a
    callback of ``sys.monitoring`` that frame's code. A handler may delete its arguments; then it is
    known by being installed.
    """
    if _root(frame) == _OURS:
        return False
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & _VARARGS)
    known = frame.f_locals
    for name in code.co_varnames[:count]:
        value = known.get(name)
        for one in value if type(value) is tuple else (value,):
            if one is before or one is before.f_code:
                return True
    return code in _handlers()


def _handlers() -> set[CodeType]:
    """Return the code of every handler of a signal that is installed now."""
    import signal

    found: set[CodeType] = set()
    for number in signal.valid_signals():
        handler: Any = signal.getsignal(number)
        while isinstance(handler, functools.partial):
            handler = handler.func
        if callable(handler):
            method = getattr(handler, "__func__", handler)
            called = method if hasattr(method, "__code__") else type(handler).__call__
            code = getattr(called, "__code__", None)
            if code is not None:
                found.add(code)
    return found


def _came_from_nowhere(error: BaseException, trace: TracebackType) -> bool:
    """Return whether a built-in exception without arguments arose where nothing raises one."""
    if error.args or isinstance(
        error, MemoryError | RecursionError | StopIteration | StopAsyncIteration | GeneratorExit
    ):
        return False
    import opcode

    return trace.tb_frame.f_code.co_code[trace.tb_lasti] not in {
        opcode.opmap[name] for name in ("RAISE_VARARGS", "RERAISE") if name in opcode.opmap
    }
