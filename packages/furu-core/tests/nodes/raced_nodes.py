"""Nodes whose code tells the test that it has begun, and goes on when the test says so."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from furu_core import Furu, _process_ids
from furu_core._attempts import _attempts, _claims, _liveness, _publishing
from furu_core._compute import _acquire
from furu_core._store import _layout, _record_file
from furu_core.errors import FuruWaitTimeout
from furu_core.planning import StateReader
from furu_testing import wait_until


def note(outside: str, line: str) -> None:
    """Write a line beside the store."""
    with open(f"{outside}/notes", "ab", buffering=0) as file:
        file.write(f"{line}\n".encode())


class Counted(Furu[str]):
    """Notes each computation, with the process that made it."""

    outside: str
    number: int

    def _create(self) -> str:
        note(self.outside, f"computed {self.number}")
        (self.furu_dir / "file").write_text(str(self.number))
        return f"value {self.number}"

    def _validate(self) -> bool:
        return (self.furu_dir / "file").read_text() == str(self.number)


class Loaded(Furu[str]):
    """Loads its own file, as a user's `_load` does."""

    outside: str

    def _create(self) -> None:
        note(self.outside, "computed")
        (self.furu_dir / "file").write_text("value")

    def _load(self) -> str:
        return (self.furu_dir / "file").read_text()


class Chain(Furu[int]):
    """The sum of everything below it."""

    outside: str
    number: int
    below: tuple[Furu[int], ...] = ()

    def _create(self) -> int:
        value = self.number + sum(part.get() for part in self.below)
        note(self.outside, f"computed {self.number}")
        return value


class Gate(Furu[str]):
    """Waits in the middle of its code until the test opens the gate for whoever computes it."""

    outside: str

    def _create(self) -> str:
        who = os.environ["WHO"]
        note(self.outside, f"begun by {who}")
        (self.furu_dir / "first").write_text(who)
        gate = Path(self.outside, f"go-{who}")
        wait_until(f"the gate {gate}", gate.exists)
        if gate.read_text():
            raise ValueError(gate.read_text())
        (self.furu_dir / "second").write_text(who)
        note(self.outside, f"ended by {who}")
        return f"{who} {(self.furu_dir / 'first').read_text()}"


def get_gate(outside: str, who: str) -> str:
    os.environ["WHO"] = who
    return Gate(outside=outside).get()


IN_ASKING = {  # where a process can be stopped: what of furu's it calls then, and whether it has returned
    "before it claims": (_claims, "claim", False),
    "before its record is made": (_record_file, "create", False),
    "before it judges a folder without a record": (_liveness, "judge_unread", False),
    "when it has looked at the newest attempt": (_attempts, "latest", True),
    "when it has claimed": (_claims, "claim", True),
    "before its line is written": (_record_file, "append", False),
    "between looking at its record and writing its line": (_record_file, "_write", False),
    "between writing its line and looking for a successor": (_claims, "append", True),
    "between looking for a successor and the rename": (_publishing, "publish", False),
    "when it has moved the artifact that it replaces": (_publishing, "move_into_place", False),
    "before it cleans up": (_publishing, "clean_up", False),
    "when it has cleaned up": (_publishing, "clean_up", True),
}


def get_gate_asleep(outside: str, who: str, *steps: str) -> str:
    """Ask for the gate, and be stopped at each of some steps, for as long as the test wants."""
    sleep_at(outside, who, list(steps))
    return get_gate(outside, who)


def sleep_at(outside: str, who: str, steps: list[str]) -> None:
    """Be stopped at the first of some steps, and then at the others, in a process that runs nothing else."""
    if not steps:
        return
    module, name, returned = IN_ASKING[steps[0]]
    original = getattr(module, name)

    def asleep(*args: Any, **kwargs: Any) -> Any:
        if name == "_write" and b'"status"' not in args[1]:
            return original(*args, **kwargs)
        value = original(*args, **kwargs) if returned else None
        setattr(module, name, original)
        sleep_at(outside, who, steps[1:])
        note(outside, f"asleep: {who}, {steps[0]}")
        os.kill(os.getpid(), signal.SIGSTOP)
        return value if returned else getattr(module, name)(*args, **kwargs)

    setattr(module, name, asleep)


def delete_gate(outside: str) -> bool:
    return Gate(outside=outside).delete()


def rerun_gate(outside: str, who: str) -> str:
    return get_gate(outside, who)


def get_counted(outside: str, numbers: list[int]) -> list[str]:
    return [Counted(outside=outside, number=number).get() for number in numbers]


def exists_counted(outside: str, number: int) -> bool:
    return Counted(outside=outside, number=number).exists()


def get_in_threads(outside: str, threads: int) -> list[str]:
    """Ask for one object in many threads at once."""
    node = Counted(outside=outside, number=1)
    values: list[Any] = []
    start = threading.Barrier(threads)

    def ask() -> None:
        start.wait(60)
        try:
            values.append(node.get())
        except BaseException as error:
            values.append(repr(error))

    running = [threading.Thread(target=ask) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(60)
    return values


def get_and_delete(outside: str, rounds: int, *, delete: bool) -> list[str]:
    """Ask for one object, or delete it, again and again."""
    wrong = []
    for _ in range(rounds):
        node = Loaded(outside=outside)
        try:
            if delete:
                node.delete()
            elif node.get() != "value":
                wrong.append("another value")
        except BaseException as error:
            if not (delete and "is being computed" in str(error)):
                wrong.append(repr(error))
    return wrong


def keep_getting(outside: str, rounds: int) -> list[str]:
    return get_and_delete(outside, rounds, delete=False)


def keep_deleting(outside: str, rounds: int) -> list[str]:
    return get_and_delete(outside, rounds, delete=True)


def damage_counted(outside: str, number: int) -> None:
    (Counted(outside=outside, number=number).furu_dir / "file").write_text("damaged")


def graph(outside: str) -> Chain:
    """Layers of nodes of which each uses two of the layer below."""
    layer: list[Chain] = [Chain(outside=outside, number=number) for number in range(4)]
    for depth in range(1, 5):
        layer = [
            Chain(
                outside=outside,
                number=10 * depth + place,
                below=(layer[place], layer[(place + 1) % 4]),
            )
            for place in range(4)
        ]
    return Chain(outside=outside, number=100, below=tuple(layer))


def get_graph(outside: str, backwards: bool) -> int:
    """Ask for all roots of overlapping graphs, from one end or the other."""
    top = graph(outside)
    roots: list[Any] = [top, *top.below]
    for root in reversed(roots) if backwards else roots:
        root.get()
    return top.get()


def states(outside: str, numbers: list[int]) -> list[str]:
    reader = StateReader()
    return [reader.state(Counted(outside=outside, number=n)).state.value for n in numbers]


def attempts(outside: str) -> int:
    """How many attempts at the gate are on disk."""
    return len(_attempts.numbers(_layout.ref_of(Gate(outside=outside))))


def get_gate_and_measure(outside: str, who: str) -> dict[str, Any]:
    """Ask for the gate; how it ended, and what the waiting cost."""
    os.environ["WHO"] = who
    looks = 0
    latest = _attempts.latest

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal looks
        looks += 1
        return latest(*args, **kwargs)

    _attempts.latest = counted  # in a process that runs nothing else
    wall = time.monotonic()
    answer: dict[str, Any] = {}
    try:
        answer["value"] = Gate(outside=outside).get()
    except FuruWaitTimeout as timeout:
        answer |= {"holder": str(timeout.holder), "message": str(timeout)}
    return answer | {"wall": time.monotonic() - wall, "looks": looks}


def gate_state(outside: str) -> dict[str, Any]:
    info = StateReader().state(Gate(outside=outside))
    return {"state": info.state.value, "holder": str(info.holder), "reason": info.reason}


def own_pid_and_start() -> tuple[int, str]:
    me = _process_ids.this_process()
    return me.pid, me.start


def become_zombie_with_gate(outside: str) -> None:
    """Leave a claimed attempt whose process has ended but was not waited for, and hold on."""
    pid = os.fork()
    if pid == 0:
        node = Gate(outside=outside)
        _acquire.acquire(node, _layout.ref_of(node))
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    note(outside, "zombie")
    wait_until("the end of the test", Path(outside, "go-zombie").exists)
    os.waitpid(pid, 0)
