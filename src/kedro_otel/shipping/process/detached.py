"""The first lines that a detached process runs: it leaves what started it, and finds its packages.

``site`` has run by then, as in every Python of this environment, for some ``.pth`` files make Python
trust the system's certificates. Only the user's project is out of reach.
"""

from __future__ import annotations

import os
import signal
import site
from collections.abc import Sequence


def main(words: Sequence[str]) -> int:
    """Run the module that ``words`` name, and return its exit code.

    Args:
        words: ``-c``, a label, the module, its folder, ``fork`` where no shell was between, the user's
            own site folder or "", and folders of packages.
    """
    _, _, module, folder, fork, user_site = words[:6]
    if os.name == "posix":
        if fork and os.fork():
            os._exit(0)
        os.setsid()
        for number in (
            signal.SIGINT,
            signal.SIGQUIT,
        ):  # a shell has what is in the background ignore them
            signal.signal(number, signal.SIG_DFL)
    os.umask(0o77)
    os.chdir(folder)
    if user_site:
        site.addsitedir(user_site)
    import importlib

    run = importlib.import_module(f"kedro_otel.{module}")
    return int(run.main())
