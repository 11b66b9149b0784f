"""The controller of a run on a pool.

`_start` makes a process the controller of a run, `_job` is a controller that runs as a job; `_terms` tells
which process controls a run, `_request` holds its roots and options, and `_recovery` and `_retries` read
what earlier controllers left. `_run` puts the parts together: `_queue_pool` with its `_task_queue` has
tasks computed by the `_fleet`, whose `_workers` are jobs; `_scheduler` asks Slurm about them. `_scaling`
decides how many workers there are to be, and `_ghost_jobs` finds jobs that outlive their run.
"""
