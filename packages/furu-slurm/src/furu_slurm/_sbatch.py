"""The options of sbatch and the job's script, made from a spec."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from furu_slurm._job_payload import job_command
from furu_slurm._settings import job_log
from furu_slurm._specs import SlurmSpec
from furu_slurm._submitit import checked
from furu_slurm.errors import FuruSpecError, FuruSubmitRefused

# NCCL uses USR1 for itself; and USR2 is what code written for submitit expects.
END_SIGNAL: Final = "USR2"
_LONGEST: Final = 120_000  # an argument, and a variable of the job, has at most 128 KiB
_LEAST_GB: Final = 1 / 1024  # less would be rounded to 0, which means all memory of the node
# Besides ``mem`` and ``cpus-per-task`` these say how much memory, or how many processors, a job gets.
_MEMORY: Final = ("mem_per_cpu", "mem_per_gpu", "mem-per-cpu", "mem-per-gpu")
_PROCESSORS: Final = ("cpus_per_gpu", "cpus-per-gpu")


@attrs.frozen
class SbatchRequest:
    """The arguments of sbatch.

    Attributes:
        options: on the command line.
        script: the job's script, which repeats the options for human readers.
    """

    options: Sequence[str]
    script: str


def sbatch_request(
    spec: SlurmSpec,
    *,
    folder: Path,
    payload: Path,
    count: int,
    name: str,
    dependency: str,
    requeue: bool,
    signal_before_secs: int,
) -> SbatchRequest:
    """The sbatch request for the jobs of a submission, by their spec.

    Args:
        spec: what each job asks for.
        folder: for logs.
        payload: the file that says what the jobs are to run.
        count: how many jobs there are; several make an array.
        name: of the jobs, token included.
        dependency, requeue, signal_before_secs: as for `Cluster.submit`.

    Raises:
        FuruSpecError: submitit does not accept a parameter of the spec.
        FuruSubmitRefused: the jobs depend on more others than sbatch's command line can hold.
    """
    asked = _parameters(spec, folder)
    nested = {key.replace("_", "-"): value for key, value in _nested(asked).items()}
    srun = bool(asked.pop("use_srun", False))
    srun_args = asked.pop("srun_args", None) or ()
    delay = int(asked.pop("signal_delay_s", signal_before_secs))
    # By default all jobs of an array may run at once; the user may set a limit.
    at_once = asked.pop("array_parallelism", count)
    teardown = list(asked.pop("teardown", None) or ())
    own = [asked.pop("dependency", None), nested.pop("dependency", None)]
    wanted = [part for part in (dependency, *own) if part]
    job = "%A_%a" if count > 1 else "%j"
    log = job_log(folder, job)
    errors = None if asked.pop("stderr_to_stdout", True) else log.with_suffix(".err")
    options = {
        **{key.replace("_", "-"): value for key, value in asked.items()},
        "job-name": name,
        "output": log,
        "error": errors,
        "open-mode": "append",
        "array": f"0-{count - 1}%{min(count, at_once)}" if count > 1 else None,
        **nested,
        # ``B:`` signals only the job's first process: user code that does not handle the signal would
        # be killed by it. With srun the signal has to reach the job step, and so all its processes.
        "signal": f"{'' if srun else 'B:'}{END_SIGNAL}@{delay}",
        "kill-on-invalid-dep": "yes",
        ("requeue" if requeue else "no-requeue"): True,
        "dependency": combined(wanted) if wanted else None,
    }
    found = {key: value for key, value in sorted(options.items()) if value is not None}
    command = _command(job_command(payload), srun=srun, teardown=teardown)
    if srun:
        where = ["--output", str(log), *(["--error", str(errors)] if errors else [])]
        command[0] = f"{shlex.join(['srun', '--unbuffered', *where, *srun_args])} {command[0]}"
    lines = [
        "#!/bin/bash",
        *(f"#SBATCH {_option(key, value, quoted=True)}" for key, value in found.items()),
        *spec.setup,
        "export SUBMITIT_EXECUTOR=slurm",
        *command,
    ]
    return SbatchRequest([_option(*one) for one in found.items()], "\n".join(lines) + "\n")


def _parameters(spec: SlurmSpec, folder: Path) -> dict[str, Any]:
    """Submitit's parameters for a spec, as submitit accepted them."""
    extra = dict(spec.extra)
    said = {*extra, *_nested(dict(extra))}
    given: dict[str, Any] = {
        "partition": spec.partition,
        "time": _minutes(spec.time_min),
        "nodes": 1,
        "gpus_per_node": spec.gpus or None,
        "cpus_per_task": None if said.intersection(_PROCESSORS) else spec.cpus,
        "mem": None if said.intersection(_MEMORY) else _memory(spec.mem_gb),
        **extra,
    }
    return checked({key: one for key, one in given.items() if one is not None}, folder)


def _nested(parameters: dict[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = parameters.pop("additional_parameters", None) or {}
    return found


def _option(key: str, value: Any, *, quoted: bool = False) -> str:
    if value is True:
        return f"--{key}"
    return f"--{key}={shlex.quote(str(value)) if quoted else value}"


def _command(start: str, *, srun: bool, teardown: list[str]) -> list[str]:
    """The lines of the script that start the job, and those that run after it."""
    if srun:
        # A teardown must not hide the job's exit status.
        after = ["furu_status=$?", *teardown, "exit $furu_status"] if teardown else []
        return [start, *after]
    if not teardown:
        return [f"exec {start}"]
    # The signal reaches the shell, which forwards it; and a shell that died of SIGTERM would
    # take the job along before it has reported how it ended.
    wait = "wait $furu_job; furu_status=$?"
    return [
        # The traps come first, because Slurm may signal a job with a short walltime at any moment.
        f"trap 'kill -{END_SIGNAL} $furu_job 2>/dev/null' {END_SIGNAL}",
        "trap : TERM",
        f"{start} &",
        "furu_job=$!",
        f"{wait}",
        f"while kill -0 $furu_job 2>/dev/null; do {wait}; done",
        f"{wait}",
        *teardown,
        "exit $furu_status",
    ]


def _minutes(minutes: float) -> int | str:
    seconds = round(60 * minutes)
    return seconds // 60 if seconds % 60 == 0 else f"{seconds // 60}:{seconds % 60:02}"


def _memory(gigabytes: float | None) -> str | None:
    if gigabytes is None:
        return None
    wanted = gigabytes and max(gigabytes, _LEAST_GB)
    return f"{int(wanted)}GB" if wanted == int(wanted) else f"{int(1024 * wanted)}MB"


def combined(dependencies: list[str]) -> str:
    """Several dependencies that must all hold, as one dependency of sbatch.

    Raises:
        FuruSpecError: one has alternatives (``?``), which Slurm cannot combine with others.
        FuruSubmitRefused: there are too many.
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
