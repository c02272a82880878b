"""What cannot be read is a no: every place from which a no may come, in every state in which it cannot be read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import BIN, Result
from loopback import Loopback, loopback
from other_user import USER, as_user, give, others_folder

from kedro_otel.config import consent, paths

__all__ = ["loopback", "others_folder"]

NO = {"user": "enabled = false\n", "site": "enabled = false\n", "project": "consent: false\n"}


@pytest.fixture
def sources(
    project: Callable[..., Path],
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """Return the project and the file of each source, each of which says no."""
    path = project()
    environment["XDG_CONFIG_DIRS"] = str(tmp_path / "site")
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "site"))
    files = {
        "user": paths.user_config(),
        "site": paths.site_config(),
        "project": path / ".telemetry",
    }
    return path, files


def dangling(file: Path) -> None:
    """Make ``file`` a link into a volume that is not mounted."""
    file.unlink()
    file.symlink_to("/mnt/not-mounted/somewhere/file")


def dangling_folder(file: Path) -> None:
    """Make the folder of ``file`` such a link."""
    shutil.rmtree(file.parent)
    file.parent.symlink_to("/mnt/not-mounted/folder")


def loop(file: Path) -> None:
    """Make ``file`` a link to itself."""
    file.unlink()
    file.symlink_to(file.name)


def fifo(file: Path) -> None:
    """Make ``file`` a pipe that nobody writes to."""
    file.unlink()
    os.mkfifo(file)


def folder(file: Path) -> None:
    """Make ``file`` a folder."""
    file.unlink()
    file.mkdir()


def huge(file: Path) -> None:
    """Make ``file`` larger than any settings."""
    with file.open("ab") as open_file:
        open_file.truncate(1 << 32)


def binary(file: Path) -> None:
    """Put bytes into ``file`` that are no text."""
    file.write_bytes(b"\xff\xfe\x00" + file.read_bytes())


STATES: dict[str, Callable[[Path], Any]] = {
    "as it is": lambda _: None,
    "a dangling link": dangling,
    "in a dangling folder": dangling_folder,
    "a loop of links": loop,
    "a pipe": fifo,
    "a folder": folder,
    "huge": huge,
    "no text": binary,
    "broken": lambda file: file.write_text("enabled: [ = \n"),
}


@pytest.mark.parametrize("source", NO)
@pytest.mark.parametrize("state", STATES)
def test_what_cannot_be_read_is_a_no(state: str, source: str, sources: Any) -> None:
    """A source that is there and cannot be read, whatever the reason, says no; the reason names the file."""
    path, files = sources
    if source == "project" and state == "in a dangling folder":
        pytest.skip("then there is no project")
    file: Path = files[source]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(NO[source])
    STATES[state](file)
    decided = consent.decide({}, path)
    assert not decided.enabled
    assert state == "as it is" or str(file) in decided.reason, decided
    assert consent.decide({"KEDRO_OTEL_ENABLED": "true"}, path).enabled == (source == "project"), (
        "a generic no is weaker"
    )


def test_what_is_not_there_is_no_no(sources: Any) -> None:
    """Files that do not exist, in folders that do or do not, say nothing; a link that leads to a file is that file."""
    path, files = sources
    assert consent.decide({}, path) == (True, "default")
    for file in files.values():
        file.parent.mkdir(parents=True, exist_ok=True)
    assert consent.decide({}, path) == (True, "default")
    elsewhere = path / "dotfiles"
    elsewhere.mkdir()
    for source in ("user", "site"):
        (elsewhere / f"{source}.toml").write_text("ship = 'auto'\n")
        files[source].symlink_to(elsewhere / f"{source}.toml")
    assert consent.decide({}, path) == (True, "default")


@pytest.mark.parametrize(
    "table",
    [
        'kedro_otel = "off"',
        "kedro_otel = false",
        "[tool.kedro_otel]\nenabled = 'yes'",
        "[[tool.kedro_otel]]",
    ],
)
def test_a_projects_word_that_cannot_be_understood_is_a_no(table: str, tmp_path: Path) -> None:
    """What stands for kedro-otel in pyproject.toml and is no table of settings, or no truth, is a no."""
    head = "[tool]\n" if table.startswith("kedro_otel") else ""
    (tmp_path / "pyproject.toml").write_text(f"{head}{table}\n[tool.kedro]\npackage_name = 'p'\n")
    assert not consent.decide({"KEDRO_OTEL_ENABLED": "true"}, tmp_path).enabled


@pytest.mark.parametrize("text", [
    "consent: false\nsince: 2024-13-45\n", "consent: false\nx: " + "[" * 5000, "consent: false\nx: " + "[" * 30000, "consent: false\n? [a]: b\n? {a: b}\n: c\n",
    "consent: false\nx: !!python/object:os.system\n", "consent: false\nx: !own 1\n", "consent: no\n", "consent: 'false'\n", "consent: off\n", "consent: 0\n",
    "\ufeffconsent: false\n", "consent: false\n---\nconsent: false\n", "consent: [\n", "consent: flase\n", "consent:\n", "- consent\n", "false\n",
    "consent: false\nx: !!timestamp never\n", "consent: false\nx: !!int nine\n",
    "consent: false\nx: !!float nine\n", "consent: false\nx: *nowhere\n", "consent: false\nx: \x01\n",
    "consent: false\n<<: 1\n", "consent: true\nsince: 2024-13-45\n", "consent: 'true'\nx: [", "Consent: false\nx: !!binary '%'\n",
])  # fmt: skip
def test_a_telemetry_file_that_does_not_say_yes_says_no(text: str, tmp_path: Path) -> None:
    """A project's .telemetry that is there says yes, or nothing, or no: what YAML cannot build of it is a no."""
    (tmp_path / ".telemetry").write_text(text)
    assert not consent.decide({}, tmp_path).enabled


@pytest.mark.parametrize(
    "text", ["", "\n# nothing\n", "consent: true\n", "other: 1\n", "{}", "consent: yes\n"]
)
def test_a_telemetry_file_without_a_no_is_none(text: str, tmp_path: Path) -> None:
    """An empty file, one without the word, and a yes leave it to the others."""
    (tmp_path / ".telemetry").write_text(text)
    assert consent.decide({}, tmp_path) == (True, "default")


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not at hand")
@pytest.mark.parametrize("error", ["EIO", "ESTALE"])
@pytest.mark.parametrize("source", NO)
def test_an_error_of_the_file_system_is_a_no(
    error: str, source: str, sources: Any, run: Callable[..., Result], home: Path
) -> None:
    """A volume that answers with an error keeps the real command from recording, whichever call it fails."""
    path, files = sources
    file = files[source]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(NO[source])
    for calls in ("newfstatat,stat,statx,lstat,fstat", "openat,open", "read"):
        code = f"from kedro_otel.config import consent; from pathlib import Path; print(consent.decide({{}}, Path({str(path)!r})).enabled)"
        inject = ["-e", f"trace={calls}", "-e", f"inject={calls}:error={error}"]
        found = run(
            "strace",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-P",
            file,
            *inject,
            BIN / "python",
            "-c",
            code,
        )
        assert found.out == "False\n", (calls, found)


@pytest.mark.parametrize("state", ["a dangling link", "a loop of links", "a pipe", "broken"])
def test_the_real_command_neither_records_nor_sends(
    state: str, sources: Any, kedro: Callable[..., Result], home: Path, loopback: Loopback
) -> None:
    """`kedro run` with a no that cannot be read makes no file and no request, and is otherwise as ever."""
    path, files = sources
    file = files["user"]
    file.parent.mkdir(parents=True)
    file.write_text(NO["user"])
    STATES[state](file)
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": loopback.url, "KEDRO_OTEL_SHIP": "wait"}
    kedro("registry", "list", cwd=path, env=env)
    assert not home.exists()
    assert loopback.requests == []
    assert "cannot be read" in kedro("otel", "status", cwd=path).out or state == "broken"


def test_a_folder_that_may_not_be_entered_is_a_no(
    others_folder: Path, run: Callable[..., Result], environment: dict[str, str]
) -> None:
    """A user whose configuration folder became root's alone, after a sudo, is taken to have said no."""
    home = others_folder / "home"
    (home / ".config/kedro").mkdir(parents=True)
    give(others_folder)
    environment.update(
        HOME=str(home), KEDRO_OTEL_HOME=str(home / "state"), PYTHONDONTWRITEBYTECODE="1"
    )
    ask = "from kedro_otel.config import consent; print(consent.decide({}, None))"
    assert "enabled=True" in run(*as_user(BIN / "python", "-c", ask)).out
    os.chown(home / ".config", 0, 0)
    (home / ".config").chmod(0o700)
    assert "enabled=False" in run(*as_user(BIN / "python", "-c", ask)).out
    assert USER


def test_a_recording_stops_when_its_no_can_no_longer_be_read(tmp_path: Path) -> None:
    """A user's file that turns unreadable while something runs is a no from then on, also where there was none before."""
    still = consent.watch({}, None)
    assert still()
    path = paths.user_config()
    path.parent.mkdir(parents=True)
    path.symlink_to("/mnt/not-mounted/otel.toml")
    assert not still()
