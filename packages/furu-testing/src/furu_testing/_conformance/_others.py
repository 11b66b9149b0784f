"""Nodes that others compute, artifacts that turn out to be bad, and whether submitted work lives."""

from __future__ import annotations

from contextlib import suppress

from furu_core.executors import EventKind, Liveness, Submission, load_executor
from furu_testing._conformance._kit import ConformanceKit
from furu_testing._conformance._promises import promise
from furu_testing._conformance._tags import depends_on
from furu_testing._hosts import Host
from furu_testing._waiting import wait_until
from furu_testing.nodes import Spoils, Step, Unsure

_WAITED = "P6: a node that somebody else computes is waited for, and not computed twice"
_TAKEN = "P6: a wait notices when the one it waits for is dead, and the node is computed"
_REPAIRED = "P1: a bad artifact is computed again"
_TOLD = "P4: liveness() tells whether submitted work can still compute anything"


class OtherTests(ConformanceKit):
    """Nodes that others compute, artifacts that are bad, and whether submitted work lives."""

    # Somebody else

    @depends_on("graph")
    def test_a_node_that_somebody_else_computes_is_waited_for(self) -> None:
        self.needs("waiting")
        held = Step(label="held", waits=True)
        others = [Step(label=f"other-{n}") for n in range(3)]
        # To meet somebody else costs a node no try, so it changes nothing that there is only one.
        with self.settings(max_compute_retries=0, max_lost_retries=0), Host(self.store) as host:
            child = host.start("furu_testing.nodes:hold", "held")
            self.await_mark("held")
            going = self.going([Step(label="top", needs=(held,)), *others])
            self.await_that(
                lambda: all(other.exists() for other in others),
                f"{_WAITED}; nor does that keep a worker busy, yet others were not computed",
            )
            with suppress(TimeoutError):  # one that does not wait needs a moment to say so
                wait_until("the run to end", lambda: not going.going, 1.0)
            promise(going.going, f"{_WAITED}; the run ended before that node was there")
            self.let_go()
            run = self.well_ended(going, promised=_WAITED)
            child.result()
        promise(run.results() == [2, 1, 1, 1], f"P8: results() in order; got {run.results()}")
        promise(self.times()["held"] == 1, f"{_WAITED}; computed: {self.times()}")

    @depends_on("graph", "cluster")
    def test_a_node_whose_holder_dies_is_taken_over(self) -> None:
        self.needs("waiting")
        with Host(self.store) as host:
            child = host.start("furu_testing.nodes:hold", "held")
            self.await_mark("held")
            other = Step(label="other")
            going = self.going([Step(label="held", waits=True), other])
            self.await_that(
                other.exists,
                f"{_WAITED}; nor does that keep a worker busy, yet another was not computed",
            )
            child.kill()
            child.wait()
            self.await_mark("held", 2, promised=_TAKEN)
            self.let_go()
            self.well_ended(going, promised=_TAKEN)

    # Bad artifacts

    @depends_on("graph")
    def test_a_bad_artifact_is_computed_again(self) -> None:
        root, needed = Unsure(label="root"), Unsure(label="needed")
        top = Step(label="top", needs=(needed,))
        self.completed([root, top])
        self.remove(top)
        for node in (root, needed):
            (node.furu_dir / ".furu.json").write_text("{}")  # no record any more
        results = self.completed([root, top], promised=_REPAIRED).results()
        promise(results == [2, 3], f"{_REPAIRED}; expected [2, 3], got {results}")

    @depends_on("graph")
    def test_a_dependency_that_goes_bad_during_the_run_is_reopened_once(self) -> None:
        self.needs("reopening")
        needed = Unsure(label="needed")
        with self.settings(max_compute_retries=0, max_lost_retries=0):
            run = self.completed(
                Spoils(label="spoils", needs=needed),
                promised=f"{_REPAIRED}, at no cost to the tries of the node that met it",
            )
        promise(run.results() == 2, f"{_REPAIRED}; the asker got the value {run.results()}")
        promise(
            self.times() == {"needed": 2, "spoils": 2},
            f"{_REPAIRED}, once, and then its asker; computed: {self.times()}",
        )
        promise(
            EventKind.NODE_REOPENED in {event.kind for event in run.events()},
            "P8: events tell that a node was computed again; there is no NODE_REOPENED",
        )

    @depends_on("graph")
    def test_a_dependency_that_stays_bad_ends_the_run(self) -> None:
        needed = Unsure(label="needed")
        self.completed(needed)
        path = self.store / "conformance" / "bad-needed"
        path.touch()
        with self.settings(max_compute_retries=1):
            self.failed(
                Step(label="top", needs=(needed,)),
                promised="P6: an artifact that stays bad ends the run with an error",
            )
        tried = self.times()["needed"]
        promise(
            tried <= 3,
            f"P5: every retry has a bound; a node that stays bad was computed {tried} times",
        )

    # Liveness

    def _submission(self, label: str) -> Submission | None:
        facts = self.await_mark(label).facts
        said = facts["submission"]
        return None if said is None else Submission(*said)

    def _liveness(self, *submissions: Submission) -> dict[Submission, Liveness]:
        cls = load_executor(self.name)
        try:
            told = cls.liveness(submissions)
        except Exception as error:
            promise(False, f"{_TOLD}, and never raises; it raised {type(error).__name__}: {error}")
            raise
        promise(
            set(told) == set(submissions)
            and all(isinstance(answer, Liveness) for answer in told.values()),
            f"{_TOLD}, for each one that it was asked about; asked about {submissions}, it "
            f"said {told}",
        )
        return dict(told)

    @depends_on("cluster")
    def test_liveness_of_what_it_never_submitted_is_not_alive(self) -> None:
        # A number that a cluster may give, and that one which was just started has not given yet.
        names = ("no-such-job", "", "4000000", "a/b c:7")
        unknown = [Submission(self.name, name) for name in names]
        told = self._liveness(*unknown)
        wrong = [one.id for one, answer in told.items() if answer is Liveness.ALIVE]
        promise(not wrong, f"{_TOLD}; it says alive of jobs that never were: {wrong}")
        promise(self._liveness() == {}, f"{_TOLD}; asked about none, it says something")

    @depends_on("cluster")
    def test_liveness_tells_running_work_from_work_that_has_ended(self) -> None:
        self.needs("background")
        self.completed(Step(label="first"))
        going = self.going(Step(label="second", waits=True))
        ended, running = self._submission("first"), self._submission("second")
        unknown = Submission(self.name, "no-such-job")
        if running is not None and ended is not None:
            told = self._liveness(unknown, running, ended)
            promise(
                told[running] is not Liveness.GONE,
                f"{_TOLD}; a node is computed by {running}, and it says {told[running]}",
            )
        self.let_go()
        self.well_ended(going)
        for one in (ended, running):
            if one is not None:
                self.await_that(
                    lambda one=one: (
                        self._liveness(unknown, one)[one]  # type: ignore[misc]
                        is not Liveness.ALIVE
                    ),
                    f"{_TOLD}; {one} has ended, and it still says alive",
                    after_the_end=True,
                )
