"""The pickles in which a `Packer` sends the fields of config objects."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

from furu_core._config._class_names import is_of_script, name_of, resolve
from furu_core._config._value_types import reduced


class NodePickler(pickle.Pickler):
    """Pickles fields exactly: nested configs by number, the script's classes by importable name."""

    def __init__(self, stream: io.BytesIO, number: Callable[[Any], int]) -> None:
        super().__init__(stream, protocol=5)
        self._number = number

    def persistent_id(self, obj: Any) -> int | None:
        return self._number(obj) if hasattr(type(obj), "__furu_class__") else None

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type) and is_of_script(obj):
            name = name_of(obj)
            return resolve, (name.identity, name.importable)
        found = reduced(obj)
        return NotImplemented if found is None else found


class NodeUnpickler(pickle.Unpickler):
    """Unpickles what `NodePickler` pickled."""

    def __init__(self, stream: io.BytesIO, objects: list[Any]) -> None:
        super().__init__(stream)
        self._objects = objects

    def persistent_load(self, pid: int) -> Any:
        return self._objects[pid]
