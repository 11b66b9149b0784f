"""A node's process may die; its parent learns how, records it, and computes the next one (P5, P7)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import process_nodes as nodes
import pytest

from furu_core import Furu, NodeState
from furu_core.executors import GraphWriter, StateReader, made_progress
from furu_testing import Host, furu_store, wait_until

__all__ = ["furu_store"]

NODES = Path(nodes.__file__).parent


@pytest.fixture
def host(furu_store: Path) -> Iterator[Host]:
    """Starts parents of node processes."""
    with Host(furu_store, modules=["process_parents"], sys_path=[NODES]) as host:
        yield host


@pytest.fixture
def graph(tmp_path: Path) -> Callable[..., tuple[str, list[int]]]:
    """Writes nodes into a graph's file."""

    def write(*wanted: Furu[Any]) -> tuple[str, list[int]]:
        path = tmp_path / "graph.jsonl"
        with GraphWriter(path) as writer:
            return str(path), [writer.add(node) for node in wanted]

    return write


def test_nodes_are_computed_one_after_the_other_in_one_child(host: Host, graph: Any) -> None:
    wanted = [nodes.Value(x=x) for x in range(3)]
    answers = host.run("process_parents:compute", *graph(*wanted, wanted[0]))
    assert [answer["outcome"] for answer in answers] == ["computed"] * 3 + ["loaded"]
    assert [answer["hash"] for answer in answers[:3]] == [node.furu_hash for node in wanted]
    assert len({answer["pid"] for answer in answers}) == 1
    assert [node.get() for node in wanted] == [0, 1, 2]


def test_p5_a_node_whose_child_is_ended_a_moment_before_itself_is_lost(
    host: Host, graph: Any
) -> None:
    """A scheduler that ends a job tells its processes one by one."""
    wanted = [nodes.LosesChild(myself_too=True), nodes.LosesChild(myself_too=False)]
    lost, failed = host.run("process_parents:compute", *graph(*wanted))
    assert (lost["outcome"], lost["kind"]) == ("failed", "lost")
    assert (failed["outcome"], failed["kind"]) == ("failed", "compute")
    states = [StateReader().state(node).state for node in wanted]
    assert states == [NodeState.STALE, NodeState.FAILED]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("kill", "was killed by SIGKILL, perhaps because memory ran out"),
        ("segfault", "was killed by SIGSEGV"),
        ("exit", "ended with exit status 3 in the middle of the node"),
        ("close", "the node's code closed file descriptors that are not its own"),
    ],
)
def test_p5_a_child_that_dies_is_recorded_as_lost_and_the_next_node_gets_another(
    host: Host, graph: Any, tmp_path: Path, how: str, said: str
) -> None:
    node = nodes.Ends(how=how, note=tmp_path / "note", times=2)
    first, second, third, other = host.run(
        "process_parents:compute", *graph(node, node, node, nodes.Value(x=1))
    )
    for number, answer in enumerate((first, second), start=1):
        assert said in answer["died"]
        assert (answer["outcome"], answer["kind"]) == ("failed", "lost")
        assert (answer["hash"], answer["attempt"]) == (node.furu_hash, number)
        assert answer["log"].endswith("furu.log")
    assert (third["died"], third["outcome"], third["attempt"]) == ("", "computed", 3)
    assert other["outcome"] == "computed"
    assert node.get() == "done"


def test_p5_a_death_that_nobody_retries_is_recorded_with_its_attempt(
    host: Host, graph: Any, tmp_path: Path
) -> None:
    node = nodes.Ends(how="kill", note=tmp_path / "note")
    host.run("process_parents:compute", *graph(node))
    info = StateReader().state(node)
    assert info.state is NodeState.STALE
    assert info.failure is not None
    assert "SIGKILL" in info.failure.message


@pytest.mark.parametrize(("how", "error"), [("raise", "ValueError"), ("sys.exit", "SystemExit")])
def test_what_a_node_raises_ends_the_node_and_not_the_child(
    host: Host, graph: Any, tmp_path: Path, how: str, error: str
) -> None:
    node = nodes.Ends(how=how, note=tmp_path / "note")
    first, second = host.run("process_parents:compute", *graph(node, nodes.Value(x=1)))
    assert (first["died"], first["kind"], first["error"]) == ("", "compute", error)
    assert (second["outcome"], second["pid"]) == ("computed", first["pid"])


def test_a_fork_that_comes_back_from_the_nodes_code_publishes_nothing_of_its_own(
    host: Host, graph: Any, tmp_path: Path
) -> None:
    node = nodes.Ends(how="fork", note=tmp_path / "note")
    first, second = host.run("process_parents:compute", *graph(node, nodes.Value(x=1)))
    assert (first["died"], first["outcome"]) == ("", "computed")
    assert second["outcome"] == "computed"
    assert node.get() == "alive"


def test_p5_a_node_whose_class_cannot_be_imported_is_a_protocol_failure(
    host: Host, graph: Any, tmp_path: Path
) -> None:
    path, offsets = graph(nodes.Value(x=1), nodes.Value(x=2))
    text = Path(path).read_text()
    second = text.splitlines(keepends=True)[2]
    Path(path).write_text(text.replace(second, second.replace("process_nodes", "process_nodez")))
    answers = host.run("process_parents:compute", path, [offsets[1], offsets[0]])
    assert (answers[0]["outcome"], answers[0]["kind"]) == ("failed", "protocol")
    assert "process_nodez" in answers[0]["message"]
    assert answers[1]["outcome"] == "computed"


def test_p5_a_graph_that_is_not_there_or_damaged_is_a_protocol_failure(
    host: Host, graph: Any, tmp_path: Path
) -> None:
    path, offsets = graph(nodes.Value(x=1))
    (answer,) = host.run("process_parents:compute", str(tmp_path / "nothing"), [17])
    assert (answer["kind"], answer["error"]) == ("protocol", "FuruStoreError")
    Path(path).write_text(Path(path).read_text()[: offsets[0] + 5])
    (answer,) = host.run("process_parents:compute", path, offsets)
    assert answer["kind"] == "protocol"
    assert path in answer["message"]


def test_p3_a_missing_artifact_is_a_protocol_failure_though_the_node_swallows_the_error(
    host: Host, graph: Any
) -> None:
    (answer,) = host.run("process_parents:compute", *graph(nodes.Asks(other=5)))
    assert (answer["kind"], answer["error"]) == ("protocol", "FuruMissingArtifact")
    assert StateReader().state(nodes.Asks(other=5)).state is NodeState.FAILED


@pytest.mark.parametrize(
    ("how", "state", "kind"),
    [
        ("cancelled", NodeState.CANCELLED, "cancelled"),
        ("lost", NodeState.STALE, "lost"),
        ("kill", NodeState.STALE, "lost"),
    ],
)
def test_p5_an_interrupted_node_is_recorded_as_what_its_interruption_means(
    host: Host, graph: Any, tmp_path: Path, how: str, state: NodeState, kind: str
) -> None:
    node = nodes.Sleeps(note=tmp_path / "note")
    path, (offset, after) = graph(node, nodes.Value(x=1))
    first, second = host.run(
        "process_parents:interrupt", path, offset, str(tmp_path / "note"), how, after
    )
    assert first["kind"] == kind
    assert second["outcome"] == "computed"
    info = StateReader().state(node)
    assert info.state is state
    assert made_progress(node)
    if how != "kill":
        assert info.failure is not None
        assert info.failure.message == "out of walltime"
        assert first["died"] == ""


def test_p6_a_node_that_swallows_its_interruption_is_killed(
    host: Host, graph: Any, tmp_path: Path
) -> None:
    node = nodes.Sleeps(note=tmp_path / "note", swallows=True)
    path, (offset, after) = graph(node, nodes.Value(x=1))
    how = "kill after interrupt"
    first, second = host.run(
        "process_parents:interrupt", path, offset, str(tmp_path / "note"), how, after
    )
    assert first["died"] == "out of patience, and its process had to be killed"
    assert (first["outcome"], second["outcome"]) == ("cancelled", "computed")
    assert StateReader().state(node).state is NodeState.CANCELLED


def test_p7_nothing_is_left_of_a_parent_that_was_killed(
    host: Host, graph: Any, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    path, (offset,) = graph(nodes.Sleeps(note=note))
    parent = host.start("process_parents:wait_for_ever", path, offset)
    wait_until("the node to begin", note.exists)
    left = [int(pid) for pid in note.read_text().split()]
    parent.kill()
    assert parent.wait().killed
    wait_until("the child and its child to end", lambda: not any(map(_lives, left)))


def test_what_a_node_leaves_changed_does_not_change_the_next_one(host: Host, graph: Any) -> None:
    answers = host.run("process_parents:compute", *graph(nodes.Threads(), nodes.Value(x=1)))
    assert [answer["outcome"] for answer in answers] == ["computed", "computed"]


def test_brief_nodes_are_computed_many_a_second(host: Host, graph: Any) -> None:
    path, offsets = graph(*(nodes.Value(x=x) for x in range(500)))
    assert (
        host.run("process_parents:count", path, offsets) > 20
    )  # a thousand where nobody else computes


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z" and os.path.exists(f"/proc/{pid}")
