"""What computing a node takes: time, apart from waiting and from nodes inside it, processor, memory."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple, TypeAlias


class Moment(NamedTuple):
    """A moment of this process.

    Attributes:
        wall: seconds by a clock that never goes back.
        cpu: seconds of processor time that the process has used.
        children_cpu: those of the children that it waited for.
        children_peak: the most memory that one of these had, in the system's unit.
    """

    wall: float
    cpu: float
    children_cpu: float
    children_peak: int


Span: TypeAlias = tuple[Moment, Moment]


def this_moment() -> Moment:
    """The moment at which this is called."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Moment(
        time.perf_counter(),
        time.process_time(),
        children.ru_utime + children.ru_stime,
        children.ru_maxrss,
    )


class NodeTimer:
    """Measures the time and memory that one node takes, from when the timer is made.

    Each moment of it counts once, however many threads the node's code has: as nested while one of them
    computes another node, else as waited while one of them waits for another process's attempt,
    else as the node's own. Waiting and computing in child processes is not known here.

    Args:
        alone: whether the process computes nothing else meanwhile, except nodes around this one.

    Attributes:
        waits: the spans in which a thread of the node's code waited, by what it was that waited.
        knows_shares: whether it is known which threads' waiting and nested nodes belong to this node.

    Example:
        >>> from furu_core._costs import NodeTimer
        >>> costs = NodeTimer().stop()
        >>> costs["waited_secs"] + costs["nested_secs"] <= costs["wall_secs"] < 60
        True
    """

    def __init__(self, *, alone: bool = True) -> None:
        self.waits: Final[dict[object, Span]] = {}
        self.knows_shares = True
        self._nested: Final[list[Span]] = []
        self._measures_peak = alone and _reset_peak()
        self._peak = 0
        self._began = this_moment()

    def begin_nested(self) -> Moment:
        """Keep what a node that begins inside this one would measure anew; call it before."""
        if self._measures_peak:
            self._peak = max(self._peak, _peak_since_reset() or 0)
        return this_moment()

    def end_nested(self, began: Moment) -> None:
        """Take out what a node inside this one took since `begin_nested`, which returned `began`."""
        self._nested.append((began, this_moment()))

    def stop(self) -> dict[str, float]:
        """The cost of the node up to now.

        Returns:
            ``wall_secs``, of which ``waited_secs`` and ``nested_secs`` are not the node's own, and are
            left out where they are not known;
            ``cpu_secs`` of the process, and ``children_cpu_secs`` of the children that it waited for,
            without what they used while a nested node was computed; ``peak_bytes``, the most memory
            that the process had meanwhile, nested nodes included, or, where that cannot be measured,
            ``process_peak_bytes``, the most it ever had, earlier nodes included;
            ``children_peak_bytes``, the most of a child, if it is more than any child had before. The
            costs of children are left out where there was none.
        """
        before, after = self._began, this_moment()
        nested = list(_merged(self._nested)) if self._nested else []
        nested_secs = _wall(nested) if nested else 0.0
        waited_secs = 0.0
        if self.waits:
            waited_secs = _wall(_merged(nested + list(self.waits.values()))) - nested_secs
        shares = {"waited_secs": round(waited_secs, 6), "nested_secs": round(nested_secs, 6)}
        costs = {
            "wall_secs": round(after.wall - before.wall, 6),
            **(shares if self.knows_shares else {}),
            "cpu_secs": round(
                after.cpu - before.cpu - sum([end.cpu - begin.cpu for begin, end in nested]), 6
            ),
        }
        peak = _peak_since_reset() if self._measures_peak else None
        if peak is None:
            costs["process_peak_bytes"] = _peak_bytes(resource.getrusage(resource.RUSAGE_SELF))
        else:
            costs["peak_bytes"] = max(peak, self._peak)
        children_cpu = after.children_cpu - before.children_cpu
        children_cpu -= sum([end.children_cpu - begin.children_cpu for begin, end in nested])
        if round(children_cpu, 6) > 0:
            costs["children_cpu_secs"] = round(children_cpu, 6)
        if after.children_peak > before.children_peak:
            costs["children_peak_bytes"] = _in_bytes(after.children_peak)
        return costs


def _merged(spans: Collection[Span]) -> Iterator[Span]:
    """The spans as few that do not overlap, in their order."""
    last: Span | None = None
    for begin, end in sorted(spans):
        if last is not None and begin.wall <= last[1].wall:
            last = last[0], max(last[1], end)
            continue
        if last is not None:
            yield last
        last = begin, end
    if last is not None:
        yield last


def _wall(spans: Iterable[Span]) -> float:
    return sum(end.wall - begin.wall for begin, end in spans)


def _peak_bytes(usage: resource.struct_rusage) -> int:
    return _in_bytes(usage.ru_maxrss)


def _in_bytes(maxrss: int) -> int:
    return maxrss if sys.platform == "darwin" else maxrss * 1024


class _OwnFile:
    """A file in which the system tells of this process; it stays open for the next node."""

    def __init__(self, path: str, flags: int) -> None:
        self._path = path
        self._flags = flags | os.O_CLOEXEC
        self._fd = -1
        self._is: os.stat_result | None = None

    def write(self, data: bytes) -> None:
        """Write to it.

        Raises:
            OSError: it cannot be opened or written.
        """
        # A node's code may have closed it, and the number may be that of another file by now.
        if self._is is not None:
            try:
                if os.path.samestat(self._is, os.fstat(self._fd)):
                    os.write(self._fd, data)
                    return
            except OSError:
                pass
        self._open()
        os.write(self._fd, data)

    def read(self, begins: bytes) -> bytes:
        """What it says now.

        Args:
            begins: how it begins, by which it is told from any other file.

        Raises:
            OSError: it cannot be opened or read.
        """
        if self._is is not None:
            with suppress(OSError):
                if (found := os.pread(self._fd, _STATUS_BYTES, 0)).startswith(begins):
                    return found
        self._open()
        return os.pread(self._fd, _STATUS_BYTES, 0)

    def _open(self) -> None:
        self._fd = os.open(self._path, self._flags)
        self._is = os.fstat(self._fd)

    def forget(self) -> None:
        """Open it anew at the next call: in a forked child it is still the parent's."""
        if self._is is not None:
            with suppress(OSError):
                os.close(self._fd)
        self._is = None


_STATUS_BYTES: Final = 1 << 13
_clear_refs: Final = _OwnFile("/proc/self/clear_refs", os.O_WRONLY)
_status: Final = _OwnFile("/proc/self/status", os.O_RDONLY)

# `getrusage` tells the peak since it was reset, or that which the parent had when it started this
# process, whichever is more. From the first number on it is known to be the first; the second is the
# parent's, where that is known to be more.
_exact_from = sys.maxsize
_inherited: int | None = None


def _reset_peak() -> bool:
    """Let the system measure this process's peak anew; whether it can."""
    try:
        _clear_refs.write(b"5")
    except OSError:
        return False
    return True


def _peak_since_reset() -> int | None:
    global _exact_from, _inherited
    told = _inherited
    if told is None:
        told = _peak_bytes(resource.getrusage(resource.RUSAGE_SELF))
        if told >= _exact_from:
            return told
    try:
        status = _status.read(b"Name:")
        found = 1024 * int(status[status.index(b"\nVmHWM:") + 7 :].split(None, 1)[0])
    except (OSError, ValueError):
        return None
    if found >= told:
        _exact_from, _inherited = told, None
    else:
        _inherited = told
    return found


def _after_fork() -> None:
    global _exact_from, _inherited
    _exact_from, _inherited = sys.maxsize, None
    _clear_refs.forget()
    _status.forget()


os.register_at_fork(after_in_child=_after_fork)
