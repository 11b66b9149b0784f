"""The parts of a run: a controller with its loop, and the interface of its workers.

An executor whose controller runs in a process of the user brings a `Pool`, which computes nodes.
`Controller` and `ControlledRun` do the rest: they choose ready nodes, treat failures, wait for nodes
that other runs compute, inform the user, and end the run. `start_run` puts them together. Where a
scheduler or framework computes, a `Backend` is all that is needed: a `BackendPool` makes a pool of it,
and a `BackendExecutor` an executor.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from furu_plan.runs._backend import Answer as Answer
    from furu_plan.runs._backend import Backend as Backend
    from furu_plan.runs._backend import BackendExecutor as BackendExecutor
    from furu_plan.runs._backend import BackendPool as BackendPool
    from furu_plan.runs._backend import Report as Report
    from furu_plan.runs._conclusion import INTERRUPTED as INTERRUPTED
    from furu_plan.runs._conclusion import RunInterrupted as RunInterrupted
    from furu_plan.runs._conclusion import conclude as conclude
    from furu_plan.runs._conclusion import end_line as end_line
    from furu_plan.runs._conclusion import failure_text as failure_text
    from furu_plan.runs._conclusion import stale_line as stale_line
    from furu_plan.runs._controller import Controller as Controller
    from furu_plan.runs._controller import Wish as Wish
    from furu_plan.runs._display import Display as Display
    from furu_plan.runs._display import RunProgress as RunProgress
    from furu_plan.runs._display import choose_display as choose_display
    from furu_plan.runs._display import progress_line as progress_line
    from furu_plan.runs._journal import RunJournal as RunJournal
    from furu_plan.runs._journal import failed_before as failed_before
    from furu_plan.runs._options import WINDOW as WINDOW
    from furu_plan.runs._options import ControlledRunOptions as ControlledRunOptions
    from furu_plan.runs._options import RunOptions as RunOptions
    from furu_plan.runs._pool import Begun as Begun
    from furu_plan.runs._pool import Broken as Broken
    from furu_plan.runs._pool import Ended as Ended
    from furu_plan.runs._pool import GivenBack as GivenBack
    from furu_plan.runs._pool import HandedOver as HandedOver
    from furu_plan.runs._pool import Place as Place
    from furu_plan.runs._pool import Pool as Pool
    from furu_plan.runs._pool import PoolEvent as PoolEvent
    from furu_plan.runs._pool import Source as Source
    from furu_plan.runs._pool import Task as Task
    from furu_plan.runs._run import ControlledRun as ControlledRun
    from furu_plan.runs._run import signals_forwarded as signals_forwarded
    from furu_plan.runs._start import NewRun as NewRun
    from furu_plan.runs._start import start_run as start_run
else:
    from furu_core.executors import late_imports

    # A run on this machine needs no backends, and a backend's executor none of a pool's parts.
    __all__, __getattr__, __dir__ = late_imports(
        __name__,
        {
            "._backend": "Answer Backend BackendExecutor BackendPool Report",
            "._conclusion": "INTERRUPTED RunInterrupted conclude end_line failure_text stale_line",
            "._controller": "Controller Wish",
            "._display": "Display RunProgress choose_display progress_line",
            "._journal": "RunJournal failed_before",
            "._options": "ControlledRunOptions RunOptions WINDOW",
            "._pool": "Begun Broken Ended GivenBack HandedOver Place Pool PoolEvent Source Task",
            "._run": "ControlledRun signals_forwarded",
            "._start": "NewRun start_run",
        },
    )
