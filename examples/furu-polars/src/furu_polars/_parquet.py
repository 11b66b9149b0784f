"""Frames in Parquet files, and whether one is another to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl
from polars.exceptions import PanicException, PolarsError

from furu_core.codecs import NotExact

# Whatever is not listed is left to furu: objects have no form in Parquet, and extension types come
# back as themselves only where somebody has registered them.
_FLAT: Final = frozenset(
    {
        *(pl.Boolean, pl.String, pl.Binary, pl.Null, pl.Categorical, pl.Enum, pl.Decimal),
        *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Int128),
        *(pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.UInt128),
        *(pl.Float16, pl.Float32, pl.Float64),
        *(pl.Date, pl.Time, pl.Datetime, pl.Duration),
    }
)
_BITS: Final = {pl.Float16: pl.UInt16, pl.Float32: pl.UInt32, pl.Float64: pl.UInt64}


def has_form(dtype: pl.DataType) -> bool:
    """Whether Parquet may have a form for a column."""
    match dtype:
        case pl.List() | pl.Array():
            return _has_form(dtype.inner)
        case pl.Map():
            return _has_form(dtype.key) and _has_form(dtype.value)
        case pl.Struct():
            return all(_has_form(field.dtype) for field in dtype.fields)
        case _:
            return type(dtype) in _FLAT


def _has_form(inner: object) -> bool:
    return isinstance(inner, pl.DataType) and has_form(inner)


def write(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame.

    Raises:
        NotExact: the file would not give it back exactly.
    """
    try:
        # An open file, since Polars takes the text of a path for a pattern or an address.
        with path.open("wb") as file:
            frame.write_parquet(file)
    except (PolarsError, PanicException) as error:
        raise NotExact(f"Parquet has no form for it: {error}") from error
    if not same(frame, read(path)):
        raise NotExact("Parquet does not give this frame back exactly")


def read(path: Path) -> pl.DataFrame:
    """The frame in a file.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        with path.open("rb") as file:
            return pl.read_parquet(file)
    except (PolarsError, PanicException) as error:
        raise ValueError(f"no Parquet file that Polars can read: {error}") from error


def same(first: pl.DataFrame, second: pl.DataFrame) -> bool:
    """Whether two frames have the same columns, dtypes and values, -0.0 and kinds of NaN included."""
    return (
        first.shape == second.shape
        and first.schema == second.schema
        and all(map(_same, first.get_columns(), second.get_columns()))
    )


def _same(first: pl.Series, second: pl.Series) -> bool:
    if first.dtype != second.dtype or not first.equals(second, check_names=True):
        return False
    match first.dtype:
        case pl.Float16() | pl.Float32() | pl.Float64():
            bits = _BITS[type(first.dtype)]  # as floats, 0.0 equals -0.0
            return first.reinterpret(dtype=bits).equals(second.reinterpret(dtype=bits))
        case pl.List() | pl.Array():
            return _same(first.explode(), second.explode())
        case pl.Map():
            return _same(first.map.entries(), second.map.entries())
        case pl.Struct():
            return all(map(_same, first.struct.unnest(), second.struct.unnest()))
        case _:
            return True
