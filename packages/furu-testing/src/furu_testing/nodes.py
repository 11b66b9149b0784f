"""The nodes that the conformance suite computes, and further ones that tests of executors share.

They are installed with furu-testing and need no pytest, so a worker on any machine can import them. Those
with a label leave a mark for every time that their code runs; the label names them in marks and messages.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import furu_core
from furu_core import Furu, exec_context
from furu_testing._marks import box, marked, note

__all__ = [
    "DEATHS",
    "WAYS",
    "Above",
    "Asks",
    "AsksInLoad",
    "AsksInValidate",
    "Dies",
    "Fails",
    "Leaf",
    "LoadsEverywhere",
    "Saves",
    "Spoils",
    "StartsRun",
    "Step",
    "Sum",
    "Tells",
    "Unsure",
    "Value",
    "hold",
]

_GIVE_UP_SECS: Final = 300.0


class Value(Furu[object]):
    """Returns what it was given."""

    x: object = None

    def _create(self) -> object:
        return self.x


class Step(Furu[int]):
    """Adds one to the sum of what it needs.

    Attributes:
        label: its name.
        needs: what it depends on.
        key: its spec key.
        waits: whether it ends only when a test says so, by a file ``go`` or ``go-<label>``.
        meets: labels of nodes without whose beginning it does not end.
    """

    label: str
    needs: tuple[Furu[int], ...] = ()
    key: str = "default"
    waits: bool = False
    meets: tuple[str, ...] = ()

    @property
    def _executor_spec_key(self) -> str:
        return self.key

    def _create(self) -> int:
        missing = tuple(_label(node) for node in self.needs if not node.exists())
        with marked(self.label, missing=missing, **_context()):
            if self.waits:
                _wait_for(f"{self.label} to be let go", lambda: _is_let_go(self.label))
            for label in self.meets:
                there = box() / "marks" / f"{label}.1"
                _wait_for(f"{label}, which {self.label} is to meet", there.exists)
            return 1 + sum(node.get() for node in self.needs)


class Leaf(Furu[int]):
    """Returns its number."""

    x: int = 0

    def _create(self) -> int:
        return self.x


class Sum(Furu[int]):
    """The sum of what it needs.

    Attributes:
        parts: what it needs.
        tag: tells it from another one that needs the same.
    """

    parts: tuple[Furu[int], ...]
    tag: str = ""

    def _create(self) -> int:
        return sum(part.get() for part in self.parts)


class Above(Furu[int]):
    """Adds a number to what another node returns."""

    below: Furu[int]
    n: int = 0

    def _create(self) -> int:
        return self.below.get() + self.n


class Fails(Furu[int]):
    """Raises so many times, then works.

    Attributes:
        label: its name.
        times: how often.
        needs: what it depends on.
        waits: whether it raises only when a test lets it go, as a `Step`.
    """

    label: str
    times: int
    needs: tuple[Furu[int], ...] = ()
    waits: bool = False

    def _create(self) -> int:
        with marked(self.label) as number:
            if self.waits:
                _wait_for(f"{self.label} to be let go", lambda: _is_let_go(self.label))
            if number <= self.times:
                raise ValueError(f"attempt {number} of {self.label} fails on purpose")
            return number


class Dies(Furu[int]):
    """Ends its own process, or the one that watches over it, so many times, then works.

    Attributes:
        label: its name.
        how: a key of `DEATHS`.
        times: how often.
        key: its spec key.
    """

    label: str
    how: str = "kill"
    times: int = 1_000_000
    key: str = "default"

    @property
    def _executor_spec_key(self) -> str:
        return self.key

    def _create(self) -> int:
        with marked(self.label, **_context()) as number:
            if number <= self.times:
                DEATHS[self.how]()
            return number


class Saves(Furu[int]):
    """Gets on by one step in its checkpoint each time, and waits to be killed.

    Attributes:
        label: its name.
        steps: how many it needs.
    """

    label: str
    steps: int

    def _create(self) -> int:
        path = self.checkpoint_dir / "step"
        step = int(path.read_text()) if path.exists() else 0
        if step < self.steps:
            path.write_text(str(step + 1))
        with marked(self.label, **_context()):
            if step < self.steps:
                _wait_for(f"{self.label} to be killed", lambda: _is_let_go(self.label))
            return step


class Asks(Furu[int]):
    """Asks for a node that it has not declared.

    Attributes:
        label: its name.
        how: in which way, a key of `WAYS`.
        swallow: whether it goes on as if nothing had happened.
        force: whether it asks with ``get(force=True)``.
        key: the spec key of what it asks for.
    """

    label: str
    how: str = "directly"
    swallow: bool = False
    force: bool = False
    key: str = "default"

    @property
    def asked(self) -> Step:
        """What it asks for."""
        return Step(label=f"{self.label}-undeclared", key=self.key)

    def _create(self) -> int:
        with marked(self.label, **_context()):
            return _ask(self.asked, self.how, swallow=self.swallow, force=self.force)


class AsksInLoad(Furu[int]):
    """Its `_load` asks for a node that it has not declared."""

    label: str
    swallow: bool = False

    @property
    def asked(self) -> Step:
        """What it asks for."""
        return Step(label=f"{self.label}-undeclared")

    def _create(self) -> int:
        with marked(self.label):
            (self.furu_dir / "own.txt").write_text("1")
            return 1

    def _load(self) -> int:
        return _ask(self.asked, "directly", swallow=self.swallow)


class AsksInValidate(Furu[int]):
    """Its `_validate` asks for a node that it has not declared."""

    label: str
    swallow: bool = False

    @property
    def asked(self) -> Step:
        """What it asks for."""
        return Step(label=f"{self.label}-undeclared")

    def _create(self) -> int:
        with marked(self.label):
            return 1

    def _validate(self) -> bool:
        _ask(self.asked, "directly", swallow=self.swallow)
        return True


class LoadsEverywhere(Furu[int]):
    """Loads what it has declared, in every way in which a node's code may ask for it."""

    label: str
    needs: Step

    def _create(self) -> int:
        with marked(self.label):
            return sum(way(self.needs, False) for way in WAYS.values())


class Tells(Furu[dict[str, Any]]):
    """Returns what its worker knows.

    Attributes:
        label: its name.
        variable: an environment variable to look up.
    """

    label: str
    variable: str = "FURU_PATH"

    def _create(self) -> dict[str, Any]:
        with marked(self.label):
            return {
                "settings": {
                    name: str(getattr(furu_core.settings(), name))
                    for name in ("path", "max_compute_retries", "max_lost_retries", "log_level")
                },
                "folder": os.getcwd(),
                "variable": os.environ.get(self.variable, ""),
                **_context(),
            }


class Unsure(Furu[int]):
    """Is invalid as long as a file ``bad-<label>`` is there; returns how often it was computed."""

    label: str

    def _create(self) -> int:
        with marked(self.label) as number:
            return number

    def _validate(self) -> bool:
        return not (box() / f"bad-{self.label}").exists()


class Spoils(Furu[int]):
    """Damages what it needs while the run goes on, the first time, and then loads it.

    Attributes:
        label: its name.
        needs: what it needs, whose result is a JSON file.
    """

    label: str
    needs: Unsure

    def _create(self) -> int:
        with marked(self.label) as number:
            if number == 1:
                (self.needs.furu_dir / ".furu.json").write_text("{}")
            return self.needs.get()


class StartsRun(Furu[int]):
    """Starts a run in its own code."""

    label: str
    executor: str

    def _create(self) -> int:
        with marked(self.label):
            inner = Step(label=f"{self.label}-inner")
            furu_core.run(inner, executor=self.executor)
            return 0


# Ways in which a process dies.


def _parent() -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(_GIVE_UP_SECS)


def _exit_in_thread() -> None:
    threading.Thread(target=os._exit, args=(7,)).start()
    time.sleep(_GIVE_UP_SECS)


DEATHS: Final[dict[str, Callable[[], object]]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "parent": _parent,
    "exit": lambda: os._exit(3),
    "exit well": lambda: os._exit(0),
    "exit in a thread": _exit_in_thread,
    "system exit": lambda: sys.exit("that is all"),
}

# Ways in which a node's code asks for another node; each returns its value, or raises.


def _directly(node: Furu[int], force: bool) -> int:
    return node.get(force=force)


def _in_thread(node: Furu[int], force: bool) -> int:
    values: list[int] = []
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            values.append(node.get(force=force))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return values[0]


def _send(node: Furu[int], force: bool, pipe: Any) -> None:
    try:
        pipe.send((True, node.get(force=force)))
    except BaseException as error:
        pipe.send((False, error))
    pipe.close()


def _in_process(method: str) -> Callable[[Furu[int], bool], int]:
    def ask(node: Furu[int], force: bool) -> int:
        context: Any = multiprocessing.get_context(method)
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=_send, args=(node, force, theirs))
        child.start()
        theirs.close()
        try:
            fine, value = ours.recv()
        finally:
            ours.close()
            child.join()
            child.close()
        if not fine:
            raise value
        return int(value)

    return ask


_PROGRAM: Final = """
import sys
from furu_testing.nodes import Step
print("value:", Step(label=sys.argv[1], key=sys.argv[2]).get(force=sys.argv[3] == "force"))
"""


def _in_program(node: Furu[int], force: bool) -> int:
    assert isinstance(node, Step)
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, node.label, node.key, "force" if force else ""],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return int(done.stdout.rpartition("value: ")[2])


WAYS: Final[dict[str, Callable[[Furu[int], bool], int]]] = {
    "directly": _directly,
    "in a thread": _in_thread,
    "in a forked child": _in_process("fork"),
    "in a spawned child": _in_process("spawn"),
    "in a program": _in_program,
}


def _ask(node: Step, how: str, *, swallow: bool, force: bool = False) -> int:
    if not swallow:
        return WAYS[how](node, force)
    try:
        return WAYS[how](node, force)
    except Exception as error:
        note(f"swallowed-{node.label}", f"{type(error).__name__}: {error}")
        return 0


def _context() -> dict[str, Any]:
    context = exec_context()
    submission = context.submission
    return {
        "executor": context.executor,
        "run_id": context.run_id,
        "spec_key": context.spec_key,
        "strict": context.strict,
        "submission": submission and [submission.executor, submission.id, submission.restarts],
    }


def _label(node: Furu[Any]) -> str:
    return str(getattr(node, "label", node.furu_hash[:6]))


def _is_let_go(label: str) -> bool:
    return (box() / "go").exists() or (box() / f"go-{label}").exists()


def _wait_for(what: str, true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _GIVE_UP_SECS
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {_GIVE_UP_SECS:g} s for {what}")
        time.sleep(0.01)


def hold(label: str) -> int:
    """Compute a waiting node in the calling process, as a program does that a run meets."""
    return Step(label=label, waits=True).get()
