"""A Dask cluster as somebody else would have started it: a scheduler and workers, by Dask's commands."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client

from furu_testing import Program, wait_until

# Several times a second they look at the clock, and a hundred times at what a thread does: most of the
# processor time of a cluster that tests use now and then.
QUIET = {
    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "1s",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
}


class DaskCluster:
    """A scheduler and workers in processes of their own.

    Attributes:
        address: of the scheduler.
        scheduler: its process.
        rich: the worker of the shared cluster that has resources: one BIG, and three DISK.
    """

    scheduler: Program
    rich: Program

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = ""
        self._programs: list[Program] = []

    def start(self) -> DaskCluster:
        file = self.folder / "scheduler.json"
        given = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        self.scheduler = self._launch("scheduler", *given, "--scheduler-file", str(file))
        wait_until("the scheduler's file", lambda: file.exists() and file.read_text().endswith("}"))
        self.address = json.loads(file.read_text())["address"]
        return self

    def start_worker(self, *options: str, threads: int = 1, nanny: bool = False) -> Program:
        """Start a worker; a nanny starts another one when it has died."""
        given = ["--host", "127.0.0.1", "--nthreads", str(threads), "--no-dashboard"]
        given += ["--memory-limit", "0", "--local-directory", str(self.folder), *options]
        return self._launch("worker", self.address, *given, "--nanny" if nanny else "--no-nanny")

    def await_workers(self, number: int) -> None:
        """Wait until the scheduler knows so many."""
        with Client(self.address, set_as_default=False) as client:
            wait_until("the workers", lambda: len(client.scheduler_info()["workers"]) >= number)

    def _launch(self, what: str, *options: str) -> Program:
        # It is nobody's in particular, so it has no test's store in its environment.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("FURU_")}
        arguments = ("-m", "dask", what, *options)
        program = Program(self.folder, *arguments, environment={**environment, **QUIET})
        self._programs.append(program)
        return program

    def close(self) -> None:
        for program in self._programs:
            program.end()


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """A scheduler with a worker of one thread and one of two, for tests that leave them as they are."""
    cluster = DaskCluster(tmp_path_factory.mktemp("dask"))
    try:
        cluster.start()
        cluster.start_worker()
        cluster.rich = cluster.start_worker("--resources", "BIG=1 DISK=3", threads=2)
        cluster.await_workers(2)
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def dask_cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    """A scheduler without workers, for one test."""
    folder = tmp_path / "dask"
    folder.mkdir()
    cluster = DaskCluster(folder)
    try:
        yield cluster.start()
    finally:
        cluster.close()
