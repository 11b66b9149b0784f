"""Options of executors: fields of their classes, which a command line sets as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import attrs

from furu_core import _text
from furu_core.errors import FuruExecutorError, FuruUsageError

_METADATA: Final = "furu_option"


def _anything(_value: Any) -> bool:
    return True


@attrs.frozen
class OptionKind:
    """The values that an option takes, beyond what its annotation says.

    Attributes:
        expected: what it takes, in words.
        check: whether a value other than the default makes sense.
        parse: reads the text of a command line where the annotation does not tell how; raises
            ValueError for text that it cannot read.
        choices: all the texts that it takes, where these are few.
    """

    expected: str
    check: Callable[[Any], bool] = _anything
    parse: Callable[[str], Any] | None = None
    choices: tuple[str, ...] = ()


@attrs.frozen
class Option:
    """The declaration of an option.

    Attributes:
        help: what the option does, in a line.
        kind: what it takes.
        alias: another name for it.
    """

    help: str
    kind: OptionKind
    alias: str | None


def option(default: Any, help: str, kind: OptionKind, *, alias: str | None = None) -> Any:
    """An option of an executor: a field of its class, which is an attrs class.

    Text, as a command line gives it, is read as the annotation says.

    Args:
        default: its value when it is not given.
        help: what the option does, in a line.
        kind: what it takes.
        alias: another name for it, for instance the one that `furu run` gives it.

    Example:
        >>> import attrs
        >>> from furu_core.executors import COUNT, Executor, option
        >>> @attrs.frozen(kw_only=True)
        ... class MyExecutor(Executor):
        ...     name = "mine"
        ...     jobs: int = option(1, "how many jobs there are at once", COUNT)
        ...     def submit(self, roots): ...
        >>> MyExecutor.from_options({"jobs": "3"})
        MyExecutor(jobs=3)
    """
    metadata = {_METADATA: Option(help, kind, alias)}
    flag = partial(_flag, default) if kind is FLAG else None
    return attrs.field(default=default, converter=flag, validator=_validate, metadata=metadata)


def options_of(cls: type) -> dict[str, Option]:
    """The options of an executor's class, by name."""
    fields = attrs.fields(cls) if attrs.has(cls) else ()
    return {f.name: f.metadata[_METADATA] for f in fields if _METADATA in f.metadata}


def read_options(cls: type, executor: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments for an executor's class from options by name; text is parsed, other values stay.

    Args:
        cls: the class.
        executor: the executor's name, for errors.
        given: the options.

    Raises:
        FuruExecutorError: an option is unknown or cannot be read.
    """
    options = options_of(cls)
    names = {option.alias: name for name, option in options.items() if option.alias}
    values = {}
    for said, value in given.items():
        name = names.get(said, said)
        if name not in options:
            raise _unknown(executor, name, list(options))
        if isinstance(value, str):
            try:
                value = _read(value, cls, name, options[name].kind)
            except ValueError:
                raise FuruExecutorError(
                    f"option {name!r} of executor {executor!r} is {value!r}",
                    hint=f"expected {options[name].kind.expected} ({options[name].help})",
                ) from None
        values[name] = value
    return values


def _read(text: str, cls: type, name: str, kind: OptionKind) -> Any:
    if kind.parse is not None:
        return kind.parse(text)
    # Imported only for text: most options come from Python, and the import takes time.
    from furu_core._config._annotations import shape_of_field
    from furu_core._forms._typed_text import convert

    return convert(text, shape_of_field(cls, name))


def _unknown(executor: str, name: str, known: list[str]) -> FuruExecutorError:

    close = _text.nearest(name, known)
    return FuruExecutorError(
        f"executor {executor!r} knows no option {name!r}",
        hint=f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known) or 'none'}",
    )


def _validate(_executor: Any, field: attrs.Attribute[Any], value: Any) -> None:
    kind = field.metadata[_METADATA].kind
    if value is not field.default and not kind.check(value):
        raise FuruUsageError(f"{field.name} is {value!r}", hint=f"expected {kind.expected}")


def _flag(default: Any, value: Any) -> Any:
    """A value that stands for true or false, such as 1, as a bool: records of options need one."""
    return value if isinstance(value, str) or value is default else bool(value)


def is_count(value: object) -> bool:
    """Whether a value is a whole number from 1 on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_duration(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def one_of(*choices: Any) -> OptionKind:
    """The kind of an option that is one of a few texts."""
    expected = f"{', '.join(choices[:-1])} or {choices[-1]}"
    return OptionKind(expected, lambda value: value in choices, choices=choices)


def parse_pairs(text: str) -> dict[str, str]:
    """``a=1,b=2`` as a dict.

    Raises:
        ValueError: the text has another form.
    """
    pairs = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise ValueError(text)
        pairs[key.strip()] = value.strip()
    return pairs


COUNT: Final = OptionKind("a whole number from 1 on", is_count)
FLAG: Final = OptionKind("1 or 0", lambda value: isinstance(value, bool | None), choices=("1", "0"))
SECONDS: Final = OptionKind("a number of seconds above 0", _is_duration)
TEXT: Final = OptionKind("text")
