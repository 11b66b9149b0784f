"""The parts of a run: a controller with its loop, and the interface of its workers.

An executor whose controller runs in a process of the user brings a `Pool`, which computes nodes.
`Controller` and `ControlledRun` do the rest: they choose ready nodes, treat failures, wait for nodes
that other runs compute, inform the user, and end the run. `start_run` puts them together. Where a
scheduler or framework computes, a `Backend` is all that is needed: a `BackendPool` makes a pool of it,
and a `BackendExecutor` an executor.
"""

from furu_plan.runs._backend import Answer, Backend, BackendExecutor, BackendPool, Report
from furu_plan.runs._conclusion import (
    INTERRUPTED,
    RunInterrupted,
    conclude,
    end_line,
    failure_text,
)
from furu_plan.runs._controller import Controller, Wish
from furu_plan.runs._display import Display, RunProgress, choose_display, progress_line
from furu_plan.runs._journal import RunJournal, failed_before
from furu_plan.runs._options import WINDOW, ControlledRunOptions, RunOptions
from furu_plan.runs._pool import (
    Begun,
    Broken,
    Ended,
    GivenBack,
    HandedOver,
    Place,
    Pool,
    PoolEvent,
    Source,
    Task,
)
from furu_plan.runs._run import ControlledRun, signals_forwarded
from furu_plan.runs._start import NewRun, start_run

__all__ = [
    "INTERRUPTED",
    "WINDOW",
    "Answer",
    "Backend",
    "BackendExecutor",
    "BackendPool",
    "Begun",
    "Broken",
    "ControlledRun",
    "ControlledRunOptions",
    "Controller",
    "Display",
    "Ended",
    "GivenBack",
    "HandedOver",
    "NewRun",
    "Place",
    "Pool",
    "PoolEvent",
    "Report",
    "RunInterrupted",
    "RunJournal",
    "RunOptions",
    "RunProgress",
    "Source",
    "Task",
    "Wish",
    "choose_display",
    "conclude",
    "end_line",
    "failed_before",
    "failure_text",
    "progress_line",
    "signals_forwarded",
    "start_run",
]
