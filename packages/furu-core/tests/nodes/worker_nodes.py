"""A node that says itself that it was cancelled, and attempts at nodes in processes that a test may kill."""

from __future__ import annotations

import bdb
from pathlib import Path
from typing import Any

from furu_core import Furu
from furu_core.errors import NodeCancelled
from furu_core.workers import Unpacker, WorkerContext, run_node, worker_session
from furu_testing.nodes import Step


class Cancels(Furu[str]):
    """Ends as a node does whose run was cancelled."""

    def _create(self) -> str:
        raise NodeCancelled("the run was cancelled")


class Debugs(Furu[str]):
    """Stops in a debugger; `left` as one does that its user leaves, or that finds no terminal."""

    left: bool = False

    def _create(self) -> str:
        if self.left:
            raise bdb.BdbQuit
        breakpoint()
        return "went on"


class SavesTheSame(Step):
    """Writes the same checkpoint each time."""

    def _create(self) -> int:
        (self.checkpoint_dir / "step").write_text("1")
        return super()._create()


def attempt(record: dict[str, Any]) -> str:
    """Make one attempt as a worker does."""
    with worker_session(WorkerContext(executor="test", run_id="run-1")):
        return run_node(Furu.from_dict(record)).outcome.value


def unpack(path: str) -> str:
    """Unpack what another process has packed."""
    node: Furu[object] = Unpacker().unpack(Path(path).read_bytes())
    return node.furu_hash
