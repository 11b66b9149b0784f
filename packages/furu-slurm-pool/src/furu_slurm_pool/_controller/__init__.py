"""The side of a run that decides.

A process comes to control a run in `_start`, as a job in `_job`; `_terms` says who does, `_request` what is
to be done, and `_recovery` and `_retries` what earlier controllers left. `_run` puts the parts together:
`_queue_pool` with its `_task_queue` has tasks computed by the `_fleet`, whose `_workers` are jobs that
the `_scheduler` is asked about; `_scaling` says how many there are to be, `_ghost_jobs` what is left of them.
"""
