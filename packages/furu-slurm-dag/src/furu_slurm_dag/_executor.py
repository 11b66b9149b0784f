"""The ways to submit a graph as Slurm jobs, one per node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs

from furu_core import Furu, use_settings
from furu_core.errors import FuruRunError
from furu_core.executors import (
    COUNT,
    SECONDS,
    TEXT,
    Executor,
    Liveness,
    OptionKind,
    RunOutlook,
    Submission,
    count,
    named_roots,
    new_run_folder,
    option,
    refuse_nested_run,
)
from furu_plan import DependencyPlan, Status, build_plan
from furu_plan.runs import RunOptions, failed_before, failure_text
from furu_slurm import (
    SPECS_KIND,
    GivenSpecs,
    SlurmCluster,
    check_spec_keys,
    resolve_specs,
    submitit_root,
    write_job_environment,
)
from furu_slurm_dag._liveness import liveness
from furu_slurm_dag._outlook import outlook
from furu_slurm_dag._run import SlurmDagSubmission
from furu_slurm_dag._run_folder import NAME
from furu_slurm_dag._submit import Submitter, submission_to_wait_for


def submit_slurm_dag(
    roots: Furu[Any] | Iterable[Furu[Any]] | Mapping[str, Furu[Any]],
    *,
    specs: GivenSpecs | None = None,
    submitit_root: Path | str | None = None,
    signal_before_secs: int = 60,
    poll_interval_sec: float = 2.0,
    keep_going: bool = False,
    retry_failed: bool | None = None,
    progress: bool | None = None,
    tags: Mapping[str, str] | None = None,
    note: str = "",
) -> SlurmDagSubmission:
    """Submit one Slurm job for each node that is to be computed, and return at once.

    A job waits for the jobs of its node's dependencies. Nodes of one class with the same dependencies
    share an array of jobs. Live jobs of earlier submissions, by any user, are adopted.

    Args:
        roots: one Furu object, an iterable of them, or a dict of named ones.
        specs: what jobs ask for, by spec key, with one for ``"default"``; those of keys that are not
            given come from ``[tool.furu.slurm.specs]`` of `pyproject.toml`.
        submitit_root: the folder of the jobs' logs. Default: `FURU_SUBMITIT_PATH`, else a folder in
            the store.
        signal_before_secs: seconds before their walltime's end at which jobs interrupt their nodes,
            which go on from their `checkpoint_dir` in the next job.
        poll_interval_sec: seconds between two looks of `wait`.
        keep_going: when a node fails for good, go on with what does not depend on it, also after an
            error that trying again cannot mend; without it, `wait` then cancels the rest. What
            depends on a failed node never runs in any case.
        retry_failed: whether nodes that failed are tried again; default: `FURU_RETRY_FAILED`.
        progress: whether to tell of progress on the console.
        tags: tags of the run, for `furu runs`.
        note: a note on the run, for `furu runs`.

    Raises:
        FuruSpecError: a spec makes no sense, or a node's spec key has none.
        FuruRunError: a node that is needed failed before and is not tried again, and `keep_going` is
            off; nothing is submitted.
        FuruExecutorError: a node is computed by a process that is no job of this executor, so that no
            job can wait for its end.
        FuruSubmitRefused: Slurm would never run a job; those before it are submitted.
        FuruSlurmUnavailable: Slurm does not answer.
        FuruNestedRun: the caller is itself the code of a node.

    Example:
        >>> from furu_slurm import SlurmSpec
        >>> from furu_slurm_dag import submit_slurm_dag
        >>> submit_slurm_dag([], specs={"default": SlurmSpec(time_min=-1)})
        Traceback (most recent call last):
            ...
        furu_slurm.errors.FuruSpecError: ...
    """
    executor = SlurmDagExecutor(
        specs=specs,
        submitit_root=submitit_root,
        signal_before_secs=signal_before_secs,
        poll_interval_sec=poll_interval_sec,
        keep_going=keep_going,
        retry_failed=retry_failed,
        progress=progress,
        tags=tags,
        note=note,
    )
    return executor.submit(roots)


@attrs.frozen(kw_only=True)
class SlurmDagExecutor(RunOptions, Executor):
    """Runs graphs on Slurm, one job per node; its arguments are those of `submit_slurm_dag`.

    Example:
        >>> executor = SlurmDagExecutor.from_options({"poll_interval_sec": "0.5"})
    """

    name: ClassVar[str] = NAME

    specs: GivenSpecs | None = option(None, "what jobs ask for, by spec key", SPECS_KIND)
    submitit_root: Path | str | None = option(None, "the folder of the jobs' logs", TEXT)
    signal_before_secs: int = option(
        60, "seconds before their walltime's end at which jobs interrupt their nodes", COUNT
    )
    poll_interval_sec: float = option(
        2.0,
        "seconds between two looks of `wait`",
        OptionKind(
            "a number of seconds between 0 and 3600",
            lambda seconds: SECONDS.check(seconds) and seconds < 3600,
        ),
    )

    @classmethod
    def liveness(cls, submissions: Sequence[Submission]) -> dict[Submission, Liveness]:
        """Whether jobs that such an executor submitted can still compute anything."""
        return liveness(submissions)

    @classmethod
    def outlook(cls, folder: Path) -> RunOutlook:
        """What is to be told of a run that has not ended."""
        return outlook(folder)

    def submit(self, roots: Any) -> SlurmDagSubmission:
        """Submit the jobs of `roots` and of everything they depend on, and return the run."""
        refuse_nested_run()
        specs = resolve_specs(self.specs)
        settings = self.settings()
        named = named_roots(roots)
        plan = build_plan(named, settings=settings)
        if not self.keep_going:
            _refuse_failed(plan)
        check_spec_keys(specs, plan.topo_order_todo())
        for node in plan.with_status(Status.IN_PROGRESS):
            submission_to_wait_for(node, node.holder)  # or an error
        cluster = SlurmCluster()
        logs = submitit_root(self.submitit_root)
        run_id, folder = new_run_folder(
            self.name, named, tags=self.tags, note=self.note, planned=plan.nodes
        )
        with use_settings(retry_failed=settings.retry_failed):
            write_job_environment(folder)
        submitter = Submitter(cluster, specs, logs, run_id, folder, self.signal_before_secs)
        run = SlurmDagSubmission(
            run_id,
            folder,
            named,
            plan,
            self,
            self.poll_interval_sec,
            cluster,
            submitter,
            settings,
        )
        run.start()
        return run


def _refuse_failed(plan: DependencyPlan) -> None:
    """Raise if a node that is needed failed before and is not to be tried again."""
    failures = failed_before(plan)
    if failures:
        raise FuruRunError(
            f"nothing was submitted: {count(len(failures), 'node')} that the roots need failed before, "
            f"and retry_failed is off\n{failure_text(failures)}",
            failures=failures,
            hint="mend the cause and submit with retry_failed=True (FURU_RETRY_FAILED=1), or with "
            "keep_going=True, which computes what does not need it",
        )
