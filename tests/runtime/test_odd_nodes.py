"""Whatever a node does to its process, the user sees the same run with this package as without it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from differential import Differential, shippers, stop
from loopback import Loopback, loopback  # noqa: F401 (a fixture)

NODES = '''
import atexit, ctypes, gc, os, resource, signal, subprocess, sys, threading, time

from .observe import look


def say(*words):
    """Write what a snippet found into the same file, for the comparison."""
    import json
    with open(os.environ["OBSERVED"], "a") as file:
        file.write(json.dumps({"where": "said", "words": repr(words)}) + "\\n")


def wait_for_all():
    """Reap children until there are none, as job runners do, and return how many there were."""
    count = 0
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return count
        count += 1


SNIPPET = os.environ["SNIPPET"]


def odd(name):
    look("before")
    exec(compile(SNIPPET, "snippet", "exec"), globals())
    if "unobserved" not in SNIPPET:
        look("after")
    return name


def later(name):
    if "unobserved" not in SNIPPET:
        look("later")
    return name


def last(name):
    if "late" in globals():
        late()
    return {"name": name}
'''
REGISTRY = """
from kedro.pipeline import node, pipeline
from .nodes import last, later, odd

def register_pipelines():
    return {"__default__": pipeline([
        node(odd, "params:name", "one", name="odd"),
        node(later, "one", "two", name="later"),
        node(last, "two", "told", name="last"),
    ])}
"""
LOGGING = """
version: 1
disable_existing_loggers: false
formatters: {plain: {format: "%(levelname)s %(name)s %(message)s"}}
handlers: {console: {class: logging.StreamHandler, formatter: plain, stream: ext://sys.stdout}}
loggers: {kedro: {level: INFO}}
root: {handlers: [console]}
"""
SNIPPETS = {
    # --- children ---
    "plain": "",
    "wait for all children": "say(wait_for_all())",
    "fork, then wait for all": "os.fork() or os._exit(0); say(wait_for_all())",
    "fork, exit in the child": "pid = os.fork(); pid or sys.exit(0); say(os.waitpid(pid, 0)[1])",
    "fork, the child raises": """
        pid = os.fork()
        if pid == 0:
            sys.stdout = sys.stderr = open(os.devnull, "w")
            os.dup2(sys.stdout.fileno(), 1); os.dup2(1, 2)
            raise ValueError("in the child")
        say(os.waitpid(pid, 0)[1])
    """,
    "fork, the child goes on": """
        pid = os.fork()
        if pid:
            say(os.waitpid(pid, 0)[1])
        else:
            time.sleep(0.3)
            os.environ["OBSERVED"] = os.devnull
            import minimal.observe as o; o.SEEN = os.devnull
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    """,
    "fork by the C library": """
        libc = ctypes.CDLL(None)
        pid = libc.fork()
        if pid == 0:
            time.sleep(1)
            libc._exit(0)
    """,
    "vfork by subprocess": 'say(subprocess.run(["true"]).returncode)',
    "a child that outlives the run": 'subprocess.Popen(["sleep", "2"]); unobserved = 1',
    "a child that keeps every descriptor": 'subprocess.Popen(["sleep", "1"], close_fds=False); unobserved = 1',
    "daemonize": """
        if os.fork() == 0:
            os.setsid()
            os.fork() and os._exit(0)
            os.closerange(0, 1024)
            time.sleep(1)
            os._exit(0)
        say(wait_for_all())
    """,
    "fork in threads": """
        def fork():
            for _ in range(10):
                pid = os.fork()
                pid or os._exit(0)
                os.waitpid(pid, 0)
        threads = [threading.Thread(target=fork) for _ in range(4)]
        [thread.start() for thread in threads]; [thread.join() for thread in threads]
    """,
    "pool by fork": """
        import multiprocessing
        with multiprocessing.get_context("fork").Pool(2) as pool:
            say(pool.map(abs, [-1, -2]))
    """,
    "pool by spawn": """
        import multiprocessing
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            say(pool.map(abs, [-1, -2]))
    """,
    "pool by forkserver": """
        import multiprocessing
        with multiprocessing.get_context("forkserver").Pool(1) as pool:
            say(pool.map(abs, [-1, -2]))
        multiprocessing.forkserver._forkserver._stop()
        multiprocessing.resource_tracker._resource_tracker._stop()
    """,
    "executor of processes": """
        from concurrent.futures import ProcessPoolExecutor
        with ProcessPoolExecutor(2) as pool:
            say(list(pool.map(abs, [-1, -2])))
    """,
    "children are not kept": "signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.fork() or os._exit(0); time.sleep(0.2)",
    "SIGCHLD has a handler": """
        ends = []
        signal.signal(signal.SIGCHLD, lambda *_: ends.append(1))
        time.sleep(1.2)
        say(len(ends))
        os.fork() or os._exit(0)
        say(wait_for_all(), len(ends))
    """,
    "a subreaper": """
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
        if os.fork() == 0:
            os.fork() or (time.sleep(0.2), os._exit(0))
            os._exit(0)
        say(wait_for_all())
    """,
    # --- descriptors ---
    "close descriptors, open files": """
        os.closerange(3, 256)
        mine = [open(f"mine-{number}.csv", "w") for number in range(8)]
        [(file.write("a,b\\n"), file.flush()) for file in mine]
        def late():
            [(file.write("c,d\\n"), file.close()) for file in mine]
    """,
    "close all descriptors, open files": """
        os.closerange(3, 65536)
        mine = [open(f"mine-{number}.csv", "w") for number in range(8)]
        [(file.write("a,b\\n"), file.flush()) for file in mine]
        def late():
            [(file.write("c,d\\n"), file.close()) for file in mine]
    """,
    "fill every descriptor": """
        os.closerange(3, 65536)
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        mine = []
        try:
            while True:
                mine.append(os.open("mine.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND))
        except OSError as error:
            say(error.errno)
        os.close(mine.pop()); os.close(mine.pop()); os.close(mine.pop())
        def late():
            [os.write(number, b"") for number in mine]
            [os.close(number) for number in mine]
            say(os.path.getsize("mine.txt"))
    """,
    "put a file of mine on every number": """
        target = os.open("mine.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number in range(3, 1024):
            if number != target:
                os.dup2(target, number)
        unobserved = 1
        def late():
            say([os.write(number, b"x") for number in range(3, 1024)].count(1), os.path.getsize("mine.txt"))
            os.closerange(3, 1024)
    """,
    "close stdin, stdout and stderr": "[os.close(number) for number in (0, 1, 2)]",
    "open files in place of them": """
        [os.close(number) for number in (0, 1, 2)]
        for name in ("in", "out", "err"):
            os.open(name, os.O_RDWR | os.O_CREAT)
    """,
    "no stdin, stdout and stderr": "sys.stdin = sys.stdout = sys.stderr = None",
    "stdout is a file": 'sys.stdout = sys.stderr = open(os.devnull, "w")',
    "stdout is full": 'os.dup2(os.open("/dev/full", os.O_WRONLY), 1); unobserved = 1',
    "fewer descriptors allowed": "resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))",
    "no descriptor allowed": "resource.setrlimit(resource.RLIMIT_NOFILE, (0, 1024)); unobserved = 1",
    "a lock on every descriptor": """
        import fcntl
        for number in sorted(map(int, os.listdir("/proc/self/fd")))[3:]:
            try:
                fcntl.flock(number, fcntl.LOCK_UN)
            except OSError:
                pass
    """,
    # --- files and folders ---
    "umask 0": 'os.umask(0); open("mine.txt", "w").close()',
    "umask 777": 'os.umask(0o777); open("mine.txt", "w").close(); os.chmod("mine.txt", 0o600)',
    "folder that is gone": 'os.mkdir("gone"); os.chdir("gone"); os.rmdir("../gone"); unobserved = 1; late = lambda: os.chdir(os.environ["HOME"])',
    "another folder": 'os.chdir("/")\nlate = lambda: os.chdir(os.environ["PROJECT"])',
    "HOME is elsewhere": 'os.environ["HOME"] = "/nonexistent"',
    "HOME is gone": 'import shutil; shutil.rmtree(os.environ["HOME"])',
    "the state folder is gone": 'import shutil; shutil.rmtree(os.environ["KEDRO_OTEL_HOME"], ignore_errors=True)',
    "no environment": "kept = dict(os.environ); os.environ.clear()\nlate = lambda: os.environ.update(kept)",
    "chroot": 'os.path.exists("data"); os.chroot("."); os.chdir("/"); unobserved = 1',
    "no file may grow": """
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limit[1])); unobserved = 1
        late = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    """,
    "no process may start": "resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))",
    # --- the process ---
    "own session": """
        try:
            os.setsid()
        except OSError as error:
            say(error.errno)
    """,
    "lower priority": "os.nice(5)",
    "another user": 'os.chmod(os.environ["HOME"], 0o755); os.setresgid(65534, 65534, 0); os.setresuid(65534, 65534, 0); unobserved = 1\n'
    "def late(): os.setresuid(0, 0, 0); os.setresgid(0, 0, 0)",
    "every signal blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})",
    "every signal ignored": """
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
            try:
                signal.signal(number, signal.SIG_IGN)
            except OSError:
                pass
    """,
    "an alarm that returns": "signal.signal(signal.SIGALRM, lambda *_: None); signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)\n"
    "time.sleep(0.1)\nlate = lambda: signal.setitimer(signal.ITIMER_REAL, 0)\nunobserved = 1",
    "an alarm that kills": "signal.setitimer(signal.ITIMER_REAL, 0.05); time.sleep(5)",
    "killed": "os.kill(os.getpid(), signal.SIGKILL); time.sleep(5)",
    "terminated": "os.kill(os.getpid(), signal.SIGTERM); time.sleep(5)",
    "interrupted": "os.kill(os.getpid(), signal.SIGINT); time.sleep(5)",
    "os._exit": "os._exit(3)",
    "sys.exit": "sys.exit(4)",
    "sys.exit in a thread": "thread = threading.Thread(target=sys.exit); thread.start(); thread.join()",
    "raise": 'raise ValueError("of the user")',
    "abort": "resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.abort()",
    "exec": 'os.execv("/bin/true", ["true"])',
    "atexit with a code": "atexit.register(os._exit, 7)",
    "atexit that raises": 'def fail(): raise ValueError("at exit")\natexit.register(fail)',
    # --- Python ---
    "excepthook is gone": "sys.excepthook = None; unobserved = 1",
    "little recursion": "sys.setrecursionlimit(150); unobserved = 1",
    "trace": "sys.settrace(lambda *_: None)",
    "profile": "sys.setprofile(lambda *_: None)",
    "fault handler": "import faulthandler; faulthandler.enable(); faulthandler.dump_traceback_later(60, exit=False)",
    "daemon thread": "threading.Thread(target=lambda: [time.sleep(0.01) for _ in range(1000)], daemon=True).start()",
    "thread that goes on": "threading.Thread(target=time.sleep, args=(0.5,)).start()",
    "no collector": "gc.disable(); gc.freeze()",
    "OpenTelemetry forgotten": 'for name in [name for name in sys.modules if name.startswith("opentelemetry")]: del sys.modules[name]',
    "modules forgotten": 'for name in [name for name in sys.modules if name.startswith("kedro_otel")]: del sys.modules[name]',
    "open is gone": "import builtins\nkept, builtins.open = open, None\nunobserved = 1\ndef late(): builtins.open = kept",
    "clocks stand still": "time.time_ns = lambda: 0; time.time = lambda: 0.0; time.monotonic = lambda: 0.0",
    "os.write is mine": "import builtins\nw = os.write\nos.write = lambda number, data: w(number, data)",
    "TRACEPARENT is garbage": 'os.environ["TRACEPARENT"] = "garbage"; unobserved = 1',
    "TRACEPARENT is gone": 'os.environ.pop("TRACEPARENT", None)',
    "warnings are errors": 'import warnings; warnings.simplefilter("error")',
    "asyncio": "import asyncio; say(asyncio.run(asyncio.sleep(0.01, 1)))",
    "uvloop": "import asyncio, uvloop; say(uvloop.run(asyncio.sleep(0.01, 1)))",
    "gevent": "from gevent import monkey; monkey.patch_all(); import gevent; gevent.sleep(0.01); unobserved = 1",
    "eventlet": "import eventlet; eventlet.monkey_patch(); eventlet.sleep(0.01); unobserved = 1",
}
"""What a node does to its process, by name. A snippet that says ``unobserved`` leaves a process that cannot be looked at."""

QUICK = (
    "plain",
    "wait for all children",
    "fork, the child goes on",
    "pool by fork",
    "SIGCHLD has a handler",
    "close descriptors, open files",
    "close all descriptors, open files",
    "put a file of mine on every number",
    "close stdin, stdout and stderr",
    "HOME is gone",
    "chroot",
    "no file may grow",
    "every signal blocked",
    "raise",
)
"""Those that are tried by default; all are under ``FULL=1``."""

NEEDED = {"uvloop": "uvloop", "gevent": "gevent", "eventlet": "eventlet"}


@pytest.fixture
def differential(
    at_one_path: Callable[[str], Path],
    project: Callable[..., Path],
    environment: dict[str, str],
    tmp_path: Path,
    loopback: Loopback,  # noqa: F811
) -> Iterator[Differential]:
    """Return what runs a snippet with and without this package, with a receiver that takes everything."""
    del environment["KEDRO_OTEL_RAISE"]
    folder = tmp_path / "run"

    def make(where: Path) -> Path:
        return project(
            nodes=NODES,
            registry=REGISTRY,
            catalog="{}\n",
            pyproject='[tool.kedro_telemetry]\nproject_id = "0123456789abcdef0123456789abcdef"\n',
            files={"logging.yml": LOGGING},
            parent=where,
        )

    environment |= {
        "OTEL_EXPORTER_OTLP_ENDPOINT": loopback.url,
        "KEDRO_OTEL_SHIP": "background",
        "KEDRO_LOGGING_CONFIG": str(folder / "minimal" / "logging.yml"),
        "PROJECT": str(folder / "minimal"),
        "PYTHONWARNINGS": "ignore",
    }
    found = Differential(at_one_path, make, environment, folder)
    yield found
    stop(shippers(found.state))
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.skipif(sys.platform != "linux", reason="what is observed is read from /proc")
@pytest.mark.parametrize("name", SNIPPETS)
def test_nobody_can_tell_the_difference(
    name: str, differential: Differential, *, full: bool
) -> None:
    """Exit code, output, children, descriptors, environment, signals and files are those of a run without this package."""
    if not full and name not in QUICK:
        pytest.skip("at full size only")
    if name in NEEDED:
        pytest.importorskip(NEEDED[name])
    found, ours = differential.differences(
        "run", env={"SNIPPET": dedent(SNIPPETS[name])}, timeout=30
    )
    assert not found, "\n".join(found)
    assert ours.observed


def test_there_are_enough_of_them() -> None:
    """At least sixty ways to mistreat a process are tried."""
    assert len(SNIPPETS) >= 60
    assert set(QUICK) <= SNIPPETS.keys()
