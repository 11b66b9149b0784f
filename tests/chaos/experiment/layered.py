"""What chaos computes: a graph in layers over two spec keys, whose nodes count themselves."""

from __future__ import annotations

import os
import random
import time
import zlib
from pathlib import Path

import furu_core
from furu_core import Furu

KEYS = ("default", "gpu")


class Node(Furu[int]):
    """One node.

    Attributes:
        seed: of the graph.
        number: of the node in it.
        seconds: that its computation takes.
        key: its spec key.
        inputs: what it depends on.
    """

    seed: int
    number: int
    seconds: float
    key: str
    inputs: tuple[Node, ...] = ()

    @property
    def _executor_spec_key(self) -> str:
        return self.key

    def _create(self) -> int:
        self._count("began")
        values = [node.get() for node in self.inputs]
        (self.furu_dir / "data").write_bytes(self.data())
        time.sleep(self.seconds)
        value = self.value(values)
        self._count("ended")
        return value

    def value(self, values: list[int]) -> int:
        """What follows from the values of its inputs."""
        return zlib.crc32(repr((self.seed, self.number, values)).encode())

    def data(self) -> bytes:
        """What is in its file."""
        return random.Random(f"{self.seed} {self.number}").randbytes(100 + 37 * (self.number % 500))

    def counts(self) -> Path:
        """The file in which its computations count themselves, a line per beginning and end."""
        return furu_core.settings().path.parent / "counts" / self.furu_hash

    def _count(self, what: str) -> None:
        attempt = self.furu_dir.name.rpartition(".")[2]  # `.<hash>.<number>`
        job = os.environ.get("SLURM_JOB_ID", "none")
        line = f"{what} {attempt} {job} {os.getpid()} {time.time():.3f}\n"
        file = os.open(self.counts(), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.write(file, line.encode())
        os.close(file)


def nodes(seed: int, count: int, longest: float) -> list[Node]:
    """All nodes of a graph, inputs before what needs them.

    Args:
        seed: decides everything.
        count: how many there are.
        longest: seconds that a node takes at most; four in ten take none.
    """
    rng = random.Random(seed)
    width = max(8, count // 10)
    made: list[Node] = []
    for number in range(count):
        before = made[(number // width - 1) * width : number // width * width]
        inputs = rng.sample(before, rng.randint(1, 3)) if number >= width else []
        seconds = round(rng.uniform(0, longest), 3) if rng.random() < 0.6 else 0.0
        key = KEYS[rng.random() < 0.3]
        made.append(Node(seed=seed, number=number, seconds=seconds, key=key, inputs=tuple(inputs)))
    return made


def roots(seed: int, count: int, longest: float) -> list[Node]:
    """The nodes that no other needs, so that all nodes are needed by them."""
    made = nodes(seed, count, longest)
    needed = {node.furu_hash for one in made for node in one.inputs}
    return [node for node in made if node.furu_hash not in needed]
