"""Tables come back to the last detail, as Parquet where it can."""

from __future__ import annotations

import datetime as dt
import decimal
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal, assert_index_equal

from furu_core import _codecs
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
    entry = _codecs.store(value, folder, folder.parent)
    assert entry.file in os.listdir(folder)
    return _codecs.load(entry, folder, folder.parent), entry.codec


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
