"""Parents of node processes, each run in a process of its own that has imported no node."""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from furu_core.executors import Submission, WorkerContext
from furu_slurm._node_child import ChildDied, NodeChild
from furu_testing import wait_until

CONTEXT = WorkerContext("test", "run-1", submission=Submission("test", "7"))


def told(answer: Any) -> dict[str, Any]:
    """What a parent learned, as JSON."""
    assert answer is not None
    died = answer.message if isinstance(answer, ChildDied) else ""
    result = answer.result if isinstance(answer, ChildDied) else answer
    failure = result.failure
    return {
        "died": died,
        "hash": result.hash,
        "outcome": result.outcome.value,
        "attempt": result.attempt,
        "kind": "" if failure is None else failure.kind.value,
        "error": "" if failure is None else failure.error_type,
        "message": "" if failure is None else failure.message,
        "log": "" if failure is None or failure.log is None else str(failure.log),
    }


def compute(graph: str, offsets: list[int]) -> list[dict[str, Any]]:
    """Compute nodes one after the other."""
    answers = []
    with NodeChild(CONTEXT, Path(graph)) as process:
        for offset in offsets:
            process.start(offset)
            answers.append(told(process.poll(None)) | {"pid": process.pid})
    assert "process_nodes" not in sys.modules
    return answers


def count(graph: str, offsets: list[int]) -> float:
    """Nodes per second, while nothing else holds the machine up."""
    with NodeChild(CONTEXT, Path(graph)) as process:
        process.start(offsets[0])
        assert process.poll(180.0) is not None
        took = []
        for offset in offsets[1:]:
            began = time.monotonic()
            process.start(offset)
            answer = process.poll(None)
            took.append(time.monotonic() - began)
            assert told(answer)["outcome"] == "computed", told(answer)
        return 1 / statistics.median(took)


def interrupt(graph: str, offset: int, note: str, how: str, after: int) -> list[dict[str, Any]]:
    """Interrupt a node once it has begun, and compute another one afterwards."""
    answers = []
    with NodeChild(CONTEXT, Path(graph)) as process:
        process.start(offset)
        assert process.poll(0.0) is None
        wait_until("the node to begin", lambda: os.path.exists(note))
        if how == "kill":
            process.kill()
        elif how == "kill after interrupt":
            process.interrupt("out of patience")
            assert process.poll(0.2) is None
            process.kill()
        else:
            process.interrupt("out of walltime", lost=how == "lost")
        answers.append(told(process.poll(180.0)))
        process.start(after)
        answers.append(told(process.poll(180.0)))
    return answers


def wait_for_ever(graph: str, offset: int) -> None:
    """Start a node and wait, to be killed meanwhile."""
    with NodeChild(CONTEXT, Path(graph)) as process:
        process.start(offset)
        process.poll(None)
