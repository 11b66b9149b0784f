"""An executor that is complete but for its backend."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import attrs

from furu_core.executors import COUNT, Executor, OptionKind, option
from furu_plan.runs._backend import Backend, BackendPool
from furu_plan.runs._options import ControlledRunOptions
from furu_plan.runs._pool import Place
from furu_plan.runs._run import ControlledRun
from furu_plan.runs._start import NewRun, start_run


@attrs.frozen(kw_only=True)
class BackendExecutor(ControlledRunOptions, Executor):
    """Runs graphs on a backend that computes elsewhere, controlled by a thread of this process.

    A subclass has a `name` and makes a `backend`. One with options of its own is an attrs class as
    well, and declares them by `furu_core.executors.option`.

    Attributes:
        max_workers: how many nodes are computed at once; None for all that the backend has room for.
        worker_timeout: seconds to wait for a worker that can compute what is ready, while nothing is
            computed.
        places_option: the name of the option that places are made of, for errors.

    Raises:
        FuruUsageError: an option makes no sense.

    Example:
        >>> import attrs
        >>> from furu_core.executors import TEXT, option
        >>> from furu_plan.runs import BackendExecutor
        >>> @attrs.frozen(kw_only=True)
        ... class PodExecutor(BackendExecutor):
        ...     name = "pods"
        ...     image: str | None = option(None, "what pods are made of", TEXT)
        ...     def backend(self, run): ...
        >>> PodExecutor.from_options({"image": "python:3.11", "max_workers": "8"}).max_workers
        8
    """

    places_option: ClassVar[str] = "places"

    max_workers: int | None = option(None, "how many nodes are computed at once", COUNT)
    worker_timeout: float = option(
        60.0,
        "seconds to wait for a worker that can compute what is ready, while nothing is computed",
        OptionKind("a number of seconds"),
    )

    @abstractmethod
    def backend(self, run: NewRun) -> Backend:
        """What computes the nodes of a run.

        It is connected when `room` is first asked for, as `submit` does if there is anything to do.
        """

    def places(self) -> Mapping[str, Place]:
        """Spec key to the place of its nodes, for those whose nodes not every worker can compute."""
        return {}

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
                patience=self.worker_timeout,
            )

        of_key = {key: (place,) for key, place in places.items()}
        return start_run(
            self.name,
            roots,
            make_pool,
            self,
            how=self.name,
            places=of_key,
            places_option=self.places_option,
        )
