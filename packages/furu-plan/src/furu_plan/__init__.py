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

from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from furu_plan._retries import Decision, NextStep, RetryLedger, Spent, failure_of

if _TYPE_CHECKING:
    from furu_plan._build import build_plan
    from furu_plan._elsewhere import Reconciled, Waits, reconcile
    from furu_plan._frontier import Frontier, Reopening, Stage, Window
    from furu_plan._node import PlanNode, Status
    from furu_plan._plan import DependencyPlan, ready_todo, topo_order_todo

__all__ = [
    "Decision",
    "DependencyPlan",
    "Frontier",
    "NextStep",
    "PlanNode",
    "Reconciled",
    "Reopening",
    "RetryLedger",
    "Spent",
    "Stage",
    "Status",
    "Waits",
    "Window",
    "build_plan",
    "failure_of",
    "ready_todo",
    "reconcile",
    "topo_order_todo",
]


def __getattr__(name: str) -> _Any:
    # A scheduler's job counts the failures of its node and plans nothing.
    if name in __all__:
        from furu_plan import _build, _elsewhere, _frontier, _node, _plan

        modules = (_build, _elsewhere, _frontier, _node, _plan)
        return next(vars(one)[name] for one in modules if name in vars(one))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
