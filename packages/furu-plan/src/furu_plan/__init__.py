"""Plans which nodes of a furu graph are to be computed, and in which order.

`build_plan` reads the store once and returns a `DependencyPlan`. An executor makes a `Frontier` of
it, which hands out nodes as they become ready; asks a `RetryLedger` what follows from a failure; and
lets `Waits` watch the nodes that another run or process computes::

    plan = build_plan(roots)
    frontier = Frontier(plan, window="bfs")
    ledger = RetryLedger(keep_going=keep_going)
    waits = Waits()
    while not frontier.finished:
        for node in frontier.take(limit=free_workers):
            start(node.obj, rerun=node.rerun)
        frontier.resolve(waits.check(frontier.waiting(), idle=frontier.idle))
        for result in finished_workers(timeout=waits.due_in() if frontier.waiting() else None):
            ...  # frontier.done, failed, retry, elsewhere or reopen

Glossary:
    plan: a snapshot of which nodes of a graph are done, in progress, failed, or to be computed
    frontier: which nodes of a plan can be computed now, kept up to date while a run goes on
    stage: a node's state within a run: pending, ready, out, waiting, done, failed or blocked
    blocked node: one that can never run, because something that it depends on failed
    window: how many roots are worked on at once
    reopening: computing a node again because its artifact turned out to be bad; at most once a run
    retry ledger: counts the failures of each node of a run, and decides what follows
    elsewhere: in another run or process, which computes a node that this run needs
    controller: the loop of a run: it hands out ready nodes, receives results, decides what follows
    pool: the workers that do a controller's tasks: threads, processes, jobs of a scheduler
    task: one attempt at a node, handed to a pool
    place: where nodes of a spec key have to be computed, such as a device
    backend: the adapter of a scheduler or framework that does tasks outside this process
    journal: the record of a run: its events, failures and counts
    conclusion: the outcome of an ended run: it returns, or raises an error with a summary
    hand-over: the event that another controller has taken over the run
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from furu_plan._build import build_plan as build_plan
    from furu_plan._elsewhere import Reconciled as Reconciled
    from furu_plan._elsewhere import Waits as Waits
    from furu_plan._elsewhere import reconcile as reconcile
    from furu_plan._frontier import Frontier as Frontier
    from furu_plan._frontier import Reopening as Reopening
    from furu_plan._frontier import Stage as Stage
    from furu_plan._frontier import Window as Window
    from furu_plan._node import PlanNode as PlanNode
    from furu_plan._node import Status as Status
    from furu_plan._plan import DependencyPlan as DependencyPlan
    from furu_plan._plan import ready_todo as ready_todo
    from furu_plan._plan import topo_order_todo as topo_order_todo
    from furu_plan._retries import Decision as Decision
    from furu_plan._retries import NextStep as NextStep
    from furu_plan._retries import RetryLedger as RetryLedger
    from furu_plan._retries import Spent as Spent
    from furu_plan._retries import failure_of as failure_of
else:
    from furu_core.executors import late_imports

    # A scheduler's job only counts the failures of its node: it does without the planning modules.
    __all__, __getattr__, __dir__ = late_imports(
        __name__,
        {
            "._build": "build_plan",
            "._elsewhere": "Reconciled Waits reconcile",
            "._frontier": "Frontier Reopening Stage Window",
            "._node": "PlanNode Status",
            "._plan": "DependencyPlan ready_todo topo_order_todo",
            "._retries": "Decision NextStep RetryLedger Spent failure_of",
        },
    )
