"""`get()` outside of executors: computed once, loaded ever after, and told truthfully when it fails."""

from __future__ import annotations

import contextlib
import errno
import inspect
import json
import math
import os
import re
import shutil
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import get_nodes as nodes
import numpy as np
import pytest
from get_nodes import Does, Fails, Files, Needs, Outer, Resumes, Returns, Square, Talks
from records import attempts_of, told

import furu_core
import furu_core.planning
from furu_core import NodeState, _files
from furu_core._attempts import _publishing
from furu_core._store._layout import ref_of
from furu_core.errors import (
    FuruComputeError,
    FuruDefinitionError,
    FuruDependencyError,
    FuruMutatedConfig,
    FuruResultError,
    FuruSuperseded,
    FuruUsageError,
)
from furu_core.executors import FailureKind
from furu_core.planning import dependencies, spec_key
from furu_core.workers import Outcome, record_death, run_node
from furu_testing import Scripts
from furu_testing.nodes import Above, Leaf, Step


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    nodes.calls.clear()
    nodes.hooks.clear()
    yield
    nodes.hooks.clear()


def log_of(node: furu_core.Furu[Any]) -> str:
    return (node.furu_dir / ".furu.log").read_text()


# Hits and misses


def test_a_miss_computes_and_a_hit_loads(store: Path) -> None:
    assert not Square(side=3).exists()
    assert Square(side=3).status() is NodeState.ABSENT
    assert Square(side=3).get() == 9
    assert Square(side=3).exists()
    assert Square(side=3).status() is NodeState.DONE
    assert Square(side=3).get() == 9
    assert nodes.calls == ["square 3"]


def test_dependencies_compute_themselves_when_asked(store: Path) -> None:
    assert Outer(square=Square(side=5)).get() == 26
    assert Outer(square=Square(side=5), plus=2).get() == 27
    assert nodes.calls == ["outer", "square 5", "outer"]


@pytest.mark.parametrize("kind", nodes.VALUES)
def test_the_first_get_returns_what_every_later_one_does(store: Path, kind: str) -> None:
    first = Returns(kind=kind).get()
    second = Returns(kind=kind).get()
    assert nodes.calls == [kind]
    assert type(first) is type(second)
    if kind == "nan":
        assert math.isnan(first)
        assert math.isnan(second)
    else:
        assert first == second
    if kind not in ("path", "paths in a dict", "folder", "nan"):
        assert first == nodes.VALUES[kind](None)


def test_paths_under_furu_dir_follow_the_artifact_when_the_store_moves(
    store: Path, tmp_path: Path
) -> None:
    path = Returns(kind="path").get()
    assert path == Returns(kind="path").furu_dir / "sub/file.txt"
    assert path.read_text() == "content"
    assert Returns(kind="paths in a dict").get()["elsewhere"] == Path("/etc/hosts")
    moved = tmp_path / "moved"
    store.rename(moved)
    with furu_core.use_settings(path=moved):
        assert Returns(kind="path").get() == moved / path.relative_to(store)
        assert Returns(kind="paths in a dict").get()["here"][0].read_text() == "content"
        assert Returns(kind="folder").get() == Returns(kind="folder").furu_dir
    assert nodes.calls == ["path", "paths in a dict", "folder"]


def test_a_load_method_of_ones_own_replaces_the_stored_value(store: Path) -> None:
    assert Files().get() == "hello"
    assert Files().get() == "hello"
    assert nodes.calls == ["create", "load", "load"]
    assert not list(Files().furu_dir.glob(".furu.result*"))
    assert (Files().furu_dir / "text.txt").read_text() == "hello"


def test_a_load_method_that_raises_says_so_each_time_and_nothing_is_computed_again(
    store: Path,
) -> None:
    for _ in range(2):
        with pytest.raises(LookupError, match="cannot load it"):
            nodes.LoadFails().get()
    assert nodes.LoadFails().exists()


def test_delete_removes_results_and_failed_attempts(store: Path) -> None:
    Square(side=1).get()
    assert Square(side=1).delete() is True
    assert not Square(side=1).exists()
    assert Square(side=1).delete() is False
    with pytest.raises(FuruComputeError):
        Fails().get()
    assert Fails().status() is NodeState.FAILED
    assert Fails().delete() is True
    assert Fails().status() is NodeState.ABSENT
    assert not attempts_of(store / "data", Fails())


def test_what_is_being_computed_cannot_be_deleted(store: Path) -> None:
    node = Does(hook="delete")

    def delete() -> str:
        with pytest.raises(FuruUsageError, match="is being computed"):
            node.delete()
        return "refused"

    nodes.hooks["delete"] = delete
    assert node.status() is NodeState.ABSENT
    assert node.get() == "refused"


def test_a_running_node_has_the_state_running(store: Path) -> None:
    node = Does(hook="state")
    nodes.hooks["state"] = lambda: node.status().name
    assert node.get() == "RUNNING"


# Failures


def test_a_failure_has_its_cause_its_log_and_its_record(store: Path) -> None:
    with pytest.raises(FuruComputeError) as caught:
        Fails().get()
    error = caught.value
    assert isinstance(error.__cause__, ValueError)
    assert error.node == furu_core.planning.short_name(Fails())
    assert error.hash == Fails().furu_hash
    assert "ValueError: bad value 42" in str(error)
    assert str(error.log) in str(error)
    assert error.log is not None
    log = error.log.read_text()
    assert "about to fail" in log
    assert "deep_in_the_users_code(self.what)" in log
    assert "ValueError: first line\nbad value 42" in log
    assert "furu_core/_compute.py" not in log, "the reader looks for his own code"
    (folder,) = attempts_of(store, Fails())
    record = told(folder)
    assert (record["status"], record["ended"]["kind"]) == ("failed", "compute")
    assert record["ended"]["message"] == "bad value 42"
    assert record["config"]["hash"] == Fails().furu_hash
    assert sorted(os.listdir(folder)) == [".furu.json", ".furu.log"], "files of ended attempts go"
    assert Fails().status() is NodeState.FAILED


def test_a_failed_node_is_tried_again_by_the_next_get(store: Path) -> None:
    for number in (1, 2):
        with pytest.raises(FuruComputeError):
            Fails().get()
        assert len(attempts_of(store, Fails())) == number


def test_with_retry_failed_off_a_failed_node_fails_at_once(store: Path, session: Any) -> None:
    nodes.hooks["flaky"] = lambda: 1 / 0
    node = Does(hook="flaky")
    with pytest.raises(FuruComputeError):
        node.get()
    nodes.calls.clear()
    with furu_core.use_settings(retry_failed=False):
        with pytest.raises(FuruComputeError, match="failed before, in attempt 1") as caught:
            node.get()
        assert "ZeroDivisionError" in str(caught.value)
        assert "FURU_RETRY_FAILED=1" in caught.value.hint
        assert caught.value.log is not None
        assert caught.value.log.exists()
        with session():
            result = run_node(node)
        assert (result.outcome, result.failure.kind) == (Outcome.FAILED, FailureKind.COMPUTE)
    assert nodes.calls == []
    nodes.hooks["flaky"] = lambda: "fine"
    assert node.get() == "fine"
    with furu_core.use_settings(retry_failed=False):
        assert node.get() == "fine"


def test_a_nested_failure_names_both_nodes_and_keeps_the_cause(store: Path) -> None:
    node = Needs(of=Needs(of=Fails()))
    with pytest.raises(FuruComputeError) as caught:
        node.get()
    assert caught.value.hash == node.furu_hash
    inner = caught.value.__cause__
    assert isinstance(inner, FuruComputeError)
    innermost = inner.__cause__
    assert isinstance(innermost, FuruComputeError)
    assert innermost.hash == Fails().furu_hash
    assert isinstance(innermost.__cause__, ValueError)
    for named in (node, node.of, Fails()):
        assert furu_core.planning.short_name(named) in str(caught.value)
        assert named.status() is NodeState.FAILED
    assert "bad value 42" in str(caught.value)


def test_a_keyboard_interrupt_is_recorded_as_cancelled_and_passes_through(
    store: Path, session: Any
) -> None:
    node = Fails(what="KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        Needs(of=node).get()
    assert node.status() is NodeState.CANCELLED
    assert Needs(of=node).status() is NodeState.CANCELLED
    with session(), pytest.raises(KeyboardInterrupt):
        run_node(node)
    with furu_core.use_settings(retry_failed=False), pytest.raises(KeyboardInterrupt):
        node.get()  # a cancelled node has not failed


@pytest.mark.parametrize("after", [False, True])
def test_p1_an_interruption_right_after_publishing_leaves_no_record_of_a_failure(
    store: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    publish = _publishing.publish

    def interrupted(attempt: Any, *, replace: bool) -> bool:
        if after:
            publish(attempt, replace=replace)
        raise KeyboardInterrupt

    monkeypatch.setattr(_publishing, "publish", interrupted)
    node = Square(side=3)
    with pytest.raises(KeyboardInterrupt):
        node.get()
    assert node.exists() == after
    assert bool(attempts_of(store, node)) != after
    assert node.status() is (NodeState.DONE if after else NodeState.CANCELLED)


@pytest.mark.parametrize(("what", "text"), [("SystemExit", "3"), ("exit", "no more")])
def test_a_system_exit_is_a_failure_and_not_the_end_of_the_program(
    store: Path, session: Any, what: str, text: str
) -> None:
    with pytest.raises(FuruComputeError, match=f"SystemExit: {text}") as caught:
        Fails(what=what).get()
    assert isinstance(caught.value.__cause__, SystemExit)
    with session():
        result = run_node(Fails(what=what))
    assert result.failure.kind is FailureKind.COMPUTE
    assert result.failure.error_type == "SystemExit"


def test_an_error_without_a_text_is_named_all_the_same(store: Path) -> None:
    with pytest.raises(FuruComputeError, match="RuntimeError"):
        Fails(what="silent").get()


@pytest.mark.parametrize(
    ("what", "name", "said"),
    [
        ("odd bytes", "ValueError", r"bad file caf\udce9.txt"),
        ("unspeakable", "Unspeakable", "its __str__ raises AttributeError"),
    ],
)
def test_p8_a_failure_that_cannot_be_written_down_as_it_is_is_recorded_all_the_same(
    store: Path, session: Any, what: str, name: str, said: str
) -> None:
    node = Fails(what=what)
    with pytest.raises(FuruComputeError) as caught:
        node.get()
    str(caught.value).encode()
    assert name in str(caught.value)
    assert said in str(caught.value)
    with session():
        result = run_node(node)
    assert result.failure.kind is FailureKind.COMPUTE
    str(result.failure).encode()
    assert said in result.failure.message
    assert node.status() is NodeState.FAILED
    for folder in attempts_of(store, node):
        record = told(folder)
        assert (record["status"], record["ended"]["kind"]) == ("failed", "compute")
        assert said in record["ended"]["message"]
        assert name in (folder / ".furu.log").read_text()


@pytest.mark.parametrize("what", ["CancelledError", "GeneratorExit"])
def test_p8_whatever_a_node_raises_that_is_no_exception_comes_with_the_path_of_its_log(
    store: Path, session: Any, what: str
) -> None:
    node = Fails(what=what)
    with pytest.raises(BaseException) as caught:
        node.get()
    assert type(caught.value).__name__ == what  # whoever waits for it waits for this type
    log = next(iter(attempts_of(store, node))) / ".furu.log"
    assert any(str(log) in note for note in caught.value.__notes__)
    with session():
        failure = run_node(node).failure
    assert (failure.kind, failure.error_type) == (FailureKind.COMPUTE, what)
    assert failure.log is not None
    assert what in failure.log.read_text()


def test_p1_a_result_that_is_published_and_cannot_be_synced_is_told_of(
    store: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    node = Square(side=7)
    folder = ref_of(node).class_dir

    def sync(path: str) -> None:
        if path == folder:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(_files, "sync_path", sync)
    with furu_core.use_settings(durable=True):
        assert node.get() == 49
    assert "may be gone after a power loss" in caplog.text
    assert folder in caplog.text


@pytest.mark.parametrize("after", [0, 1, 2])
def test_p7_the_log_outlives_a_kill_while_files_are_synced_which_may_take_minutes(
    store: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    node = Talks()
    if (child := os.fork()) == 0:
        synced = []

        def sync(path: str) -> None:
            synced.append(path)
            if len(synced) > after:
                os._exit(9)

        monkeypatch.setattr(_files, "sync_path", sync)
        with furu_core.use_settings(durable=True), contextlib.suppress(BaseException):
            node.get()
        os._exit(0)
    os.waitpid(child, 0)
    assert not node.exists()
    failure = record_death(node, None, FailureKind.LOST, "was killed")
    assert failure is not None
    assert failure.log is not None
    assert "printed" in failure.log.read_text()


def test_a_chain_deeper_than_python_recurses_is_told_of_run(store: Path) -> None:
    node: furu_core.Furu[int] = Leaf()
    for _ in range(200):
        node = Above(below=node)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 500)  # each log tells of all nodes below
    try:
        with pytest.raises(FuruComputeError) as caught:
            node.get()
    finally:
        sys.setrecursionlimit(limit)
    assert "furu run" in str(caught.value)
    assert len(str(caught.value)) < 2000, "not a line for each of its nodes"
    while isinstance(node, Above):
        # At the end of the stack an attempt cannot be recorded any more; it must not seem to run.
        assert node.status() in (NodeState.FAILED, NodeState.LOST, NodeState.ABSENT)
        node = node.below
    assert max(path.stat().st_size for path in store.rglob(".furu.log")) < 20_000


def test_a_result_that_cannot_be_stored_is_an_error_that_says_what_to_do(store: Path) -> None:
    nodes.hooks["lambda"] = lambda: {"x": [lambda: 1]}
    with pytest.raises(FuruResultError) as caught:
        Does(hook="lambda").get()
    assert "['x'][0]" in caught.value.message
    assert "_load" in caught.value.hint
    assert not Does(hook="lambda").exists()
    assert Does(hook="lambda").status() is NodeState.FAILED


class Hungry:
    """Needs more memory than there is, to be stored or to be loaded."""

    def __init__(self, when: str) -> None:
        self.when = when

    def __reduce__(self) -> Any:
        if self.when == "stored":
            raise MemoryError("cannot allocate 1 TiB")
        return _feed, (self.when,)


class Gone:
    """Cannot be loaded again."""

    def __reduce__(self) -> Any:
        return _feed, ("gone",)


full = False


def _feed(when: str) -> Any:
    if full:
        raise MemoryError("cannot allocate 1 TiB") if when == "loaded" else ValueError("no more")
    return Hungry(when) if when == "loaded" else Gone()


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        (lambda: (n for n in range(3)), FailureKind.PROTOCOL),
        (lambda: [lambda: 1], FailureKind.PROTOCOL),
        (lambda: sys.stdout, FailureKind.PROTOCOL),
        (lambda: Does(hook="result").furu_dir / "never-written", FailureKind.PROTOCOL),
        (lambda: os.mkfifo(Does(hook="result").furu_dir / "pipe"), FailureKind.PROTOCOL),
        (lambda: Hungry("stored"), FailureKind.COMPUTE),
        (lambda: {"x": [np.zeros(3), Hungry("stored")]}, FailureKind.COMPUTE),
    ],
    ids=["generator", "lambda", "file", "path", "pipe", "memory", "memory in a dict"],
)
def test_p5_a_result_that_cannot_be_stored_is_no_failure_of_computing_save_for_want_of_memory(
    store: Path, session: Any, what: Any, kind: FailureKind
) -> None:
    nodes.hooks["result"] = what
    node = Does(hook="result")
    with session():
        result = run_node(node)
    assert result.outcome is Outcome.FAILED
    assert result.failure.kind is kind, result.failure
    (folder,) = attempts_of(store, node)
    assert told(folder)["ended"]["kind"] == kind.value


@pytest.mark.parametrize(
    ("when", "kind"), [("gone", FailureKind.PROTOCOL), ("loaded", FailureKind.COMPUTE)]
)
def test_p5_a_dependency_that_cannot_be_loaded_is_no_failure_of_computing_save_for_want_of_memory(
    store: Path, session: Any, monkeypatch: pytest.MonkeyPatch, when: str, kind: FailureKind
) -> None:
    nodes.hooks["result"] = lambda: Gone() if when == "gone" else Hungry("loaded")
    below = Does(hook="result")
    below.get()
    monkeypatch.setattr(sys.modules[__name__], "full", True)
    node = Needs(of=Needs(of=below))
    with session():
        inner = run_node(node.of)
        with pytest.raises(FuruComputeError):
            node.of.get(force=True)
        outer = run_node(node)
    assert inner.failure.kind is kind
    assert outer.outcome is Outcome.INVALID_DEPENDENCY, "what it needs is not there"
    kinds = {told(folder)["ended"]["kind"] for folder in attempts_of(store, node.of)}
    assert kinds == {kind.value}


def test_p1_a_returned_path_of_a_file_that_was_never_written_fails_the_node(store: Path) -> None:
    node = Does(hook="path")
    for path in ("furu_dir", "checkpoint_dir"):
        nodes.hooks["path"] = lambda path=path: {"model": (getattr(node, path) / "model.bin",)}
        with pytest.raises(FuruResultError, match=r"model\.bin"):
            node.get()
    assert not node.exists()
    nodes.hooks["path"] = lambda: (
        (node.furu_dir / "model.bin").touch() or [node.furu_dir / "model.bin"]
    )
    assert node.get() == [node.furu_dir / "model.bin"]


def test_P8_the_error_of_a_node_shows_the_users_code_once_and_none_of_furus_frames_between(
    store: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def inner() -> None:
        raise ZeroDivisionError("nothing to divide by")

    nodes.hooks["inner"] = inner
    nodes.hooks["outer"] = Does(hook="inner").get
    with pytest.raises(FuruComputeError) as caught:
        Does(hook="outer").get()
    text = "".join(traceback.format_exception(caught.value))
    assert text.count("ZeroDivisionError: nothing to divide by\n") == 1
    frames = re.findall(r'File "(.+)", line \d+, in (\w+)', text)
    own = [name for file, name in frames if "/furu_core/" in file]
    assert own == ["get"]  # the one that was called
    assert [name for _, name in frames][:2] == ["_create", "inner"]
    said = capfd.readouterr()
    assert "ZeroDivisionError" not in said.out + said.err, "whoever catches the error shows it"
    assert caught.value.log is not None
    assert "FuruComputeError: Does" in caught.value.log.read_text()


# Running again


def test_always_rerun_looks_at_each_node_of_a_graph_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from furu_core._compute import _reruns

    looked: list[str] = []
    dependencies = _reruns.dependencies

    def counted(obj: Any) -> Any:
        looked.append(obj.furu_hash)
        return dependencies(obj)

    monkeypatch.setattr(_reruns, "dependencies", counted)
    for verdict, name in ((True, "Square"), (False, "NoSuchClassAnywhere")):
        looked.clear()
        monkeypatch.setattr(_reruns, "_verdicts", {})
        with furu_core.use_settings(always_rerun=name):
            for _ in range(5):
                assert _reruns.is_due(Outer()) is verdict
        assert looked.count(Outer().furu_hash) == 1


@pytest.mark.parametrize(
    "name",
    [
        "Square",
        "tests.nodes.get_nodes:Square",
        "tests.nodes.get_nodes.Square",
        "get_nodes:Square",
        "ALL",
        "all",
    ],
)
def test_always_rerun_computes_each_matching_node_once_per_process(
    store: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from furu_core._compute import _reruns

    monkeypatch.setattr(_reruns, "_reran", set())
    assert Outer().get() == 5
    nodes.calls.clear()
    with furu_core.use_settings(always_rerun=name):
        assert Square().get() == 4
        assert Square().get() == 4
        assert nodes.calls == ["square 2"]
        assert Square(side=9).get() == 81
        assert Square(side=9).get() == 81
        assert nodes.calls == ["square 2", "square 9"]
        assert Outer().get() == 5
        assert nodes.calls.count("outer") == 1, "it was made of the old result"
        assert Outer().get() == 5
        assert nodes.calls.count("square 2") == nodes.calls.count("outer") == 1
    assert Square().get() == 4
    assert not attempts_of(store, Square())


def test_a_name_in_always_rerun_that_no_class_has_is_warned_of_once_with_the_likely_one(
    store: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from furu_core._compute import _reruns

    monkeypatch.setattr(_reruns, "_looked_up", set())
    assert Square().get() == 4
    nodes.calls.clear()
    with furu_core.use_settings(always_rerun="square,get_nodes.Sqare,Outer"):
        assert [Square().get(), Square().get()] == [4, 4]
    assert nodes.calls == []
    said = sorted(r.getMessage() for r in caplog.records if r.levelname == "WARNING")
    unknown = "but this program has defined no such class; did you mean"
    assert len(said) == 2
    assert said[0].startswith(f"FURU_ALWAYS_RERUN names get_nodes.Sqare, {unknown} ")
    assert said[1].startswith(f"FURU_ALWAYS_RERUN names square, {unknown} Square")


def test_a_rerun_that_fails_keeps_the_old_result(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from furu_core._compute import _reruns

    monkeypatch.setattr(_reruns, "_reran", set())
    node = Does(hook="rerun")
    nodes.hooks["rerun"] = lambda: "old"
    assert node.get() == "old"
    nodes.hooks["rerun"] = lambda: 1 / 0
    with furu_core.use_settings(always_rerun="Does"), pytest.raises(FuruComputeError):
        node.get()
    assert node.get() == "old"
    assert node.status() is NodeState.DONE


# What stands in an artifact


def test_the_log_holds_what_the_code_printed_and_logged(store: Path, program: Scripts) -> None:
    done = program("from get_nodes import Talks; Talks().get()").finish()
    assert done.out == "printed\n"
    assert Talks().exists()
    log = log_of(Talks())
    for text in ("printed", "to stderr", "INFO users: logged", "WARNING users: warned loudly"):
        assert log.count(text) == 1
    assert not attempts_of(store, Talks())


def test_the_log_of_a_nested_node_is_its_own(store: Path) -> None:
    Needs(of=Talks()).get()
    assert "printed" in log_of(Talks())
    assert "printed" not in log_of(Needs(of=Talks()))


def test_the_record_says_what_was_computed_how(store: Path) -> None:
    node = Outer(square=Square(side=4), plus=3)
    node.get()
    assert sorted(os.listdir(node.furu_dir)) in ([".furu.json"], [".furu.json", ".furu.log"])
    record = told(node.furu_dir)
    config = record["config"]
    assert config["class"] == "tests.nodes.get_nodes:Outer"
    assert config["hash"] == node.furu_hash
    assert config["fields"]["plus"] == 3
    assert config["fields"]["square"]["$ref"] == Square(side=4).furu_hash
    manifest = record["manifest"]
    assert manifest["result"] == {"codec": "json", "value": 19}
    assert "files" not in manifest
    assert record["hash"] == node.furu_hash
    assert record["class_name"] == "tests.nodes.get_nodes:Outer"
    assert record["node"] == furu_core.planning.short_name(node)
    assert "Outer" in record["to_python"]
    assert "side=4" in record["to_python"]
    assert (record["number"], record["status"]) == (1, "published")
    assert record["holder"]["pid"] == os.getpid()
    assert record["ended"]["time"] >= record["started"]
    assert "earlier" not in record
    (provenance,) = (store / "provenance").glob(f"{record['provenance']}.json")
    assert json.loads(provenance.read_text())["python"]


def test_p9_the_record_names_the_dependencies_and_the_digests_of_what_was_used(
    store: Path,
) -> None:
    node = Outer(square=Square(side=4), plus=3)
    node.get()
    below = Square(side=4)
    found = told(node.furu_dir)["dependencies"]
    digest = told(below.furu_dir)["manifest"]["digest"]
    assert found == {"declared": [below.furu_hash], "used": {below.furu_hash: digest}}


def test_the_history_of_attempts_survives_success(store: Path) -> None:
    node = Resumes(attempts=3)
    for number in (1, 2):
        with pytest.raises(FuruComputeError, match=f"attempt {number}"):
            node.get()
    assert node.get() == 3
    record = told(node.furu_dir)
    assert record["number"] == 3
    earlier = record["earlier"]
    assert [past["number"] for past in earlier] == [1, 2]
    assert [past["ended"]["message"] for past in earlier] == ["attempt 1", "attempt 2"]
    assert not attempts_of(store, node), "nothing of the attempts stays beside the artifact"


def test_the_checkpoint_folder_reaches_the_next_attempt_and_ends_with_success(
    store: Path, session: Any
) -> None:
    node = Resumes(attempts=3)
    with session():
        results = [run_node(node) for _ in range(3)]
    assert [result.outcome for result in results] == [
        Outcome.FAILED,
        Outcome.FAILED,
        Outcome.COMPUTED,
    ]
    assert node.get() == 3
    assert not list(store.rglob("checkpoint"))


def test_a_checkpoint_survives_an_attempt_that_was_cancelled(store: Path) -> None:
    node = Does(hook="cancel")

    def write_and_stop() -> None:
        (node.checkpoint_dir / "x").write_text("1")
        raise KeyboardInterrupt

    nodes.hooks["cancel"] = write_and_stop
    with pytest.raises(KeyboardInterrupt):
        node.get()
    nodes.hooks["cancel"] = lambda: (node.checkpoint_dir / "x").read_text()
    assert node.get() == "1"


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_published_files_follow_the_umask(store: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        Files(text=str(umask)).get()
        Square(side=umask).get()
    finally:
        os.umask(before)
    for node in (Files(text=str(umask)), Square(side=umask)):
        for path in [node.furu_dir, *node.furu_dir.rglob("*")]:
            wanted = (0o777 if path.is_dir() else 0o666) & ~umask
            assert path.stat().st_mode & 0o777 == wanted, path


def test_raw_dir_is_shared_and_stays(store: Path) -> None:
    (Square().raw_dir / "download").write_text("x")
    Square().get()
    Square().delete()
    assert (Outer().raw_dir / "download").read_text() == "x"


# Classes


def test_the_spec_key_is_no_part_of_the_hash(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = nodes.Plain().furu_hash
    monkeypatch.setattr(nodes.Plain, "_executor_spec_key", "gpu", raising=False)
    assert nodes.Plain().furu_hash == before
    assert spec_key(nodes.Plain()) == "gpu"
    assert spec_key(Step(label="keyed", key="small")) == "small"
    assert spec_key(Step(label="keyed", key="big")) == "big"


@pytest.mark.parametrize("key", ["", None, 3])
def test_a_spec_key_that_is_no_text_is_an_error(
    store: Path, monkeypatch: pytest.MonkeyPatch, key: object
) -> None:
    monkeypatch.setattr(nodes.Plain, "_executor_spec_key", key, raising=False)
    with pytest.raises(FuruDefinitionError, match="expected a non-empty string"):
        spec_key(nodes.Plain())


def test_a_class_without_create_can_be_made_but_not_computed(store: Path, session: Any) -> None:
    node = nodes.Abstract(n=3)
    assert len(node.furu_hash) == 32
    with pytest.raises(FuruDefinitionError, match="Abstract has no _create"):
        node.get()
    with session():
        result = run_node(node)
    assert result.failure.kind is FailureKind.PROTOCOL, "trying again cannot help"
    assert nodes.Concrete(n=3).get() == 3


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (lambda: [Square(side=n) for n in range(3)] + [7], r"deps\[3\] = 7 \(int\)"),
        (lambda: [Square], r"deps\[0\] = .*\(type\)"),
        (lambda: Square(), "expected an iterable"),
        (lambda: None, "expected an iterable"),
        (lambda: [None], r"deps\[0\] = None"),
    ],
)
def test_dependencies_that_are_none_are_an_error_with_its_place(
    store: Path, given: Any, text: str
) -> None:
    nodes.hooks["dependencies"] = given
    with pytest.raises(FuruDependencyError, match=text) as caught:
        dependencies(nodes.WrongDependencies())
    assert furu_core.planning.short_name(nodes.WrongDependencies()) in str(caught.value)
    assert caught.value.hint


def test_dependencies_may_be_any_iterable_and_are_named_once(store: Path) -> None:
    nodes.hooks["dependencies"] = lambda: (Square(side=n % 2) for n in range(4))
    assert dependencies(nodes.WrongDependencies()) == (Square(side=0), Square(side=1))


def test_a_config_that_changed_after_hashing_is_refused(store: Path, session: Any) -> None:
    node = nodes.Mutates(options={"a": 1})
    with pytest.raises(FuruMutatedConfig, match="its config changed after it was hashed"):
        node.get()
    assert not node.exists()
    outer = nodes.MutatesAnother(of=nodes.Mutates(options={"b": 1}))
    with session():
        result = run_node(outer)
    assert result.failure.error_type == "FuruMutatedConfig"
    assert "Mutates(" in result.failure.message
    assert not outer.exists()


def test_p2_nothing_is_published_under_the_hash_of_fields_that_were_set_since(
    store: Path, session: Any
) -> None:
    node = Does(hook="sets", n=1)
    nodes.hooks["sets"] = lambda: object.__setattr__(node, "n", 5)
    with pytest.raises(FuruMutatedConfig, match="is not published: its config changed"):
        node.get()
    assert not Does(hook="sets", n=1).exists()
    with pytest.raises(FuruMutatedConfig, match=r"is not computed: its config .*attrs\.evolve"):
        node.get()
    inner = Square(side=3)
    outer = Outer(square=inner)
    assert outer.furu_hash
    inner.__dict__["side"] = 4
    nodes.calls.clear()
    for broken in (outer, Needs(of=outer)):
        with pytest.raises(FuruMutatedConfig, match=r"the config of Square\("), session():
            broken.get(force=True)
    assert nodes.calls == [], "none of their code has run"
    with session():
        assert run_node(outer).outcome is Outcome.FAILED
    assert Outer(square=Square(side=3)).get() == 10


def test_p9_a_record_shows_the_config_as_it_was_when_the_code_began(store: Path) -> None:
    node = nodes.Notes()
    assert node.get() == ["noted"]
    assert config_of(node)["fields"] == {"seen": []}


def config_of(node: furu_core.Furu[Any]) -> Any:
    return told(node.furu_dir)["config"]


# Programs


def test_a_script_says_in_one_line_what_it_computes_and_nothing_about_hits(
    store: Path, program: Scripts
) -> None:
    text = """
        from get_nodes import Outer, Square
        print(Outer(square=Square(side=3)).get())
    """
    first = program(text).finish()
    name = furu_core.planning.short_name(Outer(square=Square(side=3)))
    assert first.out == "10\n"
    assert first.err.splitlines() == [
        f"get {name} missing -> create",
        f"get {furu_core.planning.short_name(Square(side=3))} missing -> create",
    ]
    second = program(text).finish()
    assert (second.out, second.err) == ("10\n", "")


def test_a_classs_own_script_computes_and_loads(store: Path, program: Scripts) -> None:
    text = """
        from furu_core import Furu

        class Own(Furu[list]):
            n: int = 3

            def _create(self):
                return [self] if self.n == 0 else list(range(self.n))

        print(Own().get(), Own(n=0).get() == [Own(n=0)])
    """
    assert program(text).finish().out == "[0, 1, 2] True\n"
    assert program(text).finish().out == "[0, 1, 2] True\n"


def test_p6_code_that_removes_its_own_folder_is_told_so_and_not_run_for_ever(
    furu_store: Path,
) -> None:
    runs = 0
    node = Does(hook="removes")

    def removes() -> str:
        nonlocal runs
        runs += 1
        shutil.rmtree(node.furu_dir)
        return "gone"

    nodes.hooks["removes"] = removes
    with pytest.raises(FuruSuperseded, match="was removed while it ran") as caught:
        node.get()
    assert "removes or renames furu_dir" in caught.value.hint
    assert runs == 2
    nodes.hooks["removes"] = lambda: "fine"
    assert node.get() == "fine"
