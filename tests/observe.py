"""Writes down what this process looks like to its user. Copied into projects; knows nothing of this package."""

import gc
import json
import os
import re
import signal
import sys
import threading
import warnings


def look(where):
    """Add one line to the file that OBSERVED names."""
    seen = {"where": where}
    for name, ask in QUESTIONS.items():
        try:
            seen[name] = ask()
        except Exception as error:
            seen[name] = type(error).__name__
    line = json.dumps(seen, sort_keys=True, default=repr) + "\n"
    descriptor = os.open(SEEN, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, line.encode())
    os.close(descriptor)


SEEN = os.environ.get("OBSERVED", os.devnull)


def children():
    """Return what the children of this process are: their command lines, and whether they are zombies."""
    found = []
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/children") as file:
            for number in file.read().split():
                with open(f"/proc/{number}/cmdline") as line, open(f"/proc/{number}/stat") as state:
                    found.append(
                        (line.read().replace("\0", " "), state.read().rpartition(")")[2].split()[0])
                    )
    return sorted(found)


def descriptors():
    """Return what each open descriptor is of, without the one of this look."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
        if not target.startswith(f"/proc/{os.getpid()}/fd"):
            found[number] = re.sub(r"^(pipe|socket|anon_inode):.*", r"\1", target)
    return found


def flags():
    """Return what a child that is executed now inherits: descriptors without close-on-exec."""
    return sorted(number for number in descriptors() if os.get_inheritable(int(number)))


def handlers():
    """Return every signal's handler."""
    return {
        int(number): re.sub("0x[0-9a-f]+", "", repr(signal.getsignal(number)))
        for number in signal.valid_signals()
    }


def umask():
    """Return the umask."""
    before = os.umask(0)
    os.umask(before)
    return before


def logging():
    """Return the handlers and the level of the root logger."""
    import logging

    root = logging.getLogger()
    return [
        root.level,
        [type(handler).__name__ for handler in root.handlers],
        logging.root.manager.disable,
    ]


def limits():
    """Return the resource limits."""
    import resource

    return {
        name: resource.getrlimit(getattr(resource, name))
        for name in dir(resource)
        if name.startswith("RLIMIT_")
    }


QUESTIONS = {
    "children": children,
    "descriptors": descriptors,
    "inheritable": flags,
    "environment": lambda: dict(os.environ),
    "handlers": handlers,
    "mask": lambda: sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))),
    "pending": lambda: sorted(map(int, signal.sigpending())),
    "timer": lambda: signal.getitimer(signal.ITIMER_REAL)[1],
    "wakeup": lambda: signal.set_wakeup_fd(signal.set_wakeup_fd(-1)),
    "umask": umask,
    "folder": os.getcwd,
    "session": lambda: (os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid()),
    "user": lambda: (os.getresuid(), os.getresgid(), os.getgroups()),
    "priority": lambda: os.getpriority(os.PRIO_PROCESS, 0),
    "limits": limits,
    "threads": lambda: sorted(re.sub(r"\d+", "N", thread.name) for thread in threading.enumerate()),
    "path": lambda: [entry for entry in sys.path if entry.startswith(os.environ["PROJECT"])],
    "finders": lambda: [
        getattr(finder, "__name__", type(finder).__name__) for finder in sys.meta_path
    ],
    "hooks": lambda: [
        hook.__module__
        for hook in (sys.excepthook, sys.unraisablehook, sys.displayhook, threading.excepthook)
    ],
    "traced": lambda: [
        re.sub("0x[0-9a-f]+", "", repr(found)) for found in (sys.gettrace(), sys.getprofile())
    ],
    "limits of Python": lambda: (
        sys.getrecursionlimit(),
        sys.getswitchinterval(),
        sys.dont_write_bytecode,
    ),
    "collector": lambda: (
        gc.isenabled(),
        gc.get_threshold(),
        gc.get_freeze_count() > 0,
        len(gc.callbacks),
    ),
    "warnings": lambda: len(warnings.filters),
    "logging": logging,
    "streams": lambda: [type(stream).__name__ for stream in (sys.stdin, sys.stdout, sys.stderr)],
}
