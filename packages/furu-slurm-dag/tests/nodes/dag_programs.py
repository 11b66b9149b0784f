"""What tests run in other processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from dag_nodes import Number, Step, Total

from furu_slurm import SlurmCluster, SlurmSpec
from furu_slurm_dag import submit_slurm_dag

SMALL = {"default": SlurmSpec(partition="cpu", cpus=1, mem_gb=0.5, time_min=60)}


def get(name: str, box: str) -> int:
    """Compute a node interactively."""
    result: int = Step(name=name, box=Path(box)).get()
    return result


def chain(box: str, length: int) -> Step:
    """Nodes that each come after the last, with one beside each."""
    folder = Path(box)
    last = Step(name="0", box=folder)
    for number in range(1, length):
        last = Step(name=str(number), box=folder, after=(last,))
    return last


def run_chain(box: str, length: int) -> int:
    """Submit a chain and wait for it."""
    run = submit_slurm_dag(chain(box, length), specs=SMALL, poll_interval_sec=0.3)
    result: int = run.wait(400).results()
    return result


def submit_and_die(box: str, length: int, call: int, when: str) -> None:
    """Submit a chain, and be killed right before or after a call of sbatch."""
    submit = SlurmCluster.submit
    calls = 0

    def counting(self: SlurmCluster, **fields: Any) -> list[str]:
        nonlocal calls
        calls += 1
        if calls == call and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = submit(self, **fields)
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    SlurmCluster.submit = counting  # type: ignore[method-assign]
    submit_slurm_dag(chain(box, length), specs=SMALL)


def run_total(note: str, count: int) -> int:
    """Compute many numbers and their sum."""
    numbers = tuple(Number(x=x, note=Path(note)) for x in range(count))
    run = submit_slurm_dag(Total(numbers=numbers), specs=SMALL, poll_interval_sec=0.3)
    result: int = run.wait(400).results()
    return result
