"""Runs furu graphs on Slurm, one job per node.

The process that submits a graph may end: Slurm orders the jobs by their dependencies, and each job tries
its node again by itself. `wait` and `status` of the run submit jobs that Slurm had no room for, or lost.

Glossary:
    submitter: the process that submits the jobs of a run, and perhaps waits for them
    tracker: updates a run's frontier from the states of its nodes' jobs
    array: the jobs of one submission, for nodes of one class and spec key with the same dependencies
    assignment: the node that a job is to compute
    job record: the state of a node's job, in a file that the job itself writes
    adopted job: one that another run submitted, and that this one waits for
    orphan job: one that Slurm cancelled because a job that it depended on failed
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from furu_slurm import SlurmSpec as SlurmSpec
    from furu_slurm_dag._executor import SlurmDagExecutor as SlurmDagExecutor
    from furu_slurm_dag._executor import submit_slurm_dag as submit_slurm_dag
    from furu_slurm_dag._run import SlurmDagStatus as SlurmDagStatus
    from furu_slurm_dag._run import SlurmDagSubmission as SlurmDagSubmission
    from furu_slurm_dag._run import WaitInterrupted as WaitInterrupted
else:
    from furu_core.executors import late_imports

    # A job imports this package as well, and would wait for all that submits jobs.
    __all__, __getattr__, __dir__ = late_imports(
        __name__,
        {
            "furu_slurm": "SlurmSpec",
            "._executor": "SlurmDagExecutor submit_slurm_dag",
            "._run": "SlurmDagStatus SlurmDagSubmission WaitInterrupted",
        },
    )
