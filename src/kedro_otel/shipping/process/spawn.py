"""Starts detached processes: the one place in this package that does so.

What is started is no child of the user's process: it is started behind a shell, which ends at once,
so that neither a child nor a zombie is left to a program that waits for all its children. Where
there is no shell, the new process forks itself and its first half ends. Where the user's process is
the first of its process namespace, or a subreaper, the kernel gives it every orphan, ours too.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from kedro_otel import guard
from kedro_otel.config import paths, settings
from kedro_otel.shipping.process import interpreter, packages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GUARD: Final = "KEDRO_OTEL_SHIPPER"
"""In the environment of the detached process: when that was taken, in nanoseconds since 1970. Nothing that it ever loads starts another."""

_SHELL: Final = "/bin/sh"
_BEHIND: Final = '{ "$@" <&3 3<&- & } 3<&0'
"""What the shell does: by itself it would take stdin away from what runs in the background."""

_CODE: Final = (
    "import sys;sys.path+=[entry for entry in sys.argv[6:] if entry not in sys.path];"
    "from kedro_otel.shipping.process.detached import main;sys.exit(main(sys.argv))"
)
_DROPPED: Final = ("PYTHON", "COV_CORE_", "COVERAGE_PROCESS_")
"""Beginnings of variables that change what an interpreter does, or make it measure a test's coverage."""

_PATHS: Final = (
    "CURL_CA_BUNDLE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
)
"""Variables of libraries that name a file; those of ours are in the table of settings."""

_WINDOWS_FLAGS: Final = 0x08000000 | 0x00000200  # CREATE_NO_WINDOW, CREATE_NEW_PROCESS_GROUP


def start(
    module: str,
    reason: str,
    folder: str | os.PathLike[str],
    *,
    stdin: int | None = None,
    stdout: int | None = None,
) -> None:
    """Start a detached Python that runs ``main`` of a module of this package in ``folder``.

    Args:
        module: Its name below ``kedro_otel``.
        reason: For whoever reads a list of processes.
        folder: Its working folder.
        stdin: Descriptor that it reads from; nothing if None.
        stdout: Descriptor that it writes to; nothing if None.

    Raises:
        interpreter.NotFoundError: There is no Python that can run this package.
        OSError: The process cannot be started.
    """
    python = interpreter.find()
    # Of another interpreter than ours it is to be known whether it can run this package.
    behind = python == sys.executable and os.access(_SHELL, os.X_OK)
    words = [python, "-I", "-c", _CODE, f"kedro-otel-shipper-{reason}", module, os.fspath(folder)]
    words += ["" if behind else "fork", packages.user_site(sys.path), *packages.folders(sys.path)]
    if os.name == "nt":
        _start_on_windows(words, folder, stdin, stdout)
        return
    shell = [_SHELL, "-c", _BEHIND, "sh"] if behind else []
    code = _start_on_unix([*shell, *words], {0: stdin, 1: stdout, 2: None})
    if code:
        raise OSError(f"{python} cannot run kedro-otel (exit code {code})")


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the detached process: names of files are made absolute there.

    It works in another folder, so a relative one would be looked for in the wrong place.
    """
    kept = {name: value for name, value in environ.items() if not name.startswith(_DROPPED)}
    kept[GUARD] = str(time.time_ns())
    if kept.get(paths.HOME_VARIABLE, "").strip():
        kept[paths.HOME_VARIABLE] = str(paths.home())
    ours = [name for setting in settings.SETTINGS if setting.type == "path" for name in setting.env]
    for name in (*ours, *_PATHS):
        value = kept.get(name, "").strip()
        if value and not value.startswith("~"):
            kept[name] = os.path.abspath(value)
    if getattr(sys, "frozen", False):  # a frozen application's own libraries are no other program's
        before = kept.pop("LD_LIBRARY_PATH_ORIG", None)
        kept.pop("LD_LIBRARY_PATH", None)
        if before:
            kept["LD_LIBRARY_PATH"] = before
    return kept


def _start_on_unix(words: list[str], streams: Mapping[int, int | None]) -> int:
    """Start ``words``, wait until what is started first has ended, and return its exit code.

    Signals are neither blocked nor ignored in it, whatever is here, and no descriptor of the program
    is open. That a child of ours has ended is not told to the program: its SIGCHLD is taken away.
    """
    actions: list[Any] = [(os.POSIX_SPAWN_CLOSE, number) for number in _inherited()]
    for number, source in streams.items():
        if source is not None:
            actions.append((os.POSIX_SPAWN_DUP2, source, number))
    for number, source in streams.items():
        if source is None:
            actions.append((os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0))
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    try:
        waiting = signal.SIGCHLD in signal.sigpending()
        process = os.posix_spawn(
            words[0],
            words,
            environment(os.environ),
            file_actions=actions,
            setsigmask=(),
            setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
        )
        code = _reaped(process)
        if not waiting and signal.SIGCHLD in signal.sigpending():
            _take_signal_away()
        return code
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _inherited() -> list[int]:
    """Return the descriptors from 3 on that a program started now would have."""
    found = []
    with guard.suppress(OSError):
        for name in os.listdir("/dev/fd"):
            with guard.suppress(OSError):
                if int(name) > 2 and os.get_inheritable(int(name)):
                    found.append(int(name))
    return found


def _reaped(process: int) -> int:
    """Wait for the end of ``process``, which is near, and return its exit code."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    except ChildProcessError as error:  # somebody here reaps every child
        guard.let_through(error)
        return 0
    except BaseException:  # a signal's handler raised: it shall leave no zombie
        with guard.suppress(ChildProcessError):
            os.waitpid(process, 0)
        raise


def _take_signal_away() -> None:
    """Take back the SIGCHLD that waits, unless another child of the program changed meanwhile."""
    if not hasattr(signal, "sigtimedwait"):
        return
    signal.sigtimedwait({signal.SIGCHLD}, 0)
    look = os.WEXITED | os.WSTOPPED | os.WCONTINUED | os.WNOHANG | os.WNOWAIT
    with guard.suppress(ChildProcessError):
        if os.waitid(os.P_ALL, 0, look) is not None:
            signal.raise_signal(signal.SIGCHLD)


def _start_on_windows(
    words: Sequence[str], folder: str | os.PathLike[str], stdin: int | None, stdout: int | None
) -> None:
    import subprocess

    class Detached(subprocess.Popen[bytes]):
        """A process that outlives us by design: that it runs when its object goes is no cause for a warning."""

        def __del__(self, *_: Any) -> None:
            pass

    Detached(
        words,
        cwd=folder,
        env=environment(os.environ),
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=subprocess.DEVNULL if stdout is None else stdout,
        stderr=subprocess.DEVNULL,
        creationflags=_WINDOWS_FLAGS,
    )
