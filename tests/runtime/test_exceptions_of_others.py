"""An exception that no code of this package raised reaches the user, wherever it arises.

A signal's handler, a trace function or another thread may raise in any frame that runs just then, a
frame of this package's too: time limits are built so.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SETTINGS = """
import random, signal
from kedro.framework.hooks import hook_impl

AIM = {"hook": -1, "delay": 0.0, "count": 0}


def aim():
    if AIM["count"] == AIM["hook"]:
        signal.setitimer(signal.ITIMER_REAL, AIM["delay"])
    AIM["count"] += 1


class First:
    "Called right before the hooks of this package that open something."
    @hook_impl(tryfirst=True)
    def after_context_created(self): aim()
    @hook_impl(tryfirst=True)
    def before_node_run(self): aim()
    @hook_impl(tryfirst=True)
    def before_dataset_loaded(self): aim()
    @hook_impl(tryfirst=True)
    def before_dataset_saved(self): aim()


class Last:
    "Called right before those that close it."
    @hook_impl(trylast=True)
    def after_catalog_created(self): aim()
    @hook_impl(trylast=True)
    def before_pipeline_run(self): aim()
    @hook_impl(trylast=True)
    def after_node_run(self): aim()
    @hook_impl(trylast=True)
    def after_dataset_loaded(self): aim()
    @hook_impl(trylast=True)
    def after_dataset_saved(self): aim()
    @hook_impl(trylast=True)
    def after_pipeline_run(self): aim()


HOOKS = (First(), Last())
"""
COMMON = """
import ctypes, functools, gc, itertools, json, logging, os, random, signal, sys, threading, time
from pathlib import Path

from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

logging.disable(logging.CRITICAL)
bootstrap_project(Path.cwd())


class TimeUp(Exception):
    "The user's own."


class SlowDisk(OSError):
    "A subclass of what system calls raise."


RUNG, WITHIN = [], []


def rang():
    "Note which file's code is interrupted, and whether this package called it: elsewhere OSError may be caught by right."
    frame = sys._getframe(2)
    RUNG.append(frame.f_code.co_filename)
    while frame is not None and "/kedro_otel/" not in frame.f_code.co_filename:
        frame = frame.f_back
    WITHIN[:] = [frame is not None]


def raises(make):
    def handler(signum, frame):
        rang()
        raise make()
    return handler


def deletes(signum, frame):
    del signum, frame
    rang()
    raise TimeUp


def restores(signum, frame):
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    rang()
    raise RuntimeError("out of time")


def deeper(*given):
    rang()

    def raiser():
        raise ArithmeticError("out of time")
    raiser()


class Limit:
    def ring(self, signum, frame):
        rang()
        raise TimeoutError("out of time")
    def __call__(self, *given, **more):
        rang()
        raise SlowDisk(4, "out of time")


HANDLERS = [
    raises(TimeUp), raises(TimeoutError), raises(lambda: OSError(5, "an answer of the user's")),
    deletes, restores, deeper, Limit().ring, Limit(), functools.partial(deeper, "more"),
]
LOST, IGNORED, INSIDE = [], [], []


def frames(error):
    found, step = [], error.__traceback__
    while step is not None:
        found.append(f"{step.tb_frame.f_code.co_filename}:{step.tb_lineno}")
        step = step.tb_next
    return found


def ignored(what):
    "Python itself drops what is raised in a destructor or a weak reference's callback, whoever wrote it."
    IGNORED.append(frames(what.exc_value))


sys.unraisablehook = ignored


def attempt(before, after):
    "Run the pipeline once, and note whether what was raised meanwhile came out of it."
    RUNG.clear()
    WITHIN.clear()
    lost = len(IGNORED)
    came = None
    try:
        try:
            with KedroSession.create(Path.cwd()) as session:
                before()
                session.run()
        finally:
            after()
    except Exception as error:  # Kedro wraps what is raised while a dataset is loaded or saved
        came = error
    if came is not None and any("kedro_otel" in frame for frame in frames(came)):
        INSIDE.append(1)
    if WITHIN == [True] and came is None and len(IGNORED) == lost and "importlib" not in str(RUNG):
        LOST.append(RUNG[0])
    return came
"""
MOMENTS = """
from minimal.settings import AIM

COUNT, SEED = int(sys.argv[1]), int(sys.argv[2])
random.seed(SEED)
fired = 0
attempt(lambda: None, lambda: None)
hooks = AIM["count"]
for number in range(COUNT):
    signal.signal(signal.SIGALRM, HANDLERS[number % len(HANDLERS)])
    AIM.update(hook=random.randrange(hooks), delay=10 ** random.uniform(-6, -3), count=0)
    attempt(lambda: None, lambda: signal.setitimer(signal.ITIMER_REAL, 0))
    fired += bool(RUNG)
ours = [found for found in IGNORED if any("kedro_otel" in frame for frame in found)]
print("RESULT", json.dumps({"fired": fired, "inside": len(INSIDE), "lost": LOST, "ignored in ours": ours}))
"""
LINES = """
SHARE = int(sys.argv[1])
ERRORS = (TimeUp, TimeoutError, lambda: SlowDisk(4, "limit"), lambda: ArithmeticError("limit"), lambda: RuntimeError("limit"))
seen, target, error = 0, -1, None
places = []


def line(frame, event, argument):
    global seen
    if event == "line":
        seen += 1
        if seen == target:
            places.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
            sys.settrace(None)
            RUNG.append(1)
            WITHIN[:] = [True]
            raise error()
    return line


def call(frame, event, argument):
    name = frame.f_code.co_filename
    return line if "/kedro_otel/" in name else None


def traced(number, make):
    global seen, target, error
    seen, target, error = 0, number, make
    return attempt(lambda: sys.settrace(call), lambda: sys.settrace(None))


traced(-1, TimeUp)
traced(-1, TimeUp)
total = seen
tried, missing = 0, []
for number in range(1, total, SHARE):
    lost = len(LOST)
    traced(number, random.choice(ERRORS))
    tried += bool(RUNG)
    if len(LOST) > lost:
        missing.append(places[-1])
print("RESULT", json.dumps({"lines": total, "tried": tried, "lost": missing}))
"""
THREADS = """
COUNT = int(sys.argv[1])
main = threading.get_ident()
lost = fired = 0
for number in range(COUNT):
    stop = threading.Event()

    def interrupt():
        if not stop.wait(random.uniform(0, 0.02)):
            RUNG.append(1)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(main), ctypes.py_object(TimeUp))

    thread = threading.Thread(target=interrupt)

    def after():
        stop.set()
        thread.join()
        for _ in range(100):
            pass

    attempt(thread.start, after)
    fired += bool(RUNG)
from kedro_otel import guard

print("RESULT", json.dumps({"fired": fired, "swallowed": guard.errors}))
"""


@pytest.fixture
def attempts(
    project: Callable[..., Path], run: Callable[..., Any], environment: dict[str, str]
) -> Callable[..., Any]:
    """Return ``attempts(python, script, *words)``, which runs a script in a project and returns its result."""
    del environment["KEDRO_OTEL_RAISE"]
    path = project(settings=SETTINGS)

    def attempts(python: Path | str, script: str, *words: object) -> Any:
        (path / "attempts.py").write_text(COMMON + script)
        said = run(python, "attempts.py", *map(str, words), cwd=path, timeout=280).out
        return json.loads(
            next(line for line in said.splitlines() if line.startswith("RESULT ")).partition(" ")[2]
        )

    return attempts


def test_a_signals_handler_may_raise_at_any_moment(
    attempts: Callable[..., Any], *, full: bool
) -> None:
    """Of hundreds of exceptions that handlers raise at random moments around our hooks none is lost in this package."""
    count = 600 if full else 150
    ours = attempts(sys.executable, MOMENTS, count, 7)
    assert ours["lost"] == []
    assert ours["ignored in ours"] == []
    assert ours["inside"] > count // 20, "the moments miss this package"


def test_an_exception_may_arise_at_any_line_of_ours(
    attempts: Callable[..., Any], *, full: bool
) -> None:
    """What a trace function raises passes at every line that a run executes in this package."""
    found = attempts(sys.executable, LINES, 3 if full else 37)
    assert found["tried"] > 30
    assert found["lost"] == []


def test_another_thread_may_raise_at_any_moment(
    attempts: Callable[..., Any], *, full: bool
) -> None:
    """What `PyThreadState_SetAsyncExc` raises in a thread that runs our code is not swallowed."""
    found = attempts(sys.executable, THREADS, 300 if full else 40)
    assert found["fired"] > 10
    assert found["swallowed"] == {}
