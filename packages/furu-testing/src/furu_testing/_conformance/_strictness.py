"""P3: inside an executor `get()` loads and never computes, wherever a node's code calls it."""

from __future__ import annotations

from typing import Any

import pytest

import furu_core
from furu_core.executors import FailureKind
from furu_core.planning import short_name
from furu_testing._conformance._kit import ConformanceKit
from furu_testing._conformance._promises import failure_of, promise
from furu_testing._conformance._tags import depends_on
from furu_testing._marks import noted
from furu_testing.nodes import (
    WAYS,
    Asks,
    AsksInLoad,
    AsksInValidate,
    LoadsEverywhere,
    StartsRun,
    Step,
)

_STRICT = "P3: inside an executor get() loads and never computes"
_REFUSED = "P3: a node whose code breaks a rule fails, though it swallows the error"
_ONCE = "P5: a broken rule (kind protocol) is never tried again"


@depends_on("strict")
class StrictnessTests(ConformanceKit):
    """`get()` loads and never computes; a node that breaks the rule fails."""

    def _not_computed(self, asked: Step, how: str) -> None:
        __tracebackhide__ = True
        promise(
            asked.label not in self.times(),
            f"{_STRICT}; a node's code asked {how} for what it had not declared, and it was "
            "computed",
        )

    def _broke_a_rule(
        self, root: Any, culprit: Any, asked: Step, error_type: str, how: str
    ) -> None:
        __tracebackhide__ = True
        going = self.going(root).finish()
        self._not_computed(asked, how)
        swallowed = noted(self.store, f"swallowed-{asked.label}") or "nothing"
        promised = f"{_REFUSED}; it asked {how} and swallowed {swallowed}"
        error = self.badly_ended(going, promised=promised)
        failure = failure_of(error, culprit, FailureKind.PROTOCOL, f"{_STRICT} ({how})")
        promise(
            failure.error_type == error_type,
            f"P8: an error says what happened; expected {error_type}, got {failure}",
        )
        promise(
            not culprit.exists(), f"{_REFUSED}; {short_name(culprit)}, which asked {how}, is there"
        )
        promise(
            self.times()[culprit.label] == 1,
            f"{_ONCE}; {short_name(culprit)} was computed {self.times()[culprit.label]} times",
        )

    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    @pytest.mark.parametrize("how", list(WAYS))
    def test_what_was_not_declared_is_not_computed_though_the_error_is_swallowed(
        self, how: str
    ) -> None:
        node = Asks(label="asks", how=how, swallow=True)
        if how == "directly" or "attribution" not in self.lacks:
            self._broke_a_rule(node, node, node.asked, "FuruMissingArtifact", how)
        else:
            self.going(node).finish()
            self._not_computed(node.asked, how)

    def test_the_error_of_an_undeclared_dependency_says_who_asked_for_what(self) -> None:
        node = Asks(label="asks")
        error = self.failed(node)
        failure = failure_of(error, node, FailureKind.PROTOCOL, _STRICT)
        for what in (node, node.asked):
            promise(
                short_name(what) in failure.message,
                f"P8: an error names who asked and for what; {short_name(what)} is not in: "
                f"{failure.message}",
            )

    @pytest.mark.parametrize("swallow", [False, True])
    def test_a_load_method_that_asks_for_more_fails_the_node_that_loads(
        self, swallow: bool
    ) -> None:
        inner = AsksInLoad(label="inner", swallow=swallow)
        outer = Step(label="outer", needs=(inner,))
        self._broke_a_rule(outer, outer, inner.asked, "FuruMissingArtifact", "in _load")

    @pytest.mark.parametrize("swallow", [False, True])
    def test_a_validate_method_that_asks_for_more_fails_its_node(self, swallow: bool) -> None:
        node = AsksInValidate(label="asks", swallow=swallow)
        self._broke_a_rule(node, node, node.asked, "FuruMissingArtifact", "in _validate")

    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    def test_what_was_declared_loads_in_threads_and_children(self) -> None:
        node = LoadsEverywhere(label="loads", needs=Step(label="needed"))
        run = self.completed(
            node, promised="P3: what a node declares is there for it in threads and children"
        )
        promise(run.results() == len(WAYS), "P8: results() gives what nodes returned")
        promise(self.times()["needed"] == 1, f"{_STRICT}; computed: {self.times()}")

    def test_force_computes_what_has_the_spec_key_of_the_worker(self) -> None:
        node = Asks(label="asks", force=True)
        self.completed(
            node,
            promised="P3: get(force=True) may compute what has the spec key of the worker; a worker "
            "for spec key 'default' was asked for such a node",
        )
        promise(node.asked.exists(), "P3: get(force=True) computes what is not there")

    def test_force_does_not_compute_what_has_another_spec_key(self) -> None:
        node = Asks(label="asks", force=True, key="elsewhere", swallow=True)
        how = "with force=True for what has another spec key"
        self._broke_a_rule(node, node, node.asked, "FuruSpecMismatch", how)

    @depends_on("worker")
    def test_nodes_are_computed_in_the_name_of_their_run_and_spec_key(self) -> None:
        roots = [Step(label="plain"), Step(label="special", key=self.other_spec_key)]
        named = (
            "P3: a worker knows for which executor, run and spec key it computes (worker_session)"
        )
        run = self.completed(roots, promised=named)
        facts = {mark.label: mark.facts for mark in self.marks()}
        for node in roots:
            said = {key: facts[node.label][key] for key in ("executor", "run_id", "spec_key")}
            expected = {"executor": self.name, "run_id": run.id, "spec_key": node.key}
            promise(said == expected, f"{named}; expected {expected}, got {said}")

    def test_a_node_cannot_start_a_run(self) -> None:
        node = StartsRun(label="starts", executor=self.name)
        inner = Step(label="starts-inner")
        self._broke_a_rule(node, node, inner, "FuruNestedRun", "for a run in its own code")

    def test_after_a_run_the_program_is_not_strict(self) -> None:
        self.completed(Step(label="inside"))
        promise(
            not furu_core.in_executor(), "P3: outside of executors get() computes; it would not"
        )
        promise(Step(label="outside").get() == 1, "P3: outside of executors get() computes")
