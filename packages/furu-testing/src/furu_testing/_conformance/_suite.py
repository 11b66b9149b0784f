"""The conformance suite for executors."""

from __future__ import annotations

from furu_testing._conformance._commands import CommandTests
from furu_testing._conformance._config import ConfigurationTests
from furu_testing._conformance._failures import FailureTests
from furu_testing._conformance._graphs import GraphTests
from furu_testing._conformance._others import OtherTests
from furu_testing._conformance._runs import RunTests
from furu_testing._conformance._strictness import StrictnessTests


class ExecutorConformance(
    GraphTests,
    StrictnessTests,
    FailureTests,
    RunTests,
    CommandTests,
    ConfigurationTests,
    OtherTests,
):
    """Shows that an executor keeps furu's promises; inherit it in a test module of yours.

    Nothing else is to be set up: each test has an empty store, a project folder of its own as working
    directory, and no `FURU_*` variables from outside. What it computes are the small nodes of
    `furu_testing.nodes`, which leave a mark for each time that their code runs, and those marks,
    not what the executor says, are counted. A test that fails names the promise that was broken. None
    hangs: a run that does not end fails its test.

    It checks, as far as an executor can break it:

    - graphs (P3, P4, P7): what is needed comes first, each node is computed once, what is there never
      again, in graphs that are wide, deep, or share nodes; windows; results in the shape of the roots;
    - strictness (P3): `get()` computes nothing in `_create`, `_load` and `_validate`, in threads and in
      children, and who swallows that error fails all the same; spec keys; no run within a run;
    - failures (P5, P8): the bounds of each kind, what a failure ends, `keep_going`, workers that are
      killed, and that errors say what failed, why, and where its log is;
    - runs (P1, P6, P8): status and events while they go on and afterwards, `cancel`, nothing left behind;
    - `furu run` (P7, P8): exit status, signals, and the same command again after a `kill -9`;
    - configuration (P7): settings, imports and the working directory reach the workers;
    - others (P1, P4, P6): nodes that somebody else computes, artifacts that are bad, `liveness`.

    Attributes:
        executor: the name under which it is registered, or the class itself, installed or not.
        options: what `from_options` gets, as the keywords of `furu_core.run`.
        command_options: the same in words of the command line, such as ``("-j", "2")``.
        lacks: what the executor cannot do, and why: tests of that are skipped with the reason.
            ``"background"``: `submit` returns before the run has ended.
            ``"killing"``: a worker is a process of its own, whose death the run survives.
            ``"attribution"``: what a thread or child of a node's code asks for is held against that
            node, which needs a process for each node that is computed.
            ``"windows"``, ``"keep_going"``: the options of these names.
            ``"stopping"``: without `keep_going`, nothing new begins after a failure.
            ``"waiting"``: for nodes that somebody else computes.
            ``"reopening"``: a dependency that turns out to be bad in a run is computed again in it.
            ``"interrupting"``: Ctrl-C ends what a command runs, not only the command.
            ``"folder"``: workers begin in the working directory of the program.
        own_code: tags of the tests that run unless ``pytest --conformance=all`` is given: those that
            the executor's own code can break. By default all of them. What it takes as it is from
            furu's packages, they test:
            ``"graph"``: which nodes are begun, when, and what comes back; `furu_plan.runs` brings it.
            ``"failures"``: what is tried again, what a failure ends, and what is said of it; so do
            `furu_plan.runs` and `RetryLedger`.
            ``"strict"``: a worker's `get()` computes nothing; `NodeProcess` and `run_node` bring it.
            ``"worker"``: what a worker knows: settings, imports, folder, in whose name it computes.
            ``"cluster"``: what is known of workers from outside: that they died, live, are to end.
            ``"run"``: what a run says of itself, and what it leaves behind.
            ``"command"``: `furu run`: exit status, signals, and going on after a kill.
        patience_secs: seconds after which what has not happened counts as what never will. Take many
            times what a run of a few nodes needs.
        at_once: how many nodes are computed at once with `options`; with 1, some tests are skipped.
        other_spec_key: a spec key other than ``"default"`` that `options` serve.
        width: nodes of the widest graph; smaller where each one is expensive.
        depth: nodes of the longest chain.

    What is known only when a cluster has started, such as an address among the options, a fixture of the
    class may set on ``self``.

    What else differs between executors is a method to override:

    - `around()` is a context manager that each test runs in, to start a cluster in. In it, the settings
      are those of the test.
    - `environment()` is that of `furu run`.
    - `kill_worker(mark)` kills the worker of a node. By default it sends SIGKILL to the pid that the
      node wrote down, which does where workers are processes of this machine.
    - `remove(node)` removes an artifact; where workers may still look at it, wait for their end.
    - `belongs_to_cluster(pid, command)` says of a process that it may outlive the run.

    It does not guarantee that an executor is quick, or that it keeps its promises on filesystems and
    clusters that misbehave.

    Example:
        >>> from furu_testing import ExecutorConformance
        >>> class TestMine(ExecutorConformance):
        ...     executor = "mine"
        ...     options = {"workers": 2}
        ...     command_options = ("-o", "workers=2")
        ...     lacks = {"windows": "the cluster's own scheduler orders the nodes"}
    """
