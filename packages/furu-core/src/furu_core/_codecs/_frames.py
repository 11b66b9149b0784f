"""pandas tables as Parquet files, where reading back shows that nothing is lost."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from furu_core._codecs._codec import Codec
from furu_core._forms._tagged_json import NotExact

if TYPE_CHECKING:
    import pandas as pd

_NAME: Final = b"furu.name"
_NAMELESS: Final = b"furu.nameless"
_COLUMN: Final = "value"


class FrameCodec(Codec):
    """Data frames that Parquet gives back exactly: index, dtypes, names and missing values."""

    name = "parquet"
    suffix = ".parquet"

    def accepts(self, value: object) -> bool:
        pandas: Any = sys.modules.get("pandas")  # imported already if the value is a frame
        return pandas is not None and type(value) is pandas.DataFrame

    def save(self, value: pd.DataFrame, path: Path) -> None:
        with _not_exact_if_it_fails():
            _write(value, path, {})
            same = _same(value, self.load(path, self.version))
        if not same:
            raise NotExact("Parquet does not give this data frame back exactly")

    def load(self, path: Path, version: int) -> pd.DataFrame:
        return _read(path)[0]


class SeriesCodec(Codec):
    """Series, as data frames of one column."""

    name = "parquet-series"
    suffix = ".parquet"

    def accepts(self, value: object) -> bool:
        pandas: Any = sys.modules.get("pandas")
        return (
            pandas is not None
            and type(value) is pandas.Series
            and (value.name is None or type(value.name) is str)  # type: ignore[attr-defined]
        )

    def save(self, value: pd.Series[Any], path: Path) -> None:
        if value.attrs or not value.flags.allows_duplicate_labels:
            raise NotExact("Parquet does not keep the attributes of a series")
        about = (
            {_NAMELESS: b""}
            if value.name is None
            else {_NAME: str(value.name).encode("utf-8", "surrogatepass")}
        )
        with _not_exact_if_it_fails():
            _write(value.to_frame(_COLUMN), path, about)
            back = self.load(path, self.version)
            same = _same(value.to_frame(_COLUMN), back.to_frame(_COLUMN))
        if not same:
            raise NotExact("Parquet does not give this series back exactly")

    def load(self, path: Path, version: int) -> pd.Series[Any]:
        frame, about = _read(path)
        name = None if _NAMELESS in about else about[_NAME].decode("utf-8", "surrogatepass")
        return frame[_COLUMN].rename(name)


def _same(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    from furu_core._codecs._same_frame import same_frame  # most processes store no tables

    return same_frame(first, second)


@contextmanager
def _not_exact_if_it_fails() -> Iterator[None]:
    try:
        yield
    except NotExact:
        raise
    except Exception as error:
        # On frames that they do not support, pandas and Arrow raise errors of many kinds, some only
        # when reading back; an error is the disk's only if it has an `errno`.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise NotExact(f"Parquet has no form for it: {error}") from error


def _write(frame: pd.DataFrame, path: Path, about: dict[bytes, bytes]) -> None:
    if not frame.columns.is_unique or str(frame.columns.inferred_type).startswith("mixed"):
        raise NotExact("Parquet needs columns with distinct names of one type")
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise NotExact("pyarrow is not installed") from error
    table = pa.Table.from_pandas(frame)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **about})
    with path.open("wb") as file:
        pq.write_table(table, file)


def _read(path: Path) -> tuple[pd.DataFrame, dict[bytes, bytes]]:
    import pandas as pd
    import pyarrow.parquet as pq

    with path.open("rb") as file:
        table = pq.read_table(file)
    frame: pd.DataFrame = table.to_pandas()
    if any(isinstance(dtype, pd.CategoricalDtype) for dtype in frame.dtypes):
        frame = frame.copy()  # the codes of categories would be views of read-only memory
    return frame, dict(table.schema.metadata or {})
