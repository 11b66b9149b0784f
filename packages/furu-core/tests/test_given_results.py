"""Results that are only loaded, or were made elsewhere, and what their records tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from get_nodes import Square

from furu_core import Furu
from furu_core.errors import FuruMissingArtifact, FuruResultError, FuruUsageError


class Half(Furu[float]):
    whole: Square

    def _create(self) -> float:
        return self.whole.get() / 2


class Files(Furu[str]):
    def _create(self) -> None:
        (self.furu_dir / "text").write_text("written")

    def _load(self) -> str:
        return (self.furu_dir / "text").read_text()


def test_load_existing_loads_and_never_computes(store: Path) -> None:
    with pytest.raises(FuruMissingArtifact, match=r"get\(\) does"):
        Square().load_existing()
    assert not store.exists() or not list(store.rglob(".furu.json"))
    Square().get()
    assert Square().load_existing() == 4


def test_load_existing_tells_what_is_wrong_with_a_damaged_result(store: Path) -> None:
    Files().get()
    (Files().furu_dir / "text").unlink()
    with pytest.raises(FuruMissingArtifact, match="the file is missing"):
        Files().load_existing()
    assert Files().exists()


@pytest.mark.usefixtures("store")
def test_p9_a_result_that_was_put_is_marked_and_is_used_like_any_other() -> None:
    Square().put(100)
    assert Square().get() == 100
    assert Square().provenance()["made_by"] == "put"
    assert Half(whole=Square()).get() == 50.0
    told = Half(whole=Square()).provenance()
    assert "made_by" not in told
    assert list(told["dependencies"]["used"]) == [Square().furu_hash]


@pytest.mark.usefixtures("store")
def test_p4_a_result_that_is_there_is_not_replaced_by_one_that_is_put() -> None:
    Square().get()
    with pytest.raises(FuruUsageError, match=r"has a result already.*furu rm"):
        Square().put(5)
    assert Square().get() == 4


@pytest.mark.usefixtures("store")
def test_what_cannot_be_put_is_refused_with_the_next_step(session: Any) -> None:
    with pytest.raises(FuruUsageError, match=r"_load of its own.*in _create"):
        Files().put("text")
    unpicklable: Any = (number for number in range(3))
    with pytest.raises(FuruResultError, match="generator"):
        Square().put(unpicklable)
    with session(), pytest.raises(FuruUsageError, match="inside an executor"):
        Square().put(4)
    assert not Square().exists()


@pytest.mark.usefixtures("store")
def test_p9_provenance_tells_config_costs_dependencies_and_machine() -> None:
    with pytest.raises(FuruMissingArtifact, match=r"call get\(\) first"):
        Square().provenance()
    Half(whole=Square()).get()
    told = Half(whole=Square()).provenance()
    assert told["config"]["fields"]["whole"]["$ref"] == Square().furu_hash
    assert told["status"] == "published"
    assert told["costs"]["wall_secs"] >= 0
    assert told["dependencies"]["declared"] == [Square().furu_hash]
    digest = told["dependencies"]["used"][Square().furu_hash]
    assert len(digest) == 32
    assert told["provenance"]["host"]
    assert told["provenance"]["packages"]
