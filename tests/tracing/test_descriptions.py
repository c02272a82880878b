"""What is recorded of data: rows, columns, size and schema, for each type through its own library, and never by running a user's code."""

from __future__ import annotations

import importlib.util
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Result
from trace_text import operations

import kedro_otel
from kedro_otel import guard
from kedro_otel.facts import data_description

NODES = """
import numpy as np, pandas as pd
from scipy import sparse

FRAME = {"id": [1, 2, 3], "name": ["a", "b", "c"], "price": [1.5, 2.5, 3.5]}

def frame(_): return pd.DataFrame(FRAME)
def dtyped(_): return pd.DataFrame({**FRAME, "id": [1.0, 2.0, 3.0]})
def same(x): return x
def series(_): return pd.Series([1, 2], name="s")
def array(_): return np.zeros((5, 2))
def vector(_): return np.zeros(7)
def sparse_(_): return sparse.csr_matrix(np.eye(4))
def arrow(_):
    import pyarrow as pa
    return pa.table(FRAME)
def listed(_): return [1, 2, 3, 4]
def mapped(_): return {"a": 1, "b": 2}
def text(_): return "hello"
def binary(_): return b"12345"
def polars_(_):
    import polars as pl
    return pl.DataFrame(FRAME)
"""
REGISTRY = """
from kedro.pipeline import node, pipeline
from . import nodes
from pathlib import Path
import json

def register_pipelines():
    made = []
    for name, function in json.loads(Path("cases.json").read_text()):
        made += [
            node(getattr(nodes, function), "params:name", name, name=f"make_{name}"),
            node(nodes.same, name, f"_{name}", name=f"use_{name}"),
        ]
    return {"__default__": pipeline(made)}
"""
TABLE = {"rows": 3, "columns": 3}
KINDS: dict[str, tuple[str, str | None, dict[str, int | None]]] = {
    "csv": ("frame", "pandas.CSVDataset", TABLE),
    "versioned": ("frame", "pandas.CSVDataset", TABLE),
    "parquet": ("frame", "pandas.ParquetDataset", TABLE),
    "feather": ("frame", "pandas.FeatherDataset", TABLE),
    "pandas_json": ("frame", "pandas.JSONDataset", TABLE),
    "xml": ("frame", "pandas.XMLDataset", TABLE),
    "excel": ("frame", "pandas.ExcelDataset", TABLE),
    "hdf": ("frame", "pandas.HDFDataset", TABLE),
    "generic": ("frame", "pandas.GenericDataset", TABLE),
    "pickled_frame": ("frame", "pickle.PickleDataset", TABLE),
    "in_memory": ("frame", None, TABLE),
    "types": ("dtyped", None, TABLE),
    "series": ("series", None, {"rows": 2, "columns": 1}),
    "pickled_series": ("series", "pickle.PickleDataset", {"rows": 2, "columns": 1}),
    "array": ("array", None, {"rows": 5, "columns": 2}),
    "vector": ("vector", None, {"rows": 7}),
    "pickled_array": ("array", "pickle.PickleDataset", {"rows": 5, "columns": 2}),
    "sparse": ("sparse_", None, {"rows": 4, "columns": 4}),
    "pickled_sparse": ("sparse_", "pickle.PickleDataset", {"rows": 4, "columns": 4}),
    "arrow": ("arrow", None, TABLE),
    "pickled_arrow": ("arrow", "pickle.PickleDataset", TABLE),
    "list": ("listed", None, {"rows": 4}),
    "json_list": ("listed", "json.JSONDataset", {"rows": 4}),
    "dict": ("mapped", None, {"rows": 2}),
    "json_dict": ("mapped", "json.JSONDataset", {"rows": 2}),
    "yaml": ("mapped", "yaml.YAMLDataset", {"rows": 2}),
    "text": ("text", None, {}),
    "text_file": ("text", "text.TextDataset", {}),
    "bytes": ("binary", None, {}),
    "polars": ("polars_", None, TABLE),
    "polars_csv": ("polars_", "polars.CSVDataset", TABLE),
}
"""Name → the function that makes it, its dataset (None for memory), and what is known of it."""

NEEDS = {
    "excel": "openpyxl", "hdf": "tables", "xml": "lxml", "polars": "polars", "polars_csv": "polars",
    "arrow": "pyarrow", "parquet": "pyarrow", "feather": "pyarrow", "pickled_arrow": "pyarrow",
}  # fmt: skip


def test_each_kind_is_described(
    project: Callable[..., Path], kedro: Callable[..., Result], home: Path
) -> None:
    """Rows and columns of a dataset are those of its data, at its save and at its load, and the file's size is the file's."""
    kinds = {
        name: kind
        for name, kind in KINDS.items()
        if name not in NEEDS or importlib.util.find_spec(NEEDS[name])
    }
    catalog = "".join(
        f"{name}:\n  type: {type_}\n  filepath: data/{name}.bin\n"
        + ("  versioned: true\n" if name == "versioned" else "")
        + ("  file_format: csv\n  save_args: {index: false}\n" if name == "generic" else "")
        + ("  save_args: {index: false}\n" if name == "xml" else "")
        + ("  key: x\n" if name == "hdf" else "")
        for name, (_, type_, _) in kinds.items()
        if type_
    ).replace("excel.bin", "excel.xlsx")
    cases = json.dumps([[name, function] for name, (function, _, _) in kinds.items()])
    path = project(nodes=NODES, registry=REGISTRY, catalog=catalog, files={"cases.json": cases})
    kedro("run", cwd=path, timeout=300)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for one in operations(home):
        if one.operation == "dataset" and "params" not in one.name:
            verb, _, name = one.name.partition(" ")
            found[verb, name] = one.attributes
    assert len(kinds) >= 25
    for name, (_, type_, expected) in kinds.items():
        for verb in ("save", "load"):
            of = found[verb, name]
            told = {
                "rows": of.get("kedro.dataset.row.count"),
                "columns": of.get("kedro.dataset.column.count"),
            }
            assert {key: value for key, value in told.items() if value is not None} == expected, (
                name,
                of,
            )
            assert ("kedro.dataset.schema.id" in of) == (
                name == "vector" or ("columns" in expected and "sparse" not in name)
            ), name
            if type_:
                file = next(file for file in (path / "data").rglob(f"{name}.*") if file.is_file())
                assert of["kedro.dataset.size"] == file.stat().st_size, name
                assert of["kedro.dataset.modified"] == pytest.approx(file.stat().st_mtime, abs=1e-5)
    schema = "kedro.dataset.schema.id"
    assert found["save", "csv"][schema] == found["save", "in_memory"][schema]
    assert found["save", "csv"][schema] != found["save", "types"][schema]
    assert found["save", "bytes"]["kedro.dataset.size"] == 5
    assert not [of for of in found.values() if "price" in json.dumps(of)]


class Trap:
    """What no look at data may do."""

    sprung: list[str] = []  # noqa: RUF012 -- one list for all


def hostile(chance: random.Random) -> Any:
    """Return an object whose every way of being asked springs the trap, or hangs, or lies."""

    def spring(name: str) -> Callable[..., Any]:
        def method(*_: Any, **__: Any) -> Any:
            Trap.sprung.append(name)
            if chance.random() < 0.3:
                raise RuntimeError(name)
            return 10**30

        return method

    words = [
        "len",
        "getattr",
        "getattribute",
        "iter",
        "eq",
        "bool",
        "str",
        "repr",
        "getitem",
        "call",
        "index",
        "dir",
        "hash",
    ]
    asked = [f"__{word}__" for word in words]
    members: dict[str, Any] = {
        name: spring(name) for name in chance.sample(asked, chance.randint(1, len(asked)))
    }
    members |= {
        name: property(spring(name))
        for name in ("shape", "columns", "index", "nbytes", "dtypes", "schema", "__dict__", "_mgr")
    }
    members["__module__"] = chance.choice(
        ("mine", "pandas", "pandas.core.frame", "numpy", "polars", "pyarrow.lib", "builtins", 3)
    )
    name = chance.choice(("Mine", "DataFrame", "ndarray", "Table", "Series"))
    bases = chance.choice(((), (), (list,), (dict,), (set,)))
    meta = type(
        "Meta",
        (type,),
        {key: spring(f"meta {key}") for key in ("__eq__", "__hash__", "__getattribute__", "__instancecheck__", "__subclasscheck__")},
    )  # fmt: skip
    kind = meta if chance.random() < 0.5 else type
    made = kind(name, bases, members)
    return object.__new__(made) if not bases else bases[0].__new__(made)


def test_hostile_objects_are_not_asked(full: bool) -> None:
    """Of an object of a user's class nothing is called, whatever it calls itself: a thousand such are described by nothing."""
    chance = random.Random(7)
    for _ in range(1000 if full else 60):
        data = hostile(chance)
        Trap.sprung.clear()
        assert data_description.describe(data) is None
        assert not Trap.sprung


@pytest.fixture
def registered() -> Any:
    """Undo what a test registers."""
    before = dict(data_description._registered), dict(data_description._known)
    yield
    for now, then in zip(
        (data_description._registered, data_description._known), before, strict=True
    ):
        now.clear()
        now.update(then)  # type: ignore[arg-type]


class Model:
    """A type of the user's."""


class Derived(Model):
    """One derived from it."""


def test_users_types_can_be_registered(registered: None, environment: dict[str, str]) -> None:
    """What a registered function tells of its type, and of derived ones, is recorded; what it tells that is none is not."""
    kedro_otel.describe.register(
        Model,
        lambda _: {"rows": 3, "columns": True, "size": -1, "schema": [("a", "int")], "more": "x"},
    )
    found = data_description.describe(Derived())
    assert found is not None
    assert found.pop("kedro.dataset.schema.id")
    assert found == {"kedro.dataset.row.count": 3}
    kedro_otel.describe.register(str, lambda text: {"rows": text.count("\n")})
    assert data_description.describe("a\nb\n") == {"kedro.dataset.row.count": 2}
    with pytest.raises(TypeError):
        kedro_otel.describe.register(Model(), len)  # type: ignore[arg-type]


def test_a_function_that_raises_or_is_slow_is_not_called_again(
    registered: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registered function that raises is counted and called once; a slow one is believed once."""
    monkeypatch.setattr(data_description, "SLOW_NS", 1_000_000)
    monkeypatch.delenv("KEDRO_OTEL_RAISE")
    calls = []

    def raising(_: Any) -> dict[str, Any]:
        calls.append("raising")
        raise ValueError

    def slow(_: Any) -> dict[str, Any]:
        import time

        calls.append("slow")
        time.sleep(0.002)
        return {"rows": 1}

    kedro_otel.describe.register(Model, raising)
    counted = guard.errors["Teller.ask"]
    assert [data_description.describe(Model()) for _ in range(3)] == [None] * 3
    assert guard.errors["Teller.ask"] == counted + 1
    kedro_otel.describe.register(Model, slow)
    assert data_description.describe(Model()) == {"kedro.dataset.row.count": 1}
    assert data_description.describe(Model()) is None
    assert calls == ["raising", "slow"]


READS = """
reads = []
def count(x):
    reads.append(1)
    return x
{}
from kedro_otel.facts.data_description import describe
print(describe(data), len(reads))
"""
LAZY = {
    "polars": "import polars as pl; data = pl.LazyFrame({'a': [1]}).map_batches(lambda f: count(f))",
    "dask": "import pandas as pd, dask.dataframe as dd; data = dd.from_map(lambda _: count(pd.DataFrame({'a': [1]})), range(2), meta={'a': 'int'})",
    "ibis": "import ibis; data = ibis.memtable({'a': [1]}).mutate(b=ibis._.a)",
}


@pytest.mark.parametrize("library", LAZY)
def test_lazy_data_are_not_computed(
    library: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    """A lazy frame is not computed to describe it: its source counts no read."""
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    done = run(sys.executable, "-W", "ignore", "-c", READS.format(LAZY[library]), cwd=tmp_path)
    assert done.out.split() == ["None", "0"]
