"""Nodes that end in every way an attempt can end, in processes that a test may kill."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from furu_core import Furu
from furu_core.errors import NodeCancelled
from furu_core.executors import Unpacker, WorkerContext, run_node, worker_session


class Ends(Furu[str]):
    """Ends as it is told; its checkpoint folder counts its attempts if it is told so."""

    how: str
    counts: bool = False
    folder: Path = Path()

    def _create(self) -> str:
        if self.counts:
            path = self.checkpoint_dir / "count"
            count = int(path.read_text()) if path.exists() else 0
            path.write_text(str(count + 1))
        if (self.folder / "end well").exists():
            return "in the end"
        match self.how:
            case "value":
                return "value"
            case "raise":
                raise ValueError("bad value")
            case "cancel":
                raise NodeCancelled("the run was cancelled")
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "wait":
                (self.folder / "started").touch()
                signal.pause()
        raise AssertionError(self.how)


def attempt(how: str, counts: bool, folder: str) -> str:
    """Make one attempt as a worker does."""
    with worker_session(WorkerContext(executor="test", run_id="run-1")):
        return run_node(Ends(how=how, counts=counts, folder=Path(folder))).outcome.value


def unpack(path: str) -> str:
    """Unpack what another process has packed."""
    node: Furu[object] = Unpacker().unpack(Path(path).read_bytes())
    return node.furu_hash
