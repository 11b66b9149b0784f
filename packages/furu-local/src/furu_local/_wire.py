"""What a controller and its worker processes say to each other, and how it travels.

A message is a pickle after its length. Both ends run the same furu, and nothing here outlives them, so
there is no version.
"""

from __future__ import annotations

import pickle
import struct
from enum import IntEnum
from typing import Any, Final, NamedTuple, TypeAlias

from furu_core.executors import NodeResult

_LENGTH: Final = struct.Struct(">Q")


class Setup(NamedTuple):
    """The controller's first message: what the worker is to be like."""

    argv: list[str]
    executor: str
    run_id: str
    provenance: dict[str, Any]


class Work(NamedTuple):
    """Compute one node.

    After a node that could not be read, sender and receiver no longer agree on what was sent before.
    So the sender begins anew with the next epoch, and the receiver drops what is left of the last.
    """

    task: int
    epoch: int
    spec_key: str
    rerun: bool
    new_class: bool  # the worker has not seen the node's class, and probably imports it now
    packed: bytes


class Recall(NamedTuple):
    """Give back those of these tasks that have not started."""

    tasks: tuple[int, ...]


class Stop(NamedTuple):
    """End when the tasks at hand are done."""


class Ready(NamedTuple):
    """The worker's first message: it has started."""


class Finished(NamedTuple):
    """A task has ended, one way or the other."""

    task: int
    result: NodeResult


class Unreadable(NamedTuple):
    """A task's node could not be made from what was sent, most likely because an import failed."""

    task: int
    epoch: int
    error_type: str
    message: str


class Returned(NamedTuple):
    """Tasks that were called back in time."""

    tasks: tuple[int, ...]


class Leaving(NamedTuple):
    """The worker's last message when it was terminated: it begins none of the tasks that it has."""


ToWorker: TypeAlias = Setup | Work | Recall | Stop
FromWorker: TypeAlias = Ready | Finished | Unreadable | Returned | Leaving


class ExitCode(IntEnum):
    """How a worker process ends when it ends itself."""

    FORKED = 80  # a child of the node's code came back from it
    NO_CONNECTION = 81  # the socket is gone, so no result can be told


def encode(message: ToWorker | FromWorker) -> bytes:
    """A message as it travels."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(data)) + data


class Decoder:
    """Gives back messages from bytes that come in pieces."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        """The messages that are complete with `data`."""
        self._buffer += data
        messages = []
        start = 0
        while len(self._buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, start)
            end = start + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            messages.append(pickle.loads(self._buffer[start + _LENGTH.size : end]))
            start = end
        del self._buffer[:start]
        return messages
