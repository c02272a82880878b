"""OpenTelemetry for Kedro: every command a trace, every byte yours.

In Python, ``kedro_otel.runs()`` and ``kedro_otel.last()`` say what was recorded, and ``carrier()`` and
``attached()`` take a run to workers of your own; ``describe.register()`` describes data of your own types: docs/api.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kedro_otel import describe as describe
    from kedro_otel.runtime.carrier import attached as attached
    from kedro_otel.runtime.carrier import carrier as carrier
    from kedro_otel.viewing.api import Dataset as Dataset
    from kedro_otel.viewing.api import Node as Node
    from kedro_otel.viewing.api import NotFoundError as NotFoundError
    from kedro_otel.viewing.api import Run as Run
    from kedro_otel.viewing.api import get_run as get_run
    from kedro_otel.viewing.api import last as last
    from kedro_otel.viewing.api import load_ipython_extension as load_ipython_extension
    from kedro_otel.viewing.api import runs as runs

__version__ = "0.1.0"
"""The one place of this package's version; its metadata is built from it."""

__all__ = [
    "Dataset",
    "Node",
    "NotFoundError",
    "Run",
    "__version__",
    "attached",
    "carrier",
    "describe",
    "get_run",
    "last",
    "runs",
]

_CARRIED = frozenset({"attached", "carrier"})
_LAZY = frozenset(__all__) - {"__version__"} | {"load_ipython_extension"}


def __getattr__(name: str) -> Any:
    """Import the public API when it is asked for: ``kedro`` imports this package at every start."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "describe":
        import importlib

        return importlib.import_module("kedro_otel.describe")
    if name in _CARRIED:
        from kedro_otel.runtime import carrier as found
    else:
        from kedro_otel.viewing import api as found  # type: ignore[no-redef]

    return getattr(found, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
