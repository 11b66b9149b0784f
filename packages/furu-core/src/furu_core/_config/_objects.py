"""The interface of config objects for the rest of furu, and their short names in messages.

Reading the store needs this module only; the larger ones that define config classes stay unimported
in a scheduler's job, which defines none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from furu_core._config._class_record import ConfigClass


class ConfigObject(Protocol):
    """The interface of config objects inside furu; `Furu` is the only class that has it."""

    __furu_class__: ClassVar[ConfigClass]

    @property
    def furu_hash(self) -> str: ...
    @property
    def _executor_spec_key(self) -> Any: ...
    def _create(self) -> Any: ...
    def _load(self) -> Any: ...
    def _validate(self) -> bool | None: ...
    def _dependencies(self) -> Iterable[Any]: ...


def config_class(cls_or_obj: object) -> ConfigClass:
    """The record of a config class, or of an object's class.

    Raises:
        TypeError: it is neither a config class nor an object of one.
    """
    try:
        return cls_or_obj.__furu_class__  # type: ignore[attr-defined, no-any-return]
    except AttributeError:
        raise TypeError(f"{cls_or_obj!r} is no Furu class and no Furu object") from None


def is_furu(value: object) -> bool:
    """Whether a value is a Furu object."""
    return hasattr(type(value), "__furu_class__")


def short_name(obj: ConfigObject) -> str:
    """An object's name in messages: its class and the first digits of its hash."""
    return short_name_of(type(obj).__qualname__, obj.furu_hash)


def short_name_of(class_name: str, node_hash: str) -> str:
    """The short name of a node of which only the class name and hash are known."""
    return f"{class_name}({node_hash[:6]})"
