"""May anything still leave, to this receiver, and at which detail? Each sender asks before each request.

What switches off, disconnects or narrows writes to a file or takes one away; so the answer is kept as long as those files
look unchanged, which costs a few looks a request.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import TYPE_CHECKING

from kedro_otel import guard
from kedro_otel.config import consent, destination, paths, project_folders, settings
from kedro_otel.semconv import names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kedro_otel.config.destination import Destination
    from kedro_otel.config.settings import Settings
    from kedro_otel.recording.model import Header


class Permission:
    """The permission to send to one destination.

    Args:
        target: The destination in force when the sender began.
        known: Its settings; their environment and project stay.
        still: Tells what else must be so, such as that the lock is still held.
    """

    def __init__(
        self,
        target: Destination,
        known: Settings,
        still: Callable[[], bool] = lambda: True,
    ) -> None:
        self._target = target.id
        self._environ: Mapping[str, str] = known.environ
        self._project = known.project
        self._still = still
        self._seen: object = None
        self._projects: dict[Path, Permission] = {}
        self._detail: str | None = known.value("detail")
        self._first = self._detail
        self._logs = known.value("logs") == "on"

    def limit(self, header: Header) -> str | None:
        """Return the widest detail that the project of a recording allows now, None where it says no."""
        return self.of_project(header.project, header.root)

    def of_project(self, identifier: str, folder: str = "") -> str | None:
        """Return the widest detail that a project allows now, None where it says no.

        What cannot be asked now is a no, for now. A project that nobody knows any more says nothing.
        """
        asked = self._of(identifier, folder)
        if asked is None or asked is self:
            return names.FULL if asked else None
        found, own = asked.detail, self.detail
        if found is None or own is None:
            return None
        return found if names.DETAILS.index(found) < names.DETAILS.index(own) else names.FULL

    def lets_logs(self, header: Header) -> bool:
        """Return whether log records of a recording may leave now at all, as its project and whoever is asked say."""
        asked = self._of(header.project, header.root)
        if asked is None or asked.detail is None or self.detail is None:
            return False
        return bool(asked._logs and self._logs)  # noqa: SLF001

    def _of(self, identifier: str, folder: str) -> Permission | None:
        """Return who is asked for a project: this one where there is none, or nobody knows it; None where it cannot be asked now."""
        if not (identifier or folder):
            return self
        try:
            root = Path(folder) if folder else project_folders.folder(identifier)
        except OSError as error:
            guard.let_through(error)
            return None
        if root is None:
            return self
        asked = self._projects.get(root)
        if asked is None:
            asked = self._projects[root] = copy.copy(self)
            asked._project, asked._seen = root, None  # noqa: SLF001
        return asked

    @property
    def detail(self) -> str | None:
        """The detail at which something may leave now, None where nothing may."""
        seen = self._look()
        if seen != self._seen:
            self._seen, self._detail = seen, self._asked()
        return self._detail if self._still() else None

    def allows(self, detail: str) -> Callable[[], bool]:
        """Return a function that tells whether what was prepared at ``detail`` may leave now."""
        wide = names.DETAILS.index(detail)
        return lambda: (
            (now := self.detail) is not None
            and (self._first == now or names.DETAILS.index(now) >= wide)
        )

    def _asked(self) -> str | None:
        if not consent.decide(self._environ, self._project).enabled:
            return None
        known = settings.load(self._environ, self._project)
        self._logs = known.value("logs") == "on"
        found = destination.current(known)
        return (
            str(known.value("detail")) if found is not None and found.id == self._target else None
        )

    def _look(self) -> object:
        places = [paths.user_config(), paths.site_config()]
        if self._project is not None:
            places += [self._project / paths.PYPROJECT, self._project / ".telemetry"]
        return [_state(place) for place in places]


def _state(path: Path) -> object:
    try:
        found = os.stat(path)
    except OSError as error:
        guard.let_through(error)
        return error.errno
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size
