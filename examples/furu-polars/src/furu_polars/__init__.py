"""Codecs for Polars frames and series: Parquet files that give back exactly what was stored."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

from furu_core.codecs import Codec

# Polars takes a while to import: who has a frame has imported it, and nobody else is to wait for it.
if TYPE_CHECKING:
    import polars as pl

__all__ = ["FrameCodec", "SeriesCodec"]


class FrameCodec(Codec):
    """Data frames, with all their dtypes: categories, nested columns, times with zones.

    Not kept: how a frame is cut into chunks, and which columns are flagged as sorted. Not taken:
    columns of Python objects, extension types, lazy frames, subclasses.
    """

    name = "polars"
    suffix = ".parquet"

    def accepts(self, value: object) -> bool:
        """Whether it is a frame whose columns Parquet has a form for."""
        if not _is_a("DataFrame", value):
            return False
        from furu_polars import _parquet

        return all(map(_parquet.has_form, cast("pl.DataFrame", value).dtypes))

    def save(self, value: pl.DataFrame, path: Path) -> None:
        """Write the file, and read it back to see that nothing is lost."""
        from furu_polars import _parquet

        _parquet.write(value, path)

    def load(self, path: Path, version: int) -> pl.DataFrame:
        """The frame in the file."""
        from furu_polars import _parquet

        return _parquet.read(path)


class SeriesCodec(Codec):
    """Series, as frames of one column; see `FrameCodec`."""

    name = "polars-series"
    suffix = ".parquet"

    def accepts(self, value: object) -> bool:
        """Whether it is a series that Parquet has a form for."""
        if not _is_a("Series", value):
            return False
        from furu_polars import _parquet

        return _parquet.has_form(cast("pl.Series", value).dtype)

    def save(self, value: pl.Series, path: Path) -> None:
        """Write the file, and read it back to see that nothing is lost."""
        from furu_polars import _parquet

        _parquet.write(value.to_frame(), path)

    def load(self, path: Path, version: int) -> pl.Series:
        """The series in the file."""
        from furu_polars import _parquet

        return _parquet.read(path).to_series()


def _is_a(name: str, value: object) -> bool:
    polars = sys.modules.get("polars")
    return polars is not None and type(value) is getattr(polars, name)
