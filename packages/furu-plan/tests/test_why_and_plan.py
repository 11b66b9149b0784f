"""`why` and a plan agree on what is to be computed, whatever happened to the nodes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from furu_core import Furu, use_settings, why
from furu_core.errors import FuruError
from furu_plan import Status, build_plan


class Step(Furu[int]):
    n: int
    below: tuple[Furu[int], ...] = ()

    def _create(self) -> int:
        if self.n % 7 == 6:
            raise ValueError("a multiple of seven, less one")
        return self.n + sum(node.get() for node in self.below)


def graph(chosen: random.Random, size: int) -> list[Step]:
    nodes: list[Step] = []
    for _ in range(size):
        below = chosen.sample(nodes, min(len(nodes), chosen.randrange(4)))
        nodes.append(Step(n=chosen.randrange(100), below=tuple(below)))
    return nodes


@pytest.mark.parametrize("seed", range(12))
def test_both_tell_the_same_nodes_to_compute_and_to_load(store: Path, seed: int) -> None:
    chosen = random.Random(seed)
    nodes = graph(chosen, 14)
    for node in chosen.sample(nodes, 8):
        try:
            node.get()
        except FuruError:
            continue
        if chosen.random() < 0.4:
            node.delete()
    rerun = ["Step"] if seed % 4 == 3 else []
    with use_settings(always_rerun=rerun):
        plan = build_plan(nodes)
        found = why(nodes)
    counts = plan.counts()
    assert found.compute == counts[Status.TODO]
    assert (found.load, found.wait) == (counts[Status.DONE], 0)
    assert all(cause.nodes for cause in found.causes)
    assert bool(found.causes) == bool(found.compute) == (not found.is_complete)
    told = {cause.hash for cause in found.causes}
    assert told <= {node.hash for node in plan.with_status(Status.TODO)}
