"""How many rows and columns data have, by their type: nothing is computed, and no code of a user's is called for it.

A class is known by being, object for object, what a library that is loaded already calls so: neither a class
that merely has its name nor a subclass is. Lazy data have no rows until they are computed, so they are asked nothing.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any, Final, cast

from kedro_otel import guard
from kedro_otel.config import home_key
from kedro_otel.semconv import names

ROWS: Final = "rows"
COLUMNS: Final = "columns"
SIZE: Final = "size"
SCHEMA: Final = "schema"

Facts = Mapping[str, Any]
"""What is known of data: ``rows``, ``columns`` and ``size`` (bytes) as whole numbers, ``schema`` as pairs of name and type."""

SLOW_NS: Final = 20_000_000
"""A function that takes longer than this is not called again in the process."""

_MOST_COLUMNS: Final = 2_000
_LIBRARIES: Final = frozenset({"numpy", "pandas", "pyarrow", "polars", "geopandas", "shapely"})
_WHOLE: Final = frozenset({int})
_LABELS: Final = frozenset({str, int, float, bool, type(None)})

# A metaclass of a user's is not asked.
_module: Final = type.__dict__["__module__"].__get__
_qualname: Final = type.__dict__["__qualname__"].__get__
_mro: Final = type.__dict__["__mro__"].__get__
_members: Final = cast("Any", ModuleType).__dict__["__dict__"].__get__


class Teller:
    """A function that describes data of one class; ``off`` once it raised or was slow."""

    __slots__ = ("function", "off")

    def __init__(self, function: Callable[[Any], Facts | None]) -> None:
        self.function, self.off = function, False

    def ask(self, data: Any) -> Facts | None:
        """Return what the function knows of ``data``."""
        began = time.perf_counter_ns()
        try:
            return self.function(data)
        except Exception as error:  # noqa: BLE001 -- a function of the user's
            guard.swallow("Teller.ask", error)
            self.off = True
            return None
        finally:
            if time.perf_counter_ns() - began > SLOW_NS:
                self.off = True


def describe(data: Any) -> dict[str, Any] | None:
    """Return rows, columns, size and schema of ``data`` as attributes; None where nothing is known."""
    kind = type(data)
    known = _known.get(id(kind))
    teller = known[1] if known is not None and known[0] is kind else _find(kind)
    return None if teller is None or teller.off else _attributes(teller.ask(data))


def register(kind: type, function: Callable[[Any], Facts | None]) -> None:
    """Let ``function`` describe data of the class ``kind``, and of classes derived from it."""
    words: tuple[Any, Any] = kind, function
    if not isinstance(words[0], type) or not callable(words[1]):
        raise TypeError("register() takes a class and a function")
    _registered[id(kind)] = kind, Teller(function)
    for number in [number for number, (one, _) in _known.items() if kind in _mro(one)]:
        del _known[number]


def _find(kind: type) -> Teller | None:
    """Return what describes ``kind``, if it is registered or a library's."""
    if _registered:
        for one in _mro(kind):
            found = _registered.get(id(one))
            if found is not None:
                return found[1]
    where = _module(kind)
    table = _LIBRARY_TYPES.get(where.partition(".")[0]) if type(where) is str else None
    function = table.get(_qualname(kind)) if table is not None else None
    if function is None or not _is_librarys(kind):
        return None
    teller = Teller(function)
    _known[id(kind)] = kind, teller
    return teller


def _is_librarys(kind: type) -> bool:
    """Return whether the library has ``kind`` itself under that name."""
    name = _qualname(kind)
    top = _module(kind).partition(".")[0]
    for where in (top, *_MORE_PLACES.get(top, ())):
        library = sys.modules.get(where)
        if type(library) is ModuleType and _members(library).get(name) is kind:
            return True
    return False


def _attributes(facts: Facts | None) -> dict[str, Any] | None:
    """Return ``facts`` as attributes, without what is none."""
    if type(facts) is not dict:
        return None
    found: dict[str, Any] = {}
    for key, name in _NAMES:
        value: Any = facts.get(key)
        if type(value) in _WHOLE and 0 <= value < 1 << 63:
            found[name] = value
    schema = facts.get(SCHEMA)
    if type(schema) is list and 0 < len(schema) <= _MOST_COLUMNS:
        digest = _digest(schema)
        if digest:
            found[names.DATASET_SCHEMA] = digest
    return found or None


_NAMES: Final = (
    (ROWS, names.DATASET_ROWS),
    (COLUMNS, names.DATASET_COLUMNS),
    (SIZE, names.DATASET_SIZE),
)


_keys: Final[dict[str, bytes]] = {}
"""The key by the variable that names the home, since to find the file takes longer than all the rest."""


def _digest(schema: Iterable[tuple[Any, str]]) -> str:
    """Return a hash of names and types that is the same only where this home's key is."""
    home = os.environ.get("KEDRO_OTEL_HOME", "")
    key = _keys.get(home)
    if key is None:
        if home_key.kept() is None:
            home_key.make()
        key = home_key.kept()
        if key is None:
            return ""
        _keys[home] = key
    text = "\n".join([f"{_label(name)}\t{kind}" for name, kind in schema])
    return hashlib.blake2b(
        text.encode("utf-8", "surrogatepass"), key=key, digest_size=8, person=b"schema"
    ).hexdigest()


def _label(name: Any) -> str:
    """Return a column's name as text, without asking a class of the user's for it."""
    if type(name) in _LABELS:
        return repr(name)
    if type(name) is tuple:
        return "(" + ",".join([_label(one) for one in name[:16]]) + ")"
    return str(_qualname(type(name)))


def _type(kind: Any) -> str:
    """Return the name of a column's type: as the library that has it calls it."""
    where = _module(type(kind))
    known = type(where) is str and where.partition(".")[0] in _LIBRARIES
    return str(kind) if known else str(_qualname(type(kind)))


def _types(kinds: Iterable[Any]) -> list[str]:
    """Return the names of columns' types: the same type, often one object for many columns, is asked once."""
    known: dict[int, tuple[Any, str]] = {}
    found = []
    for kind in kinds:
        named = known.get(id(kind))
        if named is None:
            named = known[id(kind)] = kind, _type(kind)
        found.append(named[1])
    return found


def _of_library(thing: Any) -> bool:
    where = _module(type(thing))
    return type(where) is str and where.partition(".")[0] in _LIBRARIES


def _length(data: Any) -> Facts:
    return {ROWS: len(data)}


def _bytes(data: Any) -> Facts:
    return {SIZE: len(data)}


def _pandas_length(index: Any) -> int | None:
    """Return the length of an index, unless its values are kept by a class of the user's."""
    values = getattr(index, "_data", None)
    return len(index) if _of_library(index) and (values is None or _of_library(values)) else None


def _pandas_frame(frame: Any) -> Facts:
    columns = frame.columns
    found: dict[str, Any] = {ROWS: _pandas_length(frame.index)}
    count = _pandas_length(columns)
    if count is None:
        return found
    found[COLUMNS] = count
    manager = frame._mgr  # noqa: SLF001 -- frame.dtypes takes ten times as long, and is the same
    if 0 < count <= _MOST_COLUMNS:
        kinds = manager.get_dtypes() if hasattr(manager, "get_dtypes") else frame.dtypes
        found[SCHEMA] = list(zip(columns.tolist(), _types(kinds), strict=True))
    found[SIZE] = _pandas_size(manager)
    return found


def _pandas_size(manager: Any) -> int | None:
    """Return the bytes of a frame's arrays; None where objects are in one, whose sizes nobody knows."""
    total = 0
    for block in getattr(manager, "blocks", ()):
        values = block.values
        if not _of_library(values) or str(getattr(values, "dtype", "object")) == "object":
            return None
        total += int(values.nbytes)
    return total


def _pandas_series(series: Any) -> Facts:
    return {
        ROWS: _pandas_length(series.index),
        COLUMNS: 1,
        SCHEMA: [(series.name, _type(series.dtype))],
    }


def _numpy_array(array: Any) -> Facts:
    shape = array.shape
    found: dict[str, Any] = {SIZE: int(array.nbytes) if array.dtype.kind != "O" else None}
    if shape:
        found[ROWS] = int(shape[0])
        found[SCHEMA] = [("", _type(array.dtype))]
    if len(shape) == 2:
        found[COLUMNS] = int(shape[1])
        found[SCHEMA] = [(str(shape[1]), _type(array.dtype))]
    return found


def _polars_frame(frame: Any) -> Facts:
    rows, columns = frame.shape
    return {
        ROWS: int(rows),
        COLUMNS: int(columns),
        SIZE: int(frame.estimated_size()),
        SCHEMA: list(zip(frame.columns, map(str, frame.dtypes), strict=True)),
    }


def _polars_series(series: Any) -> Facts:
    return {ROWS: len(series), COLUMNS: 1, SCHEMA: [(series.name, str(series.dtype))]}


def _arrow_table(table: Any) -> Facts:
    schema = table.schema
    found: dict[str, Any] = {ROWS: int(table.num_rows), COLUMNS: int(table.num_columns)}
    if table.num_columns <= _MOST_COLUMNS:
        found[SCHEMA] = list(zip(schema.names, map(str, schema.types), strict=True))
        found[SIZE] = int(table.nbytes)
    return found


def _sparse_matrix(matrix: Any) -> Facts:
    rows, columns = matrix.shape if len(matrix.shape) == 2 else (matrix.shape[0], None)
    return {ROWS: int(rows), COLUMNS: None if columns is None else int(columns)}


def _tensor(tensor: Any) -> Facts:
    shape = tuple(tensor.shape)
    return {
        ROWS: int(shape[0]) if shape else None,
        COLUMNS: int(shape[1]) if len(shape) == 2 else None,
        SIZE: int(tensor.numel()) * int(tensor.element_size()),
    }


def _hugging_face(dataset: Any) -> Facts:
    return {ROWS: int(dataset.num_rows), COLUMNS: len(dataset.column_names)}


def _graph(graph: Any) -> Facts:
    return {ROWS: len(graph)}


_LIBRARY_TYPES: Final[dict[str, dict[str, Callable[[Any], Facts | None]]]] = {
    "pandas": {"DataFrame": _pandas_frame, "Series": _pandas_series},
    "geopandas": {"GeoDataFrame": _pandas_frame, "GeoSeries": _pandas_series},
    "numpy": {"ndarray": _numpy_array},
    "polars": {"DataFrame": _polars_frame, "Series": _polars_series},
    "pyarrow": {"Table": _arrow_table, "RecordBatch": _arrow_table},
    "scipy": dict.fromkeys(
        [
            f"{kind}_{what}"
            for kind in ("csr", "csc", "coo", "bsr", "lil", "dok", "dia")
            for what in ("matrix", "array")
        ],
        _sparse_matrix,
    ),
    "torch": {"Tensor": _tensor},
    "datasets": {"Dataset": _hugging_face},
    "networkx": dict.fromkeys(("Graph", "DiGraph", "MultiGraph", "MultiDiGraph"), _graph),
    "collections": dict.fromkeys(("OrderedDict", "defaultdict", "Counter", "deque"), _length),
}
"""By package and class: what describes it."""

_MORE_PLACES: Final = {"scipy": ("scipy.sparse",)}
"""Modules besides the package itself in which a class can be found."""

_known: Final[dict[int, tuple[type, Teller | None]]] = {
    **{id(kind): (kind, Teller(_length)) for kind in (list, tuple, dict, set, frozenset)},
    **{id(kind): (kind, Teller(_bytes)) for kind in (bytes, bytearray)},
    **{id(kind): (kind, None) for kind in (str, int, float, bool, complex, type(None))},
}
"""By the class's id: the class, and what describes it."""

_registered: Final[dict[int, tuple[type, Teller]]] = {}
"""The same of what a user registered."""
