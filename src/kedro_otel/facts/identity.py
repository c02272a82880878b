"""Who is speaking: kedro-telemetry's own identifiers, from its own files, so that nobody gets a second identity.

The user's is a random UUID. The project's is a random UUID in pyproject.toml, which leaves the file only as a hash
together with the package name.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from kedro_otel import guard
from kedro_otel.config import paths, toml_file
from kedro_otel.config.paths import PYPROJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

UNDEFINED_PACKAGE: Final = "undefined_package_name"
"""What kedro-telemetry hashes in place of the package name where there is none."""

_TABLE: Final = ("tool", "kedro_telemetry")
PROJECTS: Final = "projects"
"""Folder in the state folder: one file per project whose pyproject.toml is left alone, named by a hash of the project's path."""

_PATIENCE: Final = 1.0
"""Seconds to wait for another process that writes the same file."""

_HEX: Final = frozenset("0123456789abcdef")


def installation_id(*, create: bool = True) -> str | None:
    """Return the user's UUID as 32 hex digits, made or repaired on disk if need be; None where that is impossible."""
    places = paths.telemetry_toml()
    for place in places:
        found = _user_uuid(place)
        if found:
            return found
    if not create:
        return None
    try:
        return _created(places[0])
    except OSError as error:
        guard.let_through(error)
        return None


def project_id(
    project: Path,
    package: str | None,
    *,
    create: bool,
    write: bool = True,
    written: Callable[[Path], None] = lambda _: None,
    linked: Callable[[Path], None] = lambda _: None,
) -> str | None:
    """Return the SHA-512 of the project's UUID and package name as hex; None if the file is no Kedro project's or has none.

    Args:
        project: The project's folder.
        package: Name of the project's package.
        create: Whether a missing UUID may be made.
        write: Whether it is made in pyproject.toml, if the file is this user's and that can be done by insertion alone.
            Else it is made in the state folder, for this folder of this user.
        written: Called with the path of pyproject.toml after a UUID was written into it.
        linked: Called with that path where none was, because the file has other hard links.
    """
    path = project / PYPROJECT
    document = toml_file.read(path)
    if "kedro" not in toml_file.table(document, "tool"):
        return None
    found = toml_file.table(document, *_TABLE).get("project_id")
    if found is None and create and write:
        found = _created_project_uuid(path, written, linked)
    elif found is None:
        found = _kept_project_uuid(project, create=create)
    if found is None:
        return None
    import hashlib

    return hashlib.sha512(
        f"{found}{package or UNDEFINED_PACKAGE}".encode(errors="surrogatepass")
    ).hexdigest()


def _user_uuid(path: Path) -> str | None:
    value = toml_file.table(toml_file.read(path), "telemetry").get("uuid")
    if not isinstance(value, str):
        return None
    if len(value) == 32 and set(value) <= _HEX:
        return value
    import uuid

    try:
        return uuid.UUID(value).hex
    except ValueError as error:
        guard.let_through(error)
        return None


def _new() -> str:
    import uuid

    return uuid.uuid4().hex


def _created(path: Path) -> str | None:
    """Write a new UUID at ``path``, or take the one of the process that was faster."""
    from kedro_otel.config import files

    uuid = _new()
    if files.create(path, f'[telemetry]\nuuid = "{uuid}"\n'.encode()):
        return uuid
    with _locked(path):
        return _user_uuid(path) or _repaired(path, uuid)


def _repaired(path: Path, uuid: str) -> str | None:
    """Put ``uuid`` into the malformed file at ``path``, keeping its other keys; what is no TOML is kept as comments."""
    from kedro_otel.config import files, toml_edit

    raw = path.read_bytes()
    text = raw.decode(errors="replace")
    literal = toml_edit.quoted(uuid)
    new = toml_edit.assign(text, ("telemetry",), "uuid", literal) if raw == text.encode() else None
    files.replace(
        path, (new or f"[telemetry]\nuuid = {literal}\n{toml_edit.commented(text)}").encode()
    )
    return _user_uuid(path)


def _kept_project_uuid(project: Path, *, create: bool) -> str | None:
    """Return the UUID that stands for a project whose pyproject.toml is left alone; a new one, with ``create``, if there is none."""
    import hashlib

    from kedro_otel.config import files

    where = hashlib.sha256(os.fsencode(os.path.realpath(project))).hexdigest()
    path = paths.home() / PROJECTS / where[:32]
    try:
        if create:
            files.create(path, _new().encode())
        found = files.read(path, 32).decode()
    except (OSError, ValueError) as error:
        guard.let_through(error)
        return None
    return found if set(found) <= _HEX else None


def _mine(path: Path) -> bool:
    """Return whether a file is this user's own, and may be written."""
    return os.access(path, os.W_OK) and (
        not hasattr(os, "geteuid") or path.stat().st_uid == os.geteuid()
    )


def _created_project_uuid(
    path: Path, written: Callable[[Path], None], linked: Callable[[Path], None]
) -> str | None:
    from kedro_otel.config import files, toml_edit

    try:
        if not _mine(path):
            return None
        with _locked(path):
            raw = path.read_bytes()
            text = raw.decode()
            document = toml_file.loads(text)
            found = toml_file.table(document, *_TABLE).get("project_id")
            if found is not None:
                return str(found)
            new = toml_edit.insert(text, _TABLE, "project_id", uuid := _new())
            if new is None:
                return None
            files.replace(path, new.encode())
            written(path)
            return uuid
    except (OSError, UnicodeError) as error:
        guard.let_through(error)
        if getattr(error, "errno", None) == errno.EMLINK:
            linked(path)
        return None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the file at ``path`` locked, where the system can: who waited must read again, the file may be a new one.

    Raises:
        OSError: if the file cannot be opened, or somebody else keeps it locked for longer than a command should wait.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with path.open("rb") as file:
        _lock(fcntl, file.fileno())
        yield


def _lock(fcntl: Any, descriptor: int) -> None:
    import time

    end = time.monotonic() + _PATIENCE
    while not _taken(fcntl, descriptor):
        if time.monotonic() > end:
            raise BlockingIOError
        time.sleep(0.01)


def _taken(fcntl: Any, descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        guard.let_through(error)
        return (
            True  # a file system without locks: the last one to write wins, as in kedro-telemetry
        )
    return True
