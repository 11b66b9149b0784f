"""The script of a submission, written by submitit, and the options of sbatch in it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from submitit import SlurmExecutor

from furu_slurm._interpreter import ENTRY, interpreter
from furu_slurm._spec import SlurmSpec
from furu_slurm.errors import FuruSpecError, FuruSubmitRefused

# NCCL uses USR1 for itself, and so does submitit's other users' code expect USR2.
END_SIGNAL: Final = "USR2"
_FLAG: Final = "#SBATCH "
_LONGEST: Final = 120_000  # an argument, and a variable of the job, has at most 128 KiB
_LEAST_GB: Final = 1 / 1024  # less would become 0, and so all that a node has
# More than one of them says how much memory, or how many processors, a job gets.
_MEMORY: Final = ("mem_per_cpu", "mem_per_gpu", "mem-per-cpu", "mem-per-gpu")
_PROCESSORS: Final = ("cpus_per_gpu", "cpus-per-gpu")


class Script(SlurmExecutor):
    """What submitit makes of a spec. It submits nothing and pickles nothing.

    A job runs `furu_slurm._entry` with the file of its calls in place of submitit's own program, which
    imports NumPy, and with it threads that no child should be forked beside, requeues jobs by itself,
    and finds its pickle by the job's id, so that a job whose id got lost could not run.

    Args:
        folder: for scripts and logs.
        calls: the file of the calls.
        count: how many jobs there are; several make an array.
    """

    def __init__(self, folder: Path, calls: Path, count: int) -> None:
        super().__init__(folder)
        self._calls = calls
        self._count = count

    @classmethod
    def affinity(cls) -> int:
        # submitit looks for srun; what is missing is said when sbatch is called.
        return 2

    def text(
        self, spec: SlurmSpec, *, name: str, dependency: str, requeue: bool, signal_before_secs: int
    ) -> str:
        """The script's text.

        Raises:
            FuruSpecError: submitit does not take a parameter of the spec.
        """
        extra = dict(spec.extra)
        nested = dict(extra.pop("additional_parameters", None) or {})
        srun = bool(extra.setdefault("use_srun", False))
        delay = int(extra.pop("signal_delay_s", signal_before_secs))
        wanted = [part for part in (dependency, extra.pop("dependency", None)) if part]
        wanted += [part for part in (nested.pop("dependency", None),) if part]
        parameters: dict[str, Any] = {
            "name": name,
            "partition": spec.partition,
            "timeout_min": _minutes(spec.time_min),
            "nodes": 1,
            # All nodes of a class may run at once; a user may say otherwise.
            "array_parallelism": self._count,
            "wckey": None,
            "stderr_to_stdout": True,
        }
        if not any(key in table for table in (extra, nested) for key in _PROCESSORS):
            parameters["cpus_per_task"] = spec.cpus
        if spec.mem_gb is not None and not any(
            key in table for table in (extra, nested) for key in _MEMORY
        ):
            parameters["mem_gb"] = spec.mem_gb and max(spec.mem_gb, _LEAST_GB)
        if spec.gpus:
            parameters["gpus_per_node"] = spec.gpus
        parameters |= extra
        # Only the job's first process is signalled, unless srun stands between: user code that knows
        # nothing of the signal would be killed by it.
        forced: dict[str, Any] = {
            "signal": f"{'' if srun else 'B:'}{END_SIGNAL}@{delay}",
            "kill-on-invalid-dep": "yes",
            ("requeue" if requeue else "no-requeue"): True,
        }
        if wanted:
            forced["dependency"] = combined(wanted)
        parameters["additional_parameters"] = {**nested, **forced}
        teardown = list(parameters.pop("teardown", None) or ())
        if spec.setup:
            parameters["setup"] = list(spec.setup)
        command, after = self._command(srun=srun, teardown=teardown)
        if after:
            parameters["teardown"] = after
        return self._text(parameters, command)

    def _text(self, parameters: Mapping[str, Any], command: str) -> str:
        try:
            # Its advice on parameters that users chose reaches them as it is: to silence warnings here,
            # in a thread, would now and then change those of the whole program.
            self.update_parameters(**self._convert_parameters(dict(parameters)))
            if self._count > 1:
                self.parameters["map_count"] = self._count
            return self._make_submission_file_text(command, "")
        except (TypeError, ValueError, Warning) as error:
            raise FuruSpecError(
                f"submitit does not take a parameter of the spec: {error}", hint="correct its extra"
            ) from error

    def _command(self, *, srun: bool, teardown: list[str]) -> tuple[str, list[str]]:
        """What the script runs, and what it does after that."""
        start = shlex.join([*interpreter(), "-m", ENTRY, str(self._calls)])
        if srun:
            # A teardown must not hide how the job ended.
            return start, ["furu_status=$?", *teardown, "exit $furu_status"] if teardown else []
        if not teardown:
            return f"exec {start}", []
        # The signal reaches the shell, which hands it on; and a shell that dies of SIGTERM would
        # take the job along before it has said how it ended.
        wait = "wait $furu_job; furu_status=$?"
        script = [
            # First, for Slurm may tell a job at any moment that has a short walltime.
            f"trap 'kill -{END_SIGNAL} $furu_job 2>/dev/null' {END_SIGNAL}",
            "trap : TERM",
            f"{start} &",
            "furu_job=$!",
            f"{wait}",
            f"while kill -0 $furu_job 2>/dev/null; do {wait}; done",
            f"{wait}",
        ]
        return "\n".join(script), [*teardown, "exit $furu_status"]


def _minutes(minutes: float) -> int | str:
    seconds = round(60 * minutes)
    return seconds // 60 if seconds % 60 == 0 else f"{seconds // 60}:{seconds % 60:02}"


def options_in(script: str) -> list[str]:
    """The options of sbatch that a script holds, as arguments.

    On the command line they outweigh the user's `SBATCH_*`, in the script they would not: one
    `SBATCH_JOB_NAME` in a profile, and no job could be found by its name.
    """
    lines = (line for line in script.splitlines() if line.startswith(_FLAG))
    return [word for line in lines for word in shlex.split(line.removeprefix(_FLAG))]


def combined(dependencies: list[str]) -> str:
    """Several conditions that must all hold, as one.

    Raises:
        FuruSpecError: one of them is a choice, which Slurm cannot combine with others.
        FuruSubmitRefused: they are too many.
    """
    for text in dependencies:
        if "?" in text and len(dependencies) > 1:
            raise FuruSpecError(
                f"the dependency {text!r} of the spec is a choice, which Slurm cannot combine with "
                f"the job's own: {dependencies[0]!r}",
                hint="separate its conditions with commas, so that all must hold",
            )
    text = ",".join(dependencies)
    if len(text) > _LONGEST:
        raise FuruSubmitRefused(
            f"a job would wait for {len(re.findall(r'[0-9_]+', text))} others, more than sbatch can be told",
            hint="put nodes in between that each depend on a part of them, or use the pool",
        )
    return text
