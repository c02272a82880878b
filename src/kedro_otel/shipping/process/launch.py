"""Starts the detached shipper from the user's process, and waits for it where the machine may vanish.

Everything here is on the path of a ``kedro`` command: nothing heavy is imported, nothing waits on a network.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from kedro_otel.config import consent, destination, paths, settings
from kedro_otel.shipping.process import lock
from kedro_otel.shipping.process.environment import ephemeral, mode
from kedro_otel.shipping.state import destination_paths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kedro_otel.config.settings import Settings

__all__ = ["ephemeral", "mode", "print_hold_notice", "start", "wait"]

GUARD: Final = "KEDRO_OTEL_SHIPPER"
"""In the environment of the detached process: when that was taken, in nanoseconds since 1970. Nothing that it ever loads starts another."""

UNTOLD: Final = "held"
"""Name of the note that nobody has read yet, in a destination's folder. No machine is in it: to find out which this is costs more than looking."""

_PACKAGES: Final = (
    "opentelemetry",
    "google",
    "grpc",
    "requests",
    "urllib3",
    "idna",
    "certifi",
    "charset_normalizer",
    "chardet",
    "platformdirs",
    "tomli",
    "typing_extensions.py",
    "yaml",
    "socks.py",
)
"""What the detached process may import, besides this package and Python's own library."""

_INSTALLED: Final = ("site-packages", "dist-packages")
_CODE: Final = "import os,sys;os.umask(0o77);sys.path[:0]=sys.argv[2:];from kedro_otel.shipping.{} import main;sys.exit(main())"
_WINDOWS_FLAGS: Final = 0x08000000 | 0x00000200  # CREATE_NO_WINDOW, CREATE_NEW_PROCESS_GROUP
_children: list[Any] = []


def settings_taken_ns() -> int:
    """Return when the settings of this process were in force: for the detached one when it was started, else now (nanoseconds since 1970)."""
    said = os.environ.get(GUARD, "")
    return int(said) if said.isdecimal() else time.time_ns()


def start(reason: str, known: Settings | None = None) -> None:
    """Start the detached shipper if there is where to ship, consent, and none that runs; return at once.

    ``reason`` ("run", "end", "exit") is for whoever reads a list of processes. ``known`` are the settings in force, read
    again if they are not given. Where no process can be started, what was recorded waits for the next time.
    """
    if os.environ.get(GUARD) or not sys.executable or not consent.decide(os.environ, None).enabled:
        return
    known = known or settings.load(os.environ)
    target = destination.current(known)
    if (
        target is not None
        and known.value("ship") != "manual"
        and not lock.held(destination_paths.of(target.id).lock)
    ):
        spawn(reason)


def wait(deadline_s: float) -> str | None:
    """Wait until this process's recordings are delivered, at most ``deadline_s`` seconds and only while that advances.

    Returns the one line for stderr about what was left behind, or None.
    """
    from kedro_otel.shipping.process.flush import wait as waited

    return waited(deadline_s)


def print_hold_notice(target: str) -> None:
    """Tell a person at a terminal, once, that the receiver with this id takes nothing for now.

    Where there is nothing to tell, that costs one look at a file's place.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        return
    folder = paths.destinations() / target
    if os.path.lexists(folder / UNTOLD):
        from kedro_otel.shipping.state import hold_notice

        hold_notice.tell(folder)


def spawn(reason: str) -> bool:
    """Start a detached shipper, whatever runs already; return whether that was possible."""
    try:
        home = paths.home()
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        _child("process.daemon", reason, home)
    except OSError:
        return False
    return True


def hand_over(data: bytes) -> str | None:
    """Give a recording that has no place to a detached process that sends it; where the machine may vanish, wait for that.

    Returns the one line for stderr about what was lost, or None.
    """
    known = settings.load(os.environ)
    target = destination.current(known)
    if (
        os.environ.get(GUARD)
        or not sys.executable
        or target is None
        or not consent.decide(os.environ, None).enabled
    ):
        return None
    import subprocess

    patience = float(known.value("ship_timeout"))
    try:
        child = _child("process.stdin", "memory", os.path.abspath(os.sep), stdin=subprocess.PIPE)
        _feed(child.stdin, data, patience)
        if mode(known, os.environ) != "wait" or child.wait(patience) == 0:
            return None
    except (OSError, subprocess.SubprocessError):
        pass
    return (
        f"kedro-otel: what ran did not reach {destination_paths.receiver(target)}, and there is "
        "no place here to keep it. Name one in KEDRO_OTEL_HOME"
    )


def _feed(pipe: Any, data: bytes, patience: float) -> None:
    """Write ``data`` into ``pipe`` and close it. Raises TimeoutError where nobody reads it for ``patience`` seconds."""
    descriptor = pipe.fileno()
    view = memoryview(data)
    with pipe:
        if os.name == "nt":
            os.write(descriptor, view)
            return
        import select

        os.set_blocking(descriptor, False)
        while view:
            if not select.select([], [descriptor], [], patience)[1]:
                raise TimeoutError
            view = view[os.write(descriptor, view) :]


def _child(module: str, reason: str, folder: str | os.PathLike[str], **more: Any) -> Any:
    """Start a detached Python that runs ``module``'s ``main`` in ``folder``. Raises OSError."""
    import subprocess

    class Detached(subprocess.Popen[bytes]):
        """A child that outlives us by design: that it still runs when its object goes is no cause for a warning."""

        def __del__(self, *_: Any) -> None:
            pass

    _children[:] = [child for child in _children if child.poll() is None]
    more.update(
        {"creationflags": _WINDOWS_FLAGS} if os.name == "nt" else {"start_new_session": True}
    )
    child = Detached(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            _CODE.format(module),
            f"kedro-otel-shipper-{reason}",
            *folders(sys.path),
        ],
        cwd=folder,
        env={**os.environ, GUARD: str(time.time_ns())},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **{"stdin": subprocess.DEVNULL, **more},
    )
    _children.append(child)
    return child


def folders(path: Sequence[str]) -> list[str]:
    """Return where the shipper finds what it imports: this package's folder, and entries of ``path`` that hold what it needs.

    Python's own search path is not handed on, since it begins with the user's project. A package is taken from where
    packages are installed; only if it is nowhere there, from an entry outside the working folder.
    """
    own = os.path.dirname(
        os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    )
    entries = [entry for entry in dict.fromkeys(path) if os.path.isabs(entry)]
    installed = {entry for entry in entries if os.path.basename(entry) in _INSTALLED}
    wanted = set(installed)
    for name in _PACKAGES:
        if not any(os.path.exists(os.path.join(entry, name)) for entry in installed):
            wanted.update(
                entry
                for entry in entries
                if os.path.exists(os.path.join(entry, name)) and not _here(entry)
            )
    # an application in one zip file
    wanted.update(
        entry
        for entry in entries
        if os.path.isfile(entry) and not os.path.basename(entry).startswith("python3")
    )
    return [own, *(entry for entry in entries if entry in wanted and entry != own)]


def _here(entry: str) -> bool:
    """Tell whether ``entry`` is the working folder or in it."""
    try:
        here = os.getcwd()
    except OSError:
        return False
    return entry == here or entry.startswith(here.rstrip(os.sep) + os.sep)
