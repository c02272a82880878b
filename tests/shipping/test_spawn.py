"""How a detached process is started: by which program, in which environment, with which packages."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from differential import shippers
from loopback import Loopback, hang, loopback  # noqa: F401 (a fixture)

from kedro_otel.shipping.process import interpreter, launch, packages, spawn


def program(path: Path, text: str = "#!/bin/sh\nexit 0\n") -> Path:
    """Make a program at ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    "name",
    [
        "python",
        "python3",
        "python3.13",
        "python3.13t",
        "python3.13d",
        "pypy3.10",
        "pythonw.exe",
        "Python.EXE",
    ],
)
def test_an_interpreter_is_known_by_its_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever Python's own builds and installers call it."""
    monkeypatch.setattr(sys, "executable", str(program(tmp_path / name)))
    assert interpreter.find() == str(tmp_path / name)


@pytest.mark.parametrize("name", ["uwsgi", "app", "python-app", "mypython", "httpd", "kedro", ""])
def test_another_program_is_never_started(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In place of an embedding program the environment's own interpreter is taken; without one there is none."""
    monkeypatch.setattr(sys, "executable", str(program(tmp_path / name)) if name else None)
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "env"))
    program(tmp_path / "env/bin/python3")
    assert interpreter.find() == str(tmp_path / "env/bin/python3")
    program(tmp_path / f"env/bin/python{version}")
    assert interpreter.find() == str(tmp_path / f"env/bin/python{version}")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "none"))
    monkeypatch.setattr(sys, "base_exec_prefix", str(tmp_path / "none"))
    base = program(tmp_path / "base/bin/python3")
    monkeypatch.setattr(sys, "_base_executable", str(base))
    assert interpreter.find() == str(base)
    monkeypatch.setattr(sys, "_base_executable", str(tmp_path / "base/bin/uwsgi"))
    with pytest.raises(interpreter.NotFoundError):
        interpreter.find()


def test_a_frozen_application_is_never_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even if it is called python; an active environment's interpreter is tried."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", str(program(tmp_path / "app/python3")))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "app"))
    with pytest.raises(interpreter.NotFoundError):
        interpreter.find()
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "env"))
    active = program(tmp_path / "env/bin/python3")
    assert interpreter.find() == str(active)


FROZEN = """
import os, sys
from pathlib import Path
with open(os.environ["LEDGER"], "a") as ledger:
    ledger.write("started\\n")
sys.executable = sys._base_executable = {executable!r}
sys.prefix = sys.exec_prefix = sys.base_exec_prefix = {folder!r}
{frozen}
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
bootstrap_project(Path.cwd())
with KedroSession.create(Path.cwd()) as session:
    session.run()
"""


@pytest.mark.parametrize("kind", ["frozen", "embedded"])
def test_a_program_around_python_runs_once_and_what_it_recorded_arrives(
    kind: str,
    project: Callable[..., Path],
    run: Callable[..., Any],
    kedro: Callable[..., Any],
    home: Path,
    tmp_path: Path,
    loopback: Loopback,  # noqa: F811
) -> None:
    """Its own program is not started again. `status` says why nothing was sent, and the next command sends it."""
    path = project()
    app = tmp_path / "app" / ("python3" if kind == "frozen" else "uwsgi")
    frozen = "sys.frozen = True" if kind == "frozen" else ""
    text = FROZEN.format(executable=str(app), folder=str(app.parent), frozen=frozen)
    program(app, f"#!{sys.executable}\n{text}")
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": loopback.url, "LEDGER": str(tmp_path / "ledger")}
    run(app, cwd=path, env=env)
    assert (tmp_path / "ledger").read_text() == "started\n"
    assert loopback.requests == []
    said = kedro("otel", "status", cwd=path, env=env).out
    assert f"{app} is no Python interpreter" in said
    assert "kedro otel ship" in said
    kedro("otel", "ship", cwd=path, env=env)
    assert loopback.span_names()["run"] == 1
    assert (tmp_path / "ledger").read_text() == "started\n"
    run(
        sys.executable,
        "-c",
        "from kedro_otel.shipping.process import launch; launch.spawn('end')",
        env=env,
    )
    assert "no Python interpreter" not in kedro("otel", "status", cwd=path, env=env).out


def test_another_interpreter_must_have_this_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that cannot import it is told from one that can, and is nobody's child either."""
    monkeypatch.setattr(
        interpreter, "find", lambda: str(program(tmp_path / "python3", "#!/bin/sh\nexit 1\n"))
    )
    with pytest.raises(OSError, match="cannot run kedro-otel"):
        spawn.start("daemon", "end", tmp_path)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_files_are_named_absolutely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process works in another folder: what is named relative to this one is looked for here."""
    monkeypatch.chdir(tmp_path)
    given = {
        "KEDRO_OTEL_HOME": "state",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": "ca.pem",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY": "../key.pem",
        "SSL_CERT_FILE": "system.pem",
        "REQUESTS_CA_BUNDLE": "/etc/ca.pem",
        "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE": " ",
    }
    monkeypatch.setenv("KEDRO_OTEL_HOME", "state")
    found = spawn.environment(given)
    assert {name: found[name] for name in given} == {
        "KEDRO_OTEL_HOME": str(tmp_path / "state"),
        "OTEL_EXPORTER_OTLP_CERTIFICATE": str(tmp_path / "ca.pem"),
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY": str(tmp_path.parent / "key.pem"),
        "SSL_CERT_FILE": str(tmp_path / "system.pem"),
        "REQUESTS_CA_BUNDLE": "/etc/ca.pem",
        "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE": " ",
    }


def test_what_changes_an_interpreter_stays_behind() -> None:
    """Neither the user's settings of Python nor those of a coverage measurement are for this process."""
    given = {
        "PYTHONPATH": "src",
        "PYTHONINSPECT": "1",
        "COVERAGE_PROCESS_START": "x",
        "COV_CORE_SOURCE": "x",
        "HTTPS_PROXY": "x",
    }
    assert spawn.environment(given).keys() == {"HTTPS_PROXY", spawn.GUARD}


def test_a_frozen_applications_libraries_stay_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyInstaller points every program that its application starts to its own libraries, and keeps what was there."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert spawn.environment({"LD_LIBRARY_PATH": "/app"}).keys() == {spawn.GUARD}
    given = {"LD_LIBRARY_PATH": "/app", "LD_LIBRARY_PATH_ORIG": "/theirs"}
    assert spawn.environment(given)["LD_LIBRARY_PATH"] == "/theirs"


def test_a_relative_state_folder_is_one_folder(
    project: Callable[..., Path],
    kedro: Callable[..., Any],
    tmp_path: Path,
    loopback: Loopback,  # noqa: F811
) -> None:
    """With `KEDRO_OTEL_HOME=state` the shipper finds what the command recorded, whatever folder it works in."""
    path = project()
    env = {"KEDRO_OTEL_HOME": "state", "OTEL_EXPORTER_OTLP_ENDPOINT": loopback.url}
    kedro("run", cwd=path, env=env)
    until(lambda: loopback.total("kedro.commands") == 1)
    assert {entry.name for entry in (path / "state").iterdir()} >= {"recordings", "destinations"}


BLOCKED = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGCHLD):
    signal.signal(number, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_signals_work_in_it_whatever_its_starter_blocks(
    project: Callable[..., Path],
    run: Callable[..., Any],
    home: Path,
    loopback: Loopback,  # noqa: F811
) -> None:
    """Nothing is blocked or ignored in it: the deadline of a request is an alarm."""
    loopback.always["traces"] = hang
    kedro = Path(sys.executable).with_name("kedro")
    run(
        sys.executable,
        "-c",
        BLOCKED,
        kedro,
        "registry",
        "list",
        cwd=project(),
        env={"OTEL_EXPORTER_OTLP_ENDPOINT": loopback.url},
    )
    until(lambda: loopback.of("traces", accepted=False))
    (pid,) = shippers(home)
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    assert int(status["SigBlk"], 16) == 0
    ignored = {number for number in range(1, 65) if int(status["SigIgn"], 16) >> (number - 1) & 1}
    assert ignored <= {signal.SIGPIPE, signal.SIGXFSZ, 32, 33}  # the last two are the C library's
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("handler", ["default", "ignored", "ours", "blocked"])
def test_nobody_is_told_of_a_child(handler: str, tmp_path: Path) -> None:
    """No SIGCHLD is left of a start; that of a child of the program's that ended meanwhile is."""
    code = f"""
import os, signal, sys, time
from kedro_otel.shipping.process import spawn
seen = []
if {handler!r} == "ignored": signal.signal(signal.SIGCHLD, signal.SIG_IGN)
if {handler!r} in ("ours", "blocked"): signal.signal(signal.SIGCHLD, lambda *_: seen.append(1))
if {handler!r} == "blocked": signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
spawn.start("daemon", "end", {str(tmp_path)!r})
print(len(seen), signal.SIGCHLD in signal.sigpending())
theirs = os.fork() or os._exit(0)
while os.waitid(os.P_PID, theirs, os.WEXITED | os.WNOWAIT) is None: pass
before = len(seen)
spawn.start("daemon", "end", {str(tmp_path)!r})
print(len(seen) - before in (0, 1), os.waitpid(theirs, 0)[0] == theirs)
try:
    os.wait()
except ChildProcessError:
    print("no child")
"""
    if handler == "ignored":
        code = code.replace(
            "while os.waitid(os.P_PID, theirs, os.WEXITED | os.WNOWAIT) is None: pass", "theirs = 0"
        ).replace("os.waitpid(theirs, 0)[0] == theirs", "True")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "False", "True", "True", "no", "child"]


def test_only_folders_with_installed_packages_are_handed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment inside the project counts as installed, the project does not, whatever it is called; a zipped application counts."""
    project = tmp_path / "project"
    site = project / ".venv/lib/python3/site-packages"
    named, other = project / "site-packages", tmp_path / "wheels"
    for folder in (
        project / "src/requests",
        site / "opentelemetry",
        site / "grpc",
        named / "requests",
        other / "requests",
        other / "google",
    ):
        folder.mkdir(parents=True)
    archive = tmp_path / "app.pyz"
    archive.touch()
    monkeypatch.chdir(project)
    monkeypatch.setattr("site.getsitepackages", lambda: [str(site)])
    path = [
        "",
        "relative",
        str(project),
        str(project / "src"),
        str(named),
        str(site),
        str(other),
        str(archive),
        "/usr/lib/python311.zip",
    ]
    assert packages.folders(path) == [
        str(Path(launch.__file__).parents[3]),
        str(site),
        str(other),
        str(archive),
    ]


def test_the_environments_pth_files_are_read(
    tmp_path: Path,
    at_one_path: Callable[[str], Path],
    project: Callable[..., Path],
    run: Callable[..., Any],
    loopback: Loopback,  # noqa: F811
) -> None:
    """What makes this environment's Python trust the system's certificates does so in the shipper too."""
    kedro = at_one_path("ours")
    (site,) = kedro.parent.parent.glob("lib/python3*/site-packages")
    mark = tmp_path / "mark"
    pth = site / "zz-certificates.pth"
    pth.write_text(
        f"import sys, os; os.environ.get({spawn.GUARD!r}) and open({str(mark)!r}, 'a').write('read')\n"
    )
    try:
        run(
            kedro,
            "registry",
            "list",
            cwd=project(),
            env={"OTEL_EXPORTER_OTLP_ENDPOINT": loopback.url},
        )
        until(lambda: loopback.total("kedro.commands") == 1)
    finally:
        pth.unlink()
    assert mark.read_text().startswith("read")


def until(true: Callable[[], Any], seconds: float = 30) -> Any:
    """Wait for something to be true, and return it."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return found
