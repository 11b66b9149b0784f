"""Plans what of a furu graph is to be computed, and in which order.

`build_plan` looks at the store once and gives a `DependencyPlan`. An executor makes a `Frontier` of
it, which hands out nodes as they become ready, asks a `RetryLedger` what follows from a failure, and
lets `Waits` watch what someone else computes::

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
    plan: what of a graph is done, in progress, failed, or to be computed, as the store showed it once
    frontier: which nodes of a plan can be computed now, kept up to date while a run goes on
    stage: where a node stands within a run: pending, ready, out, waiting, done, failed or blocked
    blocked node: one that can never run, because something that it depends on failed
    window: how many roots are worked on at once
    reopening: computing a node again whose artifact turned out to be bad, once a run
    retry ledger: what counts the failures of each node of a run, and decides what follows
    elsewhere: with another run or process, which computes a node that this run needs
    controller: the loop of a run: it hands out what is ready, hears what became of it, decides
    pool: whatever does a controller's tasks: threads, processes, jobs of a scheduler
    task: one attempt at a node, handed to a pool
    place: where nodes of a spec key have to be computed, such as a device
    backend: what does tasks elsewhere, of which a pool is made
    journal: the events of a run, and the failures and counts that it is summed up by
    conclusion: what a run that has ended says, and raises to whoever waits for it
    hand-over: that another controller has the run from now on
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

    # A scheduler's job counts the failures of its node and plans nothing.
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
