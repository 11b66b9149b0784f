"""The executor ``dask``, and the function that uses it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Unpack

from furu_core import Furu
from furu_core.errors import FuruUsageError
from furu_core.executors import Liveness, Submission
from furu_dask._backend import DaskBackend, Resources, liveness_of
from furu_plan import runs


def run_dask(
    roots: Furu[Any] | Iterable[Furu[Any]] | Mapping[str, Furu[Any]],
    *,
    address: str | None = None,
    resources: Resources | None = None,
    **options: Unpack[runs.BackendOptions],
) -> runs.ControlledRun:
    """Compute roots and everything they depend on, on a Dask cluster, and wait for the end.

    Args:
        roots: one Furu object, an iterable of them, or a dict of named ones.
        address: of a Dask scheduler; by default a cluster of this machine is started for the run.
        resources: what nodes need of a Dask worker, by spec key, such as ``{"gpu": {"GPU": 1}}``.
        **options: ``max_workers``, ``worker_timeout``, ``window_size``, ``keep_going``,
            ``retry_failed`` and ``progress``, as for every `furu_plan.runs.BackendExecutor`.

    Returns:
        The run, whose `results()` come in the shape of the roots.

    Raises:
        FuruRunError: the roots are not all there; it says why.
        FuruRunCancelled: the run was cancelled, for instance by Ctrl-C.
        FuruUsageError: an option makes no sense.
    """
    return DaskExecutor(address=address, resources=resources, **options).submit(roots).wait()


def _read_resources(text: str) -> Resources:
    return {
        key: {name: float(amount) for name, amount in (one.split(":") for one in value.split("+"))}
        for key, value in runs.parse_pairs(text).items()
    }


class DaskExecutor(runs.BackendExecutor):
    """Runs graphs on a Dask cluster; its arguments are those of `run_dask`."""

    name = "dask"
    places_option = "resources"
    parsers: ClassVar[Mapping[str, runs.OptionParser]] = {
        "address": runs.TEXT,
        "resources": runs.OptionParser(_read_resources, "for example gpu=GPU:1,big=GPU:2+DISK:9"),
    }

    def __init__(
        self,
        *,
        address: str | None = None,
        resources: Resources | None = None,
        **options: Unpack[runs.BackendOptions],
    ) -> None:
        super().__init__(**options)
        if resources and address is None:
            raise FuruUsageError(
                "resources are asked for, and a cluster that is started for the run has none",
                hint="start workers with `dask worker --resources`, and give the address",
            )
        self._address = address
        self._resources = resources or {}

    def backend(self, run: runs.NewRun) -> DaskBackend:
        """What computes the nodes of a run."""
        return DaskBackend(run, self._address, self._resources, self.max_workers)

    def places(self) -> dict[str, str]:
        """Nodes whose spec key has resources compete for the workers that have them."""
        return {key: key for key in self._resources}

    @classmethod
    def liveness(cls, submissions: Sequence[Submission]) -> dict[Submission, Liveness]:
        """Whether tasks that some scheduler was given are still computed."""
        return liveness_of(submissions)
