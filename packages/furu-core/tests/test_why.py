"""`why`: what is not there, and for which causes."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from threading import Event, Thread

import pytest
from format1 import store_of_format_1

from furu_core import Furu, diff, field, use_settings, why
from furu_core._explain import _nearest
from furu_core._explain._explanations import Cause, CauseKind, Explanation
from furu_core._status import _trash
from furu_core._status._stored_nodes import StoredNode
from furu_core._store._layout import ref_of
from furu_core._tables._facts import NodeFacts, facts_of
from furu_core.errors import FuruComputeError
from furu_core.executors import Submission, note_submission
from furu_core.planning import invalidate_if_bad, short_name, state_at
from furu_testing import wait_until


class Split(Furu[int]):
    seed: int = 0
    folder: Path = Path("a")

    def _create(self) -> int:
        return self.seed


class Model(Furu[float]):
    data: Split
    lr: float = 0.1

    def _create(self) -> float:
        if self.lr > 5:
            raise ValueError("the rate is too high")
        return self.data.get() + self.lr


class Neighbours(Furu[float]):
    data: Split
    k: int = 3

    def _create(self) -> float:
        return self.data.get() + self.k


class Study(Furu[float]):
    models: list[Furu[float]]

    def _create(self) -> float:
        return max(model.get() for model in self.models)


def study(seed: int = 0, rates: tuple[float, ...] = (0.1, 0.2, 0.3)) -> Study:
    return Study(models=[Model(data=Split(seed=seed), lr=lr) for lr in rates])


@pytest.fixture
def done(store: Path) -> Study:
    made = study()
    made.get()
    return made


def leaves(found: Explanation) -> list[tuple[str, str, str, int]]:
    return [(cause.path, cause.before, cause.after, cause.nodes) for cause in found.causes]


def only(found: Explanation) -> Cause:
    (cause,) = found.causes
    return cause


def test_what_is_there_has_no_cause(done: Study) -> None:
    found = why(done)
    assert (found.is_complete, found.causes, found.load) == (True, (), 1)
    assert str(found).startswith(f"{short_name(done)} is there: computed ")


def test_a_leaf_that_makes_many_nodes_new_is_told_once(done: Study) -> None:
    found = why(study(seed=1))
    assert leaves(found) == [("models[0].data.seed", "0", "1", 5)]
    assert (found.compute, found.load, found.wait) == (5, 0, 0)
    assert found.roots[0].closest == short_name(done)
    assert only(found).levels == 2


def test_what_an_element_more_brings_is_told_beside_what_changed(done: Study) -> None:
    models = [*study(seed=1).models, Neighbours(data=Split(seed=7), k=7)]
    found = why(Study(models=models))
    added = f"Neighbours(data=Split({Split(seed=7).furu_hash[:6]}), k=7)"
    assert leaves(found) == [
        ("models[0].data.seed", "0", "1", 5),
        ("models[3]", "absent", added, 3),
    ]


def test_items_that_a_list_has_more_are_one_cause_with_what_is_new_of_the_first(
    done: Study,
) -> None:
    found = why(study(rates=(0.1, 0.2, 0.3, 0.4, 0.5)))
    cause = only(found)
    assert (cause.path, cause.before, cause.own, cause.nodes) == ("models[3]", "absent", 2, 3)
    item, nearest = Model(data=Split(), lr=0.4), done.models[2]
    assert cause.detail == f"{short_name(item)}, as against {short_name(nearest)}: lr 0.3 -> 0.4"
    assert "  models[3] and 1 more  absent -> Model(" in str(found)
    deep = [*done.models, Model(data=Split(seed=5), lr=0.1), Model(data=Split(seed=5), lr=0.2)]
    assert ": data.seed 0 -> 5" in only(why(Study(models=deep))).detail
    there = Model(data=Split(), lr=0.7)
    there.get()
    cause = only(why(Study(models=[*done.models, there])))
    assert (cause.own, cause.nodes, cause.detail) == (1, 1, ""), "it is new in the list alone"


def test_a_failure_is_the_cause_of_all_that_needs_it(done: Study) -> None:
    broken = study(rates=(0.1, 9.0))
    with pytest.raises(FuruComputeError):
        broken.get()
    found = why(broken)
    cause = only(found)
    assert (cause.kind, cause.nodes, cause.hash) == (
        CauseKind.FAILED,
        2,
        broken.models[1].furu_hash,
    )
    assert "ValueError: the rate is too high" in cause.detail
    assert "lr=9.0" in cause.config
    assert cause.next == f"furu log {cause.hash[:12]}"
    with use_settings(retry_failed=False):
        assert "FURU_RETRY_FAILED is off" in only(why(broken)).next


def test_a_class_without_results_is_the_first(store: Path) -> None:
    found = why(study())
    told = {(c.kind, c.class_name.rpartition(":")[2], c.nodes) for c in found.causes}
    first = CauseKind.FIRST
    assert told == {(first, "Model", 3), (first, "Split", 1), (first, "Study", 1)}
    assert found.forecast is not None
    assert (found.forecast.secs, found.forecast.unknown) == (None, 5)


class Saves(Furu[int]):
    """Has a file, is checked when its `below` asks, and may wait for a file to appear."""

    name: str
    wait: str = ""

    def _create(self) -> int:
        (self.furu_dir / "file").write_text(self.name)
        if self.wait:
            wait_until("the test to go on", lambda: Path(self.wait).exists())
        return len(self.name)

    def _validate(self) -> bool:
        return self.name not in BAD


BAD: set[str] = set()


class Sum(Furu[int]):
    parts: tuple[Furu[int], ...]

    def _create(self) -> int:
        return sum(part.get() for part in self.parts)


def is_begun(node: Furu[int]) -> bool:
    """Whether the record of an attempt is there, and whole."""
    holder = state_at(node).holder
    return holder is not None and holder.process is not None


def events(found: Explanation) -> list[tuple[CauseKind, str, int]]:
    return [(cause.kind, cause.hash, cause.nodes) for cause in found.causes]


def test_a_removed_result_is_told_with_the_command_that_brings_it_back(done: Study) -> None:
    done.delete()
    for asked in (done, done.furu_hash, done.furu_hash[:8], short_name(done)):
        found = why(asked)
        assert events(found) == [(CauseKind.REMOVED, done.furu_hash, 1)]
        assert only(found).next == f"furu rm --undo {done.furu_hash[:12]}"
        assert found.roots[0].state == "removed"
    again = Study(models=[*done.models, Neighbours(data=Split(), k=9)])
    done.models[0].delete()
    assert (CauseKind.REMOVED, done.models[0].furu_hash, 2) in events(why(again))


def test_a_damaged_result_is_found_below_what_would_load_it(store: Path) -> None:
    part = Saves(name="part")
    part.get()
    (part.furu_dir / "file").write_text("shorter or longer")
    above = Sum(parts=(part,))
    found = why(above)
    assert events(found)[0] == (CauseKind.DAMAGED, part.furu_hash, 2)
    assert only(found).next == f"furu verify {part.furu_hash[:12]}"
    assert (
        events(why(part)) == events(why(part.furu_hash)) == [(CauseKind.DAMAGED, part.furu_hash, 1)]
    )
    assert above.get() == 4
    assert why(above).is_complete


def test_a_result_that_was_found_invalid_is_told_as_such(store: Path) -> None:
    part = Saves(name="bad")
    part.get()
    BAD.add("bad")
    try:
        assert invalidate_if_bad(part)
    finally:
        BAD.clear()
    assert events(why(part)) == [(CauseKind.INVALID, part.furu_hash, 1)]
    assert events(why(part.furu_hash)) == [(CauseKind.INVALID, part.furu_hash, 1)]


def test_what_is_computed_elsewhere_is_told_with_who_does(store: Path, tmp_path: Path) -> None:
    go = tmp_path / "go"
    part = Saves(name="slow", wait=str(go))
    above = Sum(parts=(part,))
    computing = Thread(target=part.get)
    computing.start()
    try:
        wait_until("the attempt", lambda: is_begun(part))
        found = why(above)
    finally:
        go.touch()
        computing.join()
    assert events(found)[0] == (CauseKind.RUNNING, part.furu_hash, 2)
    assert str(os.getpid()) in found.causes[0].detail
    assert (found.compute, found.wait) == (1, 1)


def test_a_worker_that_died_is_a_cause(store: Path) -> None:
    part = Saves(name="dies", wait="/nowhere")
    child = os.fork()
    if child == 0:
        try:
            part.get()
        finally:
            os._exit(1)
    wait_until("the attempt", lambda: is_begun(part))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert events(why(part)) == [(CauseKind.LOST, part.furu_hash, 1)]
    assert events(why(part.furu_hash)) == [(CauseKind.LOST, part.furu_hash, 1)]


def test_what_is_to_be_rerun_takes_what_depends_on_it_along(done: Study) -> None:
    with use_settings(always_rerun=["Model"]):
        found = why(done)
    assert [(cause.kind, cause.own, cause.nodes) for cause in found.causes] == [
        (CauseKind.RERUN, 3, 4)
    ]
    assert (found.compute, found.load) == (4, 1)


def test_a_stale_result_is_loaded_and_said_to_be_stale(done: Study) -> None:
    data = done.models[0].data
    data.delete()
    data.put(5)
    found = why(Study(models=[*done.models, Neighbours(data=data)]))
    assert {node.hash for node in found.stale.stale} == {model.furu_hash for model in done.models}
    assert f"used another result of {short_name(data)}" in str(found)
    alone = why(done.models[0].furu_hash)
    assert alone.is_complete
    assert f"used another result of {short_name(data)}" in str(alone)


def test_several_roots_are_explained_together(done: Study) -> None:
    found = why([done, study(seed=1), study(seed=2)])
    assert [root.is_there for root in found.roots] == [True, False, False]
    assert leaves(found) == [("models[0].data.seed", "0", "1", 10)]
    assert only(found).more == ("2",)
    assert "models[0].data.seed  0 -> 1, 2  2 levels down; makes 10 of 11 nodes new" in str(found)
    assert "3 roots, 1 of them there" in str(found)


def test_values_are_told_in_the_words_of_python(done: Study) -> None:
    changed = why(Split(folder=Path("b")))
    assert leaves(changed) == [("folder", "PosixPath('a')", "PosixPath('b')", 1)]
    assert not only(changed).type_differs


def test_of_equally_near_results_the_last_one_is_taken_and_of_others_the_nearest(
    store: Path,
) -> None:
    for seed, lr in ((0, 0.1), (0, 0.2), (1, 0.3)):
        Model(data=Split(seed=seed), lr=lr).get()
    found = why(Model(data=Split(seed=0), lr=0.5))
    assert leaves(found) == [("lr", "0.2", "0.5", 1)]
    found = why(Model(data=Split(seed=1, folder=Path("b")), lr=0.3))
    assert leaves(found) == [("data.folder", "PosixPath('a')", "PosixPath('b')", 2)]
    found = why(Model(data=Split(seed=5, folder=Path("b")), lr=0.7))
    assert {cause.path for cause in found.causes} == {"data.seed", "data.folder", "lr"}


def test_a_deep_graph_is_explained_without_recursion(store: Path) -> None:
    node: Furu[int] = Split()
    for _ in range(3000):
        node = Sum(parts=(node,))
    found = why(node)
    assert found.compute == 3001
    assert sum(cause.nodes for cause in found.causes) == 3001


def test_the_store_may_change_meanwhile(store: Path, tmp_path: Path) -> None:
    done = study()
    done.get()
    stop = Event()
    trouble: list[BaseException] = []

    def change() -> None:
        try:
            while not stop.is_set():
                for model in study(rates=(0.1, 0.4, 0.5)).models:
                    model.delete()
                    model.get()
                for model in study(seed=3).models:
                    model.get()
                    model.delete()
        except BaseException as error:
            trouble.append(error)

    changing = Thread(target=change)
    changing.start()
    try:
        for _ in range(40):
            assert why(study(seed=2)).compute == 5
            assert why(done).load == 1
            assert str(why(study(seed=3, rates=(0.1, 0.4))))
            assert diff(done, study(seed=3)).config
    finally:
        stop.set()
        changing.join()
    assert not trouble


class Many(Furu[int]):
    n: int
    base: Split = Split()

    def _create(self) -> int:
        return self.n + self.base.get()


def test_many_new_nodes_are_compared_with_few_of_many_results(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(150):
        Many(n=n).get()
    read = Counter[str]()

    def counted(node: StoredNode) -> NodeFacts:
        read[node.hash] += 1
        return facts_of(node)

    monkeypatch.setattr(_nearest, "facts_of", counted)
    found = why([Many(n=n, base=Split(seed=7)) for n in range(300)])
    assert found.compute == 301
    assert ("base.seed", "0", "7") in {one[:3] for one in leaves(found)}
    assert max(read.values()) == 1
    assert len(read) <= 150
    read.clear()
    found = why([Many(n=1000 + n) for n in range(300)])
    assert found.compute == 300
    assert {cause.path for cause in found.causes} == {"n"}
    assert len(read) <= 16, "only the latest of those that are equally near"


def test_a_nested_config_is_compared_by_what_the_trash_has_of_it(done: Study) -> None:
    data = done.models[0].data
    data.delete()
    assert ("models[0].data.seed", "0", "1", 5) in leaves(why(study(seed=1)))
    for removal in _trash.removals():
        _trash.empty([removal])
    other = Split(seed=1)
    assert leaves(why(study(seed=1))) == [
        ("models[0].data", short_name(data), short_name(other), 5)
    ]


class Shaped(Furu[int]):
    n: int = 0
    threads: int = field(default=4, exclude_from_hash=True)
    late: int = field(default=0, omit_default_from_hash=True)

    def _create(self) -> int:
        return self.n


def test_fields_that_are_not_in_the_hash_are_no_cause(store: Path) -> None:
    Shaped(n=1, threads=8).get()
    assert leaves(why(Shaped(n=2))) == [("n", "1", "2", 1)]
    assert leaves(why(Shaped(n=1, late=3))) == [("late", "0", "3", 1)]
    Shaped(n=2, late=3).get()
    assert leaves(why(Shaped(n=2, threads=1))) == [("late", "3", "0", 1)]
    many = why([Shaped(n=n) for n in range(5, 18)])
    assert leaves(many) == [("n", "1", "5", 13)]
    assert "n  1 -> 5, 6, 7, 8 and 9 more  makes 13 of 13 nodes new" in str(many)


def test_several_removed_results_come_back_by_one_command(done: Study) -> None:
    models = [*done.models, *study(rates=(0.4, 0.5, 0.6, 0.7)).models]
    for model in models:
        model.get()
        model.delete()
    two = only(why(models[:2]))
    assert two.next == f"furu rm --undo {models[0].furu_hash[:12]} {models[1].furu_hash[:12]}"
    assert (two.own, two.nodes) == (2, 2)
    assert only(why(models)).next == f"furu rm --undo {two.class_name}"


def test_results_of_the_first_format_are_compared_as_well(done: Study, store: Path) -> None:
    store_of_format_1(store)
    assert leaves(why(study(seed=1))) == [("models[0].data.seed", "0", "1", 5)]
    told = str(why(done.furu_hash))
    assert "is there: computed 20" in told
    assert diff(done, study(seed=1)).costs[0].before is not None


class Ridge(Furu[float]):
    alpha: float = 1.0

    def _create(self) -> float:
        return self.alpha


class Lasso(Furu[float]):
    alpha: float = 1.0

    def _create(self) -> float:
        return self.alpha


def test_another_class_with_the_same_fields_is_no_new_name_of_the_first(store: Path) -> None:
    Sum(parts=(Ridge(),)).get()
    found = why(Sum(parts=(Lasso(),)))
    assert leaves(found) == [("parts[0]", "Ridge(alpha=1.0)", "Lasso(alpha=1.0)", 2)]
    assert only(found).next == ""
    assert [cause.kind for cause in why(Lasso()).causes] == [CauseKind.FIRST]


def test_a_queued_job_and_a_record_of_a_newer_furu_are_told(store: Path) -> None:
    queued, newer = Saves(name="queued"), Saves(name="newer")
    note_submission(queued, Submission("nobody-knows", "7"))
    above = Sum(parts=(queued, newer))
    failing = Model(data=Split(), lr=9.0)
    with pytest.raises(FuruComputeError):
        failing.get()
    attempt = ref_of(failing).attempt(1)
    newer_furu = Path(attempt, ".furu.json").read_bytes().replace(b'"furu":2', b'"furu":99')
    folder = Path(ref_of(newer).attempt(1))
    folder.mkdir(parents=True)
    (folder / ".furu.json").write_bytes(newer_furu)
    found = why(above)
    assert events(found) == [
        (CauseKind.QUEUED, queued.furu_hash, 2),
        (CauseKind.UNREADABLE, newer.furu_hash, 2),
    ]
    assert "nobody-knows job 7" in found.causes[0].detail
    assert (found.compute, found.wait) == (2, 1)
