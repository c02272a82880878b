"""Which commands are the project's own: those of its cli.py, of its package, and of any module in its folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kedro_otel.guard import swallow

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENTRY_POINTS: Final = ("kedro.project_commands", "kedro.global_commands")
_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})


def is_own(command: Any, name: str, package: str, folder: Path) -> bool:
    """Return whether the project defines ``command``; nothing that Kedro has not imported is imported.

    Args:
        command: the click command, or group of commands.
        name: its name on the command line.
        package: the project's package.
        folder: the project's folder.
    """
    group = getattr(sys.modules.get(f"{package}.cli"), "cli", None)
    if group is not None and group.get_command(None, name) is command:
        return True
    module = getattr(getattr(command, "callback", None), "__module__", None) or ""
    if module.partition(".")[0] == "kedro":
        return False
    return any(
        _is_of_project(one, package, folder) for one in (module, *_registered_in(command, name))
    )


def _registered_in(command: Any, name: str) -> Iterator[str]:
    """Yield the modules of the entry points that offer ``command``: a group need not have a function of its own."""
    from importlib import metadata

    for kind in _ENTRY_POINTS:
        for entry_point in metadata.entry_points(group=kind):
            module, _, attributes = entry_point.value.partition(":")
            found: Any = sys.modules.get(module.strip())
            for attribute in attributes.partition("[")[0].strip().split("."):
                found = getattr(found, attribute, None)
            try:
                offers = found is not None and found.get_command(None, name) is command
            except Exception as error:  # noqa: BLE001 (a plugin's group may raise anything)
                swallow("kedro_otel.facts.own_commands.is_own", error)
                continue
            if offers:
                yield module.strip()


def _is_of_project(module: str, package: str, folder: Path) -> bool:
    if module == package or module.startswith(f"{package}."):
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    if not file:
        return False
    path, root = Path(file).resolve(), folder.resolve()
    return path.is_relative_to(root) and _INSTALLED.isdisjoint(path.relative_to(root).parts)
