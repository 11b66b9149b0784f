"""Results as data frames, and the columns that results of all types have."""

from __future__ import annotations

import dataclasses
import enum
import importlib.util
import json
import math
import subprocess
import sys
import threading
from collections import OrderedDict
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import furu_core
from furu_core import Furu
from furu_core._config import _value_types
from furu_core._tables import _facts
from furu_core._tables._columns import CLASS_TAGS
from furu_core.errors import FuruUsageError


class Colour(enum.Enum):
    RED = 1


class Flags(enum.Flag):
    A = 1
    B = 2


class Point(NamedTuple):
    x: float
    y: Any


@dataclasses.dataclass
class Scores:
    acc: float
    best: Any


RESULTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "number": (0.5, {"": 0.5}),
    "text": ("a:b", {"": "a:b"}),
    "none": (None, {"": None}),
    "dict": ({"acc": 0.5, "by": {"x": 1}}, {".acc": 0.5, ".by.x": 1}),
    "list": ([1, 2], {"": [1, 2]}),
    "tuple": ((0.5, ("a:b", 2)), {".0": 0.5, ".1.0": "a:b", ".1.1": 2}),
    "long tuple": (tuple(range(30)), {"": list(range(30))}),
    "named tuple": (Point(1.5, (1, 2)), {".x": 1.5, ".y.0": 1, ".y.1": 2}),
    "dataclass": (Scores(0.5, Point(1.0, None)), {".acc": 0.5, ".best.x": 1.0, ".best.y": None}),
    "int keys": ({1: 0.5, 2: 0.25}, {".1": 0.5, ".2": 0.25}),
    "two of one name": ({"a.b": 1, "a": {"b": 2}}, {"": {"a.b": 1, "a": {"b": 2}}}),
    "dotted keys": ({"val.acc": 1, "a": {"b": 2}}, {".val.acc": 1, ".a.b": 2}),
    "two of one text": ({1: 0.5, "1": 0.25}, {"": [[1, 0.5], ["1", 0.25]]}),
    "ordered": (OrderedDict(a=1), {"": [["a", 1]]}),
    "enum": ({"c": Colour.RED, "f": Flags.A | Flags.B}, {".c": "RED", ".f": ["A", "B", 0]}),
    "numpy": (
        {"f": np.float64(0.1), "h": np.float16(0.5), "i": np.int32(-3), "b": np.bool_(True)},
        {".f": 0.1, ".h": 0.5, ".i": -3, ".b": True},
    ),
    "numpy date": ({"d": np.datetime64("2026-01-01")}, {".d": "<<M8[D]>"}),
    "infinite": ({"x": float("inf"), "n": 1 << 1001}, {".x": float("inf"), ".n": 1 << 1001}),
    "exact": ([Decimal("1.10"), Fraction(1, 3)], {"": ["1.10", [1, 3]]}),
    "set": ({"s": {2, 1}}, {".s": [1, 2]}),
    "odd text": ({"\udc80": "\udc80"}, {".\\udc80": "\\udc80"}),
    "array": (np.zeros(3), {"": "<numpy>"}),
    "array inside": ({"acc": 0.5, "w": np.zeros(3)}, {".acc": 0.5, ".w": "<numpy>"}),
    "pickle": (int, {"": "type"}),
}


class Holder(Furu[Any]):
    what: str

    def _create(self) -> Any:
        return RESULTS[self.what][0]


class Cell(Furu[Any]):
    row: int
    seed: int = 0
    note: str | None = None

    def _create(self) -> Any:
        if self.row < 0:
            raise ValueError("negative")
        return {"n": self.row, "half": self.row / 2 + self.seed, "maybe": None if self.row else 1}


class Given(Furu[Any]):
    row: int
    seed: int = 0

    def _create(self) -> Any:
        raise NotImplementedError


class Tuned(Furu[int]):
    lr: float
    options: dict[str, int]
    seed: int = 0

    def _create(self) -> int:
        return self.seed


def dicts(*args: Any, **options: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = furu_core.frame(*args, as_="dicts", **options)
    return found


@pytest.mark.parametrize("what", sorted(set(RESULTS) - {"pickle"}))
@pytest.mark.usefixtures("store")
def test_results_of_all_types_have_columns(what: str) -> None:
    Holder(what=what).get()
    (row,) = dicts(Holder, everything=True)
    wanted = {f"result{name}": cell for name, cell in RESULTS[what][1].items()}
    found = {name: cell for name, cell in row.items() if name.partition(".")[0] == "result"}
    assert found == wanted
    assert list(map(type, found.values())) == list(map(type, wanted.values()))


def test_tags_of_values_that_name_their_class_are_known() -> None:
    assert set(_value_types._BY_CLASS_TAG) == CLASS_TAGS


@pytest.mark.usefixtures("store")
def test_a_pickle_is_told_and_never_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RESULTS, "pickled", (Exception("x"), {}))
    Holder(what="pickled").get()
    assert [row["result"] for row in dicts(Holder, columns=["result"])] == ["<pickle>"]


VARIED: dict[str, list[Any]] = {
    "dataclasses": [Scores(n / 2, Point(n, (n, [n]))) for n in range(3)],
    "other parts": [Scores(0.5, Point(1.0, None)), Scores(0.5, (1, 2)), Scores(1.0, {"a": 1})],
    "dicts": [{"a": n, "b": {"c": n, "d": (1, n)}} for n in range(3)],
    "other keys": [{"a": 1}, {"b": 1}, 7, None, [1], {"a": {"b": 2}}],
    "one name": [{"a.b": n, "a": {"b": n + 3}, "c.d": n, "c": n} for n in range(3)],
    "one name here and there": [{"a.b": n, "a": {"b": 7} if n else 2} for n in range(3)],
    "the same under one name": [{"a.b": n, "a": {"b": 7}} for n in range(3)],
    "tuples": [(n, {"x": n}) for n in range(3)],
    "long tuples": [(1,) * n for n in (1, 19, 30)],
    "files": [{"a": 1, "w": np.zeros(2)}, np.zeros(2), 1],
    "numbers": [np.float64(0.5), 0.25, 1, True],
}


class Each(Furu[Any]):
    kind: str
    n: int
    layers: tuple[int, ...] = ()
    data: Holder | None = None

    def _create(self) -> Any:
        return VARIED[self.kind][self.n]


@pytest.mark.parametrize("kind", VARIED)
def test_the_index_gives_the_same_columns_as_the_records(
    store: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(len(VARIED[kind])):
        holder = Holder(what="number") if n else None
        Each(kind=kind, n=n, layers=(n, 2), data=holder).get()
    read = dicts(Each, everything=True)
    assert not list(store.glob("index/**/Each.json"))
    monkeypatch.setattr(_facts, "_FEW", 0)
    monkeypatch.setattr(_facts, "_SETTLED_SECS", -1.0)
    assert len(dicts(Each)) == len(read)
    assert list(store.glob("index/**/Each.json"))
    monkeypatch.setattr(_facts, "_of_result", None)
    indexed = dicts(Each, everything=True)
    assert [list(row.items()) for row in indexed] == [list(row.items()) for row in read]
    assert json.dumps(indexed, default=repr) == json.dumps(read, default=repr), "types as well"


@pytest.mark.usefixtures("store")
def test_rows_are_of_objects_in_their_order_of_a_class_of_its_name_or_of_all() -> None:
    cells = [Cell(row=row) for row in (3, 1, 2)]
    for cell in cells:
        cell.get()
    Holder(what="number").get()
    assert [row["row"] for row in dicts(cells)] == [3, 1, 2]
    assert [row["row"] for row in dicts({"a": cells[0], "b": [cells[1], Cell(row=9)]})] == [3, 1]
    assert [row["row"] for row in dicts(cells, sort="-row", top=2)] == [3, 2]
    assert [row["row"] for row in dicts(Cell.stored(), sort="row")] == [1, 2, 3]
    for what in (Cell, "Cell", cells[0].furu_hash, f"Cell({cells[0].furu_hash[:6]})"):
        assert {row["row"] for row in dicts(what, columns=["row"])} >= {3}
    assert [row["row"] for row in dicts(cells[0])] == [3], "of one row, all fields are shown"
    assert len(dicts()) == 4
    assert list(dicts(Cell)[0]) == [
        "row", "result.n", "result.half", "result.maybe", "took", "peak", "node",
    ]  # fmt: skip
    assert dicts([]) == []


@pytest.mark.usefixtures("store")
def test_frames_are_typed() -> None:
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    for row in range(3):
        Cell(row=row, note=None if row else "x").get()
    frame = furu_core.frame(Cell)
    assert isinstance(frame, pandas.DataFrame)
    kinds = {name: str(kind) for name, kind in frame.dtypes.items()}
    assert kinds["row"] == "int64"
    assert (kinds["result.half"], kinds["result.maybe"]) == ("float64", "Int64")
    assert frame.loc[frame.row == 2, "result.half"].item() == 1.0
    assert int(frame["result.maybe"].isna().sum()) == 2
    frame = furu_core.frame(Cell, as_="polars")
    assert isinstance(frame, polars.DataFrame)
    assert frame.schema["result.maybe"] == polars.Int64
    assert frame.sort("row")["note"].to_list() == ["x", None, None]
    for what in ("text", "number", "list", "infinite"):
        Holder(what=what).get()
    for kind in ("pandas", "polars"):
        assert len(furu_core.frame(Holder, everything=True, as_=kind)) == 4


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[1], [0.5]], [[1.0], [0.5]]),
        ([1, 0.5], [1.0, 0.5]),
        ([[1, 2], []], [[1, 2], []]),
        ([1, True], ["1", "true"]),
        ([[True], [2]], ["[true]", "[2]"]),
        ([[{"a": 1}], [{"b": 2}]], ['[{"a": 1}]', '[{"b": 2}]']),
        ([1, 1 << 100], ["1", str(1 << 100)]),
    ],
)
def test_polars_changes_no_value_whatever_types_a_column_has(
    values: list[Any], expected: list[Any]
) -> None:
    pytest.importorskip("polars")
    for row, value in enumerate(values):
        Given(row=row).put(value)
    found = furu_core.frame(Given, columns=["result"], sort="row", as_="polars")
    found = found["result"].to_list()
    assert repr(found) == repr(expected)


@pytest.mark.usefixtures("store")
def test_without_pandas_and_polars_rows_are_dicts(monkeypatch: pytest.MonkeyPatch) -> None:
    Cell(row=1).get()
    find = importlib.util.find_spec
    missing = {"pandas", "polars"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in missing else find(name)
    )
    assert furu_core.frame(Cell)[0]["result.n"] == 1
    with pytest.raises(FuruUsageError, match="pandas is not installed"):
        furu_core.frame(Cell, as_="pandas")
    missing.remove("polars")
    assert type(furu_core.frame(Cell)).__module__.startswith("polars")


@pytest.mark.usefixtures("store")
def test_what_means_nothing_is_refused_with_what_does() -> None:
    Cell(row=1).get()
    for wrong, message in [
        ({"what": "Sell"}, "did you mean Cell"),
        ({"what": 3}, "no Furu object"),
        ({"what": Cell, "as_": "panda"}, "did you mean 'pandas'"),
        ({"what": Cell, "state": "fail"}, "did you mean 'failed'"),
        ({"what": Cell, "sort": "-rows"}, "did you mean 'row'"),
        ({"what": Cell, "mean_over": "sed"}, "did you mean 'seed'"),
        ({"what": Cell, "where": "row"}, "no condition"),
        ({"what": Cell, "since": "soon"}, "no time"),
    ]:
        with pytest.raises(FuruUsageError, match=message):
            furu_core.frame(**wrong)


@pytest.mark.usefixtures("store")
def test_means_are_of_the_nodes_that_have_all_other_fields_in_common() -> None:
    for row in (1, 2):
        for seed in range(row + 1):
            Cell(row=row, seed=seed).get()
    assert dicts(Cell, columns="row", where="seed=2") == [{"row": 2}]
    assert dicts(Cell, mean_over=["seed"], columns=["row", "result.half", "nodes"]) == [
        {"row": 1, "result.half": 1.0, "nodes": 2},
        {"row": 2, "result.half": 2.0, "nodes": 3},
    ]
    (first, second) = dicts(Cell, mean_over="seed", sort="-result.half")
    assert (first["result.half.std"], second["result.n.std"]) == (1.0, 0.0)
    (only, _) = dicts(Cell, mean_over="seed", where="seed=0")
    assert (only["result.half.std"], only["nodes"]) == (None, 1)


@pytest.mark.usefixtures("store")
def test_a_mean_tells_of_how_many_numbers_it_is_and_is_of_one_config() -> None:
    for seed, value in enumerate([1.0, None, 3.0]):
        Given(row=0, seed=seed).put(value)
    (found,) = dicts(Given, mean_over="seed")
    assert (found["result"], found["result.count"], found["nodes"]) == (2.0, 2, 3)
    for seed, value in enumerate([1.0, 3.0]):
        Given(row=1, seed=seed).put({"acc": value, "acc.std": 100})
    (found,) = dicts(Given, mean_over="seed", where="row=1")
    assert (found["result.acc.std"], found["furu.result.acc.std"]) == (100.0, math.sqrt(2))
    Given(row=1).delete(), Given(row=1, seed=1).delete(), Given(row=0).delete()
    Given(row=0).put(10**400)
    (found,) = dicts(Given, mean_over="seed")
    assert math.isnan(found["result"])
    for seed, lr, options in [
        (0, math.nan, {"a": 1, "b": 2}),
        (1, math.nan, {"b": 2, "a": 1}),
        (2, 0.0, {}),
        (3, -0.0, {}),
    ]:
        Tuned(seed=seed, lr=lr, options=options).get()
    rows = dicts(Tuned, mean_over="seed")
    assert [(row["result"], row["nodes"]) for row in rows] == [(2.0, 1), (3.0, 1), (0.5, 2)]
    rows = dicts(Tuned, where="options={}", sort="seed")
    assert repr([row["lr"] for row in rows]) == "[0.0, -0.0]"


@pytest.mark.usefixtures("store")
def test_a_number_that_python_writes_in_no_digits_is_a_cell_all_the_same() -> None:
    for row, value in enumerate([10**4400, 1, {"big": -(10**4400)}]):
        Given(row=row).put(value)
    found = dicts(Given, sort="result", columns=["result", "result.big"])
    assert found[0]["result"] == 1
    assert found[1]["result"] == hex(10**4400)
    assert found[2]["result.big"] == hex(-(10**4400))


@pytest.mark.usefixtures("store")
def test_tables_are_made_while_others_write() -> None:
    done = threading.Event()
    errors: list[BaseException] = []

    def write() -> None:
        try:
            for row in range(60):
                Cell(row=row).get()
                if row % 3 == 0:
                    Cell(row=row).delete()
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=write)
    thread.start()
    counts = []
    while not done.is_set():
        found = dicts(Cell)
        assert all(row["result.n"] % 1 == 0 for row in found)
        counts.append(len(found))
    thread.join()
    assert not errors
    assert sorted(row["result.n"] for row in dicts("Cell")) == [n for n in range(60) if n % 3]
    assert len(counts) > 1


def test_a_frame_imports_pandas_late(program: Any) -> None:
    script = (
        "import sys, furu_core\nfuru_core.frame\nprint({'pandas', 'polars'} & set(sys.modules))"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
