"""The seam to submitit: the names and checks of its parameters, in which users say what jobs ask for.

A job does not run submitit's own program, neither by a pickled function nor by a `CommandFunction`. That
program imports NumPy, and with it threads that no child should be forked beside; it requeues jobs by
itself; and it finds its pickle by the job's id, so that a job whose id got lost could not run. So furu
takes of `SlurmExecutor` its `update_parameters` and `parameters`, and calls sbatch itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from submitit import SlurmExecutor

from furu_slurm.errors import FuruSpecError

# Its names for options of sbatch that are called otherwise.
SBATCH_NAMES: Final = {
    "name": "job_name",
    "timeout_min": "time",
    "mem_gb": "mem",
    "tasks_per_node": "ntasks_per_node",
    "num_gpus": "gpus_per_node",
}


class _Parameters(SlurmExecutor):
    """Submitit's parameters, also where there is no Slurm: what is missing is said when sbatch is called."""

    @classmethod
    def affinity(cls) -> int:
        return 2


def checked(parameters: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Submitit's parameters by sbatch's names, if submitit takes them.

    Raises:
        FuruSpecError: it does not take one of them.
    """
    given = {SBATCH_NAMES.get(name, name): value for name, value in parameters.items()}
    executor = _Parameters(folder)
    try:
        # Its advice on parameters that users chose reaches them as it is: to silence warnings here,
        # in a thread, would now and then change those of the whole program.
        executor.update_parameters(**given)
    except (TypeError, ValueError, Warning) as error:
        raise FuruSpecError(
            f"submitit does not take a parameter of the spec: {error}", hint="correct its extra"
        ) from error
    return dict(executor.parameters)


def known_parameters() -> set[str]:
    """The names of submitit's parameters for Slurm."""
    return SlurmExecutor._valid_parameters()  # noqa: SLF001 - submitit has no public list
