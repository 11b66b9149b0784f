"""P5 and P8: how failures are counted, what they end, and what is said about them."""

from __future__ import annotations

import os
from importlib import import_module

import pytest

from furu_core.errors import FuruRunError
from furu_core.executors import EventKind, FailureKind, RunState
from furu_core.planning import short_name
from furu_testing._conformance._going import Going
from furu_testing._conformance._kit import ConformanceKit
from furu_testing._conformance._promises import failure_of, promise, says
from furu_testing._conformance._tags import depends_on
from furu_testing.nodes import Asks, Dies, Fails, Saves, Step

_COMPUTE = "P5: a node whose code raises is tried again max_compute_retries times, and no more"
_LOST = "P5: a node whose worker died is tried again max_lost_retries times in a row, and no more"
_OTHERS = "P5: a worker that dies costs its node one try and nobody else any"
_PROTOCOL = "P5: a failure of kind protocol is never tried again"

_FRAGILE = """
from pathlib import Path
from furu_core import Furu

if Path(__file__).with_name("broken").exists():
    raise RuntimeError("no such thing here")

class Fragile(Furu[int]):
    def _create(self):
        return 1
"""


@depends_on("failures")
class FailureTests(ConformanceKit):
    """How failures are counted, what they end, and what is said about them."""

    def _was_tried(self, label: str, number: int, promised: str) -> None:
        tried = self.times().get(label, 0)
        promise(tried == number, f"{promised}; expected {number} tries of {label!r}, got {tried}")

    def _await_failure(self, going: Going) -> None:
        __tracebackhide__ = True
        self.await_that(
            lambda: any(event.kind is EventKind.NODE_FAILED for event in going.run.events()),
            "P8: events tell of a failure while the run goes on; no NODE_FAILED was seen",
        )

    # Kind compute

    def test_a_node_that_raises_is_tried_again_until_it_works(self) -> None:
        node = Fails(label="flaky", times=2)
        with self.settings(max_compute_retries=2):
            run = self.completed(
                Step(label="top", needs=(node, Step(label="leaf"))), promised=_COMPUTE
            )
        self._was_tried("flaky", 3, _COMPUTE)
        self._was_tried("leaf", 1, "P7: what was published is never computed again")
        says(run, RunState.DONE)

    def test_a_node_that_keeps_raising_is_tried_so_often_and_no_more(self) -> None:
        node = Fails(label="bad", times=99)
        with self.settings(max_compute_retries=1):
            error = self.failed(node)
        failure_of(error, node, FailureKind.COMPUTE, _COMPUTE)
        self._was_tried("bad", 2, _COMPUTE)

    def test_without_retry_failed_a_node_has_one_try_and_none_in_the_next_run(self) -> None:
        node = Fails(label="bad", times=1)
        promised = "P5: without retry_failed a node that has failed is not tried again"
        with self.settings(retry_failed=False):
            failure_of(self.failed(node), node, FailureKind.COMPUTE, promised)
            self._was_tried("bad", 1, promised)
            again = self.failed(node)
            failure_of(again, node, FailureKind.COMPUTE, promised)
            self._was_tried("bad", 1, promised)
        promise(
            "FURU_RETRY_FAILED=1" in again.hint,
            "P8: the next step, followed, helps: the same command alone would fail again, so the hint "
            f"names FURU_RETRY_FAILED=1; got {again.hint!r}",
        )

    def test_the_next_run_tries_again_and_computes_only_what_is_missing(self) -> None:
        top = Step(label="top", needs=(Step(label="leaf"), Fails(label="flaky", times=1)))
        with self.settings(max_compute_retries=0):
            self.failed(top)
            before = self.times()
            self.completed(top, promised="P7: after a failure the same command finishes the work")
        self._was_tried("flaky", 2, "P5: budgets count within one run")
        if "leaf" in before:
            self._was_tried("leaf", 1, "P7: what was published is never computed again")

    # What a failure ends, and what is said

    def test_a_failure_is_told_with_its_node_kind_and_log(self) -> None:
        node = Fails(label="bad", times=99)
        with self.settings(max_compute_retries=0):
            going = self.going(Step(label="top", needs=(node,)))
            error = self.badly_ended(going)
        failure = failure_of(error, node, FailureKind.COMPUTE, _COMPUTE)
        text = str(error)
        promise(
            failure.error_type == "ValueError" and "fails on purpose" in failure.message,
            f"P8: a failure says what the node's code raised; got {failure}",
        )
        promise(
            failure.log is not None and failure.log.exists(),
            f"P8: a failure has the path of the log; got {failure.log}",
        )
        assert failure.log is not None
        promise(
            "fails on purpose" in failure.log.read_text(),
            f"P8: the log of a failure tells what happened; {failure.log} does not",
        )
        for what in (short_name(node), "fails on purpose", str(failure.log)):
            promise(what in text, f"P8: the error of a run names {what}; it reads: {text}")
        promise(
            error.run_id == going.run.id,
            f"P8: the error names its run; expected {going.run.id}, got {error.run_id!r}",
        )
        promise(
            "top" not in self.times(),
            "P3: a node begins when all that it needs is there; one began after what it needs had "
            "failed",
        )

    @depends_on("run")
    def test_a_failed_run_says_so_each_time_it_is_asked(self) -> None:
        node = Fails(label="bad", times=99)
        with self.settings(max_compute_retries=0):
            going = self.going(node)
            self.badly_ended(going)
        run = going.run
        says(run, RunState.FAILED)
        status = run.status()
        promise(
            status.failed == 1 and [one.hash for one in status.failures] == [node.furu_hash],
            f"P8: status() tells what failed; one node did, and it says {status}",
        )
        for name, ask in (("wait", run.wait), ("results", run.results)):
            with pytest.raises(Exception) as caught:  # noqa: PT011 - looked at below
                ask()
            promise(
                isinstance(caught.value, FuruRunError),
                f"P8: {name}() of a run that failed raises FuruRunError; it raised "
                f"{type(caught.value).__name__}: {caught.value}",
            )

    def test_with_keep_going_only_what_needs_the_failed_node_is_left_out(self) -> None:
        self.needs("keep_going")
        bad = Fails(label="bad", times=99)
        # Where two are computed at once, the rest begins when the failure is known.
        waits = self.at_once > 1 and "background" not in self.lacks
        first = Step(label="other-0", waits=waits)
        chain = Step(label="other-2", needs=(Step(label="other-1", needs=(first,)),))
        roots = {"needs": Step(label="needs", needs=(bad, Step(label="leaf"))), "other": chain}
        with self.settings(max_compute_retries=0):
            going = self.going(roots, keep_going=True)
            if waits:
                self._await_failure(going)
                self.let_go()
            error = self.badly_ended(going)
        promise(
            chain.exists(),
            "P5: with keep_going a failure ends only what depends on its node; another root was "
            "not computed",
        )
        promise("needs" not in self.times(), "P3: a node begins when all that it needs is there")
        promise(
            [failure.hash for failure in error.failures] == [bad.furu_hash],
            "P8: the error names what failed, and not what could not begin for it; got "
            f"{[str(failure) for failure in error.failures]}",
        )

    def test_without_keep_going_nothing_new_begins_after_a_failure(self) -> None:
        self.needs("stopping", "background")
        self.needs_at_once(2)
        bad = Fails(label="bad", times=99)
        later = Step(label="later", needs=(Step(label="first", waits=True),))
        with self.settings(max_compute_retries=0):
            going = self.going([later, bad])
            self._await_failure(going)
            self.let_go()
            self.badly_ended(going)
        promise(
            "later" not in self.times(),
            "P5: without keep_going nothing new begins after a node has failed for good",
        )

    def test_a_broken_rule_stops_the_run_at_once(self) -> None:
        self.needs_at_once(2)
        bad = Asks(label="bad")
        error = self.failed(
            [bad, Step(label="waits", waits=True)],
            promised="P5: a failure of kind protocol stops the run at once",
        )
        failure_of(error, bad, FailureKind.PROTOCOL, _PROTOCOL)
        self._was_tried("bad", 1, _PROTOCOL)

    def test_with_keep_going_a_broken_rule_ends_only_what_depends_on_it(self) -> None:
        self.needs("keep_going")
        bad = Asks(label="bad")
        other = Step(label="other", needs=(Step(label="leaf"),))
        error = self.failed([Step(label="needs", needs=(bad,)), other], keep_going=True)
        failure_of(error, bad, FailureKind.PROTOCOL, _PROTOCOL)
        self._was_tried("bad", 1, _PROTOCOL)
        promise(
            other.exists(),
            "P5: with keep_going a broken rule ends only what depends on its node; another root "
            "was not computed",
        )

    @depends_on("worker")
    def test_a_class_that_workers_cannot_import_fails_once(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.needs("killing")
        # A name of its own, since a program knows a class by one file only.
        module = f"conformance_fragile_{os.urandom(4).hex()}"
        (self.folder / f"{module}.py").write_text(_FRAGILE)
        monkeypatch.syspath_prepend(self.folder)
        node = import_module(module).Fragile()
        (self.folder / "broken").touch()
        going = self.going(node).finish()
        if going.error is None:
            pytest.skip(f"workers of {self.name} share what this program has imported")
        failure = failure_of(
            self.badly_ended(going),
            node,
            FailureKind.PROTOCOL,
            "P5: a class that a worker cannot import is a failure of kind protocol",
        )
        promise(
            "no such thing here" in failure.message,
            f"P8: a failure says what was raised; got {failure}",
        )

    # Kind lost

    @depends_on("cluster")
    def test_a_killed_worker_costs_its_node_one_try_and_others_none(self) -> None:
        self.needs("killing")
        others = [Step(label=f"other-{n}") for n in range(4)]
        going = self.going([Step(label="victim", waits=True), *others])
        self.kill_worker(self.await_mark("victim"))
        self.await_mark("victim", 2, promised="P5: a node whose worker was killed is tried again")
        self.let_go()
        run = self.well_ended(going)
        for other in others:
            self._was_tried(other.label, 1, _OTHERS)
        promise(
            EventKind.NODE_RETRIED in {event.kind for event in run.events()},
            "P8: events tell that a node was tried again; there is no NODE_RETRIED",
        )

    @depends_on("cluster")
    def test_a_node_whose_workers_are_killed_is_tried_so_often_and_no_more(self) -> None:
        self.needs("killing")
        node = Step(label="victim", waits=True)
        with self.settings(max_lost_retries=1, max_compute_retries=5):
            going = self.going(node)
            for number in (1, 2):
                mark = self.await_mark("victim", number, promised=_LOST)
                self.kill_worker(mark)
            error = self.badly_ended(going, promised=_LOST)
        failure_of(error, node, FailureKind.LOST, "P5: a killed worker is a failure of kind lost")
        self._was_tried("victim", 2, _LOST)

    @depends_on("cluster")
    def test_progress_in_the_checkpoint_begins_the_count_anew(self) -> None:
        self.needs("killing")
        promised = "P5: max_lost_retries counts in a row without progress in checkpoint_dir"
        with self.settings(max_lost_retries=0):
            going = self.going(Saves(label="saves", steps=3))
            for number in (1, 2, 3):
                self.kill_worker(self.await_mark("saves", number, promised=promised))
            run = self.well_ended(going, promised=promised)
        promise(run.results() == 3, "P5: checkpoint_dir is handed to the next try; it was lost")

    @depends_on("cluster")
    def test_a_worker_that_ends_well_without_an_artifact_has_not_done_its_node(self) -> None:
        self.needs("killing")
        promised = (
            "P8: a node is done when its artifact is there, whatever the exit status of its "
            "worker says; it ended with 0 in the middle of a node"
        )
        self.completed(Dies(label="exits", how="exit well", times=1), promised=promised)
        self._was_tried("exits", 2, promised)
