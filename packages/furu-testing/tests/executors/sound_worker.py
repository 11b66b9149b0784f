"""The worker processes of `sound_executor`, and those of the broken ones that differ in their workers."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from contextlib import AbstractContextManager, nullcontext
from multiprocessing.connection import Connection

import attrs

from furu_core.errors import NodeCancelled
from furu_core.executors import Failure, FailureKind
from furu_core.workers import (
    NodeResult,
    Outcome,
    WorkerContext,
    importing_user_code,
    run_node,
    worker_session,
)


@attrs.frozen
class Work:
    """One attempt at a node."""

    packed: bytes
    hash: str
    name: str
    rerun: bool
    worker: WorkerContext


class Worker:
    """Computes one node after the other."""

    def __init__(self, channel: Connection) -> None:
        self.channel = channel
        self.interruptible = False
        self.pid = os.getpid()

    def serve(self) -> None:
        signal.signal(signal.SIGTERM, self.on_sigterm)
        while True:
            try:
                work = self.channel.recv()
            except (EOFError, OSError):
                return
            result = NodeResult(work.hash, Outcome.CANCELLED)
            try:
                self.interruptible = True
                result = self.attempt(work)
            except NodeCancelled:
                pass
            finally:
                self.interruptible = False
            if os.getpid() != self.pid:
                os._exit(1)
            self.channel.send(result)

    def on_sigterm(self, *_: object) -> None:
        if os.getpid() != self.pid:
            os._exit(1)
        if self.interruptible:
            self.interruptible = False
            raise NodeCancelled("the run was cancelled")

    def session(self, worker: WorkerContext) -> AbstractContextManager[None]:
        return worker_session(worker)

    def attempt(self, work: Work) -> NodeResult:
        with self.session(work.worker):
            try:
                with importing_user_code(work.worker):
                    obj = pickle.loads(work.packed)
            except Exception as error:
                failure = Failure(
                    FailureKind.PROTOCOL, type(error).__name__, str(error), work.name, work.hash
                )
                return NodeResult(work.hash, Outcome.FAILED, failure=failure)
            return self.compute(obj, work.rerun)

    def compute(self, obj: object, rerun: bool) -> NodeResult:
        return run_node(obj, rerun=rerun)  # type: ignore[arg-type]


class LosesChildren(Worker):
    """Forgets that threads and children of a node belong to it."""

    def session(self, worker: WorkerContext) -> AbstractContextManager[None]:
        return super().session(attrs.evolve(worker, whole_process=False))


class IsInteractive(Worker):
    """Computes nodes as a user does."""

    def session(self, worker: WorkerContext) -> AbstractContextManager[None]:
        return nullcontext()


class ComputesNothing(Worker):
    """Says that it has computed what it has not."""

    def compute(self, obj: object, rerun: bool) -> NodeResult:
        return NodeResult(obj.furu_hash, Outcome.COMPUTED)  # type: ignore[attr-defined]


class ComputesTwice(Worker):
    """Computes everything once more."""

    def compute(self, obj: object, rerun: bool) -> NodeResult:
        super().compute(obj, rerun)
        return super().compute(obj, True)


class HasOneSpecKey(Worker):
    """Does not say for which spec key it computes."""

    def session(self, worker: WorkerContext) -> AbstractContextManager[None]:
        return super().session(attrs.evolve(worker, spec_key="default"))


class IgnoresSigterm(Worker):
    """Cannot be interrupted."""

    def on_sigterm(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    kind, fd = sys.argv[1:]
    sys.modules["sound_worker"] = sys.modules["__main__"]  # its classes travel under this name
    globals()[kind](Connection(int(fd))).serve()
