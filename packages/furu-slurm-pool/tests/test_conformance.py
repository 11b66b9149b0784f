"""P1 to P8 as the conformance suite of furu-core tests them, with workers of this machine and of Slurm."""

from __future__ import annotations

import json
import os
import signal
from typing import Any, Final

import pytest

from furu_slurm import bare_id
from furu_testing import ExecutorConformance, Mark

_SMALL: Final = {"cpus": 1, "mem_gb": 0.5, "time_min": 60}
_SPECS: Final = {"default": _SMALL, "other": _SMALL}
_OPTIONS: Final = {
    "specs": _SPECS,
    "max_workers_total": 2,
    "idle_timeout_sec": 5.0,
    "poll_interval_sec": 0.2,
    "progress": False,
}
_COMMAND_OPTIONS: Final = (
    *("-j", "2", "-o", f"specs={json.dumps(_SPECS)}"),
    *("-o", "idle_timeout_sec=5", "-o", "poll_interval_sec=0.2"),
)


class TestLocal(ExecutorConformance):
    executor = "slurm-pool"
    options = _OPTIONS | {"cluster": "local"}
    # The order of nodes is that of furu-plan's loop; TestSlurm runs what depends on commands.
    own_code = ("failures", "strict", "worker", "cluster", "run")
    command_options = (*_COMMAND_OPTIONS, "-o", "cluster=local")

    def kill_worker(self, mark: Mark) -> None:
        """Kill the worker itself; its child, which computes, ends with it."""
        os.kill(mark.parent, signal.SIGKILL)


class TestSlurm(ExecutorConformance):
    executor = "slurm-pool"
    options = _OPTIONS
    own_code = ("cluster", "command")
    command_options = _COMMAND_OPTIONS
    patience_secs = 300.0  # submitted jobs may wait for those of other tests

    @pytest.fixture(autouse=True)
    def _cluster(self, slurm: Any) -> None:
        self._slurm = slurm

    def kill_worker(self, mark: Mark) -> None:
        """Cancel the job that a worker is, with all that it has started."""
        _executor, job_id, _restarts = mark.facts["submission"]
        self._slurm.run("scancel", bare_id(job_id))
