"""From a class or an object to what furu knows of its config class.

The store is looked at by this alone; defining a class, which a scheduler's job never does, takes more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from furu_core._config._config_class import ConfigClass


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
