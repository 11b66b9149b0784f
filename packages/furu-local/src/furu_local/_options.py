"""The options of a run on this machine: their defaults, checks, and spelling on a command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Final

import attrs

from furu_core.errors import FuruExecutorError, FuruUsageError
from furu_local._devices import DeviceRequest
from furu_local._pool import WorkerKind
from furu_plan import Window


@attrs.frozen
class Options:
    """How to run, checked.

    Attributes:
        max_workers: how many nodes are computed at once.
        worker: by what.
        window_size: how many roots are worked on at once.
        keep_going: whether a node that failed ends only what depends on it.
        limits: spec key to the number of its nodes computed at once.
        devices: spec key to its devices.
        retry_failed: in place of the setting; None leaves that.
        progress: False shows none.
    """

    max_workers: int
    worker: WorkerKind
    window_size: Window
    keep_going: bool
    limits: Mapping[str, int]
    devices: Mapping[str, DeviceRequest]
    retry_failed: bool | None
    progress: bool | None


def checked_options(
    *,
    max_workers: int | None = None,
    worker: str = "process",
    window_size: Window = "bfs",
    keep_going: bool = False,
    limits: Mapping[str, int] | None = None,
    devices: Mapping[str, DeviceRequest] | None = None,
    retry_failed: bool | None = None,
    progress: bool | None = None,
) -> Options:
    """Check options, and fill in defaults.

    Raises:
        FuruUsageError: one of them makes no sense.
    """
    workers = cpu_count() if max_workers is None else max_workers
    if not _is_count(workers):
        raise FuruUsageError(
            f"max_workers is {max_workers!r}", hint="give a whole number from 1 on, or leave it out"
        )
    kinds = {kind.value: kind for kind in WorkerKind}
    if worker not in kinds:
        raise FuruUsageError(f"worker is {worker!r}", hint=f"expected one of {', '.join(kinds)}")
    if window_size not in ("dfs", "bfs") and not _is_count(window_size):
        raise FuruUsageError(
            f"window_size is {window_size!r}", hint='expected "dfs", "bfs" or a number from 1 on'
        )
    for key, limit in (limits or {}).items():
        if not _is_count(limit):
            raise FuruUsageError(
                f"limits[{key!r}] is {limit!r}", hint="give a whole number from 1 on"
            )
    if devices and worker != "process":
        raise FuruUsageError(
            f"devices need a process of their own for each, and worker is {worker!r}",
            hint='leave worker="process", or leave devices out',
        )
    return Options(
        max_workers=workers,
        worker=kinds[worker],
        window_size=window_size,
        keep_going=bool(keep_going),
        limits=dict(limits or {}),
        devices=dict(devices or {}),
        retry_failed=retry_failed,
        progress=progress,
    )


def cpu_count() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parse_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `checked_options` from a command line, where all values are strings.

    Values that are no strings stay as they are.

    Raises:
        FuruExecutorError: an option is unknown or cannot be read.

    Example:
        >>> parse_options({"max_workers": "2", "devices": "gpu=2,big=0+1"})
        {'max_workers': 2, 'devices': {'gpu': 2, 'big': ['0', '1']}}
    """
    parsed = {}
    for name, value in options.items():
        parser = _PARSERS.get(name)
        if parser is None:
            close = get_close_matches(name, _PARSERS, n=1)
            raise FuruExecutorError(
                f"executor 'local' knows no option {name!r}",
                hint=f"did you mean {close[0]!r}?" if close else f"known: {', '.join(_PARSERS)}",
            )
        try:
            parsed[name] = parser[0](value) if isinstance(value, str) else value
        except ValueError:
            raise FuruExecutorError(
                f"option {name!r} of executor 'local' is {value!r}", hint=f"expected {parser[1]}"
            ) from None
    return parsed


def _is_count(value: object) -> bool:
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


def _pairs(text: str) -> dict[str, str]:
    pairs = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise ValueError(text)
        pairs[key.strip()] = value.strip()
    return pairs


def _limits(text: str) -> dict[str, int]:
    return {key: int(value) for key, value in _pairs(text).items()}


def _devices(text: str) -> dict[str, DeviceRequest]:
    """``gpu=2`` is two devices, ``gpu=0+1`` those two, ``gpu=1+`` the one with this index."""
    return {
        key: [part for part in value.split("+") if part] if "+" in value else int(value)
        for key, value in _pairs(text).items()
    }


_PARSERS: Final[Mapping[str, tuple[Callable[[str], Any], str]]] = {
    "max_workers": (int, "a whole number from 1 on"),
    "worker": (str, "process, thread or inline"),
    "window_size": (_window, "dfs, bfs or a number from 1 on"),
    "keep_going": (_flag, "1 or 0"),
    "limits": (_limits, "for example db=1,gpu=2"),
    "devices": (_devices, "for example gpu=2, or gpu=0+1 for the first two"),
    "retry_failed": (_flag, "1 or 0"),
    "progress": (_flag, "1 or 0"),
}
