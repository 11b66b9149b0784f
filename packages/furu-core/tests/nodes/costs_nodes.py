"""Nodes whose code waits for other processes, and computes other nodes, while a test measures."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from furu_core import Furu
from furu_core.workers import WorkerContext, run_node, worker_session
from furu_testing import wait_until


def note(outside: str, line: str) -> None:
    """Write a line beside the store."""
    with open(f"{outside}/notes", "ab", buffering=0) as file:
        file.write(f"{line}\n".encode())


def burn(secs: float) -> None:
    """Use so many seconds of processor time."""
    end = time.process_time() + secs
    while time.process_time() < end:
        pass


class Held(Furu[str]):
    """Ends when the test opens its gate."""

    outside: str
    name: str

    def _create(self) -> str:
        note(self.outside, f"{self.name} begun")
        wait_until("the gate", Path(self.outside, f"go-{self.name}").exists)
        return self.name


class Waits(Furu[int]):
    """Asks for nodes that other processes compute, for each in a thread if there are several."""

    outside: str
    names: tuple[str, ...]
    force: bool = True

    def _create(self) -> int:
        held = [Held(outside=self.outside, name=name) for name in self.names]
        if len(held) == 1:
            held[0].get(force=self.force)
        else:
            threads = [threading.Thread(target=node.get, args=(True,)) for node in held]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        burn(0.05)
        return len(held)


class Inner(Furu[int]):
    """Uses processor time, and memory or a child process."""

    secs: float
    child: bool = False

    def _create(self) -> int:
        burn(self.secs)
        if self.child:
            code = f"import time\nwhile time.process_time() < {self.secs}: pass"
            subprocess.run([sys.executable, "-c", code], check=True)
        return 1


class Outer(Furu[int]):
    """Uses as much processor time, and computes what is inside it, in so many threads."""

    inner: tuple[Furu[int], ...]
    secs: float = 0.0
    mebibytes: int = 0

    def _create(self) -> int:
        large = bytearray(self.mebibytes << 20)
        del large
        burn(self.secs)
        return sum(node.get() for node in self.inner)


_begun: list[str] = []
_may_end: list[str] = []


class Meets(Furu[int]):
    """Ends, after some work, when its turn has come."""

    name: str

    def _create(self) -> int:
        _begun.append(self.name)
        wait_until("its turn", lambda: self.name in _may_end)
        burn(0.1)
        return 1


class Forces(Furu[int]):
    """Computes other nodes at once, each in a thread; the last one to begin ends first."""

    names: tuple[str, ...]

    def _create(self) -> int:
        threads = {}
        for name in self.names:
            threads[name] = threading.Thread(target=Meets(name=name).get, args=(True,))
            threads[name].start()
            wait_until(name, lambda name=name: name in _begun)
        for name in reversed(self.names):
            _may_end.append(name)
            threads[name].join()
        return len(threads)


def get_held(outside: str, name: str) -> str:
    return Held(outside=outside, name=name).get()


def _note_waits(outside: str) -> None:
    """Note for each thread of this process, which does nothing else, that it waits."""
    sleep, seen = time.sleep, set()

    def noted(secs: float) -> None:
        me = threading.get_ident()
        if me not in seen:
            seen.add(me)
            note(outside, f"wait {len(seen)}")
        sleep(secs)

    time.sleep = noted


def get_waits(outside: str, names: list[str]) -> dict[str, Any]:
    """Compute nested in another node, as an interactive program does, a node that waits."""
    _note_waits(outside)
    node = Waits(outside=outside, names=tuple(names))
    outer = Outer(inner=(node,))
    outer.get()
    return {"waits": node.provenance()["costs"], "outer": outer.provenance()["costs"]}


def work_on_waits(outside: str, names: list[str], force: bool) -> dict[str, Any]:
    """Compute a node that waits as a worker."""
    _note_waits(outside)
    node = Waits(outside=outside, names=tuple(names), force=force)
    worker = WorkerContext(executor="test", run_id="run-1", known_done_wait_secs=3600.0)
    with worker_session(worker):
        result = run_node(node)
    assert result.failure is None, result.failure
    costs: dict[str, Any] = node.provenance()["costs"]
    return costs


def get_outer(secs: float, child: bool) -> dict[str, Any]:
    """Compute a node with another one inside it; their costs, and what this process used at most."""
    inner = Inner(secs=secs, child=child)
    outer = Outer(inner=(inner,), secs=secs)
    outer.get()
    used = time.process_time()
    costs = {"inner": inner.provenance()["costs"], "outer": outer.provenance()["costs"]}
    return {**costs, "used": used}


def work_on_forces(names: list[str]) -> dict[str, Any]:
    node = Forces(names=tuple(names))
    with worker_session(WorkerContext(executor="test", run_id="run-1")):
        assert run_node(node).failure is None
    inner = [Meets(name=name).provenance()["costs"] for name in names]
    return {"outer": node.provenance()["costs"], "inner": inner}
