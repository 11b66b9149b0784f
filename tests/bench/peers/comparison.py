"""The rows: for each work furu, and each peer that can do it, in turn."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs

from bench.child import measure
from bench.peers.environment import Environment, PeerError
from bench.row import Row

ROUNDS = 5
FOLDER = Path(__file__).parents[3] / ".bench" / "peers"


@attrs.frozen
class Peer:
    """Who does the same work.

    Attributes:
        name: how rows call it.
        script: its module beside this file.
        distribution: what is to be installed; empty for the standard library.
    """

    name: str
    script: str
    distribution: str = ""


@attrs.frozen
class Work:
    """What is done.

    Attributes:
        name: how rows call it.
        ours: furu's function, which is told the `shape`, how many, and where the store is.
        shape: what scripts call it.
        count: how many nodes or calls.
        peers: who does it too; with the largest ratio that is wanted, if any.
    """

    name: str
    ours: str
    shape: str
    count: int
    peers: dict[Peer, float | None]


PROCESSES = Peer("concurrent.futures", "with_processes")
JOBLIB = Peer("joblib", "with_joblib", "joblib")
EXECUTORLIB = Peer("executorlib", "with_executorlib", "executorlib")
PARSL = Peer("parsl", "with_parsl", "parsl")
DISKCACHE = Peer("diskcache", "with_diskcache", "diskcache")

RUN = "bench.trivial:run"
HIT = "bench.bench_get:hit"
WORKS = (
    Work(
        "1,000 nodes wide",
        RUN,
        "wide",
        1_000,
        {PROCESSES: None, JOBLIB: None, EXECUTORLIB: 1, PARSL: 1},
    ),
    Work(
        "1,000 nodes in 100 layers",
        RUN,
        "layered",
        1_000,
        {PROCESSES: None, JOBLIB: 1, EXECUTORLIB: 1, PARSL: 1},
    ),
    Work("warm hit, flat", HIT, "flat", 2_000, {DISKCACHE: 1}),
    Work("warm hit, nested", HIT, "nested", 2_000, {DISKCACHE: 1}),
)


def rows(words: list[str]) -> Iterator[Row]:
    """The rows of the table, or those of the works whose name has one of the words."""
    environment = Environment(FOLDER)
    for work in WORKS:
        if not words or any(word in work.name for word in words):
            yield from compare(work, environment)


def compare(work: Work, environment: Environment, rounds: int = ROUNDS) -> Iterator[Row]:
    """One row for each peer."""
    notes = {peer: _installed(peer, environment) for peer in work.peers}
    ours: list[float] = []
    theirs: dict[Peer, list[float]] = {peer: [] for peer in work.peers}
    folder = Path(tempfile.mkdtemp(prefix="furu-bench-"))
    try:
        for number in range(rounds):
            store = str(folder / f"furu-{number}")
            ours.append(measure(work.ours, work.shape, work.count, store).seconds)
            for peer in [peer for peer, note in notes.items() if not note.startswith("not ")]:
                place = folder / f"{peer.script}-{number}"
                try:
                    spent = environment.seconds(peer.script, work.shape, work.count, place)
                except PeerError as error:
                    notes[peer] = f"not measured: {error}"
                else:
                    theirs[peer].append(spent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for peer, target in work.peers.items():
        reference = statistics.median(theirs[peer]) if theirs[peer] else None
        name = f"{work.name}: {peer.name}"
        yield Row(name, statistics.median(ours), reference, target=target, note=notes[peer])


def _installed(peer: Peer, environment: Environment) -> str:
    """Which version of a peer is there, or why there is none."""
    if not peer.distribution:
        return ""
    try:
        environment.install(peer.distribution)
        return environment.version(peer.distribution)
    except PeerError as error:
        return f"not installed: {error}"
