"""What the Slurm backends of furu share: the specs of jobs, submitting jobs, and their states.

Glossary:
    spec: what a job asks of Slurm; one for each spec key that nodes have.
    token: the name of a submission, part of its jobs' names.
    payload: the file, named after the token, that says what the jobs of a submission run.
    job id: Slurm's id of a job; where it is stored, it includes the job's home.
    home: the cluster and the user that a job belongs to.
    snapshot: the states of jobs at one moment, from squeue, sacct and scontrol.
    job state: the state of a job as Slurm names it.
    job health: whether a job is worth waiting for, from its state and its own signs of life.
    liveness: whether a submission can still compute anything.
    submit limit: how many jobs Slurm accepts.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from furu_slurm._cluster import Cluster as Cluster
    from furu_slurm._environment import JobEnvironment as JobEnvironment
    from furu_slurm._environment import code_of_run as code_of_run
    from furu_slurm._environment import job_times as job_times
    from furu_slurm._environment import restore_job_environment as restore_job_environment
    from furu_slurm._environment import this_job as this_job
    from furu_slurm._environment import write_job_environment as write_job_environment
    from furu_slurm._health import SILENT_LEASES as SILENT_LEASES
    from furu_slurm._health import UNCONFIRMED_SECS as UNCONFIRMED_SECS
    from furu_slurm._health import Health as Health
    from furu_slurm._health import JobHealth as JobHealth
    from furu_slurm._health import SubmittedJob as SubmittedJob
    from furu_slurm._health import liveness as liveness
    from furu_slurm._health import liveness_of as liveness_of
    from furu_slurm._job_names import ANY_RESTART as ANY_RESTART
    from furu_slurm._job_names import at_home as at_home
    from furu_slurm._job_names import bare_id as bare_id
    from furu_slurm._job_names import new_token as new_token
    from furu_slurm._job_names import same_job as same_job
    from furu_slurm._job_payload import JobPayload as JobPayload
    from furu_slurm._job_payload import payload_file as payload_file
    from furu_slurm._job_payload import read_payload as read_payload
    from furu_slurm._local import LocalCluster as LocalCluster
    from furu_slurm._settings import job_log as job_log
    from furu_slurm._settings import last_word as last_word
    from furu_slurm._settings import node_log_folder as node_log_folder
    from furu_slurm._settings import submitit_root as submitit_root
    from furu_slurm._settings import worker_log_folder as worker_log_folder
    from furu_slurm._slurm import SlurmCluster as SlurmCluster
    from furu_slurm._slurm import with_current_end as with_current_end
    from furu_slurm._specs import SPECS_KIND as SPECS_KIND
    from furu_slurm._specs import GivenSpecs as GivenSpecs
    from furu_slurm._specs import SlurmSpec as SlurmSpec
    from furu_slurm._specs import Specs as Specs
    from furu_slurm._specs import check_spec_keys as check_spec_keys
    from furu_slurm._specs import configured_specs as configured_specs
    from furu_slurm._specs import resolve_specs as resolve_specs
    from furu_slurm._states import JobInfo as JobInfo
    from furu_slurm._states import JobState as JobState
    from furu_slurm._states import Snapshot as Snapshot
    from furu_slurm._states import reasons as reasons
    from furu_slurm._states import reasons_text as reasons_text
    from furu_slurm._states import standing_lines as standing_lines
    from furu_slurm._submit_limit import SubmitLimit as SubmitLimit
else:
    from furu_core.executors import late_imports

    # A job imports this package as well, and would wait for all that submits jobs.
    __all__, __getattr__, __dir__ = late_imports(
        __name__,
        {
            "._cluster": "Cluster",
            "._environment": "JobEnvironment code_of_run job_times restore_job_environment this_job "
            "write_job_environment",
            "._health": "SILENT_LEASES UNCONFIRMED_SECS Health JobHealth SubmittedJob "
            "liveness liveness_of",
            "._job_names": "ANY_RESTART at_home bare_id new_token same_job",
            "._job_payload": "JobPayload payload_file read_payload",
            "._local": "LocalCluster",
            "._settings": "job_log last_word node_log_folder submitit_root worker_log_folder",
            "._slurm": "SlurmCluster with_current_end",
            "._specs": "SPECS_KIND GivenSpecs SlurmSpec Specs check_spec_keys configured_specs "
            "resolve_specs",
            "._states": "JobInfo JobState Snapshot reasons reasons_text standing_lines",
            "._submit_limit": "SubmitLimit",
        },
    )
