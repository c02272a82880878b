"""What is kept on this machine alone: shown to its owner, in no recording and in nothing that leaves."""

from __future__ import annotations

import html
import os
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result
from loopback import Loopback, loopback

from kedro_otel.config import settings
from kedro_otel.private import reader
from kedro_otel.private.writer import MAX_TEXT, PrivateWriter
from kedro_otel.recording import retention
from kedro_otel.recording.writer import Writer

__all__ = ["loopback"]

NODES = """
def greet(name):
    return name

def shout(greeting):
    return greeting

def tell(shouted, fail):
    try:
        raise KeyError("CANARY-cause")
    except KeyError as cause:
        error = ValueError("CANARY-message <blink>\\nsecond line")
        if hasattr(error, "add_note"):
            error.add_note("CANARY-note")
        raise error from cause
"""
TYPED = ("run", "--params", "fail=true,name=CANARY typed")
SHOWN = ("CANARY-message", "CANARY typed", "second line")


def test_the_owner_sees_the_reason_and_nobody_else(
    project: Callable[..., Path],
    run: Callable[..., Result],
    kedro: Callable[..., Result],
    home: Path,
    loopback: Loopback,
    full: bool,
) -> None:
    """Message, cause, note and arguments are in the private file and in what its owner reads; in nothing that is sent, and in no recording."""
    where = project(nodes=NODES)
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": loopback.url,
        "KEDRO_OTEL_SHIP": "manual",
        "KEDRO_OTEL_DETAIL": "run",
    }
    kedro(*TYPED, cwd=where, env=env, code=1)
    (private,) = home.rglob("*.private")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    words = private.read_text()
    for canary in ("CANARY-message", "CANARY-cause", "CANARY typed"):
        assert canary in words

    def otel(*args: str) -> str:
        return run("kedro-otel", *args, cwd=where, env=env).out

    report = otel("report", "-o", "-")
    for shown in (otel("show"), report, otel("show", "--json")):
        assert all(word in shown for word in SHOWN)
    assert "<blink>" not in report
    assert "CANARY-message" in otel("list")
    for masked in (
        otel("report", "--masked", "-o", "-"),
        otel("export"),
        otel("export", "--as-sent"),
    ):
        assert "ValueError" in masked
        assert "CANARY" not in masked

    for _ in range(99 if full else 0):
        kedro(*TYPED, cwd=where, env=env, code=1)
    sender: tuple[str, ...] = ("kedro-otel", "ship")
    strace = shutil.which("strace")
    traced = where / "strace.txt"
    if strace:
        sender = (strace, "-f", "-qq", "-o", str(traced), "-e", "trace=%file", *sender)
    run(*sender, cwd=where, env=env)
    assert loopback.requests
    assert not any(b"CANARY" in one.message.SerializeToString() for one in loopback.requests)
    if strace:
        calls = traced.read_text()
        assert ".jsonl" in calls
        assert not re.search(r"open\w*\([^)]*\.private", calls)
    for file in home.rglob("*"):
        assert file.suffix == ".private" or not file.is_file() or b"CANARY" not in file.read_bytes()

    run("kedro-otel", "purge", "--yes", cwd=where)
    assert not list(home.rglob("*.private"))


CSV = "told:\n  type: pickle.PickleDataset\n  filepath: data/cars.pkl\n"
TYPO = "told:\n  type: pandas.CSVDatset\n  filepath: data/cars.csv\n"


@pytest.mark.parametrize(
    ("catalog", "expected"),
    [
        pytest.param(
            CSV,
            ("told", "data/cars.pkl", "DatasetError from FileNotFoundError"),
            id="missing file",
        ),
        pytest.param(
            TYPO, ("'told'", "'CSVDatset' not found in 'pandas'", "name is correct"), id="typo"
        ),
        pytest.param("told: [\n  a: b\n", ("catalog.yml", "line 2"), id="YAML"),
    ],
)
def test_a_mistake_in_the_catalog_is_named(
    catalog: str,
    expected: tuple[str, ...],
    project: Callable[..., Path],
    run: Callable[..., Result],
    kedro: Callable[..., Result],
) -> None:
    """`list`, `show` and `report` say which file and line, which entry and what Kedro suggests, or which dataset and path."""
    registry = """
    from kedro.pipeline import node, pipeline

    def register_pipelines():
        return {"__default__": pipeline([node(len, "told", "shown", name="tell")])}
    """
    where = project(catalog=catalog, registry=registry)
    kedro("run", cwd=where, code=1)
    for words in (("list",), ("show", "last"), ("report", "last", "-o", "-")):
        shown = run("kedro-otel", *words, cwd=where, env={"COLUMNS": "120"}).out
        shown = html.unescape(shown)
        head = shown.partition("Traceback")[0]  # of a report, before the stack trace
        assert not re.search(
            r"(core|data_catalog|catalog_config_resolver|omegaconf_config)\.py:", head
        )
        for word in expected:
            assert word in re.sub(r"\s+", " ", shown) or word in re.sub(r"\s+", "", shown), shown


def test_masked_keeps_nothing(
    project: Callable[..., Path], kedro: Callable[..., Result], home: Path
) -> None:
    """A project may say that nothing is kept, and then nothing is."""
    where = project(nodes=NODES, pyproject='[tool.kedro_otel]\nkeep = "masked"\n')
    kedro(*TYPED, cwd=where, code=1)
    assert list(home.rglob("*.jsonl"))
    assert not list(home.rglob("*.private"))


@pytest.mark.parametrize(
    ("said", "user", "used"),
    [
        ("masked", "all", "masked"),
        ("all", "masked", "masked"),
        ("al", "all", "masked"),
        ("all", "", "all"),
    ],
)
def test_a_project_may_only_keep_less(said: str, user: str, used: str, tmp_path: Path) -> None:
    """What a project says of `keep` counts only where it keeps less."""
    (tmp_path / "pyproject.toml").write_text(f'[tool.kedro_otel]\nkeep = "{said}"\n')
    found = settings.load({"KEDRO_OTEL_KEEP": user}, tmp_path)
    assert found.value("keep") == used


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    """Return a segment's writer."""
    facts = {"detail": "usage", "destination": None, "ephemeral": False}
    return Writer(tmp_path / "recordings", {}, facts, lambda _: None)


def test_one_exception_is_written_once(writer: Writer) -> None:
    """What fails a node, its run and the command is one text; a very long one loses its middle."""
    private = PrivateWriter(writer)
    error = ValueError("x" * 2 * MAX_TEXT)
    for span in ("a", "b"):
        private.error(span, error)
    private.error("c", ValueError("short"))
    private.close()
    path = writer.folder / f"{writer.stem}.private"
    with path.open("ab") as file:
        file.write(b'{"error":"d","mess')
    found = reader.read(path.with_suffix(".jsonl"))
    assert found.failures["a"] is found.failures["b"]
    assert "characters left out" in found.failures["a"].message
    assert found.failures["c"].message == "short"
    assert "d" not in found.failures
    assert path.stat().st_size < 3 * MAX_TEXT


def test_nothing_is_kept_once_the_recording_is_erased(writer: Writer) -> None:
    """After a purge no private file comes back."""
    (writer.folder / f"{writer.stem}.jsonl").unlink()
    private = PrivateWriter(writer)
    private.command("a", ["run"])
    private.command("b", ["run"])
    assert not list(writer.folder.glob("*.private"))


def test_it_goes_with_its_recording(tmp_path: Path) -> None:
    """The limits count its bytes and remove it with its segment; one that was left alone goes after a day."""
    facts = {"detail": "usage", "destination": None, "ephemeral": False}
    for _ in range(2):
        writer = Writer(tmp_path, {}, facts, lambda _: None)
        private = PrivateWriter(writer)
        private.command("a", ["x" * 10_000])
        private.close()
        writer.close()
    lonely = tmp_path / f"{1:020d}-1-00000000.private"
    lonely.write_text("")
    limits = retention.Limits(15_000, 30, 100)
    assert retention.exceeded(tmp_path, limits)
    assert retention.prune(tmp_path, limits, lambda _: False) == {"bytes": 1}
    assert len(list(tmp_path.glob("0*.jsonl"))) == 1
    assert len(list(tmp_path.glob("*.private"))) == 2
    os.utime(lonely, (1, 1))
    retention.prune(tmp_path, limits, lambda _: False)
    assert not lonely.exists()
