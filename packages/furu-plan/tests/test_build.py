"""A plan says what is done and what is to be computed, in which order."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from furu_core import Furu, NodeState, field, use_settings
from furu_core import settings as current_settings
from furu_core.errors import FuruCycleError, FuruDependencyError
from furu_core.executors import Failure, FailureKind
from furu_core.planning import Holder, NodeInfo, StateReader
from furu_plan import DependencyPlan, Frontier, Status, build_plan
from furu_testing.nodes import Above, Leaf, Step

pytestmark = pytest.mark.usefixtures("store")


class Other(Furu[str]):
    label: str


class Declared(Furu[str]):
    """What it depends on is no part of its fields' values."""

    label: str
    more: tuple[Furu[Any], ...] = field(default=(), exclude_from_hash=True)
    links: list[Any] = field(factory=list, exclude_from_hash=True)

    def _dependencies(self) -> Iterable[Furu[Any]]:
        return [REGISTRY[name] for name in LINKS.get(self.label, ())]


REGISTRY: dict[str, Furu[Any]] = {}
LINKS: dict[str, list[Any]] = {}


@pytest.fixture(autouse=True)
def no_links() -> Iterable[None]:
    yield
    REGISTRY.clear()
    LINKS.clear()


@attrs.define
class FakeReader(StateReader):
    """A store that is only imagined; counts what it was asked."""

    states: dict[str, NodeInfo] = attrs.field(factory=dict)
    asked: list[str] = attrs.field(factory=list)

    def refresh(self) -> None:
        pass

    def state(self, obj: Furu[Any]) -> NodeInfo:
        self.asked.append(obj.label)  # type: ignore[attr-defined]
        return self.states.get(obj.label, NodeInfo(NodeState.ABSENT))  # type: ignore[attr-defined]


DONE = NodeInfo(NodeState.DONE)


def names(nodes: Iterable[Any]) -> list[str]:
    return [node.obj.label for node in nodes]


def diamond() -> Step:
    base = Step(label="base")
    left, right = Step(label="left", needs=(base,)), Step(label="right", needs=(base,))
    return Step(label="top", needs=(left, right))


def plan_with(root: Furu[Any], **states: NodeState | NodeInfo) -> DependencyPlan:
    infos = {
        name: state if isinstance(state, NodeInfo) else NodeInfo(state)
        for name, state in states.items()
    }
    return build_plan(root, reader=FakeReader(infos))


def test_the_order_follows_the_fields_and_puts_dependencies_first() -> None:
    plan = build_plan(diamond())
    assert names(plan.topo_order_todo()) == ["base", "left", "right", "top"]
    assert names(plan.ready_todo()) == ["base"]
    assert names([plan[plan.roots[0]]]) == ["top"]


def test_a_node_knows_what_it_depends_on_and_what_depends_on_it() -> None:
    root = diamond()
    plan = build_plan([root])
    left, right = root.needs
    base = left.needs[0]  # type: ignore[attr-defined]
    assert plan[root].dependencies == (left.furu_hash, right.furu_hash)
    assert plan[base].dependents == (left.furu_hash, right.furu_hash)
    assert plan[root].dependents == ()


def test_equal_objects_are_one_dependency() -> None:
    root = Step(label="r", needs=(Step(label="a"), Step(label="a")))
    assert [len(node.dependencies) for node in build_plan(root)] == [0, 1]


def test_roots_are_listed_once_in_the_order_given() -> None:
    one, two = Step(label="1"), Step(label="2")
    plan = build_plan([two, one, Step(label="2")])
    assert plan.roots == (two.furu_hash, one.furu_hash)
    assert build_plan({"b": two, "a": one}).roots == (two.furu_hash, one.furu_hash)
    assert len(build_plan([])) == 0


@pytest.mark.parametrize(
    "state", [NodeState.DONE, NodeState.RUNNING, NodeState.QUEUED, NodeState.FAILED]
)
def test_nothing_is_looked_at_below_what_is_done_running_or_failed(state: NodeState) -> None:
    reader = FakeReader({"left": NodeInfo(state), "right": NodeInfo(state)})
    with use_settings(retry_failed=False):
        plan = build_plan(diamond(), reader=reader)
    assert names(plan.topo_order_todo()) == ["top"]
    assert reader.asked == ["top", "left", "right"]


def test_every_state_has_its_status() -> None:
    def status(state: NodeState) -> Status:
        return next(iter(plan_with(Step(label="a"), a=state))).status

    assert {state: status(state) for state in NodeState} == {
        NodeState.DONE: Status.DONE,
        NodeState.RUNNING: Status.IN_PROGRESS,
        NodeState.QUEUED: Status.IN_PROGRESS,
        NodeState.LOST: Status.TODO,
        NodeState.FAILED: Status.TODO,
        NodeState.CANCELLED: Status.TODO,
        NodeState.UNREADABLE: Status.FAILED,
        NodeState.ABSENT: Status.TODO,
    }
    with use_settings(retry_failed=False):
        assert status(NodeState.FAILED) is Status.FAILED
        assert status(NodeState.LOST) is Status.TODO


def test_queued_nodes_are_todo_for_who_computes_them_anyway() -> None:
    reader = FakeReader({"a": NodeInfo(NodeState.QUEUED)})
    plan = build_plan(Step(label="a"), reader=reader, compute_queued=True)
    assert names(plan.topo_order_todo()) == ["a"]


def test_holders_and_failures_are_told() -> None:
    holder = Holder(None, run_id="r1")
    failure = Failure(FailureKind.COMPUTE, "ValueError", "no", "Step(1)", "1")
    root = Step(label="r", needs=(Step(label="a"), Step(label="b")))
    plan = plan_with(
        root,
        a=NodeInfo(NodeState.RUNNING, 1, holder),
        b=NodeInfo(NodeState.FAILED, 1, None, failure),
    )
    a, b = root.needs
    assert plan[a].holder == holder
    assert plan[b].failure == failure
    assert plan[b].status is Status.TODO


def test_what_failed_while_retrying_is_off_is_failed_and_makes_nothing_ready() -> None:
    with use_settings(retry_failed=False):
        plan = plan_with(Step(label="r", needs=(Step(label="a"),)), a=NodeState.FAILED)
    assert plan.counts()[Status.FAILED] == 1
    assert plan.ready_todo() == []


def test_settings_can_be_given() -> None:
    given = attrs.evolve(current_settings(), retry_failed=False)
    reader = FakeReader({"a": NodeInfo(NodeState.FAILED)})
    plan = build_plan(Step(label="a"), reader=reader, settings=given)
    assert plan.counts()[Status.FAILED] == 1


def test_classes_named_by_always_rerun_are_todo_though_they_are_done() -> None:
    root = Step(label="r", needs=(Other(label="a"), Step(label="b")))
    states = dict.fromkeys("rab", DONE)
    with use_settings(always_rerun=["Step"]):
        plan = build_plan(root, reader=FakeReader(states))
    assert names(plan.topo_order_todo()) == ["b", "r"]
    assert all(node.rerun for node in plan.topo_order_todo())
    assert names(plan.with_status(Status.DONE)) == ["a"]
    with use_settings(always_rerun=["ALL"]):
        assert len(build_plan(root, reader=FakeReader(states)).topo_order_todo()) == 3
    with use_settings(always_rerun=["Steps"]):
        assert build_plan(root, reader=FakeReader(states)).topo_order_todo() == []


def test_what_depends_on_a_class_named_by_always_rerun_is_computed_again_after_it() -> None:
    deep = Other(label="deep")
    root = Step(label="r", needs=(Step(label="middle", needs=(deep,)), Step(label="aside")))
    states = dict.fromkeys(("r", "middle", "deep", "aside"), DONE)
    with use_settings(always_rerun=["Other"]):
        plan = build_plan(root, reader=FakeReader(states))
    assert names(plan.topo_order_todo()) == ["deep", "middle", "r"]
    assert all(node.rerun for node in plan.topo_order_todo())
    frontier = Frontier(plan, window="dfs")
    assert names(frontier.take()) == ["deep"]
    frontier.done(deep.furu_hash)
    assert names(frontier.take()) == ["middle"]


def test_a_root_that_lost_a_file_is_todo(store: Path) -> None:
    whole, damaged = Step(label="whole"), Step(label="damaged")
    for node in (whole, damaged):
        node.get()
    (damaged.furu_dir / ".furu.json").write_text("{}")
    assert names(build_plan([whole, damaged]).topo_order_todo()) == ["damaged"]
    assert not damaged.exists()


def test_what_is_done_is_found_on_disk(store: Path) -> None:
    done = Step(label="a")
    done.get()
    plan = build_plan([Step(label="r", needs=(done, Step(label="b")))])
    assert names(plan.with_status(Status.DONE)) == ["a"]
    assert names(plan.topo_order_todo()) == ["b", "r"]


def test_planning_writes_nothing(store: Path) -> None:
    build_plan(diamond())
    assert not list(store.iterdir())


def test_spec_keys_are_told() -> None:
    root = Step(label="r", needs=(Step(label="g", key="gpu"),))
    assert [node.spec_key for node in build_plan(root)] == ["gpu", "default"]


def test_dependencies_beyond_the_fields_are_planned() -> None:
    REGISTRY["b"] = Step(label="b")
    LINKS["a"] = ["b"]
    plan = build_plan(Declared(label="a"))
    assert names(plan.topo_order_todo()) == ["b", "a"]


def test_a_dependency_that_is_no_furu_object_is_an_error_with_its_place() -> None:
    REGISTRY["b"] = Step(label="b")
    REGISTRY["c"] = "no"  # type: ignore[assignment]
    LINKS["a"] = ["b", "c"]
    with pytest.raises(FuruDependencyError, match=r"deps\[1\]"):
        build_plan(Declared(label="a"))


@pytest.mark.parametrize("length", [1, 2, 3, 40])
def test_a_cycle_is_an_error_that_names_it(length: int) -> None:
    members = [str(index) for index in range(length)]
    for index, name in enumerate(members):
        REGISTRY[name] = Declared(label=name)
        LINKS[name] = [members[(index + 1) % length]]
    with pytest.raises(FuruCycleError, match="depend on themselves") as caught:
        build_plan([Step(label="start"), Step(label="r", needs=(REGISTRY["0"],))])
    cycle = caught.value.cycle
    assert len(cycle) == length + 1
    assert cycle[0] == cycle[-1]
    assert len(set(cycle)) == length
    assert len(str(caught.value)) < 600


def test_a_cycle_below_what_is_done_is_none_of_the_plan_s_business() -> None:
    REGISTRY["a"] = Declared(label="a")
    LINKS["a"] = ["a"]
    assert plan_with(Step(label="r", needs=(REGISTRY["a"],)), a=NodeState.DONE).ready_todo()


def test_a_chain_of_ten_thousand_is_planned_and_handed_out_without_recursion() -> None:
    node: Leaf | Above = Leaf(x=0)
    for n in range(1, 10_000):
        node = Above(below=node, n=n)
    plan = build_plan(node)
    todo = plan.topo_order_todo()
    assert [getattr(item.obj, "n", 0) for item in todo] == [*range(10_000)]
    assert plan.to_tree().count("\n") < 30
    assert plan.to_dot().count("->") == 9_999
    frontier = Frontier(plan)
    for item in todo:
        assert frontier.take() == [item]
        frontier.done(item.hash)
    assert frontier.finished
    frontier = Frontier(plan)
    frontier.take()
    assert len(frontier.failed(todo[0].hash)) == 9_999
    assert frontier.finished


def test_a_diamond_of_sixty_levels_has_each_node_once() -> None:
    node: Furu[Any] = Step(label="0")
    for index in range(1, 61):
        left, right = Step(label=f"{index}l", needs=(node,)), Step(label=f"{index}r", needs=(node,))
        node = Step(label=str(index), needs=(left, right))
    plan = build_plan(node)
    assert len(plan) == 181
    assert plan.to_tree(max_depth=1000).count("\n") < 400


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Step], list[Step]]:
    nodes: list[Step] = []
    for index in range(draw(st.integers(1, 15))):
        below = draw(st.lists(st.sampled_from(nodes), max_size=4)) if nodes else []
        nodes.append(Step(label=str(index), needs=tuple(below)))
    return nodes, draw(st.lists(st.sampled_from(nodes), max_size=4))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graphs(), st.sets(st.integers(0, 14)))
def test_plans_are_in_topological_order_complete_and_minimal(
    graph: tuple[list[Step], list[Step]], done: set[int]
) -> None:
    _, roots = graph
    reader = FakeReader({str(index): DONE for index in done})
    plan = build_plan(roots, reader=reader)
    seen: set[str] = set()
    for node in plan:
        assert set(node.dependencies) <= seen
        seen.add(node.hash)
        assert (node.status is Status.DONE) == (int(node.obj.label) in done)  # type: ignore[attr-defined]
        if node.status is Status.TODO:
            assert set(node.dependencies) == {item.furu_hash for item in node.obj.needs}  # type: ignore[attr-defined]
        # Each is a root, or something that is computed needs it.
        needed = any(plan[other].status is Status.TODO for other in node.dependents)
        assert node.hash in plan.roots or needed
        assert {item.hash for item in plan if node.hash in item.dependencies} == {*node.dependents}
    assert seen >= {root.furu_hash for root in roots}
    assert len(reader.asked) == len(plan)
    again = build_plan(roots, reader=reader)
    assert names(again) == names(plan)


class Checked(Furu[str]):
    label: str
    needs: tuple[Furu[Any], ...] = ()

    def _create(self) -> str:
        return self.label

    def _validate(self) -> bool:
        VALIDATED.append(self.label)
        return self.label not in INVALID


VALIDATED: list[str] = []
INVALID: set[str] = set()


@pytest.fixture
def artifacts() -> Checked:
    """A root over two dependencies over one; all done."""
    deep = Checked(label="deep")
    one, two = Checked(label="one", needs=(deep,)), Checked(label="two", needs=(deep,))
    root = Checked(label="root", needs=(one, two))
    INVALID.clear()
    for obj in (deep, one, two, root):
        obj.get()
    VALIDATED.clear()
    return root


def test_roots_that_are_done_are_validated_and_nothing_below(artifacts: Checked) -> None:
    assert build_plan(artifacts).topo_order_todo() == []
    assert VALIDATED == ["root"]


def test_an_invalid_root_is_todo_and_its_dependencies_are_validated(artifacts: Checked) -> None:
    INVALID.update(["root", "one"])
    plan = build_plan(artifacts)
    assert names(plan.topo_order_todo()) == ["one", "root"]
    assert names(plan.with_status(Status.DONE)) == ["deep", "two"]
    assert set(VALIDATED) == {"deep", "one", "root", "two"}
    # What was invalid is moved aside, so the next plan finds the same without asking again.
    assert not artifacts.exists()


def test_nothing_is_validated_on_request(artifacts: Checked) -> None:
    INVALID.add("root")
    assert build_plan(artifacts, validate=False).topo_order_todo() == []
    assert VALIDATED == []
    assert artifacts.exists()
