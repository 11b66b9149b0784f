"""P1 and P7: what the first furu stored, and what 1.0 stores, every later furu reads; see nodes/golden_maker.py."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import golden_nodes
import kept_nodes
import pytest
from format1 import store_of_format_1
from golden_nodes import Failing, Given, Golden, Loading, Over, Queued
from records import attempts_of, told

from furu_core import Furu, NodeState, use_settings, why
from furu_core._attempts import _submissions
from furu_core._status import _stored_nodes
from furu_core._upkeep import _verify
from furu_core.executors import Submission
from furu_core.planning import StateReader
from furu_testing import Host, KillAtEvent

STORES = Path(__file__).parent / "golden"
NODES = Path(__file__).parent / "nodes"
THOROUGH = bool(os.environ.get("TEST_THOROUGH"))
MANY = 30  # times all kinds
STRETCH = 300 if THOROUGH else 1000  # changes or listings of files
Unpack = Callable[[int], None]


@pytest.fixture
def unpack(store: Path, monkeypatch: pytest.MonkeyPatch) -> Unpack:
    """Makes a golden store the current one, with classes that compute nothing."""

    def into_store(number: int) -> None:
        with tarfile.open(STORES / f"format{number}.tar.gz") as archive:
            archive.extractall(store, filter="data")
        for cls in (Golden, Over, Loading, Given):
            monkeypatch.setattr(cls, "_create", never)

    return into_store


def never(self: Furu[Any]) -> None:
    raise AssertionError(f"{self} is computed anew")


def results(number: int) -> list[Any]:
    """The nodes that have results in a golden store."""
    some = [node for n in range(2) for node in golden_nodes.nodes_of(n)]
    others = [Golden(kind="bytes", n=9), Failing(how="raises", n=7)]
    given = [Given()] if number > 1 else []
    return [*some, *others, *golden_nodes.run_by_worker(), *given]


def assert_loaded_equal(number: int) -> None:
    for node in results(number):
        assert node.status() is NodeState.DONE, node
        assert golden_nodes.same(node.load_existing(), node.value()), node
        assert golden_nodes.same(node.get(), node.value()), node


def assert_verified(number: int) -> None:
    done = _verify.verify(deep=True)
    assert (done.artifacts, done.damage, done.unreadable) == (len(results(number)), [], [])
    assert done.notes == []


@pytest.mark.parametrize("number", [1, 2])
def test_p1_each_result_of_a_golden_store_is_loaded_as_it_is(
    number: int, unpack: Unpack, store: Path
) -> None:
    unpack(number)
    before = files(store)
    assert_loaded_equal(number)
    assert_verified(number)
    assert files(store) == before


def files(store: Path) -> dict[str, bytes]:
    """All files of the artifacts, and their contents."""
    return {
        str(path.relative_to(store)): os.fsencode(os.readlink(path))
        if path.is_symlink()
        else path.read_bytes()
        for path in (store / "data").rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_p1_a_golden_store_of_format_1_is_upgraded_without_computing(
    unpack: Unpack, store: Path
) -> None:
    unpack(1)
    done = kept_nodes.upgrade()
    assert done == {
        "artifacts": len(results(1)),
        "attempts": 6,
        "new": 0,
        "damaged": {},
        "alive": [],
    }
    assert not [path for path in store.rglob("*") if path.name in (".furu", ".attempts")]
    assert_loaded_equal(1)
    assert_verified(1)
    again = kept_nodes.upgrade()
    assert (again["artifacts"], again["attempts"], again["new"]) == (0, 0, len(results(1)))


@pytest.mark.parametrize("number", [1, 2])
def test_p7_what_failed_was_lost_or_is_queued_in_a_golden_store_is_known(
    number: int, unpack: Unpack, store: Path
) -> None:
    unpack(number)
    kept_nodes.upgrade()
    kinds = {"raises": "compute", "interrupted": "cancelled", "unstorable": "protocol"}
    for how in golden_nodes.FAILED:
        node = Failing(how=how)
        (folder,) = attempts_of(store, node)
        ended = told(folder)["ended"]
        assert ended["kind"] == kinds[how]
        assert (folder / ".furu.log").read_text().startswith("fails now\n")
    assert ended["message"].startswith("Failing(502f88) has no result: result is of type generator")
    assert Failing(how="unstorable").status() is NodeState.FAILED
    job = Submission("slurm-dag", "token:5", 0)
    assert _submissions.submission_of(Queued()) == job
    assert _submissions.submission_of(Failing(how="raises")) == job
    earlier = Failing(how="raises", n=7).provenance()["earlier"]
    assert [(one["number"], one["status"]) for one in earlier] == [(1, "failed"), (2, "failed")]
    for n, saved in enumerate(["half", "halfagain"]):
        node = Failing(how="saves", n=n)
        began_with = [told(folder).get("checkpoint", "") for folder in attempts_of(store, node)]
        assert began_with == ["", "49792c01d2603f7f"][: n + 1]
        assert node.get() == node.value()
        assert (node.furu_dir / ".furu.log").read_text() == f"{saved}again\n"
        assert len(node.provenance()["earlier"]) == n + 1


# What differs between any two computations of one node.
VARIES = [
    re.compile(rb'("(?:token)":)"[^"]*"'),
    re.compile(rb'("(?:started|ended|time|wall_secs|cpu_secs|\w+_peak_bytes|pid)":)[0-9.e-]+'),
    re.compile(rb"()\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+"),
]


def test_what_tests_make_of_format_2_is_what_the_first_furu_wrote(
    unpack: Unpack, store: Path
) -> None:
    unpack(1)
    first = alike(store, VARIES)
    shutil.rmtree(store)
    unpack(2)
    shutil.rmtree(Given().furu_dir.parent)
    store_of_format_1(store, provenance_in(first))
    made = alike(store, VARIES)
    assert made == first


def test_p9_an_upgrade_keeps_all_that_the_first_furu_told_of_results(
    unpack: Unpack, store: Path
) -> None:
    unpack(1)
    first = alike(store, [])
    kept_nodes.upgrade()
    store_of_format_1(store, provenance_in(first))
    upgraded = alike(store, [])
    killed = {
        name
        for name, data in first.items()
        if b'"status":"running"' in data and name.endswith("record.json")
    }
    assert len(killed) == 3
    names = {name for name in first | upgraded if first.get(name) != upgraded.get(name)}
    assert names == killed


def alike(store: Path, varies: list[re.Pattern[bytes]]) -> dict[str, bytes]:
    """The files of a store of format 1, without what varies and without the order of a folder's listing."""
    found = files(store)
    for name, data in found.items():
        if name.endswith("manifest.json"):
            manifest = json.loads(data)
            manifest["files"] = dict(sorted(manifest["files"].items()))
            data = json.dumps(manifest, separators=(",", ":")).encode("ascii")
        if ".attempts/" in name and name.endswith(".log"):
            data, _, _ = data.partition(b"Traceback")  # the lines of another furu
        for pattern in varies:
            data = pattern.sub(rb"\1", data)
        found[name] = data
    return found


def provenance_in(first: dict[str, bytes]) -> bytes:
    """The text that the first furu put into each artifact."""
    (text,) = {
        data.split(b',"provenance":')[1] for data in first.values() if b',"provenance":' in data
    }
    return text[:-1]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("host")
    modules = ["kept_nodes", "golden_nodes", "pandas", "pyarrow.parquet"]
    with Host(folder, modules=modules, sys_path=[NODES]) as started:
        yield started


@pytest.mark.slow
def test_p7_a_store_of_1000_nodes_is_upgraded_while_the_upgrade_is_killed_and_others_compute(
    unpack: Unpack, store: Path, host: Host
) -> None:
    """No result is lost, and none is computed anew."""
    golden_nodes.fill(2, MANY - 2)  # beside those that the first furu made itself
    store_of_format_1(store)
    unpack(1)
    stored = [*results(1), *(node for n in range(2, MANY) for node in golden_nodes.nodes_of(n))]
    assert len(stored) >= 1000
    for node in stored:
        assert golden_nodes.same(node.load_existing(), node.value()), node
    assert not list(store.rglob(".furu.json"))

    old_folders = [str(node.furu_dir / ".furu") for node in stored]
    rng = random.Random()
    end = store.parent / "end"
    other = host.start("golden_nodes:load_and_compute", MANY, str(end), path=str(store))
    left, killed, done_before, took = len(stored), 0, 0, 0.0
    for number in itertools.count():
        # It ends before a stretch of changes that is too short for all, in every second round at any moment.
        event = KillAtEvent(done_before + rng.randint(1, STRETCH), store)
        began = time.monotonic()
        child = host.start("kept_nodes:upgrade", path=str(store), die=event)
        if number % 2:
            child.kill_after(took * rng.random())
        died = child.wait()
        took = time.monotonic() - began
        assert died.killed or died.status == 0, died.traceback
        if not died.killed:
            break
        killed += 1
        for node in rng.sample(stored, 20):
            assert golden_nodes.same(node.load_existing(), node.value()), node
        still = sum(map(os.path.exists, old_folders))
        if still == left and not number % 2:
            done_before += STRETCH  # for a look at those that have been upgraded
        left = still
    assert killed >= 20
    end.touch()
    assert other.result() > 0
    done = kept_nodes.upgrade()
    assert (done["artifacts"], done["damaged"], done["alive"]) == (0, {}, [])
    for node in stored:
        assert golden_nodes.same(node.load_existing(), node.value()), node
        assert told(node.furu_dir)["upgraded_from"] == 1
    assert not [path for path in store.rglob("*") if path.name in (".furu", ".attempts")]
    host.run("golden_nodes:fill", MANY, 1, path=str(store))  # removes what killed upgrades left
    verified = _verify.verify(deep=True)
    assert (verified.damage, verified.unreadable, verified.notes) == ([], [], [])
    assert verified.artifacts > len(stored)


@pytest.mark.parametrize("number", [1, 2])
def test_results_in_a_golden_store_that_is_only_read_are_found(
    store: Path, tmp_path: Path, unpack: Unpack, number: int
) -> None:
    unpack(number)
    other = tmp_path / "other"
    store.rename(other)
    before = sorted(str(path) for path in other.rglob("*"))
    with use_settings(also=(other,)):
        for node in results(number):
            assert node.status() is NodeState.DONE
            assert StateReader().done(node)
            node.get()
            assert node.furu_dir.is_relative_to(other)
            assert _stored_nodes.node_of(node).record()["class_name"]
            assert why(node).is_complete
    assert sorted(str(path) for path in other.rglob("*")) == before
    assert not store.exists()
