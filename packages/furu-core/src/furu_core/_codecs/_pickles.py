"""Pickle, for what no open format gives back exactly."""

from __future__ import annotations

import io
import pickle
from types import FunctionType
from typing import Any

from furu_core._class_names import name_of, resolve
from furu_core._codecs._paths import Base
from furu_core._manifest import DamagedArtifact
from furu_core.errors import FuruError, FuruResultError

PROTOCOL = 5


def dump(value: object, base: Base) -> bytes:
    """A value as bytes; paths below the artifact's folder relative to it.

    Raises:
        FuruResultError: the value cannot be pickled.
    """
    stream = io.BytesIO()
    try:
        _Pickler(stream, base).dump(value)
    except FuruError:
        raise
    except Exception as error:  # a value's own code may raise anything while it is pickled
        raise FuruResultError(
            f"the result, a {type(value).__qualname__}, cannot be stored: "
            f"{type(error).__name__}: {error}",
            hint="return plain values, or write files to self.furu_dir and bring your own _load",
        ) from error
    return stream.getvalue()


def load(data: bytes, base: Base, path: str) -> Any:
    """The value that `dump` took.

    Raises:
        DamagedArtifact: the bytes are no pickle.
        FuruResultError: something in it cannot be imported, or refuses to be made again.
    """
    try:
        return _Unpickler(io.BytesIO(data), base).load()
    except (pickle.UnpicklingError, EOFError) as error:
        raise DamagedArtifact(path, f"{type(error).__name__}: {error}") from None
    except FuruError as error:
        raise FuruResultError(
            f"{path} cannot be loaded: {error.message}", hint=error.hint
        ) from error
    except Exception as error:  # the code of foreign classes may raise anything
        raise FuruResultError(
            f"{path} cannot be loaded: {type(error).__name__}: {error}",
            hint="restore the class or package that it names, or delete the node's result",
        ) from error


class _Pickler(pickle.Pickler):
    def __init__(self, stream: io.BytesIO, base: Base) -> None:
        super().__init__(stream, protocol=PROTOCOL)
        self._base = base

    def persistent_id(self, value: Any) -> list[str] | None:
        return self._base.encode(value)

    def reducer_override(self, value: Any) -> Any:
        # What the script that runs defines is called otherwise in every other process.
        if not isinstance(value, type | FunctionType):
            return NotImplemented
        if value.__module__ not in ("__main__", "__mp_main__") or "." in value.__qualname__:
            return NotImplemented
        if isinstance(value, type):
            name = name_of(value)
            return resolve, (name.identity, name.importable)
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, base: Base) -> None:
        super().__init__(stream)
        self._base = base

    def persistent_load(self, encoded: Any) -> Any:
        kind, inside = encoded
        return self._base.decode(kind, inside)
