"""How many nodes of a kind are computed at once, and which device each of them sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from local_nodes import Alone, Gpu, Leaf, Sum

from furu_core.errors import FuruExecutorError, FuruUsageError
from furu_local import LocalExecutor, run_local
from furu_local._devices import Slot, resolve_devices
from furu_local._options import PARSERS
from furu_plan.runs import parse_options


@pytest.mark.parametrize("worker", ["process", "thread"])
def test_no_more_nodes_of_a_spec_key_are_computed_than_its_limit(
    store: Path, tmp_path: Path, worker: str
) -> None:
    nodes = [Alone(n=n, key="db", folder=tmp_path) for n in range(6)]
    others = [Leaf(x=n) for n in range(20)]
    run = run_local([*nodes, *others], worker=worker, max_workers=3, limits={"db": 1})
    assert run.results() == [*range(6), *range(20)]


def test_a_limit_holds_for_brief_nodes_that_are_handed_out_ahead(
    store: Path, tmp_path: Path
) -> None:
    brief = [Leaf(x=n) for n in range(50)]
    nodes = [Alone(n=n, secs=0.001, folder=tmp_path) for n in range(30)]
    run_local([*brief, *nodes], max_workers=3, limits={"default": 1})


def test_each_device_is_used_by_one_node_at_a_time_which_sees_no_other(
    store: Path, tmp_path: Path
) -> None:
    nodes = [Gpu(n=n, folder=tmp_path, of=2) for n in range(6)]
    results = run_local([*nodes, Leaf(x=1)], max_workers=4, devices={"gpu": 2}).results()
    seen = [result.split() for result in results[:6]]
    assert {device for device, _ in seen} == {"0", "1"}
    # A device has one process, and a process one device.
    assert len({pid for _, pid in seen}) == 2
    assert len({(device, pid) for device, pid in seen}) == 2


def test_nodes_without_devices_see_what_the_user_sees(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    nodes = [Gpu(n=0), Gpu(n=1, key="default")]
    seen = run_local(nodes, devices={"gpu": ["1"]}, max_workers=2).results()
    assert [text.split()[0] for text in seen] == ["7", "5,7"]


def test_devices_count_as_workers(store: Path, tmp_path: Path) -> None:
    nodes = [Alone(n=n, folder=tmp_path) for n in range(3)]
    gpu = [Gpu(n=n, of=1) for n in range(3)]
    run = run_local(Sum(parts=tuple(nodes)), max_workers=1, devices={"gpu": 2})
    assert run.results() == 3
    assert len(run_local(gpu, max_workers=1, devices={"gpu": 2}).results()) == 3


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


@pytest.mark.parametrize("request_", [0, -1, True, "01", [], [""], [True], [1.5], ["-1"], None])
def test_what_is_no_list_of_devices_is_refused(request_: Any) -> None:
    with pytest.raises(FuruUsageError, match="give a number of devices"):
        resolve_devices({"gpu": request_}, None)


def test_options_of_the_command_line_are_read() -> None:
    assert parse_options(
        "local",
        PARSERS,
        {
            "max_workers": "3",
            "worker": "thread",
            "window_size": "4",
            "keep_going": "1",
            "limits": "gpu=1,db=2",
            "devices": "gpu=0+1,big=2,one=1+",
            "retry_failed": "no",
            "progress": "off",
        },
    ) == {
        "max_workers": 3,
        "worker": "thread",
        "window_size": 4,
        "keep_going": True,
        "limits": {"gpu": 1, "db": 2},
        "devices": {"gpu": ["0", "1"], "big": 2, "one": ["1"]},
        "retry_failed": False,
        "progress": False,
    }


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
