"""Parents of node processes, each run in a process of its own that has imported no node."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import furu_core
from furu_core.executors import Submission, WorkerContext
from furu_slurm._node_child import ChildDied, NodeChild
from furu_testing import await_mark

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
    assert not {"process_nodes", "furu_testing.nodes"} & sys.modules.keys()
    return answers


def interrupt(graph: str, offsets: list[int], hows: list[str]) -> list[dict[str, Any]]:
    """Compute nodes one after the other, whose labels say how they are interrupted; "" lets one end."""
    answers = []
    with NodeChild(CONTEXT, Path(graph)) as process:
        for offset, how in zip(offsets, hows, strict=True):
            process.start(offset)
            if how:
                await_mark(furu_core.settings().path, how)
                assert process.poll(0.0) is None
            match how:
                case "cancelled" | "lost":
                    process.interrupt("out of walltime", lost=how == "lost")
                case "killed":
                    process.kill()
                case "clings":
                    process.interrupt("out of patience")
                    assert process.poll(0.2) is None
                    process.kill()
            answers.append(told(process.poll(180.0)))
    return answers


def wait_for_ever(graph: str, offsets: list[int]) -> None:
    """Start a node and wait, to be killed meanwhile."""
    with NodeChild(CONTEXT, Path(graph)) as process:
        process.start(offsets[0])
        process.poll(None)
