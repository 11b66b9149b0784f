"""The executor `local`: its options, and the workers that it starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, ClassVar, Final, Literal, TypeAlias, get_args

import attrs

import furu_core
from furu_core import use_settings
from furu_core.errors import FuruUsageError
from furu_core.executors import COUNT, Executor, OptionKind, one_of, option, parse_pairs
from furu_core.workers import origin_here
from furu_local._devices import VARIABLE, DeviceRequest, Slot, resolve_devices
from furu_local._process_pool import Launch, ProcessPool
from furu_local._processors import processor_count, threads_of_workers
from furu_plan.runs import ControlledRun, ControlledRunOptions, NewRun, Pool, start_run

NAME: Final = "local"

#: What computes nodes.
WorkerKind: TypeAlias = Literal["process", "thread", "inline"]


def _are_counts(limits: Any) -> bool:
    return isinstance(limits, Mapping) and all(map(COUNT.check, limits.values()))


def _devices(text: str) -> dict[str, DeviceRequest]:
    """``gpu=2`` is two devices, ``gpu=0+1`` those two, ``gpu=1+`` the one with this index."""
    return {
        key: [part for part in value.split("+") if part] if "+" in value else int(value)
        for key, value in parse_pairs(text).items()
    }


@attrs.frozen(kw_only=True)
class LocalExecutor(ControlledRunOptions, Executor):
    """Runs graphs on this machine; its arguments are those of `run_local`.

    Example:
        >>> executor = LocalExecutor.from_options({"max_workers": "2", "limits": "db=1"})
    """

    name: ClassVar[str] = NAME

    max_workers: int | None = option(None, "how many nodes are computed at once", COUNT)
    worker: WorkerKind = option("process", "what computes nodes", one_of(*get_args(WorkerKind)))
    limits: Mapping[str, int] | None = option(
        None,
        "spec key to the number of its nodes that may be computed at once",
        OptionKind("whole numbers from 1 on by spec key, such as db=1,gpu=2", _are_counts),
    )
    devices: Mapping[str, DeviceRequest] | None = option(
        None,
        "spec key to a number of devices, or a list of them",
        OptionKind("for example gpu=2, or gpu=0+1 for the first two", parse=_devices),
    )
    _slots: Mapping[str, tuple[Slot, ...]] = attrs.field(init=False, repr=False)

    @_slots.default
    def _find_slots(self) -> Mapping[str, tuple[Slot, ...]]:
        if self.devices and self.worker != "process":
            raise FuruUsageError(
                f"devices need a process of their own for each, and worker is {self.worker!r}",
                hint='leave worker="process", or leave devices out',
            )
        return resolve_devices(self.devices or {}, os.environ.get(VARIABLE))

    def submit(self, roots: Any) -> ControlledRun:
        """Start computing `roots` and everything they depend on, and return the run.

        With ``worker="inline"`` the run has ended when this returns; `wait` tells how.
        """
        workers = self.max_workers or processor_count()
        return start_run(
            self.name,
            roots,
            partial(_pool, self.worker, workers, self._slots),
            self,
            how=_how(self.worker, workers),
            limits=self.limits,
            places=self._slots,
            places_option="devices",
            here=self.worker == "inline",
            within=_in_threads(self),
        )


def _how(worker: WorkerKind, workers: int) -> str:
    """How nodes are computed, in words."""
    one = workers == 1 or worker == "inline"
    return f"{'one at a time' if one else f'up to {workers} at once'} ({worker})"


def _in_threads(executor: LocalExecutor) -> AbstractContextManager[Any] | None:
    """The context that gives workers in this process the settings of the run; None for processes."""
    retry_failed = executor.settings().retry_failed
    if executor.worker != "process" and retry_failed != furu_core.settings().retry_failed:
        return use_settings(retry_failed=retry_failed)
    return None


def _pool(
    worker: WorkerKind, workers: int, slots: Mapping[str, tuple[Slot, ...]], run: NewRun
) -> Pool:
    match worker:
        case "process":
            threads = threads_of_workers(min(workers, run.at_once), os.environ)
            origin = origin_here(run.settings, for_here=True)
            launch = Launch(origin, {**os.environ, **threads}, run.folder)
            places = tuple(dict.fromkeys(slot for group in slots.values() for slot in group))
            return ProcessPool(workers, launch, NAME, run.id, places)
        case "thread":
            # Imported here, as below: it takes longer than a process needs to be started.
            from furu_local._threads import ThreadPool

            return ThreadPool(workers, NAME, run.id)
        case "inline":
            from furu_local._threads import InlinePool

            return InlinePool(NAME, run.id)
