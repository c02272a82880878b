"""Makes one function of kedro_otel raise, in this process and every one below it, or notes which functions are called at all.

``POISON`` names the function as ``module.py:line``; ``POISON_TRACE`` is a file that gets a line for each that is called,
``POISON_LOG`` one that gets what the package logs.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import os
import sys
import threading
from types import CodeType

MESSAGE = "poisoned"
PACKAGE = "kedro_otel"


def place(code: CodeType) -> str:
    """Return the name of a function: its file in the package, and its line."""
    return f"{code.co_filename.rpartition('/kedro_otel/')[2]}:{code.co_firstlineno}"


@functools.cache
def deadly(free: tuple[str, ...]) -> CodeType:
    """Return the code of a function that raises whatever it is called with; it closes over the names in ``free``."""
    names = [name for name in free if name.isidentifier()]
    inner = "\n".join(f"        {name}" for name in names)
    outer = "".join(f"    {name} = None\n" for name in names)
    source = f"def outer():\n{outer}    def poisoned(*args, **kwargs):\n        raise RuntimeError({MESSAGE!r})\n{inner}\n    return poisoned\n"
    found: dict = {}
    exec(source, found)
    return next(const for const in found["outer"].__code__.co_consts if isinstance(const, CodeType))


def poisoned(code: CodeType, target: str) -> CodeType:
    """Return ``code`` with the function at ``target``, wherever it is in it, replaced."""
    if code.co_name != "<module>" and place(code) == target and not code.co_name.startswith("<"):
        more = {"co_qualname": code.co_qualname} if sys.version_info >= (3, 11) else {}
        return deadly(code.co_freevars).replace(
            co_name=code.co_name,
            co_filename=code.co_filename,
            co_firstlineno=code.co_firstlineno,
            **more,
        )
    consts = tuple(
        poisoned(const, target) if isinstance(const, CodeType) else const
        for const in code.co_consts
    )
    return code.replace(co_consts=consts)


class Loader(importlib.machinery.SourceFileLoader):
    """Loads a module with the poison in it."""

    def get_code(self, fullname):
        """Return the module's code, poisoned."""
        return poisoned(super().get_code(fullname), os.environ["POISON"])


class Finder(importlib.abc.MetaPathFinder):
    """Finds the package's modules before anybody else does."""

    def find_spec(self, fullname, path=None, target=None):
        """Return how to load a module of the package; leave all others to others."""
        if not fullname.startswith(PACKAGE + "."):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = Loader(spec.loader.name, spec.loader.path)
        return spec


def trace(file: str) -> None:
    """Note every function of the package that is called from now on, once per process."""
    seen: set[CodeType] = set()

    def profile(frame, event, _):
        code = frame.f_code
        if (
            event == "call"
            and code not in seen
            and "/kedro_otel/" in code.co_filename
            and not code.co_name.startswith("<")
        ):
            seen.add(code)
            descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(descriptor, f"{place(code)}\n".encode())
            os.close(descriptor)

    sys.setprofile(profile)
    threading.setprofile(profile)


def listen(file: str) -> None:
    """Write down what the package logs."""
    import logging

    class ToFile(logging.Handler):
        def emit(self, record):
            descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(descriptor, f"{os.getpid()} {record.getMessage()}\n".encode())
            os.close(descriptor)

    logger = logging.getLogger(PACKAGE)
    logger.setLevel(logging.DEBUG)
    logger.addHandler(ToFile())
    logger.propagate = False  # the user's own handlers would show it too, at this level


def install() -> None:
    """Do what the environment says."""
    if os.environ.get("POISON_TRACE"):
        trace(os.environ["POISON_TRACE"])
    if os.environ.get("POISON_LOG"):
        listen(os.environ["POISON_LOG"])
    if os.environ.get("POISON"):
        sys.meta_path.insert(0, Finder())


if not os.environ.get("POISON_DRIVER"):
    install()
