"""What runs jobs: a Slurm cluster, or this machine in its place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from furu_slurm._job_payload import JobPayload
from furu_slurm._specs import SlurmSpec
from furu_slurm._states import Snapshot


class Cluster(ABC):
    """What runs jobs.

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
        the first one was killed, gives the jobs that there are, also when they have ended.

        Args:
            spec: what each job asks for.
            token: of `new_token`, noted down before this call.
            name: what people read in listings, before the token.
            folder: for the script and the logs; it is made.
            payload: what they are to run; at most `max_array_size` of them.
            dependency: as sbatch wants it, such as ``"afterok:12:13_4"``.
            requeue: whether Slurm may put the jobs back into its queue, under their ids.
            signal_before_secs: seconds before the walltime's end at which the job's first process
                gets SIGUSR2; Slurm's timing is coarse.

        Returns:
            The ids of the jobs, in the order of the payload.

        Raises:
            FuruSubmitRefused: Slurm would never run them.
            FuruSubmitLimit: Slurm takes no more jobs now.
            FuruSlurmUnavailable: Slurm does not answer; whether it was told is not known then, so
                look for the token later.
            FuruSpecError: submitit does not take the spec.
            FuruStoreError: the folder, or that of the run, cannot be written.
        """

    @abstractmethod
    def jobs(self, wanted: Iterable[str] = (), *, fresh: bool = False) -> Snapshot:
        """How the user's jobs stand, and those that are asked for.

        Args:
            wanted: ids of jobs of which the scheduler's own word is wanted, should its listing not show
                them: that they run after all, ended long ago, or are none.
            fresh: ask now, also when somebody asked a moment ago.
        """

    @abstractmethod
    def cancel(self, job_ids: Iterable[str]) -> None:
        """End jobs, whether they wait or run; those that have ended are passed over.

        So are those of other clusters and machines.

        Raises:
            FuruSlurmUnavailable: Slurm does not answer.
        """

    @abstractmethod
    def requeue(self, job_id: str) -> None:
        """Put a running job back into the queue, under its id.

        Raises:
            FuruSlurmError: it cannot be.
        """

    def home(self) -> str:
        """Where jobs that are submitted here are at home; empty where their ids say it, or nobody does.

        See `at_home`.
        """
        return ""

    @abstractmethod
    def max_array_size(self) -> int:
        """How many jobs one submission may have."""
