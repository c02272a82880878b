"""The promise never to break the user's run: the one place where an exception of ours is swallowed."""

from __future__ import annotations

import functools
import logging
import os
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

_F = TypeVar("_F", bound=Callable[..., Any])

RAISE: Final = "KEDRO_OTEL_RAISE"
"""Environment variable that makes guarded functions re-raise: for this package's own tests only."""

errors: Counter[str] = Counter()
"""How often each guarded function failed in this process, by qualified name."""


def guarded(function: _F) -> _F:
    """Return ``function`` such that an :class:`Exception` in it is logged once, counted and swallowed.

    ``BaseException`` (Ctrl-C, SystemExit) passes. With ``KEDRO_OTEL_RAISE`` set the exception passes as well.
    """
    return guarded_or(lambda: None)(function)


def guarded_or(instead: Callable[[], Any]) -> Callable[[_F], _F]:
    """Return a decorator like :func:`guarded`, for what somebody else's code calls and needs an answer from: that of ``instead``."""

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
    """Count ``error`` under ``where`` and log it, the first time only, at DEBUG with its stack."""
    if os.environ.get(RAISE):
        raise error
    errors[where] += 1
    if errors[where] == 1:
        logging.getLogger("kedro_otel").debug(
            "kedro-otel failed in %s; your run goes on unchanged.", where, exc_info=error
        )
