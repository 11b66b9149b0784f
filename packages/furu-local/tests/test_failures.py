"""P5 and P8: how failures are counted, what they end, and what is said about them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from local_nodes import Breaks

import furu_core
import furu_core.errors
from furu_core.errors import FuruRunError
from furu_core.executors import EventKind, FailureKind, RunState
from furu_local import LocalExecutor, run_local
from furu_testing import times, touch
from furu_testing.nodes import Above, Asks, Dies, Fails, Leaf, Spoils, Step, Sum, Unsure


def failed_run(roots: object, **options: object) -> FuruRunError:
    with pytest.raises(FuruRunError) as caught:
        run_local(roots, **options)  # type: ignore[arg-type]
    return caught.value


def test_a_node_that_fails_is_tried_again_as_often_as_it_may(store: Path, inside: str) -> None:
    nodes = [Fails(label=str(number), times=number) for number in (1, 2, 3)]
    with furu_core.use_settings(max_compute_retries=2):
        error = failed_run(nodes, worker=inside, max_workers=2, keep_going=True)
    assert [failure.hash for failure in error.failures] == [nodes[2].furu_hash]
    assert times(store) == {"1": 2, "2": 3, "3": 3}
    assert [node.exists() for node in nodes] == [True, True, False]


def test_the_option_retry_failed_goes_before_the_setting(store: Path, worker: str) -> None:
    """Without it a node has one attempt, and none in the next run."""
    node = Fails(label="bad", times=1)
    first = failed_run(node, worker=worker, max_workers=1, retry_failed=False)
    assert first.failures[0].kind is FailureKind.COMPUTE
    again = failed_run(node, worker=worker, max_workers=1, retry_failed=False)
    assert times(store) == {"bad": 1}
    assert again.failures[0].message == first.failures[0].message
    with furu_core.use_settings(retry_failed=False):
        assert run_local(node, worker=worker, max_workers=1, retry_failed=True).results() == 2


def test_the_summary_names_each_failed_node_its_last_line_and_its_log(
    store: Path, inside: str
) -> None:
    nodes = [Breaks(how="two lines"), Breaks(how="two lines", times=2)]
    with furu_core.use_settings(max_compute_retries=0):
        error = failed_run([Above(below=nodes[0]), nodes[1]], worker=inside, keep_going=True)
    text = str(error)
    for node, failure in zip(
        sorted(nodes, key=lambda node: node.furu_hash),
        sorted(error.failures, key=lambda failure: failure.hash),
        strict=True,
    ):
        assert f"Breaks({node.furu_hash[:6]}) ValueError: on purpose" in text
        assert failure.log is not None
        assert str(failure.log) in text
        assert "it fails" in failure.log.read_text()
    assert "run the same command again" in text


def test_a_failed_node_ends_the_run_and_nothing_new_begins(store: Path) -> None:
    bad = Fails(label="bad", times=9)
    later = Above(below=Above(below=Leaf(x=1)), n=1)
    with furu_core.use_settings(max_compute_retries=0):
        error = failed_run([bad, later], worker="inline")
    assert not later.exists()
    assert [failure.hash for failure in error.failures] == [bad.furu_hash]


def test_P7_with_keep_going_only_what_needs_a_failed_node_is_left_to_the_next_run(
    store: Path, inside: str
) -> None:
    bad = Fails(label="bad", times=1)
    needs = Sum(parts=(bad, Step(label="leaf")))
    other = Above(below=Above(below=Leaf(x=2)), n=1)
    roots = {"needs": needs, "other": other}
    with furu_core.use_settings(max_compute_retries=0):
        error = failed_run(roots, worker=inside, max_workers=2, keep_going=True)
        assert len(error.failures) == 1
        assert (needs.exists(), other.exists()) == (False, True)
        run = run_local(roots, worker=inside, max_workers=2)
    assert run.results() == {"needs": 3, "other": 3}
    assert run.status().computed == 2
    assert times(store) == {"bad": 2, "leaf": 1}


def test_P5_however_a_worker_ends_its_node_is_tried_again_as_lost(store: Path) -> None:
    lost = {
        "segfault": Dies(label="segfault", how="segfault", times=1),
        "exit": Dies(label="exit", how="exit", times=1),
        "exit in a thread": Dies(label="exit in a thread", how="exit in a thread", times=1),
        "close all": Breaks(how="close all", times=1),
    }
    # A child that comes back from a fork ends, and standard streams are not what a worker needs.
    not_lost = {how: Breaks(how=how, times=1) for how in ("fork", "close standard")}
    with furu_core.use_settings(max_compute_retries=0, max_lost_retries=1):
        run = run_local({**lost, **not_lost}, max_workers=2)
    assert run.results() == dict.fromkeys(lost, 2) | dict.fromkeys(not_lost, 1)
    names = {node.furu_hash: how for how, node in lost.items()}
    said = {
        names.get(event.hash): event.detail
        for event in run.events()
        if event.kind is EventKind.NODE_RETRIED
    }
    assert set(said) == set(lost)
    assert all("worker process" in text for text in said.values())


def test_P5_a_worker_that_is_terminated_costs_its_node_one_try_and_the_next_node_none(
    store: Path,
) -> None:
    """It computes no more, so it must not get another node on its way out."""
    node = Breaks(how="terminate", times=1)
    others = [Leaf(x=n) for n in range(3)]
    with furu_core.use_settings(max_compute_retries=0, max_lost_retries=1):
        run = run_local([node, *others], max_workers=1)
    assert run.results() == [2, 0, 1, 2]
    retried = [event.hash for event in run.events() if event.kind is EventKind.NODE_RETRIED]
    assert retried == [node.furu_hash]


def test_P5_an_odd_exception_is_a_failure_of_its_node_whose_tries_are_bounded(
    store: Path, worker: str
) -> None:
    said = {"system exit": "that is all", "memory": "no more", "generator exit": "GeneratorExit"}
    # One that interrupts itself is no failure of its code, and would go on for ever at no cost.
    nodes = {Breaks(how=how).furu_hash: how for how in (*said, "interrupt")}
    with furu_core.use_settings(max_compute_retries=1, max_lost_retries=2):
        error = failed_run(
            [Breaks(how=how) for how in nodes.values()],
            worker=worker,
            max_workers=1,
            keep_going=True,
        )
    assert times(store) == dict.fromkeys(said, 2) | {"interrupt": 3}
    kinds = {nodes[failure.hash]: failure.kind for failure in error.failures}
    assert kinds == dict.fromkeys(said, FailureKind.COMPUTE) | {"interrupt": FailureKind.LOST}
    for text in said.values():
        assert text in str(error)


def test_a_broken_rule_ends_the_run_and_with_keep_going_only_what_needs_the_node(
    store: Path, inside: str
) -> None:
    bad = Asks(label="bad")
    needs, other = Above(below=bad), Above(below=Above(below=Leaf(x=2)), n=1)
    failed_run([needs, other], worker="inline")
    assert not other.exists()
    failed_run([needs, other], worker=inside, max_workers=1, keep_going=True)
    assert other.exists()
    assert not needs.exists()
    assert times(store) == {"bad": 2}


MODULE = """
import os
from furu_core import Furu

if os.environ.get("BREAK") == "import":
    raise RuntimeError("no such thing here")

class Odd(Furu[int]):
    x: int
    def _create(self):
        return self.x
"""


def test_a_class_that_workers_cannot_import_harms_no_other(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P5: protocol; with keep_going other nodes are computed, also in the same worker."""
    (tmp_path / "odd_module.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    from odd_module import Odd  # type: ignore[import-not-found]

    monkeypatch.setenv("BREAK", "import")
    roots = [Leaf(x=1), Odd(x=1), Leaf(x=2), Sum(parts=(Odd(x=1), Leaf(x=3))), Odd(x=2), Leaf(x=4)]
    error = failed_run(roots, max_workers=1, keep_going=True)
    assert {failure.hash for failure in error.failures} == {
        Odd(x=1).furu_hash,
        Odd(x=2).furu_hash,
    }
    for failure in error.failures:
        assert failure.kind is FailureKind.PROTOCOL
        assert "no such thing here" in failure.message
        assert failure.log is not None
        assert "odd_module.py" in failure.log.read_text()
    assert all(Leaf(x=n).exists() for n in range(1, 5))


def test_workers_that_cannot_start_end_the_run_with_what_they_said(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P6: they are not started for ever."""
    (tmp_path / "sitecustomize.py").write_text("import os; os.write(2, b'bad site'); os._exit(9)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(FuruRunError, match="exit status 9") as caught:
        run_local(Leaf(x=1), max_workers=1)
    (log,) = {str(path) for path in store.glob("runs/*/worker-3.log")}
    assert log in str(caught.value)
    assert "bad site" in Path(log).read_text()


def test_a_bad_root_or_dependency_is_computed_once_more(store: Path, inside: str) -> None:
    unsure = [Unsure(label=str(n)) for n in range(2)]
    roots = [unsure[0], Above(below=unsure[1])]
    assert run_local(roots, worker=inside).results() == [1, 1]
    Above(below=unsure[1]).delete()
    for node in unsure:
        (node.furu_dir / ".furu.json").write_text("{}")  # no record any more
    assert run_local(roots, worker=inside).results() == [2, 2]


def test_a_dependency_that_goes_bad_during_the_run_is_computed_once_more(
    store: Path, inside: str
) -> None:
    """The asker waits for it, at no cost to its own tries."""
    root = Spoils(label="spoils", needs=Unsure(label="needed"))
    with furu_core.use_settings(max_compute_retries=0):
        run = run_local(root, worker=inside, max_workers=1)
    assert run.results() == 2
    assert EventKind.NODE_REOPENED in {event.kind for event in run.events()}


def test_a_dependency_that_stays_bad_fails_its_asker_and_ends(store: Path, inside: str) -> None:
    node = Unsure(label="needed")
    assert node.get() == 1
    touch(store, "bad-needed")
    with furu_core.use_settings(max_compute_retries=1):
        error = failed_run(Above(below=node), worker=inside, max_workers=1)
    assert times(store) == {"needed": 3}
    assert error.failures[0].error_type == "FuruValidationError"


def test_P8_a_run_that_failed_while_it_was_submitted_says_so_each_time_it_is_asked(
    store: Path,
) -> None:
    with furu_core.use_settings(max_compute_retries=0):
        run = LocalExecutor(worker="inline").submit(Fails(label="bad", times=5))
    assert run.status().state is RunState.FAILED
    for _ in range(2):
        with pytest.raises(FuruRunError, match=run.id):
            run.wait()
        with pytest.raises(FuruRunError, match=run.id):
            run.results()


def test_a_store_that_cannot_be_written_gives_one_clear_error(
    store: Path, tmp_path: Path, worker: str
) -> None:
    if os.getuid() == 0:
        (tmp_path / "file").touch()
        path = tmp_path / "file" / "store"  # even root cannot make a folder in a file
    else:
        (tmp_path / "sealed").mkdir(mode=0o500)
        path = tmp_path / "sealed" / "store"
    with (
        furu_core.use_settings(path=path),
        pytest.raises(furu_core.errors.FuruStoreError, match=r"FURU_PATH|folder"),
    ):
        run_local(Leaf(x=1), worker=worker)
