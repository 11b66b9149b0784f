"""P3: inside an executor `get()` loads and never computes, in every thread and child process.

The session is entered in this process, as a worker process would; the nodes' threads and children
are real. The conformance suite has every executor refuse what its nodes ask for in some ways; here
are the further ways, and what an executor has no part in.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import strict_nodes as nodes
from records import attempts_of, told
from strict_nodes import Asks, AsksItself, GpuLeaf, Leaf

import furu_core
import furu_core.planning
from furu_core import Furu, exec_context, in_executor
from furu_core._attempts import _violations
from furu_core._context import _context
from furu_core.errors import (
    FuruComputeError,
    FuruMissingArtifact,
    FuruNestedRun,
    FuruSelfDependency,
    FuruSpecMismatch,
)
from furu_core.executors import FailureKind
from furu_core.planning import NodeState, invalidate_if_bad, short_name
from furu_core.workers import NodeResult, Outcome, WorkerContext, importing_user_code, run_node
from furu_testing.nodes import AsksInLoad, AsksInValidate, Step

WAYS = list(nodes.WAYS)
SPOKEN = [way for way in WAYS if way not in ("fork by hand", "subprocess")]  # give errors back
FURTHER = [  # than those of the suite
    way for way in WAYS if way not in ("directly", "thread", "fork", "spawn", "subprocess")
]


def records(store: Path, node: Furu[Any]) -> list[dict[str, Any]]:
    """The records of a node's attempts, in the order of their numbers."""
    return [told(folder) for folder in attempts_of(store, node)]


def told_by(node: Furu[Any]) -> str:
    """What a node that should have failed returned, perhaps what it swallowed, and its log."""
    log = node.furu_dir / ".furu.log" if node.exists() else None
    return f"it returned {node.get()}; its log: {log.read_text()}" if log else "it is not there"


def assert_broke_a_rule(store: Path, node: Furu[Any], result: NodeResult, error: str) -> None:
    """The node failed for good, said so on disk, and published nothing."""
    assert result.outcome is Outcome.FAILED, f"{result}; {told_by(node)}"
    assert result.failure is not None
    assert result.failure.kind is FailureKind.PROTOCOL, result
    assert result.failure.error_type == error
    assert not node.exists()
    assert node.status() is NodeState.FAILED
    last = records(store, node)[-1]
    assert (last["status"], last["ended"]["kind"]) == ("failed", "protocol")
    assert last["ended"]["error_type"] == error
    assert result.failure.log is not None


@pytest.mark.parametrize(
    ("way", "swallow"),
    [
        *((way, "Exception") for way in FURTHER),
        # What is raised is another error than that of the child.
        *((way, "") for way in ("process pool, spawn", "fork by hand", "subprocess")),
        *((way, "BaseException") for way in ("directly", "thread")),
    ],
)
def test_an_undeclared_dependency_fails_the_node_wherever_it_is_asked_for(
    store: Path, session: Any, way: str, swallow: str
) -> None:
    node = Asks(how=way, swallow=swallow)
    with session():
        result = run_node(node)
    assert_broke_a_rule(store, node, result, "FuruMissingArtifact")
    message = result.failure.message
    assert short_name(node) in message, "the one who asks"
    assert short_name(Leaf(n=1)) in message, "the one asked for"
    assert "_dependencies" in message, "what to do"
    assert not Leaf(n=1).exists()


@pytest.mark.parametrize("way", FURTHER)
def test_a_declared_dependency_loads_wherever_it_is_asked_for(
    store: Path, session: Any, way: str
) -> None:
    Leaf(n=1).get()
    node = Asks(how=way, declared=(Leaf(n=1),))
    with session():
        result = run_node(node)
    assert result.outcome is Outcome.COMPUTED, result
    assert node.get() == 10


def test_a_dependency_from_the_hook_is_declared(store: Path, session: Any) -> None:
    node = nodes.AsksDeclared(n=2)
    assert furu_core.planning.dependencies(node) == (Leaf(n=2),)
    with session():
        assert run_node(node).outcome is Outcome.INVALID_DEPENDENCY
        assert run_node(Leaf(n=2)).outcome is Outcome.COMPUTED
        assert run_node(node).outcome is Outcome.COMPUTED
    assert node.get() == 20


@pytest.mark.parametrize(
    ("way", "swallow"), [("directly", ""), ("fork", ""), ("directly", "Exception")]
)
def test_p8_a_declared_dependency_that_was_removed_is_no_broken_rule_and_is_named_for_repair(
    store: Path, session: Any, way: str, swallow: str
) -> None:
    node = Asks(how=way, declared=(Leaf(n=1),), swallow=swallow)
    with session():
        result = run_node(node)
    assert (result.outcome, result.culprit) == (Outcome.INVALID_DEPENDENCY, Leaf(n=1).furu_hash)
    assert "removed while the run went on" in result.failure.message
    assert short_name(Leaf(n=1)) in result.failure.message
    assert not node.exists()
    assert "make " not in result.failure.message


@pytest.mark.parametrize("way", ["thread pool", "fork", "process pool, spawn", "subprocess"])
def test_force_computes_what_has_the_workers_spec_key(store: Path, session: Any, way: str) -> None:
    node = Asks(how=way, force=True, gpu=True, key="gpu")
    with session(spec_key="gpu"):
        result = run_node(node)
    assert result.outcome is Outcome.COMPUTED, result
    assert GpuLeaf(n=1).exists()
    assert node.get() == 10


@pytest.mark.parametrize(
    ("way", "swallow"),
    [
        ("thread pool", "Exception"),
        ("fork", "Exception"),
        ("subprocess", "Exception"),
        ("spawn", ""),
    ],
)
def test_force_for_another_spec_key_fails_the_node(
    store: Path, session: Any, way: str, swallow: str
) -> None:
    node = Asks(how=way, force=True, gpu=True, swallow=swallow)
    with session():
        result = run_node(node)
    assert_broke_a_rule(store, node, result, "FuruSpecMismatch")
    assert "'gpu'" in result.failure.message
    assert "'default'" in result.failure.message
    assert not GpuLeaf(n=1).exists()


def test_force_loads_what_is_there_whatever_its_spec_key(store: Path, session: Any) -> None:
    GpuLeaf(n=1).get()
    with session():
        assert GpuLeaf(n=1).get(force=True) == 10


def test_force_changes_nothing_interactively(store: Path) -> None:
    assert GpuLeaf(n=3).get(force=True) == 30


def test_a_forced_node_that_fails_keeps_its_own_record(store: Path, session: Any) -> None:
    inner = Asks(how="directly", n=7)
    with session(), pytest.raises(FuruMissingArtifact):
        inner.get(force=True)
    assert records(store, inner)[-1]["ended"]["kind"] == "protocol"


def test_what_was_loaded_is_not_to_blame_when_its_load_method_asks_for_more(
    store: Path, session: Any
) -> None:
    dependency = AsksInLoad(label="inner")
    node = Step(label="outer", needs=(dependency,))
    with session():
        assert run_node(dependency).outcome is Outcome.COMPUTED
        result = run_node(node)
    assert_broke_a_rule(store, node, result, "FuruMissingArtifact")
    assert short_name(dependency.asked) in result.failure.message
    assert dependency.exists()


@pytest.mark.parametrize("swallow", [False, True])
def test_a_validate_method_that_asks_for_more_fails_the_node_that_loads(
    store: Path, session: Any, swallow: bool
) -> None:
    dependency = AsksInValidate(label="inner", swallow=swallow)
    dependency.asked.get()
    dependency.get()
    dependency.asked.delete()
    node = Step(label="outer", needs=(dependency,))
    with session():
        result = run_node(node)
    assert_broke_a_rule(store, node, result, "FuruMissingArtifact")
    assert dependency.exists(), "a broken rule says nothing about the artifact"


@pytest.mark.parametrize("swallow", [False, True])
def test_a_validate_method_computes_nothing_while_a_run_is_planned(
    store: Path, caplog: pytest.LogCaptureFixture, swallow: bool
) -> None:
    node = AsksInValidate(label="asks", swallow=swallow)
    node.asked.get()
    node.get()
    assert invalidate_if_bad(node) is False
    assert not in_executor()
    node.asked.delete()
    assert invalidate_if_bad(node) is False
    assert not node.asked.exists()
    assert node.exists(), "a broken rule says nothing about the artifact"
    assert swallow or "cannot be validated" in caplog.text


def test_in_a_session_without_a_node_the_error_names_the_run(store: Path, session: Any) -> None:
    with session(), pytest.raises(FuruMissingArtifact) as caught:
        Leaf(n=1).get()
    assert "run-1" in caught.value.asker
    assert caught.value.hash == Leaf(n=1).furu_hash
    assert caught.value.node == short_name(Leaf(n=1))


def test_P8_what_was_not_declared_is_told_how_to_declare_it_or_how_to_ask_for_what_a_result_names(
    store: Path, session: Any
) -> None:
    with session(), pytest.raises(FuruMissingArtifact) as caught:
        Leaf(n=1).get()
    hint = caught.value.hint
    assert hint.startswith(f"make {short_name(Leaf(n=1))} a field of ")
    assert "get(force=True)" in hint
    page, title = re.search(r"`(.+)` in (docs/.+\.md)$", hint).group(2, 1)  # type: ignore[union-attr]
    assert f"### {title}\n" in (Path(__file__).parents[3] / page).read_text()


@pytest.mark.parametrize("written", [0, 9])
def test_p3_a_broken_rule_that_a_full_disk_took_a_part_of_fails_the_node_all_the_same(
    store: Path, session: Any, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    node = Asks(how="directly", swallow="Exception")
    real = _violations.note_violation

    def note_a_part(context: Any, error: Any) -> None:
        real(context, error)
        os.truncate(f"{context.attempt}/.furu.violations", written)

    monkeypatch.setattr(_violations, "note_violation", note_a_part)
    with session():
        result = run_node(node)
    assert_broke_a_rule(store, node, result, "FuruMissingArtifact")
    assert "too full to note which" in result.failure.message


def test_a_later_attempt_is_not_blamed_for_an_earlier_one(store: Path, session: Any) -> None:
    node = Asks(how="fork", swallow="Exception")
    with session():
        assert run_node(node).outcome is Outcome.FAILED
        run_node(Leaf(n=1))
        assert run_node(node).outcome is Outcome.COMPUTED
    assert node.get() == 10


def test_P6_a_child_that_is_forked_while_another_thread_begins_a_node_computes_its_own(
    store: Path,
) -> None:
    """What guards the beginnings of nodes may be held at the fork by a thread that has no successor."""
    begins, forked = threading.Event(), threading.Event()

    def begin() -> None:
        with _context._mutex:
            begins.set()
            assert forked.wait(120), "no child was forked"

    with ThreadPoolExecutor(1) as pool:
        beginning = pool.submit(begin)
        assert begins.wait(120), "the other thread did not begin"
        child = multiprocessing.get_context("fork").Process(target=Leaf(n=6).get)
        child.start()
        forked.set()
        beginning.result()
    child.join(150)
    lives = child.is_alive()
    child.kill()
    child.join()
    assert not lives, "the child waits for what nobody releases"
    assert Leaf(n=6).exists()


def test_a_second_node_of_one_worker_is_named_by_the_children_of_a_running_forkserver(
    store: Path, session: Any
) -> None:
    """The server was forked from the first node's process and keeps that one's environment."""
    Leaf(n=1).get()
    with session():
        assert run_node(Asks(how="forkserver", n=1)).outcome is Outcome.COMPUTED
        node = Asks(how="forkserver", n=2, swallow="Exception")
        result = run_node(node)
        assert_broke_a_rule(store, node, result, "FuruMissingArtifact")
        assert run_node(nodes.WritesElsewhere(how="forkserver")).outcome is Outcome.COMPUTED


# Sessions of threads


def test_thread_workers_are_strict_each_in_its_own_name(store: Path, session: Any) -> None:
    ways = ["directly", "fork", "process pool, fork"]

    def work(way: str) -> NodeResult:
        with session(whole_process=False):
            return run_node(Asks(how=way, swallow="Exception"))

    with session(), ThreadPoolExecutor(len(ways)) as pool:
        results = list(pool.map(work, ways))
    for way, result in zip(ways, results, strict=True):
        node = Asks(how=way, swallow="Exception")
        assert_broke_a_rule(store, node, result, "FuruMissingArtifact")
        assert short_name(node) in result.failure.message


@pytest.mark.parametrize("way", ["thread", "subprocess"])
def test_the_threads_and_children_of_a_thread_workers_node_are_strict_though_unnamed(
    store: Path, session: Any, way: str
) -> None:
    """The documented limit: it raises there, but a node that swallows it cannot be told."""

    def work(swallow: str) -> NodeResult:
        with session(whole_process=False):
            return run_node(Asks(how=way, swallow=swallow))

    with session(), ThreadPoolExecutor(1) as pool:
        loud = pool.submit(work, "").result()
        quiet = pool.submit(work, "Exception").result()
    assert loud.outcome is Outcome.FAILED
    assert "FuruMissingArtifact" in loud.failure.error_type + loud.failure.message
    assert quiet.outcome in (Outcome.FAILED, Outcome.COMPUTED)
    assert not Leaf(n=1).exists()


def test_other_threads_of_an_ordinary_program_stay_interactive(store: Path, session: Any) -> None:
    entered, left = threading.Event(), threading.Event()

    def work() -> bool:
        with session(whole_process=False):
            entered.set()
            assert left.wait(120), "the main thread did not finish"
            return in_executor()

    with ThreadPoolExecutor(1) as pool:
        worker = pool.submit(work)
        assert entered.wait(120), "the worker did not start"
        assert not in_executor()
        assert Leaf(n=1).get() == 10
        left.set()
        assert worker.result() is True


# The context


def test_outside_of_sessions_the_context_is_interactive(store: Path) -> None:
    assert not in_executor()
    assert exec_context() == furu_core.ExecContext()
    value = nodes.TellsContext(how="directly").get()
    assert value[0] is False
    assert value[3] == short_name(nodes.TellsContext(how="directly"))


@pytest.mark.parametrize("way", SPOKEN)
def test_the_context_is_known_in_threads_and_children(store: Path, session: Any, way: str) -> None:
    node = nodes.TellsContext(how=way)
    with session(spec_key="gpu"):
        assert in_executor()
        assert run_node(node).outcome is Outcome.COMPUTED
    assert not in_executor()
    assert tuple(node.get()) == (True, "test", "gpu", short_name(node))


def test_a_session_leaves_nothing_behind(store: Path, session: Any) -> None:
    import os

    before = {k: v for k, v in os.environ.items() if k.startswith("FURU_")}
    with session():
        run_node(Leaf(n=1))
        run_node(Asks(how="fork", n=9))
    Leaf(n=2).get()
    assert {k: v for k, v in os.environ.items() if k.startswith("FURU_")} == before
    assert exec_context() == furu_core.ExecContext()


# Folders


@pytest.mark.parametrize(
    ("way", "strict"), [*((way, False) for way in WAYS), ("fork", True), ("spawn", True)]
)
def test_threads_and_children_write_into_the_nodes_folders(
    store: Path, session: Any, way: str, strict: bool
) -> None:
    node = nodes.WritesElsewhere(how=way)
    if strict:
        with session():
            result = run_node(node)
        assert result.outcome is Outcome.COMPUTED, result
    assert node.get() == "here"
    assert (node.furu_dir / "written.txt").read_text() == "here"
    assert node.furu_dir.name == node.furu_hash


@pytest.mark.parametrize(
    ("way", "strict"),
    [
        ("directly", False),
        ("spawn", False),
        *((way, True) for way in ("spawn", "forkserver", "fork", "subprocess")),
    ],
)
def test_children_find_the_same_store_also_after_a_change_of_directory(
    store: Path,
    session: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    strict: bool,
) -> None:
    """Settings made in code, or relative ones, must not be read anew by a child."""
    monkeypatch.setenv("FURU_PATH", "elsewhere")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("[tool.furu]\nmax_compute_retries = 7\n")
    monkeypatch.setenv("FURU_LOG_LEVEL", "ERROR")  # and the default is what holds here
    node = nodes.TellsStore(how=way, folder=folder)
    with furu_core.use_settings(log_level="INFO"):
        if strict:
            with session():
                run_node(node)
        assert node.get() == f"{store} 3 INFO"


def test_a_folder_of_a_node_that_is_nowhere_is_an_error(store: Path) -> None:
    node = Leaf(n=1)
    with pytest.raises(
        furu_core.errors.FuruNoFolder, match=r"Leaf\(\w{6}\) has no folder"
    ) as caught:
        _ = node.furu_dir
    assert "get()" in caught.value.hint
    with pytest.raises(furu_core.errors.FuruNoFolder, match="checkpoint"):
        _ = node.checkpoint_dir
    node.get()
    assert node.furu_dir.is_dir()
    with pytest.raises(furu_core.errors.FuruNoFolder, match="checkpoint"):
        _ = node.checkpoint_dir


@pytest.mark.parametrize("how", ["exit", "raise", "return"])
@pytest.mark.parametrize("strict", [False, True])
def test_a_forked_child_that_leaves_the_nodes_code_ends_and_harms_nothing(
    store: Path, session: Any, how: str, strict: bool
) -> None:
    node = nodes.LeavesByFork(how=how)
    if strict:
        with session():
            result = run_node(node)
        assert result.outcome is Outcome.COMPUTED, result
    assert node.get() == "of the parent"
    assert (node.furu_dir / "parent.txt").read_text() == "still there"


# Asking for oneself


@pytest.mark.parametrize(
    "way", ["directly", "fork", "fork by hand", "process pool, spawn", "subprocess"]
)
def test_asking_for_oneself_interactively_is_an_error_instead_of_waiting(
    store: Path, way: str
) -> None:
    node = AsksItself(how=way)
    expected = FuruSelfDependency if way in SPOKEN else FuruComputeError
    with pytest.raises(expected, match=r"asks for AsksItself\(\w{6}\) itself|ended with|itself"):
        node.get()
    assert not node.exists()


@pytest.mark.parametrize(
    "way", ["thread", "thread pool", "spawn", "forkserver", "process pool, fork", "fork by hand"]
)
def test_asking_for_oneself_in_a_worker_is_an_error_in_every_thread_and_child(
    store: Path, session: Any, way: str
) -> None:
    node = AsksItself(how=way)
    with session():
        result = run_node(node)
    assert result.outcome is Outcome.FAILED
    if way in SPOKEN:
        assert result.failure.error_type == "FuruSelfDependency"
    assert not node.exists()


def test_asking_in_a_circle_is_an_error_instead_of_waiting(store: Path) -> None:
    with pytest.raises(FuruComputeError) as caught:
        nodes.AsksInCircle(side=0).get()
    assert "itself" in str(caught.value)


# Runs inside of nodes


@pytest.mark.parametrize("way", ["directly", "subprocess"])
def test_a_run_in_a_nodes_code_is_an_error_interactively(store: Path, way: str) -> None:
    with pytest.raises((FuruNestedRun, FuruComputeError), match="starts a run in its own code"):
        nodes.RunsOthers(how=way).get()


@pytest.mark.parametrize("way", ["thread", "fork", "spawn"])
def test_a_run_in_a_nodes_code_is_never_tried_again(store: Path, session: Any, way: str) -> None:
    node = nodes.RunsOthers(how=way)
    with session():
        result = run_node(node)
    assert_broke_a_rule(store, node, result, "FuruNestedRun")


def test_p5_a_worker_does_not_compute_a_node_whose_spec_key_is_another_there(
    store: Path, session: Any
) -> None:
    node = GpuLeaf(n=1)
    with session(spec_key="cpu"):
        result = run_node(node)
    assert_broke_a_rule(store, node, result, "FuruSpecMismatch")
    assert "'gpu' here" in result.failure.message
    assert "'cpu'" in result.failure.message
    with session(spec_key="gpu"):
        assert run_node(node).outcome is Outcome.COMPUTED
    with session(spec_key="cpu"):
        assert run_node(node).outcome is Outcome.LOADED


# Scripts without a main guard


def test_an_import_that_asks_for_a_node_is_told_of_the_main_guard(store: Path) -> None:
    worker = WorkerContext(executor="test", run_id="run-1")
    with importing_user_code(worker):
        with pytest.raises(FuruMissingArtifact) as caught:
            Leaf(n=1).get()
        assert '__name__ == "__main__"' in caught.value.hint
        with pytest.raises(FuruNestedRun) as nested:
            furu_core.run([Leaf(n=1)])
        assert '__name__ == "__main__"' in nested.value.hint
    assert not in_executor()


def test_spec_mismatch_names_both_keys(store: Path, session: Any) -> None:
    with session(spec_key="cpu"), pytest.raises(FuruSpecMismatch) as caught:
        GpuLeaf(n=1).get(force=True)
    assert "'gpu'" in caught.value.message
    assert "'cpu'" in caught.value.message
    assert caught.value.hash == GpuLeaf(n=1).furu_hash


class TwoAtOnce(Furu[list[str]]):
    """Computes two nodes in two threads, of which the first to begin is the first to end."""

    def _create(self) -> list[str]:
        order: list[threading.Event] = [threading.Event(), threading.Event()]
        nodes.hooks["first"] = lambda: (order[0].set(), order[1].wait(100))
        nodes.hooks["second"] = lambda: (order[1].set(), first.join(100))
        first = threading.Thread(target=Hooked(hook="first").get, kwargs={"force": True})
        first.start()
        assert order[0].wait(100)
        second = threading.Thread(target=Hooked(hook="second").get, kwargs={"force": True})
        second.start()
        second.join()
        seen: list[str] = []
        third = threading.Thread(target=lambda: seen.append(exec_context().node))
        third.start()
        third.join()
        return [*seen, json.loads(os.environ[_context.CONTEXT_VARIABLE])["node"]]


class Hooked(Furu[int]):
    hook: str

    def _create(self) -> int:
        nodes.hooks[self.hook]()
        return 0


@pytest.mark.usefixtures("store")
def test_p9_after_nodes_that_threads_computed_at_once_the_context_is_that_of_the_code_around(
    session: Any,
) -> None:
    with session():
        result = run_node(TwoAtOnce())
    assert result.outcome is Outcome.COMPUTED, result
    assert TwoAtOnce().get() == [short_name(TwoAtOnce())] * 2
