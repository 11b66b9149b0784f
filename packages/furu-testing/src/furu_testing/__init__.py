"""What tests of furu and of its plugins are written with.

`ExecutorConformance` is the suite that every executor passes; inherit it in a test module of yours.
pytest finds the fixtures by itself once furu-testing is installed: `furu_store`, an empty store;
`furu_program`, which starts scripts that a test may kill; `furu_nothing_left`, which waits until no
process of the store is left. A `Host` runs functions in processes that a test may kill, stop and
continue, if wanted under a host name and in a PID namespace of their own, as on another machine.
`furu_testing.nodes` has the nodes that the suite computes, and `furu_testing.slurm` starts real Slurm
clusters on this machine, which a test may hurt.

Glossary:
    conformance suite: the tests that show that an executor keeps furu's promises
    tag: what a test of the suite depends on, so that an executor runs those that its own code can break
    mark: a file that a node's code leaves each time it runs, by which tests count computations
    host: a process that runs a test's functions as another machine would
    child: a process of a host, which runs one function
    program: a script that a test starts in a project of its own, signals and kills
    view: a folder as a client of a network filesystem sees it, behind a cache
    cluster: slurmctld, slurmd and what they need, started for tests on this machine
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from furu_testing._conformance._suite import ExecutorConformance
    from furu_testing._conformance._tags import TAGS, depends_on
    from furu_testing._hosts import (
        AT_END,
        Child,
        ChildExit,
        Host,
        KillAtEvent,
        KillAtLine,
        needs_namespaces,
    )
    from furu_testing._marks import (
        Mark,
        await_mark,
        let_go,
        marked,
        note,
        noted,
        read_marks,
        times,
        touch,
    )
    from furu_testing._processes import Process, is_running, processes_of
    from furu_testing._programs import Program, Said, Scripts
    from furu_testing._stores import (
        furu_environment,
        furu_nothing_left,
        furu_program,
        furu_store,
    )
    from furu_testing._views import cached_view, needs_cached_views
    from furu_testing._waiting import wait_until

_MODULES: Final = {
    "_conformance._suite": ("ExecutorConformance",),
    "_conformance._tags": ("TAGS", "depends_on"),
    "_hosts": (
        "AT_END",
        "Child",
        "ChildExit",
        "Host",
        "KillAtEvent",
        "KillAtLine",
        "needs_namespaces",
    ),
    "_marks": (
        "Mark",
        "await_mark",
        "let_go",
        "marked",
        "note",
        "noted",
        "read_marks",
        "times",
        "touch",
    ),
    "_processes": ("Process", "is_running", "processes_of"),
    "_programs": ("Program", "Said", "Scripts"),
    "_stores": ("furu_environment", "furu_nothing_left", "furu_program", "furu_store"),
    "_views": ("cached_view", "needs_cached_views"),
    "_waiting": ("wait_until",),
}
_LATE: Final = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "AT_END",
    "TAGS",
    "Child",
    "ChildExit",
    "ExecutorConformance",
    "Host",
    "KillAtEvent",
    "KillAtLine",
    "Mark",
    "Process",
    "Program",
    "Said",
    "Scripts",
    "await_mark",
    "cached_view",
    "depends_on",
    "furu_environment",
    "furu_nothing_left",
    "furu_program",
    "furu_store",
    "is_running",
    "let_go",
    "marked",
    "needs_cached_views",
    "needs_namespaces",
    "note",
    "noted",
    "processes_of",
    "read_marks",
    "times",
    "touch",
    "wait_until",
]


def __getattr__(name: str) -> Any:
    # Workers import `nodes` below this package, on machines where nobody has installed pytest.
    if name in _LATE:
        return getattr(import_module(f"{__name__}.{_LATE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
