"""NumPy arrays as ``.npy`` files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, cast

from furu_core._codecs._codec import Codec

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]


class ArrayCodec(Codec):
    """Arrays of fixed-size elements; they load as ordinary writable arrays.

    Shape, dtype with byte order, and Fortran order come back. Strides do not: a view is stored as a
    contiguous array. Arrays of objects, subclasses and dtypes that the format loses are not taken.
    """

    name = "numpy"
    suffix = ".npy"

    def accepts(self, value: object) -> bool:
        numpy: Any = sys.modules.get("numpy")  # imported already if the value is an array
        return numpy is not None and type(value) is numpy.ndarray and _keeps(value.dtype)  # type: ignore[attr-defined]

    def save(self, value: Array, path: Path) -> None:
        with path.open("wb") as file:
            write(value, file)

    def load(self, path: Path, version: int) -> object:
        with path.open("rb") as file:
            return read(file)


def needs_care_in_a_pickle(value: object) -> bool:
    """Whether NumPy's own unpickling would turn the array's byte order into this machine's."""
    return ArrayCodec().accepts(value) and not cast("Array", value).dtype.isnative


def write(array: Array, file: BinaryIO) -> None:
    """Write an array in the npy format."""
    import numpy as np

    for version in ((1, 0), (2, 0), (3, 0)):
        try:
            np.lib.format.write_array(file, array, version, allow_pickle=False)
        except ValueError:  # the header is too long or not Latin-1; nothing is written yet
            if version == (3, 0):
                raise
        else:
            return


def read(file: BinaryIO) -> Array:
    """The array that `write` wrote; ordinary, writable memory."""
    import numpy as np

    array: Array = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _keeps(dtype: np.dtype[Any]) -> bool:
    import numpy as np

    if dtype.hasobject or _has_metadata(dtype):
        return False
    try:
        back = np.lib.format.descr_to_dtype(np.lib.format.dtype_to_descr(dtype))
    except (ValueError, TypeError):
        return False
    # `==` alone overlooks titles and alignment.
    return back == dtype and repr(back) == repr(dtype)


def _has_metadata(dtype: np.dtype[Any]) -> bool:
    if dtype.metadata:
        return True
    if dtype.subdtype is not None:
        return _has_metadata(dtype.subdtype[0])
    return any(_has_metadata(field[0]) for field in (dtype.fields or {}).values())
