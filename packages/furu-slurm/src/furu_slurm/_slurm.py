"""A Slurm cluster, through its commands."""

from __future__ import annotations

import errno
import logging
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Final

import attrs

from furu_core.errors import FuruStoreError
from furu_slurm._cluster import Cluster
from furu_slurm._commands import (
    Configuration,
    Reply,
    call,
    configuration,
    parse_time,
    query_environ,
    show_job,
    submit_environ,
)
from furu_slurm._environment import JobEnvironment
from furu_slurm._job_names import bare_id, home_of, is_local, job_name
from furu_slurm._job_payload import JobPayload, write_payload
from furu_slurm._sbatch_errors import (
    Complaint,
    complaint_of,
    limit_error,
    refused_error,
    unavailable_error,
)
from furu_slurm._specs import SlurmSpec
from furu_slurm._squeue import shared_queue
from furu_slurm._states import JobInfo, JobState, Snapshot, split_id
from furu_slurm.errors import FuruSlurmError, FuruSlurmUnavailable, FuruSubmitLimit

_COMMAND_SECS: Final = 30.0
_PAUSES: Final = (0.5, 1.0, 2.0, 4.0)
_LOOKS: Final = 2  # a controller that was busy may answer squeue before it has queued the job
_IDS_A_CALL: Final = 500
_END_SECS: Final = 5.0  # how long Slurm may take to answer when the walltime ends


_log = logging.getLogger("furu.slurm")


class SlurmCluster(Cluster):
    """The Slurm cluster that `SLURM_CONF` or the system's configuration names.

    Args:
        patience_secs: how long to try when Slurm does not answer.
    """

    name: ClassVar[str] = "slurm"

    def __init__(self, *, patience_secs: float = 60.0) -> None:
        self._patience = patience_secs

    def submit(
        self,
        *,
        spec: SlurmSpec,
        token: str,
        name: str,
        folder: Path,
        payload: JobPayload,
        dependency: str = "",
        requeue: bool = False,
        signal_before_secs: int = 60,
    ) -> list[str]:
        """Submit the jobs of a payload; see `Cluster.submit`."""
        if not payload.jobs:
            return []
        from furu_slurm._sbatch import sbatch_request  # imports submitit, which takes a while

        full_name = job_name(name, token)
        payload = attrs.evolve(payload, token=token, time_min=spec.time_min)
        request = sbatch_request(
            spec,
            folder=folder,
            payload=payload.path,
            count=len(payload.jobs),
            name=full_name,
            dependency=dependency,
            requeue=requeue,
            signal_before_secs=signal_before_secs,
        )
        script = folder / f"{token}.sh"
        again = payload.path.exists()
        write_payload(payload)
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            script.write_text(request.script, "utf-8")
        # Options on the command line override the user's `SBATCH_*`, options in the script do not: with
        # `SBATCH_JOB_NAME` in a user's profile no job could be found by its name.
        command = ["sbatch", *request.options, str(script)]
        try:
            number = self._submitted(command, full_name, token, again=again)
        except (FuruSubmitLimit, FuruSlurmUnavailable) as error:
            # Callers try again, with a new token each time, so the files of this token are of no use.
            for one in () if getattr(error, "maybe_submitted", False) else (payload.path, script):
                one.unlink(missing_ok=True)
            raise
        shared_queue().changed()
        count = len(payload.jobs)
        return [str(number)] if count == 1 else [f"{number}_{i}" for i in range(count)]

    def _submitted(self, command: list[str], name: str, token: str, *, again: bool) -> int:
        """Call sbatch until the job is known to have been submitted, exactly once.

        Args:
            command: the call of sbatch.
            name: the job's whole name.
            token: the token at its end.
            again: a process began to submit this before, and may have succeeded.

        Returns:
            The number of the job or array.
        """
        deadline = time.monotonic() + self._patience
        pauses = iter(_PAUSES)
        if again:
            silence = Reply(None, "", "nobody says whether it was submitted before", 0.0)
            found = self._look_up(name, deadline, unsure=True, long_ago=True)
            if found is None:
                raise unavailable_error(silence, token)
            if found:
                return self._one_of(found, silence, token)
        said = False
        while True:
            left = max(1.0, deadline - time.monotonic())
            reply = call(command, timeout=left, environ=submit_environ())
            number = _job_number(reply)
            if number is not None:
                return number
            complaint = complaint_of(reply)
            if complaint in (Complaint.REFUSED, Complaint.UNCONFIGURED):
                raise refused_error(reply, token, complaint)
            if complaint is Complaint.LIMIT and not reply.timed_out:
                raise limit_error(reply, token)
            if complaint is not Complaint.UNREACHABLE:
                # It must not be submitted again before Slurm has said that there is no such job.
                found = self._look_up(name, deadline, unsure=True)
                if found is None:
                    raise unavailable_error(reply, token)
                if found:
                    return self._one_of(found, reply, token)
            if complaint is Complaint.LIMIT:
                raise limit_error(reply, token)
            pause = next(pauses, _PAUSES[-1])
            if time.monotonic() + pause >= deadline:
                raise unavailable_error(reply, token, maybe=False)
            if not said:
                said = True
                secs = deadline - time.monotonic()
                _log.warning("Slurm does not answer (%s); trying for %.0f s more", reply.said, secs)
            time.sleep(pause)

    def _look_up(
        self, name: str, deadline: float, *, unsure: bool, long_ago: bool = False
    ) -> list[JobInfo] | None:
        """The jobs of a name; empty when there are certainly none, None when that is not known."""
        looks = 0
        pauses = iter(_PAUSES)
        deadline = max(
            deadline, time.monotonic() + self._patience / 2
        )  # sbatch may have used it up
        while True:
            left = max(1.0, deadline - time.monotonic())
            found = shared_queue().find(name, timeout=min(left, _COMMAND_SECS), long_ago=long_ago)
            if found:
                return found
            if found is not None:
                looks += 1
                if looks >= (_LOOKS if unsure else 1):
                    return []
            pause = next(pauses, _PAUSES[-1])
            if time.monotonic() + pause >= deadline:
                return [] if looks else None
            time.sleep(pause)

    def _one_of(self, found: list[JobInfo], reply: Reply, token: str) -> int:
        numbers = sorted({split_id(info.job_id)[0] for info in found})
        first = [info for info in found if split_id(info.job_id)[0] == numbers[0]]
        # Slurm keeps a job that it refused as one that failed.
        if all(info.state is JobState.FAILED and info.reason == "BadConstraints" for info in first):
            raise refused_error(reply, token)
        if numbers[1:]:
            self.cancel(map(str, numbers[1:]))
        return numbers[0]

    def jobs(self, wanted: Iterable[str] = (), *, fresh: bool = False) -> Snapshot:
        """The states of jobs; see `Cluster.jobs`."""
        return shared_queue().look(wanted, newer_than=time.monotonic() if fresh else None)

    def cancel(self, job_ids: Iterable[str]) -> None:
        """End jobs; see `Cluster.cancel`."""
        names = _ranges(_own(job_ids))
        for start in range(0, len(names), _IDS_A_CALL):
            command = ["scancel", "--quiet", *names[start : start + _IDS_A_CALL]]
            reply = call(command, timeout=_COMMAND_SECS, environ=query_environ())
            if reply.ok:
                continue
            if reply.status is None or complaint_of(reply) is not Complaint.REFUSED:
                raise FuruSlurmUnavailable(
                    f"jobs could not be cancelled: {reply.said}",
                    said=reply.said,
                    hint=f"where and when Slurm answers: scancel {' '.join(names)}",
                )
            if "denied" in reply.err.lower():
                _log.warning("jobs of another user are not cancelled: %s", reply.said)
        shared_queue().changed()

    def requeue(self, job_id: str) -> None:
        """Put a running job back into the queue; see `Cluster.requeue`."""
        reply = call(
            ["scontrol", "requeue", job_id], timeout=_COMMAND_SECS, environ=query_environ()
        )
        shared_queue().changed()
        if not reply.ok:
            raise FuruSlurmError(
                f"job {job_id} could not be put back into the queue: {reply.said}",
                said=reply.said,
                hint="run the same command again: it computes only what is not there",
            )

    def end_of(self, job_id: str, *, timeout: float = _COMMAND_SECS) -> float | None:
        """When the walltime of a job ends, in seconds since the epoch; None for never.

        Raises:
            FuruSlurmUnavailable: Slurm does not say.
        """
        reply = show_job(bare_id(job_id), timeout=timeout)
        # For a job that is being ended, Slurm gives the present time.
        told = re.search(r" JobState=(?:RUNNING|SUSPENDED) .* EndTime=(\S+)", reply.out)
        if told is None:
            raise FuruSlurmUnavailable(
                f"Slurm does not say when the walltime of job {job_id} ends: {reply.said}",
                said=reply.said,
                hint="ask for it when `sinfo` answers: scontrol show job",
            )
        return parse_time(told[1])  # Unknown: there is no limit

    def max_array_size(self) -> int:
        """How many jobs one submission may have; remembered once Slurm has answered."""
        return (configuration() or Configuration("")).max_array_size

    def home(self) -> str:
        """This user on this cluster; see `Cluster.home`."""
        slurm = configuration()
        return "" if slurm is None or slurm.home is None else str(slurm.home)


def with_current_end(job: JobEnvironment) -> JobEnvironment:
    """A job with the current end of its walltime; unchanged where Slurm does not answer.

    The walltime may have been extended or shortened since the job began.

    Example:
        >>> from furu_slurm import JobEnvironment, with_current_end
        >>> with_current_end(JobEnvironment("local", "local-1")).end is None
        True
    """
    if job.cluster != SlurmCluster.name or job.end is None:
        return job
    try:
        end = SlurmCluster().end_of(job.job_id, timeout=_END_SECS)
    except FuruSlurmUnavailable:
        return job
    return attrs.evolve(job, end=end)


def _own(job_ids: Iterable[str]) -> Iterator[str]:
    """Those ids that are of this cluster: another cluster has other jobs with the same numbers."""
    for job_id in job_ids:
        home = home_of(job_id)
        slurm = None if home is None else configuration()
        there = home is not None and (slurm is None or slurm.cluster != home.cluster)
        if not (is_local(job_id) or there):
            yield bare_id(job_id)


def _job_number(reply: Reply) -> int | None:
    match = re.search(r"Submitted batch job (\d+)", reply.out)
    return int(match[1]) if match else None


def _ranges(job_ids: Iterable[str]) -> list[str]:
    """Ids in scancel's format, with the elements of one array together."""
    arrays: dict[int, list[int]] = {}
    names = []
    for job_id in job_ids:
        number, index = split_id(job_id)
        if index < 0:
            names.append(job_id)
        else:
            arrays.setdefault(number, []).append(index)
    for number, indices in arrays.items():
        parts: list[list[int]] = []
        for index in sorted(set(indices)):
            if parts and index == parts[-1][1] + 1:
                parts[-1][1] = index
            else:
                parts.append([index, index])
        text = ",".join(f"{a}-{b}" if b > a else str(a) for a, b in parts)
        names.append(f"{number}_[{text}]" if len(indices) > 1 else f"{number}_{text}")
    return names


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        raise FuruStoreError(
            f"what jobs are to run cannot be written to {folder}: {error.strerror or error}",
            path=folder,
            hint="free some space and run the same command again"
            if full
            else "make it writable; FURU_SUBMITIT_PATH names another folder for logs and scripts",
        ) from error
