"""What a run computes, in which shape it gives it back, and what it does not compute again."""

from __future__ import annotations

from pathlib import Path

import pytest
from local_nodes import Above, Context, Leaf, Link, Noisy, Sum, Together, Value, Where

import furu_core
from furu_core.errors import FuruDependencyError, FuruRunError, FuruUsageError
from furu_core.executors import EventKind, RunState, read_events
from furu_local import LocalExecutor, run_local


def chain(length: int) -> Link:
    link = Link()
    for n in range(1, length):
        link = Link(below=link, n=n)
    return link


def test_results_come_in_the_shape_of_the_roots(store: Path, worker: str) -> None:
    leaves = [Leaf(x=n) for n in range(3)]
    assert run_local(leaves[0], worker=worker, max_workers=2).results() == 0
    assert run_local(leaves, worker=worker, max_workers=2).results() == [0, 1, 2]
    assert run_local(iter(leaves), worker=worker).results() == [0, 1, 2]
    named = run_local({"a": leaves[1], "b": leaves[2]}, worker=worker).results()
    assert named == {"a": 1, "b": 2}
    assert run_local([], worker=worker).results() == []


def test_values_come_back_equal_in_value_and_type(store: Path, worker: str) -> None:
    values = [(1, 2), {1: "a"}, 1, 1.0, True, b"x", None, Path("a"), {"k": [(), {3}]}]
    results = run_local([Value(x=value) for value in values], worker=worker).results()
    assert results == values
    assert [type(result) for result in results] == [type(value) for value in values]


def test_dependencies_are_computed_before_and_shared_ones_once(store: Path, worker: str) -> None:
    base = Leaf(x=1)
    middle = tuple(Sum(parts=(base,), tag=str(n)) for n in range(8))
    run = run_local(Sum(parts=middle), worker=worker, max_workers=2)
    assert run.results() == 8
    computed = [event.hash for event in run.events() if event.kind is EventKind.NODE_COMPUTED]
    assert sorted(computed) == sorted(
        {base.furu_hash, run.roots.items[0].furu_hash} | {node.furu_hash for node in middle}
    )
    assert computed[0] == base.furu_hash
    status = run.status()
    assert (status.state, status.total, status.computed) == (RunState.DONE, 10, 10)


def test_a_diamond_of_many_levels_costs_each_node_once(store: Path) -> None:
    node: Sum | Leaf = Leaf(x=1)
    for level in range(60):
        node = Sum(parts=(node, Above(below=node)), tag=str(level))
    run = run_local(node, worker="inline")
    assert run.status().total == 121
    assert run.results() == 2**60


def test_the_second_run_computes_nothing_and_starts_no_process(store: Path, worker: str) -> None:
    roots = [Sum(parts=tuple(Leaf(x=n) for n in range(5)), tag=str(n)) for n in range(2)]
    run_local(roots, worker=worker, max_workers=2)
    again = run_local(roots, worker=worker, max_workers=2)
    assert again.status().computed == 0
    assert again.status().loaded == 2
    assert again.results() == [10, 10]
    assert not list(again.folder.glob("worker-*"))


def test_a_chain_deeper_than_python_recurses_is_computed(store: Path) -> None:
    assert run_local(chain(2000), worker="inline").results() == 2000


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_chain_of_ten_thousand_is_computed_by_a_worker_process(store: Path) -> None:
    run = run_local(chain(10_000), max_workers=2)
    assert run.results() == 10_000
    assert run.status().computed == 10_000


def test_a_thousand_nodes_wide_are_computed_by_two_workers(store: Path) -> None:
    run = run_local([Leaf(x=n) for n in range(1000)], max_workers=2)
    assert run.results() == list(range(1000))
    assert run.status().computed == 1000


def test_layers_are_computed_by_two_workers(store: Path) -> None:
    layer: list[Leaf | Sum] = [Leaf(x=n) for n in range(10)]
    for level in range(10):
        layer = [
            Sum(parts=(layer[n], layer[n - 1], layer[n - 2]), tag=f"{level}-{n}") for n in range(10)
        ]
    run = run_local(layer, max_workers=2)
    assert sum(run.results()) == 45 * 3**10
    assert run.status().computed == 110


@pytest.mark.parametrize("worker", ["process", "thread"])
def test_nodes_are_computed_at_the_same_time(store: Path, tmp_path: Path, worker: str) -> None:
    nodes = [Together(n=n, of=3, folder=tmp_path) for n in range(3)]
    assert run_local(nodes, worker=worker, max_workers=3).results() == [0, 1, 2]


def test_a_brief_node_behind_a_long_one_is_computed_by_somebody_else(
    store: Path, tmp_path: Path
) -> None:
    # The first nodes teach the pool that nodes are brief, so it hands some out ahead. Each of the
    # last ones waits for the others, which ends only if none waits in the queue of another's worker.
    brief: list[Leaf | Together] = [Leaf(x=n) for n in range(60)]
    long = [Together(n=n, of=3, folder=tmp_path) for n in range(3)]
    run = run_local(brief + long, max_workers=3)
    assert run.results()[-3:] == [0, 1, 2]


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ("dfs", ["a0", "a1", "a", "b0", "b1", "b"]),
        (1, ["a0", "a1", "a", "b0", "b1", "b"]),
        ("bfs", ["a0", "a1", "b0", "b1", "a", "b"]),
        (2, ["a0", "a1", "b0", "b1", "a", "b"]),
    ],
)
def test_the_window_decides_how_many_roots_are_begun(
    store: Path, window: str | int, expected: list[str]
) -> None:
    nodes = {f"{name}{n}": Value(x=f"{name}{n}") for name in "ab" for n in range(2)}
    roots = [Sum(parts=(nodes[f"{name}0"], nodes[f"{name}1"]), tag=name) for name in "ab"]
    with pytest.raises(FuruRunError):  # texts have no sum, which changes nothing about the order
        run_local(roots, worker="inline", window_size=window, keep_going=True, retry_failed=False)
    (folder,) = (store / "runs").iterdir()
    names = {node.furu_hash: name for name, node in nodes.items()}
    names |= {root.furu_hash: root.tag for root in roots}
    order = [
        names[event.hash]
        for event in read_events(folder)
        if event.kind in (EventKind.NODE_COMPUTED, EventKind.NODE_FAILED)
    ]
    assert order == expected


def test_submit_returns_while_the_run_goes_on(store: Path) -> None:
    run = LocalExecutor(max_workers=2).submit([Leaf(x=n) for n in range(10)])
    assert run.wait(200) is run
    assert run.status().state is RunState.DONE
    assert run.results() == list(range(10))


def test_a_run_that_takes_longer_than_the_timeout_says_so(store: Path, tmp_path: Path) -> None:
    run = LocalExecutor().submit([Together(n=0, of=2, folder=tmp_path)])
    with pytest.raises(TimeoutError, match=run.id):
        run.wait(0.01)
    (tmp_path / "here-1").touch()
    assert run.wait(200).results() == [0]


def test_core_runs_it_by_its_name(store: Path) -> None:
    run = furu_core.run(Leaf(x=3), executor="local", worker="thread", max_workers=1)
    assert run.results() == 3


def test_what_a_node_writes_goes_to_its_log_only(
    store: Path, worker: str, capfd: pytest.CaptureFixture[str]
) -> None:
    node = Noisy()
    run_local(node, worker=worker)
    log = (node.furu_dir / ".furu" / "furu.log").read_text()
    out, err = capfd.readouterr()
    assert "printed\n" in log
    assert "printed to stderr\n" in log
    if worker != "thread":  # threads share the descriptors that native output goes to
        assert "native\n" in log
        assert "from a child\n" in log
        assert out == ""
    assert "printed" not in out + err


def test_nodes_know_as_whom_they_run(store: Path, worker: str) -> None:
    nodes = [Context(), Context(key="big")]
    assert run_local(nodes, worker=worker).results() == [
        ("local", "default", True),
        ("local", "big", True),
    ]
    assert not furu_core.in_executor()


def test_a_node_that_changes_the_working_directory_harms_no_other(store: Path) -> None:
    results = run_local([Where(n=n) for n in range(4)], max_workers=1).results()
    assert {folder for folder, _ in results} == {str(Path.cwd())}
    assert len({pid for _, pid in results}) == 1


def test_always_rerun_computes_each_matching_node_once_per_run(store: Path, worker: str) -> None:
    root = Sum(parts=(Leaf(x=1), Leaf(x=2)))
    run_local(root, worker=worker)
    with furu_core.use_settings(always_rerun=("ALL",)):
        run = run_local(root, worker=worker)
        assert run.status().computed == 3
        assert run.results() == 3
    computed = [event.hash for event in run.events() if event.kind is EventKind.NODE_COMPUTED]
    assert len(computed) == len(set(computed)) == 3


def test_roots_that_are_no_furu_objects_are_named_by_their_place(store: Path) -> None:
    with pytest.raises(FuruDependencyError, match=r"roots\[1\]"):
        run_local([Leaf(x=1), 7])


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
    assert not store.exists()
