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
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
    from furu_plan._build import build_plan
    from furu_plan._elsewhere import Reconciled, Waits, reconcile
    from furu_plan._frontier import Frontier, Reopening, Stage, Window
    from furu_plan._node import PlanNode, Status
    from furu_plan._plan import DependencyPlan, ready_todo, topo_order_todo
    from furu_plan._retries import Decision, NextStep, RetryLedger, Spent

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
    "ready_todo",
    "reconcile",
    "topo_order_todo",
]

# A scheduler's job counts the failures of its node and plans nothing.
_MODULES = {
    "_build": ("build_plan",),
    "_frontier": ("Frontier", "Reopening", "Stage", "Window"),
    "_node": ("PlanNode", "Status"),
    "_plan": ("DependencyPlan", "ready_todo", "topo_order_todo"),
    "_retries": ("Decision", "RetryLedger", "Spent", "NextStep"),
    "_elsewhere": ("Reconciled", "Waits", "reconcile"),
}
_LATE = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> _Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(_import_module(f"{__name__}.{_LATE[name]}"), name)
    return found


def __dir__() -> list[str]:
    return __all__
