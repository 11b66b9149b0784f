"""P1 to P8 as the conformance suite of furu-core tests them, with one job of Slurm for each node."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from furu_core import Furu
from furu_testing import ExecutorConformance

_SMALL: Final = {"cpus": 1, "mem_gb": 0.5, "time_min": 60}
_SPECS: Final = {"default": _SMALL, "other": _SMALL}
_OPTIONS: Final = {"specs": _SPECS, "poll_interval_sec": 0.5, "progress": False}
_LACKS: Final = {
    "windows": "all jobs are submitted at once, and Slurm orders them",
    "stopping": "jobs run whether or not anybody waits for them",
    "waiting": "no job of Slurm can wait for what is none, so that is an error at once",
    "reopening": "a job submits no other; the same command computes the bad node again",
    "interrupting": "Ctrl-C ends the wait, and the jobs go on",
}


class TestSlurm(ExecutorConformance):
    executor = "slurm-dag"
    own_code = ("graph", "failures", "cluster", "run", "command")
    options = _OPTIONS
    command_options = ("-o", f"specs={json.dumps(_SPECS)}", "-o", "poll_interval_sec=0.5")
    lacks = _LACKS
    width = 5
    depth = 4  # Slurm takes seconds to see that a job need not wait any more
    patience_secs = 300.0  # jobs may wait for those of other tests

    @pytest.fixture(autouse=True)
    def _cluster(self, slurm: Any) -> None:
        """The cluster that `SLURM_CONF` names in each test."""
        self._slurm = slurm

    def remove(self, node: Furu[Any]) -> None:
        """Remove an artifact when its job has ended, which looks last whether it is there."""
        self._slurm.wait_idle()
        super().remove(node)
