"""Graphs of three levels, runs of them, and collecting what nothing needs, in processes that a test starts."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from furu_core import Furu
from furu_core._cli._main import run_and_report
from furu_core._upkeep import _collecting
from furu_core.executors import EventKind, EventLog, named_roots, new_run_folder
from furu_core.planning import dependencies
from furu_core.workers import WorkerContext, run_node, worker_session


class Part(Furu[int]):
    number: int

    def _create(self) -> int:
        (self.furu_dir / "part.bin").write_bytes(bytes([self.number]) * 100)
        return self.number


class Whole(Furu[int]):
    parts: tuple[Part, ...]

    def _create(self) -> int:
        return sum(part.get() for part in self.parts)


class Summary(Furu[int]):
    wholes: tuple[Whole, ...]

    def _create(self) -> int:
        return sum(whole.get() for whole in self.wholes)


class Failing(Furu[int]):
    part: Part

    def _create(self) -> int:
        (self.checkpoint_dir / "half").write_text("done")
        raise ValueError(f"{self.part.get()} is never right")


class Waiting(Furu[int]):
    """Is computed until its gate is there."""

    gate: str
    part: Part

    def _create(self) -> int:
        Path(f"{self.gate}.begun").touch()
        while not os.path.exists(self.gate):
            time.sleep(0.01)
        return self.part.get()


PARTS = [Part(number=number) for number in range(4)]
WHOLES = [
    Whole(parts=(PARTS[0], PARTS[1])),
    Whole(parts=(PARTS[1], PARTS[2])),
    Whole(parts=(PARTS[3],)),
]
SUMMARIES = [Summary(wholes=(WHOLES[0], WHOLES[1])), Summary(wholes=(WHOLES[2],))]
NODES: list[Any] = [*PARTS, *WHOLES, *SUMMARIES]


def run(*roots: Any, ends: bool = True) -> Path:
    """Compute some roots in a run of their own, as an executor does; the run's folder."""
    named = named_roots(list(roots))
    run_id, folder = new_run_folder("test", named)
    events = EventLog(folder)
    events.write(EventKind.RUN_STARTED)
    with worker_session(WorkerContext(executor="test", run_id=run_id)):
        for root in roots:
            _visit(root)
    if ends:
        events.write(EventKind.RUN_ENDED)
    events.close()
    return folder


def _visit(node: Any) -> None:
    if not node.exists():
        for dependency in dependencies(node):
            _visit(dependency)
        run_node(node)


def computed() -> list[Any]:
    """What `compute` computes, or tries to."""
    return [SUMMARIES[1], WHOLES[2], PARTS[3], PARTS[0], Failing(part=PARTS[0])]


def compute() -> None:
    """Some nodes, and one that fails and leaves a checkpoint."""
    run(SUMMARIES[1], Failing(part=PARTS[0]))


def plan() -> str:
    """A plan by which all goes that no one needs now."""
    return _collecting.propose(0.0).plan.id


def collect() -> int:
    """Take all that a fresh plan tells; how many nodes."""
    made = _collecting.propose(0.0).plan
    return len(_collecting.collect(made).taken) if made.nodes else 0


def collect_the_rest() -> bool:
    """Take what a killed process left; whether that is all."""
    collect()
    return not any(node.exists() for node in computed())


def undo_all() -> int:
    """Put back what all plans took; how many things."""
    return sum(len(_collecting.undo(plan_id).put_back) for plan_id in _collecting.carried_out())


def empty() -> int:
    """Remove what plans took for good, as a user does; an exit status."""
    return run_and_report(["gc", "--empty", "--yes"])


def wait_and_collect(gate: str, plan_id: str) -> int:
    made = _collecting.planned(plan_id)
    while not os.path.exists(gate):
        pass
    return len(_collecting.collect(made).taken)


def get_waiting(gate: str) -> int:
    return Waiting(gate=gate, part=PARTS[0]).get()
