"""The options of a run on this machine: their defaults, checks, and spelling on a command line."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

import attrs

from furu_core.errors import FuruUsageError
from furu_local._devices import DeviceRequest
from furu_local._processors import processor_count
from furu_plan import Window
from furu_plan.runs import (
    COUNT,
    FLAG,
    TEXT,
    WINDOW,
    OptionParser,
    check_window,
    is_count,
    parse_pairs,
)


class WorkerKind(Enum):
    """What computes nodes."""

    PROCESS = "process"
    THREAD = "thread"
    INLINE = "inline"


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
    workers = processor_count() if max_workers is None else max_workers
    if not is_count(workers):
        raise FuruUsageError(
            f"max_workers is {max_workers!r}", hint="give a whole number from 1 on, or leave it out"
        )
    kinds = {kind.value: kind for kind in WorkerKind}
    if worker not in kinds:
        raise FuruUsageError(f"worker is {worker!r}", hint=f"expected one of {', '.join(kinds)}")
    check_window(window_size)
    for key, limit in (limits or {}).items():
        if not is_count(limit):
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


def _limits(text: str) -> dict[str, int]:
    return {key: int(value) for key, value in parse_pairs(text).items()}


def _devices(text: str) -> dict[str, DeviceRequest]:
    """``gpu=2`` is two devices, ``gpu=0+1`` those two, ``gpu=1+`` the one with this index."""
    return {
        key: [part for part in value.split("+") if part] if "+" in value else int(value)
        for key, value in parse_pairs(text).items()
    }


PARSERS: Final[Mapping[str, OptionParser]] = {
    "max_workers": COUNT,
    "worker": OptionParser(TEXT.parse, "process, thread or inline"),
    "window_size": WINDOW,
    "keep_going": FLAG,
    "limits": OptionParser(_limits, "for example db=1,gpu=2"),
    "devices": OptionParser(_devices, "for example gpu=2, or gpu=0+1 for the first two"),
    "retry_failed": FLAG,
    "progress": FLAG,
}
