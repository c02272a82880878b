"""Let what you know of your own types be recorded with the datasets that have them: rows, columns, size, schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["register"]


def register(kind: type, function: Callable[[Any], Mapping[str, Any] | None]) -> None:
    """Let a function describe data of a type, at each load and save of a dataset.

    It is called in the run, with the data, and must neither change nor compute them. One that raises, or
    takes more than 20 ms, is not called again in the process; the run goes on unchanged.

    Args:
        kind: The class; classes derived from it too, where they are not registered themselves.
        function: Takes the data and returns a dictionary, or None. It may have ``rows``, ``columns``
            and ``size`` (bytes), whole numbers each, and ``schema``, a list of pairs of name and type, both text.

    Raises:
        TypeError: The first is no class, or the second cannot be called.
    """
    from kedro_otel.facts import data_description

    data_description.register(kind, function)
