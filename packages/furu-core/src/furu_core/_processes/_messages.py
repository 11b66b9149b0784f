"""What a process and its parent say to each other, and how it travels.

A message is a pickle after its length. Both ends run the same furu, and nothing here outlives them, so
there is no version.
"""

from __future__ import annotations

import pickle
import struct
from enum import Enum, IntEnum
from typing import Any, Final, NamedTuple, TypeAlias

from furu_core._attempts._outcomes import NodeResult
from furu_core._store._places import NodePlace
from furu_core._workers._worker_session import WorkerContext

_LENGTH: Final = struct.Struct(">Q")


class Setup(NamedTuple):
    """The parent's first message to a new interpreter: what it is to be like."""

    argv: tuple[str, ...]
    provenance: dict[str, Any]
    idle_secs: float | None  # without an order, after which it leaves


class Order(NamedTuple):
    """Compute one node, after those that were ordered before it.

    After a node that could not be read, sender and receiver no longer agree on what was sent before.
    So the sender begins anew with the next epoch, and the receiver drops what is left of the last.
    """

    number: int
    epoch: int
    node: bytes | int  # what a `Packer` made of it, or its place in the graph's file
    worker: WorkerContext | None  # None: that of the order before
    rerun: bool
    imports: bool  # its class is perhaps imported now


class Recall(NamedTuple):
    """Give back those of these orders that have not begun."""

    numbers: tuple[int, ...]


class Interrupt(NamedTuple):
    """Interrupt the node that is computed, or the first, and give back those that were sent after it."""

    reason: str
    lost: bool  # its worker is taken away, instead of cancelled on purpose


class Identified(NamedTuple):
    """A node was read from the graph's file, which the parent cannot do."""

    number: int
    place: NodePlace


class Finished(NamedTuple):
    """An attempt has ended, one way or the other."""

    number: int
    result: NodeResult


class Unreadable(NamedTuple):
    """A node could not be made from what was sent, most likely because an import failed."""

    number: int
    epoch: int
    result: NodeResult


class Returned(NamedTuple):
    """Orders that are not going to be begun."""

    numbers: tuple[int, ...]


class Notice(Enum):
    """A message that says no more than its name."""

    STOP = "stop"  # to the process: end when all orders are done
    READY = "ready"  # a new interpreter's first: it has started
    LEAVING = "leaving"  # the last of a process that ends by itself: it begins no order that it has


ToProcess: TypeAlias = Setup | Order | Recall | Interrupt | Notice
FromProcess: TypeAlias = Identified | Finished | Unreadable | Returned | Notice


class ExitCode(IntEnum):
    """How a process ends that cannot go on, in the middle of a node."""

    FORKED = 80  # a child of the node's code came back from it
    NO_CONNECTION = 81  # the node's code closed the socket, so no result can be told
    DEAF = 82  # an error while it listened, so no order reaches it any more


def encode(message: ToProcess | FromProcess) -> bytes:
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
