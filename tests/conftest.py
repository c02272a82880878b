"""What every test stands on: a clean environment, a real Kedro project, and the real ``kedro`` command.

Nothing here is mocked. ``environment`` is the whole environment of a test (also ``os.environ`` for its duration, so that code called
in-process cannot reach the developer's own files either), ``project`` writes a Kedro project and ``kedro`` runs the command in it::

    def test_a_run_is_recorded(project, kedro):
        path = project()
        kedro("run", cwd=path)                                     # fails the test, with the output, unless it exits 0
        assert "shout" in kedro("otel", "show", cwd=path).out
        assert kedro("run", "--nodes", "none", cwd=path, code=1, env={"KEDRO_OTEL_DETAIL": "run"}).err

A server that a test needs and does not find skips it; mark such tests ``@pytest.mark.servers`` and CI (``KEDRO_OTEL_REQUIRE_SERVERS=1``)
turns the skip into a failure. ``FULL=1`` asks for full sizes: read it through the ``full`` fixture.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

import pytest

pytest_plugins = ("servers", "bare", "overlays")

FULL = bool(os.environ.get("FULL"))
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs in its background with Ctrl-C ignored, and children would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

REQUIRE_SERVERS = bool(os.environ.get("KEDRO_OTEL_REQUIRE_SERVERS"))
BIN = Path(sys.executable).parent
KEPT = (
    "LD_LIBRARY_PATH",
    "SYSTEMROOT",
    "PATHEXT",
    "COMSPEC",
    "TEMP",
    "TMP",
    "TMPDIR",
    "KEDRO_OTEL_COLLECTOR",
    "KEDRO_OTEL_JAEGER",
    "KEDRO_OTEL_PROMETHEUS",
)
"""What a test keeps of the developer's environment: what programs need to start, and where the servers' binaries are."""

NODES = '''
"""Three functions, of which one can be told to fail."""

def greet(name):
    return f"hello {name}"

def shout(greeting):
    return greeting.upper() + "!"

def tell(shouted, fail):
    if fail:
        raise ValueError("told to fail")
    return {"text": shouted}
'''
REGISTRY = """
from kedro.pipeline import node, pipeline

from .nodes import greet, shout, tell

def register_pipelines():
    whole = pipeline([
        node(greet, "params:name", "greeting", name="greet"),
        node(shout, "greeting", "shouted", name="shout", tags="loud"),
        node(tell, ["shouted", "params:fail"], "told", name="tell"),
    ])
    return {"__default__": whole, "quiet": whole.filter(from_nodes=["greet"], to_nodes=["greet"])}
"""
CATALOG = """
told:
  type: json.JSONDataset
  filepath: data/told.json
"""
PARAMETERS = """
name: world
fail: false
"""


class Result(NamedTuple):
    """What a command did: ``code`` is negative when a signal ended it; ``out`` and ``err`` are text."""

    args: tuple[str, ...]
    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"{' '.join(self.args)} exited {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


@pytest.fixture
def full() -> bool:
    """Tell whether the sizes asked for are the full ones (``FULL=1``) or those that fit into CI."""
    return FULL


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return this test's KEDRO_OTEL_HOME: recordings and journals. It does not exist yet."""
    return tmp_path / "home" / "kedro-otel"


@pytest.fixture
def environment(tmp_path: Path, home: Path) -> dict[str, str]:
    """Return the environment of this test's processes: yours to change, nothing of the developer's in it.

    HOME is empty, nothing is opted out or in, no endpoint is named, this is neither CI nor a container, and an exception of ours is
    raised rather than swallowed (``KEDRO_OTEL_RAISE``).
    """
    home.parent.mkdir()
    return {key: os.environ[key] for key in KEPT if key in os.environ} | {
        "PATH": os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)]),
        "HOME": str(home.parent),
        "USERPROFILE": str(home.parent),
        "LANG": "C.UTF-8",
        "KEDRO_OTEL_HOME": str(home),
        "KEDRO_OTEL_EPHEMERAL": "false",
        "KEDRO_OTEL_RAISE": "1",
    }


@pytest.fixture(autouse=True)
def _only_this_environment(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make ``environment`` the one of the test's own process too."""
    for key in os.environ.keys() - environment.keys():
        if not key.startswith("PYTEST_"):
            monkeypatch.delenv(key)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Callable[..., Result]:
    """Return ``run(*args, cwd=, env=, code=0, timeout=120, stdin="")``, which runs a program to its end.

    ``env`` is laid over ``environment``: a value of None removes the variable. ``code=None`` accepts any exit code.
    """

    def run(
        *args: str | Path,
        cwd: Path | None = None,
        env: Mapping[str, str | None] | None = None,
        code: int | None = 0,
        timeout: float = 120,
        stdin: str = "",
    ) -> Result:
        words = tuple(str(arg) for arg in args)
        merged = overlay(environment, env or {})
        done = subprocess.run(
            words,
            cwd=cwd or tmp_path,
            env=merged,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        result = Result(words, done.returncode, done.stdout, done.stderr)
        assert code is None or result.code == code, f"expected {code}: {result}"
        return result

    return run


@pytest.fixture
def terminal(environment: dict[str, str], tmp_path: Path) -> Callable[..., str]:
    """Return ``terminal(*words, cwd=, env=)``, which runs a program with stderr alone on a terminal, and returns what was written there.

    Its stdout goes to a file ``out`` in the test's folder.
    """
    import pty  # not on Windows

    def terminal(*words: str | Path, cwd: Path, env: dict[str, str | None] | None = None) -> str:
        mine, theirs = pty.openpty()
        with (
            (tmp_path / "out").open("wb") as out,
            subprocess.Popen(
                words,
                cwd=cwd,
                env=overlay(environment, env or {}),
                stdin=theirs,
                stdout=out,
                stderr=theirs,
            ) as process,
        ):
            os.close(theirs)
            said = b""
            while True:
                try:
                    read = os.read(mine, 65536)
                except OSError:  # Linux says so when the other side is closed
                    break
                if not read:
                    break
                said += read
            os.close(mine)
            assert process.wait(120) == 0, said
        return said.decode()

    return terminal


@pytest.fixture
def kedro(run: Callable[..., Result]) -> Callable[..., Result]:
    """Return ``kedro(*words, …)``: the installed ``kedro`` command in a process of its own, with ``run``'s arguments."""

    def kedro(*words: str, **options: Any) -> Result:
        return run(BIN / "kedro", *words, **options)

    return kedro


def overlay(environment: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return ``environment`` with ``changes``, of which None removes a variable."""
    return {key: value for key, value in {**environment, **changes}.items() if value is not None}


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Path]:
    """Return ``project(**parts)``, which writes a small real Kedro project and returns its folder.

    Without arguments: nodes greet → shout → tell, the last saved as JSON, pipelines ``__default__`` and ``quiet`` (greet alone);
    ``kedro run --params fail=true`` fails in tell. ``nodes``, ``registry``, ``settings``, ``catalog``, ``parameters`` replace a file's text
    (dedented), ``pyproject`` adds to pyproject.toml, ``files`` adds any other by relative path, ``name`` names package and folder.
    """

    def project(
        name: str = "minimal",
        *,
        nodes: str = NODES,
        registry: str = REGISTRY,
        settings: str = "",
        catalog: str = CATALOG,
        parameters: str = PARAMETERS,
        pyproject: str = "",
        files: Mapping[str, str] | None = None,
        parent: Path = tmp_path,
    ) -> Path:
        import kedro

        path = parent / name
        head = f'[tool.kedro]\npackage_name = "{name}"\nproject_name = "{name}"\nkedro_init_version = "{kedro.__version__}"\nsource_dir = "src"\n'
        written = {
            "pyproject.toml": head + dedent(pyproject),
            f"src/{name}/__init__.py": "",
            f"src/{name}/__main__.py": MAIN,
            f"src/{name}/nodes.py": dedent(nodes),
            f"src/{name}/pipeline_registry.py": dedent(registry),
            f"src/{name}/settings.py": dedent(settings),
            "conf/base/catalog.yml": dedent(catalog),
            "conf/base/parameters.yml": dedent(parameters),
            "conf/local/.gitkeep": "",
            "data/.gitkeep": "",
            **{file: dedent(text) for file, text in (files or {}).items()},
        }
        for file, text in written.items():
            (path / file).parent.mkdir(parents=True, exist_ok=True)
            (path / file).write_text(text, encoding="utf-8")
        return path

    return project


MAIN = '''
"""What `python -m` and a packaged project's entry point run."""
import sys
from pathlib import Path

from kedro.framework.cli.utils import find_run_command
from kedro.framework.project import configure_project


def main(*args, **kwargs):
    package_name = Path(__file__).parent.name
    configure_project(package_name)
    run = find_run_command(package_name)
    return run(*args, **kwargs)


if __name__ == "__main__":
    main()
'''


@pytest.fixture(scope="session")
def kedro_telemetry() -> dict[str, str]:
    """Return what to lay over the environment so that kedro-telemetry is installed there; what it sends meets a closed port.

    Kedro brings it along; the development environment keeps it in a folder of its own, so that no test reaches the vendor by accident,
    starts slower for it, or finds identifiers that it has written.
    """
    folder = BIN.parent / "kedro-telemetry"
    if not folder.is_dir():
        pytest.skip("kedro-telemetry is not at hand: type `make`")
    return {
        "PYTHONPATH": str(folder),
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "localhost,127.0.0.1",
    }


def load_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file, on Python 3.10 too."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(path.read_text(encoding="utf-8"))


PROCESS_FIXTURES = frozenset({"run", "kedro", "terminal", "project", "bare_python"})
"""Fixtures that start a program, or write what one is started on."""

PROCESS_MODULES = frozenset({"subprocess", "multiprocessing", "shipping_harness", "processes"})
"""Modules that start programs: what a test file that imports one does is not quick."""

THOROUGH = ("every_byte", "more_than_it_can_bear")
"""Parts of the names of tests that try every byte of something."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark ``process`` what starts a program, and ``thorough`` what tries every byte: `make test-fast` leaves both out."""
    for item in items:
        module = vars(getattr(item, "module", item))
        imported = {
            getattr(found, "__module__", None) or getattr(found, "__name__", "")
            for found in module.values()
        }
        if PROCESS_FIXTURES & set(getattr(item, "fixturenames", ())) or PROCESS_MODULES & imported:
            item.add_marker("process")
        if any(part in item.name for part in THOROUGH):
            item.add_marker("thorough")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Turn the skip of a test that needs a server into a failure where servers are required."""
    report: pytest.TestReport = yield  # type: ignore[assignment, misc]
    if (
        REQUIRE_SERVERS
        and report.skipped
        and item.get_closest_marker("servers")
        and not hasattr(report, "wasxfail")
    ):
        report.outcome = "failed"
    return report  # type: ignore[return-value]
