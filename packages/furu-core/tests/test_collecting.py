"""P10: what a run, a pin or an attempt reaches stays; what goes is what was told, and comes back as it was."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import collected
import pytest
import removed
from collected import NODES, PARTS, SUMMARIES, WHOLES, Part, Waiting, Whole
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from machine import NOBODY, fill, mounted, nobody

from furu_core import use_settings
from furu_core._code import _loaded
from furu_core._status import _stored_nodes, _trash
from furu_core._upkeep import _collecting, _pins
from furu_core._upkeep._keepers import KeptBy
from furu_core.errors import FuruStoreError, FuruUsageError
from furu_core.planning import dependencies
from furu_testing import Host, KillAtEvent, Kills, wait_until

pytestmark = pytest.mark.timeout(600)
HERE = Path(__file__).parent / "nodes"
EVENTS_APART = 1 if os.environ.get("TEST_THOROUGH") else 7
TICK_SECS = 0.01  # more than the clock of a filesystem is behind


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("host")
    chosen = {"log_level": "ERROR"}
    modules = ["collected", "removed"]
    with Host(folder, modules=modules, sys_path=[HERE], settings=chosen) as started:
        yield started


class History:
    """What was done in a store, and what has to be kept of it, told without records.

    Args:
        store: the store.
    """

    def __init__(self, store: Path) -> None:
        self.store = store
        self.made: dict[Any, float] = {}
        self.runs: list[tuple[float, Any]] = []
        self.pinned: set[Any] = set()

    @staticmethod
    def now() -> float:
        """A time after all that was done so far, and before all that comes."""
        mark = time.time() + TICK_SECS
        while time.time() < mark + TICK_SECS:
            pass
        return mark

    def get(self, node: Any) -> None:
        node.get()
        self._note(node)

    def run(self, node: Any) -> None:
        collected.run(node)
        self._note(node)
        self.runs.append((time.time(), node))

    def _note(self, node: Any) -> None:
        if node not in self.made:
            for below in dependencies(node):
                self._note(below)
            self.made[node] = time.time()

    def delete(self, node: Any) -> None:
        if node in self.closure(self.pinned):
            with pytest.raises(FuruUsageError, match="pin"):
                node.delete()
        else:
            assert node.delete() == (self.made.pop(node, None) is not None)

    def pin(self, node: Any) -> None:
        if node in self.made:
            _pins.pin(node.furu_hash)
            self.pinned.add(node)

    def unpin(self, node: Any) -> None:
        if node in self.pinned:
            _pins.unpin(node.furu_hash)
            self.pinned.remove(node)

    @staticmethod
    def closure(nodes: Iterable[Any]) -> set[Any]:
        pending = list(nodes)
        found: set[Any] = set()
        while pending:
            node = pending.pop()
            if node not in found:
                found.add(node)
                pending += dependencies(node)
        return found

    def unneeded(self, cutoff: float) -> set[Any]:
        """The nodes that nothing keeps since a time."""
        kept = self.pinned | {node for when, node in self.runs if when >= cutoff}
        kept |= {node for node, when in self.made.items() if when >= cutoff}
        return set(self.made) - self.closure(kept)


STEPS = st.tuples(
    st.sampled_from(["get", "run", "run", "delete", "pin", "unpin", "collect", "collect"]),
    st.sampled_from(range(len(NODES))),
    st.sampled_from(["", "get", "run", "pin"]),
    st.booleans(),
)


@given(
    steps=st.lists(STEPS, min_size=3, max_size=12),
    at=st.lists(st.floats(0, 1), min_size=12, max_size=12),
)
@settings(
    max_examples=200 if os.environ.get("TEST_THOROUGH") else 25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
def test_p10_whatever_happened_exactly_what_nothing_needs_goes_and_comes_back_as_it_was(
    steps: list[tuple[str, int, str, bool]], at: list[float]
) -> None:
    with tempfile.TemporaryDirectory() as folder, use_settings(path=folder, log_level="ERROR"):
        history = History(Path(folder))
        marks = [history.now()]
        for (what, index, meanwhile, undoes), place in zip(steps, at, strict=False):
            node = NODES[index]
            if what == "collect":
                cutoff = marks[int(place * (len(marks) - 1))]
                collect(history, cutoff, meanwhile, node, undoes=undoes)
            else:
                getattr(history, what)(node)
            marks.append(history.now())


def collect(history: History, cutoff: float, meanwhile: str, node: Any, *, undoes: bool) -> None:
    """Collect what nothing needs since a time, while something may be done with a node."""
    now = time.time()
    doomed = history.unneeded(cutoff)
    before = removed.tree(str(history.store))
    proposed = _collecting.propose(now - cutoff, now=now)
    assert {one.hash for one in proposed.plan.nodes} == {one.furu_hash for one in doomed}
    assert removed.tree(str(history.store)) == before
    if not doomed:
        return
    if meanwhile:
        getattr(history, meanwhile)(node)
        if history.unneeded(cutoff) != doomed:
            between = removed.tree(str(history.store))
            with pytest.raises(FuruUsageError, match="does not hold any more"):
                _collecting.collect(_collecting.planned(proposed.plan.id))
            assert removed.tree(str(history.store)) == between
            return
    before = removed.tree(str(history.store))
    done = _collecting.collect(_collecting.planned(proposed.plan.id))
    assert len(done.taken) == len(doomed)
    assert not done.left
    hashes = {one.furu_hash for one in doomed}
    stays = {name: what for name, what in before.items() if Path(name).parent.name not in hashes}
    assert removed.tree(str(history.store)) == stays
    if undoes:
        assert not _collecting.undo(_collecting.plan_called("")).refused
        assert removed.tree(str(history.store)) == before
        assert proposed.plan.id not in _collecting.carried_out()
    else:
        for gone in doomed:
            del history.made[gone]


def test_p10_a_run_keeps_what_its_roots_need_before_they_are_computed(store: Path) -> None:
    """A root that waits has no record, and what it needs may be old."""
    PARTS[0].get()
    new = collected.named_roots([WHOLES[0]])
    _, folder = collected.new_run_folder("test", new)
    os.utime(folder / "run.json", (0, 0))
    assert _collecting.propose(0.0).plan.nodes == ()
    events = collected.EventLog(folder)
    events.write(collected.EventKind.RUN_ENDED)
    events.close()
    assert [one.hash for one in _collecting.propose(0.0).plan.nodes] == [PARTS[0].furu_hash]
    _pins.pin(f"run:{folder.name}")
    assert _collecting.propose(0.0).plan.nodes == ()


def test_p10_what_a_living_attempt_needs_stays_and_is_put_back_if_it_began_meanwhile(
    host: Host, tmp_path: Path
) -> None:
    store, gate = tmp_path / "store", tmp_path / "gate"
    with use_settings(path=store, log_level="ERROR"):
        PARTS[0].get(), PARTS[1].get()
        before = removed.tree(str(store))
        child: list[Any] = []

        def begin(_: object) -> None:
            if not child:
                child.append(host.start("collected:get_waiting", str(gate), path=str(store)))
                wait_until("it begins", lambda: Path(f"{gate}.begun").exists())

        plan = _collecting.propose(0.0).plan
        assert len(plan.nodes) == 2
        done = _collecting.collect(plan, begin)
        assert [one.hash for one in done.taken] == [PARTS[1].furu_hash]
        ((left, reason),) = done.left.items()
        assert left.hash == PARTS[0].furu_hash
        assert f"Waiting({Waiting(gate=str(gate), part=PARTS[0]).furu_hash[:6]})" in reason
        assert set(_collecting.propose(0.0).keepers) >= {PARTS[0].furu_hash}
        gate.touch()
        assert child[0].result() == 0
        _collecting.undo(plan.id)
        assert before.items() <= removed.tree(str(store)).items()


def test_p10_what_was_computed_again_of_what_goes_stays_with_what_it_was_made_of(
    store: Path,
) -> None:
    SUMMARIES[1].get()

    def use(one: Any) -> None:
        if one.hash == PARTS[3].furu_hash:  # the others have gone by now
            assert not WHOLES[2].exists()
            WHOLES[2].get()

    done = _collecting.collect(_collecting.propose(0.0).plan, use)
    assert [one.hash for one in done.taken] == [SUMMARIES[1].furu_hash, WHOLES[2].furu_hash]
    assert PARTS[3].exists()
    assert [one.hash for one in done.left] == [PARTS[3].furu_hash]


def test_a_result_that_is_gone_does_not_hide_what_it_was_made_of(store: Path) -> None:
    collected.run(SUMMARIES[0])
    (run,) = (store / "runs").iterdir()
    _pins.pin(f"run:{run.name}")
    (run / "nodes.txt").write_text("")  # as if it had planned nothing but its root
    with use_settings(trash_days=7):
        _trash.move_here(str(WHOLES[0].furu_dir)), _trash.move_here(str(WHOLES[1].furu_dir))
    assert _collecting.propose(0.0).plan.nodes == ()


@pytest.mark.parametrize("killed", ["collect", "undo_all"])
def test_p10_a_kill_while_collecting_or_undoing_loses_nothing(
    host: Host, tmp_path: Path, killed: str
) -> None:
    kills = Kills(apart=EVENTS_APART, at_least=10)
    for number in kills:
        place = tmp_path / str(number)
        store = place / "store"
        place.mkdir()
        host.run("collected:compute", path=str(store))
        before = host.run("removed:tree", str(store))
        if killed == "undo_all":
            assert host.run("collected:collect", path=str(store)) == len(collected.computed())
        die = KillAtEvent(number, place)
        kills.wait(host.start(f"collected:{killed}", path=str(store), die=die))
        if killed == "collect":
            # One that was killed while it claimed an attempt counts as living for a moment.
            wait_until(
                "the rest has gone",
                partial(host.run, "collected:collect_the_rest", path=str(store)),
            )
        host.run("collected:undo_all", path=str(store))
        after = host.run("removed:tree", str(store))
        missing = {name for name in before if before[name] != after.get(name)}
        # A killed one may leave the attempt that it had claimed, with the checkpoint, which the next one gets.
        missing -= {name for name in missing if name.replace(".1.c", ".2.c") in after}
        missing -= {name for name in missing if name.replace(".1.c", ".3.c") in after}
        assert not missing, missing


def test_p10_of_two_that_carry_out_one_plan_each_node_is_taken_by_one(
    host: Host, tmp_path: Path
) -> None:
    store, gate = tmp_path / "store", tmp_path / "go"
    host.run("collected:compute", path=str(store))
    plan_id = host.run("collected:plan", path=str(store))
    call = ("collected:wait_and_collect", str(gate), plan_id)
    children = [host.start(*call, path=str(store)) for _ in range(2)]
    gate.touch()
    assert sorted(child.result() for child in children) == [0, len(collected.computed())]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to become another user")
def test_another_users_nodes_are_left_to_him_and_keep_what_they_need() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        with use_settings(path=Path(folder, "store"), log_level="ERROR"):
            WHOLES[0].get(), WHOLES[2].get()
            mine = [WHOLES[0], PARTS[3]]
            for path in [Path(folder, "store"), *Path(folder).rglob("*")]:
                if path.is_dir() and len(path.name) != 32:
                    path.chmod(0o777)  # as a group's store is, but its results are their owners'
            for node in mine:
                for path in (node.furu_dir, *node.furu_dir.iterdir()):
                    os.chown(path, NOBODY, NOBODY)
            with nobody():
                found = _collecting.propose(0.0)
                assert {one.hash for one in found.plan.nodes} == {one.furu_hash for one in mine}
                assert found.of_others == 3
                all_of_them = _collecting.propose(0.0, everybody=True).plan
                done = _collecting.collect(all_of_them)
                # Of the other's `Whole` one's own part stays, since it stays as well.
                assert {one.hash for one in done.taken} == {WHOLES[0].furu_hash}
                assert "Permission denied" in done.left[done_of(done.left, WHOLES[2])]
                assert PARTS[3].exists()
                assert len(_collecting.undo(all_of_them.id).put_back) == 1
                plan_id = _collecting.propose(0.0).plan.id
            with pytest.raises(FuruUsageError, match="is nobody's"):
                _collecting.planned(plan_id)


def done_of(left: dict[Any, str], node: Any) -> Any:
    return next(one for one in left if one.hash == node.furu_hash)


def test_p8_on_a_full_disk_collecting_stops_and_the_same_plan_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The sources of all test modules that this process has loaded would fill the disk.
    monkeypatch.setattr(_loaded, "code_of", lambda _node: None)
    with (
        mounted(tmp_path / "disk", "size=4m,nr_inodes=120") as disk,
        use_settings(path=disk / "store", log_level="ERROR"),
    ):
        WHOLES[0].get()
        plan = _collecting.propose(0.0).plan
        before = removed.tree(str(disk / "store"))
        (disk / "store/gc/lock").touch()
        fill(disk, "files")
        with pytest.raises(FuruStoreError, match="No space left") as caught:
            _collecting.collect(_collecting.planned(plan.id))
        assert "furu rm --empty" in caught.value.hint
        assert WHOLES[0].load_existing() == 1
        for path in (disk / "filler").iterdir():
            path.unlink()
        assert len(_collecting.collect(_collecting.planned(plan.id)).taken) == 3
        _collecting.undo(plan.id)
        assert removed.tree(str(disk / "store")) == before


def test_a_plan_that_was_changed_is_refused(store: Path) -> None:
    Part(number=1).get()
    plan = _collecting.propose(0.0).plan
    path = store / "gc" / f"{plan.id}.json"
    path.write_text(path.read_text().replace(Part(number=1).furu_hash, "0" * 32))
    with pytest.raises(FuruStoreError, match="not what its id names"):
        _collecting.planned(plan.id)
    with pytest.raises(FuruUsageError, match="no plan 'abc'"):
        _collecting.planned("abc")


def test_without_a_trash_nothing_is_collected(store: Path) -> None:
    Part(number=1).get()
    plan = _collecting.propose(0.0).plan
    with use_settings(trash_days=0), pytest.raises(FuruUsageError, match="FURU_TRASH_DAYS is 0"):
        _collecting.collect(plan)
    assert Part(number=1).exists()


def test_emptying_frees_what_a_plan_took_and_nothing_else(store: Path) -> None:
    Whole(parts=(PARTS[0],)).get()
    PARTS[1].get()
    PARTS[1].delete()
    plan = _collecting.propose(0.0).plan
    _collecting.collect(plan)
    _collecting.empty([plan.id])
    assert _collecting.carried_out() == []
    (other,) = _trash.removals()
    assert [entry.hash for entry in other.entries()] == [PARTS[1].furu_hash]
    with pytest.raises(FuruUsageError, match="the trash has nothing"):
        _collecting.plan_called("")


def test_kept_nodes_tell_what_keeps_them(store: Path) -> None:
    PARTS[0].get()
    now = time.time()
    WHOLES[2].get()
    _pins.pin("Whole", "the paper")
    found = _collecting.propose(0.0, now=now)
    kinds = {node_hash: keeper.kind for node_hash, keeper in found.keepers.items()}
    assert kinds == {PARTS[3].furu_hash: KeptBy.PIN, WHOLES[2].furu_hash: KeptBy.PIN}
    (gone,) = found.classes
    assert (gone.name, gone.nodes, gone.size) == (_stored_nodes.node_of(PARTS[0]).cls.name, 1, 100)
    with pytest.raises(FuruUsageError, match=r"kept by a pin, .*: the paper"):
        PARTS[3].delete()
    _pins.unpin("Whole")
    assert PARTS[3].delete()


def snapshot(store: Path, name: str, links_to: Path | None = None) -> str:
    """A snapshot of code, closed as those of jobs are."""
    inner = store / "code/snapshots" / name / "exp"
    inner.mkdir(parents=True)
    (inner / "train.py").write_text("print()")
    if links_to is not None:
        (inner / "linked").symlink_to(links_to)
    inner.chmod(0o555)
    return f"code/snapshots/{name}"


def name_snapshot(run: Path, path: str) -> None:
    (run / "environment.json").write_text(json.dumps({"snapshot": {"folder": f"/store/{path}"}}))


def contents(store: Path) -> dict[str, bytes | int]:
    """All files and the modes of all folders, without plans and the trash."""
    return {
        str(path.relative_to(store)): path.read_bytes() if path.is_file() else path.stat().st_mode
        for path in sorted(store.rglob("*"))
        if path.relative_to(store).parts[0] not in {"gc", "trash"}
    }


def test_p10_folders_of_old_runs_go_with_the_snapshots_that_no_other_run_names(
    store: Path,
) -> None:
    old, pinned, going = (
        collected.run(WHOLES[0]),
        collected.run(WHOLES[2]),
        collected.run(WHOLES[1], ends=False),
    )
    _pins.pin(f"run:{pinned.name}")
    mine, shared, unnamed = (snapshot(store, name) for name in ("aa", "bb", "cc"))
    name_snapshot(old, mine), name_snapshot(going, shared)
    (old / "queue").mkdir()  # an empty folder comes back as well
    now = History.now()
    before = contents(store)
    assert _collecting.propose(0.0, now=now).plan.folders == ()
    plan = _collecting.propose(0.0, with_runs=True, now=now).plan
    assert {one.path for one in plan.folders} == {f"runs/{old.name}", mine, unnamed}
    done = _collecting.collect(_collecting.planned(plan.id))
    assert sorted(done.folders) == sorted(one.path for one in plan.folders)
    assert sorted(os.listdir(store / "runs")) == sorted([pinned.name, going.name])
    assert os.listdir(store / "code/snapshots") == ["bb"]
    assert len(_collecting.undo(plan.id).folders) == 3
    assert contents(store) == before
    assert os.listdir(store / "trash") == []


def test_p10_a_snapshot_that_was_taken_again_and_a_run_that_went_on_stay(store: Path) -> None:
    run = collected.run(PARTS[0])
    path = snapshot(store, "aa")
    plan = _collecting.propose(0.0, with_runs=True, now=History.now()).plan
    os.utime(store / path)  # as taking a snapshot does that is there already
    with pytest.raises(FuruUsageError, match="snapshot aa is named by a run, or was taken since"):
        _collecting.collect(plan)
    plan = _collecting.propose(0.0, with_runs=True, now=History.now()).plan
    collected.EventLog(run).write(collected.EventKind.RUN_STARTED)
    with pytest.raises(FuruUsageError, match=f"run {run.name} went on"):
        _collecting.collect(plan)
    assert (store / path).exists()


def test_p10_a_snapshot_is_put_back_that_a_run_came_to_name_while_others_went(
    store: Path,
) -> None:
    PARTS[0].get(), PARTS[1].get()
    path = snapshot(store, "aa")
    plan = _collecting.propose(0.0, with_runs=True, now=History.now()).plan

    def begin(_: object) -> None:
        if not (store / "runs").exists():
            name_snapshot(collected.run(Waiting(gate=str(store), part=PARTS[2])), path)

    done = _collecting.collect(plan, begin)
    assert list(done.left_folders) == [path]
    assert (store / path / "exp/train.py").exists()


def test_emptying_removes_closed_folders_and_those_that_links_lead_to_stay() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        store, linked = Path(folder, "store"), Path(folder, "linked")
        with nobody(), use_settings(path=store, log_level="ERROR"):
            (linked / "data").mkdir(parents=True)
            snapshot(store, "aa", links_to=linked)
            Part(number=1).get()
            result = Part(number=1).furu_dir
            (result / "closed").mkdir()
            (result / "closed" / "file").touch()
            (result / "closed").chmod(0o555)
            plan = _collecting.propose(0.0, with_runs=True, now=History.now()).plan
            assert len(_collecting.collect(plan).folders) == 1
            _collecting.empty([plan.id])
            assert os.listdir(store / "trash") == []
            assert os.listdir(linked) == ["data"]


def test_p7_the_same_command_removes_what_a_killed_emptying_left(
    host: Host, tmp_path: Path
) -> None:
    kills = Kills(apart=EVENTS_APART, at_least=10)
    for number in kills:
        place = tmp_path / str(number)
        store = place / "store"
        place.mkdir()
        host.run("collected:compute", path=str(store))
        host.run("collected:collect", path=str(store))
        die = KillAtEvent(number, store / "trash")
        kills.wait(host.start("collected:empty", path=str(store), die=die))
        host.run("collected:empty", path=str(store))
        assert os.listdir(store / "trash") == []


def test_what_is_on_another_disk_than_the_trash_stays_and_the_rest_goes(
    store: Path, tmp_path: Path
) -> None:
    PARTS[3].get()
    WHOLES[0].get()
    with mounted(tmp_path / "disk", "size=4m") as disk:
        folder = WHOLES[0].furu_dir.parent
        shutil.copytree(folder, disk / "Whole")
        shutil.rmtree(folder)
        folder.symlink_to(disk / "Whole")
        plan = _collecting.propose(0.0).plan
        done = _collecting.collect(plan)
        assert [one.hash for one in done.taken] == [PARTS[3].furu_hash]
        reasons = {one.hash: why for one, why in done.left.items()}
        assert "Invalid cross-device link" in reasons.pop(WHOLES[0].furu_hash)
        assert set(reasons.values()) == {"something that stays was made of it"}
        assert WHOLES[0].load_existing() == 1


def test_intermediate_results_go_once_all_made_of_them_is_there_and_are_computed_again(
    store: Path,
) -> None:
    name = _stored_nodes.node_of(PARTS[0]).cls.name
    run = collected.run(WHOLES[0], PARTS[1])  # of the parts one is a root itself
    (found,) = _collecting.propose(1e6, intermediate=[name]).plan.nodes
    assert found.hash == PARTS[0].furu_hash
    collected.run(collected.Failing(part=PARTS[0]))
    assert _collecting.propose(1e6, intermediate=[name]).plan.nodes == ()  # that needs it once more
    collected.Failing(part=PARTS[0]).delete()
    _pins.pin("Whole")
    assert _collecting.propose(1e6, intermediate=[name]).plan.nodes == ()
    _pins.unpin("Whole")
    plan = _collecting.propose(1e6, intermediate=[name], now=History.now()).plan
    assert len(plan.nodes) == 1
    collected.run(WHOLES[0])
    with pytest.raises(FuruUsageError, match="is reached by run"):
        _collecting.collect(plan)
    plan = _collecting.propose(1e6, intermediate=[name], now=History.now()).plan
    assert len(_collecting.collect(_collecting.planned(plan.id)).taken) == 1
    assert WHOLES[0].load_existing() == 1
    assert not PARTS[0].exists()
    assert run.exists()
    collected.run(Whole(parts=(PARTS[0],)))
    assert PARTS[0].exists()
