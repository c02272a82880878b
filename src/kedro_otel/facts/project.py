"""What is known of the project: its name, tools, sizes and revision, without loading any of its data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kedro_otel import guard
from kedro_otel.config import files, toml_file
from kedro_otel.config.paths import PYPROJECT
from kedro_otel.semconv import names

if TYPE_CHECKING:
    from collections.abc import Iterable

PUBLIC_DATASETS: Final = ("kedro_datasets.", "kedro.io.", "kedro_datasets_experimental.")
PUBLIC_VALIDATORS: Final = frozenset(
    {"pandera", "pydantic", "great_expectations", "kedro", "kedro_datasets"}
)
PARAMETERS: Final = ("parameters", "params:")
_LAZY: Final = (
    "polars.lazyframe",
    "pyspark.",
    "dask.",
    "dask_expr.",
    "ibis.expr.",
    "duckdb",
    "_duckdb",
    "snowflake.snowpark.",
)
_MAX_LINE: Final = 4096
_MAX_PACKED: Final = 32 * 1024 * 1024
"""Bytes of git's packed references, some 500,000 of them, beyond which the revision is not looked for."""


class Project(NamedTuple):
    """A project's own words about itself in ``[tool.kedro]``."""

    path: Path
    package: str | None
    tools: tuple[str, ...] | None
    example_pipeline: str | None


def read(path: Path) -> Project:
    """Return what pyproject.toml in the folder ``path`` says; fields that it does not name are None."""
    said = toml_file.table(toml_file.read(path / PYPROJECT), "tool", "kedro")
    package, example = said.get("package_name"), said.get("example_pipeline")
    return Project(
        path,
        package if isinstance(package, str) and package else None,
        _tools(said.get("tools")),
        None if example is None else str(example),
    )


def around(folder: Path) -> Path | None:
    """Return the Kedro project that ``folder`` is in, as Kedro finds it, None if it is in none."""
    for path in (folder, *folder.parents):
        try:
            found = "[tool.kedro]" in files.read(path / PYPROJECT, toml_file.MAX_BYTES).decode(
                "utf-8"
            )
        except (OSError, ValueError) as error:
            guard.let_through(error)
            continue
        if found:
            return path
    return None


def statistics(catalog: Any, default_pipeline: Any, n_pipelines: int) -> dict[str, Any]:
    """Return the project's sizes, counted as kedro-telemetry counts them, keyed by ``names``.

    Args:
        catalog: the session's catalog, as ``after_catalog_created`` gets it.
        default_pipeline: the pipeline ``__default__``, None if there is none.
        n_pipelines: how many pipelines are registered.
    """
    sizes = catalog_statistics(catalog)
    sizes[names.PIPELINE_COUNT] = n_pipelines
    if default_pipeline:
        sizes[names.NODE_COUNT] = len(default_pipeline.nodes)
    return sizes


def catalog_statistics(catalog: Any) -> dict[str, Any]:
    """Return the sizes that the catalog knows: datasets without parameters, by public type, and validators.

    Only names and types are asked for; nothing is loaded, made or resolved.
    """
    datasets = [name for name in catalog.keys() if not name.startswith(PARAMETERS)]  # noqa: SIM118 (a catalog is no dict)
    sizes: dict[str, Any] = {names.DATASET_COUNT: len(datasets)}
    if datasets:
        sizes[names.DATASET_TYPE_COUNT] = _counted(type_in(catalog, name) for name in datasets)
    specs = getattr(catalog, "validator_specs", None)
    if specs:
        sizes[names.VALIDATED_COUNT] = len(specs)
        sizes[names.VALIDATOR_TYPE_COUNT] = _counted(
            _validator_type(spec) for spec in specs.values()
        )
    return sizes


def dataset_type(name: str | None) -> str:
    """Return the dotted class ``name`` if it is of Kedro's own packages, else ``custom``."""
    return name if name and name.startswith(PUBLIC_DATASETS) else names.CUSTOM


def type_in(catalog: Any, name: str) -> str:
    """Return the public type of the dataset ``name``, ``custom`` also where its entry names no class.

    Kedro looks for the class when it is asked, and raises for a typo or a package that is missing.
    """
    try:
        return dataset_type(catalog.get_type(name))
    except Exception as error:  # noqa: BLE001 -- importing the user's class may raise anything
        guard.let_through(error)
        return names.CUSTOM


def is_lazy(kind: type) -> bool:
    """Return whether values of this class are computed when they are saved or looked at, not before.

    Spark's, Dask's, Ibis's, DuckDB's and Snowpark's are, and a LazyFrame of Polars.
    """
    where = kind.__module__
    return type(where) is str and where.startswith(_LAZY)


def revision(path: Path) -> str | None:
    """Return the commit checked out in the repository around ``path``, read from its files; None if there is none."""
    for folder in (path, *path.parents):
        git = folder / ".git"
        if git.exists():
            try:
                return _head(git)
            except (OSError, UnicodeError) as error:
                guard.let_through(error)
                return None
    return None


def relative(file: str, project: Path) -> str:
    """Return ``file`` relative to the project if it is inside, else its name alone: never a folder of the user's."""
    if Path(file).is_absolute():
        with guard.suppress(ValueError):
            return Path(os.path.realpath(file)).relative_to(os.path.realpath(project)).as_posix()
    return file.replace("\\", "/").rpartition("/")[2]


def _tools(value: Any) -> tuple[str, ...] | None:
    """Read ``tools``, which Kedro's template writes as the ``str()`` of a list."""
    if isinstance(value, str):
        import ast

        try:
            parsed = ast.literal_eval(value)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
            guard.let_through(error)
            parsed = None
        value = parsed if isinstance(parsed, (list, tuple)) else [value] if value else None
    return tuple(str(tool) for tool in value) or None if isinstance(value, (list, tuple)) else None


def _validator_type(spec: Any) -> str:
    library = (getattr(spec, "class_path", "") or "").split(".")[0]
    return library if library in PUBLIC_VALIDATORS else names.CUSTOM


def _counted(words: Iterable[str]) -> list[str]:
    """Return ``word=count`` of every word, sorted."""
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return [f"{word}={counts[word]}" for word in sorted(counts)]


def _head(git: Path) -> str | None:
    if git.is_file():  # a worktree or submodule: the folder is elsewhere
        git = git.parent / _line(git).removeprefix("gitdir:").strip()
    head = _line(git / "HEAD")
    if not head.startswith("ref:"):
        return _commit(head)
    reference = head.removeprefix("ref:").strip()
    common = git / _line(git / "commondir") if (git / "commondir").is_file() else git
    for folder in (git, common):
        if (folder / reference).is_file():
            return _commit(_line(folder / reference))
    return _packed(common / "packed-refs", reference)


def _packed(path: Path, reference: str) -> str | None:
    """Return the commit that git's file of packed references has for ``reference``; None where it has none or is too large."""
    if not path.is_file():
        return None
    data = b"\n" + files.read(path, _MAX_PACKED)
    end = data.find(b" " + os.fsencode(reference) + b"\n")
    begin = data.rfind(b"\n", 0, max(end, 0)) + 1
    return _commit(data[begin:end].decode("ascii", "replace")) if end >= 0 else None


def _line(path: Path) -> str:
    """Return the first line of a file of one line."""
    return files.read(path, _MAX_LINE).decode("utf-8").partition("\n")[0].strip()


def _commit(word: str) -> str | None:
    return (
        word
        if len(word) in (40, 64) and all(letter in "0123456789abcdef" for letter in word)
        else None
    )
