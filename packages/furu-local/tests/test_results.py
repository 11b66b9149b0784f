"""What a run computes, in which shape it gives it back, and what it does not compute again."""

from __future__ import annotations

from pathlib import Path

import pytest
from local_nodes import LosesDependency, Nests, Noisy, Wanders

import furu_core
from furu_core.errors import FuruUsageError
from furu_core.executors import EventKind, RunState
from furu_local import run_local
from furu_testing.nodes import Above, Leaf, Step, Sum


def test_results_come_in_the_shape_of_the_roots(store: Path, inside: str) -> None:
    leaves = [Leaf(x=n) for n in range(3)]
    assert run_local(leaves[0], worker=inside, max_workers=2).results() == 0
    assert run_local(iter(leaves), worker=inside).results() == [0, 1, 2]
    named = run_local({"a": leaves[1], "b": leaves[2]}, worker=inside).results()
    assert named == {"a": 1, "b": 2}
    assert run_local([], worker=inside).results() == []


def test_dependencies_are_computed_before_and_shared_ones_once(store: Path, inside: str) -> None:
    base = Leaf(x=1)
    middle = tuple(Sum(parts=(base,), tag=str(n)) for n in range(8))
    run = run_local(Sum(parts=middle), worker=inside, max_workers=2)
    assert run.results() == 8
    computed = [event.hash for event in run.events() if event.kind is EventKind.NODE_COMPUTED]
    assert sorted(computed) == sorted(
        {base.furu_hash, run.roots.items[0].furu_hash} | {node.furu_hash for node in middle}
    )
    assert computed[0] == base.furu_hash
    status = run.status()
    assert (status.state, status.total, status.computed) == (RunState.DONE, 10, 10)


def test_a_run_with_nothing_to_compute_starts_no_process(store: Path, worker: str) -> None:
    roots = [Sum(parts=tuple(Leaf(x=n) for n in range(5)), tag=str(n)) for n in range(2)]
    run_local(roots, worker="inline")
    again = run_local(roots, worker=worker, max_workers=2)
    assert again.status().computed == 0
    assert again.status().loaded == 2
    assert again.results() == [10, 10]
    assert not list(again.folder.glob("worker-*"))


def test_P2_a_config_of_ten_thousand_levels_that_share_all_below_reaches_a_worker_process(
    store: Path,
) -> None:
    """Neither recursion nor a look at each path: there are 2 to the power of 9,999."""
    node = Nests()
    for level in range(1, 10_000):
        node = Nests(inside=(node, node), level=level)
    node.inside[0].get()  # so that the worker gets the whole of it at once, and nothing else
    run = run_local(node, max_workers=1)
    assert run.results() == 9_999
    assert run.status().total == 2


def test_a_chain_deeper_than_python_recurses_is_computed(store: Path) -> None:
    chain: Leaf | Above = Leaf(x=0)
    for _ in range(1_100):
        chain = Above(below=chain, n=1)
    assert run_local(chain, worker="inline").results() == 1_100


def test_P6_a_node_that_was_handed_out_ahead_does_not_wait_behind_a_long_one(store: Path) -> None:
    # A chain needs one worker, and teaches the pool that nodes are brief. So that worker gets both of
    # the last ones, each of which waits for the other: somebody else has to take one over.
    chain: Leaf | Above = Leaf(x=0)
    for _ in range(12):
        chain = Above(below=chain, n=1)
    long = [
        Step(label=label, needs=(chain,), meets=(other,))
        for label, other in (("left", "right"), ("right", "left"))
    ]
    assert run_local(long, max_workers=2).results() == [13, 13]


def test_core_runs_it_by_its_name(store: Path) -> None:
    run = furu_core.run(Leaf(x=3), executor="local", worker="thread", max_workers=1)
    assert run.results() == 3


def test_what_a_node_writes_goes_to_its_log_and_from_the_calling_thread_to_the_console_as_well(
    store: Path, worker: str, capfd: pytest.CaptureFixture[str]
) -> None:
    node = Noisy()
    run_local(node, worker=worker, max_workers=1)
    log = (node.furu_dir / ".furu.log").read_text()
    out, err = capfd.readouterr()
    assert "printed\n" in log
    assert "printed to stderr\n" in log
    if worker != "thread":  # threads share the descriptors that native output goes to
        assert "native\n" in log
        assert "from a child\n" in log
        assert out == ("printed\n" if worker == "inline" else "")
    if worker == "inline":  # whose terminal a debugger needs
        assert all(f"{said}\n" in err for said in ("printed to stderr", "native", "from a child"))
    else:
        assert "printed" not in out + err


def test_a_node_that_changes_the_working_directory_harms_no_other(store: Path) -> None:
    (first, pid), (second, same) = run_local(
        [Wanders(n=n) for n in range(2)], max_workers=1
    ).results()
    assert first == second == str(Path.cwd())
    assert pid == same


def test_p7_a_dependency_that_is_removed_during_the_run_is_computed_again(store: Path) -> None:
    run = run_local(LosesDependency(leaf=Leaf(x=1)), worker="inline")
    assert run.results() == 1
    reopened = [event.hash for event in run.events() if event.kind is EventKind.NODE_REOPENED]
    assert reopened == [Leaf(x=1).furu_hash]


def test_p7_from_a_removed_working_directory_all_is_computed(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    root = Sum(parts=(Leaf(x=1), Leaf(x=2)))
    assert run_local(root, max_workers=1).results() == 3


def test_always_rerun_computes_each_matching_node_once_per_run(store: Path, inside: str) -> None:
    root = Sum(parts=(Leaf(x=1), Leaf(x=2)))
    run_local(root, worker=inside)
    with furu_core.use_settings(always_rerun=("ALL",)):
        run = run_local(root, worker=inside)
        assert run.status().computed == 3
        assert run.results() == 3
    computed = [event.hash for event in run.events() if event.kind is EventKind.NODE_COMPUTED]
    assert len(computed) == len(set(computed)) == 3


@pytest.mark.parametrize(
    "options",
    [
        {"max_workers": 0},
        {"max_workers": True},
        {"worker": "fiber"},
        {"window_size": "wide"},
        {"window_size": 0},
        {"limits": {"gpu": 0}},
        {"devices": {"gpu": 0}},
        {"devices": {"gpu": 1}, "worker": "thread"},
    ],
)
def test_options_that_make_no_sense_are_refused(store: Path, options: dict[str, object]) -> None:
    with pytest.raises(FuruUsageError, match=r"is|are|need"):
        run_local(Leaf(x=1), **options)  # type: ignore[arg-type]
    assert not list(store.iterdir())
