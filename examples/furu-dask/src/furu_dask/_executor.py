"""The executor ``dask``, and the function that uses it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from furu_core import Furu
from furu_core.errors import FuruUsageError
from furu_core.executors import TEXT, Liveness, OptionKind, Submission, option, parse_pairs
from furu_dask._backend import DaskBackend, Resources, liveness_of
from furu_plan import Window, runs


def run_dask(
    roots: Furu[Any] | Iterable[Furu[Any]] | Mapping[str, Furu[Any]],
    *,
    address: str | None = None,
    resources: Resources | None = None,
    max_workers: int | None = None,
    worker_timeout: float = 60.0,
    window_size: Window = "bfs",
    keep_going: bool = False,
    retry_failed: bool | None = None,
    progress: bool | None = None,
    tags: Mapping[str, str] | None = None,
    note: str = "",
) -> runs.ControlledRun:
    """Compute roots and everything they depend on, on a Dask cluster, and wait for the end.

    Args:
        roots: one Furu object, an iterable of them, or a dict of named ones.
        address: of a Dask scheduler; by default a cluster of this machine is started for the run.
        resources: what nodes need of a Dask worker, by spec key, such as ``{"gpu": {"GPU": 1}}``.
        max_workers: how many nodes are computed at once; by default as many as there are threads.
        worker_timeout: seconds to wait for a worker that can compute what is ready, while nothing is
            computed.
        window_size: how many roots are worked on at once: "bfs" all, "dfs" one, or a number.
        keep_going: when a node fails for good, go on with what does not depend on it.
        retry_failed: whether nodes that failed are tried again, in place of `FURU_RETRY_FAILED`.
        progress: whether to tell of progress on the console.
        tags: what the run is called, by name; `furu runs` shows it.
        note: what there is to say of it.

    Returns:
        The run, whose `results()` come in the shape of the roots.

    Raises:
        FuruRunError: the roots are not all there; it says why.
        FuruRunCancelled: the run was cancelled, for instance by Ctrl-C.
        FuruUsageError: an option makes no sense.
    """
    executor = DaskExecutor(
        address=address,
        resources=resources,
        max_workers=max_workers,
        worker_timeout=worker_timeout,
        window_size=window_size,
        keep_going=keep_going,
        retry_failed=retry_failed,
        progress=progress,
        tags=tags,
        note=note,
    )
    return executor.submit(roots).wait()


def _read_resources(text: str) -> Resources:
    return {
        key: {name: float(amount) for name, amount in (one.split(":") for one in value.split("+"))}
        for key, value in parse_pairs(text).items()
    }


@attrs.frozen(kw_only=True)
class DaskExecutor(runs.BackendExecutor):
    """Runs graphs on a Dask cluster; its arguments are those of `run_dask`."""

    name = "dask"
    places_option = "resources"

    address: str | None = option(None, "of a Dask scheduler", TEXT)
    resources: Resources | None = option(
        None,
        "what nodes need of a Dask worker, by spec key",
        OptionKind("for example gpu=GPU:1,big=GPU:2+DISK:9", parse=_read_resources),
    )

    def __attrs_post_init__(self) -> None:
        if self.resources and self.address is None:
            raise FuruUsageError(
                "resources are asked for, and a cluster that is started for the run has none",
                hint="start workers with `dask worker --resources`, and give the address",
            )

    def backend(self, run: runs.NewRun) -> DaskBackend:
        """What computes the nodes of a run."""
        return DaskBackend(run, self.address, self.resources or {}, self.max_workers)

    def places(self) -> dict[str, str]:
        """Nodes whose spec key has resources compete for the workers that have them."""
        return {key: key for key in self.resources or {}}

    @classmethod
    def liveness(cls, submissions: Sequence[Submission]) -> dict[Submission, Liveness]:
        """Whether tasks that some scheduler was given are still computed."""
        return liveness_of(submissions)
