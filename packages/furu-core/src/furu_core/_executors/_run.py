"""A run of an executor: how it stands, what happens in it, and the folder where both are written."""

from __future__ import annotations

import json
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any, Final, Self

import attrs

from furu_core._attempts._outcomes import Failure
from furu_core._config._grid import Roots
from furu_core._config._identity import nested
from furu_core._config._objects import short_name
from furu_core._context import _context
from furu_core._files import LineFile, read_file, read_lines, replace_file, store_errors
from furu_core._process_ids import ProcessId, this_process
from furu_core._record_format import OMIT_EMPTY, RecordFormat
from furu_core._store import _layout
from furu_core.errors import FuruNestedRun

RUN_FILE: Final = "run.json"
EVENTS_FILE: Final = "events.jsonl"
SIGN_SECS: Final = (
    30.0  # how often a controller gives a sign of life: the time of last change of its events
)
NODES_FILE: Final = "nodes.txt"


class RunState(Enum):
    """The state of a run."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@attrs.frozen
class RunStatus:
    """The status of a run: its state, and numbers of nodes.

    Attributes:
        state: the run's state.
        total: nodes of the run's graph, loaded ones among them as far as the plan walked.
        computed: nodes computed by this run.
        loaded: nodes that were there already, or that another process computed.
        running: nodes being computed.
        waiting: nodes that are not there and not being computed.
        failed: nodes that failed for good.
        failures: one for each failed node.
        blocked: waiting nodes that can never run, because something they need failed.
    """

    state: RunState
    total: int = 0
    computed: int = 0
    loaded: int = 0
    running: int = 0
    waiting: int = 0
    failed: int = 0
    failures: tuple[Failure, ...] = ()
    blocked: int = 0


class EventKind(Enum):
    """The kinds of events in a run."""

    RUN_STARTED = "run started"
    NODE_STARTED = "node started"
    NODE_COMPUTED = "node computed"
    NODE_LOADED = "node loaded"
    NODE_RETRIED = "node retried"
    NODE_FAILED = "node failed"
    NODE_CANCELLED = "node cancelled"
    NODE_REOPENED = "node reopened"  # its artifact turned out to be bad
    NODE_WAITING = "node waiting"  # another process computes it
    RUN_ENDED = "run ended"


_KINDS: Final = {kind.value: kind for kind in EventKind}


@attrs.frozen
class Event:
    """Something that happened in a run.

    Attributes:
        time: seconds since the epoch, by the controller's clock.
        kind: what happened.
        hash: the node's hash, for events of nodes.
        node: short name of the node.
        detail: further facts, for people.
        facts: the same for programs: of the beginning `total` and `controller`; of a failure `kind`,
            `error_type`, `message`, `at` and `log`; of the end the numbers of nodes.
    """

    time: float
    kind: EventKind
    hash: str = ""
    node: str = ""
    detail: str = ""
    facts: Mapping[str, Any] = attrs.field(factory=dict)


class EventLog:
    """Appends events to a run's folder, whole lines at a time.

    Args:
        folder: the run's folder.

    Attributes:
        folder: the run's folder.
        goes_on: whether there were events already, of a controller before.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = LineFile(folder / EVENTS_FILE)
        self.goes_on = os.path.getsize(folder / EVENTS_FILE) > 0
        self._next_sign = time.monotonic() + SIGN_SECS

    def write(
        self,
        kind: EventKind,
        *,
        hash: str = "",
        node: str = "",
        detail: str = "",
        facts: Mapping[str, Any] | None = None,
    ) -> Event:
        """Append one event, and return it.

        Args:
            kind: what happened.
            hash: the node's hash, for events of nodes.
            node: its short name.
            detail: further facts, for people.
            facts: the same for programs, as JSON.
        """
        event = Event(time.time(), kind, hash, node, detail, facts or {})
        line = json.dumps([event.time, kind.value, hash, node, detail, *([facts] if facts else [])])
        with suppress(OSError):  # a full disk must not end a run whose results may be elsewhere
            self._file.append(line.encode())
        return event

    def sign(self) -> None:
        """Give a sign of life, if one is due; for a controller's loop, between events."""
        if time.monotonic() >= self._next_sign:
            self._next_sign = time.monotonic() + SIGN_SECS
            with suppress(OSError):
                os.utime(self.folder / EVENTS_FILE)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_events(folder: Path) -> Iterator[Event]:
    """The events of a run so far, without a line that is being written.

    Also left out are lines that a full disk cut off, and kinds of events that only a newer furu knows.
    """
    try:
        lines = read_lines(folder / EVENTS_FILE)
    except FileNotFoundError:
        return
    for line in lines:
        event = event_in(line)
        if event is not None:
            yield event


def event_in(line: bytes) -> Event | None:
    """The event that a line tells; None where it tells none that this furu knows."""
    with suppress(ValueError, TypeError):
        when, kind, node_hash, node, detail, *more = json.loads(line)
        if kind in _KINDS:
            return Event(when, _KINDS[kind], node_hash, node, detail, more[0] if more else {})
    return None


class Run(ABC):
    """A run of an executor: its roots, its status, its results.

    Attributes:
        id: the run's id; ids sort by time.
        folder: the run's folder in the store.
        roots: what the run is to compute.
    """

    id: str
    folder: Path
    roots: Roots

    @abstractmethod
    def wait(self, timeout: float | None = None) -> Self:
        """Wait until the run has ended, and return it.

        Args:
            timeout: seconds; None waits as long as the run lives.

        Raises:
            FuruRunError: it ended, and its roots are not all there.
            FuruRunCancelled: it was cancelled.
            TimeoutError: it has not ended yet.
        """

    @abstractmethod
    def status(self) -> RunStatus:
        """The present status of the run."""

    @abstractmethod
    def cancel(self) -> None:
        """Stop running nodes and start no more; `wait` returns when that is done."""

    def results(self) -> Any:
        """The results, in the shape of the roots: one, a list, or a dict by name."""
        return self.roots.shaped([root.get() for root in self.roots.items])

    def events(self) -> Iterator[Event]:
        """The events of the run so far."""
        return read_events(self.folder)

    def __repr__(self) -> str:
        # Without the status: for that a scheduler may have to be asked, too much for a `repr`.
        return f"<{type(self).__name__} {self.id}, in {self.folder}>"


@attrs.frozen
class RootRecord:
    """A root in `run.json`.

    Attributes:
        name: its name in the run, or its place.
        node: its short name.
        hash: its hash.
    """

    name: str
    node: str
    hash: str


@attrs.frozen
class RunRecord:
    """The record of a run: `run.json`, which scripts may read.

    Attributes:
        id: the run's id.
        executor: the executor's name.
        started: seconds since the epoch, by the clock of the process that started it.
        controller: the process that started it.
        roots: what the run is to compute.
        command: the command line of that process.
        cwd: its working directory.
        tags: what the user calls the run, by name.
        note: what the user says of it.
    """

    id: str
    executor: str
    started: float
    controller: ProcessId
    roots: tuple[RootRecord, ...]
    command: tuple[str, ...] = attrs.field(default=(), metadata=OMIT_EMPTY)
    cwd: str = attrs.field(default="", metadata=OMIT_EMPTY)
    tags: Mapping[str, str] = attrs.field(factory=dict, metadata=OMIT_EMPTY)
    note: str = attrs.field(default="", metadata=OMIT_EMPTY)


RUN_RECORD: Final = RecordFormat(RunRecord, "the record of a run", version=1)


def new_run_folder(
    executor: str,
    roots: Roots,
    *,
    where: Path | None = None,
    tags: Mapping[str, str] | None = None,
    note: str = "",
    planned: Collection[str] | None = None,
) -> tuple[str, Path]:
    """Make the folder of a new run.

    Args:
        executor: the executor's name.
        roots: what the run is to compute.
        where: the folder to make it in; None for `runs` in the store.
        tags: what the user calls the run, by name.
        note: what the user says of it.
        planned: hashes of the nodes that the run needs, as far as its plan walked; `furu gc` keeps them
            before there are results that name them. None for all that are nested in the roots.

    Returns:
        The run's id, which sorts by time, and its folder.

    Raises:
        FuruNestedRun: the caller is a node's code, or a script that a worker imports.
        FuruStoreError: the store cannot be written.
    """
    refuse_nested_run()
    now = time.time()
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    run_id = f"{stamp}-{os.urandom(3).hex()}"
    folder = (where or runs_folder()) / run_id
    record = RunRecord(
        run_id,
        executor,
        now,
        this_process(),
        tuple(
            RootRecord(str(name), short_name(root), root.furu_hash)
            for name, root in zip(roots.names, roots.items, strict=True)
        ),
        command=tuple(getattr(sys, "orig_argv", None) or sys.argv),
        cwd=_cwd(),
        tags=dict(tags or {}),
        note=note,
    )
    needed = _nested_in(roots) if planned is None else planned
    with store_errors(folder):
        folder.mkdir(parents=True)
        replace_file(folder / NODES_FILE, "".join(f"{one}\n" for one in needed).encode())
    RUN_RECORD.replace(folder / RUN_FILE, record)
    return run_id, folder


def _cwd() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return ""


def _nested_in(roots: Roots) -> dict[str, None]:
    """The hashes of all configs that are nested in the roots, and of these."""
    found: dict[str, None] = {}
    pending = list(roots.items)
    while pending:
        one = pending.pop()
        if one.furu_hash not in found:
            found[one.furu_hash] = None
            pending += nested(one)
    return found


def needed_nodes(folder: Path) -> list[str] | None:
    """The hashes of the nodes that a run needed when it began; None where an older furu began it."""
    try:
        return read_file(folder / NODES_FILE).decode("ascii", "replace").split()
    except FileNotFoundError:
        return None


def runs_folder() -> Path:
    """The folder of all runs in the current store."""
    return Path(_layout.runs_dir())


def refuse_nested_run() -> None:
    """Raise `FuruNestedRun` in a node's code and while a worker imports the user's code."""
    context = _context.exec_context()
    if context.importing:
        raise FuruNestedRun(
            f"{context.who} imported a script that starts a run when it is imported",
            hint='put the call under `if __name__ == "__main__":`',
        )
    if context.strict or context.hash or _context.is_child_of_node():
        who = context.who if context.strict or context.hash else "a child process of a node"
        raise FuruNestedRun(
            f"{who} starts a run in its own code",
            hint="make the nodes fields of it or return them from _dependencies",
        )
