"""Of which project the views speak: two projects, two clones of one, a renamed folder, and outside of all."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import Result as ProgramResult
from fabricate import Tape, a_run

from kedro_otel.cli import otel
from kedro_otel.viewing.model.live_trace import running
from kedro_otel.viewing.model.scope import of_folder

NODES = [("load_cars", 0.1, 0.2, 0.1)]


def typed(*words: str, code: int = 0) -> Result:
    """Type ``kedro otel …`` in the folder that the test stands in."""
    done = CliRunner().invoke(otel, words, env={"COLUMNS": "100"})
    assert done.exit_code == code, (done.output, done.exception)
    return done


def listed(*words: str) -> list[str | None]:
    """Return the projects of what ``list`` lists, the newest first."""
    return [one["project"] for one in json.loads(typed("list", "--json", *words).stdout)]


def test_each_view_speaks_of_the_project_one_stands_in(
    project: Callable[..., Path],
    kedro: Callable[..., ProgramResult],
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the project's id, so that clones and renamed folders are one project; all are spoken of outside, and where asked."""
    ours = project("ours")
    kedro("run", cwd=ours)
    for number in range(2):  # begun after ours
        a_run(
            home / "recordings",
            NODES,
            at=time.time_ns(),
            trace=f"{number + 1:032x}",
            pipeline="theirs",
        )
    clone, renamed = tmp_path / "clone", tmp_path / "renamed"
    shutil.copytree(ours, clone)
    ours.rename(renamed)
    for folder in (clone, renamed, renamed / "src"):
        monkeypatch.chdir(folder)
        assert listed() == ["ours"]
        assert "shout" in typed("show").stdout
        assert "theirs" not in typed("show").stdout
        assert json.loads(typed("report", "-o", str(tmp_path / "page.html"), "--json").stdout)
        page = (tmp_path / "page.html").read_text()
        assert "shout" in page
        assert "kedro run · __default__ · ours</title>" in page
        assert "no earlier successful run" in typed("compare", code=1).stderr
        runs = json.loads(typed("history", "--json").stdout)["points"]
        assert [one["project"] for one in runs] == ["ours"]
        assert sorted(filter(None, listed("--all-projects"))) == ["demo", "demo", "ours"]
        assert listed("--project", "demo") == ["demo", "demo"]
        assert "only 1 pipeline run is recorded" in typed("show", "-2", code=1).stderr
        assert "theirs" in typed("show", "-2", "--project", "demo").stdout
        assert "theirs" in typed("show", f"{1:032x}").stdout, "an id names a run of any project"
    alive = Tape(home / "recordings", time.time_ns())
    alive.live()
    alive.start("run", "run", 0)
    assert len(running()) == 1
    assert running(scope=of_folder(clone)) == []
    alive.dead()
    alive.path.unlink()
    stranger = project("stranger")
    monkeypatch.chdir(stranger)
    for words in (("show",), ("list",), ("show", "last")):
        assert "nothing of the project stranger is recorded yet" in typed(*words, code=1).stderr
    assert "not both" in typed("list", "--project", "x", "--all-projects", code=2).stderr
    monkeypatch.chdir(tmp_path)
    assert len(listed()) == 3
    assert len(json.loads(typed("history", "--json").stdout)["points"]) == 3
    monkeypatch.chdir(clone)
    (clone / "src/ours/pipeline_registry.py").write_text("raise RuntimeError")
    kedro("run", cwd=clone, code=1)
    shown = typed("show")
    assert "shout" in shown.stdout
    assert "the last `kedro run` (today" in shown.stderr
    assert "failed before its pipeline: RuntimeError" in shown.stderr
    assert typed("show", "last").stderr == ""
