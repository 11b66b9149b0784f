"""Pickles, for values that no open format gives back exactly.

Paths below the artifact's folder are stored relative to it, values that other distributions' codecs
take are in files of their own, and classes of the running script (`__main__`) are stored by the
name under which other processes import them.
"""

from __future__ import annotations

import importlib
import io
import pickle
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FunctionType
from typing import Any, BinaryIO, Final

from furu_core import _trust
from furu_core._codecs import _arrays
from furu_core._codecs._paths import Base
from furu_core._config import _class_names
from furu_core._record_format import from_json, to_json
from furu_core._store._manifest import DamagedArtifact, ResultEntry
from furu_core.errors import FuruError, FuruResultError

_PROTOCOL: Final = 5
_DEPTH: Final = 12
_WIDTH: Final = 10_000

SaveElsewhere = Callable[[object], ResultEntry | None]
LoadElsewhere = Callable[[ResultEntry], object]


def dump(value: object, file: BinaryIO, base: Base, elsewhere: SaveElsewhere) -> None:
    """Pickle a value.

    Args:
        value: any.
        file: open for writing.
        base: the folder that paths are relative to.
        elsewhere: stores an object in a file of its own, or returns None.

    Raises:
        Exception: whatever the value's own code raises.
    """
    _Pickler(file, base, elsewhere).dump(value)


def load(path: str, base: Base, elsewhere: LoadElsewhere) -> object:
    """The value that was pickled.

    Raises:
        FuruUntrustedFile: it is of somebody whose pickles are not loaded.
        FuruResultError: a class cannot be imported, or refuses what was pickled.
        DamagedArtifact: the file is no complete pickle.
        OSError: the disk reports an error.
    """
    with open(_trust.open_trusted(path), "rb") as file:
        try:
            return _Unpickler(file, path, base, elsewhere).load()
        except (FuruError, DamagedArtifact, OSError, MemoryError):
            raise
        except (pickle.UnpicklingError, EOFError) as error:
            raise DamagedArtifact(path, f"it cannot be unpickled: {error}") from error
        except Exception as error:
            raise FuruResultError(
                f"{path} cannot be unpickled: {type(error).__name__}: {error}",
                hint="has a class in it changed since? Restore its code, or delete the artifact "
                "with `furu rm` and compute it again",
            ) from error


def find_culprit(value: object, base: Base, elsewhere: SaveElsewhere) -> tuple[str, object]:
    """The innermost part of a value that cannot be pickled, and its place.

    Returns:
        The place as an expression, ``result['model'].callback``, and the part.
    """
    place, culprit = "result", value
    for _ in range(_DEPTH):
        for step, part in _parts(culprit):
            if not _can_pickle(part, base, elsewhere):
                place, culprit = place + step, part
                break
        else:
            break
    return place, culprit


class _Pickler(pickle.Pickler):
    def __init__(self, file: BinaryIO, base: Base, elsewhere: SaveElsewhere) -> None:
        super().__init__(file, protocol=_PROTOCOL)
        self._base = base
        self._elsewhere = elsewhere

    def persistent_id(self, obj: Any) -> Any:
        inside = self._base.encode(obj)
        if inside is not None:
            return ("path", *inside)
        entry = self._elsewhere(obj)
        return None if entry is None else ("file", to_json(entry))

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type | FunctionType) and _class_names.is_of_script(obj):
            # In the process that loads it, `__main__` is another script.
            if "<" in obj.__qualname__:
                raise pickle.PicklingError(f"{obj.__qualname__} is local to a function")
            return _named, (_class_names.import_module_of(obj), obj.__qualname__)
        if _arrays.needs_care_in_a_pickle(obj):
            file = io.BytesIO()
            _arrays.write(obj, file)
            return _array, (file.getvalue(),)
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, path: str, base: Base, elsewhere: LoadElsewhere) -> None:
        super().__init__(file)
        self._path = path
        self._base = base
        self._elsewhere = elsewhere
        self._loaded: dict[str, object] = {}

    def persistent_load(self, pid: Any) -> Any:
        kind, *rest = pid
        if kind == "path":
            return self._base.decode(*rest)
        if kind != "file":
            raise pickle.UnpicklingError(f"unknown reference {pid!r}")
        entry = from_json(ResultEntry, rest[0])
        if entry.file not in self._loaded:  # an object that was shared stays one object
            self._loaded[entry.file] = self._elsewhere(entry)
        return self._loaded[entry.file]

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == (_named.__module__, _named.__qualname__):
            return self._find
        return self._find(module, name)

    def _find(self, module: str, name: str) -> Any:
        try:
            return super().find_class(module, name)
        except MemoryError:
            raise
        except Exception as error:  # an import runs foreign code
            with suppress(FuruError):  # it may have been renamed since
                return _class_names.resolve(f"{module}:{name}")
            raise FuruResultError(
                f"{self._path} needs {module}.{name}, which cannot be imported here: "
                f"{type(error).__name__}: {error}",
                hint="make it importable again under that name (environment, PYTHONPATH); a class that was "
                "renamed or moved says so: formerly= in the statement of a config class, "
                f"__furu_formerly__ = '{module}:{name}' in another; or delete the artifact with `furu rm` "
                "and compute it again",
            ) from error


def _named(module: str, qualname: str) -> Any:
    """Unpickle a reference to a class of the script that was `__main__`."""
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def _array(data: bytes) -> object:
    """Unpickle an array of another byte order than this machine's."""
    return _arrays.read(io.BytesIO(data))


class _Nowhere(io.RawIOBase):
    def write(self, data: Any) -> int:
        return memoryview(data).nbytes


def _can_pickle(value: object, base: Base, elsewhere: SaveElsewhere) -> bool:
    nowhere: Any = _Nowhere()
    try:
        dump(value, nowhere, base, elsewhere)
    except Exception:  # noqa: BLE001 - whatever the value's own code raises
        return False
    return True


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for _, (key, item) in zip(range(_WIDTH), value.items(), strict=False):
            yield f"[{key!r}]", item
    elif isinstance(value, list | tuple):
        for place, item in zip(range(_WIDTH), value, strict=False):
            yield f"[{place}]", item
    for name, item in getattr(value, "__dict__", {}).items() if not isinstance(value, type) else ():
        yield f".{name}", item
