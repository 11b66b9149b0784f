"""Result values as files, in open formats where one gives the value back exactly.

A result becomes ``result.json``, with arrays, tables and large bytes in files beside it; or, as a
whole, one file of such a format; or, where none of them gives it back exactly, ``result.pickle``.
"""

from __future__ import annotations

import os
from typing import Any

from furu_core._codecs._load import load
from furu_core._store._manifest import ResultEntry

__all__ = ["load", "store"]


def store(
    value: Any,
    folder: str | os.PathLike[str],
    base: str | os.PathLike[str],
    around: str | os.PathLike[str] | None = None,
) -> ResultEntry:
    """Store a result; see `furu_core._codecs._store.store`."""
    from furu_core._codecs import _store  # what only loads results needs no way to store them

    return _store.store(value, folder, base, around)
