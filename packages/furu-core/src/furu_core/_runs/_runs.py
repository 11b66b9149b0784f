"""Runs as any process sees them: from the files in their folders, without the code that they run.

A run's folder has `run.json`, which tells how it began, `events.jsonl`, to which its controllers append, and
`plan.json`, what it had before it; see `_executors`. A run whose last event is not its end still goes on if its
controller lives: a process of this host is looked up, of any other one the last sign of life counts.
"""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import attrs

from furu_core._config._class_names import relpath_of
from furu_core._executors._executor import RunOutlook
from furu_core._executors._outline import Prospect, read_outline
from furu_core._executors._run import EVENTS_FILE, RUN_FILE, RUN_RECORD, EventKind, RunRecord
from furu_core._process_ids import ProcessId, process_is_gone
from furu_core._record_format import from_json
from furu_core._settings import _settings
from furu_core._settings._settings import use_settings
from furu_core._store import _further_stores
from furu_core._store._folders import no_run, run_ids, runs_called
from furu_core._text import RUN_PREFIX, count, duration
from furu_core._trust import user_name
from furu_core.errors import FuruDamagedRecord, FuruError, FuruFormatError, FuruUsageError

DIED: Final = "died"  # the state of a run whose controller is gone, and which has no end
RUNNING: Final = "running"
_TAIL: Final = 4096  # bytes, in which the event of a run's end is
_SILENT_LEASES: Final = (
    2.0  # without a sign of life for so many leases, a controller elsewhere is dead
)
_STAMP: Final = 15  # characters of an id that tell the second in which the run began
_ASKED: Final = 3  # nodes that are looked at, to see whether a controller elsewhere computes
_LONG: Final = 100  # characters of a command


@attrs.frozen(slots=False)
class StoredRun:
    """A run in the store, as its record tells.

    Attributes:
        folder: the run's folder.
        record: how it began; None where that cannot be read.
    """

    folder: Path
    record: RunRecord | None

    @property
    def id(self) -> str:
        """The run's id."""
        return self.folder.name

    @property
    def began(self) -> float:
        """When it began, in seconds since 1970."""
        return 0.0 if self.record is None else self.record.started

    @property
    def executor(self) -> str:
        """The name of its executor."""
        return "" if self.record is None else self.record.executor

    @cached_property
    def owner(self) -> int | None:
        """The id of the user who began it."""
        with suppress(OSError):
            return os.stat(self.folder).st_uid
        return None

    @property
    def store(self) -> Path:
        """The store that it is in."""
        return self.folder.parent.parent

    @property
    def is_elsewhere(self) -> bool:
        """Whether that is another one than the current one."""
        own = _settings.settings().path
        return self.store != own and os.path.realpath(self.store) != os.path.realpath(own)

    @property
    def before_commands(self) -> str:
        """What stands before a command of `furu` that is to tell of the run's store; mostly empty."""
        return f"FURU_PATH={shlex.quote(str(self.store))} " if self.is_elsewhere else ""

    @property
    def command(self) -> str:
        """The command that began it, as one types it in a shell."""
        return "" if self.record is None else command_text(self.record.command)

    @property
    def again(self) -> str:
        """What to type to have it begin again, from the present working directory."""
        if self.record is None or not self.command:
            return ""
        cwd = self.record.cwd
        with suppress(OSError):
            if cwd and os.path.realpath(cwd) != os.path.realpath(os.getcwd()):
                return f"cd {shlex.quote(cwd)} && {self.command}"
        return self.command


def command_text(command: tuple[str, ...]) -> str:
    """A command line as one types it: without the paths of the interpreter and of `furu`.

    Example:
        >>> command_text(("/opt/env/bin/python3.11", "/opt/env/bin/furu", "run", "train:sweep"))
        'furu run train:sweep'
        >>> command_text(("/usr/bin/python3", "train.py", "--lr", "0.1"))
        'python3 train.py --lr 0.1'
    """
    if not command:
        return ""
    first, *rest = command
    if rest and os.path.basename(rest[0]) == "furu":
        first, rest = "furu", rest[1:]
    elif rest[:2] == ["-m", "furu_core"]:
        first, rest = "furu", rest[2:]
    return shlex.join([os.path.basename(first), *rest])


def short_command(text: str) -> str:
    """A command in one line that is not too long."""
    line = " ".join(text.split())
    return line if len(line) <= _LONG else f"{line[: _LONG - 3]}..."


# Which runs there are


def run_at(folder: Path) -> StoredRun | None:
    """The run in a folder; None where there is none."""
    try:
        return StoredRun(folder, RUN_RECORD.read(folder / RUN_FILE))
    except (FuruDamagedRecord, FuruFormatError):
        return StoredRun(folder, None)
    except OSError:
        return None


def stored_runs(*, also: bool = False) -> Iterator[StoredRun]:
    """All runs in the current store, the newest first.

    Args:
        also: with those in the stores that are only read (`FURU_ALSO`).
    """
    stores = [_settings.settings().path, *(_further_stores.further_stores() if also else ())]
    ids = sorted(((one, store) for store in stores for one in run_ids(store)), reverse=True)
    for _, same_second in groupby(ids, key=lambda one: one[0][:_STAMP]):
        found = (run_at(store / "runs" / one) for one, store in same_second)
        yield from sorted((run for run in found if run is not None), key=lambda run: -run.began)


@contextmanager
def in_its_store(run: StoredRun) -> Iterator[None]:
    """Have what the store has looked up in that of the run, which may be another one than the current one."""
    with use_settings(path=run.store) if run.is_elsewhere else nullcontext():
        yield


def find_run(name: str, *, also: bool = False) -> StoredRun:
    """The run that a name means.

    Args:
        name: its id, the beginning or end of it, or the path of its folder.
        also: whether a run in a store that is only read (`FURU_ALSO`) is meant as well, where this one has none.

    Raises:
        FuruUsageError: there is none, or more than one.
    """
    name = name.removeprefix(RUN_PREFIX)
    if "/" in name:
        run = run_at(Path(name).absolute())
        if run is None:
            raise FuruUsageError(
                f"{name} is the folder of no run", hint="`furu runs` lists all runs"
            )
        return run
    runs: list[StoredRun] = []
    for store in (_settings.settings().path, *(_further_stores.further_stores() if also else ())):
        called = runs_called(name, run_ids(store))
        runs = [run for one in called if (run := run_at(store / "runs" / one)) is not None]
        if len(runs) == 1:
            return runs[0]
        if runs:
            break
    if not runs:
        raise no_run(name, run_ids())
    shown = ", ".join(run.id for run in runs[:5])
    raise FuruUsageError(
        f"{name!r} may be any of {len(runs)} runs: {shown}", hint="give more of the id"
    )


def newest_run() -> StoredRun:
    """The newest run that this user began, or else the newest one.

    Raises:
        FuruUsageError: there is no run.
    """
    first = None
    for run in stored_runs():
        if run.owner == os.geteuid():
            return run
        first = first or run
    if first is None:
        raise FuruUsageError(
            f"the store {_settings.settings().path} has no run yet",
            hint="`furu run MODULE:TARGET` begins one; is FURU_PATH the right one?",
        )
    return first


# What has happened in a run


@attrs.frozen
class NodeStory:
    """The last event of a node in a run.

    Attributes:
        time: when it was, in seconds since 1970.
        kind: what happened, in the words of `EventKind`.
        hash: the node's hash.
        node: its short name.
        detail: further facts, for people.
        facts: the same for programs.
    """

    time: float
    kind: str
    hash: str
    node: str
    detail: str = ""
    facts: dict[str, Any] = attrs.field(factory=dict)


_STARTED: Final = EventKind.NODE_STARTED.value
_COMPUTED: Final = EventKind.NODE_COMPUTED.value
_LOADED: Final = EventKind.NODE_LOADED.value
_FAILED: Final = EventKind.NODE_FAILED.value
_RETRIED: Final = EventKind.NODE_RETRIED.value
_RUN_STARTED: Final = EventKind.RUN_STARTED.value
_RUN_ENDED: Final = EventKind.RUN_ENDED.value


class EventReader:
    """Reads the events of a run, each once; `update` reads those that were added since.

    Args:
        folder: the run's folder.

    Attributes:
        told: the last event of each node, by hash, as it stands in the file, since the run was last begun.
        running: since when each node was handed to a worker that has not ended, by hash.
        computed: hashes of all nodes that it computed, however often it was begun, in that order, each with
            when it began; 0 where that is not told.
        loaded: hashes of those that others computed meanwhile.
        retries: how often nodes were tried again.
        total: nodes of the run.
        begun: how often it was begun.
        controller: the process that controls it, as it told.
        ended: the state in which it ended; empty while it goes on.
        end_facts: its numbers of nodes then.
        last: the time of the last event, in seconds since 1970; 0 before the first.
        sign: the time of the last sign of life.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / EVENTS_FILE
        self._read = 0
        self.told: dict[str, list[Any]] = {}
        self.running: dict[str, float] = {}
        self.computed: dict[str, float] = {}
        self.loaded: set[str] = set()
        self.retries = 0
        self.total = 0
        self.begun = 0
        self.controller: ProcessId | None = None
        self.ended = ""
        self.end_facts: dict[str, Any] = {}
        self.last = 0.0
        self.sign = 0.0

    def update(self) -> None:
        """Read what was added."""
        try:
            with open(self._path, "rb") as file:
                self.sign = os.fstat(file.fileno()).st_mtime
                file.seek(self._read)
                added = file.read()
        except FileNotFoundError:
            return
        whole = added.rfind(b"\n") + 1
        self._read += whole
        for event in _parsed(added[:whole].split(b"\n")):
            with suppress(ValueError, TypeError, KeyError, IndexError, AttributeError):
                if event[2]:
                    self._hear_node(event)
                else:
                    self._hear_run(event)

    def story(self, node_hash: str) -> NodeStory | None:
        """The last event of a node; None where there is none."""
        event = self.told.get(node_hash)
        return None if event is None else NodeStory(*event[:6])

    def took(self, node_hash: str) -> float | None:
        """How long a node that was computed took, in seconds; None where that is not told."""
        event = self.told.get(node_hash)
        if event is None or event[1] != _COMPUTED:
            return None
        seconds, _, unit = event[4].partition(" ")
        if unit == "s":
            return float(seconds)
        began = self.computed[node_hash]
        return event[0] - began if began else None

    def _hear_run(self, event: list[Any]) -> None:
        kind, detail = event[1], event[4]
        facts = event[5] if len(event) > 5 else {}
        self.last = event[0]
        if kind == _RUN_STARTED:
            self.begun += 1
            self.told.clear()
            self.running.clear()
            self.ended, self.end_facts, self.controller = "", {}, None
            self.total = max(self.total, facts.get("total") or _leading_number(detail))
            if "controller" in facts:
                self.controller = from_json(ProcessId, facts["controller"])
        elif kind == _RUN_ENDED:
            self.ended, self.end_facts = detail, facts

    def _hear_node(self, event: list[Any]) -> None:
        self.last, kind, node_hash, *_ = event
        self.told[node_hash] = event
        if kind == _STARTED:
            self.running[node_hash] = self.last
            return
        began = self.running.pop(node_hash, 0.0)
        if kind == _COMPUTED:
            self.computed[node_hash] = began
        elif kind == _LOADED:
            self.loaded.add(node_hash)
        elif kind == _RETRIED:
            self.retries += 1


def _leading_number(text: str) -> int:
    first = text.partition(" ")[0]
    return int(first) if first.isdecimal() else 0


def _parsed(lines: list[bytes]) -> Iterator[Any]:
    """What the lines of events tell; those that a full disk cut off are left out."""
    lines = [line for line in lines if line]
    try:  # at once, which takes a third of the time
        yield from json.loads(b"[" + b",".join(lines) + b"]")
        return
    except ValueError:
        pass
    for line in lines:
        with suppress(ValueError):
            yield json.loads(line)


# How a run stands


@attrs.frozen
class RunStanding:
    """How a run stands.

    Attributes:
        run: the run.
        state: `running`, `done`, `failed`, `cancelled` or `died`.
        why: why it counts as dead, or as living although its controller is gone; mostly empty.
        ended: when it ended or was last heard of; None while it goes on.
        total: nodes of its graph.
        computed: nodes that it computed.
        loaded: nodes that were there, or that others computed.
        failed: nodes that failed for good.
        controller: the process that controls it, or did so last.
        outlook: what its executor tells.
    """

    run: StoredRun
    state: str
    why: str = ""
    ended: float | None = None
    total: int = 0
    computed: int = 0
    loaded: int = 0
    failed: int = 0
    controller: ProcessId | None = None
    outlook: RunOutlook = attrs.field(factory=RunOutlook)

    @property
    def took(self) -> float:
        """Seconds from its beginning to its end, or to now."""
        return max(0.0, (time.time() if self.ended is None else self.ended) - self.run.began)

    @property
    def again(self) -> str:
        """The command to go on with it; empty for a run in another store than the current one."""
        if self.run.is_elsewhere:
            return ""
        return self.outlook.resume or self.run.again

    def to_json(self) -> dict[str, Any]:
        """It as JSON, as `furu runs --json` prints it."""
        run, record = self.run, self.run.record
        return {
            "run": run.id,
            "executor": run.executor,
            "state": self.state,
            "why": self.why,
            "began": run.began or None,
            "ended": self.ended,
            "took_secs": round(self.took, 3),
            "total": self.total,
            "computed": self.computed,
            "loaded": self.loaded,
            "failed": self.failed,
            "user": None if run.owner is None else user_name(run.owner),
            "controller": None if self.controller is None else str(self.controller),
            "command": [] if record is None else list(record.command),
            "cwd": "" if record is None else record.cwd,
            "go_on": self.again if self.state not in {RUNNING, "done"} else "",
            "tags": {} if record is None else dict(record.tags),
            "note": "" if record is None else record.note,
            "roots": [] if record is None else [root.hash for root in record.roots],
            "folder": str(run.folder),
        }


def standing(run: StoredRun, events: EventReader | None = None) -> RunStanding:
    """How a run stands now.

    Args:
        run: the run.
        events: what has happened in it; default: it is read, of a run that has ended only the end.
    """
    with in_its_store(run):
        return _standing(run, events)


def _standing(run: StoredRun, events: EventReader | None) -> RunStanding:
    if events is None:
        told = _at_its_end(run)
        if told is not None:
            return told
        events = EventReader(run.folder)
        events.update()
    failed = sum(event[1] == _FAILED for event in events.told.values())
    controller = events.controller or (None if run.record is None else run.record.controller)
    numbers: dict[str, Any] = {
        "total": events.total,
        "computed": len(events.computed),
        "failed": failed,
    }
    if events.ended:
        last = _numbers(events.end_facts, numbers)
        told = RunStanding(run, events.ended, "", events.last, controller=controller)
        return _loaded(attrs.evolve(told, **last))
    outlook = _outlook(run)
    why, lives = _lives(run, controller, events, outlook)
    state = RUNNING if lives else DIED
    if not lives and _is_all_there(run, events):
        state, why = "done", f"{why}, and all its roots are there"
    heard = None if lives else max(events.last, events.sign, run.began)
    told = RunStanding(run, state, why, heard, controller=controller, outlook=outlook)
    loaded = len(events.loaded - events.computed.keys())
    return _loaded(attrs.evolve(told, **numbers, loaded=loaded))


def _is_all_there(run: StoredRun, events: EventReader) -> bool:
    """Whether all roots of a run are there, as jobs may compute them when nobody waits any more."""
    roots = set() if run.record is None else {root.hash for root in run.record.roots}
    outline = read_outline(run.folder) if roots and events.begun else None
    if outline is None:
        return False
    folders = [f"{_settings.settings().path}/data/{relpath_of(name)}" for name in outline.classes]
    for index, node_hash in enumerate(outline.hashes):  # the others were there when the run began
        if node_hash in roots and (
            outline.prospects.get(index) is Prospect.RERUN
            or not os.path.isdir(f"{folders[outline.places[index]]}/{node_hash}")
        ):
            return False
    return True


def _loaded(told: RunStanding) -> RunStanding:
    """Fill in how many were loaded, where the event of the end does not tell, as that of others may."""
    if told.loaded or told.state != "done":
        return told
    return attrs.evolve(told, loaded=max(0, told.total - told.computed - told.failed))


def _numbers(facts: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    named = ("total", "computed", "loaded", "failed")
    return known | {name: facts[name] for name in named if isinstance(facts.get(name), int)}


def _at_its_end(run: StoredRun) -> RunStanding | None:
    """How a run ended, from its last event alone; None where that does not tell."""
    try:
        with open(run.folder / EVENTS_FILE, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            *lines, rest = file.read().split(b"\n")
        if rest or not lines:
            return None
        when, kind, _, _, state, facts = json.loads(lines[-1])
    except (OSError, ValueError, TypeError):
        return None
    if kind != _RUN_ENDED:
        return None
    controller = None if run.record is None else run.record.controller
    told = RunStanding(run, state, "", when, controller=controller)
    return attrs.evolve(told, **_numbers(facts, {}))


def _outlook(run: StoredRun) -> RunOutlook:
    from furu_core._executors import _registry  # imports a plugin, for runs that have not ended

    return _registry.outlook(run.executor, run.folder)


def _lives(
    run: StoredRun, controller: ProcessId | None, events: EventReader, outlook: RunOutlook
) -> tuple[str, bool]:
    """Whether a run goes on, and why where that is not plain."""
    gone = None if controller is None else process_is_gone(controller)
    if gone is False:
        return "", True
    if outlook.goes_on is not None:
        return outlook.why, outlook.goes_on
    if gone:
        return f"its controller, {controller}, is gone", False
    silent = time.time() - max(events.sign, run.began)
    if silent < _SILENT_LEASES * _settings.settings().lease_secs or _computes(run, events):
        return "", True
    return f"its controller, {controller}, gave no sign of life for {duration(silent)}", False


def _computes(run: StoredRun, events: EventReader) -> bool:
    """Whether a node of the run is computed: a controller that computes itself gives no other sign."""
    from furu_core._status import _stored_nodes
    from furu_core._status._states import NodeState

    with suppress(FuruError):
        for node_hash in list(events.running)[:_ASKED]:
            info = _stored_nodes.find(node_hash).info()
            if info.state is NodeState.RUNNING:
                return info.holder is None or info.holder.run_id in ("", run.id)
    return False


def numbers_text(told: RunStanding) -> str:
    """The numbers of nodes of a run, in words."""
    parts = [count(told.total, "node"), f"{told.computed} computed", f"{told.loaded} loaded"]
    return ", ".join([*parts, f"{told.failed} failed"])
