"""Of which project the views speak: the one that a person stands in, one by its name, or all."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kedro_otel.facts import identity, project
from kedro_otel.semconv import names

if TYPE_CHECKING:
    from pathlib import Path

    from kedro_otel.recording.model import Header


class Scope(NamedTuple):
    """A project: ``id`` is ``kedro.project.id``, ``name`` the package's; None where it is not known."""

    id: str | None
    name: str | None

    def has(self, header: Header) -> bool:
        """Return whether a process ran in this project: by the ids, or by the names where one has no id."""
        theirs = header.resource.get(names.PROJECT_ID)
        if self.id and theirs:
            return self.id == theirs
        return bool(self.name) and header.resource.get(names.PROJECT_NAME) == self.name


def of_folder(root: Path) -> Scope | None:
    """Return the project at ``root``, whatever the folder is called; None where it is not known which it is."""
    package = project.read(root).package
    found = Scope(identity.project_id(root, package, create=False), package)
    return found if any(found) else None
