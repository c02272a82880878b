"""Who is speaking: kedro-telemetry's identifiers, and files of which no other byte changes."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import Result
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from kedro_otel.config import paths, toml_edit, toml_file
from kedro_otel.facts import identity
from kedro_otel.recording import reader
from kedro_otel.semconv import names

EXAMPLES = 2000 if os.environ.get("FULL") else 200
FAST = settings(
    deadline=None, database=None, suppress_health_check=list(HealthCheck), max_examples=EXAMPLES
)
SLOW = settings(FAST, max_examples=EXAMPLES // 5)
"""For what writes files."""

ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


# --- the user's -----------------------------------------------------------------------------------------------------


def parsed(text: str) -> dict[str, Any]:
    """Return what a TOML text says."""
    document = toml_file.loads(text)
    assert document is not None
    return document


def user_file(text: str | bytes) -> Path:
    """Write the file that holds the user's UUID."""
    path = paths.telemetry_toml()[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def at_once(imports: str, ask: str) -> set[str]:
    """Let eight processes evaluate ``ask`` at the same moment; return what they say."""
    code = f"import sys, time; {imports}; print(flush=True); until = float(sys.stdin.readline())\nwhile time.time() < until: pass\nprint({ask})"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(8)
    ]
    for process in started:
        assert process.stdout is not None
        process.stdout.readline()
    moment = str(time.time() + 0.2)
    with ThreadPoolExecutor(8) as pool:
        return {
            out.strip() for out, _ in pool.map(lambda process: process.communicate(moment), started)
        }


def test_a_uuid_is_made_once() -> None:
    """The first time a UUID is made, as kedro-telemetry would write it; after that it is read."""
    assert identity.installation_id(create=False) is None
    made = identity.installation_id()
    assert made is not None
    assert uuid.UUID(made).version == 4
    path = paths.telemetry_toml()[0]
    assert path.read_text() == f'[telemetry]\nuuid = "{made}"\n'
    assert identity.installation_id() == identity.installation_id(create=False) == made
    assert [other.name for other in path.parent.iterdir()] == ["telemetry.toml"]


@pytest.mark.parametrize("spelling", ["{}", "{{{}}}", "urn:uuid:{}", "{}".upper()])
def test_every_spelling_of_a_uuid_counts(spelling: str) -> None:
    """What kedro-telemetry would read is read, with dashes, braces or in capitals, and the file is left alone."""
    word = str(uuid.uuid4())
    text = f'[telemetry]\nuuid = "{spelling.format(word).upper()}"\n'.replace(
        "URN:UUID:", "urn:uuid:"
    )
    path = user_file(text)
    assert identity.installation_id() == uuid.UUID(word).hex
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", ""),
        ("# mine\nother = 1\n[telemetry]\nuuid = 'not one' # really\n[x]\ny = 2\n", "# really"),
        ("[telemetry]\nuuid = 42\nkeep = true\n", "keep = true"),
        ("[telemetry]\nuuid = 'abc'\nkeep = true\n", "keep = true"),
        ("[telemetry]\nuuid = 'zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz'\nkeep = true\n", "keep = true"),
        ("[telemetry]\nkeep = true\n", "keep = true"),
        ("[other]\nkeep = true\n", "[other]\nkeep = true"),
        ("telemetry = 'a word'\n", "a word"),
        ("telemetry = { uuid = 'x', keep = 1 }\n", "keep = 1"),
        ("[telemetry]\r\nuuid = ''\r\nkeep = 1\r\n", "keep = 1\r\n"),
        ("uuid = [broken\nkeep = 1\n", "keep = 1"),
        ("\x00\x01\nkeep", "keep"),
        (b"\xff\xfe keep", "keep"),
        (b"# \xff\nkeep = 1\n", "# keep = 1"),
    ],
)
def test_a_malformed_file_is_repaired(text: str | bytes, kept: str) -> None:
    """A file without a usable UUID gets one, and what else is in it stays."""
    path = user_file(text)
    made = identity.installation_id()
    assert made is not None
    assert uuid.UUID(made).hex == made
    assert parsed(path.read_bytes().decode())["telemetry"]["uuid"] == made
    assert kept in path.read_bytes().decode()
    assert identity.installation_id() == made


@pytest.mark.parametrize("text", [None, "", "[telemetry]\nuuid = 'bad'\n"])
def test_many_processes_agree_on_one_uuid(text: str | None, run: Callable[..., Result]) -> None:
    """Of processes that make or repair the UUID at once, all report the one that is then in the file."""
    if text is not None:
        user_file(text)
    said = at_once(
        "import uuid; from kedro_otel.facts import identity; from kedro_otel.config import files, toml_edit",
        "identity.installation_id()",
    )
    assert said == {identity.installation_id(create=False)}


@pytest.mark.skipif(sys.platform == "win32", reason="permissions")
def test_a_place_that_cannot_be_written_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing can be written there is no id, and no error."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(blocked))
    assert identity.installation_id() is None
    monkeypatch.setenv("XDG_CONFIG_HOME", "/proc/1/nowhere")
    assert identity.installation_id() is None


def test_on_a_mac_the_older_place_is_read_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A UUID where a release of appdirs put it on macOS is the user's UUID."""
    monkeypatch.setattr(sys, "platform", "darwin")
    old = Path.home() / "Library/Preferences/kedro/telemetry.toml"
    old.parent.mkdir(parents=True)
    word = uuid.uuid4().hex
    old.write_text(f'[telemetry]\nuuid = "{word}"\n')
    assert identity.installation_id() == word


@SLOW
@given(
    st.text()
    | st.from_regex(r"(\[telemetry\]|uuid = .{0,40}|[a-z.]+ = .{0,10}|#.*|\n)*", fullmatch=True)
)
def test_no_file_makes_it_raise(text: str) -> None:
    """Whatever is in the file, afterwards it is TOML with a UUID, and the words that were in it are still there."""
    raw = text.encode("utf-8", "replace")
    path = user_file(raw)
    found = identity.installation_id()
    assert found is not None
    assert uuid.UUID(parsed(path.read_bytes().decode())["telemetry"]["uuid"]).hex == found


# --- the project's --------------------------------------------------------------------------------------------------

HEAD = "[tool.kedro]\npackage_name = 'p'\n"
UNTOUCHED = {
    "no [tool.kedro]": "[project]\nname = 'x'\n",
    "no TOML": "[tool.kedro]\n= broken",
    "an inline table that cannot be added to": "tool = { kedro = { package_name = 'p' } }\n",
    "an array in its place": HEAD + "[[tool.kedro_telemetry]]\nx = 1\n",
    "a word in its place": "[tool]\nkedro_telemetry = 'no'\n[tool.kedro]\npackage_name = 'p'\n",
    "a byte that is no UTF-8": HEAD.encode() + b"# \xff\n",
    "a byte order mark": b"\xef\xbb\xbf" + HEAD.encode(),
}
EDITED = {
    "as Kedro writes it": (HEAD, HEAD + '\n[tool.kedro_telemetry]\nproject_id = "ID"\n'),
    "without a last newline": (
        HEAD.rstrip(),
        HEAD.rstrip() + '\n[tool.kedro_telemetry]\nproject_id = "ID"\n',
    ),
    "CRLF": (
        "[tool.kedro]\r\nx = 1\r\n",
        '[tool.kedro]\r\nx = 1\r\n\r\n[tool.kedro_telemetry]\r\nproject_id = "ID"\r\n',
    ),
    "a table without it": (
        HEAD + "[tool.kedro_telemetry] # ours\nx = 1\n",
        HEAD + '[tool.kedro_telemetry] # ours\nproject_id = "ID"\nx = 1\n',
    ),
    "an empty table at the end": (
        HEAD + "[tool.kedro_telemetry]",
        HEAD + '[tool.kedro_telemetry]\nproject_id = "ID"\n',
    ),
    "a quoted header": (
        HEAD + "[ tool . 'kedro_telemetry' ]\n",
        HEAD + "[ tool . 'kedro_telemetry' ]\nproject_id = \"ID\"\n",
    ),
    "dotted keys": (
        "[tool]\nkedro.x = 1\nkedro_telemetry.y = 1\n",
        '[tool]\nkedro_telemetry.project_id = "ID"\nkedro.x = 1\nkedro_telemetry.y = 1\n',
    ),
    "dotted keys at the top": (
        "tool.kedro.x = 1\ntool.kedro_telemetry.y = 1\n",
        'tool.kedro_telemetry.project_id = "ID"\ntool.kedro.x = 1\ntool.kedro_telemetry.y = 1\n',
    ),
    "an inline table": (
        HEAD + "[tool]\nkedro_telemetry = { y = 1 }\n",
        HEAD + '[tool]\nkedro_telemetry = { project_id = "ID", y = 1 }\n',
    ),
    "an empty inline table": (
        HEAD + "[tool]\nkedro_telemetry = {}\n",
        HEAD + '[tool]\nkedro_telemetry = { project_id = "ID" }\n',
    ),
    "the words of a header in a text": (
        'x = """\n[tool.kedro_telemetry]\n"""\n' + HEAD + "[tool.kedro_telemetry]\ny = nan\n",
        'x = """\n[tool.kedro_telemetry]\n"""\n'
        + HEAD
        + '[tool.kedro_telemetry]\nproject_id = "ID"\ny = nan\n',
    ),
}


def pyproject(folder: Path, text: str | bytes) -> Path:
    """Write a pyproject.toml, byte for byte."""
    path = folder / "pyproject.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("case", EDITED)
def test_a_missing_project_uuid_is_inserted(case: str, tmp_path: Path) -> None:
    """A project gets its UUID where TOML wants it, with the file's own line ends; nothing else changes."""
    before, after = EDITED[case]
    path = pyproject(tmp_path, before)
    path.chmod(0o640)
    found = identity.project_id(tmp_path, "p", create=True)
    text = path.read_bytes().decode()
    made = re.search(r'project_id = "([0-9a-f]{32})"', text)
    assert made is not None
    assert text == after.replace("ID", made[1])
    assert found == hashlib.sha512(f"{made[1]}p".encode()).hexdigest()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert identity.project_id(tmp_path, "p", create=False) == found
    assert [other.name for other in tmp_path.iterdir() if other.name != "home"] == [
        "pyproject.toml"
    ]


@pytest.mark.parametrize("case", UNTOUCHED)
def test_a_file_that_cannot_be_added_to_is_left_alone(case: str, tmp_path: Path) -> None:
    """No Kedro project, no TOML, no room for the key: no id, and not a byte changes."""
    path = pyproject(tmp_path, UNTOUCHED[case])
    before = path.stat()
    assert identity.project_id(tmp_path, "p", create=True) is None
    assert path.read_bytes() == (
        UNTOUCHED[case] if isinstance(UNTOUCHED[case], bytes) else UNTOUCHED[case].encode()
    )  # type: ignore[union-attr]
    assert path.stat().st_ino == before.st_ino


def test_a_missing_file_is_fine(tmp_path: Path) -> None:
    """Without a pyproject.toml there is no project id, and none is made."""
    assert identity.project_id(tmp_path, "p", create=True) is None
    assert not (tmp_path / "pyproject.toml").exists()


def test_a_project_uuid_that_is_there_is_used(tmp_path: Path) -> None:
    """The hash is kedro-telemetry's: of UUID and package name, or of its word for a missing name; a file that cannot be written is fine."""
    path = pyproject(tmp_path, HEAD + "[tool.kedro_telemetry]\nproject_id = 'abc'\n")
    path.chmod(0o400)
    assert identity.project_id(tmp_path, "p", create=True) == hashlib.sha512(b"abcp").hexdigest()
    assert (
        identity.project_id(tmp_path, None, create=True)
        == hashlib.sha512(b"abcundefined_package_name").hexdigest()
    )


def test_a_file_that_cannot_be_written_gets_none(tmp_path: Path) -> None:
    """Where the UUID cannot be kept there is none: one that lasts for a command only would invent projects."""
    path = pyproject(tmp_path, HEAD)
    path.chmod(0o444)
    if ROOT:
        pytest.skip("root may write everything")
    assert identity.project_id(tmp_path, "p", create=True) is None


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    """A pyproject.toml that is a link keeps being one; the file behind it gets the UUID."""
    (tmp_path / "real").mkdir()
    real = pyproject(tmp_path / "real", HEAD)
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "pyproject.toml").symlink_to(real)
    assert identity.project_id(tmp_path / "link", "p", create=True) is not None
    assert (tmp_path / "link" / "pyproject.toml").is_symlink()
    assert "project_id" in real.read_text()


def test_many_processes_agree_on_one_project(tmp_path: Path) -> None:
    """Of processes that find no UUID at once, all report the one that is then in the file, once."""
    path = pyproject(tmp_path, HEAD)
    ask = f"identity.project_id(pathlib.Path({str(tmp_path)!r}), 'p', create=True)"
    said = at_once(
        "import pathlib, uuid; from kedro_otel.facts import identity; from kedro_otel.config import files, toml_edit",
        ask,
    )
    assert said == {identity.project_id(tmp_path, "p", create=False)}
    assert path.read_text().count("project_id") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="locks")
def test_a_file_that_somebody_keeps_locked_is_not_waited_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that another program holds costs a command at most a moment, and no id is made."""
    import fcntl

    monkeypatch.setattr(identity, "_PATIENCE", 0.05)
    path = pyproject(tmp_path, HEAD)
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert identity.project_id(tmp_path, "p", create=True) is None
    assert identity.project_id(tmp_path, "p", create=True) is not None


@pytest.mark.skipif(sys.platform == "win32", reason="locks")
def test_a_lock_that_is_let_go_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that another program holds for a moment costs no id: it is looked at again and again."""
    import fcntl

    path = pyproject(tmp_path, HEAD)
    looks: list[float] = []
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        def wait(seconds: float) -> None:
            looks.append(seconds)
            if len(looks) == 3:
                fcntl.flock(file, fcntl.LOCK_UN)

        monkeypatch.setattr(time, "sleep", wait)
        assert identity.project_id(tmp_path, "p", create=True) is not None
    assert len(looks) == 3
    assert max(looks) < identity._PATIENCE / 10


@pytest.mark.skipif(sys.platform == "win32", reason="locks")
def test_without_locks_an_id_is_made_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system that has no locks the id is written without one."""
    import errno
    import fcntl

    def refuse(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    pyproject(tmp_path, HEAD)
    assert identity.project_id(tmp_path, "p", create=True) is not None


def test_ci_makes_no_project(project: Callable[..., Path], kedro: Callable[..., Result]) -> None:
    """In CI, where it would dirty the checkout and invent projects, no UUID is made; one that is there is used."""
    path = project()
    before = (path / "pyproject.toml").read_bytes()
    kedro("info", cwd=path, env={"CI": "true"})
    assert (path / "pyproject.toml").read_bytes() == before
    assert names.PROJECT_ID not in reader.read(reader.segments()[-1]).header.resource
    kedro("info", cwd=path)
    kedro("info", cwd=path, env={"CI": "true"})
    first, second = (
        reader.read(path).header.resource[names.PROJECT_ID] for path in reader.segments()[-2:]
    )
    assert first == second


# --- the edit itself ------------------------------------------------------------------------------------------------

_KEYS = st.sampled_from(
    ["a", "b", "tool", "kedro", "kedro_telemetry", "x-y", '"q k"', "'kedro_telemetry'"]
)
_VALUES = st.sampled_from(
    [
        "1",
        "nan",
        "'s'",
        '"[tool.kedro_telemetry]"',
        '"""\n[tool.kedro_telemetry]\n"""',
        "{}",
        "{ a = 1 }",
        "[1, 2]",
        "true",
        "1979-05-27",
    ]
)
_LINES = st.one_of(
    st.tuples(st.lists(_KEYS, min_size=1, max_size=3), _VALUES).map(
        lambda pair: f"{'.'.join(pair[0])} = {pair[1]}"
    ),
    st.lists(_KEYS, min_size=1, max_size=3).map(lambda keys: f"[{'.'.join(keys)}]"),
    st.lists(_KEYS, min_size=1, max_size=2).map(lambda keys: f"[[{'.'.join(keys)}]]"),
    st.sampled_from(
        [
            "",
            "# comment [tool.kedro_telemetry]",
            "[tool.kedro]",
            "[tool.kedro_telemetry]",
            "  [ tool.kedro_telemetry ]  # c",
            "kedro_telemetry = { }",
        ]
    ),
)
_DOCUMENTS = st.tuples(
    st.lists(_LINES, max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans()
).map(lambda parts: parts[1].join(parts[0]) + (parts[1] if parts[2] else ""))


@FAST
@given(_DOCUMENTS | st.text())
def test_an_insertion_changes_nothing_else(text: str) -> None:
    """Whatever the text, either nothing is offered or the same text with one piece put in, which says one thing more."""
    new = toml_edit.insert(text, ("tool", "kedro_telemetry"), "project_id", "ID")
    if new is None:
        return
    extra = len(new) - len(text)
    assert any(new[:place] + new[place + extra :] == text for place in range(len(text) + 1))
    before, after = toml_file.loads(text), toml_file.loads(new)
    assert before is not None
    assert after is not None
    assert after["tool"]["kedro_telemetry"].pop("project_id") == "ID"
    for inner, holder in (("kedro_telemetry", after["tool"]), ("tool", after)):
        if not holder[inner] and inner not in (
            before.get("tool", {}) if inner != "tool" else before
        ):
            del holder[inner]
    assert toml_file.same(before, after)


@SLOW
@given(text=_DOCUMENTS)
def test_a_project_file_is_whole_or_untouched(text: str, tmp_path: Path) -> None:
    """Whatever is in pyproject.toml, asking for the project's id does not raise, and adds at most the one piece."""
    path = pyproject(tmp_path, text)
    found = identity.project_id(tmp_path, "p", create=True)
    after = path.read_bytes().decode()
    assert (found is None) == (identity.project_id(tmp_path, "p", create=False) is None)
    if found is None or "project_id" in text:
        assert after == text
    assert len(after) - len(text) < 90


@FAST
@given(_DOCUMENTS, st.sampled_from(["a", "b", "kedro"]), st.sampled_from(["1", '"word"', "true"]))
def test_an_assignment_changes_one_key(text: str, key: str, literal: str) -> None:
    """Setting a key at the top changes what the text says of that key and of nothing else; taking it away undoes it."""
    assume(toml_file.loads(text) is not None)
    before = parsed(text)
    new = toml_edit.assign(text, (), key, literal)
    if new is not None:
        after = toml_file.loads(new)
        assert after is not None
        assert toml_file.same({**before, key: 0}, {**after, key: 0})
        assert after[key] == parsed(f"v = {literal}")["v"]
        left = toml_edit.remove(new, (), key)
        assert left is not None
        assert toml_file.same(
            toml_file.loads(left), {name: value for name, value in before.items() if name != key}
        )


def test_without_leave_to_make_one_nothing_is_made(tmp_path: Path) -> None:
    """A project without an id has none, and its file stays as it is, unless an id may be made."""
    path = tmp_path / "pyproject.toml"
    path.write_text("[tool.kedro]\n")
    assert identity.project_id(tmp_path, "package", create=False) is None
    assert path.read_text() == "[tool.kedro]\n"


def test_a_name_that_is_no_text_has_an_id_too(tmp_path: Path) -> None:
    """A package's name with half a character in it does not raise."""
    (tmp_path / "pyproject.toml").write_text(
        '[tool.kedro]\n[tool.kedro_telemetry]\nproject_id = "x"\n'
    )
    assert len(identity.project_id(tmp_path, "\ud800", create=False) or "") == 128


def test_who_waited_takes_the_id_of_who_was_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An id that another process wrote between our look and our lock is the one."""
    path = tmp_path / "pyproject.toml"
    path.write_text("[tool.kedro]\n")
    locked = identity._locked

    def slow(where: Path) -> object:
        path.write_text('[tool.kedro]\n[tool.kedro_telemetry]\nproject_id = "theirs"\n')
        return locked(where)

    monkeypatch.setattr(identity, "_locked", slow)
    assert (
        identity.project_id(tmp_path, "package", create=True)
        == hashlib.sha512(b"theirspackage").hexdigest()
    )
    assert "theirs" in path.read_text()
