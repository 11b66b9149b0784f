"""furu's own conformance suite, on workers of a Dask cluster that outlives the runs."""

from __future__ import annotations

import pytest

from conftest import DaskCluster
from furu_testing import ExecutorConformance


class TestDask(ExecutorConformance):
    executor = "dask"
    # The rest is of `BackendExecutor`, `NodeProcess` and the command, which furu's own tests look at; what a
    # program that is killed or interrupted leaves on a cluster is in test_dask.py.
    own_code = ("worker", "cluster")

    @pytest.fixture(autouse=True)
    def _on_the_shared_cluster(self, shared_cluster: DaskCluster) -> None:
        address = shared_cluster.address
        self.options = {"address": address, "max_workers": self.at_once, "progress": False}
        self.command_options = ["-o", f"address={address}", "-j", str(self.at_once)]
