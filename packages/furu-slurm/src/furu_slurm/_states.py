"""The states of jobs, as Slurm names them."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from enum import Enum
from functools import cached_property
from typing import Final, Self

import attrs

from furu_core.executors import count
from furu_slurm._job_names import Home, bare_id, home_of, token_of


class JobState(Enum):
    """The state of a job; states that Slurm may add later are `UNKNOWN`, which counts as live."""

    PENDING = "PENDING"
    CONFIGURING = "CONFIGURING"
    RUNNING = "RUNNING"
    COMPLETING = "COMPLETING"
    SUSPENDED = "SUSPENDED"
    STOPPED = "STOPPED"
    SIGNALING = "SIGNALING"
    STAGE_OUT = "STAGE_OUT"
    RESIZING = "RESIZING"
    REQUEUED = "REQUEUED"
    REQUEUE_FED = "REQUEUE_FED"
    REQUEUE_HOLD = "REQUEUE_HOLD"
    SPECIAL_EXIT = "SPECIAL_EXIT"
    RESV_DEL_HOLD = "RESV_DEL_HOLD"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMEOUT = "TIMEOUT"
    NODE_FAIL = "NODE_FAIL"
    BOOT_FAIL = "BOOT_FAIL"
    LAUNCH_FAILED = "LAUNCH_FAILED"
    RECONFIG_FAIL = "RECONFIG_FAIL"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    PREEMPTED = "PREEMPTED"
    DEADLINE = "DEADLINE"
    REVOKED = "REVOKED"
    UNKNOWN = "UNKNOWN"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The state from a listing; only the first word counts, as in ``CANCELLED by 1000``."""
        words = text.split()
        try:
            return cls(words[0].rstrip("+"))
        except (IndexError, ValueError):
            return cls("UNKNOWN")

    @property
    def ended(self) -> bool:
        """Whether the job is over, and none of its processes runs any more."""
        return self in _ENDED

    @property
    def live(self) -> bool:
        """Whether the job can still compute anything."""
        return self not in _ENDED

    @property
    def waiting(self) -> bool:
        """Whether the job is in the queue, and none of its processes runs."""
        return self in _WAITING

    @property
    def halted(self) -> bool:
        """Whether the job's processes are stopped until the scheduler lets them go on."""
        return self in _HALTED


_ENDED: Final = {
    JobState.COMPLETED,
    JobState.FAILED,
    JobState.CANCELLED,
    JobState.TIMEOUT,
    JobState.NODE_FAIL,
    JobState.BOOT_FAIL,
    JobState.LAUNCH_FAILED,
    JobState.RECONFIG_FAIL,
    JobState.OUT_OF_MEMORY,
    JobState.PREEMPTED,
    JobState.DEADLINE,
    JobState.REVOKED,
}
_WAITING: Final = {
    JobState.PENDING,
    JobState.REQUEUED,
    JobState.REQUEUE_FED,
    JobState.REQUEUE_HOLD,
    JobState.SPECIAL_EXIT,
    JobState.RESV_DEL_HOLD,
}
_HALTED: Final = {JobState.SUSPENDED, JobState.STOPPED}
# Reasons for which a job waits that no free node would start. Slurm itself ends a job whose dependency
# can no longer be met (``kill-on-invalid-dep``).
_UNSCHEDULABLE: Final = {
    "AccountNotAllowed",
    "BadConstraints",
    "InvalidAccount",
    "InvalidQOS",
    "PartitionConfig",
    "PartitionNodeLimit",
    "PartitionTimeLimit",
    "QOSNotAllowed",
}
# Limits on a single job, which it exceeds even when other jobs have ended. Limits on all jobs of an
# account or a user may be met when others have ended.
_TOO_LARGE: Final = re.compile(r"(Assoc|QOS)(Max\w*Per(Job|Node)|Min)\w*")
_REASONS_SHOWN: Final = 3
_NO_LOG: Final = 128 + 53  # 0:53 in Slurm's own notation


@attrs.frozen
class JobInfo:
    """The state of one job.

    Attributes:
        job_id: such as ``"123"``, or ``"123_4"`` for an element of an array.
        name: the job's name, token included.
        state: its state.
        restarts: how often Slurm has put it back into the queue.
        reason: why it waits or ended, in Slurm's words; empty for none.
        exit_code: of an ended job, as in a shell: 128 and more for a signal; None when unknown.
        elsewhere: whether it is on another cluster or machine, so that its state is not known here.
    """

    job_id: str
    name: str
    state: JobState
    restarts: int = 0
    reason: str = ""
    exit_code: int | None = None
    elsewhere: bool = False

    @property
    def token(self) -> str:
        """The token of its submission."""
        return token_of(self.name)

    @property
    def words(self) -> str:
        """Its state as a clause, for messages.

        Example:
            >>> JobInfo("7", "x.tok", JobState.FAILED, exit_code=3).words
            'job 7 is FAILED (exit status 3)'
        """
        parts = (
            [self.reason] if self.reason and not self.reason.startswith(self.state.value) else []
        )
        if self.exit_code == _NO_LOG:
            parts = ["its machine could not open the log: does it see that folder?"]
        elif self.exit_code:
            parts.append(f"exit status {self.exit_code}")
        text = f"job {self.job_id} is {self.state.value}"
        return f"{text} ({', '.join(parts)})" if parts else text

    @property
    def unschedulable(self) -> bool:
        """Whether it waits for something that cannot come, such as a node larger than any.

        A held job, a partition that is down, and a reservation do not count: they may be released.
        """
        if self.state is not JobState.PENDING:
            return False
        return self.reason in _UNSCHEDULABLE or _TOO_LARGE.fullmatch(self.reason) is not None

    @property
    def held(self) -> bool:
        """Whether it is held, and waits to be released."""
        return self.state.waiting and "held" in self.reason.lower()

    @property
    def dropped(self) -> bool:
        """Whether Slurm itself has held it, because it failed to start it; no user asked for that."""
        return self.state.waiting and (
            self.reason == "JobHoldMaxRequeue" or self.reason.lower().endswith("requeued held")
        )


@attrs.frozen(slots=False)
class Snapshot:
    """The states of the user's jobs at one moment.

    Attributes:
        known: whether Slurm answered. If not, a job that is not found here may well run.
        problem: why Slurm did not answer.
        taken: when it was asked, by `time.monotonic`.
        found: the jobs, by id. A job that is missing here may exist: a site may answer from a cache,
            and squeue shows only the user's own jobs.
        denied: ids that were asked for and of which the scheduler said that there is no such job.
        home: the user and cluster of the jobs; None where no job was asked for by an id with a home.
    """

    known: bool
    problem: str = ""
    taken: float = attrs.field(factory=time.monotonic)
    found: Mapping[str, JobInfo] = attrs.field(factory=dict, repr=False)
    denied: frozenset[str] = attrs.field(default=frozenset(), repr=False)
    home: Home | None = None

    def job(self, job_id: str) -> JobInfo | None:
        """The state of a job; None when it is not found.

        Slurm forgets elements of arrays that are cancelled before they start: at once if others of
        the array go on; otherwise it keeps one record for all of them.

        Args:
            job_id: with its home, or of a job of this user on this cluster.
        """
        home = home_of(job_id)
        if home is not None:
            if self.home is None or self.home.cluster != home.cluster:
                return job_elsewhere(job_id, f"a job of the cluster {home.cluster}")
            job_id = bare_id(job_id)
        info = self.found.get(job_id)
        if info is None and "_" in job_id:
            whole = self.found.get(job_id.partition("_")[0])
            if whole is not None and whole.state.ended:
                return attrs.evolve(whole, job_id=job_id)
        return info

    def gone(self, job_id: str) -> bool:
        """Whether the scheduler has said that this very job has ended, or does not exist.

        It may have said nothing about a job that was not passed to `Cluster.jobs`.
        """
        info = self.job(job_id)
        return job_id in self.denied if info is None else info.state.ended

    def by_token(self, token: str) -> list[JobInfo]:
        """The jobs of one submission, by their place in its array."""
        return self._by_token.get(token, [])

    def in_submission(self, token: str, index: int) -> JobInfo | None:
        """The job at a place of a submission's array; None when it is not found."""
        infos = self.by_token(token)
        # Usually all jobs of an array are listed, in their order: the likely place is tried first.
        for info in (*infos[index : index + 1], *infos):
            if max(0, split_id(info.job_id)[1]) == index:
                return info
        return None

    @cached_property
    def _by_token(self) -> dict[str, list[JobInfo]]:
        grouped: dict[str, list[JobInfo]] = {}
        for info in self.found.values():
            grouped.setdefault(info.token, []).append(info)
        for infos in grouped.values():
            infos.sort(key=lambda info: split_id(info.job_id))
        return grouped


def reasons(infos: Iterable[JobInfo]) -> tuple[tuple[str, int], ...]:
    """Slurm's reasons for which jobs wait, each with the number of jobs; the most frequent first.

    The reason that jobs depend on others comes last, because it is expected.

    Example:
        >>> from furu_slurm import JobInfo, JobState, reasons
        >>> jobs = [JobInfo(str(n), "x", JobState.PENDING, reason="Dependency") for n in range(3)]
        >>> reasons([*jobs, JobInfo("4", "x", JobState.PENDING, reason="JobHeldUser")])
        (('JobHeldUser', 1), ('Dependency', 3))
    """
    counts = Counter(info.reason for info in infos if info.state.waiting and info.reason)
    return tuple(sorted(counts.items(), key=lambda one: (one[0] == "Dependency", -one[1])))


def reasons_text(found: Iterable[tuple[str, int]]) -> str:
    """The result of `reasons` as text.

    Example:
        >>> from furu_slurm import reasons_text
        >>> reasons_text([("Resources", 2), ("JobHeldUser", 1)])
        'Resources (2), JobHeldUser (1)'
    """
    texts = [f"{reason} ({number})" for reason, number in found]
    more = ["..."] if len(texts) > _REASONS_SHOWN else []
    return ", ".join(texts[:_REASONS_SHOWN] + more)


def standing_lines(found: Iterable[JobInfo], word: str) -> list[str]:
    """How the live jobs among some stand, and why they wait, in lines for people.

    Args:
        found: the jobs.
        word: what they are called, such as ``worker``.

    Example:
        >>> from furu_slurm import JobInfo, JobState, standing_lines
        >>> waits = JobInfo("7", "x", JobState.PENDING, reason="Priority")
        >>> standing_lines([JobInfo("6", "x", JobState.RUNNING), waits], "job")
        ['jobs: 1 running, 1 pending', 'pending: 1 job, Slurm says Priority (1)  squeue --jobs=7']
    """
    live = [info for info in found if info.state.live]
    waiting = [info for info in live if info.state.waiting]
    elsewhere = [info for info in live if info.elsewhere]
    running = len(live) - len(waiting) - len(elsewhere)
    lines = [f"{word}s: {running} running, {len(waiting)} pending"]
    if elsewhere:
        lines.append(
            f"of {count(len(elsewhere), word)} nothing is known here: {elsewhere[0].reason}"
        )
    if waiting:
        said = reasons_text(reasons(waiting))
        shown = ",".join(info.job_id for info in waiting[:_REASONS_SHOWN])
        lines.append(
            f"pending: {count(len(waiting), word)}{f', Slurm says {said}' if said else ''}  "
            f"squeue --jobs={shown}"
        )
    return lines


def job_elsewhere(job_id: str, reason: str) -> JobInfo:
    """A job on another cluster or machine, whose state is not known here."""
    return JobInfo(bare_id(job_id), "", JobState.UNKNOWN, reason=reason, elsewhere=True)


def split_id(job_id: str) -> tuple[int, int]:
    """The number of a job or array, and the place in the array; -1 for none."""
    number, _, index = job_id.partition("_")
    try:
        return int(number), int(index) if index else -1
    except ValueError:
        return -1, -1
