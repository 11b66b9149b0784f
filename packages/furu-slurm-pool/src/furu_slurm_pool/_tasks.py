"""What stands in a task's file: which node, and where its config is."""

from __future__ import annotations

import json
from typing import Any, Final

import attrs

VERSION: Final = 1


class UnreadableTask(ValueError):
    """A task's file that does not hold what `encode` wrote."""


@attrs.frozen
class QueuedTask:
    """One attempt at one node, as it waits in the queue.

    Attributes:
        hash: the node's.
        graph: name of the graph file in the run's folder.
        offset: of the node in that file.
        rerun: whether the node is computed although its artifact is there.
        attempt: counts the node's attempts in this run from 1.
    """

    hash: str
    graph: str
    offset: int
    rerun: bool = False
    attempt: int = 1


def name_of(number: int, controller: int, node_hash: str) -> str:
    """The name of a task's file, never used twice in a run, in the order of queueing.

    Args:
        number: counts the tasks that a controller queued.
        controller: counts the controllers of the run.
        node_hash: the node's.
    """
    return f"{controller:03d}-{number:08d}.{node_hash}"


def hash_of(name: str) -> str:
    """The hash of the node that the task with this name is for."""
    return name.partition(".")[2]


def encode(task: QueuedTask) -> bytes:
    """The bytes of a task's file."""
    return json.dumps({"version": VERSION, **attrs.asdict(task)}, separators=(",", ":")).encode()


def parse(data: bytes) -> QueuedTask:
    """The task that `encode` wrote.

    Raises:
        UnreadableTask: it did not write that.
    """
    try:
        raw: dict[str, Any] = json.loads(data)
        version = raw.pop("version")
        if version == VERSION:
            return QueuedTask(
                str(raw["hash"]),
                str(raw["graph"]),
                int(raw["offset"]),
                bool(raw["rerun"]),
                int(raw["attempt"]),
            )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UnreadableTask(f"{type(error).__name__}: {error}") from None
    raise UnreadableTask(f"it has format version {version}, this furu reads {VERSION}")
