"""Which of the methods that a user may write a class has, and how they are called safely."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from furu_core._config._identity import nested
from furu_core._config._objects import config_class, short_name
from furu_core._context._context import validating
from furu_core._text import error_text, shown
from furu_core.errors import (
    FuruDefinitionError,
    FuruDependencyError,
    FuruInvalidDependency,
    FuruProtocolError,
)

if TYPE_CHECKING:
    from furu_core._config._objects import ConfigObject

F = TypeVar("F", bound=Callable[..., object])


def default(method: F) -> F:
    """Mark a method of `Furu` itself, so that one can tell whether a class brings its own."""
    method.__furu_default__ = True  # type: ignore[attr-defined]
    return method


def overrides(cls: type, name: str) -> bool:
    """Whether a config class brings its own method `name`."""
    return not getattr(getattr(cls, name), "__furu_default__", False)


def spec_key(obj: ConfigObject) -> str:
    """The spec key that an object asks for.

    Raises:
        FuruDefinitionError: it is no non-empty string.
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
    if not overrides(type(obj), "_dependencies"):
        return fields
    found = {dependency.furu_hash: dependency for dependency in fields}
    for index, dependency in enumerate(_named_dependencies(obj)):
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


def invalid_reason(obj: ConfigObject) -> str | None:
    """Why the files that `furu_dir` holds are invalid in the eyes of `_validate`; None when valid.

    Whatever `_validate` raises means invalid, save that breaking a rule of the executor is no
    statement about the artifact.
    """
    if not overrides(type(obj), "_validate"):
        return None
    with validating(obj.furu_hash):
        try:
            verdict = obj._validate()
        except (FuruProtocolError, FuruInvalidDependency):
            raise
        except Exception as error:  # noqa: BLE001 - any exception of the user's check means invalid
            _warn("_validate of %s raised", short_name(obj), exc_info=True)
            return f"_validate raised {type(error).__name__}: {error_text(error)}"
    if verdict is None or verdict:
        return None
    _warn("_validate of %s returned %r", short_name(obj), verdict)
    return f"_validate returned {verdict!r}"


def _warn(message: str, *values: object, exc_info: bool = False) -> None:
    from furu_core._output import _logging  # a good artifact has nothing to log

    _logging.log.getChild("validate").warning(message, *values, exc_info=exc_info)


def class_name(cls: type) -> str:
    """The importable name of a config class, as hashes and `FURU_ALWAYS_RERUN` know it."""
    return config_class(cls).identity_name
