"""The seam to submitit: the names and checks of its parameters, which users give in specs.

A job does not run submitit's own program, neither with a pickled function nor with a `CommandFunction`.
That program imports NumPy, which starts threads, and forking beside threads is unsafe; it requeues jobs
by itself; and it finds its pickle by the job's id, so that a job whose id got lost could not run. So furu
uses only `update_parameters` and `parameters` of `SlurmExecutor`, and calls sbatch itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from submitit import SlurmExecutor

from furu_slurm.errors import FuruSpecError

# Submitit's names for options to which sbatch gives other names.
SBATCH_NAMES: Final = {
    "name": "job_name",
    "timeout_min": "time",
    "mem_gb": "mem",
    "tasks_per_node": "ntasks_per_node",
    "num_gpus": "gpus_per_node",
}


class _Parameters(SlurmExecutor):
    """Submitit's parameters, also without Slurm: a missing sbatch is reported when it is called."""

    @classmethod
    def affinity(cls) -> int:
        return 2


def checked(parameters: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Submitit's parameters by sbatch's names, if submitit accepts them.

    Raises:
        FuruSpecError: it does not accept one of them.
    """
    given = {SBATCH_NAMES.get(name, name): value for name, value in parameters.items()}
    executor = _Parameters(folder)
    try:
        # Submitit's warnings about the user's parameters are not silenced: that would, in a thread,
        # now and then change the warnings of the whole program.
        executor.update_parameters(**given)
    except (TypeError, ValueError, Warning) as error:
        raise FuruSpecError(
            f"submitit does not take a parameter of the spec: {error}", hint="correct its extra"
        ) from error
    return dict(executor.parameters)


def known_parameters() -> set[str]:
    """The names of submitit's parameters for Slurm."""
    return SlurmExecutor._valid_parameters()  # noqa: SLF001 - submitit has no public list
