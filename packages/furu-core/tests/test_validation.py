"""Artifacts that are damaged or invalid: computed again once, never lost when they are good."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import checked_nodes as nodes
import pytest
from checked_nodes import Judged, Loads, LoadsItself, LooksAtItself, Unjudged
from records import attempts_of, told

import furu_core
from furu_core import Furu, NodeState
from furu_core._codecs import _store
from furu_core.errors import FuruInvalidDependency, FuruValidationError
from furu_core.planning import has_validator, invalidate_if_bad, short_name
from furu_core.workers import Outcome, run_node

EXISTING = [Judged, Unjudged]


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    nodes.calls.clear()
    nodes.verdict.clear()
    yield
    nodes.calls.clear()
    nodes.verdict.clear()


@pytest.fixture(autouse=True)
def results_have_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """As large results have, since a small one cannot be damaged apart from its record."""
    monkeypatch.setattr(_store, "_SMALL_BYTES", -1)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def garble(path: Path) -> None:
    path.write_bytes(b"x" * path.stat().st_size)


def empty_record(node: Furu[Any]) -> None:
    (node.furu_dir / ".furu.json").write_bytes(b"")


DAMAGE: dict[str, Callable[[Furu[Any]], object]] = {
    "a truncated file": lambda node: truncate(node.furu_dir / "file.txt"),
    "a truncated result": lambda node: truncate(node.furu_dir / ".furu.result.json"),
    "a missing file": lambda node: (node.furu_dir / "file.txt").unlink(),
    "a missing result": lambda node: (node.furu_dir / ".furu.result.json").unlink(),
    "a missing record": lambda node: (node.furu_dir / ".furu.json").unlink(),
    "an empty record": empty_record,
    "a folder in place of a file": lambda node: (
        (node.furu_dir / "file.txt").unlink(),
        (node.furu_dir / "file.txt").mkdir(),
    ),
}


def spoil(node: Furu[Any], how: str) -> None:
    """Make the artifact of a computed node bad."""
    if how == "False":
        nodes.verdict["a"] = [False, False]  # at load, and once more under the claim
    elif how == "a garbled result":
        garble(node.furu_dir / ".furu.result.json")
    elif how == "raising":
        nodes.verdict["a"] = [OSError("gone"), ValueError("still bad")]
    else:
        DAMAGE[how](node)


BAD = [(Judged, "False"), (Judged, "raising"), *((Unjudged, how) for how in DAMAGE)]

# What the sizes in the manifest do not show, so that it is met by whoever loads the result.
SHOWN_BY_LOADING = [(Unjudged, "a garbled result")]


@pytest.mark.parametrize(("cls", "how"), [*BAD, *SHOWN_BY_LOADING])
def test_a_bad_artifact_is_computed_again_once_interactively(
    store: Path, cls: Any, how: str
) -> None:
    assert cls().get() == "value 1"
    spoil(cls(), how)
    assert cls().get() == "value 2"
    assert cls().get() == "value 2"
    assert nodes.calls.count("create") == 2
    assert not list(store.rglob(f".{cls().furu_hash}.*")), (
        "nothing of the bad one stays beside the new one"
    )


@pytest.mark.parametrize(("cls", "how"), [*BAD, *SHOWN_BY_LOADING])
def test_a_bad_dependency_is_moved_aside_in_executors_and_named(
    store: Path, session: Any, cls: Any, how: str
) -> None:
    """It costs the asker none of its retries: that is what the outcome is for."""
    dependency, node = cls(), Loads(of=cls())
    with session():
        assert run_node(dependency).outcome is Outcome.COMPUTED
        spoil(dependency, how)
        result = run_node(node)
        assert result.outcome is Outcome.INVALID_DEPENDENCY, result
        assert result.culprit == dependency.furu_hash
        assert result.failure.error_type == "FuruInvalidDependency"
        assert short_name(dependency) in result.failure.message
        assert not dependency.exists()
        assert not node.exists()
        assert dependency.status() is NodeState.ABSENT
        assert node.status() is NodeState.ABSENT
        (aside,) = store.rglob(f".{dependency.furu_hash}.*.invalid")
        assert aside.is_dir(), "whoever wants to know can look at it"
        assert run_node(dependency).outcome is Outcome.COMPUTED
        assert run_node(node).outcome is Outcome.COMPUTED
    assert node.get() == "loaded value 2"
    assert not list(store.rglob("*.invalid"))


def test_swallowing_the_error_of_a_bad_dependency_changes_nothing(
    store: Path, session: Any
) -> None:
    dependency = Unjudged()
    dependency.get()
    DAMAGE["a missing file"](dependency)
    node = Loads(of=dependency, swallow=True)
    with session():
        result = run_node(node)
    assert result.outcome is Outcome.INVALID_DEPENDENCY
    assert result.culprit == dependency.furu_hash
    assert not node.exists()


@pytest.mark.parametrize("how", DAMAGE)
def test_a_root_that_is_bad_is_computed_again_by_its_own_worker(
    store: Path, session: Any, how: str
) -> None:
    Unjudged().get()
    DAMAGE[how](Unjudged())
    with session():
        assert run_node(Unjudged()).outcome is Outcome.COMPUTED
        assert run_node(Unjudged()).outcome is Outcome.LOADED
    assert Unjudged().get() == "value 2"


@pytest.mark.parametrize(("cls", "how"), BAD)
def test_a_planner_moves_a_bad_artifact_aside_and_leaves_a_good_one(
    store: Path, cls: Any, how: str
) -> None:
    cls().get()
    assert invalidate_if_bad(cls()) is False
    assert cls().exists()
    spoil(cls(), how)
    assert invalidate_if_bad(cls()) is True
    assert not cls().exists()
    assert cls().status() is NodeState.ABSENT
    assert cls().get() == "value 2"
    assert has_validator(Judged)
    assert not has_validator(Unjudged)


def test_what_somebody_repaired_meanwhile_is_not_lost(store: Path, session: Any) -> None:
    """It was bad when it was loaded and is good when the claim is there: then it stays."""
    assert Judged().get() == "value 1"
    nodes.verdict["a"] = [False]
    assert Judged().get() == "value 1"
    nodes.verdict["a"] = [ValueError("for a moment")]
    assert invalidate_if_bad(Judged()) is False
    assert Judged().exists()
    nodes.verdict["a"] = [False]
    with session():
        run_node(Loads(of=Judged()))
    assert Judged().exists()
    assert Judged().get() == "value 1"
    assert nodes.calls.count("create") == 1


def test_an_artifact_that_is_being_computed_again_is_waited_for(store: Path) -> None:
    """Of several that notice damage one repairs, and nobody moves the new artifact aside."""
    from concurrent.futures import ThreadPoolExecutor

    Unjudged().get()
    DAMAGE["a truncated file"](Unjudged())
    with ThreadPoolExecutor(4) as pool:
        values = {future.result() for future in [pool.submit(Unjudged().get) for _ in range(8)]}
    assert values == {"value 2"}
    assert nodes.calls.count("create") == 2


@pytest.mark.parametrize("verdict", [False, 0, RuntimeError("no good")])
def test_a_fresh_result_that_is_invalid_is_not_published(
    store: Path, session: Any, verdict: object
) -> None:
    nodes.verdict["a"] = verdict
    with pytest.raises(FuruValidationError, match="fresh result") as caught:
        Judged().get()
    assert caught.value.hash == Judged().furu_hash
    assert caught.value.hint
    assert caught.value.log is not None
    assert not Judged().exists()
    assert Judged().status() is NodeState.FAILED
    if isinstance(verdict, Exception):
        assert "RuntimeError: no good" in caught.value.message
        assert "Traceback" in caught.value.log.read_text()
    with session():
        result = run_node(Judged())
    assert result.outcome is Outcome.FAILED
    assert result.failure.error_type == "FuruValidationError"
    nodes.verdict["a"] = True
    assert Judged().get().startswith("value")


@pytest.mark.parametrize("verdict", [True, None, 1])
def test_true_and_none_mean_valid(store: Path, verdict: object) -> None:
    nodes.verdict["a"] = verdict
    assert Judged().get() == "value 1"
    assert Judged().get() == "value 1"


def test_a_node_that_is_valid_when_fresh_and_never_after_ends_in_an_error(store: Path) -> None:
    nodes.verdict["a"] = [True, *[False] * 20]
    with pytest.raises(FuruValidationError, match="just computed"):
        Judged().get()


@pytest.mark.parametrize("how", ["get", "get twice", "load", "exists", "file"])
def test_a_validate_method_may_use_what_it_judges(store: Path, session: Any, how: str) -> None:
    node = LooksAtItself(how=how)
    with session():
        assert run_node(node).outcome is Outcome.COMPUTED
        assert run_node(Loads(of=node)).outcome is Outcome.COMPUTED
        assert node.get() == [1, 2, 3]
    assert node.get() == [1, 2, 3]
    assert not invalidate_if_bad(node)
    (node.furu_dir / "numbers.txt").write_text("3 2 1")  # of the same size: the manifest is content
    if how == "file":
        assert invalidate_if_bad(node)
    assert node.get() == [1, 2, 3]


def test_a_validate_method_may_use_a_load_of_its_class(store: Path) -> None:
    assert LoadsItself().get() == 42
    assert LoadsItself().get() == 42
    (LoadsItself().furu_dir / "number.txt").write_text("43")
    assert LoadsItself().get() == 42


def test_why_an_artifact_was_bad_is_on_record_and_in_the_log(
    store: Path, session: Any, caplog: pytest.LogCaptureFixture
) -> None:
    Judged().get()
    nodes.verdict["a"] = [ValueError("bad pixel"), ValueError("bad pixel")]
    with session(), pytest.raises(FuruInvalidDependency, match="bad pixel"):
        Judged().get()
    (folder,) = attempts_of(store, Judged())
    record = told(folder)
    assert record["status"] == "invalid"
    assert "bad pixel" in record["ended"]["message"]
    raised = [entry for entry in caplog.records if entry.exc_info]
    assert raised, "the traceback of _validate"
    assert "_validate of Judged(" in raised[0].getMessage()


def test_hits_do_not_validate_more_than_once(store: Path) -> None:
    Judged().get()
    nodes.calls.clear()
    Judged().get()
    assert nodes.calls == ["validate"]


def test_invalid_artifacts_stay_computable_with_retry_failed_off(store: Path) -> None:
    Unjudged().get()
    DAMAGE["a missing file"](Unjudged())
    with furu_core.use_settings(retry_failed=False):
        assert Unjudged().get() == "value 2"
