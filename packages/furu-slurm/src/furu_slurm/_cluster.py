"""The interface to a scheduler: a Slurm cluster, or this machine in its place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from furu_slurm._job_payload import JobPayload
from furu_slurm._specs import SlurmSpec
from furu_slurm._states import Snapshot


class Cluster(ABC):
    """Runs jobs; Slurm, or this machine in its place.

    Attributes:
        name: ``"slurm"`` or ``"local"``.
    """

    name: ClassVar[str]

    @abstractmethod
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
        """Submit the jobs of a payload; several make one array.

        A token is for one submission. Submitting it a second time, perhaps by another process after
        the first one was killed, returns the existing jobs, also when they have ended.

        Args:
            spec: what each job asks for.
            token: from `new_token`; the caller has stored it before this call.
            name: the readable part of the jobs' name, before the token.
            folder: for the script and the logs; it is made.
            payload: what the jobs are to run; at most `max_array_size` jobs.
            dependency: in sbatch's format, such as ``"afterok:12:13_4"``.
            requeue: whether Slurm may put the jobs back into its queue, under their ids.
            signal_before_secs: seconds before the walltime's end at which the job's first process
                gets SIGUSR2; Slurm's timing is coarse.

        Returns:
            The ids of the jobs, in the order of the payload.

        Raises:
            FuruSubmitRefused: Slurm would never run them.
            FuruSubmitLimit: Slurm accepts no more jobs now.
            FuruSlurmUnavailable: Slurm does not answer; the jobs may have been submitted all the
                same, so look for the token later.
            FuruSpecError: submitit does not accept the spec.
            FuruStoreError: the folder, or that of the run, cannot be written.
        """

    @abstractmethod
    def jobs(self, wanted: Iterable[str] = (), *, fresh: bool = False) -> Snapshot:
        """The states of the user's jobs, and of those that are asked for.

        Args:
            wanted: ids of jobs about which the scheduler is asked one by one if its listing does not
                show them: they may run after all, have ended long ago, or not exist.
            fresh: ask now, even if the listing was read a moment ago.
        """

    @abstractmethod
    def cancel(self, job_ids: Iterable[str]) -> None:
        """End jobs, whether they wait or run.

        Jobs that have ended, and those of other clusters and machines, are skipped.

        Raises:
            FuruSlurmUnavailable: Slurm does not answer.
        """

    @abstractmethod
    def requeue(self, job_id: str) -> None:
        """Put a running job back into the queue, under its id.

        Raises:
            FuruSlurmError: it cannot be requeued.
        """

    def home(self) -> str:
        """The home of jobs that are submitted here, see `at_home`.

        Empty where the ids of jobs include it, or where it is not known.
        """
        return ""

    @abstractmethod
    def max_array_size(self) -> int:
        """How many jobs one submission may have."""
