"""P9: a result that would load something else today than it used is called stale."""

from __future__ import annotations

from pathlib import Path

import pytest

from furu_core import Furu
from furu_core._explain._staleness import StalenessReader, StaleNodes
from furu_core._status import _stored_nodes
from furu_core.planning import short_name


class Number(Furu[int]):
    """A number that a file tells."""

    file: str

    def _create(self) -> int:
        return int(Path(self.file).read_text())


class Plus(Furu[int]):
    below: tuple[Furu[int], ...]
    n: int = 1

    def _create(self) -> int:
        return sum(one.get() for one in self.below) + self.n


class Even(Furu[bool]):
    """Equal for many numbers."""

    below: Furu[int]

    def _create(self) -> bool:
        return self.below.get() % 2 == 0


class Above(Furu[int]):
    even: Even

    def _create(self) -> int:
        return int(self.even.get())


def look() -> StaleNodes:
    nodes = _stored_nodes.nodes_of(_stored_nodes.classes())
    return StalenessReader().among(nodes)


def names(found: StaleNodes) -> tuple[set[str], set[str]]:
    return {node.hash for node in found.stale}, {node.hash for node in found.resting}


@pytest.fixture
def number(store: Path, tmp_path: Path) -> Number:
    file = tmp_path / "number"
    file.write_text("1")
    return Number(file=str(file))


def change(node: Number, value: int) -> None:
    node.delete()
    Path(node.file).write_text(str(value))
    node.get()


def test_p9_what_used_another_result_is_stale_and_what_is_above_rests_on_it(number: Number) -> None:
    chain = [Plus(below=(number,))]
    for _ in range(3):
        chain.append(Plus(below=(chain[-1],)))
    chain[-1].get()
    assert names(look()) == (set(), set())
    change(number, 2)
    stale, resting = names(look())
    assert stale == {chain[0].furu_hash}
    assert resting == {node.furu_hash for node in chain[1:]}
    found = look()
    assert (
        found.sentence
        == f"1 result is stale (1 used another {short_name(number)}), 3 more rest on stale results"
    )


def test_p9_an_equal_result_makes_nobody_stale(number: Number) -> None:
    node = Above(even=Even(below=number))
    node.get()
    change(number, 1)
    assert names(look()) == (set(), set())
    change(number, 3)
    assert names(look()) == ({node.even.furu_hash}, {node.furu_hash})
    node.even.delete()
    assert names(look()) == (set(), set()), "a result that is not there is compared with nothing"
    node.even.get()
    assert names(look()) == (set(), set()), "it is false again, as it was for 1"


def test_p9_in_a_diamond_each_stale_result_counts_once(number: Number) -> None:
    left, right = Plus(below=(number,), n=1), Plus(below=(number,), n=2)
    top = Plus(below=(left, right))
    top.get()
    change(number, 5)
    assert names(look()) == ({left.furu_hash, right.furu_hash}, {top.furu_hash})
    left.delete()
    left.get()
    assert names(look()) == ({right.furu_hash, top.furu_hash}, set())


def test_p9_a_dependency_that_was_removed_makes_nobody_stale(number: Number) -> None:
    node = Plus(below=(number,))
    node.get()
    number.delete()
    assert names(look()) == (set(), set())


def test_p9_a_chain_of_a_thousand_is_judged_without_recursion(number: Number) -> None:
    node: Furu[int] = number
    for _ in range(1000):
        node = Plus(below=(node,))
        node.get()
    change(number, 2)
    stale, resting = names(look())
    assert (len(stale), len(resting)) == (1, 999)
