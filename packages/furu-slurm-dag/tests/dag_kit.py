"""What the tests of this package share."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import dag_nodes as nodes

from furu_core import Furu
from furu_core.executors import EventKind, NodeState, Run, StateReader
from furu_slurm import SlurmSpec
from furu_slurm_dag import SlurmDagSubmission, submit_slurm_dag
from furu_testing import wait_until

SMALL = SlurmSpec(partition="cpu", cpus=1, mem_gb=0.5, time_min=60)
WAIT_SECS = 400.0  # jobs may wait for those of other tests, and the machine may be busy


def submit(roots: Any, **options: Any) -> SlurmDagSubmission:
    """Submit small jobs."""
    return submit_slurm_dag(
        roots, **{"specs": {"default": SMALL}, "poll_interval_sec": 0.3, **options}
    )


class Box:
    """A folder in which nodes are told what to do, and say what they did."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def step(self, name: str, *after: Furu[Any]) -> nodes.Step:
        """A node."""
        return nodes.Step(name=name, box=self.folder, after=after)

    def tell(self, name: str, kind: str, text: str = "") -> Path:
        """Tell a node what to do."""
        path = self.folder / f"{name}.{kind}"
        path.write_text(text)
        return path

    def starts(self, name: str) -> int:
        """How often a node's code has started."""
        path = self.folder / f"{name}.starts"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def await_start(self, name: str, number: int = 1) -> None:
        """Wait until a node's code has started so many times."""
        wait_until(f"start {number} of {name}", lambda: self.starts(name) >= number, WAIT_SECS)


def states(*wanted: Furu[Any]) -> list[NodeState]:
    """How nodes stand in the store."""
    reader = StateReader()
    return [reader.state(node).state for node in wanted]


def retried(run: Run, node: Furu[Any]) -> list[str]:
    """Why a node was tried again, as the events of a run tell."""
    tries = [event for event in run.events() if event.kind is EventKind.NODE_RETRIED]
    return [event.detail for event in tries if event.hash == node.furu_hash]


def kill_parent(node: int) -> None:
    """Kill the job's own process, and wait until that of the node has ended with it."""
    os.kill(int(_stat(node)[1]), signal.SIGKILL)
    wait_until("its node to end with it", lambda: not _lives(node))


def _lives(pid: int) -> bool:
    try:
        return _stat(pid)[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
