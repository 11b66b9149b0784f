"""A node of a run, as its submitter sees it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from enum import Enum

import attrs

from furu_core.executors import Failure, NodePlace
from furu_plan import PlanNode
from furu_slurm import JobHealth
from furu_slurm_dag._submit import Job


class Stage(Enum):
    """How a node stands."""

    WAITING = "waiting"  # to be submitted, or waits for somebody who computes it without a job
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    NEVER_RAN = "never ran"  # because something that it depends on failed
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        """Whether nothing more will become of the node in this run."""
        return self in (Stage.DONE, Stage.FAILED, Stage.NEVER_RAN, Stage.CANCELLED)

    @property
    def bad(self) -> bool:
        """Whether nodes that depend on it can never run."""
        return self.over and self is not Stage.DONE


@attrs.define
class Entry:
    """A node that is not there yet when the run begins, or was not.

    Attributes:
        node: as planned.
        place: where it stands in the store.
        stage: how it stands.
        job: the job that computes it.
        wired: the jobs that one waits for, by the hashes of their nodes.
        adopted: whether somebody else submitted that.
        failure: why it failed.
        because: short name of the node that failed, for one that never ran.
        computed: whether this run's job, or one that it adopted, computed it.
        ended: since when its job is known to be over and nothing seen of a result.
        health: how its job is.
        since: when it came to stand as it stands, by `time.monotonic`.
        read: when it was looked what its job, which runs, says itself.
        retries: how many times it was told that its jobs tried it again.
    """

    node: PlanNode
    place: NodePlace
    stage: Stage = Stage.WAITING
    job: Job | None = None
    wired: Mapping[str, str] = attrs.field(factory=dict)
    adopted: bool = False
    failure: Failure | None = None
    because: str = ""
    computed: bool = False
    ended: float | None = None
    health: JobHealth = attrs.field(factory=JobHealth)
    since: float = attrs.field(factory=time.monotonic)
    read: float = 0.0
    retries: int = 0
