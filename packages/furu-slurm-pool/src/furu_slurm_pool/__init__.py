"""Runs furu graphs on a pool of Slurm workers that compute many nodes each.

The package has four rooms, each of which imports only those before it: `_queue` is the files by which a
controller and its workers communicate, `_worker` computes the tasks that it claims, `_controller` decides
which nodes are queued and which workers there are, and `_observer` looks at runs that other processes
control.

What becomes of a node that a worker computes while its controller dies:

The controller had written a task into the queue, and the worker had claimed it by moving the file into
its own folder (`_queue._tasks`). The worker does not notice the death. When the node has ended it
writes a report (`_queue._reports`), removes the task, and goes on with the tasks that wait. The same
command, run again, finds the unfinished run, sees that its leader is gone (`_controller._terms`), and
claims the next term, which only one process can (`_controller._start`). It takes back waiting tasks, and
notes which tasks workers have claimed and which reports have not been counted (`_controller._recovery`).
The new plan has such nodes as TODO, whatever Slurm says of them, but they are not queued again: a
claimed task counts as begun, and a reported one ends as the report says (`_controller._queue_pool`). If
the worker dies as well, Slurm's answer or its missing heartbeat shows it (`_controller._fleet`), its
folder is taken away, and the node is lost, which costs one of the retries that the dead controller had
counted on disk (`_controller._retries`). A controller that was only suspended and wakes finds the higher
term, and ends without touching anything.

Glossary:
    pool worker: a Slurm job that claims tasks of one spec key, and computes many of them
    queued task: one attempt at one node, as a file that waits in the queue of its spec key
    claim: the move of a task's file into the folder of the worker that is to do it
    task report: the outcome of a task, in a file that its worker writes
    heartbeat: a file whose name changes for as long as its worker lives
    order: a file by which a controller tells its workers to leave or to stop
    orphan: a task whose worker is gone, and that goes back into the queue
    intent: what a worker is about to do: work, leave, or end at once
    pool controller: the process that queues ready nodes, and decides what follows from failures
    term: one process's time as the controller of a run; the next one claims the next number
    leader: the controller of a run's newest term, as other processes see it
    request: the roots and options of a run, on disk, so that any process can go on with it
    fleet: all workers of a run
    recovery: finding the attempts that go on, or have ended, since the last controller died
    ghost job: a job that has ended, but that Slurm still lists as live
    observed run: a run that another process controls
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from furu_slurm import SlurmSpec as SlurmSpec
    from furu_slurm_pool._controller._run import SlurmPoolRun as SlurmPoolRun
    from furu_slurm_pool._executor import SlurmPoolExecutor as SlurmPoolExecutor
    from furu_slurm_pool._executor import run_slurm_pool as run_slurm_pool
    from furu_slurm_pool._observer._run import ObservedPoolRun as ObservedPoolRun
else:
    from furu_core.executors import late_imports

    # A worker imports this package as well, and would wait for all that controls runs.
    __all__, __getattr__, __dir__ = late_imports(
        __name__,
        {
            "furu_slurm": "SlurmSpec",
            "._controller._run": "SlurmPoolRun",
            "._executor": "SlurmPoolExecutor run_slurm_pool",
            "._observer._run": "ObservedPoolRun",
        },
    )
