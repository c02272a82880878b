"""Change this user's settings file: one key at a time, every comment and other key as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kedro_otel import guard
from kedro_otel.config import files, paths, settings, toml_edit, toml_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kedro_otel.config.settings import Settings


class UserFileError(Exception):
    """The file could not be changed and is as it was; the message says why and what to do."""


def save(changes: Mapping[str, Any]) -> Path:
    """Set the keys in ``changes`` in the user's settings file, make it 0600, and return its path.

    A value of None takes the key away. A mapping sets keys of a table (``{"headers": {"x-token": "env:TOKEN"}}``).

    Raises:
        UserFileError: if the file is not TOML, cannot be written, or has the key in a form that is not changed by machine.
    """
    path = paths.user_config()
    try:
        text = path.read_bytes().decode("utf-8") if path.exists() else ""
        if toml_file.loads(text) is None:
            raise UserFileError(f"{path} is not TOML, so nothing was changed; repair or remove it.")
        new = _changed(text, changes, path)
        files.make_folders(path.parent)
        files.replace(path, new.encode("utf-8"), mode=0o600)
    except (OSError, UnicodeError) as error:
        guard.let_through(error)
        reason = getattr(error, "strerror", None) or error
        raise UserFileError(
            f"{path} could not be written, so nothing was changed: {reason}. {_remedy(path)}"
        ) from error
    return path


def as_if(changes: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Return the settings that will be in force with ``changes``, to try them before they are saved.

    Headers, keys and lists of exporters of the environment count as they do later. Its endpoints do
    not: one of them would otherwise be what is tried. What ``changes`` name counts before it.
    """
    known = settings.from_environment(
        {name: value for name, value in environ.items() if not name.endswith("_ENDPOINT")}
    )
    for name, value in changes.items():
        if value not in (None, {}):
            said = (
                {key: word for key, word in value.items() if word}
                if isinstance(value, dict)
                else value
            )
            known.take(settings.BY_NAME[name], said, settings.USER, "")
    return known


def _remedy(path: Path) -> str:
    """Return what to type where the settings file cannot be written."""
    return (
        f"`ls -ld {path.parent} {path}` shows whose they are; until they are yours, "
        "`export KEDRO_OTEL_ENABLED=false` switches off."
    )


def _changed(text: str, changes: Mapping[str, Any], path: Path) -> str:
    for key, value in changes.items():
        if isinstance(value, dict) and value:
            text = _without_text(text, key)
        steps = (
            [((key,), name, inner) for name, inner in value.items()]
            if isinstance(value, dict)
            else [((), key, value)]
        )
        for table, name, said in steps:
            new = _step(text, table, name, said)
            if new is None:
                raise UserFileError(
                    f"{path} has {name!r} in a form that is not changed by machine, so nothing was changed; edit the file."
                )
            text = new
    return text


def _without_text(text: str, key: str) -> str:
    """Return ``text`` without ``key`` where that is no table: one that is to be written takes its place."""
    found = (toml_file.loads(text) or {}).get(key, {})
    without = None if isinstance(found, dict) else _step(text, (), key, None)
    return text if without is None else without


def _step(text: str, table: tuple[str, ...], key: str, value: Any) -> str | None:
    if value is None:
        return (
            toml_edit.remove(text, table, key)
            if key in toml_file.table(toml_file.loads(text), *table)
            else text
        )
    return toml_edit.assign(text, table, key, _literal(value))


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return toml_edit.quoted(value) if isinstance(value, str) else repr(value)
