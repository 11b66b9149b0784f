"""Nodes that ask for other nodes, each in its own way."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from furu_core import Furu, exec_context, in_executor

hooks: dict[str, Callable[[], Any]] = {}  # what nodes of a test do, by name


class Leaf(Furu[int]):
    """What is asked for."""

    n: int = 0

    def _create(self) -> int:
        return self.n * 10


class GpuLeaf(Leaf):
    """The same for another spec key."""

    _executor_spec_key = "gpu"


# Ways to ask. Each does something to a node, in this thread or elsewhere, and returns the value.

Action = Callable[[Furu[Any]], Any]


def load(node: Furu[Any]) -> Any:
    return node.get()


def compute(node: Furu[Any]) -> Any:
    return node.get(force=True)


def directly(node: Furu[Any], act: Action) -> Any:
    return act(node)


def in_thread(node: Furu[Any], act: Action) -> Any:
    values: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            values.append(act(node))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return values[0]


def in_thread_pool(node: Furu[Any], act: Action) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(act, node).result()


def _send(node: Furu[Any], act: Action, pipe: Any) -> None:
    try:
        pipe.send((True, act(node)))
    except BaseException as error:
        pipe.send((False, error))
    pipe.close()


def _in_process(method: str) -> Callable[[Furu[Any], Action], Any]:
    def ask(node: Furu[Any], act: Action) -> Any:
        context: Any = multiprocessing.get_context(method)
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=_send, args=(node, act, theirs))
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
        return value

    return ask


def _in_process_pool(method: str) -> Callable[[Furu[Any], Action], Any]:
    def ask(node: Furu[Any], act: Action) -> Any:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
            return pool.submit(act, node).result()

    return ask


def in_fork_by_hand(node: Furu[Any], act: Action) -> Any:
    """A bare fork, whose child says nothing about how it went."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            act(node)
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(f"the child ended with {status}")
    return Leaf(n=getattr(node, "n", 0)).n * 10


_PROGRAM = """
import sys, json
import strict_nodes
from furu_core import Furu
node = Furu.from_dict(json.load(sys.stdin))
print("value:", getattr(strict_nodes, sys.argv[1])(node))
"""


def in_subprocess(node: Furu[Any], act: Action) -> Any:
    import json

    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, act.__name__],
        input=json.dumps(node.to_dict()),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    value = done.stdout.rpartition("value: ")[2].strip()
    return int(value) if value.isdecimal() else value


WAYS: dict[str, Callable[[Furu[Any], Action], Any]] = {
    "directly": directly,
    "thread": in_thread,
    "thread pool": in_thread_pool,
    "fork": _in_process("fork"),
    "spawn": _in_process("spawn"),
    "forkserver": _in_process("forkserver"),
    "process pool, fork": _in_process_pool("fork"),
    "process pool, spawn": _in_process_pool("spawn"),
    "fork by hand": in_fork_by_hand,
    "subprocess": in_subprocess,
}


class Asks(Furu[Any]):
    """Asks for `Leaf(n=n)` in some way; whether it is declared is up to `declared`."""

    how: str
    n: int = 1
    force: bool = False
    gpu: bool = False
    key: str = "default"
    swallow: str = ""
    declared: tuple[Leaf, ...] = ()

    def _executor_spec_key(self) -> str:
        return self.key

    def _create(self) -> Any:
        leaf = GpuLeaf(n=self.n) if self.gpu else Leaf(n=self.n)
        act = compute if self.force else load
        if not self.swallow:
            return WAYS[self.how](leaf, act)
        try:
            return WAYS[self.how](leaf, act)
        except Exception as error:
            return _told(error)
        except BaseException as error:
            if self.swallow == "BaseException":
                return _told(error)
            raise


def _told(error: BaseException) -> str:
    """What was swallowed, so that a test which finds it published can say what it was."""
    return f"swallowed {''.join(traceback.format_exception(error))}"


class AsksDeclared(Furu[int]):
    """Declares what it asks for in `_dependencies`."""

    n: int = 1

    def _dependencies(self) -> Iterable[Furu[Any]]:
        return [Leaf(n=self.n)]

    def _create(self) -> int:
        return Leaf(n=self.n).get()


class AsksItself(Furu[Any]):
    """Asks for itself."""

    how: str = "directly"
    swallow: bool = False

    def _create(self) -> Any:
        try:
            return WAYS[self.how](self, load)
        except Exception:
            if self.swallow:
                return "swallowed"
            raise


class AsksInCircle(Furu[Any]):
    """Two of them ask for each other, undeclared."""

    side: int = 0

    def _create(self) -> Any:
        return AsksInCircle(side=1 - self.side).get()


def write_there(node: Furu[Any]) -> str:
    (node.furu_dir / "written.txt").write_text("here")
    (node.checkpoint_dir / "step.txt").write_text("1")
    return f"{node.furu_dir}|{node.checkpoint_dir}"


class WritesElsewhere(Furu[str]):
    """Writes files into its folders in another thread or process."""

    how: str

    def _create(self) -> str:
        there = WAYS[self.how](self, write_there)
        here = f"{self.furu_dir}|{self.checkpoint_dir}"
        if self.how != "fork by hand":  # whose child cannot answer
            assert there == here
        assert (self.checkpoint_dir / "step.txt").read_text() == "1"
        return (self.furu_dir / "written.txt").read_text()


def asked_context(node: Furu[Any]) -> tuple[bool, str, str, str]:
    context = exec_context()
    return in_executor(), context.executor, context.spec_key, context.node


class TellsContext(Furu[Any]):
    """Returns what the context says."""

    _executor_spec_key = "gpu"

    how: str

    def _create(self) -> Any:
        return WAYS[self.how](self, asked_context)


def store_path(node: Furu[Any]) -> str:
    import furu_core

    settings = furu_core.settings()
    return f"{settings.path} {settings.max_compute_retries} {settings.log_level}"


class TellsStore(Furu[str]):
    """Returns where the store is, after a change of directory."""

    how: str
    folder: Path

    def _create(self) -> str:
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            return str(WAYS[self.how](self, store_path))
        finally:
            os.chdir(before)


class RunsOthers(Furu[Any]):
    """Starts a run in its own code."""

    how: str = "directly"

    def _create(self) -> Any:
        return WAYS[self.how](self, start_run)


def start_run(node: Furu[Any]) -> Any:
    import furu_core

    return furu_core.run([Leaf(n=5)], executor="no-such").id


class LeavesByFork(Furu[str]):
    """Forks a child that leaves `_create` by an exception or by returning."""

    how: str

    def _create(self) -> str:
        child = os.fork()
        if child == 0:
            if self.how == "exit":
                sys.exit(0)
            if self.how == "raise":
                raise ValueError("in the child")
            return "of the child"
        os.waitpid(child, 0)
        (self.furu_dir / "parent.txt").write_text("still there")
        return "of the parent"
