"""What a run is to do, written down so that any process can go on with it.

::

    runs/<run id>/request.json            the options
                  roots.jsonl             the roots' configs, a graph file
                  same-as-<digest>        an empty file, by which a run of the same roots is found
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

import attrs

import furu_core
from furu_core.errors import FuruExecutorError, FuruFormatError, FuruUsageError
from furu_core.executors import (
    COUNT,
    SECONDS,
    GraphReader,
    GraphWriter,
    Roots,
    is_local_folder,
    list_folder,
    named_roots,
    one_of,
    option,
)
from furu_plan.runs import ControlledRunOptions
from furu_slurm import Cluster, LocalCluster, SlurmCluster, SlurmSpec, Specs

VERSION: Final = 1
FILE: Final = "request.json"
ROOTS: Final = "roots.jsonl"
_MARK: Final = "same-as-"

#: What runs the workers.
ClusterName: TypeAlias = Literal["slurm", "local"]


@attrs.frozen(kw_only=True)
class PoolOptions(ControlledRunOptions):
    """How a run on a pool is done, whatever the machine on which somebody controls it.

    Attributes:
        max_workers_total: how many workers there may be at once.
        idle_timeout_sec: without work, after which a worker leaves.
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
    """What a run on a pool is to do, beside its roots.

    Attributes:
        specs: what workers ask for, by spec key.
        submitit_root: where workers have their scripts and logs.
    """

    specs: Specs
    submitit_root: Path

    def scheduler(self) -> Cluster:
        """What runs the workers."""
        return LocalCluster() if self.cluster == "local" else SlurmCluster()

    @property
    def local_store(self) -> bool:
        """Whether everything that workers write is seen here, and by each other, at once."""
        return self.cluster == "local" or is_local_folder(furu_core.settings().path)

    def margin_secs(self, spec: SlurmSpec) -> float:
        """Seconds before the end of its walltime at which a job has to be done."""
        return min(60.0, max(5.0, 0.05 * 60 * spec.time_min))


def write_request(folder: Path, request: Request, roots: Roots) -> None:
    """Write down what a run is to do, in place of what was to be done before.

    Only for the newest controller of a run that goes on.

    Raises:
        OSError, FuruStoreError: the folder cannot be written.
    """
    with GraphWriter(folder / ROOTS) as writer:
        places = [writer.add(root) for root in roots.items]
    names = [name if isinstance(name, int) else str(name) for name in roots.names]
    record = {
        "version": VERSION,
        **attrs.asdict(request, recurse=False),
        "specs": {key: attrs.asdict(spec) for key, spec in request.specs.items()},
        "submitit_root": str(request.submitit_root),
        "roots": {"shape": roots.shape.value, "names": names, "places": places},
    }
    # Whoever reads it meanwhile finds the options of before, or these.
    fresh = folder / f".{FILE}-{os.getpid()}"
    fresh.write_text(json.dumps(record, default=_plain), encoding="utf-8")
    os.replace(fresh, folder / FILE)
    (folder / f"{_MARK}{digest(roots)}").touch()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def read_request(folder: Path) -> tuple[Request, Roots]:
    """What `write_request` wrote.

    Raises:
        FuruExecutorError: the folder is of no run on a pool.
        FuruFormatError: a newer furu wrote it.
        FuruImportNameError, FuruValueError: a root cannot be made any more.
    """
    request, (shape, names, places) = _read(folder)
    reader = GraphReader(folder / ROOTS)
    return request, _shaped(shape, names, [reader.read(place) for place in places])


def read_options(folder: Path) -> Request:
    """The same without the roots, for which the user's code would be imported."""
    return _read(folder)[0]


def _read(folder: Path) -> tuple[Request, tuple[str, list[Any], list[int]]]:
    path = folder / FILE
    try:
        record = json.loads(path.read_bytes())
        version = record.pop("version")
        if version == VERSION:
            given = record.pop("roots")
            record["specs"] = {key: SlurmSpec(**spec) for key, spec in record["specs"].items()}
            record["submitit_root"] = Path(record["submitit_root"])
            return Request(**record), (given["shape"], given["names"], given["places"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError, FuruUsageError) as error:
        raise FuruExecutorError(
            f"{path} is no request of a run on a pool: {type(error).__name__}: {error}",
            hint="`furu pool status` without a run lists those that there are",
        ) from error
    raise FuruFormatError(
        f"{path} has format version {version}, this furu reads {VERSION}",
        path=path,
        hint="use the furu that wrote it",
    )


def _shaped(shape: str, names: list[Any], items: list[Any]) -> Roots:
    match shape:
        case "one":
            return named_roots(items[0])
        case "dict":
            return named_roots(dict(zip(names, items, strict=True)))
        case _:
            return named_roots(items)


def digest(roots: Roots) -> str:
    """What two runs have in common that are for the same roots, in whatever order."""
    hashes = sorted({root.furu_hash for root in roots.items})
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:16]


def same_runs(runs: Path, roots: Roots) -> Iterator[Path]:
    """The folders of earlier runs on a pool for the same roots, the newest first."""
    mark = f"{_MARK}{digest(roots)}"
    for name in sorted(list_folder(str(runs)), reverse=True):
        folder = f"{runs}/{name}"
        if os.path.exists(f"{folder}/{mark}"):
            yield Path(folder)


def pool_runs(runs: Path) -> Iterator[Path]:
    """The folders of all runs on a pool, the newest first."""
    for name in sorted(list_folder(str(runs)), reverse=True):
        if os.path.exists(f"{runs}/{name}/{FILE}"):
            yield runs / name
