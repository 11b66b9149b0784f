"""An executor that is complete but for its backend."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self, Unpack

from furu_core.errors import FuruUsageError
from furu_core.executors import Executor
from furu_plan.runs._backend import Backend, BackendPool
from furu_plan.runs._options import COUNT, SECONDS, OptionParser, is_count, parse_options
from furu_plan.runs._pool import Place
from furu_plan.runs._run import ControlledRun
from furu_plan.runs._start import RUN_OPTIONS, NewRun, RunOptions, start_run

_WORKER_TIMEOUT_SECS: Final = 60.0


class BackendOptions(RunOptions, total=False):
    """What every run on a backend can be asked for; see `BackendExecutor`."""

    max_workers: int | None
    worker_timeout: float


class BackendExecutor(Executor):
    """Runs graphs on a backend that computes elsewhere, controlled by a thread of this process.

    A subclass has a `name`, makes a `backend`, and lists the `parsers` of its own options.

    Args:
        **options: ``max_workers``, how many nodes are computed at once, by default as many as the
            backend has room for; ``worker_timeout``, seconds to wait for a worker that can compute
            what is ready, while nothing is computed, by default 60; and what `start_run` takes.

    Attributes:
        parsers: how a command line spells the subclass's own options, by name.
        places_option: which of them names places, for errors.
        max_workers: the option; None where it was not given.

    Raises:
        FuruUsageError: an option makes no sense.
    """

    parsers: ClassVar[Mapping[str, OptionParser]] = {}
    places_option: ClassVar[str] = "places"

    def __init__(self, **options: Unpack[BackendOptions]) -> None:
        self.max_workers = options.pop("max_workers", None)
        if self.max_workers is not None and not is_count(self.max_workers):
            raise FuruUsageError(
                f"max_workers is {self.max_workers!r}", hint="give a whole number from 1 on"
            )
        self._patience = options.pop("worker_timeout", _WORKER_TIMEOUT_SECS)
        self._options: Mapping[str, Any] = options

    @abstractmethod
    def backend(self, run: NewRun) -> Backend:
        """What computes the nodes of a run.

        It is connected when `room` is first asked for, as `submit` does if there is anything to do.
        """

    def places(self) -> Mapping[str, Place]:
        """Spec key to the place of its nodes, for those whose nodes not every worker can compute."""
        return {}

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Make an executor from options by name; of the command line all values are strings.

        Raises:
            FuruExecutorError: an option is unknown or cannot be read.
            FuruUsageError: an option makes no sense.
        """
        common = {"max_workers": COUNT, "worker_timeout": SECONDS, **RUN_OPTIONS}
        return cls(**parse_options(cls.name, {**cls.parsers, **common}, options))

    def submit(self, roots: Any) -> ControlledRun:
        """Start computing `roots` and everything they depend on, and return the run.

        Raises:
            FuruExecutorError: there is something to compute, and the backend cannot be reached.
        """
        places = self.places()

        def make_pool(run: NewRun) -> BackendPool:
            backend = self.backend(run)
            if run.todo:
                try:
                    backend.room(None)
                except BaseException:
                    backend.close()
                    raise
            return BackendPool(
                backend,
                run.id,
                places=tuple(dict.fromkeys(places.values())),
                max_workers=self.max_workers,
                patience=self._patience,
            )

        of_key = {key: (place,) for key, place in places.items()}
        return start_run(
            self.name,
            roots,
            make_pool,
            how=self.name,
            places=of_key,
            places_option=self.places_option,
            **self._options,
        )
