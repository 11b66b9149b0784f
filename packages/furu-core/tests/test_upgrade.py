"""A store of format 1 is read as it is, and upgraded in place; nothing is computed anew, whoever is killed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kept_nodes as nodes
import numpy as np
import pytest
from format1 import downgrade, store_of_format_1
from get_nodes import Fails, Square
from records import attempts_of, told

from furu_core import Furu, NodeState, use_settings
from furu_core._store import _format, _record_file
from furu_core.errors import FuruComputeError
from furu_testing import Host, KillAtEvent, Kills

NODES = Path(__file__).parent / "nodes"
THOROUGH = bool(os.environ.get("TEST_THOROUGH"))


@pytest.fixture
def computed(store: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Furu[Any], Any]]:
    """Nodes of all kinds in a store of format 1, and what they computed."""
    roots = nodes.roots(2)
    values = [node.get() for node in roots]
    assert store_of_format_1(store) == len({node.furu_hash for node in roots})
    monkeypatch.setattr(_format, "_entered", set())  # as in another process
    for cls in (nodes.Kept, nodes.Above, nodes.Loads):
        monkeypatch.setattr(cls, "_create", never)
    return list(zip(roots, values, strict=True))


def never(self: Furu[Any]) -> None:
    raise AssertionError(f"{self} is computed anew")


def same(first: Any, second: Any) -> bool:
    if isinstance(first, np.ndarray):
        return bool((first == second).all()) and first.dtype == second.dtype
    if isinstance(first, dict | list | tuple):
        keys = first if isinstance(first, dict) else range(len(first))
        return type(first) is type(second) and all(same(first[key], second[key]) for key in keys)
    return type(first) is type(second) and bool(first == second)


def test_p1_results_of_format_1_are_loaded_as_they_are(
    computed: list[tuple[Furu[Any], Any]], store: Path
) -> None:
    for node, value in computed:
        assert same(value, node.get()), node
        assert node.status() is NodeState.DONE
        assert node.provenance()["provenance"]["host"] == "elsewhere"
    assert not list(store.rglob(".furu.json"))


def test_p1_an_upgraded_store_has_the_same_results_and_nothing_of_the_old_form(
    computed: list[tuple[Furu[Any], Any]], store: Path
) -> None:
    done = nodes.upgrade()
    assert (done["artifacts"], done["damaged"], done["alive"]) == (len(computed), {}, [])
    assert not list(store.rglob(".furu")), "format 1's own folder"
    assert json.loads((store / "furu.json").read_text()) == {"furu": 2}
    for node, value in computed:
        assert same(value, node.get()), node
    (above,) = [node for node, _ in computed[-2:] if isinstance(node, nodes.Above)]
    record = told(above.furu_dir)
    assert record["dependencies"] == {"declared": [above.below.furu_hash], "used": {}}
    assert record["upgraded_from"] == 1
    assert record["costs"]["wall_secs"] >= 0
    assert record["config"]["hash"] == above.furu_hash
    assert above.provenance()["provenance"]["host"] == "elsewhere"
    prints = nodes.Kept(kind="prints")
    assert (prints.furu_dir / ".furu.log").read_text() == "printed\n"
    assert sorted(os.listdir(nodes.Kept(kind="number").furu_dir)) == [".furu.json"]
    again = nodes.upgrade()
    assert (again["artifacts"], again["new"]) == (0, len(computed))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("host")
    with Host(folder, modules=["kept_nodes"], sys_path=[NODES]) as started:
        yield started


def test_p7_a_killed_upgrade_leaves_every_result_and_the_next_one_goes_on(
    computed: list[tuple[Furu[Any], Any]], store: Path, host: Host
) -> None:
    kills = Kills(apart=1 if THOROUGH else 7, at_least=10)
    for number in kills:
        die = KillAtEvent(number, store)
        kills.wait(host.start("kept_nodes:upgrade", path=str(store), die=die))
        for node, value in computed:
            assert same(value, node.get()), node
    assert not list(store.rglob(".furu"))
    for node, _ in computed:
        named = set(json.loads(_record_file.read(str(node.furu_dir)).manifest).get("files", {}))
        there = {str(path.relative_to(node.furu_dir)) for path in node.furu_dir.rglob("*")}
        assert not [name for name in named | there if name.endswith(".tmp")], "half a record"


def test_ended_attempts_keep_their_history_log_and_checkpoint(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FuruComputeError):
        Fails().get()
    (new,) = attempts_of(store, Fails())
    record, log = told(new), (new / ".furu.log").read_text()
    old = new.parent / ".attempts" / Fails().furu_hash / "1"
    (old / "checkpoint").mkdir(parents=True)
    (old / "checkpoint" / "half").write_text("done")
    (old / "furu.log").write_text(log)
    names = ("number", "token", "node", "holder", "started", "lease_secs", "status", "ended")
    kept = {name: record[name] for name in names} | {"version": 1}
    (old / "record.json").write_text(json.dumps(kept))
    for path in new.iterdir():
        path.unlink()
    new.rmdir()
    monkeypatch.setattr(_format, "_entered", set())
    assert nodes.upgrade()["attempts"] == 1
    (folder,) = attempts_of(store, Fails())
    assert told(folder)["ended"] == record["ended"]
    assert (folder / ".furu.log").read_text() == log
    assert (folder.parent / f"{folder.name}.checkpoint" / "half").read_text() == "done"
    assert Fails().status() is NodeState.FAILED
    assert not (new.parent / ".attempts").exists()


def test_an_attempt_that_an_older_furu_makes_is_left_alone(store: Path) -> None:
    old = store / "data" / "exp" / "Train" / ".attempts" / ("0" * 32) / "1"
    old.mkdir(parents=True)
    holder = {"host": "far", "boot": "b", "pid_namespace": "n", "pid": 7, "start": "1"}
    record = {"version": 1, "status": "running", "holder": holder, "lease_secs": 600.0}
    (old / "record.json").write_text(json.dumps(record))
    assert nodes.upgrade()["alive"] == [str(old)]
    assert (old / "record.json").exists()
    os.utime(old / "record.json", (1e9, 1e9))
    assert nodes.upgrade()["attempts"] == 1


def test_a_damaged_artifact_of_format_1_is_told_and_computed_anew(store: Path) -> None:
    Square().get()
    folder = Square().furu_dir
    downgrade(folder)
    (folder / ".furu" / "result.json").write_text("")
    done = nodes.upgrade()
    assert list(done["damaged"]) == [str(folder)]
    assert Square().get() == 4
    assert (Square().furu_dir / ".furu.json").exists()


def test_p9_what_was_upgraded_is_used_with_its_digest(store: Path) -> None:
    below = nodes.Kept(kind="number", n=5)
    below.get()
    downgrade(below.furu_dir)
    with use_settings(log_level="ERROR"):
        nodes.upgrade()
        above = nodes.Above(below=below)
        above.get()
    digest = told(below.furu_dir)["manifest"]["digest"]
    assert told(above.furu_dir)["dependencies"]["used"] == {below.furu_hash: digest}
