"""Whose files are: what is changed keeps its owner and all that belongs to it, what is made is its owner's alone, what others may write is not followed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import BIN, Result
from other_user import USER, as_user, give, others_folder, owners, seen

from kedro_otel.config import consent, files, paths, settings
from kedro_otel.facts import identity

__all__ = ["others_folder"]

needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files away"
)
PROJECT = "[tool.kedro]\npackage_name = 'a'\n"


@needs_root
def test_a_changed_file_keeps_what_it_has(tmp_path: Path) -> None:
    """Owner, group, mode, symbolic links and extended attributes stay; only the content is new."""
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("old")
    os.chown(file, USER, USER + 1)
    file.chmod(0o2640)
    os.setxattr(file, "user.note", b"mine")
    link.symlink_to(file.name)
    (_, *before, _) = seen(tmp_path)["file"]
    files.replace(link, b"new")
    assert seen(tmp_path)["file"] == ("0o102640", *before, b"new")
    assert link.is_symlink()


def test_a_file_with_other_hard_links_is_left_alone(tmp_path: Path) -> None:
    """A new file in the place of one name would leave the old content under the others."""
    file = tmp_path / "pyproject.toml"
    file.write_text(PROJECT)
    os.link(file, tmp_path / "backup")
    before = seen(tmp_path)
    with pytest.raises(OSError, match="other hard links"):
        files.replace(file, b"new")
    assert identity.project_id(tmp_path, "a", create=True) is None
    assert seen(tmp_path) == before


def test_a_linked_project_file_that_is_left_alone_is_said_once(
    project: Callable[..., Path], terminal: Callable[..., str], environment: dict[str, str]
) -> None:
    """On a terminal, one line says why the project has no id and what to type; the next command says nothing."""
    path = project()
    os.link(path / "pyproject.toml", path / "backup")
    before = (path / "backup").read_bytes()
    first, second = (terminal(BIN / "kedro", "info", cwd=path, env={"CI": None}) for _ in range(2))
    said = [line for line in first.splitlines() if "hard links" in line]
    assert len(said) == 1
    assert str(path / "pyproject.toml") in said[0]
    assert "hard links" not in second
    assert (path / "pyproject.toml").read_bytes() == before


@needs_root
@pytest.mark.parametrize("what", ["owner", "attributes"])
def test_a_file_whose_owner_or_attributes_cannot_be_kept_is_left_alone(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written, and nothing is left beside it."""
    file = tmp_path / "file"
    file.write_text("old")
    os.chown(file, USER, USER)
    os.setxattr(file, "user.note", b"mine")

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(os, "chown" if what == "owner" else "setxattr", refuse)
    before = seen(tmp_path)
    with pytest.raises(PermissionError):
        files.replace(file, b"new")
    assert seen(tmp_path) == before


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_folders_are_their_owners_alone(umask: int, tmp_path: Path) -> None:
    """Each folder on the way is 0700 under any umask, and one that was there stays as it was."""
    home = tmp_path / "ana"
    home.mkdir()
    home.chmod(0o755)
    before = os.umask(umask)
    try:
        files.make_folders(home / ".config" / "kedro")
    finally:
        os.umask(before)
    assert {entry[0] for entry in seen(home).values()} == {"0o40700"}
    assert home.stat().st_mode & 0o777 == 0o755


@needs_root
def test_root_leaves_nothing_in_a_users_home_that_the_user_cannot_remove(
    kedro: Callable[..., Result],
    run: Callable[..., Result],
    project: Callable[..., Path],
    others_folder: Path,
    environment: dict[str, str],
) -> None:
    """Root runs Kedro, switches recording off and on, in a user's home and project: all is the user's still, and can go."""
    del environment["KEDRO_OTEL_HOME"]
    environment["HOME"] = str(others_folder)
    path = project(parent=others_folder)
    give(path)
    pyproject = path / "pyproject.toml"
    content = pyproject.read_bytes()
    for typed in ("info", "otel history", "otel off", "otel status", "otel purge --yes"):
        done = kedro(*typed.split(), cwd=path, code=None)
        assert "Traceback" not in done.err
        assert pyproject.read_bytes() == content
        if typed == "otel history":
            assert "index.sqlite3" in str(owners(others_folder)[USER])
            assert "index" not in str(owners(others_folder).get(0))
    made = [name for name in owners(others_folder).get(0, []) if "__pycache__" not in name]
    assert made == []
    assert (others_folder / ".config/kedro/otel.toml").read_text() == "enabled = false\n"
    run(*as_user("rm", "-r", others_folder / ".config"))


def planted(case: str, file: Path) -> None:
    """Write a settings file that somebody else owns or may write."""
    file.parent.mkdir(parents=True)
    file.write_text("endpoint = 'http://elsewhere:4318'\n")
    file.chmod(0o600)
    if case == "another's file":
        os.chown(file, USER, USER)
    elif case == "another's folder":
        os.chown(file.parent, USER, USER)
    elif case == "everybody's file":
        file.chmod(0o606)
    elif case == "everybody's folder":
        file.parent.chmod(0o777)
    elif case == "a group's file":
        os.chown(file, 0, USER)
        file.chmod(0o660)
    elif case == "everybody's sticky folder":
        file.parent.chmod(0o1777)
    elif case == "my own group's file":
        file.chmod(0o660)


@needs_root
@pytest.mark.parametrize("place", [paths.user_config, paths.site_config])
@pytest.mark.parametrize(
    "case",
    [
        "another's file",
        "another's folder",
        "everybody's file",
        "everybody's folder",
        "a group's file",
        "everybody's sticky folder",
        "my own group's file",
    ],
)
def test_a_settings_file_that_others_could_have_written_is_not_followed(
    case: str, place: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is recorded then, and nothing that it says is used; a folder like /tmp or a group of one's own is no such case."""
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "site"))
    planted(case, place())
    followed = case in {"everybody's sticky folder", "my own group's file"}
    found = consent.decide(os.environ, None)
    assert (found.enabled, found.refused) == (followed, not followed)
    assert bool(settings.load(os.environ).value("endpoint")) == followed


@needs_root
def test_the_refusal_is_one_line_that_says_what_to_type(
    kedro: Callable[..., Result], home: Path
) -> None:
    """A command prints one line on stderr; after what the line says is typed, commands are recorded again."""
    file = paths.user_config()
    planted("everybody's folder", file)
    file.write_text("detail = 'run'\n")
    done = kedro("--version")
    (line,) = done.err.splitlines()
    assert line.startswith(
        f"kedro-otel: nothing is recorded: {file} is not followed, since every user may write its folder"
    )
    os.system(line.partition("to repair: ")[2])
    assert kedro("--version").err == ""
    assert list((home / "recordings").glob("*.jsonl"))


def test_a_project_file_is_left_alone_where_that_is_set(
    project: Callable[..., Path], kedro: Callable[..., Result], environment: dict[str, str]
) -> None:
    """With ``write_project_id`` false the file stays as it is, and the project has an id of its own all the same, the same each time."""
    path = project()
    before = (path / "pyproject.toml").read_bytes()
    environment["KEDRO_OTEL_WRITE_PROJECT_ID"] = "false"
    kedro("info", cwd=path)
    first = identity.project_id(path, "minimal", create=False)
    assert (path / "pyproject.toml").read_bytes() == before
    assert first is not None
    assert identity.project_id(path, "minimal", create=True, write=False) == first
    assert identity.project_id(path / "..", "minimal", create=True, write=False) != first


@needs_root
def test_an_id_is_written_by_the_owner_only(tmp_path: Path) -> None:
    """Of a project that belongs to somebody else the file stays as it is."""
    file = tmp_path / "pyproject.toml"
    file.write_text(PROJECT)
    os.chown(file, USER, USER)
    assert identity.project_id(tmp_path, "a", create=True) is None
    assert file.read_text() == PROJECT
