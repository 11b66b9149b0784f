"""Starting a run: from what was asked for to a controller at work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, TypedDict, Unpack

import attrs

from furu_core import Settings
from furu_core import settings as current_settings
from furu_core.executors import EventLog, named_roots, new_run_folder, refuse_nested_run
from furu_plan._build import build_plan
from furu_plan._frontier import Frontier
from furu_plan._node import Status
from furu_plan._windows import Window
from furu_plan.runs._controller import Controller
from furu_plan.runs._display import choose_display
from furu_plan.runs._options import FLAG, WINDOW, OptionParser, check_window
from furu_plan.runs._pool import Place, Pool
from furu_plan.runs._run import ControlledRun


class RunOptions(TypedDict, total=False):
    """What every run that a process of the user's controls can be asked for; see `start_run`.

    Example:
        >>> from typing import Unpack
        >>> from furu_plan.runs import RunOptions
        >>> def run_mine(roots, *, hosts: list[str], **options: Unpack[RunOptions]): ...
    """

    window_size: Window
    keep_going: bool
    retry_failed: bool | None
    progress: bool | None


#: How a command line spells them, for `parse_options`.
RUN_OPTIONS: Final[Mapping[str, OptionParser]] = {
    "window_size": WINDOW,
    "keep_going": FLAG,
    "retry_failed": FLAG,
    "progress": FLAG,
}


@attrs.frozen
class NewRun:
    """A run for which a pool is to be made.

    Attributes:
        id: the run's.
        folder: its folder.
        settings: its settings.
        todo: how many nodes there are to compute, as far as is known.
    """

    id: str
    folder: Path
    settings: Settings
    todo: int


def start_run(
    executor: str,
    roots: Any,
    make_pool: Callable[[NewRun], Pool],
    *,
    how: str = "",
    limits: Mapping[str, int] | None = None,
    places: Mapping[str, tuple[Place, ...]] | None = None,
    here: bool = False,
    within: AbstractContextManager[Any] | None = None,
    **options: Unpack[RunOptions],
) -> ControlledRun:
    """Start a run that this process controls, in a thread of its own; for an executor's `submit`.

    Args:
        executor: the executor's name.
        roots: one Furu object, an iterable of them, or a dict of named ones.
        make_pool: makes what computes.
        how: how nodes are computed, in words for the console.
        limits: spec key to the number of its nodes that may be computed at once.
        places: spec key to its places, for those whose nodes not every worker can compute.
        here: control it in the calling thread, until its end.
        within: what is entered around the run, in the thread that controls it.
        **options: ``window_size``, how many roots are worked on at once; ``keep_going``, whether a
            node that failed for good ends only what depends on it; ``retry_failed``, in place of the
            setting; ``progress``, of which False shows nothing but warnings.

    Raises:
        FuruNestedRun: the caller is a node's code, or a script that a worker imports.
        FuruUsageError: the window is none.
        FuruStoreError: the store cannot be written.
    """
    refuse_nested_run()
    window = options.get("window_size", "bfs")
    check_window(window)
    settings = current_settings()
    retry_failed = options.get("retry_failed")
    if retry_failed is not None:
        settings = attrs.evolve(settings, retry_failed=retry_failed)
    progress = options.get("progress")
    named = named_roots(roots)
    plan = build_plan(named, settings=settings)
    run_id, folder = new_run_folder(executor, named)
    controller = Controller(
        run_id=run_id,
        frontier=Frontier(plan, window=window),
        pool=make_pool(NewRun(run_id, folder, settings, len(plan.with_status(Status.TODO)))),
        events=EventLog(folder),
        settings=settings,
        keep_going=options.get("keep_going", False),
        limits=limits,
        places=places,
        display=choose_display(wanted=progress, live=not here),
    )
    run = ControlledRun(run_id, folder, named, controller, None if progress is False else how)
    run.start(here=here, within=within)
    return run
