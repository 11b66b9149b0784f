"""furu's own conformance suite, on workers of a Dask cluster that outlives the runs."""

from __future__ import annotations

import pytest
from conftest import DaskCluster

from furu_testing import ExecutorConformance


class TestDask(ExecutorConformance):
    executor = "dask"

    @pytest.fixture(autouse=True)
    def _on_the_shared_cluster(self, shared_cluster: DaskCluster) -> None:
        self.options = {"address": shared_cluster.address, "progress": False}
        self.command_options = ["-o", f"address={shared_cluster.address}"]
