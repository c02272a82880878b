"""Where the projects are whose commands were recorded, so that what they say later counts for what waits.

A recording names its project's folder by an id alone; the folder is in a file of the state folder, which is never sent.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from kedro_otel import guard
from kedro_otel.config import files, paths

FOLDERS: Final = "folders"
_LONGEST: Final = 64 * 1024


def note(root: Path) -> str:
    """Remember the folder of a project and return its id, "" where it cannot be remembered."""
    import hashlib

    where = os.fsencode(os.path.realpath(root))
    found = hashlib.sha256(b"kedro-otel\0folder\0" + where).hexdigest()[:16]
    path = paths.home() / FOLDERS / found
    try:
        if not os.path.lexists(path):
            files.create(path, where)
    except OSError as error:
        guard.let_through(error)
        return ""
    return found


def folder(identifier: str) -> Path | None:
    """Return the folder of the project with this id, None where nothing is known of it.

    Raises:
        OSError: It cannot be asked now.
    """
    path = paths.home() / FOLDERS / Path(identifier).name
    try:
        return Path(os.fsdecode(files.read(path, _LONGEST)))
    except FileNotFoundError:
        return None
