"""What the tests of the pool share beside furu_testing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from click.testing import CliRunner

from furu_slurm import SlurmSpec
from furu_slurm_pool import SlurmPoolExecutor, SlurmPoolRun
from furu_slurm_pool._command import pool
from furu_testing import read_marks, wait_until

RUN_SECS: Final = 180.0  # for a run to end: many times what it takes, since the machine may be busy
JOBS_SECS: Final = 600.0  # the same on a cluster, where jobs may wait for those of other tests
SMALL: Final = SlurmSpec(cpus=1, mem_gb=1, time_min=60)
LOCAL: Final[dict[str, Any]] = {
    "specs": {"default": SlurmSpec(), "gpu": SlurmSpec()},
    "cluster": "local",
    "max_workers_total": 2,
    "poll_interval_sec": 0.3,
    "progress": False,
}
SLURM: Final[dict[str, Any]] = {
    "specs": {"default": SMALL},
    "max_workers_total": 2,
    "poll_interval_sec": 0.5,
    "progress": False,
}


def start(roots: Any, **options: Any) -> SlurmPoolRun:
    """Start a run on two workers of this machine."""
    return _submitted(roots, LOCAL | options)


def start_on_slurm(roots: Any, **options: Any) -> SlurmPoolRun:
    """Start a run on two workers of the cluster."""
    return _submitted(roots, SLURM | options)


def _submitted(roots: Any, options: dict[str, Any]) -> SlurmPoolRun:
    run = SlurmPoolExecutor(**options).submit(roots)
    assert isinstance(run, SlurmPoolRun)
    return run


def jobs_of(run_id: str, slurm: Any) -> list[dict[str, str]]:
    """The rows of squeue of a run's jobs, also of those that have ended."""
    return [row for row in slurm.squeue() if run_id in row["name"]]


def await_begun(store: Path, number: int) -> list[str]:
    """Wait until so many nodes have begun; the labels of all that have."""
    wait_until(f"{number} nodes to begin", lambda: len(read_marks(store)) >= number)
    return [mark.label for mark in read_marks(store)]


def furu_pool(*arguments: str) -> str:
    """What `furu pool` says to these arguments, without an interpreter of its own; errors are raised."""
    result = CliRunner().invoke(pool, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def furu(*arguments: str) -> str:
    """What the command `furu` prints, which has to end well."""
    done = subprocess.run(
        [Path(sys.executable).with_name("furu"), *arguments],
        capture_output=True,
        text=True,
        timeout=RUN_SECS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
