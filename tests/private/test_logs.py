"""Log lines of a run: kept under the node that logged them, with the user's logging as it would be without us."""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import logging.config
import logging.handlers
import pickle
import queue
import random
import re
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Result

from kedro_otel.private import log_bounds, reader
from kedro_otel.private.writer import PrivateWriter
from kedro_otel.recording.writer import Writer
from kedro_otel.tracing.log_lines import LogLines

NODES = """
import asyncio, logging, os, signal, threading

log = logging.getLogger(__name__)

def greet(name):
    log.info("hello %s", name)
    asyncio.run(speak("async"))
    thread = threading.Thread(target=log.warning, args=("from a thread",))
    thread.start()
    thread.join()
    return name

async def speak(word):
    log.info(word)

def shout(greeting):
    for number in range(20000):
        log.debug("unseen")
        log.info("CANARY line %05d", number)
    return greeting

def tell(shouted, fail):
    log.error("last words")
    os.kill(os.getpid(), signal.SIGKILL)
"""
LOGGING = """
version: 1
disable_existing_loggers: false
formatters: {ours: {format: "%(levelname)s %(message)s %(trace_id)s %(span_id)s"}}
handlers: {file: {class: logging.FileHandler, filename: out.log, formatter: ours}}
loggers: {minimal: {level: INFO, handlers: [file], propagate: false}}
"""


def test_each_line_is_under_its_node(
    project: Callable[..., Path],
    kedro: Callable[..., Result],
    run: Callable[..., Result],
    home: Path,
) -> None:
    """After kill -9 each node has its lines, its thread's and its coroutine's; of very many the first and the last."""
    where = project(nodes=NODES, files={"logging.yml": LOGGING})
    kedro("run", cwd=where, env={"KEDRO_LOGGING_CONFIG": str(where / "logging.yml")}, code=-9)
    (segment,) = home.rglob("recordings/0*.jsonl")
    assert "CANARY" not in segment.read_text()
    assert segment.with_suffix(".private").stat().st_size < 2 * 2**20
    shown = run("kedro-otel", "show", "--logs", cwd=where).out
    greet, shout, tell = (shown.index(f"node {name}") for name in ("greet", "shout", "tell"))
    first = [line.split(" ", 5)[-1] for line in shown[greet:shout].splitlines()[1:]]
    assert first == ["hello world", "async", "from a thread"]
    many = shown[shout:tell]
    assert "CANARY line 00000" in many
    assert "CANARY line 19999" in many
    assert "left out" in many
    assert "unseen" not in shown
    assert "last words" in shown[tell:]
    assert "last words" in run("kedro-otel", "show", "--logs=tell", cwd=where).out
    picture = run("kedro-otel", "show", cwd=where).out
    assert re.search(r"last log lines:\n    \S+ ERROR minimal.nodes last words\n", picture)
    report = run("kedro-otel", "report", "-o", "-", cwd=where).out
    assert "<summary>Last log lines</summary><pre>last words</pre>" in report
    assert all(word in report for word in ("CANARY line 00000", "CANARY line 19999"))
    masked = run("kedro-otel", "report", "--masked", "-o", "-", cwd=where).out
    assert not any(word in masked for word in ("CANARY line", "last words"))
    told = json.loads(run("kedro-otel", "show", "--json", cwd=where).out)
    nodes = {one["name"]: one["span_id"] for one in told["spans"] if one["operation"] == "node"}
    lines = (where / "out.log").read_text().splitlines()
    assert lines[0] == f"INFO hello world {told['trace_id']} {nodes['node greet']}"
    assert lines[-1] == f"ERROR last words {told['trace_id']} {nodes['node tell']}"


@pytest.fixture
def private(tmp_path: Path) -> Iterator[PrivateWriter]:
    """Return a private file."""
    facts = {"detail": "usage", "destination": None, "ephemeral": False}
    writer = Writer(tmp_path, {}, facts, lambda _: None)
    yield PrivateWriter(writer)
    writer.close()


def test_a_run_keeps_so_many_bytes() -> None:
    """Of many nodes together the first and the last lines are kept, within the bounds of each and of all."""
    bounds = log_bounds.LogBounds()
    kept = []
    for node in range(400):
        for number in range(100):
            line = bounds.add(bounds.of(str(node)), b"x" * 1000)
            kept.append((node, number, line))
    alive = [(node, number) for node, number, line in kept if isinstance(line, bytes) or line[0]]
    assert sum(1000 for _ in alive) == bounds.kept <= log_bounds.RUN_BYTES
    assert bounds.kept > 0.9 * log_bounds.RUN_BYTES
    assert alive[0] == (0, 0)
    assert alive[-1] == (399, 99)
    for node in {node for node, _ in alive}:
        assert sum(1000 for one, _ in alive if one == node) <= log_bounds.NODE_BYTES


def test_a_file_written_anew_has_what_was_kept(private: PrivateWriter) -> None:
    """Dropped lines go from the file; what was written before, and an earlier run's lines, stay."""
    private.command("c", ["run"])
    private.log("a", "", '"first run"')
    private.settle()
    followed = reader.LogFollower(next(private._writer.folder.glob("*.private")))
    assert [line.text for _, line in followed.poll()] == ["first run"]
    for number in range(40_000):
        private.log("b", "", f'"{number:064d}"')
        if number == 20_000:
            seen = [line.number for _, line in followed.poll()]
            assert seen == sorted(set(seen))
            assert seen[-1] == 20_001
    private.settle()
    path = next(private._writer.folder.glob("*.private"))
    assert [line.text for _, line in followed.poll()][-1] == f"{39_999:064d}"
    found = reader.read(path.with_suffix(".jsonl"), logs=True)
    assert path.stat().st_size < 2 * log_bounds.NODE_BYTES
    assert found.commands["c"] == ["kedro", "run"]
    assert [line.text for line in found.logs["a"]] == ["first run"]
    lines = found.logs["b"]
    assert lines[-1].number == 40_000 == len(lines) + lines.dropped
    assert [line.number for line in lines] == [int(line.text) + 1 for line in lines]
    assert not list(private._writer.folder.glob(".new-*"))


class Odd:
    """Counts how often it is formatted, and may raise."""

    def __init__(self, error: type[Exception] | None = None) -> None:
        self.error = error

    def __str__(self) -> str:
        sys.stderr.write("formatted\n")
        if self.error:
            raise self.error("str")
        return "odd"


class Raising(logging.Handler):
    """Raises."""

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002
        """Raise."""
        raise RuntimeError("handler")


class Custom(logging.LogRecord):
    """A record of the user's."""


def stream(
    form: str = "%(levelname)s:%(name)s:%(message)s:%(funcName)s", level: int = 0
) -> logging.Handler:
    """Return a handler on stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(form))
    handler.setLevel(level)
    return handler


def root(*handlers: logging.Handler, level: int = logging.INFO) -> None:
    """Give the root logger handlers."""
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def rejected(record: logging.LogRecord) -> bool:
    """Let nothing pass, loudly."""
    sys.stderr.write(f"asked {record.msg}\n")
    return False


def through_queue() -> None:
    """Log through a queue, as a listener in another thread would print it."""
    waiting: queue.Queue[Any] = queue.Queue()
    root(logging.handlers.QueueHandler(waiting))
    logging.getLogger("x").info("queued %s", Odd())
    stream().handle(pickle.loads(pickle.dumps(waiting.get())))


def in_mid_run() -> None:
    """Configure anew between two lines."""
    root(stream())
    logging.getLogger("x").info("before")
    config = {
        "version": 1,
        "handlers": {"h": {"class": "logging.StreamHandler"}},
        "root": {"handlers": ["h"]},
    }
    logging.config.dictConfig(config)
    logging.getLogger("x").warning("off")
    logging.getLogger(f"fresh{id(config)}").warning("on")


def with_factory() -> None:
    """Make records of a class of one's own."""
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(Custom)
    try:
        root(stream("%(message)s %(process)d"))
        logging.getLogger("x").info("mine", extra={"trace_id": "own"})
    finally:
        logging.setLogRecordFactory(before)


def with_adapter() -> None:
    """Log through an adapter and an own class of loggers."""
    root(stream())
    logging.LoggerAdapter(logging.getLogger("x"), {"a": 1}).info("adapted")


def raising_handler() -> None:
    """Let a handler raise into the call."""
    root(Raising())
    try:
        logging.getLogger("x").info("raise")
    except RuntimeError:
        traceback.print_exc()


def with_exception() -> None:
    """Log an exception with its stack."""
    root(stream())
    try:
        int("inner")
    except ValueError:
        logging.getLogger("x").exception("outer", stack_info=True)


def by_warnings() -> None:
    """Take warnings for records."""
    root(stream("%(levelname)s %(name)s"))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(
            False
        )  # Kedro's own configuration may have begun it in this process
        logging.captureWarnings(True)
        warnings.warn("careful", stacklevel=1)
        logging.captureWarnings(False)


def needs(module: str, use: Callable[[], None]) -> Any:
    """Skip where ``module`` is not installed."""
    there = importlib.util.find_spec(module) is not None
    return pytest.param(
        use, id=module, marks=[] if there else pytest.mark.skip(reason=f"{module} is not installed")
    )


def by_rich() -> None:
    """Print by rich."""
    from rich.console import Console
    from rich.logging import RichHandler

    root(RichHandler(console=Console(file=sys.stderr, width=80), show_time=False))
    logging.getLogger("x").info("rich %s", Odd())


def by_structlog() -> None:
    """Print by structlog's formatter."""
    import structlog

    handler = stream()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processor=structlog.processors.JSONRenderer())
    )
    root(handler)
    logging.getLogger("x").info("struct %s", 1)


def by_loguru() -> None:
    """Hand records to loguru by its own recipe."""
    import inspect

    from loguru import logger

    class Intercept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            frame, depth = inspect.currentframe(), 0
            while frame and (depth == 0 or frame.f_code.co_filename == logging.__file__):
                frame, depth = frame.f_back, depth + 1
            logger.opt(depth=depth, exception=record.exc_info).log(
                record.levelname, record.getMessage()
            )

    logger.remove()
    logger.add(sys.stderr, format="{level} {function}:{line} {message}")
    root(Intercept())
    logging.getLogger("x").info("guru %s", 1)


def say(
    *args: Any,
    handlers: Callable[[], list[logging.Handler]] = lambda: [stream()],
    level: str = "info",
    name: str = "x",
    **more: Any,
) -> Callable[[], None]:
    """Return a set-up: root handlers, and one call of a logger."""

    def use() -> None:
        root(*handlers())
        getattr(logging.getLogger(name), level)(*args, **more)

    return use


SETUPS = {
    "plain": say("plain"),
    "arguments": say("%s %d", "a", 1),
    "named arguments": say("%(a)s", {"a": 1}),
    "wrong arguments": say("%d", "a"),
    "too many arguments": say("none", 1),
    "odd argument": say("%s", Odd()),
    "argument that raises": say("%s", Odd(ValueError)),
    "odd message": say(Odd()),
    "no handler": say("last resort", handlers=list, level="warning"),
    "no handler, below its level": say("%s", Odd(), handlers=list),
    "handler's level": say("%s", Odd(), handlers=lambda: [stream(level=logging.ERROR)]),
    "logger's level": say("%s", Odd(), level="debug"),
    "null handler": say("%s", Odd(), handlers=lambda: [logging.NullHandler()]),
    "memory handler": say(
        "%s", Odd(), handlers=lambda: [logging.handlers.MemoryHandler(9, target=stream())]
    ),
    "two handlers": say("%s", Odd(), handlers=lambda: [stream(), stream("%(message)s again")]),
    "format that raises": say("x", handlers=lambda: [stream("%(missing)s")]),
    "extra": say("x", extra={"span_id": "own"}, handlers=lambda: [stream("%(span_id)s")]),
    "caller": say(
        "x", stacklevel=2, handlers=lambda: [stream("%(funcName)s %(lineno)d %(pathname)s")]
    ),
    "queue": through_queue,
    "dictConfig": in_mid_run,
    "factory": with_factory,
    "adapter": with_adapter,
    "handler that raises": raising_handler,
    "exception": with_exception,
    "warnings": by_warnings,
}


@pytest.fixture
def clean_logging() -> Iterator[None]:
    """Put logging back as it was."""
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "use",
    [pytest.param(use, id=name) for name, use in SETUPS.items()]
    + [needs("rich", by_rich), needs("structlog", by_structlog), needs("loguru", by_loguru)],
)
def test_logging_says_the_same(
    use: Callable[[], None],
    private: PrivateWriter,
    clean_logging: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What goes to stderr is the same, byte by byte, whether log lines are kept or not; afterwards nothing of ours is left."""
    said = []
    original = logging.Logger.callHandlers
    lines = LogLines(private, lambda: ("t" * 32, "s" * 16, "n" * 16))
    for keep in (False, True):
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        for logger in list(logging.root.manager.loggerDict.values()):
            if isinstance(logger, logging.Logger):
                logger.disabled = False
        if keep:
            lines.begin()
        use()
        if keep:
            lines.end()
        said.append(sys.stderr.getvalue())
    assert said[0] == said[1]
    assert logging.Logger.callHandlers is original


LOGGER = """
import logging, os, sys
from pathlib import Path
from kedro_otel.private.writer import PrivateWriter
from kedro_otel.recording.writer import Writer
from kedro_otel.tracing.log_lines import LogLines

facts = {"detail": "usage", "destination": None, "ephemeral": False}
private = PrivateWriter(Writer(Path(sys.argv[1]), {}, facts, print))
logging.root.handlers[:] = [logging.NullHandler()]
logging.root.setLevel(logging.INFO)
node = 0
lines = LogLines(private, lambda: ("t" * 32, "s" * 16, f"{node:016x}"))
lines.begin()
for node in range(1, 1_000_000):
    for number in range(200):
        logging.info("line %d of %d", number, node)
        os.write(1, b"%d %d\\n" % (node, number))
    if node % 100 == 0:
        private.settle()
"""


def test_no_line_that_was_logged_is_lost_by_a_kill(tmp_path: Path, full: bool) -> None:
    """After kill -9 at any moment each line whose call returned is read back, at its node and in order."""
    script = tmp_path / "logger.py"
    script.write_text(LOGGER)
    chance = random.Random(19)
    total = 0
    for number in range(40 if full else 3):
        folder = tmp_path / f"{number}"
        command = [sys.executable, script, folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            wanted = chance.randrange(20_000, 32_000) if full else chance.randrange(1000, 4000)
            returned = [process.stdout.readline() for _ in range(wanted)]
            process.kill()
            returned += process.stdout.readlines()
        if not returned[-1].endswith(b"\n"):
            returned.pop()
        (private,) = folder.glob("*.private")
        found = reader.read(private.with_suffix(".jsonl"), logs=True).logs
        kept = [line.text for node in found.values() for line in node]
        assert all(
            int(node, 16) == int(one.text.split()[-1]) for node in found for one in found[node]
        )
        said = [line.split() for line in returned]
        expected = [f"line {int(line)} of {int(node)}" for node, line in said]
        assert kept[: len(expected)] == expected
        assert len(kept) <= len(expected) + 1
        total += len(expected)
    assert total > (1_000_000 if full else 3000)


def test_a_line_costs_little(private: PrivateWriter, clean_logging: None) -> None:
    """A line costs a few microseconds more than the user's own handler takes."""
    root(logging.StreamHandler(io.StringIO()))
    log = logging.getLogger("cost")
    lines = LogLines(private, lambda: ("t" * 32, "s" * 16, "n" * 16))

    def measured() -> float:
        began = time.thread_time()
        for number in range(2000):
            log.info("line %d", number)
        return (time.thread_time() - began) / 2000

    without = min(measured() for _ in range(5))
    lines.begin()
    with_us = min(measured() for _ in range(5))
    lines.end()
    assert with_us - without < 25e-6  # machines that others use too
