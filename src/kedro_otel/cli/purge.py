"""Erase what this package wrote, and nothing else: a folder may have been named by mistake."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from kedro_otel.config import files, paths, project_folders, toml_edit, toml_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_RECORDING: Final = re.compile(
    r"\d{20}-\d+-[0-9a-f]{8}\.(?:jsonl|private)|\.new-.*|handoff-\d+(?:-[0-9a-f]{16})?\.json|dropped\.jsonl"
)
_REPORT: Final = re.compile(r"run-[0-9a-f]{8}\.html")
_DESTINATION: Final = re.compile(r"[0-9a-f]{16}")


class Erased(NamedTuple):
    """How many files went, of how many bytes together, and what did not go, each with the reason."""

    files: int
    size: int
    failures: list[str]


def everything(recordings: Path, destinations: Path) -> list[Path]:
    """Return all segments in ``recordings``, also those being written, all journals in ``destinations``, and what is beside them.

    Beside them are reports, the machines' ids, and where projects are.
    """
    machines = recordings.parent / "machines"
    return [
        *_recorded(recordings),
        *_journals(destinations),
        *_machines(machines),
        *_machines(recordings.parent / project_folders.FOLDERS),
        *_reports(recordings.parent / paths.reports().name),
        *_key(recordings.parent),
        *index(),
    ]


def some(before_ns: int | None, project: str | None) -> list[Path]:
    """Return the recordings that were last written to before a time and are of a project.

    Args:
        before_ns: Nanoseconds since the epoch; None is any time.
        project: The project's name; None is any project, and what belongs to none.
    """
    from kedro_otel.recording.model import PRIVATE_SUFFIX, SegmentError
    from kedro_otel.recording.reader import listing
    from kedro_otel.recording.scan import glance
    from kedro_otel.semconv import names

    found = []
    for path, known in listing():
        if before_ns is not None and known.st_mtime_ns >= before_ns:
            continue
        if project is not None:
            try:
                resource = glance(path).header.resource
            except SegmentError:
                continue
            if resource.get(names.PROJECT_NAME) != project:
                continue
        found.append(path)
        private = path.with_suffix(PRIVATE_SUFFIX)
        if private.is_symlink() or private.is_file():
            found.append(private)
    return [*found, *index()] if found else found


def index() -> list[Path]:
    """Return the files of the index of what was recorded."""
    path = paths.index()
    return [
        found
        for end in ("", "-journal", "-wal", "-shm")
        if (found := path.with_name(path.name + end)).is_symlink() or found.is_file()
    ]


def size(found: Iterable[Path]) -> int:
    """Return how many bytes the files have together; those that have gone meanwhile have none."""
    total = 0
    for path in found:
        with contextlib.suppress(OSError):
            total += path.lstat().st_size
    return total


def erase(found: Iterable[Path]) -> Erased:
    """Remove files, and say what became of it."""
    done = [_removed(path) for path in found]
    sizes = [found for found in done if isinstance(found, int)]
    return Erased(len(sizes), sum(sizes), [found for found in done if isinstance(found, str)])


def remove_folders(recordings: Path, destinations: Path) -> None:
    """Remove the folders of journals, reports and machines that are empty now."""
    for name in ("machines", paths.reports().name):
        with contextlib.suppress(OSError):
            (recordings.parent / name).rmdir()
    for folder in _folders(destinations):
        if not any(folder.iterdir()):
            folder.rmdir()


def forget_uuid(path: Path) -> bool:
    """Take ``[telemetry] uuid`` out of the file at ``path``, and the file away if nothing else is in it; return whether it was there.

    Raises:
        OSError: if the file cannot be read or written.
    """
    if not path.exists():
        return False
    text = path.read_bytes().decode("utf-8", "replace")
    document = toml_file.loads(text)
    said = toml_file.table(document, "telemetry")
    if document is not None and "uuid" not in said:
        return False
    if document is None or (len(document) == 1 and len(said) == 1):
        path.unlink()
        return True
    left = toml_edit.remove(text, ("telemetry",), "uuid") or toml_edit.assign(
        text, ("telemetry",), "uuid", '""'
    )
    if left is None:
        raise OSError("it has the UUID in a form that is not changed by machine")
    files.replace(path, left.encode())
    return True


def _removed(path: Path) -> int | str | None:
    """Remove a file; return its size in bytes, or why it is still there, or None if somebody was faster."""
    try:
        size = path.lstat().st_size
        path.unlink()
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    return size


def _recorded(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (
            path
            for path in folder.iterdir()
            if _RECORDING.fullmatch(path.name) and (path.is_symlink() or path.is_file())
        )


def _machines(folder: Path) -> Iterator[Path]:
    if folder.is_dir() and not folder.is_symlink():
        yield from (path for path in folder.iterdir() if _DESTINATION.fullmatch(path.name))


def _reports(folder: Path) -> Iterator[Path]:
    if folder.is_dir() and not folder.is_symlink():
        yield from (path for path in folder.iterdir() if _REPORT.fullmatch(path.name))


def _key(folder: Path) -> Iterator[Path]:
    for path in (paths.destination_key(), paths.notified(), paths.notified().with_suffix(".lock")):
        found = folder / path.name
        if found.exists():
            yield found


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [
        path
        for path in folder.iterdir()
        if _DESTINATION.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    ]


def _journals(folder: Path) -> Iterator[Path]:
    for inner in _folders(folder):
        yield from (path for path in inner.rglob("*") if path.is_symlink() or not path.is_dir())
