"""How many nodes of a kind are computed at once, and which device each of them sees."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from local_nodes import Sees

from furu_core.errors import FuruExecutorError, FuruRunError, FuruUsageError
from furu_local import LocalExecutor, _executor, _processors, run_local
from furu_local._devices import Slot, resolve_devices
from furu_local._process_pool import Launch
from furu_local._processors import THREAD_VARIABLES
from furu_testing import Mark, await_mark, let_go, noted, read_marks, times, wait_until
from furu_testing.nodes import Leaf, Step


def one_after_the_other(marks: list[Mark]) -> bool:
    """Whether none of these computations began before the one before it had ended."""
    return all(a.ended is not None and a.ended <= b.began for a, b in pairwise(marks))


def test_no_more_nodes_of_a_spec_key_are_computed_than_its_limit(store: Path) -> None:
    limited = [Step(label=f"db-{n}", key="db", waits=True) for n in range(3)]
    others = [Step(label=f"other-{n}") for n in range(10)]
    executor = LocalExecutor(worker="thread", max_workers=3, limits={"db": 1})
    run = executor.submit([*limited, *others])
    try:
        await_mark(store, "db-0")
        wait_until("the others", lambda: all(other.exists() for other in others))
        assert set(times(store)) == {"db-0", *(other.label for other in others)}
    finally:
        let_go(store)
    assert run.results() == [1] * 13


def test_a_limit_holds_for_brief_nodes_which_are_else_handed_out_ahead(store: Path) -> None:
    run_local([Step(label=str(n)) for n in range(25)], max_workers=2, limits={"default": 1})
    marks = read_marks(store)
    assert len(marks) == 25
    assert one_after_the_other(marks)


def test_each_device_is_used_by_one_node_at_a_time_which_sees_no_other(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within what the user allows, all of which a node without a device sees."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6,7")
    nodes = [Sees(label=f"gpu-{n}", key="gpu", meets=(f"gpu-{1 - n}",)) for n in range(2)]
    nodes += [Sees(label=f"gpu-{n}", key="gpu") for n in range(2, 6)]
    run_local([*nodes, Sees(label="plain")], max_workers=3, devices={"gpu": ["0", "2"]})
    seen: dict[str, list[Mark]] = {}
    for mark in read_marks(store):
        seen.setdefault(noted(store, f"sees-{mark.label}"), []).append(mark)
    assert set(seen) == {"5", "7", "5,6,7"}
    assert [mark.label for mark in seen.pop("5,6,7")] == ["plain"]
    # A device has one process, and a process one device.
    first, second = ({mark.pid for mark in marks} for marks in seen.values())
    assert len(first) == len(second) == 1
    assert first != second
    assert all(one_after_the_other(marks) for marks in seen.values())


def test_p6_a_device_whose_worker_cannot_start_ends_the_run_though_others_compute(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever those compute meanwhile, it is not tried for ever."""
    ends = "import os\nif os.environ.get('CUDA_VISIBLE_DEVICES') == '7': os._exit(9)\n"
    (tmp_path / "sitecustomize.py").write_text(ends)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    first = Leaf(x=0)
    nodes = [Step(label="gpu", key="gpu", needs=(first,)), *(Leaf(x=x) for x in range(400))]
    with pytest.raises(FuruRunError, match="exit status 9"):
        run_local(nodes, max_workers=2, devices={"gpu": ["7"]})
    # Two without a device, each of which comes up once, and three with it after the last of them.
    assert len(list(store.glob("runs/*/worker-*.log"))) <= 2 + 3 * 3


def test_devices_count_as_workers(store: Path) -> None:
    nodes = [Step(label=f"gpu-{n}", key="gpu", waits=True) for n in range(2)]
    executor = LocalExecutor(max_workers=1, devices={"gpu": 2})
    run = executor.submit([*nodes, Step(label="plain")])
    try:
        await_mark(store, "gpu-0")
        # Whoever would compute beside it is started with the first, each with a log of its own.
        assert [log.name for log in run.folder.glob("worker-*")] == ["worker-1.log"]
    finally:
        let_go(store)
    assert run.results() == [1, 1, 1]
    assert one_after_the_other(read_marks(store))


@pytest.mark.parametrize(
    ("request_", "visible", "expected"),
    [
        (2, None, ["0", "1"]),
        (2, "4,6,7", ["4", "6"]),
        (["0", "2"], "4,6,7", ["4", "7"]),
        ([1], "4,6", ["6"]),
        (["GPU-aa"], None, ["GPU-aa"]),
        (["GPU-aa"], "GPU-aab,GPU-cc", ["GPU-aa"]),
        (1, "GPU-aab,GPU-cc", ["GPU-aab"]),
        (["0,1", "2,3"], None, ["0,1", "2,3"]),
        (["0,1"], "4,6", ["4,6"]),
        (["MIG-x"], "0,1", ["MIG-x"]),
        (1, "3,-1,4", ["3"]),
    ],
)
def test_devices_count_within_what_the_user_allows(
    request_: Any, visible: str | None, expected: list[str]
) -> None:
    slots = resolve_devices({"gpu": request_}, visible)["gpu"]
    assert [slot.visible for slot in slots] == expected


def test_a_device_named_twice_takes_two_nodes_at_a_time() -> None:
    slots = resolve_devices({"gpu": ["0", "0"], "other": ["0"]}, None)
    assert slots["gpu"] == (Slot("0", 0), Slot("0", 1))
    assert slots["other"] == (Slot("0", 0),)


@pytest.mark.parametrize(
    ("request_", "visible"),
    [(3, "0,1"), (1, ""), (1, "-1"), (["2"], "0,1"), (["GPU-x"], "GPU-aa"), (2, "0,-1,1")],
)
def test_more_devices_than_allowed_is_an_error_that_names_both(request_: Any, visible: str) -> None:
    with pytest.raises(FuruUsageError) as caught:
        resolve_devices({"gpu": request_}, visible)
    assert repr(request_) in str(caught.value)
    assert f"CUDA_VISIBLE_DEVICES={visible!r}" in str(caught.value)


@pytest.mark.parametrize("option", ["limits", "devices"])
def test_a_misspelt_spec_key_is_an_error_that_names_the_right_one_also_below_what_is_done(
    store: Path, option: str
) -> None:
    deep = Step(label="deep", key="gpu")
    root = Step(label="root", needs=(Step(label="middle", needs=(deep,)),))
    for _ in range(2):  # the second time the plan has the root alone
        with pytest.raises(FuruUsageError) as caught:
            run_local(root, worker="process", **{option: {"default": 1, "GPUs": 1}})  # type: ignore[arg-type]
        assert f"{option} are given for the spec key 'GPUs'" in str(caught.value)
        assert "did you mean 'gpu'?" in str(caught.value)
        assert not (store / "runs").exists()
        for node in (deep, root.needs[0], root):
            node.get()


def test_a_spec_key_that_no_node_has_and_that_is_near_none_is_warned_of(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One set of options may serve runs with other nodes; a key that has its own entry is none meant."""
    node = Step(label="a", key="gpu")
    run_local(node, worker="inline", limits={"cpu": 1, "gpus": 1, "gpu": 1, "default": 2})
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said == [
        f"limits are given for the spec key {key!r}, which no node of this run has; the spec keys "
        "of its nodes are 'gpu'"
        for key in ("cpu", "gpus")
    ]


@pytest.mark.parametrize("request_", [0, -1, True, "01", [], [""], [True], [1.5], ["-1"], None])
def test_what_is_no_list_of_devices_is_refused(request_: Any) -> None:
    with pytest.raises(FuruUsageError, match="give a number of devices"):
        resolve_devices({"gpu": request_}, None)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (
            {
                "max_workers": "3",
                "worker": "thread",
                "window_size": "4",
                "keep_going": "1",
                "limits": "gpu=1,db=2",
                "retry_failed": "no",
                "progress": "off",
            },
            {
                "max_workers": 3,
                "worker": "thread",
                "window_size": 4,
                "keep_going": True,
                "limits": {"gpu": 1, "db": 2},
                "retry_failed": False,
                "progress": False,
            },
        ),
        (
            {"devices": "gpu=0+1,big=2,one=1+"},
            {"devices": {"gpu": ["0", "1"], "big": 2, "one": ["1"]}},
        ),
    ],
    ids=["most", "devices"],
)
def test_options_of_the_command_line_are_read(
    given: dict[str, str], read: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    executor = LocalExecutor.from_options(given)
    assert {name: getattr(executor, name) for name in given} == read


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("max_worker", "3", "max_workers"),
        ("max_workers", "many", "whole number"),
        ("keep_going", "maybe", "1 or 0"),
        ("limits", "gpu", "db=1"),
        ("window_size", "deep", "dfs"),
        ("colour", "red", "known: "),
    ],
)
def test_an_option_that_cannot_be_read_is_named(name: str, value: str, said: str) -> None:
    with pytest.raises(FuruExecutorError, match=said) as caught:
        LocalExecutor.from_options({name: value})
    assert repr(name) in str(caught.value)


LEAVES = [Step(label=f"leaf-{n}", key="gpu" if n < 3 else "default") for n in range(6)]


@pytest.mark.parametrize(
    ("roots", "options", "share"),
    [
        (LEAVES, {"max_workers": 4}, "3"),
        (LEAVES, {"max_workers": 100}, "2"),  # six at once
        (LEAVES, {"max_workers": 100, "limits": {"gpu": 1}}, "3"),
        (
            LEAVES,
            {"max_workers": 100, "devices": {"gpu": 1}, "limits": {"default": 1, "gpu": 3}},
            "6",
        ),
        ([Step(label="above", needs=(Step(label="below"),))], {"max_workers": 4}, None),
        (LEAVES, {"max_workers": 1}, None),
    ],
)
def test_processors_are_divided_among_the_workers_that_compute_at_once(
    store: Path, monkeypatch: pytest.MonkeyPatch, roots: Any, options: Any, share: str | None
) -> None:
    asked: list[Launch] = []

    def pool(_workers: int, launch: Launch, *_: Any) -> None:
        asked.append(launch)
        raise FuruExecutorError("what they are told is enough")

    def submit(**options: Any) -> None:
        with pytest.raises(FuruExecutorError, match="is enough"):
            LocalExecutor(progress=False, **options).submit(roots)

    monkeypatch.setattr(_executor, "ProcessPool", pool)
    monkeypatch.setattr(_processors, "processor_count", lambda: 12)
    for variable in THREAD_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    submit(**options)
    monkeypatch.setenv("MKL_NUM_THREADS", "5")  # a choice of the user, also for those not named
    submit(**options)
    divided, chosen = (
        {launch.environment.get(variable) for variable in THREAD_VARIABLES} for launch in asked
    )
    assert (divided, chosen) == ({share}, {None, "5"})
