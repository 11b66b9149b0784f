"""Converting text, as in ``--set lr=0.1`` or ``-o max_workers=2``, to the annotated type."""

from __future__ import annotations

import ast
import datetime as dt
import json
import re
import types
from collections.abc import (
    Callable,
    Mapping,
    MutableMapping,
    MutableSequence,
    MutableSet,
    Sequence,
)
from collections.abc import Set as AbstractSet
from contextlib import suppress
from decimal import Decimal
from enum import Enum, Flag
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs

from furu_core._config._annotations import Form, Shape

_NONE_WORDS: Final = frozenset({"none", "null"})
_FLAG_WORDS: Final = {"true": True, "yes": True, "on": True, "1": True}
_FLAG_WORDS.update({"false": False, "no": False, "off": False, "0": False})
_BRACKETS: Final = {"[": "]", "(": ")", "{": "}"}
_QUOTES: Final = "'\""
_SWEEP: Final = re.compile(r"(?P<what>choice|range)\((?P<inner>.*)\)", re.DOTALL)


def convert(text: str, shape: Shape) -> Any:
    """The value that `text` means where an annotation asks for `shape`.

    A text for a `str` is taken as it is. Lists, tuples and sets are split at their commas, with or
    without brackets, and each item is converted by its own annotation; text in them may be quoted.
    Where the shape is unknown, JSON and Python literals are read, and any other text is itself the
    value.

    Args:
        text: what the user typed.
        shape: what is asked for.

    Raises:
        ValueError: the text means no such value; the message names the part that does not fit.

    Example:
        >>> from furu_core._config._annotations import Annotations
        >>> def train(lr: float, names: tuple[str, ...]) -> None: ...
        >>> asked = Annotations(train).shape
        >>> convert("1e-3", asked("lr")), convert("a,b", asked("names"))
        (0.001, ('a', 'b'))
    """
    return _convert(_Piece(text), shape)


def convert_item(text: str, shape: Shape) -> Any:
    """The value that an item of a list means, which may be quoted, where `shape` is asked for.

    Raises:
        ValueError: it means no such value.
    """
    return _convert(_unquoted(text), shape)


def is_scalar(shape: Shape) -> bool:
    """Whether all values of a shape are numbers, truth values, members of enums and the like.

    A text with a comma outside of brackets and quotes then means no single value, unless an option of the shape
    has one.
    """
    match shape.form:
        case Form.CHOICE:
            return True
        case Form.UNION:
            return all(map(is_scalar, shape.inner))
        case Form.NAMED:
            return shape.target is not None and is_scalar(shape.target())
        case Form.INSTANCE:
            readable = any(issubclass(shape.cls, base) for base in _READERS)
            return (readable or shape.cls.__module__ == "numpy") and not (
                issubclass(shape.cls, _TAKE_ANY_TEXT) and not issubclass(shape.cls, Enum)
            )
        case _:
            return False


def sweep_in(text: str, shape: Shape) -> Sequence[str | int] | None:
    """The texts of several values, one after the other, where `shape` is asked for; None if it means one value.

    ``0.1,0.2`` and ``range(3)`` are several for a scalar, ``choice(a,b)`` for any shape.

    Args:
        text: what the user typed.
        shape: what is asked for.

    Raises:
        ValueError: the range or choice makes no sense.

    Example:
        >>> from furu_core._config._annotations import Annotations
        >>> def train(lr: float, names: tuple[str, ...]) -> None: ...
        >>> asked = Annotations(train).shape
        >>> sweep_in("0.1,0.2", asked("lr")), sweep_in("a,b", asked("names"))
        (['0.1', '0.2'], None)
        >>> sweep_in("choice([a,b],[c])", asked("names"))
        ['[a,b]', '[c]']
    """
    call = _SWEEP.fullmatch(text.strip())
    if call is not None and call["what"] == "choice":
        if not call["inner"].strip():
            raise ValueError("choice() gives no value")
        return _stripped(call["inner"])
    if not is_scalar(shape):
        return None
    with suppress(ValueError):
        convert(text, shape)
        return None
    if call is not None:
        try:
            numbers = range(*map(int, call["inner"].split(",")))
        except (ValueError, TypeError):
            raise ValueError(
                "a range is range(STOP), range(START,STOP) or range(START,STOP,STEP) of whole numbers"
            ) from None
        if not numbers:
            raise ValueError("the range is empty")
        return numbers
    parts = _stripped(text)
    return parts if len(parts) > 1 else None


def _stripped(text: str) -> list[str]:
    return [part.strip() for part in _split(text, ",")]


@attrs.frozen
class _Piece:
    """A part of the text that the user typed.

    Attributes:
        text: the part, without quotes.
        quoted: whether it had quotes, so that it is text and no number.
    """

    text: str
    quoted: bool = False

    def read(self) -> Any:
        """The JSON or Python literal that it is, else the text."""
        return self.text if self.quoted else literal(self.text)


def _refuse(piece: _Piece, shape: Shape) -> Any:
    raise ValueError(f"{piece.text!r} is no {shape.text}")


def _convert(piece: _Piece, shape: Shape) -> Any:
    match shape.form:
        case Form.ANYTHING | Form.UNKNOWN:
            return piece.read()
        case Form.INSTANCE:
            return _instance(piece, shape)
        case Form.CHOICE:
            for option in shape.options:
                if _is_option(piece, option):
                    return option
            return _refuse(piece, shape)
        case Form.UNION:
            return _union(piece, shape)
        case Form.ITEMS:
            return _made_of(shape.cls)(_convert(item, shape.inner[0]) for item in _items(piece))
        case Form.PLACES:
            items = _items(piece)
            if len(items) != len(shape.inner):
                return _refuse(piece, shape)
            return tuple(map(_convert, items, shape.inner))
        case Form.PAIRS:
            pairs = (
                (_convert(k, shape.inner[0]), _convert(v, shape.inner[1]))
                for k, v in _pairs(piece, shape)
            )
            return dict(pairs) if shape.cls in (Mapping, MutableMapping) else shape.cls(pairs)
        case Form.KEYS:
            return _keys(piece, shape)
        case Form.NAMED:
            assert shape.target is not None
            return _convert(piece, shape.target())
        case Form.CLASS | Form.ARRAY:
            return _refuse(piece, shape)


def _instance(piece: _Piece, shape: Shape) -> Any:
    cls = shape.cls
    read = next((read for base, read in _READERS.items() if issubclass(cls, base)), None)
    if read is None:
        read = _numpy if cls.__module__ == "numpy" else _refuse
    try:
        return read(piece, shape)
    except (ValueError, TypeError, KeyError, ArithmeticError):
        return _refuse(piece, shape)


def _text(piece: _Piece, shape: Shape) -> Any:
    return piece.text if shape.cls is str else shape.cls(piece.text)


def _none(piece: _Piece, shape: Shape) -> Any:
    return None if _is_option(piece, None) else _refuse(piece, shape)


def _flag(piece: _Piece, shape: Shape) -> Any:
    return _refuse(piece, shape) if piece.quoted else _FLAG_WORDS[piece.text.strip().lower()]


def _whole(piece: _Piece, shape: Shape) -> Any:
    value = piece.read()
    if not isinstance(value, int) or isinstance(value, bool):
        return _refuse(piece, shape)
    return value if shape.cls is int else shape.cls(value)


def _number(piece: _Piece, shape: Shape) -> Any:
    return _refuse(piece, shape) if piece.quoted else shape.cls(piece.text.strip())


def _bytes(piece: _Piece, shape: Shape) -> Any:
    value = piece.read()
    return shape.cls(value if isinstance(value, bytes) else piece.text.encode())


def _path(piece: _Piece, shape: Shape) -> Any:
    made = shape.cls(piece.text)
    return made.expanduser() if isinstance(made, Path) else made


def _member(piece: _Piece, shape: Shape) -> Any:
    cls: Any = shape.cls
    prefix, _, name = piece.text.strip().rpartition(".")
    if name in cls.__members__ and prefix.rpartition(".")[2] in ("", cls.__name__):
        return cls[name]
    if issubclass(cls, Flag) and "|" in piece.text:
        first, *others = (_member(_Piece(part), shape) for part in piece.text.split("|"))
        for other in others:
            first |= other
        return first
    for value in (piece.text, piece.read()):
        for member in cls:
            if member.value == value and type(member.value) is type(value):
                return member
    return cls(piece.read())


def _iso(piece: _Piece, shape: Shape) -> Any:
    cls: Any = shape.cls
    return cls.fromisoformat(piece.text.strip())


def _duration(piece: _Piece, shape: Shape) -> Any:
    """Seconds, or hours, minutes and seconds with colons between them."""
    seconds = 0.0
    for part in piece.text.split(":"):
        seconds = 60 * seconds + float(part)
    return shape.cls(seconds=seconds)


def _by_constructor(piece: _Piece, shape: Shape) -> Any:
    made: Any = shape.cls
    return made(piece.text.strip())


def _numpy(piece: _Piece, shape: Shape) -> Any:
    made = shape.cls(piece.read())
    # Of several numbers, NumPy makes an array.
    return made if isinstance(made, shape.cls) else _refuse(piece, shape)


# The first class here that is the class asked for, or a base class of it, has the reader.
_READERS: Final[dict[type, Callable[[_Piece, Shape], Any]]] = {
    types.NoneType: _none,
    Enum: _member,
    bool: _flag,
    str: _text,
    int: _whole,
    float: _number,
    complex: _number,
    bytes: _bytes,
    bytearray: _bytes,
    PurePath: _path,
    dt.date: _iso,
    dt.time: _iso,
    dt.timedelta: _duration,
    Decimal: _by_constructor,
    Fraction: _by_constructor,
    UUID: _by_constructor,
    ZoneInfo: _by_constructor,
}
# These accept any text, so a union tries them last.
_TAKE_ANY_TEXT: Final = (str, bytes, bytearray, PurePath)


def _is_option(piece: _Piece, option: object) -> bool:
    if isinstance(option, str) and not isinstance(option, Enum):
        return piece.text == option
    if option is None:
        return not piece.quoted and piece.text.strip().lower() in _NONE_WORDS
    if isinstance(option, Enum):
        return piece.text.strip() in (option.name, f"{type(option).__name__}.{option.name}")
    value = piece.read()
    if isinstance(option, bool):
        return not piece.quoted and _FLAG_WORDS.get(piece.text.strip().lower()) is option
    return type(value) is type(option) and bool(value == option)


def _union(piece: _Piece, shape: Shape) -> Any:
    value = piece.read()

    def rank(choice: Shape) -> int:
        if choice.form in (Form.ANYTHING, Form.UNKNOWN):
            return 4
        if choice.form is not Form.INSTANCE:
            return 1
        if choice.cls is type(value) and choice.cls is not str:
            return 0
        return 3 if issubclass(choice.cls, _TAKE_ANY_TEXT) else 1

    choices = sorted(shape.inner, key=rank)
    takes_text = any(rank(choice) == 3 for choice in choices)
    for choice in choices:
        if takes_text and choice.form in (Form.ITEMS, Form.PLACES) and not _is_bracketed(piece):
            continue  # one text with commas in it
        try:
            return _convert(piece, choice)
        except ValueError:
            continue
    return _refuse(piece, shape)


# ---- containers ----


def _made_of(cls: type) -> Callable[[Any], Any]:
    """The class to make from the items where an annotation asks for `cls`."""
    if issubclass(cls, MutableSequence):
        return list
    if issubclass(cls, MutableSet):
        return set
    return frozenset if issubclass(cls, AbstractSet) else tuple


def _is_bracketed(piece: _Piece) -> bool:
    return not piece.quoted and piece.text.strip()[:1] in _BRACKETS


def _items(piece: _Piece) -> list[_Piece]:
    """The parts between commas, in brackets or without."""
    if piece.quoted:
        return [piece]
    inner = _without_brackets(piece.text)
    parts = _split(inner, ",")
    if not parts[-1].strip():
        parts.pop()  # the empty part after a last comma, or of an empty text
    return [_unquoted(part) for part in parts]


def _pairs(piece: _Piece, shape: Shape) -> list[tuple[_Piece, _Piece]]:
    pairs = []
    inner = "" if piece.quoted else _without_brackets(piece.text)
    for part in _split(inner, ","):
        key, *values = _split(part, ":") if len(_split(part, ":")) > 1 else part.partition("=")[::2]
        if part.strip():
            if not values or not key.strip() or ("=" not in part and ":" not in part):
                _refuse(piece, shape)
            pairs.append((_unquoted(key), _unquoted(":".join(values))))
    if piece.quoted or (not pairs and inner.strip() == "" and not _is_bracketed(piece)):
        _refuse(piece, shape)
    return pairs


def _keys(piece: _Piece, shape: Shape) -> Any:
    inner = dict(zip(shape.options, shape.inner, strict=True))
    values = {}
    for key, value in _pairs(piece, shape):
        if key.text not in inner:
            _refuse(key, shape)
        values[key.text] = _convert(value, inner[key.text])
    if inner.keys() - values.keys() - shape.optional:
        _refuse(piece, shape)
    return values


def _without_brackets(text: str) -> str:
    text = text.strip()
    closing = _BRACKETS.get(text[:1])
    # ``[1],[2]`` are two lists.
    if closing and text.endswith(closing) and len(_split(text[1:-1], closing)) == 1:
        return text[1:-1]
    return text


def _split(text: str, separator: str) -> list[str]:
    """The parts of a text between separators that stand outside of brackets and quotes."""
    parts = [""]
    depth = 0
    quote = before = ""
    escaped = False
    for letter in text:
        if letter == separator and not quote and depth == 0:
            parts.append("")
            before = letter
            continue
        parts[-1] += letter
        if quote:
            if letter == quote and not escaped:
                quote = ""
            escaped = letter == "\\" and not escaped
        elif letter in _QUOTES and (not before or before in "([{,:="):
            quote = letter  # not the apostrophe in a word
        elif letter in _BRACKETS:
            depth += 1
        elif letter in _BRACKETS.values():
            depth -= 1
        if not letter.isspace():
            before = letter
    return parts


def _unquoted(text: str) -> _Piece:
    text = text.strip()
    if len(text) > 1 and text[0] in _QUOTES and text[-1] == text[0]:
        value = literal(text)
        if isinstance(value, str) and value != text:
            return _Piece(value, quoted=True)
    return _Piece(text)


def literal(text: str) -> Any:
    """The JSON or Python literal that a text is, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
