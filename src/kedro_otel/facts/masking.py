"""The command line without what the user typed: only words of the commands' own vocabulary survive.

The rules are kedro-telemetry's, so the same line gives the same words. Three things that it lets through are masked
here: what follows ``kedro --help`` or ``--version``, and a value that happens to be an argument's name.

Only the commands on the line are looked up, never their neighbours, since each look-up may import a module. Nothing is
asked of a command that it would remember: ``get_params`` is not called, because click keeps the help option it makes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kedro_otel.guard import swallow
from kedro_otel.semconv.names import MASK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

STARTERS: Final = frozenset(
    {"astro-airflow-iris", "databricks-iris", "spaceflights-pandas", "spaceflights-pyspark"}
)
"""Kedro's public starters: the only values that survive."""

_STARTER: Final = ("--starter", "-s")
_GIVEN: Final = {f"{option}={starter}": starter for option in _STARTER for starter in STARTERS}
_TOP: Final = frozenset({"--help", "--version", "-h", "-v", ""})
"""What kedro-telemetry knows of the options of ``kedro`` itself."""


class Masked(NamedTuple):
    """A masked command line: its words after ``kedro``, the commands among them, and whether the project made the command."""

    words: tuple[str, ...]
    name: str
    own: bool


UNKNOWN: Final = Masked((MASK,), "", own=False)


def mask(cli: Any, args: Sequence[str], is_own: Callable[[Any, str], bool] | None = None) -> Masked:
    """Return ``args`` (the words after ``kedro``) with all that is not vocabulary of ``cli`` replaced by ``*****``.

    Args:
        cli: the running collection of commands, a ``KedroCLI``.
        args: the words as click gets them.
        is_own: returns whether the project itself made a command, which it gets with its name.
    """
    words = [str(word) for word in args]
    if not words:
        return Masked((), "", own=False)
    if words[0] in _TOP:
        return Masked((words[0], *(MASK for _ in words[1:])), "", own=False)
    try:
        return _masked(cli, words, is_own)
    except Exception as error:  # noqa: BLE001 (a plugin's group may raise anything)
        swallow("kedro_otel.facts.masking.mask", error)
        return UNKNOWN


def _masked(cli: Any, words: list[str], is_own: Callable[[Any, str], bool] | None) -> Masked:
    command = cli.get_command(None, words[0])
    if command is None:
        return UNKNOWN
    own = is_own is not None and is_own(command, words[0])
    if command.name != words[0]:
        # registered under another name than its own: its words cannot be told from the user's
        return Masked(tuple(_GIVEN.get(word, MASK) for word in words), "", own=own)
    names = [words[0]]
    context = _context(command)
    for word in words[1:]:
        inner = _inner(command, context, word)
        if inner is None:
            break
        names.append(word)
        command = inner
    rest = words[len(names) :]
    return Masked((*names, *_options(rest, _vocabulary(command))), " ".join(names), own=own)


def _context(command: Any) -> Any:
    import click

    return click.Context(command)


def _inner(command: Any, context: Any, word: str) -> Any:
    """Return the sub-command of ``command`` that ``word`` names, None if there is none."""
    if word.startswith("-") or not hasattr(command, "get_command"):
        return None
    inner = command.get_command(context, word)
    return inner if inner is not None and inner.name == word else None


def _vocabulary(command: Any) -> frozenset[str]:
    options = {
        word for parameter in command.params for word in parameter.opts if word.startswith("-")
    }
    return frozenset(options | {"--help"}) if command.add_help_option else frozenset(options)


def _options(words: list[str], known: frozenset[str]) -> list[str]:
    """Return ``words``, which follow the last command, masked: options that the command has survive."""
    output = []
    starters = known.intersection(_STARTER)
    after_starter = False
    for word in words:
        option, sign, _ = word.partition("=")
        if not word.startswith("-"):
            output.append(word if after_starter and word in STARTERS else MASK)
        elif not sign:
            output.append(word if word in known else MASK)
        else:
            if option in known:
                output.append(option)
            output.append(_GIVEN.get(word, MASK))
        after_starter = option in starters
    return output
