"""What runs are built of: a controller with its loop, and what it needs of workers.

An executor whose controller is a process of the user's brings a `Pool`, which is whatever computes
nodes, and leaves the rest to `Controller` and `ControlledRun`: what is ready, what becomes of failures,
whom to wait for, what to tell the user, and how a run ends.
"""

from furu_plan.runs._controller import Controller, Wish
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
    Broken,
    Ended,
    GivenBack,
    Place,
    Pool,
    PoolEvent,
    Source,
    Task,
)
from furu_plan.runs._report import View, count, duration, failure_text
from furu_plan.runs._run import INTERRUPTED, ControlledRun, RunInterrupted
from furu_plan.runs._signals import signals_forwarded

__all__ = [
    "COUNT",
    "FLAG",
    "INTERRUPTED",
    "SECONDS",
    "TEXT",
    "WINDOW",
    "Broken",
    "ControlledRun",
    "Controller",
    "Display",
    "Ended",
    "GivenBack",
    "OptionParser",
    "Place",
    "Pool",
    "PoolEvent",
    "RunInterrupted",
    "Source",
    "Task",
    "View",
    "Wish",
    "check_window",
    "choose_display",
    "count",
    "duration",
    "failure_text",
    "is_count",
    "parse_options",
    "parse_pairs",
    "signals_forwarded",
]
