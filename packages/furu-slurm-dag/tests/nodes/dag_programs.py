"""What tests run in other processes: a node that speaks, and submitters."""

from __future__ import annotations

import os
import signal
from typing import Any

from dag_kit import WAIT_SECS, submit

from furu_core import Furu
from furu_slurm import SlurmCluster
from furu_testing.nodes import Step


class Speaks(Furu[int]):
    """Prints something."""

    text: str

    def _create(self) -> int:
        print(self.text)
        return 1


def chain(label: str, length: int) -> Step:
    """Nodes that each come after the last; the first one waits."""
    last = Step(label=f"{label}-0", waits=True)
    for number in range(1, length):
        last = Step(label=f"{label}-{number}", needs=(last,))
    return last


def submit_and_die(label: str, length: int, call: int, when: str) -> None:
    """Submit a chain, and be killed right before or after a call of sbatch."""
    submit_once = SlurmCluster.submit
    calls = 0

    def counting(self: SlurmCluster, **fields: Any) -> list[str]:
        nonlocal calls
        calls += 1
        if calls == call and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = submit_once(self, **fields)
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    SlurmCluster.submit = counting  # type: ignore[method-assign]
    submit(chain(label, length))


def run_diamond(width: int) -> int:
    """Submit a diamond and wait for it."""
    base = Step(label="base")
    sides = tuple(Step(label=f"side-{number}", needs=(base,)) for number in range(width))
    result: int = submit(Step(label="top", needs=sides)).wait(WAIT_SECS).results()
    return result
