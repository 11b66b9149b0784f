"""The messages between a process and its parent, and their encoding.

A message is a pickle after its length. Both ends run the same furu, and no message outlives them,
so there is no version.
"""

from __future__ import annotations

import pickle
import struct
from enum import Enum, IntEnum
from typing import Any, Final, NamedTuple, TypeAlias

from furu_core._attempts._outcomes import NodeResult, Outcome
from furu_core._store._layout import NodeRef
from furu_core._workers._worker_session import WorkerContext

_LENGTH: Final = struct.Struct(">Q")


class Setup(NamedTuple):
    """The parent's first message to a new interpreter, which sets it up."""

    argv: tuple[str, ...]
    provenance: dict[str, Any]
    sources: dict[
        str, str
    ]  # files of modules that the program has loaded, and digests of their sources
    idle_secs: float | None  # it ends after so many seconds without an order


class Order(NamedTuple):
    """Compute one node, after those that were ordered before it.

    After a node that could not be read, sender and receiver no longer agree on what was sent
    before. So the sender starts again with the next epoch, and the receiver drops the rest of the
    last one.
    """

    number: int
    epoch: int
    node: bytes | int  # the bytes of a `Packer`, or its place in the graph's file
    worker: WorkerContext | None  # None: the same as for the order before
    rerun: bool
    imports: bool  # whether reading it may import its class


class Recall(NamedTuple):
    """Give back these orders, except those that have begun."""

    numbers: tuple[int, ...]


class Interrupt(NamedTuple):
    """Interrupt the node being computed, or else the first, and give back the orders after it."""

    reason: str
    lost: bool  # the worker is taken away; else the node is cancelled on purpose


class Identified(NamedTuple):
    """A node was read from the graph's file, which the parent cannot do."""

    number: int
    ref: NodeRef


class Finished(NamedTuple):
    """An attempt has ended, with or without success."""

    number: int
    result: NodeResult


class Unreadable(NamedTuple):
    """A node could not be made from what was sent, most likely because an import failed."""

    number: int
    epoch: int
    result: NodeResult


class Returned(NamedTuple):
    """Orders that were given back: they will not begin."""

    numbers: tuple[int, ...]


class Notice(Enum):
    """A message without contents."""

    STOP = "stop"  # to the process: end when all orders are done
    READY = "ready"  # the first message of a new interpreter: it has started
    LEAVING = (
        "leaving"  # the last message of a process that ends by itself: it begins no more order
    )


ToProcess: TypeAlias = Setup | Order | Recall | Interrupt | Notice
FromProcess: TypeAlias = Identified | Finished | Unreadable | Returned | Notice


class ExitCode(IntEnum):
    """Exit statuses of a process that cannot go on in the middle of a node."""

    FORKED = 80  # a child process that the node's code forked returned from that code
    NO_CONNECTION = 81  # the node's code closed the socket, so no result can be sent
    DEAF = 82  # an error while it listened, so no order reaches it any more


# Nearly all messages are these two in their simplest form; as a tuple without names of classes they
# take a fraction of the time.
_PlainOrder: TypeAlias = tuple[int, int, "bytes | int", bool]
_ORDER_PARTS: Final = 4
_PlainFinished: TypeAlias = tuple[int, str, str, "int | None", float]


def _plain(
    message: ToProcess | FromProcess,
) -> ToProcess | FromProcess | _PlainOrder | _PlainFinished:
    if type(message) is Order and message.worker is None and not message.imports:
        return message.number, message.epoch, message.node, message.rerun
    if type(message) is Finished:
        number, result = message
        more = result.failure, result.culprit, result.holder, result.edited or None
        if more == (None, None, None, None):
            return number, result.hash, result.outcome.value, result.attempt, result.seconds
    return message


def _whole(message: Any) -> ToProcess | FromProcess:
    if type(message) is not tuple:
        whole: ToProcess | FromProcess = message
        return whole
    if len(message) == _ORDER_PARTS:
        number, epoch, node, rerun = message
        return Order(number, epoch, node, None, rerun, imports=False)
    number, node_hash, outcome, attempt, seconds = message
    return Finished(number, NodeResult(node_hash, Outcome(outcome), attempt, None, seconds))


def encode(message: ToProcess | FromProcess) -> bytes:
    """The bytes of a message."""
    data = pickle.dumps(_plain(message), protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(data)) + data


class Decoder:
    """Decodes messages from bytes that arrive in pieces."""

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
            messages.append(_whole(pickle.loads(self._buffer[start + _LENGTH.size : end])))
            start = end
        del self._buffer[:start]
        return messages
