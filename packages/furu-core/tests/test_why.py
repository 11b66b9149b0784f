"""`why`: what is not there, and for which causes."""

from __future__ import annotations

from pathlib import Path

import pytest

from furu_core import Furu, use_settings, why
from furu_core._status._explanations import Cause, CauseKind, Explanation
from furu_core.errors import FuruComputeError
from furu_core.planning import short_name


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
        ("models[3]", "absent", added, 2),
    ]


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
