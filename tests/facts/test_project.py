"""What is known of a project without loading any of its data."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any
from unittest.mock import ANY

import pytest
from kedro.io import DataCatalog, DatasetError, MemoryDataset
from kedro.pipeline import node, pipeline

from kedro_otel.config import consent
from kedro_otel.config import settings as settings_
from kedro_otel.facts import project, resource
from kedro_otel.semconv import names
from kedro_otel.semconv.fields import FIELDS
from kedro_otel.tracing import errors


@pytest.mark.parametrize(
    ("said", "tools"),
    [
        ("\"['Linting', 'Testing']\"", ("Linting", "Testing")),
        ('["Linting"]', ("Linting",)),
        ('"Linting"', ("Linting",)),
        ("\"('a', 1)\"", ("a", "1")),
        ('"[]"', None),
        ('""', None),
        ("[]", None),
        ("7", None),
        (f'"{"[" * 5000}"', ("[" * 5000,)),
    ],
)
def test_tools_are_read_as_kedro_writes_them(
    said: str, tools: tuple[str, ...] | None, tmp_path: Path
) -> None:
    """Kedro's template writes the text of a list; a list is read too, and nothing makes it raise."""
    (tmp_path / "pyproject.toml").write_text(
        f"[tool.kedro]\npackage_name = 'p'\ntools = {said}\nexample_pipeline = 'False'\n"
    )
    assert project.read(tmp_path) == project.Project(tmp_path, "p", tools, "False")


def test_a_folder_that_is_no_project(tmp_path: Path) -> None:
    """Without a pyproject.toml, or with a broken one, nothing is known."""
    assert project.read(tmp_path) == project.Project(tmp_path, None, None, None)
    (tmp_path / "pyproject.toml").write_text("= broken")
    assert project.read(tmp_path) == project.Project(tmp_path, None, None, None)


class Untouchable(MemoryDataset):
    """A dataset of the project's own, which may not be loaded."""

    def load(self) -> None:
        """Must not be called."""
        raise AssertionError


def test_statistics_load_nothing() -> None:
    """Datasets are counted without parameters and by public type; no dataset is loaded."""
    catalog = DataCatalog(
        {
            "a": MemoryDataset(),
            "b": MemoryDataset(),
            "c": Untouchable(),
            "parameters": MemoryDataset(),
            "params:x": MemoryDataset(),
        }
    )
    default = pipeline([node(lambda a: a, "a", "b", name="one")])
    assert project.statistics(catalog, default, 3) == {
        names.DATASET_COUNT: 3,
        names.DATASET_TYPE_COUNT: ["custom=1", "kedro.io.memory_dataset.MemoryDataset=2"],
        names.NODE_COUNT: 1,
        names.PIPELINE_COUNT: 3,
    }
    assert project.statistics(DataCatalog(), None, 0) == {
        names.DATASET_COUNT: 0,
        names.PIPELINE_COUNT: 0,
    }


def test_validators_are_counted_by_public_library() -> None:
    """Validators are counted by library where it is public, else as custom."""

    class Spec:
        def __init__(self, path: str) -> None:
            self.class_path = path

    class Catalog(DataCatalog):
        validator_specs = {"a": Spec("pandera.X"), "b": Spec("mine.Secret"), "c": Spec("")}  # noqa: RUF012 (a test's own)

    found = project.statistics(Catalog(), None, 0)
    assert (found[names.VALIDATED_COUNT], found[names.VALIDATOR_TYPE_COUNT]) == (
        3,
        ["custom=2", "pandera=1"],
    )


def test_public_types_are_kedros_own() -> None:
    """Only classes of Kedro's own packages keep their name."""
    kept = "kedro_datasets.pandas.CSVDataset"
    assert [
        project.dataset_type(name)
        for name in (kept, "kedro_datasets_mine.X", "kedro.iofake.X", "mine.X", "", None)
    ] == [kept, *["custom"] * 5]


def git(*words: str, cwd: Path) -> str:
    """Run git as somebody; return what it prints."""
    who = (
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@t",
        "-c",
        "init.defaultBranch=main",
        "-c",
        "commit.gpgsign=false",
    )
    return subprocess.run(
        ["git", *who, *words], cwd=cwd, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_revision_is_gits_own_answer(tmp_path: Path) -> None:
    """The commit is what `git rev-parse HEAD` says: on a branch, packed, detached, in a worktree, in a folder inside the repository."""
    repository = tmp_path / "repository"
    (repository / "deep" / "project").mkdir(parents=True)
    git("init", cwd=repository)
    assert project.revision(repository) is None
    for number in range(2):
        git("commit", "--allow-empty", "-m", str(number), cwd=repository)
        assert project.revision(repository / "deep" / "project") == git(
            "rev-parse", "HEAD", cwd=repository
        )
    git("pack-refs", "--all", cwd=repository)
    assert project.revision(repository) == git("rev-parse", "HEAD", cwd=repository)
    git("worktree", "add", "-b", "feature/x", str(tmp_path / "tree"), "HEAD~1", cwd=repository)
    assert (
        project.revision(tmp_path / "tree")
        == git("rev-parse", "HEAD", cwd=tmp_path / "tree")
        != project.revision(repository)
    )
    git("pack-refs", "--all", cwd=repository)
    assert project.revision(tmp_path / "tree") == git("rev-parse", "HEAD~1", cwd=repository)
    git("checkout", "--detach", "HEAD~1", cwd=repository)
    assert project.revision(repository) == git("rev-parse", "HEAD", cwd=repository)


def test_revision_of_what_is_no_repository(tmp_path: Path) -> None:
    """Without a repository, or with one that cannot be understood, there is no revision."""
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / ".git").write_text("gitdir: /nowhere")
    assert project.revision(folder) is None
    (folder / ".git").unlink()
    (folder / ".git").mkdir()
    for head in (b"", b"secret", b"ref: refs/heads/none", b"ref: ../../secret", b"\xff"):
        (folder / ".git" / "HEAD").write_bytes(head)
        assert project.revision(folder) is None


def test_a_file_is_told_without_folders_of_the_users(tmp_path: Path) -> None:
    """A file inside the project is relative to it; of any other only the name is left."""
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    assert project.relative(str(tmp_path / "src/p/nodes.py"), tmp_path) == "src/p/nodes.py"
    assert project.relative(str(tmp_path / "link/src/nodes.py"), tmp_path) == "src/nodes.py"
    assert project.relative("/home/alice/lib/x.py", tmp_path) == "x.py"
    assert project.relative(str(tmp_path.parent / "x.py"), tmp_path) == "x.py"
    assert project.relative("<ipython-input-1>", tmp_path) == "<ipython-input-1>"
    assert project.relative("C:\\Users\\alice\\x.py", tmp_path).endswith("x.py")
    assert "alice" not in project.relative("C:\\Users\\alice\\x.py", tmp_path)


def attributes(environ: dict[str, str], folder: Path | None = None) -> dict[str, object]:
    """Return the resource in ``environ``."""
    told = project.read(folder) if folder else None
    return resource.attributes(
        environ,
        settings_.load(environ, folder),
        told,
        installation="i",
        project_id="p" if folder else None,
    )


def test_the_resource_is_the_fields_and_nothing_else(project: Callable[..., Path]) -> None:
    """Every key of the resource has its row in the table of fields; no value holds a path, a host or a user."""
    path = project(pyproject='tools = "[\'Linting\']"\nexample_pipeline = "True"\n')
    found = attributes({"HOME": "/home/alice", "USER": "alice", "HOSTNAME": "wonderland"}, path)
    rows = {field.key for field in FIELDS if "resource" in field.on}
    assert set(found) == rows - {
        names.SERVICE_INSTANCE_ID,
        names.SDK_NAME,
        names.SDK_LANGUAGE,
        names.SDK_VERSION,
        names.ENVIRONMENT,
    }
    assert not [
        value
        for value in found.values()
        if isinstance(value, str) and ("/" in value or "alice" in value or "wonderland" in value)
    ]


def test_what_the_user_adds_is_kept_but_replaces_nothing() -> None:
    """OTEL_RESOURCE_ATTRIBUTES is kept, decoded; it cannot speak for this package; OTEL_SERVICE_NAME beats it."""
    said = "deployment.environment.name=prod,team=a%20b,kedro.version=9,app.installation.id=me,service.name=mine,broken,=x"
    found = attributes({"OTEL_RESOURCE_ATTRIBUTES": said})
    assert (found["deployment.environment.name"], found["team"], found["service.name"]) == (
        "prod",
        "a b",
        "mine",
    )
    assert found[names.INSTALLATION_ID] == "i"
    assert found[names.KEDRO_VERSION] != "9"
    assert (
        attributes({"OTEL_RESOURCE_ATTRIBUTES": said, "OTEL_SERVICE_NAME": "other"})["service.name"]
        == "other"
    )
    agent = attributes({"OTEL_RESOURCE_ATTRIBUTES": said, "GEMINI_CLI": "1"})
    assert (agent["service.name"], agent["team"]) == ("kedro", "a b")


@pytest.mark.parametrize(
    ("root", "separator"),
    [
        (PurePosixPath("/code/shop"), "/"),
        (PureWindowsPath(r"C:\code\shop"), "/"),
        (PureWindowsPath(r"C:\code\shop"), "\\"),
    ],
    ids=["posix", "slashes", "backslashes"],
)
def test_the_projects_own_line_is_found(root: PurePath, separator: str) -> None:
    """Whatever separates its folders, and Python's own idea of them: the innermost line of the project, not that of a library it calls."""
    calls: dict[str, Any] = {}
    for name, file in (("library", ".venv/site-packages/lib.py"), ("node", "src/shop/nodes.py")):
        code = compile(
            f"\n\n\ndef {name}(call): call()", f"{root}/{file}".replace("/", separator), "exec"
        )
        exec(code, calls)
    with pytest.raises(ZeroDivisionError) as raised:
        calls["node"](lambda: calls["library"](lambda: 1 / 0))
    found = errors.facts(raised.value, root)  # type: ignore[arg-type]
    assert (found[names.ERROR_FILE].rpartition("/")[2], found[names.ERROR_LINE]) == ("nodes.py", 4)


def test_a_failure_names_its_first_cause_and_no_line_of_kedros() -> None:
    """What Kedro wraps is named beside the wrapper; where no line is the project's it is a library's, or none."""
    catalog = DataCatalog({"cars": MemoryDataset()})
    with pytest.raises(DatasetError) as raised:
        catalog.load("cars")
    assert errors.facts(raised.value, Path("/nowhere")) == {
        names.ERROR_TYPE: "kedro.io.core.DatasetError",
        names.ERROR_FILE: "test_project.py",
        names.ERROR_LINE: ANY,
    }

    def reading() -> None:
        try:
            try:
                json.loads("{")
            except ValueError as error:
                raise OSError from error
        except OSError as error:
            raise DatasetError from error

    with pytest.raises(DatasetError) as raised:
        reading()
    found = errors.facts(raised.value, Path("/nowhere"))
    assert found[names.ERROR_CAUSE] == "json.decoder.JSONDecodeError"
    assert found[names.ERROR_FILE] == "decoder.py"


@pytest.mark.parametrize(
    "name",
    [
        ".git/HEAD",
        ".git/packed-refs",
        ".git/commondir",
        ".git/refs/heads/main",
        ".git",
        "pyproject.toml",
        ".telemetry",
    ],
)
@pytest.mark.parametrize("kind", ["pipe", "device", "huge", "folder", "loop"])
def test_only_regular_files_of_a_sane_size_are_read(name: str, kind: str, tmp_path: Path) -> None:
    """A named pipe is not waited for, a file of 1.5 GB not read, and nothing is raised."""
    (tmp_path / ".git/refs/heads").mkdir(parents=True)
    (tmp_path / ".git/HEAD").write_text("ref: refs/heads/main\n")
    path = tmp_path / name
    if name == ".git":
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(1_500_000_000)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path.name)
    began = time.process_time()
    assert project.revision(tmp_path) is None
    assert project.read(tmp_path).package is None
    assert project.around(tmp_path) is None
    consent.decide({}, tmp_path)
    assert time.process_time() - began < 5  # none of it takes as long as reading would


def test_a_revision_among_many_packed_ones(tmp_path: Path) -> None:
    """The last of half a million references is found, and one whose name is the end of another's is not mistaken."""
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/HEAD").write_text("ref: refs/heads/main\n")
    many = "".join(f"{number:040x} refs/tags/{number}\n" for number in range(100_000))
    (tmp_path / ".git/packed-refs").write_text(
        f"# pack-refs with: sorted\n{'b' * 40} refs/x/refs/heads/main\n{many}{'a' * 40} refs/heads/main\n"
    )
    assert project.revision(tmp_path) == "a" * 40
