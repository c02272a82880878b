"""Where the detached process finds what it imports. A project's own folders are never among it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from kedro_otel import guard

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def folders(path: Sequence[str]) -> list[str]:
    """Return this package's folder, and entries of ``path`` that hold what it needs.

    Python's own search path is not handed on, since it begins with the user's project. A package is
    taken from where Python installs packages; only if it is nowhere there, from an entry outside the
    working folder.
    """
    own = __file__
    for _ in range(4):
        own = os.path.dirname(own)
    entries = [entry for entry in dict.fromkeys(path) if os.path.isabs(entry)]
    installed = {entry for entry in entries if entry in _sites()}
    wanted = set(installed)
    for name in _PACKAGES:
        if not any(os.access(os.path.join(entry, name), os.F_OK) for entry in installed):
            wanted.update(
                entry
                for entry in entries
                if os.access(os.path.join(entry, name), os.F_OK) and not _here(entry)
            )
    # an application in one zip file
    wanted.update(
        entry
        for entry in entries
        if os.path.isfile(entry) and not os.path.basename(entry).startswith("python3")
    )
    return [os.path.abspath(own), *(entry for entry in entries if entry in wanted and entry != own)]


def user_site(path: Sequence[str]) -> str:
    """Return the folder of ``pip install --user`` if it is in use, else an empty text."""
    import site

    folder = site.getusersitepackages() if site.ENABLE_USER_SITE else ""
    return folder if folder in path else ""


def _sites() -> set[str]:
    """Return the folders in which this Python's packages are installed, by their names in ``sys.path``."""
    import site

    return {*site.getsitepackages(), *([site.USER_SITE] if site.USER_SITE else [])}


def _here(entry: str) -> bool:
    """Return whether ``entry`` is the working folder or in it."""
    try:
        here = os.getcwd()
    except OSError as error:
        guard.let_through(error)
        return False
    return entry == here or entry.startswith(here.rstrip(os.sep) + os.sep)
