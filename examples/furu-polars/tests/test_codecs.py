"""What is stored comes back exactly, by the codecs alone and through a node of furu."""

from __future__ import annotations

import subprocess
import sys
import warnings
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from furu_polars import FrameCodec, SeriesCodec
from furu_polars._parquet import same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from furu_core import Furu, use_settings
from furu_core.codecs import NotExact

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from polars.testing.parametric import dataframes, series

FRAMES, SERIES = FrameCodec(), SeriesCodec()
FUNCTION_SCOPED = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
    max_examples=60,
)

ZOO = pl.DataFrame(
    {
        "whole": pl.Series([1, None, -3], dtype=pl.Int8),
        "large": pl.Series([1, None, 2**100], dtype=pl.Int128),
        "float": [0.0, -0.0, float("nan")],
        "half": pl.Series([1.5, None, float("-inf")], dtype=pl.Float16),
        "text": ["", None, "\U0001f332\x00"],
        "bytes": [b"", None, b"\x00\xff"],
        "zoned": pl.Series([datetime(2026, 1, 1, tzinfo=UTC), None, None]).dt.cast_time_unit("ns"),
        "span": pl.Series([timedelta(days=1), None, None], dtype=pl.Duration("ms")),
        "money": pl.Series([Decimal("1.10"), None, Decimal(-2)], dtype=pl.Decimal(10, 2)),
        "colour": pl.Series(["red", None, "red"], dtype=pl.Categorical),
        "size": pl.Series(["s", None, "l"], dtype=pl.Enum(["l", "m", "s"])),
        "list": [[1.0, -0.0], [], None],
        "pair": pl.Series([[1, 2], [None, 3], None], dtype=pl.Array(pl.Int64, 2)),
        "struct": [{"x": 1.0, "y": ["a"]}, {"x": None, "y": None}, None],
        "map": pl.Series([{"x": -0.0}, {}, None], dtype=pl.Map(pl.String, pl.Float64)),
        "nothing": [None, None, None],
    }
)


class Zoo(Furu[pl.DataFrame]):
    rows: int = 3

    def _create(self) -> pl.DataFrame:
        return ZOO.head(self.rows)


class Parts(Furu[dict]):
    def _create(self) -> dict:
        return {"train": ZOO, "test": (ZOO.head(1), ZOO["float"]), "name": "zoo"}


class Object(Furu[pl.Series]):
    def _create(self) -> pl.Series:
        return pl.Series([object()], dtype=pl.Object)


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path):
    with use_settings(path=tmp_path / "store"):
        yield


def round_trip(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    FRAMES.save(frame, path)
    return FRAMES.load(path, FRAMES.version)


def test_frames_of_all_dtypes_come_back(tmp_path: Path) -> None:
    assert FRAMES.accepts(ZOO)
    assert same(round_trip(ZOO, tmp_path / "zoo.parquet"), ZOO)


@FUNCTION_SCOPED
@given(frame=dataframes())
def test_any_frame_comes_back(frame: pl.DataFrame, tmp_path: Path) -> None:
    if "Extension(" in repr(frame.schema):
        assert not FRAMES.accepts(frame)
        return
    assert FRAMES.accepts(frame)
    back = round_trip(frame, tmp_path / "any.parquet")
    assert back.schema == frame.schema
    assert repr(back.to_dicts()) == repr(frame.to_dicts())  # tells -0.0 from 0.0, and 1 from True


@FUNCTION_SCOPED
@given(column=series(), name=st.text())
def test_any_series_comes_back_with_its_name(column: pl.Series, name: str, tmp_path: Path) -> None:
    column = column.alias(name)
    if "Extension(" in repr(column.dtype):
        assert not SERIES.accepts(column)
        return
    assert SERIES.accepts(column)
    SERIES.save(column, tmp_path / "any.parquet")
    back = SERIES.load(tmp_path / "any.parquet", SERIES.version)
    assert type(back) is pl.Series
    assert (back.name, back.dtype) == (name, column.dtype)
    assert repr(back.to_list()) == repr(column.to_list())


@FUNCTION_SCOPED
@given(
    values=st.lists(st.floats(width=64, allow_nan=True) | st.none(), max_size=50),
    copies=st.integers(1, 200),
)
def test_floats_come_back_to_the_bit(
    values: list[float | None], copies: int, tmp_path: Path
) -> None:
    column = pl.Series("x", values * copies, dtype=pl.Float64)
    back = round_trip(column.to_frame(), tmp_path / "floats.parquet")["x"]
    bits = {"dtype": pl.UInt64}
    assert back.reinterpret(**bits).equals(column.reinterpret(**bits))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (pl.Series([0.0]), pl.Series([-0.0])),
        (pl.Series([[0.0]]), pl.Series([[-0.0]])),
        (pl.Series([{"a": [0.0]}]), pl.Series([{"a": [-0.0]}])),
        (pl.Series([1], dtype=pl.Int8), pl.Series([1], dtype=pl.Int16)),
        (pl.Series([1, None]), pl.Series([1, 0])),
        (pl.Series("a", [1]), pl.Series("b", [1])),
        (
            pl.Series([{"a": 0.0}], dtype=pl.Map(pl.String, pl.Float64)),
            pl.Series([{"a": -0.0}], dtype=pl.Map(pl.String, pl.Float64)),
        ),
        (
            pl.Series(["a"], dtype=pl.Enum(["a", "b"])),
            pl.Series(["a"], dtype=pl.Enum(["b", "a"])),
        ),
    ],
)
def test_frames_that_differ_in_a_detail_are_told_apart(first: pl.Series, second: pl.Series) -> None:
    assert same(first.to_frame(), first.clone().to_frame())
    assert not same(first.to_frame(), second.to_frame())


@pytest.mark.parametrize(
    "value",
    [
        pl.Series([object()], dtype=pl.Object).to_frame(),
        pl.LazyFrame({"a": [1]}),
        [ZOO],
        {"a": [1]},
        None,
    ],
)
def test_what_has_no_form_in_parquet_is_left_to_others(value: object) -> None:
    assert not FRAMES.accepts(value)
    assert not SERIES.accepts(value)


def test_a_frame_that_would_not_come_back_is_refused_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pl, "read_parquet", lambda _file: ZOO.head(2))
    with pytest.raises(NotExact, match="does not give this frame back"):
        FRAMES.save(ZOO, tmp_path / "zoo.parquet")


def test_structs_without_fields_are_refused(tmp_path: Path) -> None:
    frame = pl.Series("empty", [{}], dtype=pl.Struct([])).to_frame()
    with pytest.raises(NotExact, match="has no form"):
        FRAMES.save(frame, tmp_path / "empty.parquet")


@pytest.mark.parametrize("kept", [0, 10, 200, -1])
def test_a_file_cut_short_is_called_damaged(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "zoo.parquet"
    FRAMES.save(ZOO, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="no Parquet file"):
        FRAMES.load(path, FRAMES.version)


def test_names_of_folders_that_look_like_patterns_change_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "year=2026" / "[a-z]*"
    folder.mkdir(parents=True)
    frame = round_trip(ZOO, folder / "zoo.parquet")
    assert same(frame, ZOO)


def test_a_node_returns_the_same_frame_the_first_time_and_ever_after() -> None:
    assert same(Zoo().get(), ZOO)
    assert same(Zoo().get(), ZOO)
    (file,) = Zoo().furu_dir.rglob(".furu.result.*")
    assert file.suffix == ".parquet"
    assert same(pl.read_parquet(file), ZOO)  # an open format: nobody needs furu to read it


def test_frames_within_a_result_have_files_of_their_own() -> None:
    Parts().get()
    back = Parts().get()
    assert same(back["train"], ZOO)
    assert same(back["test"][0], ZOO.head(1))
    assert back["test"][1].equals(ZOO["float"])
    assert type(back["test"]) is tuple
    assert len(list(Parts().furu_dir.rglob("*.parquet"))) == 3


def test_a_damaged_file_has_the_node_computed_again() -> None:
    Zoo().get()
    (file,) = Zoo().furu_dir.rglob(".furu.result.*")
    file.write_bytes(b"x" * file.stat().st_size)
    assert same(Zoo().get(), ZOO)


def test_another_process_gets_the_same_frame(tmp_path: Path) -> None:
    Zoo().get()
    (file,) = Zoo().furu_dir.rglob(".furu.result.*")
    code = (
        "import sys, furu_polars, pathlib\n"
        "assert 'polars' not in sys.modules, 'importing the codec must cost nothing'\n"
        "frame = furu_polars.FrameCodec().load(pathlib.Path(sys.argv[1]), 1)\n"
        "sys.stdout.write(repr((frame.schema, frame.to_dicts())))\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, file], capture_output=True, text=True, check=True
    )
    assert told.stdout == repr((ZOO.schema, ZOO.to_dicts()))
