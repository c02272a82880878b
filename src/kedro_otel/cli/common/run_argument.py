"""The RUN argument of the reading commands: what it may be, how it is completed, and the message where nothing answers to it."""

from __future__ import annotations

import gc
import os
import re
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from kedro_otel.cli.consent import project_of
from kedro_otel.config import consent
from kedro_otel.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click.shell_completion import CompletionItem

    from kedro_otel.viewing.model.find import Entry
    from kedro_otel.viewing.model.scope import Scope
    from kedro_otel.viewing.model.trace import Trace

    _F = TypeVar("_F", bound=Callable[..., Any])
    _ParamType = click.ParamType[str]
else:
    _ParamType = click.ParamType

_BACK: Final = re.compile(r"-\d+")
_MARK: Final = "\0"
_META: Final = "kedro_otel."
_COMPLETED: Final = 30
"""Runs offered to complete RUN with."""


class RunType(_ParamType):
    """Nothing (the last pipeline run), ``last``, ``-2``, a run id of Kedro's, a trace id or its beginning."""

    name = "run"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the argument as it was typed."""
        return str(value).removeprefix(_MARK)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Offer the latest runs."""
        import time

        from click.shell_completion import CompletionItem

        from kedro_otel.viewing.model.find import newest_runs
        from kedro_otel.viewing.model.summary import summaries
        from kedro_otel.viewing.text import clean, moment

        now = time.time_ns()
        found = [("last", "the last command of any kind")]
        for one in islice(summaries(newest_runs(), now), _COMPLETED):
            description = clean(
                f"{moment(one.start_ns, now)} {one.command} {one.pipeline} {one.outcome}"
            )
            found += [
                (word, description)
                for word in (one.run_id, one.trace_id[:8])
                if word and clean(word) == word
            ]
        return [
            CompletionItem(word, help=description)
            for word, description in found
            if word.startswith(incomplete)
        ]


class RunCommand(click.Command):
    """A command of which an argument may be a negative number, which click would take for an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Mark negative numbers as words before click looks at them, unless they are an option's value."""
        options = [param for param in self.params if isinstance(param, click.Option)]
        valued = {name for option in options if not option.is_flag for name in option.opts}
        before = ["", *args]
        marked = [
            f"{_MARK}{word}" if _BACK.fullmatch(word) and last not in valued else word
            for last, word in zip(before, args, strict=False)
        ]
        try:
            return super().parse_args(ctx, marked)
        except click.UsageError as error:
            if _MARK not in error.message:
                raise
            # The message quotes what was typed.
            raise click.UsageError(error.message.replace(_MARK, ""), ctx) from None


def say(message: str) -> None:
    """Print a message that is not the answer, on stderr."""
    click.echo(f"kedro-otel: {message}", err=True)


def since_ns(ctx: click.Context, since: str | None, now: int) -> int:
    """Return the time that ``--since`` names, in nanoseconds since the epoch; 0 where it names none.

    Raises:
        click.BadParameter: ``since`` is no time.
    """
    from kedro_otel.viewing.model import summary

    if since is None:
        return 0
    try:
        return summary.since(since, now)
    except ValueError:
        raise click.BadParameter(
            f"{since!r} is no time: say 30m, 2h, 3d, 1w, today, or 2026-01-31",
            ctx,
            param_hint="--since",
        ) from None


def say_if_off(ctx: click.Context) -> None:
    """Where nothing is recorded, say which word switched it off."""
    decided = consent.decide(os.environ, project_of(ctx))
    if not decided.enabled:
        from kedro_otel.viewing.text import clean

        say(
            f"commands are not recorded here ({clean(decided.reason)}). To change that: kedro otel on"
        )


@guarded
def tidy(ctx: click.Context) -> None:
    """Keep the recordings within their bounds: who has no endpoint has no other process that does."""
    from kedro_otel.config import settings
    from kedro_otel.shipping.state.pruning import prune

    prune(settings.load(os.environ, project_of(ctx)))


@contextmanager
def patient() -> Iterator[None]:
    """Hold back the garbage collector: a command reads much, makes no circles worth collecting, and ends.

    What was read is kept out of its sight for good, since walking through it once more, at the end of the process, is for nothing.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was:
            gc.enable()


def project_options(function: _F) -> _F:
    """Add ``--all-projects`` and ``--project NAME``; :func:`scope_of` returns what they mean."""

    def keep(ctx: click.Context, param: click.Parameter, value: object) -> None:
        if value:
            ctx.meta[f"{_META}{param.name}"] = value

    one = click.option(
        "--project",
        metavar="NAME",
        expose_value=False,
        callback=keep,
        help="Of this project, by its package's name. Without it: of the one that you are in.",
    )
    every = click.option(
        "--all-projects", is_flag=True, expose_value=False, callback=keep, help="Of every project."
    )
    return one(every(function))


def scope_of(ctx: click.Context) -> Scope | None:
    """Return the project that a command speaks of, None for all: outside of one, and with ``--all-projects``.

    Raises:
        click.UsageError: Both options are there.
    """
    from kedro_otel.viewing.model.scope import Scope, of_folder

    name, every = ctx.meta.get(f"{_META}project"), ctx.meta.get(f"{_META}all_projects")
    if name and every:
        raise click.UsageError("--project or --all-projects, not both")
    if name:
        return Scope(None, str(name))
    root = None if every else project_of(ctx)
    return of_folder(root) if root else None


def entry_of(ctx: click.Context, run: str | None) -> Entry:
    """Return the entry of a RUN; where there is none, say so and end the command with exit code 1."""
    from kedro_otel.viewing.model.find import NotFoundError, find

    try:
        found = find(run, scope=scope_of(ctx))
    except NotFoundError as error:
        raise _not_there(ctx, error) from None
    if found.note:
        say(found.note)
    if found.failed:
        say(_failed_before(found.failed))
    return found.entry


def trace_of(
    ctx: click.Context,
    run: str | None,
    *,
    private: bool = False,
    logs: bool = False,
    together: bool = True,
) -> Trace:
    """Return the trace of a RUN; where there is none, say so and end the command with exit code 1.

    ``private`` adds what is kept on this machine and never sent: messages, and arguments as typed; ``logs`` all log lines, too.
    Of a run that several processes made, ``together`` puts all parts below one root, which may be drawn rather than recorded.
    """
    from kedro_otel.viewing.model import whole_run
    from kedro_otel.viewing.model.find import NotFoundError
    from kedro_otel.viewing.model.private_facts import add_to_trace
    from kedro_otel.viewing.model.trace import load

    try:
        entry = entry_of(ctx, run)
        whole = whole_run.of_entry(entry) if together and entry.is_part else None
        trace = whole or load(entry)
    except NotFoundError as error:
        raise _not_there(ctx, error) from None
    if private:
        add_to_trace(trace, logs=logs)
    return trace


def _failed_before(entry: Entry) -> str:
    """Return a sentence about a ``kedro run`` that failed before its pipeline began."""
    import time

    from kedro_otel.viewing.model.private_facts import add_to_entries
    from kedro_otel.viewing.model.summary import summary
    from kedro_otel.viewing.text import class_name, clean, moment

    now = time.time_ns()
    (entry,) = add_to_entries([entry])
    one = summary(entry, None, now)
    why = clean(" at ".join(filter(None, (class_name(one.error_type), one.error_where))), 120)
    message = " ".join(one.error_message.split())
    why += f" ({clean(message, 240)})" if message else ""
    return (
        f"the last `kedro run` ({moment(one.start_ns, now)}) failed before its pipeline"
        f"{f': {why}' if why else ''}. This is the run before it; for that one: kedro otel show last"
    )


def _not_there(ctx: click.Context, error: Exception) -> click.exceptions.Exit:
    say(str(error))
    say_if_off(ctx)
    return click.exceptions.Exit(1)


def tell_link(ctx: click.Context, trace: Trace) -> None:
    """Say where the trace is in the user's backend, if it was recorded to be sent there and the address is known."""
    from kedro_otel.config import settings
    from kedro_otel.viewing import trace_link

    known = settings.load(os.environ, project_of(ctx))
    sent = trace.root.operation.sampled
    trace_link.tell(
        known, trace.trace_id if sent else "", trace.root.header.destination, everywhere=True
    )
