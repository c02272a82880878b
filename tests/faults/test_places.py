"""Places that cannot be written, or should not be trusted: the command is unchanged, one line says so, what can be kept is."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Result
from fabricate import Tape
from faulty import BIN, GONE, chain, spoken
from loopback import Loopback, loopback
from trace_text import operations, segments

from kedro_otel.recording import reader
from kedro_otel.recording.writer import RecordingError, Writer

__all__ = ["loopback"]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Linux's own means")
ROOT = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root: other users, mounts"
)
NOBODY, STRANGER = 65534, 47110
pytestmark = [LINUX, pytest.mark.timeout(600)]


def told(result: Result) -> list[str]:
    """Return our lines on stderr."""
    return [line for line in result.err.splitlines() if line.startswith("kedro-otel")]


def unharmed(result: Result, path: Path) -> None:
    """Hold that the command did its work."""
    assert result.code == 0, result
    assert "Traceback" not in result.err
    assert (path / "data" / "told.json").exists(), result


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Return ``tmpfs(size, options)``, which mounts a small file system."""
    mounted: list[Path] = []

    def tmpfs(size: str, options: str = "") -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}{options}", "tmpfs", folder],
            capture_output=True,
            check=False,
        )
        if done.returncode:
            pytest.skip("nothing may be mounted here")
        mounted.append(folder)
        return folder

    yield tmpfs
    for folder in mounted:
        subprocess.run(["umount", "-l", folder], check=False)


@ROOT
@pytest.mark.parametrize("room", [0, 1, 8, 40])
def test_disk_full(
    room: int,
    project: Callable[..., Path],
    kedro: Callable[..., Result],
    tmpfs: Callable[..., Path],
    figure: Callable[[str], None],
) -> None:
    """On a disk with no room, or with too little, the run is unchanged, one line says so, and the lines that were written are read."""
    disk = tmpfs("512k")
    path = chain(project, 60)
    filler = disk / "filler"
    with filler.open("wb") as file, contextlib.suppress(OSError):
        while True:
            os.write(file.fileno(), bytes(4096))
    size = filler.stat().st_size
    os.truncate(filler, max(size - room * 4096, 0))
    result = kedro("run", cwd=path, env={"KEDRO_OTEL_HOME": str(disk / "home")})
    assert (path / "evidence.txt").read_text().count("n") == 60
    assert "Traceback" not in result.err
    kept = operations(disk / "home")
    assert len(told(result)) == (1 if room < 40 else len(told(result)) and 1)
    assert all(set(segment.skipped) <= {"torn"} for segment in segments(disk / "home"))
    if room >= 8:
        assert [one.name for one in kept if one.operation == "node"][:3] == [
            "node n0",
            "node n1",
            "node n2",
        ]
    figure(
        f"{room * 4} KiB of room: exit code 0, {len(told(result))} line on stderr, {len(kept)} operations kept"
    )


def test_a_file_size_limit(
    project: Callable[..., Path],
    run: Callable[..., Result],
    home: Path,
    figure: Callable[[str], None],
) -> None:
    """Where a file may not grow (`ulimit -f`), recording stops with one line, and what is there is whole."""
    path = chain(project, 60)
    result = run(
        "sh",
        "-c",
        f"ulimit -f 16; exec {BIN}/kedro run",
        cwd=path,
        env={"PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert (path / "evidence.txt").read_text().count("n") == 60
    assert len(told(result)) == 1
    assert "stopped recording" in told(result)[0]
    figure(f"1 line on stderr, {len(operations(home))} operations kept")


EIO = (
    GONE
    + """
def greet(name):
    return name

def shout(greeting):
    gone()
    return greeting

def tell(shouted, fail):
    return {"text": shouted}
"""
)


def test_input_output_error(
    project: Callable[..., Path],
    kedro: Callable[..., Result],
    home: Path,
    figure: Callable[[str], None],
) -> None:
    """When the disk fails under a run, the run goes on; what was written before is kept."""
    path = project(nodes=EIO)
    result = kedro("run", cwd=path)
    unharmed(result, path)
    assert len(told(result)) == 1
    assert os.strerror(errno.EIO) in told(result)[0]
    assert "node greet" in {one.name for one in operations(home)}
    figure(f"1 line on stderr, {len(operations(home))} operations kept")


@pytest.mark.parametrize("limit", [12, 20, 40])
def test_too_many_open_files(
    limit: int,
    project: Callable[..., Path],
    run: Callable[..., Result],
    bare_kedro: Callable[..., Result],
    figure: Callable[[str], None],
) -> None:
    """With nearly no descriptors left, whatever Kedro can do without us it can do with us."""
    path = project()
    words = ("sh", "-c", f"ulimit -n {limit}; exec {BIN}/kedro run")
    ours = run(*words, cwd=path, code=None)
    bare = run("sh", "-c", f"ulimit -n {limit}; exec {_bare(bare_kedro)} run", cwd=path, code=None)
    assert ours.code == bare.code, f"{ours}\n{bare}"
    assert len(told(ours)) <= 1
    figure(
        f"{limit} descriptors: exit code {ours.code} with and without us, {len(told(ours))} lines on stderr"
    )


def _bare(bare_kedro: Callable[..., Result]) -> str:
    return str(bare_kedro("--version").args[0])


FULL_TABLE = """
import os, resource

def greet(name):
    return name

held = []

def shout(greeting):
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    return greeting

def tell(shouted, fail):
    for descriptor in held:
        os.close(descriptor)
    return {"text": shouted}
"""


def test_descriptors_run_out_in_a_node(
    project: Callable[..., Path],
    kedro: Callable[..., Result],
    home: Path,
    figure: Callable[[str], None],
) -> None:
    """A node that uses up all descriptors costs the recording nothing: its file is open."""
    path = project(nodes=FULL_TABLE)
    result = kedro("run", cwd=path, env={"KEDRO_OTEL_RAISE": None})
    unharmed(result, path)
    assert told(result) == []
    found = operations(home)
    assert {one.state for one in found} == {"ended"}
    figure(f"{len(found)} of 12 operations recorded")
    assert len(found) == 12


@pytest.mark.parametrize("case", ["read-only", "no HOME", "a file", "no permission"])
@pytest.mark.parametrize("receiver", [True, False], ids=["endpoint", "no endpoint"])
def test_no_place(
    case: str,
    receiver: bool,
    project: Callable[..., Path],
    run: Callable[..., Result],
    environment: dict[str, str],
    tmp_path: Path,
    loopback: Loopback,
    tmpfs: Callable[..., Path],
    open_folder: Path,
    figure: Callable[[str], None],
) -> None:
    """Where nothing can be written: with an endpoint everything is sent from memory, without one nothing is recorded; one line either way."""
    if os.geteuid() != 0 and case != "a file":
        pytest.skip("needs root")
    path = project()
    home: str | None = str(tmp_path / "blocked" / "kedro-otel")
    more: dict[str, str | None] = {}
    words: list[str | Path] = [BIN / "kedro", "run"]
    if case == "read-only":
        home = str(tmpfs("1m", ",ro") / "kedro-otel")
    elif case == "a file":
        (tmp_path / "blocked").write_text("")
    else:
        if not shutil.which("setpriv"):
            pytest.skip("needs setpriv")
        if case == "no HOME":
            # a user without a name, as some container platforms give out; it may read all, since this Python may be in a private folder
            other = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups"]
            other += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
            if subprocess.run(
                [*other, sys.executable, "-c", "pass"], capture_output=True, check=False
            ).returncode:
                pytest.skip("no other user may run this Python here")
            path = Path(shutil.copytree(path, open_folder / "project"))
            _open_to_others(path)
            home = more["HOME"] = None
            more["PYTHONDONTWRITEBYTECODE"] = "1"
        else:
            # root, without the power to ignore permissions, in a folder of somebody else
            other = [
                "setpriv",
                "--bounding-set=-dac_override,-dac_read_search,-fowner",
                "--inh-caps=-all",
            ]
            home = str(open_folder / "kedro-otel")
            os.chown(open_folder, NOBODY, NOBODY)
        words = [*other, *words]
    more.update(
        KEDRO_OTEL_HOME=home,
        KEDRO_OTEL_SHIP="wait",
        KEDRO_OTEL_DETAIL="run",
        KEDRO_OTEL_SHIP_TIMEOUT="30",
    )
    if receiver:
        more["OTEL_EXPORTER_OTLP_ENDPOINT"] = loopback.url
    result = run(*words, cwd=path, env=more)
    unharmed(result, path)
    assert len(told(result)) == 1, result.err
    if receiver:
        names = loopback.span_names()
        assert sum(names.values()) == 12
        assert loopback.total("kedro.commands") == 1
        assert len({span.trace_id for span in loopback.spans()}) == 1
        figure(f"{case}: 12 of 12 spans sent from memory, 1 command counted, 1 line on stderr")
    else:
        assert "records nothing" in told(result)[0]
        figure(f"{case}: off, 1 line on stderr")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder that other users can reach: pytest's own are private."""
    folder = Path(tempfile.mkdtemp(prefix="kedro-otel-faults-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _open_to_others(folder: Path) -> None:
    """Let other users read and write ``folder``."""
    for inner in [folder, *folder.rglob("*")]:
        inner.chmod(0o777)


def test_memory_is_bounded(
    project: Callable[..., Path],
    kedro: Callable[..., Result],
    loopback: Loopback,
    figure: Callable[[str], None],
) -> None:
    """A run that goes on for ever without a place keeps commands, runs and nodes, and counts what it dropped."""
    from kedro_otel.recording import in_memory_writer

    kept = in_memory_writer.InMemoryWriter({}, {"detail": "run"})
    line = b'{"span":"dataset","x":"' + b"y" * 1000 + b'"}\n'
    for _ in range(20_000):
        kept.span("dataset", line)
    assert kept.lost["dataset_too_much"] > 10_000
    for number in range(3000):
        kept.start(str(number), line)
        kept.end(str(number), line)
    taken = kept.take(whole=True)
    assert len(taken) < in_memory_writer.MAX_BYTES + 4096
    assert b'"lost"' not in taken[-10:]
    figure(f"26 MB offered, {len(taken) / 2**20:.1f} MiB kept")


# --- what is planted -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("planted", ["symlink", "file", "fifo", "dangling"])
def test_something_else_in_the_folders_place(
    planted: str,
    project: Callable[..., Path],
    kedro: Callable[..., Result],
    home: Path,
    tmp_path: Path,
    figure: Callable[[str], None],
) -> None:
    """A link, a file or a pipe in place of the recordings' folder is refused with one line; where it leads nothing is written."""
    home.mkdir(parents=True, mode=0o700)
    elsewhere = tmp_path / "elsewhere"
    place = home / "recordings"
    if planted == "symlink":
        elsewhere.mkdir()
        place.symlink_to(elsewhere)
    elif planted == "dangling":
        place.symlink_to(elsewhere)
    elif planted == "file":
        place.write_text("")
    else:
        os.mkfifo(place)
    path = project()
    result = kedro("run", cwd=path)
    unharmed(result, path)
    assert len(told(result)) == 1
    assert not elsewhere.exists() or not list(elsewhere.iterdir())
    figure(f"{planted}: refused, 1 line on stderr")


@ROOT
def test_a_folder_of_somebody_else(
    project: Callable[..., Path],
    kedro: Callable[..., Result],
    home: Path,
    figure: Callable[[str], None],
) -> None:
    """A folder that belongs to another user is not written to, even by one who could."""
    (home / "recordings").mkdir(parents=True)
    os.chown(home / "recordings", NOBODY, NOBODY)
    path = project()
    result = kedro("run", cwd=path)
    unharmed(result, path)
    assert len(told(result)) == 1
    assert "belongs to another user" in told(result)[0]
    assert list((home / "recordings").iterdir()) == []
    figure("refused, 1 line on stderr")


def test_planted_segments_are_not_read(
    project: Callable[..., Path],
    kedro: Callable[..., Result],
    home: Path,
    tmp_path: Path,
    figure: Callable[[str], None],
) -> None:
    """Links and pipes among the recordings are neither followed nor waited for; neighbours are read, under one of their names each."""
    path = project()
    kedro("run", cwd=path)
    folder = home / "recordings"
    outside = tmp_path / "outside"
    outside.mkdir()
    tape = Tape(outside)
    tape.end(tape.start("command", "kedro planted", 0), 1)
    (real,) = folder.glob("*.jsonl")
    (folder / "00000000000000000001-1-00000001.jsonl").symlink_to(tape.path)
    os.link(real, folder / "00000000000000000001-1-00000002.jsonl")
    os.mkfifo(folder / "00000000000000000001-1-00000003.jsonl")
    (folder / "00000000000000000001-1-00000004.jsonl").mkdir()
    (folder / "00000000000000000001-1-00000005.jsonl").write_bytes(b"")
    number = 5
    if os.geteuid() == 0:
        shutil.copy(tape.path, folder / "00000000000000000001-1-00000006.jsonl")
        os.chown(folder / "00000000000000000001-1-00000006.jsonl", NOBODY, NOBODY)
        number = 6
    listed = kedro("otel", "list", "--json", cwd=path, timeout=60).out
    assert "kedro planted" not in listed
    assert "kedro run" in listed
    assert (
        spoken(kedro("otel", "status", "--json", cwd=path, timeout=60).out)["recorded"]["commands"]
        == 1
    )
    kedro("run", cwd=path)
    figure(f"{number} planted, 0 read, 0 s waited; the real one is listed")


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_modes(
    umask: int,
    project: Callable[..., Path],
    environment: dict[str, str],
    home: Path,
    loopback: Loopback,
    figure: Callable[[str], None],
) -> None:
    """Whatever the umask, what we write is readable by its user alone."""
    path = project()
    environment.update(
        OTEL_EXPORTER_OTLP_ENDPOINT=loopback.url,
        KEDRO_OTEL_SHIP="wait",
        KEDRO_OTEL_SHIP_TIMEOUT="30",
    )
    subprocess.run(
        [BIN / "kedro", "run", "--runner=ParallelRunner"],
        cwd=path,
        env=environment,
        umask=umask if umask != 0o777 else 0o022,
        check=True,
        capture_output=True,
    )
    modes = {
        str(found.relative_to(home)): found.stat().st_mode & 0o777
        for found in [home, *home.rglob("*")]
    }
    assert len(modes) > 5
    wrong = {
        name: oct(mode)
        for name, mode in modes.items()
        if mode & 0o077 or mode not in {0o600, 0o700}
    }
    # the folder itself may be one that the user made: what is in it counts
    assert {name for name in wrong if name != "."} == set()
    config = Path(environment["HOME"]) / ".config" / "kedro"
    assert [
        oct(found.stat().st_mode & 0o777)
        for found in config.rglob("*")
        if found.is_file() and found.stat().st_mode & 0o077
    ] == []
    figure(f"umask {umask:03o}: {len(modes)} files and folders, all 0600 or 0700")


# --- file systems without locks, two hosts ---------------------------------------------------------------------------------

_FILTERS = {
    "x86_64": (0xC000003E, {"flock": 73, "fcntl": 72}),
    "aarch64": (0xC00000B7, {"flock": 32, "fcntl": 25}),
}


def without_locks() -> None:
    """Make the kernel refuse every ``flock`` of this process and its children with ENOLCK (seccomp)."""
    arch, numbers = _FILTERS[os.uname().machine]
    number, answer = numbers["flock"], 0x00050000 | errno.ENOLCK
    rows = [
        (0x20, 0, 0, 4),
        (0x15, 0, 3, arch),
        (0x20, 0, 0, 0),
        (0x15, 0, 1, number),
        (0x06, 0, 0, answer),
        (0x06, 0, 0, 0x7FFF0000),
    ]
    program = b"".join(struct.pack("HBBI", *row) for row in rows)
    kept = ctypes.create_string_buffer(program)
    libc = ctypes.CDLL(None, use_errno=True)
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(rows), ctypes.addressof(kept)))
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, header, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def test_no_locks(
    project: Callable[..., Path],
    environment: dict[str, str],
    kedro: Callable[..., Result],
    home: Path,
    loopback: Loopback,
    figure: Callable[[str], None],
) -> None:
    """On a file system without locks runs are recorded and delivered once, and a living one is never taken for dead."""
    if os.uname().machine not in _FILTERS:
        pytest.skip("no filter for this machine")
    path = chain(project, 30)
    environment.update(KEDRO_OTEL_DETAIL="run", NODE_SECONDS="0.1")
    process = subprocess.Popen(
        [BIN / "kedro", "run"],
        cwd=path,
        env=environment,
        preexec_fn=without_locks,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    states: set[str] = set()
    while process.poll() is None:
        states |= {one.state for one in operations(home)}
        time.sleep(0.05)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert "kedro-otel" not in err
    (segment,) = segments(home)
    assert segment.header.locked is False
    assert "died" not in states
    assert "unknown" in states
    assert {one.state for one in segment.operations} == {"ended"}
    environment.update(OTEL_EXPORTER_OTLP_ENDPOINT=loopback.url)
    manual = {**environment, "KEDRO_OTEL_SHIP": "manual"}
    subprocess.run(
        [BIN / "kedro", "run"],
        cwd=path,
        env=manual,
        preexec_fn=without_locks,
        check=True,
        capture_output=True,
    )
    for _ in range(
        2
    ):  # locks stand in on a local disk, as they would beside a home on a file server
        kedro("otel", "ship", cwd=path)
    assert loopback.total("kedro.commands") == 1
    assert len(loopback.spans()) == len({span.span_id for span in loopback.spans()})
    assert not [span for span in loopback.spans() if span.status.code == 2]
    figure("0 taken for dead while it ran and after; 1 command counted, 0 spans twice")


def test_two_hosts_one_home(home: Path, figure: Callable[[str], None]) -> None:
    """What another host left open is never called dead here; what an earlier boot of this one left open is."""
    folder = home / "recordings"
    for header in (
        {"bootId": "another"},
        {"bootId": "another", "machineId": "another"},
        {"bootId": "", "machineId": "another"},
    ):
        tape = Tape(folder, **header)
        tape.start("command", "kedro run", 0)
    here = Tape(folder)
    here.start("command", "kedro run", 0)
    states = [one.state for segment in segments(home) for one in segment.operations]
    assert sorted(states) == ["died", "died", "unknown", "unknown"]
    figure("2 of other hosts: 0 taken for dead; 2 of ours, one of an earlier boot: dead")


# --- the clock ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [-1, 1])
def test_the_clock_is_set(
    days: int, home: Path, monkeypatch: pytest.MonkeyPatch, figure: Callable[[str], None]
) -> None:
    """Set by a day between the beginning and the end of an operation: no negative duration, nothing dead, nothing expires."""
    from kedro_otel.recording import encoder, machine, retention

    folder = home / "recordings"
    writer = Writer(folder, {}, {"detail": "run"}, pytest.fail)
    now = time.time_ns()
    trace = "ab" * 16
    writer.start("cd" * 8, encoder.start("command", trace, "cd" * 8, "", "kedro run", now, {}))
    then = now + days * 86400 * 10**9
    writer.end("cd" * 8, encoder.end("command", trace, "cd" * 8, then, "[]", error=False))
    writer.start("ef" * 8, encoder.start("command", trace, "ef" * 8, "", "kedro run", then, {}))
    (segment,) = segments(home)
    assert [one.state for one in segment.operations] == ["ended", "open"]
    assert all(one.end_ns is None or one.end_ns >= one.start_ns for one in segment.operations)
    writer.close()
    monkeypatch.setattr(machine, "runs", lambda *_: False)  # as if this process had ended
    limits = retention.Limits(1 << 20, 30, 10)
    assert not retention.prune(folder, limits, lambda _: False, now_ns=then)
    (path,) = reader.segments(folder)
    (segment,) = segments(home)
    assert {one.state for one in segment.operations} == {"ended", "died"}
    assert all(one.end_ns >= one.start_ns for one in segment.operations)
    assert path.exists()
    figure(f"{days:+d} day: 0 negative durations, 0 expired, 0 taken for dead while alive")


def test_refusals_say_what_to_do(tmp_path: Path) -> None:
    """Where recording is refused the reason names the folder."""
    (tmp_path / "x").write_text("")
    with pytest.raises(RecordingError, match="recordings"):
        Writer(tmp_path / "x" / "recordings", {}, {}, lambda _: None)
