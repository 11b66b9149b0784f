"""Tables come back to the last detail, as Parquet where it can."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kept_results import load, store
from pandas.testing import assert_frame_equal, assert_index_equal, assert_series_equal

from furu_core._codecs._same_frame import same_frame

DAYS = pd.to_datetime(["2020-01-01", "2021-06-01"])


def _with_attrs() -> pd.DataFrame:
    frame = pd.DataFrame({"a": [1]})
    frame.attrs["unit"] = ("m",)
    return frame


FRAMES: dict[str, tuple[pd.DataFrame, str]] = {
    "numbers": (pd.DataFrame({"a": [1, 2], "b": [0.5, np.nan], "c": [True, False]}), "parquet"),
    "small numbers": (
        pd.DataFrame({"a": np.array([1, 2], "i1"), "b": np.array([1, 2], "f4")}),
        "parquet",
    ),
    "minus zero": (pd.DataFrame({"a": [-0.0, 0.0, np.inf]}), "parquet"),
    "text": (pd.DataFrame({"a": ["x", None, "ä"]}), "parquet"),
    "nullable": (pd.DataFrame({"a": pd.array([1, None], "Int64")}), "parquet"),
    "dates": (pd.DataFrame({"a": DAYS, "b": DAYS.as_unit("ns")}), "parquet"),
    "time zone": (pd.DataFrame({"a": DAYS.tz_localize("Europe/Oslo")}), "parquet"),
    "fixed offset": (
        pd.DataFrame({"a": DAYS.tz_localize(dt.timezone(dt.timedelta(hours=1)))}),
        "either",
    ),
    "spans": (pd.DataFrame({"a": DAYS - DAYS[0]}), "parquet"),
    "categories": (
        pd.DataFrame({"a": pd.Categorical(["u", "v"], ["v", "u", "w"], ordered=True)}),
        "parquet",
    ),
    "number categories": (pd.DataFrame({"a": pd.Categorical([3, 1])}), "either"),
    "periods": (pd.DataFrame({"a": pd.period_range("2020", periods=2, freq="M")}), "parquet"),
    "intervals": (pd.DataFrame({"a": pd.interval_range(0, 2)}), "either"),
    "named index": (pd.DataFrame({"a": [1, 2]}, index=pd.Index(["x", "y"], name="k")), "parquet"),
    "shifted range": (pd.DataFrame({"a": [1, 2]}, index=pd.RangeIndex(4, 8, 2)), "parquet"),
    "levels": (
        pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)])),
        "either",
    ),
    "dates with frequency": (
        pd.DataFrame({"a": [1, 2]}, index=pd.date_range("2020", periods=2, freq="D")),
        "pickle",
    ),
    "column levels": (
        pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])),
        "either",
    ),
    "int columns": (pd.DataFrame({1: [1], 2: [2]}), "either"),
    "mixed columns": (pd.DataFrame({1: [1], "x": [2]}), "pickle"),
    "twice the same column": (pd.DataFrame([[1, 2]], columns=["a", "a"]), "pickle"),
    "named columns": (pd.DataFrame([[1]], columns=pd.Index(["a"], name="cols")), "either"),
    "lists": (pd.DataFrame({"a": [[1], [2, 3]]}), "pickle"),
    "mixed": (pd.DataFrame({"a": [1, "x"]}), "pickle"),
    "1 and 1.0": (pd.DataFrame({"a": pd.Series([1, 1.0], dtype=object)}), "pickle"),
    "None and nan": (pd.DataFrame({"a": pd.Series([None, np.nan, "x"], dtype=object)}), "pickle"),
    "decimals": (pd.DataFrame({"a": [decimal.Decimal("1.10"), decimal.Decimal(2)]}), "either"),
    "plain dates": (pd.DataFrame({"a": [dt.date(2020, 1, 1)]}), "either"),
    "complex": (pd.DataFrame({"a": [1j]}), "pickle"),
    "sparse": (pd.DataFrame({"a": pd.arrays.SparseArray([0, 1])}), "pickle"),
    "surrogate": (pd.DataFrame({"a": pd.Series(["\ud800"], dtype=object)}), "pickle"),
    "no rows": (pd.DataFrame({"a": np.array([], "f8"), "b": np.array([], "i2")}), "parquet"),
    "nothing": (pd.DataFrame(), "either"),
    "only an index": (pd.DataFrame(index=pd.Index([1, 2])), "either"),
    "attributes": (_with_attrs(), "pickle"),
    "flags": (pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False), "pickle"),
}


def round_trip(value: Any, tmp_path: Path) -> tuple[Any, str]:
    folder = tmp_path / "node" / ".furu"
    folder.mkdir(parents=True)
    stored = store(value, folder, folder.parent)
    assert stored.value or stored.entry.file in os.listdir(folder)
    return load(stored, folder, folder.parent), stored.entry.codec


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_comes_back_exactly(name: str, tmp_path: Path) -> None:
    frame, codec = FRAMES[name]
    before = frame.copy()
    back, found = round_trip(frame, tmp_path)
    assert type(back) is pd.DataFrame
    assert_frame_equal(back, frame, check_exact=True, check_freq=True, check_flags=True)
    assert_index_equal(back.columns, frame.columns, exact=True)
    assert_index_equal(back.index, frame.index, exact=True)
    for place in range(frame.shape[1]):
        assert back.dtypes.iloc[place] == frame.dtypes.iloc[place]
        if frame.dtypes.iloc[place].kind == "O":
            types = [type(item) for item in frame.iloc[:, place]]
            assert [type(item) for item in back.iloc[:, place]] == types
    assert back.attrs == frame.attrs
    assert codec in (found, "either")
    assert_frame_equal(frame, before)


@pytest.mark.parametrize("name", [name for name, (_, codec) in FRAMES.items() if codec != "pickle"])
def test_a_loaded_frame_can_be_written_to(name: str, tmp_path: Path) -> None:
    back, _ = round_trip(FRAMES[name][0], tmp_path)
    for place in range(back.shape[1] if len(back) else 0):
        back.iloc[0, place] = back.iloc[-1, place]


@pytest.mark.parametrize(
    ("series", "codec"),
    [
        (pd.Series([1.5, None], name="loss"), "parquet-series"),
        (pd.Series(["a", "b"], index=[3, 1]), "parquet-series"),
        (pd.Series([1], name=("a", 1)), "pickle"),
        (pd.Series([1], name="\ud800"), "parquet-series"),
        (pd.Series([1, "x"]), "pickle"),
    ],
)
def test_a_series_comes_back_exactly(series: pd.Series[Any], codec: str, tmp_path: Path) -> None:
    back, found = round_trip(series, tmp_path)
    pd.testing.assert_series_equal(back, series, check_exact=True, check_freq=True)
    assert type(back.name) is type(series.name)
    assert found == codec


def test_frames_lie_beside_plain_values(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2]})
    back, codec = round_trip({"history": frame, "best": (1, 0.5)}, tmp_path)
    assert_frame_equal(back["history"], frame)
    assert back["best"] == (1, 0.5)
    assert codec == "json"


def test_an_index_by_itself_is_pickled(tmp_path: Path) -> None:
    index = pd.date_range("2020", periods=3, freq="D")
    back, codec = round_trip(index, tmp_path)
    assert_index_equal(back, index, exact=True)
    assert back.freq == index.freq
    assert codec == "pickle"


def test_the_comparison_sees_what_pandas_equality_overlooks() -> None:
    objects = pd.DataFrame({"a": pd.Series([1], dtype=object)})
    floats = pd.DataFrame({"a": pd.Series([1.0], dtype=object)})
    assert not same_frame(objects, floats)
    plus, minus = pd.DataFrame({"a": [0.0]}), pd.DataFrame({"a": [-0.0]})
    assert not same_frame(plus, minus)
    assert same_frame(plus, plus.copy())


def _arrays(rows: int) -> dict[str, Any]:
    """An array of each kind that a column or an index may have, of 0 or of 3 values."""
    made: dict[str, Any] = {}
    for dtype in (
        "i1",
        "i2",
        "i4",
        "i8",
        "u1",
        "u2",
        "u4",
        "u8",
        "f2",
        "f4",
        "f8",
        "c8",
        "c16",
        "?",
    ):
        made[f"numpy {dtype}"] = np.array([0, 1, 1], dtype)
    for unit in ("s", "ms", "us", "ns"):
        days = pd.DatetimeIndex(["2020-01-01", None, "2021-06-01"]).as_unit(unit)
        made[f"datetime {unit}"] = days.array
        made[f"datetime {unit} UTC"] = days.tz_localize("UTC").array
        made[f"timedelta {unit}"] = (days - days[0]).array
    made["datetime Oslo"] = days.tz_localize("Europe/Oslo").array
    made["datetime +01:30"] = days.tz_localize(dt.timezone(dt.timedelta(minutes=90))).array
    for freq in ("Y", "Q", "M", "D", "h", "s"):
        made[f"period {freq}"] = pd.period_range("2020", periods=3, freq=freq).array
    for closed in ("left", "right", "both", "neither"):
        made[f"interval {closed}"] = pd.interval_range(0, 3, closed=closed).array
    made["interval float"] = pd.cut([0.1, 0.6, 0.9], [0, 0.5, 1]).categories.take([0, 1, 1]).array
    made["interval datetime"] = pd.interval_range(pd.Timestamp("2020"), periods=3).array
    for dtype in ("Int8", "Int64", "UInt16", "Float32", "Float64", "boolean", "string"):
        text = dtype == "string"
        made[f"nullable {dtype}"] = pd.array(["a", None, "b"] if text else [1, None, 0], dtype)
    made["str"] = pd.array(["a", "b", "ä"], "str")
    kinds = {
        "text": ["v", "u", "v"], "int": [3, 1, 3], "float": [0.5, 1.5, 0.5], "bool": [True, False, True],
        "datetime": [DAYS[0], DAYS[1], DAYS[0]], "missing": ["u", None, "v"],
        "interval": pd.cut([1, 5, 9], [0, 4, 8, 12]), "period": pd.period_range("2020", periods=3, freq="M"),
        "date": [dt.date(2020, 1, 1), dt.date(2020, 1, 2), dt.date(2020, 1, 1)],
        "timedelta": DAYS[[0, 1, 0]] - DAYS[0],
        "mixed": [1, "x", 1],
    }  # fmt: skip
    for kind, values in kinds.items():
        made[f"category {kind}"] = pd.Categorical(values)
    made["category ordered"] = pd.Categorical(["u", "v", "u"], ["v", "u", "w"], ordered=True)
    made["sparse"] = pd.arrays.SparseArray([0, 1, 0])
    objects = {
        "text": ["a", None, "b"], "mixed": [1, "x", None], "int and float": [1, 1.0, 2],
        "big int": [2**70, -(2**70), 1], "bytes": [b"a", b"", None], "None": [None] * 3,
        "None and nan": [None, np.nan, "x"], "date": [dt.date(2020, 1, 1), None, dt.date(1, 1, 1)],
        "time": [dt.time(1), dt.time(2, 3), None], "decimal": [decimal.Decimal("1.10"), decimal.Decimal(2), None],
        "bool": [True, None, False], "Path": [Path("a"), Path("b"), None], "surrogate": ["\ud800", "a", None],
        "datetime": [DAYS[0].to_pydatetime(), dt.datetime.fromisoformat("9999-01-01"), None], "timestamp": [*DAYS, None],
        "numpy": [np.int8(1), np.float32(2), None], "tuple": [(1, 2), (3,), None], "list": [[1], [2, 3], []],
        "dict": [{"a": 1}, {"b": 2}, {}], "array": [np.arange(2), np.arange(3), None], "set": [{1}, {2}, None],
        "nested": [[[1], []], [], None], "uuid": [uuid.UUID(int=1), uuid.UUID(int=2), None],
        "complex": [1j, 2j, None], "enum": [*FileKind, None],
    }  # fmt: skip
    for kind, values in objects.items():
        made[f"object {kind}"] = pd.array(_objects(values), object)
    typed: dict[pa.DataType, list[Any]] = {
        pa.int8(): [1, None, 2], pa.uint64(): [1, None, 2**63], pa.float16(): [np.float16(1), None, np.float16(2)],
        pa.float64(): [1.0, None, 2.0], pa.bool_(): [True, None, False],
        pa.string(): ["a", None, "b"], pa.large_string(): ["a", None, "b"], pa.binary(): [b"a", None, b""],
        pa.binary(1): [b"a", None, b"b"], pa.date32(): [dt.date(2020, 1, 1), None, dt.date(2021, 1, 1)],
        pa.date64(): [dt.date(2020, 1, 1), None, dt.date(2021, 1, 1)],
        pa.time32("s"): [dt.time(1), None, dt.time(2)], pa.time64("ns"): [dt.time(1), None, dt.time(2)],
        pa.timestamp("s"): [DAYS[0], None, DAYS[1]], pa.timestamp("us", "UTC"): [DAYS[0], None, DAYS[1]],
        pa.duration("ms"): [dt.timedelta(1), None, dt.timedelta(2)],
        pa.decimal128(5, 2): [decimal.Decimal("1.10"), None, decimal.Decimal("2.00")],
        pa.list_(pa.int64()): [[1], None, []], pa.large_list(pa.string()): [["a"], None, []],
        pa.list_(pa.int64(), 1): [[1], None, [2]], pa.map_(pa.string(), pa.int64()): [[("a", 1)], None, []],
        pa.struct([("a", pa.int64())]): [{"a": 1}, None, {"a": None}],
        pa.list_(pa.struct([("a", pa.list_(pa.int8()))])): [[{"a": [1]}], None, []],
        pa.dictionary(pa.int32(), pa.string()): ["a", None, "b"], pa.null(): [None, None, None],
    }  # fmt: skip
    for kind, values in typed.items():
        chunks = pa.chunked_array(
            [pa.array(values, pa.string() if pa.types.is_dictionary(kind) else kind)]
        )
        if pa.types.is_dictionary(kind):
            chunks = chunks.dictionary_encode()
        made[f"arrow {kind}"] = pd.arrays.ArrowExtensionArray(chunks)
    return {kind: array[:rows] for kind, array in made.items()}


class FileKind(enum.Enum):
    """Values that Arrow does not know."""

    LEFT = "l"
    RIGHT = "r"


def _objects(values: list[Any]) -> Any:
    made = np.empty(len(values), object)
    for place, value in enumerate(values):
        made[place] = value
    return made


def _tables() -> Iterator[tuple[str, Any]]:
    """Frames and series: each kind of array as a column, as a series and as an index, full and empty."""
    for rows in (3, 0):
        for kind, array in _arrays(rows).items():
            dtype = array.dtype  # else pandas would take text for its own dtype
            series = pd.Series(array, name="a", dtype=dtype)
            yield f"{kind}, {rows} rows, column", series.to_frame()
            yield f"{kind}, {rows} rows, series", series
            try:
                index = pd.Index(array, name="k", dtype=dtype)
            except (TypeError, NotImplementedError):
                continue  # pandas has no index of it
            yield f"{kind}, {rows} rows, index", pd.DataFrame({"a": np.arange(rows)}, index=index)
            if rows:
                yield f"{kind}, names of columns", pd.DataFrame(np.ones((2, rows)), columns=index)
    ones = np.ones((2, 2))
    ages = pd.Series([20, 40, 60])
    yield "crosstab", pd.crosstab(pd.Series(["y", "n", "y"]), pd.cut(ages, [0, 30, 50, 99]))
    yield "groups", ages.groupby(pd.cut(ages, [0, 30, 99]), observed=False).describe()
    yield "twice a name", pd.DataFrame(ones, columns=["a", "a"])
    yield "twice a label", pd.DataFrame(ones, index=["a", "a"])
    yield (
        "twice a level",
        pd.DataFrame({"a": [1]}, index=pd.MultiIndex.from_tuples([(1, 2)], names=["k", "k"])),
    )
    yield "index and column of one name", pd.DataFrame({"k": [1]}, index=pd.Index([2], name="k"))
    yield "a column like a nameless index", pd.DataFrame({"__index_level_0__": [1]}, index=["x"])
    yield "names of two types", pd.DataFrame(ones, columns=[1, "1"])
    yield "a tuple for a name", pd.Series([1], name=("a", 1))


def _is_known_to_pandas(table: Any) -> bool:
    """Whether this release can compare the table with itself: 2.1 does not know each type of Arrow."""
    frame = table if table.ndim == 2 else table.to_frame()
    levels = [level for axis in frame.axes for level in getattr(axis, "levels", [axis])]
    try:
        return all(dtype.type for dtype in (*frame.dtypes, *(level.dtype for level in levels)))
    except NotImplementedError:
        return False


def test_every_frame_and_series_is_stored_in_some_form_and_comes_back_equal(tmp_path: Path) -> None:
    tables = [(name, table) for name, table in _tables() if _is_known_to_pandas(table)]
    assert len(tables) >= 500
    codecs: dict[str, str] = {}
    for number, (name, table) in enumerate(tables):
        try:
            back, codec = round_trip(table, tmp_path / str(number))
            assert type(back) is type(table)
            compare: Any = (
                assert_frame_equal if type(table) is pd.DataFrame else assert_series_equal
            )
            compare(back, table, check_exact=True, check_freq=True, check_flags=True)
            first, second = (one.to_frame() if one.ndim == 1 else one for one in (back, table))
            for axis in (0, 1):
                assert_index_equal(first.axes[axis], second.axes[axis], exact=True)
            assert list(map(repr, first.dtypes)) == list(map(repr, second.dtypes))
        except Exception as error:
            error.add_note(f"the table: {name}")
            raise
        codecs[name] = codec
    assert set(codecs.values()) == {"parquet", "parquet-series", "pickle"}
    usual = ("numpy f8", "numpy i8", "numpy ?", "datetime us", "nullable Int64", "str", "period M")
    for kind in usual:  # an open format where there is one
        assert codecs[f"{kind}, 3 rows, column"] == "parquet"
        assert codecs[f"{kind}, 3 rows, series"] == "parquet-series"


def test_a_frame_that_parquet_cannot_give_back_lies_in_a_dict_as_well(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": pd.arrays.ArrowExtensionArray(pa.chunked_array([[{"x": 1}]]))})
    back, codec = round_trip({"table": frame, "best": 1}, tmp_path)
    assert_frame_equal(back["table"], frame)
    assert codec == "pickle"


def test_a_full_disk_is_no_reason_to_pickle_a_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: Any, **_options: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        round_trip(pd.DataFrame({"a": [1]}), tmp_path)
