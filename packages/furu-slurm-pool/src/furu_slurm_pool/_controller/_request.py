"""The request of a run: its roots and options, on disk, so that any process can go on with it.

::

    runs/<run id>/request.json            the options
                  roots.jsonl             the roots' configs, a graph file
                  same-as-<digest>        an empty file, by which a run of the same roots is found
         .locks/pool-<digest>             held by who begins a run of these roots
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

import attrs

import furu_core
from furu_core.errors import FuruExecutorError, FuruUntrustedFile
from furu_core.executors import (
    COUNT,
    OWNER_WRITES,
    SECONDS,
    RecordFormat,
    Roots,
    is_local_folder,
    list_folder,
    named_roots,
    one_of,
    option,
    read_file,
    read_trusted,
    replace_file,
    store_errors,
)
from furu_core.workers import GraphReader, GraphWriter
from furu_plan.runs import ControlledRunOptions
from furu_slurm import Cluster, LocalCluster, SlurmCluster, SlurmSpec, Specs

FILE: Final = "request.json"
ROOTS: Final = "roots.jsonl"
_MARK: Final = "same-as-"
_log = logging.getLogger("furu.pool")

#: Where the workers run.
ClusterName: TypeAlias = Literal["slurm", "local"]


@attrs.frozen(kw_only=True)
class PoolOptions(ControlledRunOptions):
    """The options of a run on a pool that do not depend on the machine of its controller.

    Attributes:
        max_workers_total: how many workers there may be at once.
        idle_timeout_sec: seconds without work after which a worker leaves.
        poll_interval_sec: the longest pause between two looks at the queue.
        cluster: ``"slurm"``, or ``"local"`` for processes of this machine.
    """

    max_workers_total: int = option(
        50,
        "how many workers there may be at once, those that wait in Slurm's queue counted",
        COUNT,
        alias="max_workers",  # what `furu run -j` calls it
    )
    idle_timeout_sec: float = option(
        60.0, "seconds without work after which a worker leaves", SECONDS
    )
    poll_interval_sec: float = option(2.0, "longest pause between two looks at the queue", SECONDS)
    cluster: ClusterName = option(
        "slurm",
        '"local" for workers that are processes of this machine',
        one_of(*get_args(ClusterName)),
    )


@attrs.frozen(kw_only=True)
class Request(PoolOptions):
    """All options of a run on a pool.

    Attributes:
        specs: the specs of workers, by spec key.
        submitit_root: the folder below which workers have their scripts and logs.
    """

    specs: Specs
    submitit_root: Path

    def scheduler(self) -> Cluster:
        """The cluster that runs the workers."""
        return LocalCluster() if self.cluster == "local" else SlurmCluster()

    @property
    def local_store(self) -> bool:
        """Whether this process and all workers see each other's files at once."""
        return self.cluster == "local" or is_local_folder(furu_core.settings().path)

    def margin_secs(self, spec: SlurmSpec) -> float:
        """How many seconds before the end of its walltime a job has to have ended its work."""
        return min(60.0, max(5.0, 0.05 * 60 * spec.time_min))


@attrs.frozen
class _RequestRecord:
    request: Request
    shape: str
    names: tuple[str | int, ...]
    places: tuple[int, ...]  # in the graph file


_FORMAT: Final = RecordFormat(
    _RequestRecord,
    "the request of a run on a pool",
    version=2,
    next_step="`furu pool status` without a run lists those that there are",
    next_step_other_version="use the furu that wrote it",
)


def write_request(folder: Path, request: Request, roots: Roots) -> None:
    """Write the request of a run, in place of an earlier one.

    Only the controller of the run's newest term may call this.

    Raises:
        OSError, FuruStoreError: the folder cannot be written.
    """
    _take_over(folder / ROOTS)
    with GraphWriter(folder / ROOTS) as writer:
        places = tuple([writer.add(root) for root in roots.items])
    names = tuple([name if isinstance(name, int) else str(name) for name in roots.names])
    # The file is replaced atomically: a reader finds the earlier options or these.
    record = _RequestRecord(request, roots.shape.value, names, places)
    _FORMAT.replace(folder / FILE, record, mode=OWNER_WRITES)
    (folder / f"{_MARK}{digest(roots)}").touch()


def read_request(folder: Path) -> tuple[Request, Roots]:
    """Read what `write_request` wrote.

    Raises:
        FuruExecutorError: the folder is not that of a run on a pool.
        FuruDamagedRecord, FuruFormatError: the request cannot be read.
        FuruUntrustedFile: it is of somebody whose code is not to be run.
        FuruImportNameError, FuruValueError: the object of a root cannot be made any more.
    """
    found = _read(folder, read_trusted)  # specs are commands for the scheduler
    reader = GraphReader(folder / ROOTS)
    return found.request, _shaped(found, [reader.read(place) for place in found.places])


def _take_over(path: Path) -> None:
    """Put a copy of one's own in place of a file that another user wrote, who began the run."""
    with store_errors(path), suppress(FileNotFoundError):  # a new run has none
        if path.stat().st_uid != os.geteuid():
            replace_file(path, read_trusted(path), mode=OWNER_WRITES)


def is_trusted(folder: Path) -> bool:
    """Whether this user may go on with a run: whether those who wrote its request are trusted."""
    try:
        read_trusted(folder / FILE)
    except FuruUntrustedFile as error:
        _log.warning("%s is left alone and not gone on with: %s", folder.name, error)
        return False
    except OSError:
        pass  # whoever reads it next says what is wrong
    return True


def read_options(folder: Path) -> Request:
    """Read the options without the roots, for which the user's code would be imported."""
    return _read(folder, read_file).request


def _read(folder: Path, reader: Callable[[str | os.PathLike[str]], bytes]) -> _RequestRecord:
    try:
        return _FORMAT.read(folder / FILE, reader=reader)
    except FileNotFoundError:
        raise FuruExecutorError(
            f"{folder} is the folder of no run on a pool", hint=_FORMAT.next_step
        ) from None


def _shaped(found: _RequestRecord, items: list[Any]) -> Roots:
    match found.shape:
        case "one":
            return named_roots(items[0])
        case "dict":
            return named_roots(dict(zip(found.names, items, strict=True)))
        case _:
            return named_roots(items)


def digest(roots: Roots) -> str:
    """A digest of the roots; it is the same for the same roots in any order."""
    hashes = sorted({root.furu_hash for root in roots.items})
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:16]


def same_runs(runs: Path, roots: Roots) -> Iterator[Path]:
    """The folders of earlier runs on a pool for the same roots, the newest first."""
    mark = f"{_MARK}{digest(roots)}"
    for name in sorted(list_folder(str(runs)), reverse=True):
        folder = f"{runs}/{name}"
        if os.path.exists(f"{folder}/{mark}"):
            yield Path(folder)


def lock_of(runs: Path, roots: Roots) -> Path:
    """The lock file of those who begin a run on a pool for these roots."""
    return runs / ".locks" / f"pool-{digest(roots)}"


def pool_runs(runs: Path) -> Iterator[Path]:
    """The folders of all runs on a pool, the newest first."""
    for name in sorted(list_folder(str(runs)), reverse=True):
        if os.path.exists(f"{runs}/{name}/{FILE}"):
            yield runs / name
