"""P7 and P8 through `furu run --executor NAME`, in a process of its own that may be killed."""

from __future__ import annotations

import json
import signal

import pytest

from furu_core.planning import short_name
from furu_testing import _processes
from furu_testing._conformance._kit import ConformanceKit
from furu_testing._conformance._promises import promise
from furu_testing._conformance._tags import depends_on
from furu_testing._programs import Program, Said
from furu_testing.nodes import Fails, Step

_STATUS = "P8: the exit status tells the truth"
_AGAIN = "P7: after a kill the same command finishes the work"
_LEFT = "P6: a command that has ended leaves no process behind"
_WORK = (
    "Step(label='top', needs=(*(Step(label=f'done-{n}') for n in range(3)), "
    "Step(label='waits', waits=True)))"
)


@depends_on("command")
class CommandTests(ConformanceKit):
    """`furu run`: its exit status, its signals, and what is finished after it was killed."""

    def _worked(self, command: Program, promised: str) -> Said:
        __tracebackhide__ = True
        said = self.ended(command)
        promise(said.status == 0, f"{promised}; {said}")
        return said

    def _begun(self) -> tuple[Program, list[str]]:
        """A command that computes, and the labels of what it has published so far."""
        command = self.command(_WORK)
        self.await_mark("waits")
        done = [Step(label=f"done-{n}") for n in range(3)]
        if self.at_once > 1:
            self.await_that(
                lambda: all(node.exists() for node in done),
                "P6: nothing waits for nothing; while one node waits, others are not computed",
            )
        return command, [node.label for node in done if node.exists()]

    def _finished(self, published: list[str]) -> None:
        """Run the same command again, and see what it computes."""
        self.let_go()
        self._worked(self.command(_WORK), _AGAIN)
        times = self.times()
        again = [label for label in (*published, "top") if times[label] != 1]
        promise(
            not again,
            f"P7: what was published is never computed again; {', '.join(again)} was, of {times}",
        )
        promise(times["waits"] <= 2, f"P7: a killed node is computed once more; computed: {times}")

    def test_a_command_that_computes_its_roots_exits_with_0(self) -> None:
        said = self._worked(
            self.command("[Step(label='a'), Step(label='b')]", "--json"),
            f"{_STATUS}, 0 when all is there",
        )
        report = json.loads(said.out)
        promise(
            report["ok"] and report["nodes"]["computed"] == 2,
            f"P8: the report tells what was computed; it was two nodes, and it reads {report}",
        )
        promise(self.times() == {"a": 1, "b": 1}, f"P4: computed once each; got {self.times()}")
        self.nothing_lives(_LEFT)

    def test_a_command_whose_node_fails_exits_with_1_and_names_it(self) -> None:
        node = Fails(label="bad", times=99)
        text = "Step(label='top', needs=(Fails(label='bad', times=99),))"
        said = self.ended(self.command(text, FURU_MAX_COMPUTE_RETRIES="1"))
        promise(said.status == 1, f"{_STATUS}, 1 when a root is not there; it was {said}")
        for what in (short_name(node), "fails on purpose", "furu.log"):
            promise(what in said.err, f"P8: the error names {what}; {said}")
        tried = self.times()["bad"]
        promise(
            tried == 2,
            "P5: FURU_MAX_COMPUTE_RETRIES of the command bounds the tries; "
            f"expected 2 tries, got {tried}",
        )
        self.nothing_lives(_LEFT)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_ends_a_command_and_what_it_runs(self, number: signal.Signals) -> None:
        self.needs("interrupting")
        command, published = self._begun()
        command.signal(number)
        said = self.ended(command, f"P6: {number.name} ends a command in bounded time")
        promise(said.status != 0, f"{_STATUS}; after {number.name} it was {said}")
        if number is signal.SIGINT:
            promise(said.status == 130, f"{_STATUS}, 130 after Ctrl-C; it was {said}")
        self.nothing_lives(f"{_LEFT} ({number.name})")
        self._finished(published)

    def test_after_the_controller_was_killed_the_same_command_finishes(self) -> None:
        command, published = self._begun()
        command.signal(signal.SIGKILL)
        self.ended(command)
        self._finished(published)
        self.nothing_lives(_LEFT)

    def test_killing_a_controller_twice_needs_no_cleaning_up(self) -> None:
        for number in (1, 2):
            command = self.command(_WORK)
            self.await_that(
                lambda number=number: (
                    len(self.marks("waits")) >= number  # type: ignore[misc]
                    or self._still_computed("waits")
                ),
                f"{_AGAIN}; the node that was being computed is not computed again",
            )
            command.signal(signal.SIGKILL)
            self.ended(command)
        self.let_go()
        self._worked(self.command(_WORK), _AGAIN)
        self.nothing_lives(_LEFT)

    def _still_computed(self, label: str) -> bool:
        """Whether the newest computation of a node goes on, as on a cluster that lives on."""
        marks = self.marks(label)
        return bool(marks) and _processes.is_running(marks[-1].pid)

    def test_two_commands_that_share_nodes_compute_each_once(self) -> None:
        self.needs("waiting")
        shared = "Step(label='shared', waits=True)"
        commands = [
            self.command(f"[Step(label='{name}', needs=({shared},)), Step(label='own-{name}')]")
            for name in "ab"
        ]
        self.await_mark("shared")
        if self.at_once > 1:
            for name in "ab":
                self.await_mark(f"own-{name}")
        self.let_go()
        for command in commands:
            self._worked(command, "P4: a node that another run computes is waited for")
        often = {label: number for label, number in self.times().items() if number != 1}
        promise(
            not often,
            f"P4: of two runs that need a node, one computes it; computed more often: {often}",
        )
