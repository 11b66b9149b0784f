"""What is done to a cluster and to a run, when, and how it is undone."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Final, Protocol

import attrs

from furu_testing.slurm import SlurmTestCluster

_ENTRY: Final = b"furu_slurm._job_main"
_PATIENCE_SECS: Final = 10.0  # for something to turn up that a fault can hit
_APART_SECS: Final = 0.7  # between two faults


class Fault(Enum):
    """What can happen."""

    WORKER = "kill -9 a worker"
    NODE_PROCESS = "kill -9 the process of a node"
    SCANCEL = "scancel a worker"
    STALL = "stop a worker past its lease"
    CONTROLLER = "kill -9 the controller"
    INTERRUPT = "interrupt the controller"
    SLURMD = "kill slurmd, node down and up"
    CRASH = "power cut, node down and up"
    SLURMCTLD = "stop slurmctld"


# How often each comes among as many as there are here.
_DECK: Final = (
    *(Fault.WORKER,) * 4,
    *(Fault.NODE_PROCESS,) * 3,
    *(Fault.SCANCEL,) * 3,
    *(Fault.STALL,) * 4,
    *(Fault.CONTROLLER,) * 3,
    *(Fault.INTERRUPT,) * 1,
    *(Fault.SLURMD,) * 1,
    *(Fault.CRASH,) * 1,
    *(Fault.SLURMCTLD,) * 1,
)
_ASK_SLURM: Final = frozenset({Fault.SCANCEL, Fault.SLURMD, Fault.CRASH, Fault.SLURMCTLD})


@attrs.frozen
class Blow:
    """One fault, as it was drawn.

    Attributes:
        after: seconds since the one before.
        fault: which.
        choice: from 0 to 1, chooses among what it can hit.
        share: from 0 to 1, says how long what it does lasts.
    """

    after: float
    fault: Fault
    choice: float
    share: float


def blows(seed: int, every: float) -> Iterator[Blow]:
    """Faults without end, all kinds early on.

    Args:
        seed: decides which.
        every: seconds between two of them, on average.
    """
    rng = random.Random(seed)
    first = list(Fault)
    rng.shuffle(first)
    deck: list[Fault] = first
    while True:
        for fault in deck:
            yield Blow(rng.uniform(0.2, 1.8) * every, fault, rng.random(), rng.random())
        deck = list(_DECK)
        rng.shuffle(deck)


class Victim(Protocol):
    """The controller, as far as faults are concerned."""

    def kill(self) -> bool:
        """Kill it, so that it is started again later; whether there was one."""

    def interrupt(self) -> bool:
        """Have it cancel the run and end, so that it is started again later; whether there was one."""


@attrs.frozen
class WorkerProcess:
    """A worker's process, and the child that computes nodes for it.

    Attributes:
        pid: its own.
        children: those of its children.
        job_id: as Slurm calls its job.
    """

    pid: int
    children: tuple[int, ...]
    job_id: str


def worker_processes(cluster: SlurmTestCluster) -> list[WorkerProcess]:
    """The workers that live on a cluster, in the order of their jobs."""
    parents: dict[int, int] = {}
    for pid in cluster.processes():
        with contextlib.suppress(OSError, ValueError, IndexError):
            if _ENTRY in Path(f"/proc/{pid}/cmdline").read_bytes():
                stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
                parents[pid] = int(stat.rpartition(")")[2].split()[1])
    found = []
    for pid, parent in parents.items():
        if parent not in parents:
            children = tuple(child for child, above in parents.items() if above == pid)
            found.append(WorkerProcess(pid, children, _job_of(pid)))
    return sorted(found, key=lambda worker: (len(worker.job_id), worker.job_id, worker.pid))


def _job_of(pid: int) -> str:
    variables: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            name, _, value = entry.decode("utf-8", "replace").partition("=")
            variables[name] = value
    array = variables.get("SLURM_ARRAY_JOB_ID")
    if array:
        return f"{array}_{variables.get('SLURM_ARRAY_TASK_ID')}"
    return variables.get("SLURM_JOB_ID", "")


class Injector:
    """Does what was drawn, and undoes it in time.

    Args:
        cluster: which is hurt.
        controller: the controller of the run.
        lease: seconds of its lease.
        outage: seconds for which slurmctld is down.
        note: is told what happens.

    Attributes:
        done: how often each fault happened.
        missed: how often there was nothing that it could hit.
    """

    def __init__(
        self,
        cluster: SlurmTestCluster,
        controller: Victim,
        *,
        lease: float,
        outage: float,
        note: Callable[[str], None],
    ) -> None:
        self._cluster = cluster
        self._controller = controller
        self._lease = lease
        self._outage = outage
        self._note = note
        self._undo: list[tuple[float, int, str, Callable[[], None]]] = []
        self._order = itertools.count()
        self._deaf = False  # slurmctld is down
        self._out: set[str] = set()  # nodes
        self._waiting: list[tuple[float, Blow]] = []
        self._quiet_until = 0.0
        self.done: Counter[Fault] = Counter()
        self.missed: Counter[Fault] = Counter()

    @property
    def deaf(self) -> bool:
        """Whether slurmctld is down."""
        return self._deaf

    def inject(self, blow: Blow) -> None:
        """Let a fault happen, now or when it can."""
        self._waiting.append((time.monotonic() + _PATIENCE_SECS, blow))

    def step(self) -> None:
        """Undo what is due, and do what can be done."""
        now = time.monotonic()
        while self._undo and self._undo[0][0] <= now:
            _, _, what, undo = heapq.heappop(self._undo)
            self._note(what)
            undo()
        waiting, self._waiting = self._waiting, []
        for until, blow in waiting:
            # Those that waited for something to hit would strike it all at once: three workers that die before
            # they begin mean that workers cannot start, and end the run.
            if (self._deaf and blow.fault in _ASK_SLURM) or now < self._quiet_until:
                self._waiting.append((until + 0.1, blow))
            elif told := self._strike(blow):
                self.done[blow.fault] += 1
                self._quiet_until = now + _APART_SECS
                self._note(f"{blow.fault.value}: {told}")
            elif now < until:
                self._waiting.append((until, blow))
            else:
                self.missed[blow.fault] += 1

    def settle(self) -> None:
        """Undo everything now."""
        self._waiting.clear()
        while self._undo:
            _, _, what, undo = heapq.heappop(self._undo)
            self._note(what)
            undo()

    def _later(self, seconds: float, what: str, undo: Callable[[], None]) -> None:
        due = time.monotonic() + seconds
        heapq.heappush(self._undo, (due, next(self._order), what, undo))

    def _strike(self, blow: Blow) -> str:
        """Do it; what was done, or nothing when there is nothing to hit."""
        match blow.fault:
            case Fault.CONTROLLER:
                return "killed" if self._controller.kill() else ""
            case Fault.INTERRUPT:
                return "SIGTERM" if self._controller.interrupt() else ""
            case Fault.SLURMCTLD:
                # Not killed: without its saved state it believes in jobs that ended long ago.
                self._deaf = True
                self._cluster.stop_controller()
                self._later(self._outage, "slurmctld starts again", self._start_slurmctld)
                return f"for {self._outage:g} s"
            case Fault.SLURMD | Fault.CRASH:
                return self._hurt_node(blow)
            case _:
                return self._hurt_worker(blow)

    def _start_slurmctld(self) -> None:
        self._cluster.start_controller()
        self._deaf = False

    def _hurt_node(self, blow: Blow) -> str:
        up = [node for node in self._cluster.nodes if node not in self._out]
        if len(up) < 3:  # so that there is a node for either spec key
            return ""
        node = up[int(blow.choice * len(up))]
        self._out.add(node)
        (self._cluster.crash if blow.fault is Fault.CRASH else self._cluster.kill_slurmd)(node)
        self._cluster.down(node)
        secs = 1 + 9 * blow.share

        def up_again() -> None:
            self._cluster.start_slurmd(node)
            if self._deaf:
                self._later(1, f"{node} waits for slurmctld", up_again)
                return
            self._cluster.resume(node)
            self._out.discard(node)

        self._later(secs, f"{node} comes back", up_again)
        return f"{node} for {secs:.1f} s"

    def _hurt_worker(self, blow: Blow) -> str:
        workers = worker_processes(self._cluster)
        # Most of the time at one that has begun; else many would hit processes that just start.
        begun = [worker for worker in workers if worker.children]
        if blow.fault is Fault.NODE_PROCESS or (begun and blow.share < 0.8):
            workers = begun
        if not workers:
            return ""
        worker = workers[int(blow.choice * len(workers))]
        match blow.fault:
            case Fault.WORKER:
                _kill(signal.SIGKILL, worker.pid)
            case Fault.NODE_PROCESS:
                _kill(signal.SIGKILL, *worker.children)
            case Fault.SCANCEL:
                with contextlib.suppress(AssertionError):  # it has just ended
                    self._cluster.run("scancel", worker.job_id)
            case _:
                # Up to its lease and past the leases after which its job is cancelled.
                secs = self._lease * (1.1 + 3.4 * blow.share)
                pids = _stalled(worker, blow)
                starts = {pid: _start_of(pid) for pid in pids}
                _kill(signal.SIGSTOP, *pids)

                def go_on() -> None:
                    same = [pid for pid in pids if _start_of(pid) == starts[pid] != ""]
                    _kill(signal.SIGCONT, *same)

                self._later(secs, f"processes {pids} go on", go_on)
                return f"job {worker.job_id}, processes {pids} for {secs:.1f} s"
        return f"job {worker.job_id}, process {worker.pid}"


def _stalled(worker: WorkerProcess, blow: Blow) -> tuple[int, ...]:
    """Most often the whole worker; now and then only what beats its heart, or only what computes."""
    match int(1000 * blow.choice) % 5:
        case 0:
            return (worker.pid,)
        case 1 if worker.children:
            return worker.children
        case _:
            return (worker.pid, *worker.children)


def _kill(number: signal.Signals, *pids: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _start_of(pid: int) -> str:
    """When a process started, which tells it from a later one with its number."""
    with contextlib.suppress(OSError, IndexError):
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        return stat.rpartition(")")[2].split()[19]
    return ""
