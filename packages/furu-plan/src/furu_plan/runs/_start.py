"""Starting a run: from its roots and options to a running controller."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import attrs

from furu_core import Settings
from furu_core.errors import FuruUsageError
from furu_core.executors import (
    EventLog,
    Roots,
    named_roots,
    nearest,
    new_run_folder,
    refuse_nested_run,
)
from furu_core.planning import dependencies, spec_key
from furu_plan._build import build_plan
from furu_plan._frontier import Frontier
from furu_plan._node import Status
from furu_plan._plan import DependencyPlan
from furu_plan.runs._controller import Controller
from furu_plan.runs._display import choose_display
from furu_plan.runs._options import ControlledRunOptions
from furu_plan.runs._pool import Place, Pool
from furu_plan.runs._run import ControlledRun

_DEFAULT_KEY: Final = "default"

_log = logging.getLogger("furu.run")


@attrs.frozen
class NewRun:
    """A run for which a pool is to be made.

    Attributes:
        id: the run's.
        folder: its folder.
        settings: its settings.
        todo: how many nodes there are to compute, as far as the plan shows.
        at_once: about how many of them can be computed at once, however many workers there are.
    """

    id: str
    folder: Path
    settings: Settings
    todo: int
    at_once: int


def start_run(
    executor: str,
    roots: Any,
    make_pool: Callable[[NewRun], Pool],
    options: ControlledRunOptions,
    *,
    how: str = "",
    limits: Mapping[str, int] | None = None,
    places: Mapping[str, tuple[Place, ...]] | None = None,
    places_option: str = "places",
    here: bool = False,
    within: AbstractContextManager[Any] | None = None,
) -> ControlledRun:
    """Start a run that this process controls, in a thread of its own; for an executor's `submit`.

    Args:
        executor: the executor's name.
        roots: one Furu object, an iterable of them, or a dict of named ones.
        make_pool: makes the pool that computes the nodes.
        options: the options of the run.
        how: how nodes are computed, in words for the console.
        limits: spec key to the number of its nodes that may be computed at once.
        places: spec key to its places, for those whose nodes not every worker can compute.
        places_option: the name of the user's option that gives `places`, for errors.
        here: control the run in the calling thread, until its end.
        within: a context that is entered around the run, in the thread that controls it.

    Raises:
        FuruNestedRun: the caller is a node's code, or a script that a worker imports.
        FuruUsageError: limits or places name a spec key that no node of the graph has and that looks
            like a misspelt one; a key that is like none of them is only warned of.
        FuruStoreError: the store cannot be written.
    """
    refuse_nested_run()
    settings = options.settings()
    named = named_roots(roots)
    plan = build_plan(named, settings=settings)
    known = {node.spec_key for node in plan.nodes.values()}
    for option, keys in (("limits", limits or {}), (places_option, places or {})):
        _check_spec_keys(option, keys, known, named)
    most = dict(limits or {})
    for key, its in (places or {}).items():
        most[key] = min(len(its), most.get(key, len(its)))
    todo = len(plan.with_status(Status.TODO))
    run_id, folder = new_run_folder(
        executor, named, tags=options.tags, note=options.note, planned=plan.nodes
    )
    controller = Controller(
        run_id=run_id,
        frontier=Frontier(plan, window=options.window_size),
        pool=make_pool(NewRun(run_id, folder, settings, todo, _at_once(plan, most))),
        events=EventLog(folder),
        settings=settings,
        keep_going=options.keep_going,
        limits=limits,
        places=places,
        display=choose_display(wanted=options.progress, live=not here),
    )
    run = ControlledRun(
        run_id, folder, named, controller, None if options.progress is False else how
    )
    run.start(here=here, within=within)
    return run


def _at_once(plan: DependencyPlan, most: Mapping[str, int]) -> int:
    """About how many nodes can be computed at once: the most that are equally far from ready nodes.

    Args:
        plan: what there is to do.
        most: spec key to the number of its nodes that may be computed at once.
    """
    depths: dict[str, int] = {}
    levels: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for node in plan.topo_order_todo():
        below = [depths.get(dependency, 0) for dependency in node.dependencies]
        depth = depths[node.hash] = 1 + max(below, default=0)
        levels[depth][node.spec_key] += 1
    return max(
        (
            sum(min(number, most.get(key, number)) for key, number in counts.items())
            for counts in levels.values()
        ),
        default=0,
    )


def _check_spec_keys(
    option: str, keys: Collection[str], planned: Collection[str], roots: Roots
) -> None:
    """Check that an option by spec key names only keys that nodes have.

    Args:
        option: the name of the option.
        keys: the keys in it.
        planned: the keys of the nodes in the plan, which has nothing below nodes that are DONE.
        roots: of the whole graph.

    Raises:
        FuruUsageError: a key looks like a misspelt one of nodes that the option does not name.
    """
    if all(key in planned or key == _DEFAULT_KEY for key in keys):
        return
    there = _spec_keys_of(roots)
    listed = ", ".join(map(repr, sorted(there)))
    for key in keys:
        if key in there or key == _DEFAULT_KEY:
            continue
        says = f"{option} are given for the spec key {key!r}, which no node of this run has"
        likely = nearest(key, (known for known in there if known not in keys), cutoff=0.8)
        if likely:
            raise FuruUsageError(
                f"{says}; did you mean {likely[0]!r}?",
                hint=f"the spec keys of its nodes are {listed}",
            )
        # One set of options may serve several runs, so an unused key alone is no mistake.
        _log.warning("%s; the spec keys of its nodes are %s", says, listed)


def _spec_keys_of(roots: Roots) -> set[str]:
    """The spec keys of a whole graph, done nodes included."""
    seen = {root.furu_hash for root in roots.items}
    stack = list(roots.items)
    keys = set()
    while stack:
        node = stack.pop()
        keys.add(spec_key(node))
        for below in dependencies(node):
            if below.furu_hash not in seen:
                seen.add(below.furu_hash)
                stack.append(below)
    return keys
