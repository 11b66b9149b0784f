"""A run whose nodes are Slurm jobs, one per node: submitting them, and waiting for them."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from signal import Signals
from typing import Any, Final, Self

import attrs

import furu_core
from furu_core.errors import FuruError, FuruRunError
from furu_core.executors import (
    Event,
    EventLog,
    FailureKind,
    Roots,
    Run,
    RunState,
    RunStatus,
    count,
)
from furu_plan import DependencyPlan, Frontier, Stage
from furu_plan.runs import (
    INTERRUPTED,
    RunJournal,
    RunOptions,
    choose_display,
    conclude,
    end_line,
    signals_forwarded,
    stale_line,
)
from furu_slurm import Cluster, Snapshot, SubmitLimit, code_of_run, reasons, reasons_text
from furu_slurm.errors import FuruSlurmUnavailable, FuruSubmitLimit
from furu_slurm_dag._arrays import Group, grouped
from furu_slurm_dag._run_folder import run_folder, unanswered
from furu_slurm_dag._submit import Job, Submitter, TooMany
from furu_slurm_dag._tracker import Tracker

_log = logging.getLogger("furu.slurm")

_HEED_SECS: Final = 0.2  # how often a wait for another thread checks for a cancel or a signal
_WORD_SECS: Final = 60.0
_SHOWN: Final = 20


@attrs.frozen
class SlurmDagStatus(RunStatus):
    """The status of a run on Slurm, in numbers of nodes, with details about the `waiting` ones.

    Attributes:
        queued: nodes whose jobs wait in Slurm's queue.
        unsubmitted: nodes that wait until Slurm has room for their jobs.
        reasons: why jobs wait, in Slurm's words at the last look, each with the number of jobs.
        never_ran: short names of nodes that can never run, each with that of the node that failed.
        cancelled: short names of nodes whose jobs were cancelled.
    """

    queued: int = 0
    unsubmitted: int = 0
    reasons: tuple[tuple[str, int], ...] = ()
    never_ran: tuple[tuple[str, str], ...] = ()
    cancelled: tuple[str, ...] = ()


class _BrokenOff(BaseException):
    """Breaks off a look or a submission, because of a signal or a call of `cancel`."""


class WaitInterrupted(FuruRunError, SystemExit):
    """A signal ended the wait, while the jobs go on; it ends a program that does not catch it."""

    code = INTERRUPTED


class SlurmDagSubmission(Run):
    """The run of a graph whose nodes are Slurm jobs. They run whether or not a process waits for them.

    `wait` and `status` also submit jobs that Slurm had no room for, and submit lost ones again.

    It has no `Controller`: a controller hands out nodes as they become ready until the run ends, while
    here no process need be alive meanwhile. Both use the same frontier, journal and conclusion.

    Attributes:
        id: the run's name, in the order of time.
        folder: the run's folder in the store.
        roots: what was asked for.
        plan: what was to be computed when the jobs were submitted.
    """

    def __init__(
        self,
        run_id: str,
        folder: Path,
        roots: Roots,
        plan: DependencyPlan,
        options: RunOptions,
        poll_secs: float,
        cluster: Cluster,
        submitter: Submitter,
        settings: furu_core.Settings,
    ) -> None:
        self.id = run_id
        self.folder = folder
        self.roots = roots
        self.plan = plan
        self._options = options
        self._poll_secs = poll_secs
        self._cluster = cluster
        self._submitter = submitter
        self._frontier = Frontier(plan)
        self._journal = RunJournal(run_id, self._frontier, EventLog(folder))
        self._display = choose_display(wanted=options.progress, live=False)
        self._lock = threading.RLock()
        # A `SimpleQueue`, because a signal handler may put into it while this thread waits for it.
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._signal: Signals | None = None
        self._cancelled = False
        self._breakable = False
        self._limit = SubmitLimit()
        self._limit_said = self._many_said = -math.inf
        self._unanswered: float | None = None
        self._seen = Snapshot(False)
        self._retry_failed = settings.retry_failed
        submitter.look_up = self._break_off_if_wanted
        self._tracker = Tracker(self._frontier, submitter, settings, self._journal)

    # Attributes

    @property
    def run_id(self) -> str:
        """The run's name."""
        return self.id

    @property
    def run_dir(self) -> Path:
        """The run's folder."""
        return self.folder

    @property
    def job_id_by_hash(self) -> dict[str, str]:
        """The jobs of the nodes that were not done, by hash, adopted jobs included."""
        return self._tracker.job_ids()

    @property
    def root_job_ids(self) -> dict[str, str]:
        """The jobs of the roots that were not done, by hash."""
        jobs = self.job_id_by_hash
        return {one: jobs[one] for one in self.plan.roots if one in jobs}

    @property
    def submitit_root(self) -> Path:
        """The folder below which its jobs have their logs."""
        return self._submitter.root

    # Actions

    def start(self) -> None:
        """Submit all jobs that can be submitted; for the executor to call."""
        self._journal.begin()
        try:
            self._submit()
        finally:
            jobs = self._tracker.jobs().values()
            own = sum(job.name.run_id == self.id for job in jobs)
            total = count(sum(self._frontier.counts().values()), "node")
            self._say(
                "run %s: %s, %d there, %d submitted, %d in jobs submitted before",
                *(self.id, total, self._journal.there_before, own, len(jobs) - own),
            )
            self._tell_other_code({job.name.run_id for job in jobs} - {self.id})

    def _tell_other_code(self, runs: Iterable[str]) -> None:
        """Tell of jobs submitted before that import other code than the jobs of this run do."""
        for run_id in sorted(runs):
            try:
                theirs, ours = code_of_run(run_folder(run_id)), code_of_run(self.folder)
            except (OSError, FuruError) as error:
                _log.warning("which code the jobs of run %s import is not known: %s", run_id, error)
                continue
            if (theirs and theirs.digest) != (ours and ours.digest):
                jobs = self._tracker.jobs().values()
                ids = [job.job_id for job in jobs if job.name.run_id == run_id]
                _log.warning(
                    "%s of run %s, submitted before, compute by the code of that time (%s), not by that of "
                    "now (%s); if that matters: scancel %s, and run the same command again",
                    *(count(len(ids), "job"), run_id, theirs or "live", ours or "live"),
                    " ".join(ids[:_SHOWN]) + (" ..." if len(ids) > _SHOWN else ""),
                )

    def wait(self, timeout: float | None = None) -> Self:
        """Wait until the run has ended, and return it.

        Ctrl-C and other signals that ask the program to end only end the wait: the jobs go on, and
        the same command waits for them again. `cancel` ends the jobs.

        Args:
            timeout: seconds; None waits as long as jobs live.

        Raises:
            FuruRunError: it ended without the artifacts of all its roots.
            FuruRunCancelled: it was cancelled.
            TimeoutError: it has not ended yet.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with signals_forwarded(self._on_signal):
            while not self._step():
                left = self._poll_secs
                if deadline is not None:
                    left = min(left, deadline - time.monotonic())
                    if left <= 0:
                        raise TimeoutError(f"run {self.id} has not ended after {timeout} s")
                with suppress(Empty):
                    self._wake.get(timeout=left)
                if self._signal is not None:
                    raise self._interrupted()
        conclude(self.id, self._status(), retry_failed=self._retry_failed)
        return self

    def status(self) -> SlurmDagStatus:
        """The status of the run now.

        Like each look of `wait` it also submits jobs, so a program that calls it repeatedly instead of
        waiting sees the run go on, and end.
        """
        with self._lock:
            self._step()
            return self._status()

    def cancel(self) -> None:
        """Cancel the jobs, adopted ones too; `wait` tells when they have ended."""
        self._cancelled = True  # before the lock: a submission under the lock then breaks off
        with self._lock:
            self._cluster.cancel([job.job_id for job in self._tracker.jobs().values()])
            self._cluster.cancel(self._unheard_of())
        self._wake.put(None)

    def _unheard_of(self) -> list[str]:
        """The queued jobs of submissions that were broken off before sbatch answered."""
        tokens = unanswered(self.folder)
        seen = self._cluster.jobs(fresh=True) if tokens else self._seen
        infos = [info for token in sorted(tokens) for info in seen.by_token(token)]
        return [info.job_id for info in infos if info.state.live]

    def results(self) -> Any:
        """The results, in the shape of the roots, once the run has ended.

        Raises:
            FuruRunError: as `wait`.
        """
        self.wait()
        return super().results()

    def events(self) -> Iterator[Event]:
        """The events of the run, as far as `wait` and `status` saw them.

        Retries that a job made by itself are reported when it ends, or minutes after they happened.
        """
        return super().events()

    # One look at the jobs, and what follows

    def _step(self) -> bool:
        """Look at the jobs once, and act upon it; return whether the run has ended."""
        try:
            # Another thread may hold the lock: one that called `status`, and waits for Slurm's answer.
            while not self._lock.acquire(timeout=_HEED_SECS):
                self._break_off_if_wanted()
            try:
                return self._journal.state is not RunState.RUNNING or self._look_and_act()
            finally:
                self._lock.release()
        except _BrokenOff:
            return False  # the next look continues from the notes in the store

    def _look_and_act(self) -> bool:
        self._journal.sign()
        self._look()
        tracker = self._tracker
        to_cancel, tracker.to_cancel = tracker.to_cancel, []
        self._cancel_jobs(to_cancel)
        if all(self._frontier.stage(root) is Stage.DONE for root in self.plan.roots):
            return self._end(RunState.DONE)
        if self._stops():
            self._cancel_jobs([job.job_id for job in tracker.jobs().values()])
            return self._end(RunState.FAILED)
        if not self._cancelled:
            self._submit_more()
        if tracker.jobs():
            self._show()
            return False
        if tracker.unsubmitted() and not self._cancelled:
            return False  # wait until Slurm has room
        return self._end(RunState.CANCELLED if self._cancelled else RunState.FAILED)

    def _look(self) -> None:
        jobs = self._tracker.jobs()
        with self._breaking_off():
            snapshot = self._cluster.jobs([job.full_id for job in jobs.values()])
        self._seen = snapshot
        now = time.monotonic()
        if snapshot.known or not jobs:
            self._unanswered = None
        else:
            if self._unanswered is None or now - self._unanswered > _WORD_SECS:
                _log.warning("run %s: Slurm does not answer: %s", self.id, snapshot.problem)
                self._unanswered = now
        self._tracker.look(snapshot)

    def _stops(self) -> bool:
        """Whether a node failed in a way that retries cannot mend, so that the run is to stop."""
        if self._options.keep_going:
            return False
        return any(one.kind is FailureKind.PROTOCOL for one in self._journal.failures)

    def _cancel_jobs(self, job_ids: Sequence[str]) -> None:
        """Cancel jobs whose results are not needed; a failure to cancel them is ignored."""
        try:
            self._cluster.cancel(job_ids)
        except FuruSlurmUnavailable as error:
            _log.warning("run %s: %s", self.id, error)

    def _submit_more(self) -> None:
        keys = {node.spec_key for node in self._tracker.unsubmitted()}
        if any(self._limit.allows(key, 1) for key in keys):
            try:
                self._submit()
            except FuruSlurmUnavailable as error:
                _log.warning("run %s: %s; it is tried again", self.id, error.message)
                self._limit.pause()

    def _submit(self) -> None:
        """Submit the jobs that can be submitted now."""
        tracker = self._tracker
        tracker.refresh()
        try:
            pending = tracker.pending()
            for group in grouped(self._frontier.ahead(), pending):
                self._break_off_if_wanted()
                jobs = {one: tracker[one].job for one in group.waits_for}
                known = {one: job for one, job in jobs.items() if job is not None}
                # Jobs that the group depends on may not have been submitted for want of room.
                if len(known) == len(jobs):
                    self._submit_group(group, known)
        finally:
            self._submitter.close()

    def _submit_group(self, group: Group, jobs: Mapping[str, Job]) -> None:
        """Submit a group in as many arrays as it needs, as far as Slurm has room for them."""
        dependencies = [self._tracker[one].ref for one in group.waits_for]
        nodes = list(group.nodes)
        key = nodes[0].spec_key
        while nodes:
            size = self._limit.allows(key, min(len(nodes), self._submitter.largest))
            if not size:
                return
            part = attrs.evolve(group, nodes=tuple(nodes[:size]))
            self._break_off_if_wanted()
            try:
                with self._breaking_off():
                    found = self._submitter.submit(part, jobs, dependencies)
            except TooMany as error:
                if time.monotonic() - self._many_said > _WORD_SECS:
                    self._many_said = time.monotonic()
                    _log.info("run %s: %s; the rest is submitted later", self.id, error)
                return
            except FuruSubmitLimit as error:
                if self._limit.refused(key, size):
                    continue
                self._say_limit(error)
                with self._breaking_off():
                    self._limit.check(error, self._cluster.jobs(fresh=True))
                return
            self._limit.taken(key, size)
            self._tracker.took(found, jobs)
            del nodes[: len(part.nodes)]

    def _say_limit(self, error: FuruSubmitLimit) -> None:
        left = len(self._tracker.unsubmitted())
        if left and self._limit_said + _WORD_SECS < time.monotonic():
            self._limit_said = time.monotonic()
            _log.error(
                "run %s: %s; %s not submitted, which `wait` does as soon as Slurm takes more",
                *(self.id, error.message, count(left, "node")),
            )

    # Status and messages

    def _status(self) -> SlurmDagStatus:
        tracker = self._tracker
        status = self._journal.status(len(tracker.running()))
        queued = tracker.queued()
        return SlurmDagStatus(
            **attrs.asdict(status, recurse=False),
            queued=len(queued),
            unsubmitted=len(tracker.unsubmitted()),
            reasons=self._reasons(queued),
            never_ran=tracker.blocked(),
            cancelled=tuple(
                one.node for one in status.failures if one.kind is FailureKind.CANCELLED
            ),
        )

    def _reasons(self, queued: Sequence[Job]) -> tuple[tuple[str, int], ...]:
        infos = [self._seen.job(job.full_id) for job in queued]
        return reasons(info for info in infos if info is not None)

    def _show(self) -> None:
        due = self._display.due_in()
        if due is None or due > 0:
            return
        queued = self._tracker.queued()
        why = self._reasons(queued)
        said = f"{len(queued)} queued" + (f" because of {reasons_text(why)}" if why else "")
        self._display.update(
            self._journal.progress(self._tracker.running(), workers=said if queued else "")
        )

    def _say(self, text: str, *args: object) -> None:
        if self._options.progress is not False:
            _log.info(text, *args)

    # The end

    def _end(self, state: RunState) -> bool:
        self._submitter.close()
        self._journal.end(state)
        self._say("%s", end_line(self.id, self._status(), self._journal.elapsed))
        if self._options.progress is not False and (line := stale_line(self.plan)):
            self._say("run %s: %s", self.id, line)
        return True

    def _on_signal(self, signal: Signals) -> None:
        self._signal = self._signal or signal
        self._wake.put(None)
        if self._breakable:
            self._breakable = False
            raise _BrokenOff

    @contextmanager
    def _breaking_off(self) -> Iterator[None]:
        """Let a signal break off the block, which may take a minute where Slurm does not answer.

        The signal may arrive at any moment, such as Ctrl-C in a program that submits; jobs that are in
        the queue by then are found by their names.
        """
        if threading.current_thread() is not threading.main_thread():
            yield  # a signal only breaks off the main thread
            return
        self._breakable = True
        try:
            yield
        finally:
            self._breakable = False

    def _break_off_if_wanted(self) -> None:
        if self._signal is not None or self._cancelled:
            raise _BrokenOff

    def _interrupted(self) -> WaitInterrupted:
        self._signal = None
        arrays = dict.fromkeys(
            job.job_id.partition("_")[0] for job in self._tracker.jobs().values()
        )
        return WaitInterrupted(
            f"the wait for run {self.id} was interrupted; {count(len(self._tracker.jobs()), 'job')} of "
            "it go on",
            failures=self._journal.failures,
            run_id=self.id,
            hint="run the same command to wait again, or cancel them: scancel "
            + " ".join(list(arrays)[:_SHOWN])
            + (" ..." if len(arrays) > _SHOWN else ""),
        )
