"""Exact comparison of two data frames, in every detail that pandas shows.

`pandas.testing.assert_frame_equal` takes 1 for 1.0 in columns of objects, and overlooks attributes,
the kind of a time zone and more; so it cannot tell whether a file gives a frame back exactly.
"""

from __future__ import annotations

import datetime as dt
import decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_EXACT_SCALARS = (str, bytes, bool, int, type(None), dt.date)


def same_frame(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    """Whether two frames agree in values, types, index, names and attributes."""
    if first.attrs or second.attrs or not first.flags.allows_duplicate_labels:
        return False
    return (
        first.shape == second.shape
        and _same_index(first.columns, second.columns)
        and _same_index(first.index, second.index)
        and all(
            _same_array(first.iloc[:, place].array, second.iloc[:, place].array)
            for place in range(first.shape[1])
        )
    )


def _same_index(first: Any, second: Any) -> bool:
    import pandas as pd

    if type(first) is not type(second) or first.dtype != second.dtype:
        return False
    if not _same_names(list(first.names), list(second.names)):
        return False
    if getattr(first, "freq", None) != getattr(second, "freq", None):
        return False
    if isinstance(first, pd.RangeIndex):
        return (first.start, first.stop, first.step) == (second.start, second.stop, second.step)
    if isinstance(first, pd.MultiIndex):
        return first.nlevels == second.nlevels and all(
            _same_index(first.levels[level], second.levels[level])
            and _same_bytes(first.codes[level], second.codes[level])
            for level in range(first.nlevels)
        )
    return _same_array(first.array, second.array)


def _same_names(first: list[Any], second: list[Any]) -> bool:
    return len(first) == len(second) and all(map(_same_scalar, first, second))


def _same_array(first: Any, second: Any) -> bool:
    import numpy as np
    import pandas as pd

    if type(first) is not type(second) or not _same_dtype(first.dtype, second.dtype):
        return False
    if isinstance(first, pd.Categorical):
        return _same_bytes(first.codes, second.codes) and _same_index(
            first.categories, second.categories
        )
    if isinstance(first, pd.arrays.NumpyExtensionArray):
        plain, other = first.to_numpy(), second.to_numpy()
        if plain.dtype != object:
            return _same_bytes(plain, other)
        return len(plain) == len(other) and all(map(_same_scalar, plain, other))
    if isinstance(
        first, pd.arrays.DatetimeArray | pd.arrays.TimedeltaArray | pd.arrays.PeriodArray
    ):
        return _same_bytes(_integers(first), _integers(second))
    missing = first.isna()
    if not _same_bytes(missing, second.isna()):
        return False
    if isinstance(first, pd.arrays.IntervalArray):
        return _same_index(first.left, second.left) and _same_index(first.right, second.right)
    kept, other_kept = first[~missing], second[~missing]
    if isinstance(first.dtype, pd.StringDtype):
        return list(kept) == list(other_kept)
    numpy_dtype = getattr(first.dtype, "numpy_dtype", None)
    if numpy_dtype is None or np.dtype(numpy_dtype) == object:
        return False
    return _same_bytes(kept.to_numpy(numpy_dtype), other_kept.to_numpy(numpy_dtype))


def _same_dtype(first: Any, second: Any) -> bool:
    if type(first) is not type(second) or first != second or repr(first) != repr(second):
        return False
    zone, other_zone = getattr(first, "tz", None), getattr(second, "tz", None)
    return type(zone) is type(other_zone) and zone == other_zone


def _same_bytes(first: Any, second: Any) -> bool:
    # By bytes, because `==` takes -0.0 for 0.0, and NaN for different from itself.
    same: bool = first.dtype == second.dtype and first.tobytes() == second.tobytes()
    return same


def _integers(array: Any) -> Any:
    return array.asi8


def _same_scalar(first: Any, second: Any) -> bool:
    if type(first) is not type(second):
        return False
    if isinstance(first, decimal.Decimal):
        return str(first) == str(second)
    if type(first) is float:
        return repr(first) == repr(second)
    same: bool = type(first) in _EXACT_SCALARS and first == second
    return same
