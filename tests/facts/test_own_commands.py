"""Which commands are a project's own."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import click
import pytest
from kedro.framework.cli.cli import project_commands

from kedro_otel.facts.own_commands import is_own


@pytest.mark.parametrize(
    ("module", "file", "own"),
    [
        ("mine.commands", "elsewhere/mine/commands.py", True),
        ("mine_too", "project/src/mine_too.py", True),
        ("plugin", "project/.venv/lib/python3/site-packages/plugin.py", False),
        ("minestrone", "elsewhere/minestrone.py", False),
        ("built_in", None, False),
    ],
)
def test_a_command_is_the_projects_by_where_it_is_defined(
    module: str, file: str | None, own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The project's package counts, and its folder; what is installed into an environment in that folder does not."""
    code = ModuleType(module)
    code.__file__ = str(tmp_path / file) if file else None
    monkeypatch.setitem(sys.modules, module, code)

    @click.command()
    def word() -> None:
        pass

    assert word.callback is not None
    word.callback.__module__ = module
    assert is_own(word, "word", "mine", tmp_path / "project") is own


def test_kedros_own_command_is_not_the_projects(tmp_path: Path) -> None:
    """It is not even where Kedro itself lies in the project's folder."""
    run = project_commands.get_command(click.Context(project_commands), "catalog")
    assert is_own(run, "catalog", "mine", tmp_path) is False
    assert is_own(run, "catalog", "mine", Path("/")) is False
