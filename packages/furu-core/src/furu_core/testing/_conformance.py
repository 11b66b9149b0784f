"""The conformance suite for executors."""

from __future__ import annotations

from furu_core.testing._conformance_commands import Commands
from furu_core.testing._conformance_config import Configuration
from furu_core.testing._conformance_failures import Failures
from furu_core.testing._conformance_graphs import Graphs
from furu_core.testing._conformance_others import Others
from furu_core.testing._conformance_runs import Runs
from furu_core.testing._conformance_strictness import Strictness


class ExecutorConformance(Graphs, Strictness, Failures, Runs, Commands, Configuration, Others):
    """Shows that an executor keeps furu's promises; inherit it in a test module of yours.

    ::

        from furu_core.testing import ExecutorConformance

        class TestMine(ExecutorConformance):
            executor = "mine"
            options = {"workers": 2}
            command_options = ["-o", "workers=2"]

    Attributes:
        executor: the name under which it is registered, or a subclass of `Executor`.
        options: what `from_options` gets, as from `furu_core.run`.
        command_options: the same on the command line of `furu run`.
        lacks: what it cannot do, and why; tests of that are skipped with the reason.
        patience_secs: seconds after which a run that has not ended counts as one that never will.
        at_once: how many nodes are computed at once with `options`.
        other_spec_key: a spec key other than ``"default"`` that `options` serve.
        width: nodes of the widest graph.
        depth: nodes of the deepest graph.
    """
