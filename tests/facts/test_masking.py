"""The command line without what the user typed."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from conftest import Result
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from kedro.framework.cli.cli import cli, global_commands, project_commands
from kedro.framework.cli.utils import CommandCollection

from kedro_otel import guard
from kedro_otel.facts.masking import STARTERS, Masked, mask
from kedro_otel.semconv.names import MASK

KEDRO = CommandCollection(
    ("Global commands", [cli, global_commands]), ("Project specific commands", [project_commands])
)
FAST = settings(
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    max_examples=20_000 if os.environ.get("FULL") else 500,
)


def vocabulary(command: click.Command) -> Iterator[str]:
    """Yield every word of ``command`` and of the commands below it."""
    if command.name:
        yield command.name
    yield from (
        word for parameter in command.params for word in parameter.opts if word.startswith("-")
    )
    if hasattr(command, "list_commands") and hasattr(
        command, "get_command"
    ):  # a Group, or what older releases of click call a collection
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from vocabulary(inner)


WORDS = frozenset(vocabulary(KEDRO)) | STARTERS | {"--help", "--version", "-h", "-v", "", MASK}
_TYPED = st.one_of(
    st.sampled_from(sorted(WORDS)),
    st.sampled_from(sorted(WORDS)).map(lambda word: f"{word}=secret"),
    st.sampled_from(sorted(WORDS)).map(lambda word: f"{word}secret"),
    st.text(max_size=12),
    st.text(max_size=12).map(lambda word: f"--{word}"),
    st.text(max_size=12).map(lambda word: f"-{word}"),
    st.tuples(
        st.text(max_size=6),
        st.sampled_from(["=", "\n", " ", "\t", "\x00", "\u202e"]),
        st.text(max_size=6),
    ).map("".join),
)


@FAST
@example(["--help", "secret"])
@example(["", "secret"])
@example(["pipeline", "create", "name"])
@example(["run", "--starter=secret=spaceflights-pandas"])
@example(["new", "--starter=spaceflights-pandas", "secret"])
@example(["run", "\ud800"])
@given(st.lists(_TYPED, max_size=8))
def test_only_vocabulary_survives(args: list[str]) -> None:
    """Whatever is typed, masking does not raise, and every word that is left is of Kedro's own vocabulary."""
    masked = mask(KEDRO, args)
    assert set(masked.words) <= WORDS
    assert set(masked.name.split(" ")) <= WORDS
    assert masked.words[: len(masked.name.split())] == tuple(masked.name.split())
    assert not masked.own


@FAST
@given(st.lists(_TYPED, min_size=1, max_size=4), st.text(min_size=1, max_size=8))
def test_a_value_leaves_no_trace(args: list[str], value: str) -> None:
    """Of two lines that differ in what is no vocabulary, nobody can tell which was typed."""
    other = f"{value}\u2603"
    if {value, other} & WORDS or "=" in value or "\u2603" in value:
        return
    assert mask(KEDRO, [*args, value]) == mask(KEDRO, [*args, other]) or value.startswith("-")


@pytest.mark.parametrize(
    ("args", "words", "name"),
    [
        ([], (), ""),
        (["run", "--pipeline=ds", "--env=test"], ("run", "--pipeline", MASK, "--env", MASK), "run"),
        (["registry", "describe", "ds"], ("registry", "describe", MASK), "registry describe"),
        (["new", "-s", "spaceflights-pandas"], ("new", "-s", "spaceflights-pandas"), "new"),
        (["new", "-s", "git@secret"], ("new", "-s", MASK), "new"),
        (["--version"], ("--version",), ""),
        (["--version", "x"], ("--version", MASK), ""),
        (["nonsense", "x"], (MASK,), ""),
        (["pipeline", "create", "name"], ("pipeline", "create", MASK), "pipeline create"),
        (["package", "--help"], ("package", "--help"), "package"),
        (
            ["new", "--starter=spaceflights-pandas"],
            ("new", "--starter", "spaceflights-pandas"),
            "new",
        ),
        (["new", "--starter=x=spaceflights-pandas"], ("new", "--starter", MASK), "new"),
        (["new", "--name=spaceflights-pandas"], ("new", "--name", MASK), "new"),
        (["new", "-s=x", "spaceflights-pandas"], ("new", "-s", MASK, "spaceflights-pandas"), "new"),
        (["package", "--starter=x", "spaceflights-pandas"], ("package", MASK, MASK), "package"),
        (["package", "-s", "spaceflights-pandas"], ("package", MASK, MASK), "package"),
        (["new", "spaceflights-pandas"], ("new", MASK), "new"),
        (["new", "-s", "x", "spaceflights-pandas"], ("new", "-s", MASK, MASK), "new"),
    ],
)
def test_what_is_left(args: list[str], words: tuple[str, ...], name: str) -> None:
    """Words and name of a line, where the name is the commands among the words."""
    assert mask(KEDRO, args) == Masked(words, name, own=False)


def test_a_projects_own_command_is_told() -> None:
    """A command that the project made is marked, also where it stands in for one of Kedro's; others are not."""

    @click.group(name="own")
    def own() -> None:
        pass

    @own.command()
    @click.option("--word")
    def ours(word: str) -> None:
        pass

    @own.command(name="run")
    def run_() -> None:
        pass

    found = CommandCollection(
        ("Global commands", [cli, global_commands]),
        ("Project specific commands", [own, project_commands]),
    )

    def is_own(command: click.Command, name: str) -> bool:
        return own.get_command(click.Context(own), name) is command

    assert mask(found, ["ours", "--word", "x"], is_own) == Masked(
        ("ours", "--word", MASK), "ours", own=True
    )
    assert mask(found, ["run"], is_own) == Masked(("run",), "run", own=True)
    assert mask(found, ["info"], is_own).own is False
    assert mask(found, ["ours"], None).own is False


class Careful(click.Group):
    """A group that looks its commands up with the context of itself, as click promises."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Insist on the context."""
        assert ctx.command is self
        return super().get_command(ctx, cmd_name)


class Top(click.Group):
    """What Kedro has on top: asked without a context."""

    def get_command(self, _ctx: click.Context | None, cmd_name: str) -> click.Command | None:
        """Look it up."""
        return self.commands.get(cmd_name)


def test_names_that_are_not_the_commands_own_are_masked() -> None:
    """A command under another name than its own may have been typed by anybody: then nothing but public starters is left."""
    inner = Careful(
        "inner",
        commands={
            "leaf": click.Command("leaf"),
            "alias": click.Command("real"),
            "-odd": click.Command("-odd"),
        },
    )
    silent = click.Command("silent", add_help_option=False, params=[click.Option(["--known"])])
    top = Top("top", commands={"inner": inner, "alias": click.Command("real"), "silent": silent})
    assert mask(top, ["inner", "leaf", "x"]) == Masked(
        ("inner", "leaf", MASK), "inner leaf", own=False
    )
    assert mask(top, ["inner", "alias"]) == Masked(("inner", MASK), "inner", own=False)
    assert mask(top, ["inner", "-odd"]) == Masked(("inner", MASK), "inner", own=False)
    assert mask(top, ["silent", "--help", "--known"]) == Masked(
        ("silent", MASK, "--known"), "silent", own=False
    )
    words = [
        "alias",
        "secret",
        "--starter=spaceflights-pandas",
        "-s=x=spaceflights-pandas",
        "--other=spaceflights-pandas",
        "-s=spaceflights-pandas",
    ]
    starter = "spaceflights-pandas"
    assert mask(top, words) == Masked((MASK, MASK, starter, MASK, MASK, starter), "", own=False)
    assert mask(top, ["alias"], lambda *_: True) == Masked((MASK,), "", own=True)


class Hostile(click.Group):
    """A plugin's group that keeps no promise."""

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Fail, naming what was asked for."""
        raise ZeroDivisionError(cmd_name)


def test_a_group_that_raises_masks_everything(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A plugin whose group fails costs the words, not the run; it is counted and logged, and what was typed is in no message."""
    monkeypatch.delenv("KEDRO_OTEL_RAISE")
    monkeypatch.setattr(guard, "errors", Counter())
    caplog.set_level("DEBUG", "kedro_otel")
    assert mask(Hostile("hostile"), ["secret", "secret"]) == Masked((MASK,), "", own=False)
    outer = click.Group("outer", commands={"inner": Hostile("inner")})
    assert mask(outer, ["inner", "secret"]) == Masked((MASK,), "", own=False)
    assert guard.errors == {"kedro_otel.facts.masking.mask": 2}
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    assert "secret" not in record.getMessage()


def test_masking_leaves_the_commands_as_they_were() -> None:
    """Click keeps the first help option that it is asked for; masking asks for none, so `kedro run -h` still works."""
    command = KEDRO.get_command(click.Context(KEDRO), "package")
    assert command is not None
    mask(KEDRO, ["package", "-h"])
    assert getattr(command, "_help_option", None) is None


@pytest.mark.parametrize(
    ("line", "loaded"),
    [
        ("run --env x", {"project"}),
        ("registry list", {"registry"}),
        ("nonsense", set()),
        ("--help", set()),
    ],
)
def test_only_the_command_on_the_line_is_loaded(
    line: str, loaded: set[str], project: Callable[..., Path], run: Callable[..., Result]
) -> None:
    """Masking imports the module of the command that is typed and of no other."""
    code = (
        "import sys; from pathlib import Path; from kedro.framework.cli.cli import KedroCLI; from kedro_otel.facts.masking import mask\n"
        "cli = KedroCLI(Path.cwd()); before = set(sys.modules); mask(cli, sys.argv[1:]); print(sorted(set(sys.modules) - before))"
    )
    new: list[Any] = eval(
        run(sys.executable, "-c", code, *line.split(), cwd=project()).out.splitlines()[-1]
    )
    kedros = {name.rpartition(".")[2] for name in new if name.startswith("kedro.framework.cli.")}
    assert kedros == loaded
