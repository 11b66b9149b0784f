"""What runs are built of: a controller with its loop, and what it needs of workers.

An executor whose controller is a process of the user's brings a `Pool`, which is whatever computes
nodes, and leaves the rest to `Controller` and `ControlledRun`: what is ready, what becomes of failures,
whom to wait for, what to tell the user, and how a run ends. `start_run` puts them together. Where a
scheduler or framework computes, a `Backend` is all that is needed: a `BackendPool` makes a pool of it, and
a `BackendExecutor` an executor.
"""

from furu_plan.runs._backend import Answer, Backend, BackendPool, Report
from furu_plan.runs._backend_executor import BackendExecutor, BackendOptions
from furu_plan.runs._controller import Controller, Wish, failed_before
from furu_plan.runs._display import Display, choose_display
from furu_plan.runs._options import (
    COUNT,
    FLAG,
    SECONDS,
    TEXT,
    WINDOW,
    OptionParser,
    check_window,
    is_count,
    parse_options,
    parse_pairs,
)
from furu_plan.runs._pool import (
    Begun,
    Broken,
    Ended,
    GivenBack,
    Place,
    Pool,
    PoolEvent,
    Source,
    Task,
)
from furu_plan.runs._report import View, count, duration, failure_text, next_step
from furu_plan.runs._run import INTERRUPTED, ControlledRun, RunInterrupted
from furu_plan.runs._signals import signals_forwarded
from furu_plan.runs._start import RUN_OPTIONS, NewRun, RunOptions, start_run

__all__ = [
    "COUNT",
    "FLAG",
    "INTERRUPTED",
    "RUN_OPTIONS",
    "SECONDS",
    "TEXT",
    "WINDOW",
    "Answer",
    "Backend",
    "BackendExecutor",
    "BackendOptions",
    "BackendPool",
    "Begun",
    "Broken",
    "ControlledRun",
    "Controller",
    "Display",
    "Ended",
    "GivenBack",
    "NewRun",
    "OptionParser",
    "Place",
    "Pool",
    "PoolEvent",
    "Report",
    "RunInterrupted",
    "RunOptions",
    "Source",
    "Task",
    "View",
    "Wish",
    "check_window",
    "choose_display",
    "count",
    "duration",
    "failed_before",
    "failure_text",
    "is_count",
    "next_step",
    "parse_options",
    "parse_pairs",
    "signals_forwarded",
    "start_run",
]
