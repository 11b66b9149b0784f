"""Values given as text, as in ``--set lr=0.1``, turned into what an annotation asks for."""

from __future__ import annotations

import ast
import json
import types
import typing
from collections.abc import Mapping
from enum import Enum
from functools import cache
from pathlib import Path, PurePath
from typing import Any, Final, Union, get_args, get_origin

_NONE_WORDS: Final = frozenset({"none", "null"})
_FLAG_WORDS: Final = {"true": True, "yes": True, "on": True, "1": True}
_FLAG_WORDS.update({"false": False, "no": False, "off": False, "0": False})
_SEQUENCES: Final = (list, tuple, set, frozenset)


def convert(text: str, annotation: Any) -> Any:
    """The value that `text` means where `annotation` is asked for.

    A text for a `str` is taken as it is. Any other is read as JSON or as a Python literal; what is
    neither stands for itself, and for a list at its commas.

    Args:
        text: what the user typed.
        annotation: a type, or `typing.Any` where none is known.

    Raises:
        ValueError: the text means no such value.

    Example:
        >>> convert("1e-3", float), convert("1e-3", str), convert("a,b", tuple[str, ...])
        (0.001, '1e-3', ('a', 'b'))
    """
    if annotation is Any or isinstance(annotation, typing.TypeVar):
        return _read(text)
    members = _union_members(annotation)
    if types.NoneType in members and text.strip().lower() in _NONE_WORDS:
        return None
    if str in members and len([m for m in members if m is not types.NoneType]) == 1:
        return text
    value = _read(text)
    if isinstance(value, str) and any(_base(member) in _SEQUENCES for member in members):
        value = [part.strip() if _holds_text(members) else _read(part) for part in text.split(",")]
    try:
        return _converter().structure(value, annotation)
    except Exception as error:  # cattrs wraps what hooks raise in errors of many kinds
        raise ValueError(f"{text!r} is no {shown(annotation)}") from error


def shown(annotation: Any) -> str:
    """An annotation in the words of an error message."""
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation.__name__
    return str(annotation).replace("typing.", "")


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def _union_members(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in {Union, types.UnionType}:
        return get_args(annotation)
    return (annotation,)


def _base(annotation: Any) -> Any:
    return get_origin(annotation) or annotation


def _holds_text(members: tuple[Any, ...]) -> bool:
    return any(str in get_args(member) for member in members)


@cache
def _converter() -> Any:
    from cattrs import Converter

    converter = Converter(forbid_extra_keys=True, detailed_validation=False)
    exact: Mapping[type, Any] = {bool: _flag, int: _whole, float: _real, str: _text, bytes: _bytes}
    for kind, hook in exact.items():
        converter.register_structure_hook(kind, hook)
    converter.register_structure_hook_func(lambda kind: _is_a(kind, PurePath), _path)
    converter.register_structure_hook_func(lambda kind: _is_a(kind, Enum), _member)
    converter.register_structure_hook_func(lambda kind: kind is types.NoneType, _nothing)
    converter.register_structure_hook_func(
        lambda kind: str(get_origin(kind)) == "typing.Literal", _literal
    )

    def _choose(value: Any, kind: Any) -> Any:
        members = sorted(_union_members(kind), key=lambda member: _base(member) is not type(value))
        for member in members:
            try:
                return converter.structure(value, member)
            except Exception:  # noqa: BLE001 - the next member of the union may fit
                continue
        raise ValueError(value)

    converter.register_structure_hook_func(lambda kind: len(_union_members(kind)) > 1, _choose)
    return converter


def _is_a(kind: Any, base: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, base)


def _flag(value: Any, _kind: Any) -> bool:
    if isinstance(value, bool):
        return value
    return _FLAG_WORDS[str(value).strip().lower()]


def _whole(value: Any, _kind: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(value)


def _real(value: Any, _kind: Any) -> float:
    if isinstance(value, bool):
        raise TypeError(value)
    return float(value)


def _text(value: Any, _kind: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(value)


def _bytes(value: Any, _kind: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _path(value: Any, kind: Any) -> PurePath:
    if not isinstance(value, str):
        raise TypeError(value)
    made = kind(value)
    assert isinstance(made, PurePath)
    return made.expanduser() if isinstance(made, Path) else made


def _member(value: Any, kind: Any) -> Enum:
    if isinstance(value, str) and value in kind.__members__:
        named = kind[value]
        assert isinstance(named, Enum)
        return named
    member = kind(value)
    assert isinstance(member, Enum)
    return member


def _nothing(value: Any, _kind: Any) -> None:
    if value is not None:
        raise ValueError(value)


def _literal(value: Any, kind: Any) -> Any:
    for option in get_args(kind):
        if option == value and type(option) is type(value):
            return option
    raise ValueError(value)
