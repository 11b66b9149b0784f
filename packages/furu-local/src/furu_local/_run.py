"""A run on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from furu_core import Furu
    from furu_core.executors import Run
    from furu_local._devices import DeviceRequest
    from furu_local._executor import WorkerKind
    from furu_plan import Window


def run_local(
    roots: Furu[Any] | Iterable[Furu[Any]] | Mapping[str, Furu[Any]],
    *,
    max_workers: int | None = None,
    worker: WorkerKind = "process",
    window_size: Window = "bfs",
    keep_going: bool = False,
    limits: Mapping[str, int] | None = None,
    devices: Mapping[str, DeviceRequest] | None = None,
    retry_failed: bool | None = None,
    progress: bool | None = None,
    tags: Mapping[str, str] | None = None,
    note: str = "",
) -> Run:
    """Compute roots and everything they depend on, on this machine, and wait for the end.

    In the main thread Ctrl-C, SIGTERM and SIGHUP stop the run: nothing new starts, the nodes being
    computed are interrupted and recorded as cancelled. A second signal kills them at once.

    Args:
        roots: one Furu object, an iterable of them, or a dict of named ones.
        max_workers: how many nodes are computed at once. Default: the number of processors. These
            are divided among worker processes: unless you set `OMP_NUM_THREADS` or a similar one,
            the libraries of each use no more threads than its share.
        worker: what computes nodes: ``"process"``; ``"thread"`` where nodes wait more than they
            compute, with the limits that threads can be neither killed nor isolated from each other,
            and that meanwhile no `get()` in this process computes; ``"inline"`` for the calling thread
            itself, whose console shows what nodes print, and in which debuggers work.
        window_size: how many roots are worked on at once: ``"bfs"`` all, ``"dfs"`` one after the
            other, or a number.
        keep_going: when a node fails for good, go on with what does not depend on it.
        limits: spec key to the number of its nodes that may be computed at once.
        devices: spec key to a number of devices, or a list of them, as ``CUDA_VISIBLE_DEVICES``
            counts them. Each such node has one to itself, in a process that sees no other.
        retry_failed: whether nodes that failed are tried again; default: `FURU_RETRY_FAILED`.
        progress: whether to tell of progress on the console. Default: by a display on a terminal, by
            a line now and then elsewhere.
        tags: tags of the run, for `furu runs`.
        note: a note on the run, for `furu runs`.

    Returns:
        The run, whose `results()` come in the shape of the roots. In a store that is only read, where all of
        them are there, it is not recorded, and has no id.

    Raises:
        FuruRunError: the roots are not all there; it names each node that failed, and its log.
        FuruRunCancelled: the run was cancelled. After a signal, a program that does not catch it
            ends with exit status 130.
        FuruNestedRun: the caller is itself the code of a node, or a script that a worker imports.
        FuruUsageError: an option makes no sense.
        FuruStoreError: the store cannot be written, and something would have to be computed.

    Example:
        >>> import tempfile
        >>> from furu_core import use_settings
        >>> from furu_local import run_local
        >>> from furu_testing.nodes import Leaf, Sum
        >>> sums = [Sum(parts=(Leaf(x=1), Leaf(x=n))) for n in (1, 3)]
        >>> with use_settings(path=tempfile.mkdtemp()):
        ...     run_local(sums, worker="inline", progress=False).results()
        [2, 4]
    """
    # Imported here, because each worker process imports this function with the user's module, and
    # would wait for all that starts workers.
    from furu_core.executors import submit
    from furu_local._executor import LocalExecutor

    executor = LocalExecutor(
        max_workers=max_workers,
        worker=worker,
        window_size=window_size,
        keep_going=keep_going,
        limits=limits,
        devices=devices,
        retry_failed=retry_failed,
        progress=progress,
        tags=tags,
        note=note,
    )
    return submit(executor, roots).wait()
