"""Trivial nodes, and runs of them; the module imports little, as each worker imports it too."""

from __future__ import annotations

import time
from typing import Any

from furu_core import Furu, use_settings
from furu_local import run_local


class Trivial(Furu[int]):
    """A node that does nothing, upon three others at most."""

    index: int
    below: tuple[Trivial, ...] = ()

    def _create(self) -> int:
        return self.index


def wide(count: int) -> list[Trivial]:
    """Independent nodes."""
    return [Trivial(index=index) for index in range(count)]


def layered(count: int) -> list[Trivial]:
    """Layers of 10, each node upon three of the layer below; the roots are the last layer."""
    layer: list[Trivial] = []
    for start in range(0, count, 10):
        layer = [
            Trivial(
                index=start + place,
                below=tuple(layer[(place + step) % 10] for step in range(3)) if layer else (),
            )
            for place in range(10)
        ]
    return layer


def run(shape: str, count: int, store: str) -> float:
    """Seconds of a run with two worker processes, their start-up included."""
    roots: Any = wide(count) if shape == "wide" else layered(count)
    with use_settings(path=store, log_level="ERROR"):
        began = time.perf_counter()
        run_local(roots, max_workers=2, progress=False)
        return time.perf_counter() - began
