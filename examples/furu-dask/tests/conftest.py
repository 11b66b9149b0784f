"""A Dask cluster as somebody else would have started it: a scheduler and workers, by Dask's commands."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from distributed import Client

from furu_testing import wait_until


class DaskCluster:
    """A scheduler and workers in processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = ""
        self._stack = ExitStack()

    def start(self) -> DaskCluster:
        file = self.folder / "scheduler.json"
        given = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        self.scheduler = self._launch("scheduler", *given, "--scheduler-file", str(file))
        wait_until("the scheduler's file", lambda: file.exists() and file.read_text().endswith("}"))
        with Client(scheduler_file=str(file), set_as_default=False) as client:
            self.address = client.scheduler.address
        return self

    def add_worker(self, *options: str, nanny: bool = True) -> subprocess.Popen[bytes]:
        """Start a worker with one thread, and wait until the scheduler knows it."""
        with Client(self.address, set_as_default=False) as client:
            before = len(client.scheduler_info()["workers"])
            given = ["--host", "127.0.0.1", "--nthreads", "1", "--no-dashboard"]
            given += ["--memory-limit", "0", "--local-directory", str(self.folder), *options]
            worker = self._launch(
                "worker", self.address, *given, "--nanny" if nanny else "--no-nanny"
            )
            wait_until("the worker", lambda: len(client.scheduler_info()["workers"]) > before)
        return worker

    def _launch(self, what: str, *options: str) -> subprocess.Popen[bytes]:
        with (self.folder / "dask.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", what, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    def close(self) -> None:
        self._stack.close()


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """A scheduler with two workers, for tests that leave them as they are."""
    cluster = DaskCluster(tmp_path_factory.mktemp("dask"))
    try:
        cluster.start()
        for _ in range(2):
            cluster.add_worker()
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
