"""What an object says that it needs: the nodes that it depends on, and the executor spec that computes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from furu_core._config._identity import nested
from furu_core._config._objects import short_name
from furu_core._text import shown
from furu_core.errors import (
    FuruDefinitionError,
    FuruDependencyError,
)

if TYPE_CHECKING:
    from furu_core._config._objects import ConfigObject

F = TypeVar("F", bound=Callable[..., object])


def spec_key(obj: ConfigObject) -> str:
    """The spec key that an object asks for.

    Raises:
        FuruDefinitionError: it is not a string, or empty.
    """
    given: object = obj._executor_spec_key
    key = given() if callable(given) else given
    if not isinstance(key, str) or not key:
        raise FuruDefinitionError(
            f"_executor_spec_key of {short_name(obj)} is {key!r}, expected a non-empty string",
            hint='write for example `_executor_spec_key = "gpu"`',
        )
    return key


def dependencies(obj: ConfigObject) -> tuple[Any, ...]:
    """The nodes that must be there before `obj` can be computed.

    They are the Furu objects in its fields and those that its `_dependencies` names.

    Raises:
        FuruDependencyError: `_dependencies` returned something else.
    """
    fields = nested(obj)
    named = _named_dependencies(obj)
    if not named:
        return fields
    found = {dependency.furu_hash: dependency for dependency in fields}
    for index, dependency in enumerate(named):
        if getattr(type(dependency), "__furu_class__", None) is None:
            raise FuruDependencyError(
                f"_dependencies of {short_name(obj)} returned deps[{index}] = "
                f"{_shown(dependency)}, expected a Furu object",
                hint="return the objects themselves, not their results or classes",
            )
        found.setdefault(dependency.furu_hash, dependency)
    return tuple(found.values())


def _named_dependencies(obj: ConfigObject) -> list[Any]:
    named = obj._dependencies()
    try:
        return list(named)
    except TypeError:
        raise FuruDependencyError(
            f"_dependencies of {short_name(obj)} returned {_shown(named)}, expected an iterable "
            "of Furu objects",
            hint="return a list, also for a single one",
        ) from None


def _shown(value: object) -> str:
    return f"{shown(value)} ({type(value).__name__})"
