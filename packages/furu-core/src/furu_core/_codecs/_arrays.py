"""NumPy arrays as ``.npy`` files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from furu_core.codecs import Codec

if TYPE_CHECKING:
    import numpy as np


class ArrayCodec(Codec):
    """Arrays of fixed-size elements; they load as ordinary writable arrays.

    Shape, dtype with byte order, and Fortran order come back. Strides do not: a view is stored as a
    contiguous array. Arrays of objects, subclasses and dtypes that the format loses are not taken.
    """

    name = "numpy"
    suffix = ".npy"

    def accepts(self, value: object) -> bool:
        numpy: Any = sys.modules.get("numpy")  # who has an array has imported it
        return numpy is not None and type(value) is numpy.ndarray and _keeps(value.dtype)  # type: ignore[attr-defined]

    def save(self, value: np.ndarray[Any, Any], path: Path) -> None:
        import numpy as np

        with path.open("xb") as file:
            np.save(file, value, allow_pickle=False)

    def load(self, path: Path, version: int) -> object:
        import numpy as np

        with path.open("rb") as file:
            return np.load(file, allow_pickle=False)


def _keeps(dtype: np.dtype[Any]) -> bool:
    import numpy as np

    if dtype.hasobject or _has_metadata(dtype):
        return False
    try:
        back = np.lib.format.descr_to_dtype(np.lib.format.dtype_to_descr(dtype))
    except (ValueError, TypeError):
        return False
    # Equality alone overlooks titles and alignment.
    return back == dtype and repr(back) == repr(dtype)


def _has_metadata(dtype: np.dtype[Any]) -> bool:
    if dtype.metadata:
        return True
    if dtype.subdtype is not None:
        return _has_metadata(dtype.subdtype[0])
    return any(_has_metadata(field[0]) for field in (dtype.fields or {}).values())
