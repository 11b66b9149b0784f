"""The fields of configs that have no record of their own any more, because their results were removed.

What is in the trash has its record there. Of what is gone for good, the fields stand in the Python
expression in the record of each node that nests it; that is parsed, and nothing of it is executed.
"""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from furu_core._config._class_names import relpath_of
from furu_core._settings import _settings
from furu_core._status import _trash
from furu_core._store import _record_file

FIELDS: Final = (
    "fields"  # what a reference has beside its hash and class, where they are known here
)


class Trash:
    """The trash, as it is when it is first asked."""

    def __init__(self) -> None:
        self._removals: list[str] | None = None

    def folder_of(self, class_name: str, node_hash: str) -> str | None:
        """Where a result is in it; None if it is not."""
        root = f"{_settings.settings().path}/{_trash.FOLDER}"
        if self._removals is None:
            self._removals = []
            with suppress(OSError):
                self._removals = sorted(os.listdir(root), reverse=True)
        below = f"{relpath_of(class_name)}/{node_hash}"
        folders = (f"{root}/{removal}/{below}" for removal in self._removals)
        return next(filter(os.path.isdir, folders), None)


def fields_in_expression(folder: str) -> dict[str, dict[str, Any]]:
    """The fields of the configs that a node nests, by their hashes, as its record tells them.

    Args:
        folder: of the result or attempt.
    """
    try:
        found = _record_file.read(folder)
        fields = json.loads(found.claim)["config"]["fields"]
        tree = ast.parse(json.loads(found.story)["to_python"], mode="eval").body
        return dict(_Expression(tree).nested(fields))
    except (OSError, SyntaxError, RecursionError, MemoryError):
        return {}
    except (ValueError, TypeError, LookupError, AttributeError):
        return {}  # the record is damaged, or in progress


class _Expression:
    """An expression that `to_python` wrote, in which nested objects may have names."""

    def __init__(self, tree: ast.expr) -> None:
        self._names: dict[str, ast.expr] = {}
        if isinstance(tree, ast.Subscript) and isinstance(tree.value, ast.List):
            *named, tree = tree.value.elts
            for one in named:
                if isinstance(one, ast.NamedExpr):
                    self._names[one.target.id] = one.value
        self._root = tree

    def nested(self, fields: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Hash and fields of each config that stands in some fields of the object."""
        yield from self._within(fields, self._arguments(self._root))

    def _within(
        self, values: Mapping[str, Any], written: Mapping[str, ast.expr]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, value in values.items():
            expression = written.get(name, written.get(name.lstrip("_")))
            if expression is not None:
                yield from self._pairs(value, expression)

    def _pairs(self, value: Any, written: ast.expr) -> Iterator[tuple[str, dict[str, Any]]]:
        """Hash and fields of each config in a value of the record, beside which is its expression."""
        written = self._meant(written)
        if isinstance(value, list) and isinstance(written, ast.List | ast.Tuple):
            for item, expression in zip(value, written.elts, strict=False):
                yield from self._pairs(item, expression)
        if not isinstance(value, dict):
            return
        if isinstance(value.get("$ref"), str):
            arguments = self._arguments(written)
            yield value["$ref"], {name: self._value(one) for name, one in arguments.items()}
        elif "$tuple" in value:
            yield from self._pairs(value["$tuple"], written)
        elif isinstance(written, ast.Dict):
            pairs = zip(written.keys, written.values, strict=True)
            keyed = {str(self._value(key)): inside for key, inside in pairs if key is not None}
            yield from self._within(value, keyed)
        elif len(value) == 1:
            (payload,) = value.values()
            if isinstance(payload, list) and len(payload) == 2 and isinstance(payload[1], dict):
                yield from self._within(payload[1], self._arguments(written))

    def _meant(self, written: ast.expr) -> ast.expr:
        return self._names.get(written.id, written) if isinstance(written, ast.Name) else written

    def _arguments(self, written: ast.expr) -> dict[str, ast.expr]:
        if not isinstance(written, ast.Call):
            return {}
        return {one.arg: one.value for one in written.keywords if one.arg is not None}

    def _value(self, written: ast.expr) -> Any:
        """A value as a record has it; where that cannot be told, its expression."""
        written = self._meant(written)
        match written:
            case ast.Constant(value=str() | bool() | int() | float() | None as constant):
                return constant
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
                return -number
            case ast.List(elts=items) | ast.Set(elts=items):
                return list(map(self._value, items))
            case ast.Tuple(elts=items):
                return {"$tuple": list(map(self._value, items))}
            case ast.Dict(keys=keys, values=values) if None not in keys:
                names = [str(self._value(key)) for key in keys if key is not None]
                return dict(zip(names, map(self._value, values), strict=True))
            case ast.Subscript(slice=ast.Constant(value=str(name))):
                return name  # the member of an enum
            case ast.Call(func=ast.Name(id="float"), args=[ast.Constant(value=str(number))]):
                return float(number)
            case ast.Call(args=[one], keywords=[]):
                return self._value(one)  # of a path, set and the like
            case ast.Call(func=function, args=[], keywords=[_, *_]):
                inside = {name: self._value(one) for name, one in self._arguments(written).items()}
                return {"$ref": "", "class": ast.unparse(function), FIELDS: inside}
            case _:
                return ast.unparse(written)
