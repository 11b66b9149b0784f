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

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from furu_testing._conformance._suite import ExecutorConformance as ExecutorConformance
    from furu_testing._conformance._tags import TAGS as TAGS
    from furu_testing._conformance._tags import depends_on as depends_on
    from furu_testing._hosts import Child as Child
    from furu_testing._hosts import ChildExit as ChildExit
    from furu_testing._hosts import Host as Host
    from furu_testing._hosts import KillAtEvent as KillAtEvent
    from furu_testing._hosts import KillAtLine as KillAtLine
    from furu_testing._hosts import Kills as Kills
    from furu_testing._hosts import needs_namespaces as needs_namespaces
    from furu_testing._marks import Mark as Mark
    from furu_testing._marks import await_mark as await_mark
    from furu_testing._marks import let_go as let_go
    from furu_testing._marks import marked as marked
    from furu_testing._marks import note as note
    from furu_testing._marks import noted as noted
    from furu_testing._marks import read_marks as read_marks
    from furu_testing._marks import times as times
    from furu_testing._marks import touch as touch
    from furu_testing._processes import Process as Process
    from furu_testing._processes import is_running as is_running
    from furu_testing._processes import processes_of as processes_of
    from furu_testing._programs import Program as Program
    from furu_testing._programs import Said as Said
    from furu_testing._programs import Scripts as Scripts
    from furu_testing._stores import furu_environment as furu_environment
    from furu_testing._stores import furu_nothing_left as furu_nothing_left
    from furu_testing._stores import furu_program as furu_program
    from furu_testing._stores import furu_store as furu_store
    from furu_testing._views import cached_view as cached_view
    from furu_testing._views import needs_cached_views as needs_cached_views
    from furu_testing._waiting import wait_until as wait_until
else:
    from furu_core.executors import late_imports

    # Workers import `nodes` below this package, on machines where nobody has installed pytest.
    __all__, __getattr__, __dir__ = late_imports(
        __name__,
        {
            "._conformance._suite": "ExecutorConformance",
            "._conformance._tags": "TAGS depends_on",
            "._hosts": "Child ChildExit Host KillAtEvent KillAtLine Kills needs_namespaces",
            "._marks": "Mark await_mark let_go marked note noted read_marks times touch",
            "._processes": "Process is_running processes_of",
            "._programs": "Program Said Scripts",
            "._stores": "furu_environment furu_nothing_left furu_program furu_store",
            "._views": "cached_view needs_cached_views",
            "._waiting": "wait_until",
        },
    )
