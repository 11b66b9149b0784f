"""Options of executors as a command line spells them: all values are strings there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

from furu_core.errors import FuruExecutorError, FuruUsageError
from furu_plan._frontier import Window


class OptionParser(NamedTuple):
    """How one option is read.

    Attributes:
        parse: gets the text; raises ValueError for what it cannot read.
        expected: what it expects, in words.
    """

    parse: Callable[[str], Any]
    expected: str


def parse_options(
    executor: str, parsers: Mapping[str, OptionParser], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Keyword arguments of an executor from options by name; values that are no strings stay.

    Args:
        executor: the executor's name, for errors.
        parsers: one for each option.
        options: what was given.

    Raises:
        FuruExecutorError: an option is unknown or cannot be read.

    Example:
        >>> from furu_plan.runs import COUNT, FLAG, parse_options
        >>> parse_options("mine", {"jobs": COUNT, "quiet": FLAG}, {"jobs": "3", "quiet": True})
        {'jobs': 3, 'quiet': True}
    """
    parsed = {}
    for name, value in options.items():
        parser = parsers.get(name)
        if parser is None:
            close = get_close_matches(name, parsers, n=1)
            known = f"known: {', '.join(parsers) or 'none'}"
            raise FuruExecutorError(
                f"executor {executor!r} knows no option {name!r}",
                hint=f"did you mean {close[0]!r}?" if close else known,
            )
        try:
            parsed[name] = parser.parse(value) if isinstance(value, str) else value
        except ValueError:
            raise FuruExecutorError(
                f"option {name!r} of executor {executor!r} is {value!r}",
                hint=f"expected {parser.expected}",
            ) from None
    return parsed


def check_window(window: Window) -> None:
    """Raise unless a window is one.

    Raises:
        FuruUsageError: it is not.
    """
    if window not in ("dfs", "bfs") and not is_count(window):
        raise FuruUsageError(
            f"window_size is {window!r}", hint='expected "dfs", "bfs" or a number from 1 on'
        )


def is_count(value: object) -> bool:
    """Whether a value is a whole number from 1 on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


_WORDS: Final = {"1": True, "true": True, "yes": True, "on": True} | {
    "0": False, "false": False, "no": False, "off": False
}  # fmt: skip


def _flag(text: str) -> bool:
    try:
        return _WORDS[text.strip().lower()]
    except KeyError:
        raise ValueError(text) from None


def _window(text: str) -> Window:
    match text:
        case "dfs":
            return "dfs"
        case "bfs":
            return "bfs"
        case _:
            return int(text)


def parse_pairs(text: str) -> dict[str, str]:
    """``a=1,b=2`` as a dict.

    Raises:
        ValueError: it does not read so.
    """
    pairs = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise ValueError(text)
        pairs[key.strip()] = value.strip()
    return pairs


COUNT: Final = OptionParser(int, "a whole number from 1 on")
FLAG: Final = OptionParser(_flag, "1 or 0")
SECONDS: Final = OptionParser(float, "a number of seconds")
TEXT: Final = OptionParser(str, "text")
WINDOW: Final = OptionParser(_window, "dfs, bfs or a number from 1 on")
