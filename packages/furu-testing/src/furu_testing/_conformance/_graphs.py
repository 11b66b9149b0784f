"""Graphs: order, once each, nothing again; results in the shape of the roots; windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from furu_core.errors import FuruDependencyError, FuruExecutorError
from furu_testing._conformance._kit import ConformanceKit
from furu_testing._conformance._promises import promise
from furu_testing._conformance._tags import depends_on
from furu_testing.nodes import Step, Value

_ONCE = "P4: one attempt publishes a node, and a run computes each node once"
_AGAIN = "P7: what was published is never computed again"


@depends_on("graph")
class GraphTests(ConformanceKit):
    """Order, once each, nothing again; results in the shape of the roots; windows."""

    def _computed_once(self, labels: set[str]) -> None:
        times = self.times()
        promise(
            set(times) == labels,
            f"{_ONCE}; not computed: {sorted(labels - set(times))}, "
            f"computed and not asked for: {sorted(set(times) - labels)}",
        )
        often = {label: number for label, number in times.items() if number != 1}
        promise(not often, f"{_ONCE}; computed more often: {often}")

    @pytest.mark.parametrize("shape", ["one", "list", "iterator", "dict", "none"])
    def test_results_come_in_the_shape_and_order_of_the_roots(self, shape: str) -> None:
        steps = [Step(label=f"leaf-{n}", needs=(Step(label="base"),) * n) for n in range(3)]
        given: dict[str, tuple[Any, Any]] = {
            "one": (steps[1], 2),
            "list": ([steps[2], steps[0], steps[1]], [3, 1, 2]),
            "iterator": (iter(steps), [1, 2, 3]),
            "dict": ({"z": steps[1], "a": steps[0]}, {"z": 2, "a": 1}),
            "none": ([], []),
        }
        roots, expected = given[shape]
        results = self.completed(roots).results()
        promise(
            results == expected
            and (not isinstance(expected, dict) or list(results) == list(expected)),
            "P8: results() come in the shape and order of the roots; "
            f"expected {expected}, got {results}",
        )

    @depends_on("worker", "run")
    def test_a_root_that_is_given_twice_is_computed_once(self) -> None:
        results = self.completed([Step(label="a"), Step(label="b"), Step(label="a")]).results()
        promise(results == [1, 1, 1], f"P8: results() has one value for each root; got {results}")
        self._computed_once({"a", "b"})

    def test_a_root_may_be_what_another_root_needs(self) -> None:
        base = Step(label="base")
        top = Step(label="top", needs=(base,))
        results = self.completed([top, base]).results()
        promise(results == [2, 1], f"P8: results() come in the order of the roots; got {results}")
        self._computed_once({"base", "top"})

    def test_a_wide_graph_is_computed_once_each(self) -> None:
        leaves = [Step(label=f"leaf-{n}") for n in range(self.width)]
        run = self.completed(leaves)
        promise(run.results() == [1] * self.width, "P8: results() gives what nodes returned")
        self._computed_once({leaf.label for leaf in leaves})

    def test_a_deep_chain_is_computed_in_order(self) -> None:
        link = Step(label="link-0")
        for n in range(1, self.depth):
            link = Step(label=f"link-{n}", needs=(link,))
        run = self.completed(link)
        promise(run.results() == self.depth, "P8: results() gives what nodes returned")
        self._computed_once({f"link-{n}" for n in range(self.depth)})

    @depends_on("worker")
    def test_a_diamond_computes_what_is_shared_once_and_first(self) -> None:
        base = Step(label="base")
        sides = [Step(label=f"side-{n}", needs=(base,)) for n in range(6)]
        run = self.completed(Step(label="top", needs=tuple(sides)))
        self._computed_once({"base", "top", *(side.label for side in sides)})
        promise(run.results() == 13, "P8: results() gives what nodes returned")

    def test_layers_that_need_each_other_are_computed_in_order(self) -> None:
        side = min(5, self.width, self.depth)
        layer = [Step(label=f"0-{n}") for n in range(side)]
        labels = {step.label for step in layer}
        for level in range(1, side):
            layer = [
                Step(label=f"{level}-{n}", needs=(layer[n], layer[n - 1], layer[n - 2]))
                for n in range(side)
            ]
            labels |= {step.label for step in layer}
        self.completed(layer)
        self._computed_once(labels)

    def test_what_is_there_is_not_computed_again(self) -> None:
        roots = [Step(label=f"top-{n}", needs=(Step(label="base"),)) for n in range(3)]
        first = self.completed(roots)
        again = self.completed(roots)
        promise(max(self.times().values()) == 1, f"{_AGAIN}; computed: {self.times()}")
        promise(again.results() == first.results(), "P8: results() of what was there are the same")
        status = again.status()
        promise(
            status.computed == 0,
            f"P8: status() tells what a run computed; it computed nothing and says {status}",
        )

    def test_only_what_is_missing_is_computed(self) -> None:
        base = Step(label="base")
        top = Step(label="top", needs=(Step(label="middle", needs=(base,)),))
        self.completed(top)
        self.remove(top)
        self.completed([top, Step(label="new", needs=(base,))])
        promise(
            self.times() == {"base": 1, "middle": 1, "top": 2, "new": 1},
            f"{_AGAIN}; computed: {self.times()}",
        )

    def test_what_is_to_be_computed_anew_is_computed_once_more(self) -> None:
        top = Step(label="top", needs=(Step(label="left"), Step(label="right")))
        self.completed(top)
        with self.settings(always_rerun=("ALL",)):
            run = self.completed(top)
        promise(
            set(self.times().values()) == {2},
            "P4: what FURU_ALWAYS_RERUN names is computed anew, once in each run (PlanNode.rerun); "
            f"expected 2 computations of each node, got {self.times()}",
        )
        promise(run.results() == 3, "P8: results() gives what nodes returned")

    def test_roots_that_are_no_nodes_are_refused_by_their_place(self) -> None:
        going = self.going([Step(label="a"), 7]).finish()
        promise(
            isinstance(going.error, FuruDependencyError) and "roots[1]" in str(going.error),
            "P8: an error says what was expected and where: FuruDependencyError naming roots[1] "
            f"(named_roots); got {going.error!r}",
        )

    @depends_on("command", "cluster", "worker")
    def test_an_option_that_it_does_not_know_is_refused(self) -> None:
        try:
            self.make_executor(no_such_option="1")
        except FuruExecutorError as error:
            promise(
                "no_such_option" in str(error),
                f"P8: an error names the option that is wrong; it reads: {error}",
            )
        else:
            promise(
                False,
                "P8: from_options raises FuruExecutorError for an option that it does not know; it "
                "took 'no_such_option'",
            )

    @depends_on("cluster")
    def test_nodes_that_need_nothing_of_each_other_are_computed_at_once(self) -> None:
        self.needs_at_once(2)
        others = [Step(label="left", meets=("right",)), Step(label="right", meets=("left",))]
        self.completed(
            others,
            promised="P6: nothing waits for nothing; two nodes are ready and at_once is "
            f"{self.at_once}, yet one was not begun before the other had ended",
        )

    @depends_on("worker")
    def test_values_come_back_equal_in_value_and_type(self) -> None:
        values = [(1, 2), {1: "a"}, True, 1.0, b"x", None, Path("a"), {"k": [(), {3}]}]
        results = self.completed([Value(x=value) for value in values]).results()
        promise(
            results == values
            and [type(result) for result in results] == [type(value) for value in values],
            f"P8: results() gives what nodes returned; expected {values}, got {results}",
        )

    # Windows

    def _roots(self, number: int) -> list[Step]:
        return [
            Step(label=f"root-{n}", needs=tuple(Step(label=f"{n}-{m}") for m in range(3)))
            for n in range(number)
        ]

    def _began_behind(self, size: int, window: object) -> None:
        marks = self.marks()
        ends = {mark.label: mark.ended for mark in marks if mark.label.startswith("root-")}
        for mark in marks:
            ended = sum(end is not None and end <= mark.began for end in ends.values())
            place = int(mark.label.removeprefix("root-").partition("-")[0])
            promise(
                place < ended + size,
                f"Windows: with window_size={window!r} work begins on {size} root{'s' * (size > 1)} at a time, "
                f"in their order; {mark.label} was begun when {ended} roots were done",
            )

    @pytest.mark.parametrize("window", ["dfs", 1, 2])
    def test_a_window_bounds_the_roots_that_are_begun(self, window: str | int) -> None:
        self.needs("windows")
        self.completed(self._roots(4), window_size=window)
        self._began_behind(window if isinstance(window, int) else 1, window)

    def test_the_window_bfs_begins_all_roots(self) -> None:
        self.needs("windows")
        self.needs_at_once(2)
        roots = [
            Step(label=f"root-{n}", needs=(Step(label=f"leaf-{n}", meets=(f"leaf-{1 - n}",)),))
            for n in range(2)
        ]
        self.completed(
            roots,
            window_size="bfs",
            promised='Windows: with window_size="bfs" all roots are begun; one waited for the other',
        )
