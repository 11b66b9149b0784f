"""Parents of node processes, each run in a process of its own that has imported no node."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import furu_core
from furu_core.executors import Submission
from furu_core.workers import NodeProcess, Watchdog, WorkerContext
from furu_testing import await_mark

CONTEXT = WorkerContext("test", "run-1", submission=Submission("test", "7"))


def process(graph: str) -> NodeProcess:
    """A process for the nodes of a graph."""
    return NodeProcess(None, graph=Path(graph), idle_secs=None)


def told(process: NodeProcess, timeout: float | None) -> dict[str, Any]:
    """What a parent learned, as JSON."""
    (report,) = process.poll(timeout)
    result = report.result
    assert result is not None
    died = process.death if process.pid is None else ""
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
    with process(graph) as child:
        for offset in offsets:
            child.assign(offset, CONTEXT)
            answers.append(told(child, None) | {"pid": child.pid})
    assert not {"process_nodes", "furu_testing.nodes"} & sys.modules.keys()
    return answers


def compute_in_vain(graph: str, offsets: list[int]) -> dict[str, Any]:
    """Compute a node in a process that has not even room for a thread."""
    from furu_core._processes import _node_server

    def serve_forked(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    _node_server.serve_forked = serve_forked
    with process(graph) as child:
        child.assign(offsets[0], CONTEXT)
        return told(child, None)


def interrupt(graph: str, offsets: list[int], hows: list[str]) -> list[dict[str, Any]]:
    """Compute nodes one after the other, whose labels say how they are interrupted; "" lets one end."""
    answers = []
    with process(graph) as child:
        for offset, how in zip(offsets, hows, strict=True):
            child.assign(offset, CONTEXT)
            child.flush()
            if how:
                await_mark(furu_core.settings().path, how)
                assert child.poll(0.0) == []
            match how:
                case "cancelled" | "lost":
                    child.interrupt("out of walltime", lost=how == "lost")
                case "killed":
                    child.kill()
                case "clings":
                    child.interrupt("out of patience")
                    assert child.poll(0.2) == []
                    child.kill()
            answers.append(told(child, 180.0))
    return answers


def wait_for_ever(graph: str, offsets: list[int]) -> None:
    """Start a node and wait, to be killed meanwhile."""
    with process(graph) as child:
        child.assign(offsets[0], CONTEXT)
        child.poll(None)


def wait_unwatched(graph: str, offsets: list[int]) -> None:
    """As `wait_for_ever`, after the watchdog was killed."""
    watchdog = Watchdog()
    with NodeProcess(None, graph=Path(graph), idle_secs=None, watchdog=watchdog) as child:
        child.assign(offsets[0], CONTEXT)
        child.flush()
        os.kill(watchdog.pid, signal.SIGKILL)
        child.poll(None)
