"""The records of config classes and their fields, compiled once at the class statement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from functools import cached_property
from typing import Any

import attrs

from furu_core._config import _class_names
from furu_core._config._annotations import Shape
from furu_core._config._fit import Convert
from furu_core.errors import FuruDefinitionError


class Rule(Enum):
    """The rule by which a field contributes to the hash."""

    ALWAYS = "always"
    EXCLUDED = "excluded"
    UNLESS_DEFAULT = "unless default"


@attrs.frozen
class Field:
    """One field of a config class.

    Attributes:
        name: the attribute.
        key: the name in hashes and records: the attribute's name, or the one that it formerly had.
        alias: the parameter of the constructor: the name without leading underscores.
        rule: the rule by which it contributes to the hash.
        make_default: makes the default as the constructor would, or None if there is none.
        in_repr: whether `repr` shows it.
        fit: turns a value into the one to keep; raises `FuruValueError` if it does not fit the
            annotation.
        shape: reads what the annotation asks for.
    """

    name: str
    key: str
    alias: str
    rule: Rule
    make_default: Callable[[], Any] | None
    in_repr: bool
    fit: Convert
    shape: Callable[[], Shape]


class ConfigClass:
    """The record of one config class; compiled once, at the class statement.

    Attributes:
        cls: the class.
        fields: its fields in the order they are declared, inherited ones first.
        removed: by their keys, the values that fields had which it has no more; they stay in the hash.
    """

    def __init__(self, cls: type, fields: tuple[Field, ...], removed: Mapping[str, Any]) -> None:
        self.cls = cls
        self.fields = fields
        self.removed = removed
        # Compiled by the encoder when the first object is hashed: naming a class may fail.
        self.encoding: Any = None

    @property
    def identity_name(self) -> str:
        """The name in hashes, ``"exp.train:Train"``; an error where the class has none."""
        if "__dataclass_params__" in vars(self.cls):  # `@dataclass(init=False)` passed the seal
            raise decorated(self.cls, "dataclass")
        return _class_names.name_of(self.cls).identity

    @cached_property
    def relpath(self) -> str:
        """The folder of the class in the store, ``"exp/train/Train"``."""
        return _class_names.name_of(self.cls).relpath

    def refit(self, obj: Any) -> None:
        """Fit the fields once more, because `__attrs_post_init__` may have set other values."""
        known = obj.__dict__
        for field in self.fields:
            known[field.name] = field.fit(known[field.name])

    def __repr__(self) -> str:
        return f"ConfigClass({self.cls.__module__}.{self.cls.__qualname__})"


def decorated(cls: type, decorator: str) -> FuruDefinitionError:
    """The error for a config class with a decorator that would make it another kind of class."""
    return FuruDefinitionError(
        f"{cls.__qualname__} is a config class by its class statement, and a decorator of "
        f"{decorator} would make it another one",
        hint="leave the decorator out",
    )
