"""What the job of `furu doctor --slurm` does on its node: the same checks of the store, and an exchange of files.

::

    <folder>/node.json     from the node: what it is, and what it found
    <folder>/here          from the doctor, once it has seen that
    <folder>/there.json    from the node, once it has seen that: when, and whether the doctor's lock kept it out
"""

from __future__ import annotations

import json
import platform
import sys
import time
from pathlib import Path
from typing import Any, Final

import attrs

from furu_core.checks import (
    CheckLevel,
    CheckResult,
    clock_offsets,
    installed_packages,
    store_checks,
)
from furu_core.errors import FuruStoreError
from furu_core.executors import excluding, once_visible, read_file, replace_file
from furu_core.workers import this_process
from furu_slurm import _doctor_commands
from furu_slurm._environment import VISIBLE_SECS
from furu_slurm._job_payload import JobPayload

FUNCTION: Final = "furu_slurm._doctor_node:examine"
NODE: Final = "node.json"
HERE: Final = "here"
THERE: Final = "there.json"
LOCK: Final = "lock"
PAUSE_SECS: Final = 0.05
_NEXT: Final = (
    "have Slurm's commands installed on nodes, or run controllers of pools on a login node"
)


@attrs.frozen
class Surroundings:
    """What must be the same here and on a node.

    Attributes:
        host: the host's name.
        python: the version of Python.
        executable: its path.
        packages: the versions of furu's packages, by name.
        offset: by how many seconds the filesystem's clock is ahead of the host's.
    """

    host: str
    python: str
    executable: str
    packages: dict[str, str]
    offset: float

    @classmethod
    def here(cls, folder: Path) -> Surroundings:
        """Those of this process.

        Args:
            folder: a folder in which files can be made.
        """
        return cls(
            this_process().host,
            platform.python_version(),
            sys.executable,
            {name: one.version for name, one in installed_packages().items()},
            clock_offsets(str(folder))[0],
        )


def examine(payload: JobPayload, _place: int) -> int:
    """Check the store from this node, write what was found, and exchange files with the doctor."""
    folder = payload.run_folder
    results = [*store_checks(), *_slurm()]
    inner = folder / "node"
    inner.mkdir()
    here = Surroundings.here(inner)
    answer = {"surroundings": attrs.asdict(here), "results": [one.to_json() for one in results]}
    _write(folder / NODE, answer)
    # The doctor may see that late, and this node what the doctor writes then.
    once_visible(lambda: read_file(folder / HERE), 3 * VISIBLE_SECS, pause_secs=PAUSE_SECS)
    seen = time.time() + here.offset
    try:
        with excluding(folder / LOCK, what="trying out locks", wait_secs=0.0):
            locked_out = False
    except FuruStoreError:
        locked_out = True
    _write(folder / THERE, {"seen": seen, "locked_out": locked_out})
    return 0


def results_in(answer: dict[str, Any], host: str) -> list[CheckResult]:
    """The results that a node wrote."""
    return [
        CheckResult(one["check"], CheckLevel(one["level"]), one["what"], one["next"] or "", host)
        for one in answer["results"]
    ]


def _slurm() -> list[CheckResult]:
    missing = list(_doctor_commands.commands(next_step=_NEXT))
    if missing:  # only controllers of pools that run as jobs call them
        return [attrs.evolve(one, level=CheckLevel.WARNING) for one in missing]
    return [*_doctor_commands.controller(), *_doctor_commands.accounting()]


def _write(path: Path, answer: dict[str, Any]) -> None:
    replace_file(path, json.dumps(answer).encode(), sync=True)
