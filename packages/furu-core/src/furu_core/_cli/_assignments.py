"""``--set FIELD=VALUE``: texts made into fields of a class or an object, and into arguments of a function.

Where a field of a class or an object is given several values, as ``lr=0.1,0.2``, there is an object for each
combination of such values. A field that takes lists, tuples or any text keeps the comma as part of its one value.
"""

from __future__ import annotations

import inspect
import itertools
import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial
from pathlib import PurePath
from typing import Any, Final

import attrs

from furu_core import _text
from furu_core._cli._output import say
from furu_core._cli._settable import changed, class_with_fields, fields_of, to_be_given
from furu_core._cli._user_code import called
from furu_core._config._annotations import Annotations, Form, Shape
from furu_core._forms._typed_text import convert, convert_item, is_scalar, sweep_in
from furu_core.errors import FuruUsageError

_MOST: Final = 1_000_000  # objects of a sweep: more is a typing error, and would fill the memory

_FEW: Final = 4  # fields that a hint names
_BARE_COMMA: Final = re.compile(r"\S,\S")  # in prose, a space follows


@attrs.frozen
class _Axis:
    """A field that is given several values.

    Attributes:
        name: the field, with dots before it for those that it is in.
        texts: the values, as they were typed or as the numbers of a range.
        value: makes the value of one of them.
    """

    name: str
    texts: Sequence[str | int]
    value: Callable[[str], Any]

    def choices(self) -> list[tuple[str, Any]]:
        """The values, each with what is written for it."""
        return [(str(text), self.value(str(text))) for text in self.texts]


@attrs.frozen
class _Part:
    """An object in a field, some of whose own fields are given.

    Attributes:
        make: makes it of these.
        values: the fields; some may be axes.
    """

    make: Callable[[dict[str, Any]], Any]
    values: dict[str, Any]


class Assignments:
    """What ``--set`` gives to one target.

    Args:
        texts: such as ``lr=0.1`` and ``data.seed=0,1``.
        target: what they are given to, for error messages.

    Raises:
        FuruUsageError: one of them is no ``FIELD=VALUE``, or gives a field again.
    """

    def __init__(self, texts: Sequence[str], target: str) -> None:
        self._given = parse_assignments(texts)
        self._order = [text.partition("=")[0].strip() for text in texts]
        self._target = target
        self._made_now = target  # with the values that differ, for errors of the user's code
        self._axes: list[_Axis] | None = None  # None where a comma makes no sweep

    def __bool__(self) -> bool:
        return bool(self._given)

    def objects(self, cls: type, base: Any = None) -> Any:
        """The object that a class makes of them, or a dict of those of a sweep, by the values that differ.

        Args:
            cls: the class.
            base: an object of it that is to be changed; None for a new one.

        Raises:
            FuruUsageError: there is no such field, a value does not fit, or there are too many.
            UserCodeError: the class raised.
        """
        self._axes = []
        values = self._fields(cls, base, self._given, "")
        axes = sorted(self._axes, key=lambda axis: self._order.index(axis.name))
        if not axes:
            return self._made(cls, base, _filled(values, {}))
        self._refuse_too_many(axes)
        names = [axis.name for axis in axes]
        made = {}
        # The first varies slowest, as in Hydra and in `grid`.
        for chosen in itertools.product(*(axis.choices() for axis in axes)):
            label = " ".join(
                f"{name}={text}" for name, (text, _) in zip(names, chosen, strict=True)
            )
            self._made_now = f"{self._target} with {label}"
            of_axes = {name: value for name, (_, value) in zip(names, chosen, strict=True)}
            made[label] = self._made(cls, base, _filled(values, of_axes))
        return made

    def arguments(self, function: Any) -> dict[str, Any]:
        """The arguments for a call of a function.

        Raises:
            FuruUsageError: it takes no such argument, or a value does not fit.
        """
        parameters = inspect.signature(function).parameters
        named = named_parameters(parameters)
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        annotations = Annotations(function)
        values: dict[str, Any] = {}
        for name, given in self._given.items():
            if name not in named and not takes_any:
                raise _unknown(f"{self._target} takes no argument", name, list(named))
            default = None
            if name in named and named[name].default is not inspect.Parameter.empty:
                default = partial(getattr, named[name], "default")
            values[name] = self._value(name, given, annotations.shape(name), default)
        _require(
            f"{self._target} needs",
            {
                name: annotations.shape(name)
                for name, p in named.items()
                if p.default is p.empty and name not in values
            },
        )
        return _filled(values, {})

    def _made(self, cls: type, base: Any, values: dict[str, Any]) -> Any:
        make = cls if base is None else partial(attrs.evolve, base)
        return called(self._made_now, lambda: make(**values))

    def _fields(
        self, cls: type, base: Any, assignments: Mapping[str, Any], inside: str
    ) -> dict[str, Any]:
        """Constructor arguments for a class with fields; `inside` is the name of its field, with a dot."""
        known = fields_of(cls)
        assert known is not None
        values: dict[str, Any] = {}
        for name, given in assignments.items():
            if name not in known:
                raise _unknown(f"{cls.__name__} has no field", name, list(known))
            field = known[name]
            default = field.default
            if base is not None:
                default = partial(getattr, base, field.attribute)
            values[name] = self._value(f"{inside}{name}", given, field.shape, default)
        if base is None:
            needed = [name for name, field in known.items() if not field.default]
            _require(
                f"{cls.__name__} needs",
                {f"{inside}{name}": known[name].shape for name in needed if name not in values},
                inside,
            )
        return values

    def _value(self, name: str, given: Any, shape: Shape, default: Callable[[], Any] | None) -> Any:
        """The value for a field or an argument, from its text, or from texts for its own fields."""
        if isinstance(given, str):
            return self._text(name, given, shape)
        base = default() if default is not None else None
        if fields_of(type(base)) is not None:
            nested = self._fields(type(base), base, given, f"{name}.")
            return _Part(
                lambda values: called(self._made_now, lambda: changed(base, values)), nested
            )
        cls = class_with_fields(shape)
        if cls is None:
            raise FuruUsageError(
                f"--set {name}.{next(iter(given))}: {name} holds no object with fields",
                hint="with a dot, fields of Furu objects, dataclasses, attrs classes and named tuples can be set",
            )
        nested = self._fields(cls, None, given, f"{name}.")
        return _Part(lambda values: called(self._made_now, lambda: cls(**values)), nested)

    def _text(self, name: str, text: str, shape: Shape) -> Any:
        """The value that a text means, or the axis where it means several."""
        try:
            several = None if self._axes is None else sweep_in(text, shape)
        except ValueError as error:
            raise FuruUsageError(
                f"--set {name}={text}: {error}", hint=f"write the values: --set {name}=0,1,2"
            ) from None
        if several is None:
            value = self._converted(name, text, shape)
            if self._axes is not None and isinstance(value, (str, bytes, PurePath)):
                _note_comma(name, text)
            return value
        assert self._axes is not None
        axis = _Axis(name, several, lambda one: _element(name, text, one, shape))
        self._axes.append(axis)
        return axis

    def _converted(self, name: str, text: str, shape: Shape) -> Any:
        try:
            return convert(text, shape)
        except ValueError as error:
            part = f" ({error})" if repr(text) not in str(error) else ""
            hint = _how_to_write(name, shape)
            if "," in text and is_scalar(shape):
                hint = (
                    "several values make a sweep where the target is a class or an object; a function takes one"
                    if self._axes is None
                    else f"write the values of a sweep without brackets: --set {name}=A,B"
                )
            raise FuruUsageError(
                f"--set {name}={text}: expected {shape.text}{part}", hint=hint
            ) from None

    def _refuse_too_many(self, axes: Sequence[_Axis]) -> None:
        number = math.prod(len(axis.texts) for axis in axes)
        if number >= _MOST:
            told = " x ".join(f"{len(axis.texts):,} of {axis.name}" for axis in axes)
            raise FuruUsageError(
                f"--set makes {number:,} objects of {self._target}: {told}",
                hint=f"a sweep of the command line has fewer than {_MOST:,}; give fewer values, or have "
                "several runs",
            )


def parse_assignments(texts: Sequence[str]) -> dict[str, Any]:
    """``["lr=0.1", "data.seed=3"]`` as ``{"lr": "0.1", "data": {"seed": "3"}}``."""
    parsed: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        parts = name.strip().split(".")
        if not equals or not all(part.isidentifier() for part in parts):
            raise FuruUsageError(f"--set {text!r} is no field=value", hint="write --set lr=0.1")
        where = parsed
        for part in parts[:-1]:
            where = where.setdefault(part, {})
            if not isinstance(where, dict):
                raise FuruUsageError(f"--set gives {part!r} twice", hint="leave one of them out")
        if parts[-1] in where:
            raise FuruUsageError(
                f"--set gives {name!r} twice",
                hint=f"leave one of them out, or write the values of a sweep at once: --set {name}=A,B",
            )
        where[parts[-1]] = value
    return parsed


def named_parameters(
    parameters: Mapping[str, inspect.Parameter],
) -> dict[str, inspect.Parameter]:
    """Those parameters of a function that can be given by name."""
    kinds = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    return {name: one for name, one in parameters.items() if one.kind in kinds}


def _filled(values: Mapping[str, Any], of_axes: Mapping[str, Any]) -> dict[str, Any]:
    """Values in which axes have given way to one of their values each, and parts to objects."""
    filled = {}
    for name, value in values.items():
        match value:
            case _Axis():
                filled[name] = of_axes[value.name]
            case _Part():
                filled[name] = value.make(_filled(value.values, of_axes))
            case _:
                filled[name] = value
    return filled


def _note_comma(name: str, text: str) -> None:
    """Say that a text with a comma is one value, where somebody may have meant several."""
    if _BARE_COMMA.search(text):
        several = shlex.quote(f"{name}=choice({text})")
        say(
            f"note: {name} is {text!r}, one text with a comma; a sweep is --set {several}", err=True
        )


def _element(name: str, text: str, element: str, shape: Shape) -> Any:
    try:
        return convert_item(element, shape)
    except ValueError as error:
        part = f" ({error})" if repr(element) not in str(error) else ""
        raise FuruUsageError(
            f"--set {name}={text}: {element!r} is no {shape.text}{part}",
            hint=_how_to_write(name, shape, is_element=True),
        ) from None


def _how_to_write(name: str, shape: Shape, *, is_element: bool = False) -> str:
    """How a value of a shape is written on the command line."""
    cls = class_with_fields(shape)
    if cls is not None and (known := fields_of(cls)):
        return f"set its fields: --set {name}.{next(iter(known))}=VALUE"
    for choice in shape.inner if shape.form is Form.UNION else (shape,):
        match choice.form:
            case Form.INSTANCE if issubclass(choice.cls, Enum):
                return f"write one of {', '.join(choice.cls.__members__)}"
            case Form.CHOICE:
                return f"write one of {', '.join(map(str, choice.options))}"
            case Form.ITEMS:
                return f"write --set {name}=a,b or --set '{name}=[a, b]'"
            case Form.PLACES:
                return f"write {len(choice.inner)} values with commas between them"
            case Form.PAIRS | Form.KEYS:
                return f"write --set '{name}={{key: value}}'"
            case Form.ARRAY | Form.CLASS:
                return "no text means one: let the target be a function that makes it"
            case _:
                pass
    if is_element:
        return f"the values of a sweep stand between commas: --set {name}=A,B"
    return "correct the value; what no text means, a function can make that is the target"


def _require(needs: str, missing: Mapping[str, Shape], inside: str = "") -> None:
    """Refuse an object or a call that lacks something.

    Args:
        needs: the beginning of the error.
        missing: what it lacks, with all the dots, and what that is.
        inside: the dots before each.
    """
    if not missing:
        return
    given: list[str] = []
    for name, shape in missing.items():
        cls = class_with_fields(shape)
        given += [name] if cls is None else to_be_given(cls, name)
    options = [f"--set {name}=VALUE" for name in given[:_FEW]]
    if len(given) > _FEW:
        options.append("...")
    names = ", ".join(name.removeprefix(inside) for name in missing)
    raise FuruUsageError(
        f"{needs} {names}",
        hint=f"give {'it' if len(missing) == 1 else 'them'}: {' '.join(options)}",
    )


def _unknown(says: str, name: str, known: list[str]) -> FuruUsageError:
    return FuruUsageError(
        f"{says} {name!r}{_text.did_you_mean(name, known, cutoff=0.5)}",
        hint=f"known: {', '.join(known) or 'none'}",
    )
