"""A node's process may die; its parent learns how, records it, and computes the next one (P5, P7)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import process_nodes as nodes
import pytest

from furu_core import Furu, NodeState
from furu_core.planning import StateReader
from furu_core.workers import GraphWriter, made_progress
from furu_testing import Child, Host, await_mark, is_running, noted, wait_until
from furu_testing.nodes import Dies, Fails, Saves, Step, Tells, Value

NODES = Path(nodes.__file__).parent
Graph = tuple[str, list[int]]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Starts parents of node processes."""
    store = tmp_path_factory.mktemp("store")
    with Host(store, modules=["process_parents"], sys_path=[NODES]) as host:
        yield host


@pytest.fixture
def start(host: Host, furu_store: Path) -> Callable[..., Child]:
    """Starts a parent that uses the test's store."""
    return lambda name, *args: host.start(f"process_parents:{name}", *args, path=str(furu_store))


@pytest.fixture
def graph(tmp_path: Path) -> Callable[..., Graph]:
    """Writes nodes into a graph's file."""

    def write(*wanted: Furu[Any]) -> Graph:
        path = tmp_path / "graph.jsonl"
        with GraphWriter(path) as writer:
            return str(path), [writer.add(node) for node in wanted]

    return write


def test_nodes_are_computed_one_after_the_other_in_one_child_whatever_they_raise_or_leave_behind(
    start: Callable[..., Child], graph: Callable[..., Graph]
) -> None:
    tells = Tells(label="tells")
    wanted = [
        Value(x=1),
        Fails(label="raises", times=1),
        Dies(label="exits", how="system exit"),
        nodes.Leaves(),
        tells,
        nodes.Forks(),  # of which the second process publishes nothing
        Value(x=1),
        Step(label="keyed", key="gpu"),
    ]
    answers = start("compute", *graph(*wanted)).result()
    assert [answer["hash"] for answer in answers] == [node.furu_hash for node in wanted]
    assert [answer["outcome"] for answer in answers] == [
        *("computed", "failed", "failed", "computed", "computed", "computed", "loaded", "failed")
    ]
    assert [(answer["kind"], answer["error"]) for answer in (*answers[1:3], answers[-1])] == [
        ("compute", "ValueError"),
        ("compute", "SystemExit"),
        ("protocol", "FuruSpecMismatch"),
    ]
    assert len({answer["pid"] for answer in answers}) == 1
    assert tells.get()["folder"] == os.getcwd()
    assert [wanted[0].get(), wanted[5].get()] == [1, 1]


def test_p5_a_node_whose_child_is_ended_a_moment_before_itself_is_lost(
    start: Callable[..., Child], graph: Callable[..., Graph]
) -> None:
    """A scheduler that ends a job tells its processes one by one."""
    wanted = [nodes.LosesChild(myself_too=True), nodes.LosesChild(myself_too=False)]
    lost, failed = start("compute", *graph(*wanted)).result()
    assert (lost["outcome"], lost["kind"]) == ("failed", "lost")
    assert (failed["outcome"], failed["kind"]) == ("failed", "compute")
    states = [StateReader().state(node).state for node in wanted]
    assert states == [NodeState.LOST, NodeState.FAILED]


def test_p5_a_child_that_dies_is_recorded_as_lost_and_the_next_node_gets_another(
    start: Callable[..., Child], graph: Callable[..., Graph]
) -> None:
    dying = {
        Dies(label="killed", how="kill", times=1): "was killed by SIGKILL, perhaps because memory "
        "ran out",
        Dies(label="crashes", how="segfault", times=1): "was killed by SIGSEGV",
        Dies(label="exits", how="exit", times=1): "ended with exit status 3 in the middle of the "
        "node",
        nodes.Closes(): "the node's code closed file descriptors that are not its own",
    }
    killed, crashes, *_ = dying
    *deaths, again, value = start("compute", *graph(*dying, killed, Value(x=1))).result()
    for answer, (node, said) in zip(deaths, dying.items(), strict=True):
        assert said in answer["died"]
        assert (answer["outcome"], answer["kind"]) == ("failed", "lost")
        assert (answer["hash"], answer["attempt"]) == (node.furu_hash, 1)
        if node is crashes:  # where the interpreter was, which Python itself writes
            assert answer["log"].endswith(".furu.log")
    assert (again["died"], again["outcome"], again["attempt"]) == ("", "computed", 2)
    assert value["outcome"] == "computed"
    assert killed.get() == 2
    # A death that nobody retries is recorded with its attempt.
    info = StateReader().state(crashes)
    assert info.state is NodeState.LOST
    assert info.failure is not None
    assert "SIGSEGV" in info.failure.message
    assert info.failure.log is not None
    assert "Segmentation fault" in (log := info.failure.log.read_text())
    assert "in _create" in log


def test_p6_a_child_that_cannot_read_its_next_order_ends_instead_of_being_waited_for(
    start: Callable[..., Child], graph: Callable[..., Graph]
) -> None:
    deaf, lost, value = start("compute", *graph(nodes.Deafens(), Value(x=1), Value(x=1))).result()
    assert [one["outcome"] for one in (deaf, lost, value)] == ["computed", "failed", "computed"]
    assert lost["kind"] == "lost"
    assert "could not read what it was told" in lost["message"]


def test_p8_a_child_that_cannot_begin_is_not_said_to_have_closed_anything(
    start: Callable[..., Child], graph: Callable[..., Graph]
) -> None:
    answer = start("compute_in_vain", *graph(Value(x=1))).result()
    assert answer["kind"] == "lost"
    assert "ended with exit status 1" in answer["message"]


def test_p5_a_graph_that_is_not_there_or_damaged_is_a_protocol_failure(
    start: Callable[..., Child], graph: Callable[..., Graph], tmp_path: Path
) -> None:
    path, offsets = graph(Value(x=1))
    (answer,) = start("compute", str(tmp_path / "nothing"), [17]).result()
    assert (answer["kind"], answer["error"]) == ("protocol", "FuruStoreError")
    Path(path).write_text(Path(path).read_text()[: offsets[0] + 5])
    (answer,) = start("compute", path, offsets).result()
    assert answer["kind"] == "protocol"
    assert path in answer["message"]


def test_p5_p6_an_interrupted_node_is_recorded_as_what_that_means_and_killed_where_it_goes_on(
    start: Callable[..., Child], graph: Callable[..., Graph]
) -> None:
    hows = ["cancelled", "lost", "killed"]
    wanted = [*(Saves(label=how, steps=1) for how in hows), nodes.Clings(label="clings")]
    path, offsets = graph(nodes.Leaves(), *wanted, Value(x=1))
    left, *answers, value = start("interrupt", path, offsets, ["", *hows, "clings", ""]).result()
    assert [left["outcome"], value["outcome"]] == ["computed", "computed"]
    assert [answer["kind"] for answer in answers] == ["cancelled", "lost", "lost", "cancelled"]
    infos = [StateReader().state(node) for node in wanted]
    assert [info.state for info in infos] == [
        *(NodeState.CANCELLED, NodeState.LOST, NodeState.LOST, NodeState.CANCELLED)
    ]
    for answer, info in zip(answers[:2], infos[:2], strict=True):
        assert info.failure is not None
        assert info.failure.message == "out of walltime"
        assert answer["died"] == ""
    assert answers[3]["died"] == "out of patience, and its process had to be killed"
    assert all(made_progress(node) for node in wanted[:3])


@pytest.mark.parametrize("how", ["wait_for_ever", "wait_unwatched"])
def test_p7_nothing_is_left_of_a_parent_that_was_killed(
    start: Callable[..., Child], graph: Callable[..., Graph], furu_store: Path, how: str
) -> None:
    parent = start(how, *graph(nodes.Clings(label="clings")))
    left = [await_mark(furu_store, "clings").pid, int(noted(furu_store, "child-of-clings"))]
    parent.kill()
    assert parent.wait().killed
    wait_until("the child and its child to end", lambda: not any(map(is_running, left)))
