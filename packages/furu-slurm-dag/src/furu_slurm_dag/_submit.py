"""Submitting the jobs of nodes: note the submission in the store, write the payload, call sbatch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from furu_core.errors import FuruError, FuruExecutorError, FuruStoreError
from furu_core.executors import (
    Liveness,
    Submission,
    liveness,
    note_submission,
    remove_submission,
    submission_of,
)
from furu_core.planning import Holder, NodeRef, NodeState, ref_of, state_at
from furu_core.workers import GraphWriter
from furu_plan import PlanNode
from furu_slurm import (
    UNCONFIRMED_SECS,
    Cluster,
    Specs,
    SubmittedJob,
    at_home,
    bare_id,
    new_token,
    node_log_folder,
    payload_file,
    read_payload,
)
from furu_slurm.errors import FuruSlurmError
from furu_slurm_dag._arrays import LONGEST, Group, afterok
from furu_slurm_dag._job import FUNCTION
from furu_slurm_dag._run_folder import (
    GRAPH,
    NAME,
    Assignment,
    Batch,
    JobRef,
    begin,
    home_of_submission,
    job_ids,
    parse_ref,
    run_folder,
    take_back,
    write_job_ids,
)

_log = logging.getLogger("furu.slurm")

_LOOK_SECS: Final = 1.0


@attrs.frozen
class Job:
    """The job of a node.

    Attributes:
        job_id: its id in Slurm.
        name: its run, token and index, which its submitter chose.
        size: how many jobs its submission has.
        home: its home, see `furu_slurm.at_home`.
    """

    job_id: str
    name: JobRef
    size: int = 1
    home: str = ""

    @property
    def full_id(self) -> str:
        """Its id with its home."""
        return at_home(self.job_id, self.home)

    @property
    def submitted(self) -> SubmittedJob:
        """The job as `JobHealth` and `liveness_of` take it."""
        return SubmittedJob(self.full_id, self.name.token, self.name.index, self.home)


class TooMany(FuruSlurmError):
    """A job depends on too many others for sbatch; fewer are left once some have ended."""


class Submitter:
    """Submits the jobs of one run, and adopts those that other runs have submitted.

    Args:
        cluster: where the jobs run.
        specs: the specs by spec key.
        root: the folder below which jobs have their logs.
        run_id: the run.
        folder: its folder.
        signal_before_secs: how long before their walltime's end jobs are signalled.
    """

    def __init__(
        self,
        cluster: Cluster,
        specs: Specs,
        root: Path,
        run_id: str,
        folder: Path,
        signal_before_secs: int,
    ) -> None:
        self._cluster = cluster
        self._specs = specs
        self.root = root
        self.run_id = run_id
        self._folder = folder
        self._signal_before_secs = signal_before_secs
        self._graph: GraphWriter | None = None
        self._sizes: dict[str, int] = {}  # of submissions by others, by token
        self.largest = cluster.max_array_size()
        self._home = cluster.home()
        # Called repeatedly while the submission of another run is waited for; it may raise.
        self.look_up: Callable[[], None] = lambda: None

    def log_folder(self, spec_key: str) -> Path:
        """The folder of the logs of jobs with a spec key."""
        return node_log_folder(self.root, spec_key, self.run_id)

    def close(self) -> None:
        """Close the run's graph file, until more is submitted."""
        if self._graph is not None:
            self._graph.close()
            self._graph = None

    def submit(
        self, group: Group, jobs: Mapping[str, Job], dependencies: Sequence[NodeRef]
    ) -> dict[str, Job]:
        """Submit jobs for a group's nodes, or adopt those that other runs submitted meanwhile.

        Args:
            group: at most `largest` nodes.
            jobs: of the nodes that the group waits for, by hash.
            dependencies: those nodes.

        Returns:
            The nodes' jobs, by hash; none for nodes that another process computes without a job.

        Raises:
            TooMany: the group depends on too many jobs.
            FuruSubmitRefused, FuruSubmitLimit, FuruSlurmUnavailable: as `Cluster.submit`.
            FuruStoreError: the store cannot be written.
        """
        sizes = {job.job_id.partition("_")[0]: job.size for job in jobs.values()}
        dependency = afterok([job.job_id for job in jobs.values()], sizes)
        if len(dependency) > LONGEST:
            raise TooMany(f"{len(jobs)} jobs to wait for are too many at once")
        token = new_token()
        begin(self._folder, token, self._home)
        ours, others = self._note(group.nodes, token)
        found: dict[str, Job] = {}
        if ours:
            try:
                found = self._submit(ours, token, dependency, dependencies)
            except FuruError as error:
                # After any other exception, such as that of Ctrl-C, the jobs may be in the queue.
                if not getattr(error, "maybe_submitted", False):
                    _forget(ours)
                    take_back(self._folder, token)
                raise
        for node, submission in others:
            job = self.adopt(node, submission)
            if job is not None:
                found[node.hash] = job
        return found

    def _size(self, folder: Path, token: str) -> int:
        """How many jobs a submission has; 0 where that is not known."""
        if token not in self._sizes:
            try:
                self._sizes[token] = len(read_payload(payload_file(folder, token)).jobs)
            except (FileNotFoundError, FuruStoreError):
                return 0
        return self._sizes[token]

    def _submit(
        self,
        nodes: Sequence[PlanNode],
        token: str,
        dependency: str,
        dependencies: Sequence[NodeRef],
    ) -> dict[str, Job]:
        key = nodes[0].spec_key
        if self._graph is None:
            self._graph = GraphWriter(self._folder / GRAPH)
        offsets = [self._graph.add(node.obj) for node in nodes]
        self._graph.flush()
        assignments = [
            Assignment(ref_of(node.obj), offset, node.rerun)
            for node, offset in zip(nodes, offsets, strict=True)
        ]
        batch = Batch(self.run_id, key, tuple(assignments), tuple(dependencies))
        spec = self._specs[key]
        ids = self._cluster.submit(
            spec=spec,
            token=token,
            name=nodes[0].name if len(nodes) == 1 else nodes[0].class_name,
            folder=self.log_folder(key),
            payload=batch.payload(FUNCTION, self._folder),
            dependency=dependency,
            requeue=True,
            # At most half of the walltime, or a short job would be told to end before it has begun.
            signal_before_secs=min(self._signal_before_secs, int(30 * spec.time_min)),
        )
        write_job_ids(self._folder, token, [at_home(one, self._home) for one in ids])
        return {
            node.hash: Job(job_id, JobRef(self.run_id, token, index), len(nodes), self._home)
            for index, (node, job_id) in enumerate(zip(nodes, ids, strict=True))
        }

    # The notes in the store

    def _note(
        self, nodes: Iterable[PlanNode], token: str
    ) -> tuple[list[PlanNode], list[tuple[PlanNode, Submission]]]:
        """Note the submission of nodes; return those noted, and those that other runs submitted."""
        ours: list[PlanNode] = []
        others: list[tuple[PlanNode, Submission]] = []
        try:
            for node in nodes:
                submission = JobRef(self.run_id, token, len(ours)).submission()
                other = _noted_by_other(node, submission)
                if other is None:
                    ours.append(node)
                else:
                    others.append((node, other))
        except FuruError:
            _forget(ours)
            raise
        return ours, others

    def adopt(self, node: PlanNode, submission: Submission) -> Job | None:
        """The job that another run submitted for a node; None when it was gone before it was found.

        Raises:
            FuruExecutorError: it is no job that another job could depend on.
        """
        name = parse_ref(submission)
        if name is None:
            raise cannot_wait_error(node, Holder(None, submission))
        folder = run_folder(name.run_id)
        size = self._size(folder, name.token)
        home = home_of_submission(folder, name.token)
        if home and home.rpartition(":")[0] != self._home.rpartition(":")[0]:
            raise cannot_wait_error(node, Holder(None, submission))
        deadline = time.monotonic() + UNCONFIRMED_SECS
        said = False
        while True:
            # The file is read repeatedly, because a listing does not show another user's jobs.
            known = job_ids(folder, name.token)
            if name.index < len(known):
                return Job(bare_id(known[name.index]), name, size, home)
            info = self._cluster.jobs().in_submission(name.token, name.index)
            if info is not None:
                return Job(info.job_id, name, size, home)
            if not _lives(submission):
                return None
            if time.monotonic() > deadline:
                raise cannot_wait_error(node, Holder(None, submission))
            if not said:
                _log.info("run %s submits %s just now; waiting for its job", name.run_id, node.name)
                said = True
            time.sleep(_LOOK_SECS)
            self.look_up()


def _noted_by_other(node: PlanNode, submission: Submission) -> Submission | None:
    """Note a node's submission, unless a live job is noted already, whose submission is returned."""
    while True:
        before = submission_of(node.obj)
        if before is not None and _holds(node, before):
            return before
        if note_submission(node.obj, submission, over=before):
            return None


def cannot_wait_error(node: PlanNode, holder: Holder | None) -> FuruExecutorError:
    """The error for a node that is computed without a job that another job could depend on."""
    return FuruExecutorError(
        f"{node.name} is computed by {holder or 'somebody else'}, which is no job of {NAME} that "
        "Slurm knows here, so no job can wait for it",
        hint="wait until it is done and run the same command again, or use the executor slurm-pool, "
        "which waits for what others compute",
    )


def submission_to_wait_for(node: PlanNode, holder: Holder | None) -> Submission:
    """The submission that computes a node; raise unless it is one of this executor."""
    submission = None if holder is None else holder.submission
    if submission is None or parse_ref(submission) is None:
        raise cannot_wait_error(node, holder)
    return submission


def _lives(submission: Submission) -> bool:
    return liveness([submission])[submission] is not Liveness.GONE


def _holds(node: PlanNode, submission: Submission) -> bool:
    """Whether a job may still compute a node; if that is not known, its attempt tells."""
    match liveness([submission])[submission]:
        case Liveness.ALIVE:
            return True
        case Liveness.GONE:
            return False
        case Liveness.UNKNOWN:
            return state_at(node.obj).state in (NodeState.QUEUED, NodeState.RUNNING)


def _forget(nodes: Iterable[PlanNode]) -> None:
    for node in nodes:
        remove_submission(node.obj)
