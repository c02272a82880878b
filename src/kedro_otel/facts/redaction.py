"""What leaves of what was recorded: an allow-list by level, from the rows of :mod:`kedro_otel.semconv.fields`.

``usage``: commands and runs, without a word of the project. ``run``: names, nodes and datasets too. ``full``: messages,
stack traces, and what others' spans carry. A key without a row leaves at no level.
"""

from __future__ import annotations

import builtins
import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from kedro_otel.semconv import names
from kedro_otel.semconv.fields import FIELDS

if TYPE_CHECKING:
    from kedro_otel.recording.model import Header, Operation

RUNNERS: Final = frozenset({"SequentialRunner", "ParallelRunner", "ThreadRunner"})
"""Kedro's own runners; any other is the project's word."""

TOOLS: Final = frozenset(
    {
        "Linting",
        "Testing",
        "Custom Logging",
        "Documentation",
        "Data Structure",
        "PySpark",
        "Kedro Viz",
        "None",
    }
)
"""What ``kedro new`` can write into ``[tool.kedro] tools``."""

COMMANDS: Final = frozenset(
    {
        "catalog",
        "info",
        "ipython",
        "jupyter",
        "micropkg",
        "new",
        "otel",
        "package",
        "pipeline",
        "registry",
        "run",
        "server",
        "starter",
    }
)
"""Kedro's own commands: a project that redefines one says no word of its own by naming it."""

_EXAMPLE: Final = frozenset({"True", "False", "true", "false", "yes", "no"})
_SPANS: Final = {
    names.USAGE: frozenset({names.COMMAND, names.RUN}),
    names.RUN: frozenset(names.OPERATIONS),
    names.FULL: frozenset(names.OPERATIONS),
}


def narrowest(*details: str) -> str:
    """Return the one of ``details`` that lets the least out; a word that is none of the three counts as ``usage``."""
    return names.DETAILS[
        min(names.DETAILS.index(word) if word in names.DETAILS else 0 for word in details)
    ]


def at(operation: Operation, header: Header, detail: str) -> Operation | None:
    """Return what leaves of ``operation`` at ``detail``, None if it does not leave; the operation itself stays as it is.

    A recording never tells more than the detail under which it was made, whatever is in force when it is shipped.
    """
    level = narrowest(header.detail, detail)
    if operation.operation not in _SPANS[level]:
        return None
    left = copy.copy(operation)
    if level == names.FULL:
        left.attributes = (
            dict(operation.attributes)
            if operation.operation == names.FOREIGN
            else _allowed(operation, level)
        )
        return left
    left.attributes = {} if operation.operation == names.FOREIGN else _allowed(operation, level)
    left.events, left.status_message = [], ""
    left.links = [
        {key: link[key] for key in ("traceId", "spanId") if key in link} for link in operation.links
    ]
    if operation.operation == names.FOREIGN:
        left.trace_state = ""
    if level == names.USAGE:
        _anonymise(left)
    return left


def logs_leave(header: Header, detail: str) -> bool:
    """Return whether log records of a segment may leave at ``detail``: a message may hold data, so at ``full`` alone."""
    return narrowest(header.detail, detail) == names.FULL


def resource_at(resource: Mapping[str, Any], detail: str) -> dict[str, Any]:
    """Return what leaves of a resource at ``detail``: our rows as far as they go, and what the user put in themselves.

    What is not ours can only come from ``OTEL_RESOURCE_ATTRIBUTES``, which is the user's choice to send.
    """
    level = names.DETAILS.index(narrowest(detail))
    left = {key: value for key, value in resource.items() if _leaves(key, level)}
    if level == 0:
        if names.PROJECT_TOOLS in left:
            left[names.PROJECT_TOOLS] = [
                tool if tool in TOOLS else names.CUSTOM for tool in left[names.PROJECT_TOOLS]
            ]
        if left.get(names.EXAMPLE_PIPELINE, "True") not in _EXAMPLE:
            left[names.EXAMPLE_PIPELINE] = names.CUSTOM
    return left


def error_type(word: str) -> str:
    """Return ``word`` if it names no class of the project's or a library's: a built-in's name or our own word, else ``_OTHER``."""
    found = getattr(builtins, word, None)
    known = word in (names.PROCESS_DIED, names.TERMINATED) or (
        isinstance(found, type) and issubclass(found, BaseException)
    )
    return word if known else names.OTHER


def runner(word: str) -> str:
    """Return the class ``word`` of a runner if it is Kedro's own, else ``custom``."""
    bare = (
        word.removeprefix("kedro.runner.").rpartition(".")[2]
        if word.startswith("kedro.runner.")
        else word
    )
    return bare if bare in RUNNERS else names.CUSTOM


_LEVELS: Final = {
    kind: {field.key: names.DETAILS.index(field.detail) for field in FIELDS if kind in field.on}
    for kind in (*names.OPERATIONS, "resource")
}


def _leaves(key: str, level: int) -> bool:
    own = _LEVELS["resource"].get(key)
    return level >= own if own is not None else not key.startswith("kedro.")


def _allowed(operation: Operation, detail: str) -> dict[str, Any]:
    """Return the attributes that have a row for this kind of operation at ``detail`` or below."""
    level = names.DETAILS.index(detail)
    rows = _LEVELS[operation.operation]
    return {
        key: value
        for key, value in operation.attributes.items()
        if key in rows and rows[key] <= level
    }


def _anonymise(left: Operation) -> None:
    """Take the project's words out of a command or run that leaves at ``usage``."""
    values = left.attributes
    left.links, left.trace_state = [], ""
    for key in (names.ERROR_TYPE, names.ERROR_CAUSE):
        if key in values:
            values[key] = error_type(str(values[key]))
    if names.RUNNER_NAME in values:
        values[names.RUNNER_NAME] = runner(str(values[names.RUNNER_NAME]))
    if left.operation == names.RUN:
        left.name = "run"
    elif left.project_command:
        _mask_own_command(left)


def _mask_own_command(left: Operation) -> None:
    """Mask a command of the project's own cli.py: of its words only the name of a command that Kedro has too may stay."""
    values = left.attributes
    first = str(values.get(names.COMMAND_NAME, "")).partition(" ")[0]
    known = [first] if first in COMMANDS else []
    typed = values.get(names.COMMAND_ARGS)
    more = not known or (isinstance(typed, list) and len(typed) > len(["kedro", *known]))
    words: list[Any] = ["kedro", *known, *([names.MASK] if more else [])]
    left.name = " ".join(["kedro", *known])
    values[names.COMMAND_NAME] = " ".join(known)
    values[names.COMMAND_ARGS] = words
    values[names.COMMAND_LINE] = " ".join(words)
