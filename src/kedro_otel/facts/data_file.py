"""The local file of a dataset: its size, and when it was changed."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any, Final

from kedro_otel import guard
from kedro_otel.semconv import names

LOAD: Final = "load"
_PATHS: Final = frozenset(
    {str, PurePosixPath, PosixPath, PurePath, Path, PureWindowsPath, WindowsPath}
)


def facts(catalog: Any, name: str, verb: str) -> dict[str, Any]:
    """Return size and time of the file that the dataset ``name`` was loaded from or saved to, as attributes.

    The dataset is known to the catalog by then, and what it keeps is looked at without calling anything of
    it. A file elsewhere than on this machine is left alone, and so is a folder.
    """
    dataset = _dataset(catalog, name)
    path = _path(dataset, verb) if dataset is not None else None
    if path is None:
        return {}
    try:
        found = os.stat(path)  # noqa: PTH116 -- half a Path each
    except (OSError, ValueError) as error:
        guard.let_through(error)
        return {}
    if not stat.S_ISREG(found.st_mode):
        return {}
    return {
        names.DATASET_SIZE: found.st_size,
        names.DATASET_MODIFIED: round(found.st_mtime, 6),
    }


def _fields(thing: Any) -> dict[str, Any]:
    """Return what an object keeps, without calling a method of its class."""
    try:
        found = object.__getattribute__(thing, "__dict__")
    except AttributeError as error:
        guard.let_through(error)
        return {}
    return found if type(found) is dict else {}


def _dataset(catalog: Any, name: str) -> Any:
    known = _fields(catalog).get("_datasets")
    return known.get(name) if type(known) is dict else None


def _path(dataset: Any, verb: str) -> str | None:
    """Return the path of a dataset's local file, in the version that was loaded or saved."""
    fields = _fields(dataset)
    path: Any = fields.get("_filepath")
    if fields.get("_protocol") != "file" or type(path) not in _PATHS:
        return None
    version = fields.get("_version")
    if version is None:
        return str(path)
    chosen = _version(version, fields, verb)
    return str(PurePath(path) / chosen / PurePath(path).name) if chosen else None


def _version(version: Any, fields: dict[str, Any], verb: str) -> str | None:
    if type(version).__name__ != "Version" or not isinstance(version, tuple) or len(version) != 2:
        return None
    chosen = version[0 if verb == LOAD else 1] or fields.get(f"_cached_{verb}_version")
    if chosen is None:  # Kedro before 1.1
        cache = fields.get("_version_cache")
        rows = list(cache.items()) if cache is not None else []
        chosen = next((value for key, value in rows if tuple(key)[:1] == (verb,)), None)
    return chosen if type(chosen) is str else None
