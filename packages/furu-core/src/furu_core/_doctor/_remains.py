"""What runs, attempts and killed processes left in the store, and what of it can be freed."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

from furu_core import _files
from furu_core._attempts import _liveness
from furu_core._doctor._results import CheckResult, note, ok
from furu_core._runs import _runs
from furu_core._settings import _settings
from furu_core._status import _stored_nodes, _trash
from furu_core._status._states import NodeState
from furu_core._status._stored_nodes import StoredNode
from furu_core._text import count, size
from furu_core._trust import user_name
from furu_core._upkeep import _space

_LOOKS: Final = 2000  # nodes with attempts that are looked at one by one
_SHOWN: Final = 3
_OLD_SECS: Final = 24 * 3600.0
_MOST: Final = 200_000  # files of the trash that are counted
# What is written under such a name is renamed at once.
_PASSING: Final = (_files.HIDDEN, _files.PROBE, ".new-")
_FOLDERS: Final = (
    "adoptions",
    "code",
    "code/snapshots",
    "gc",
    "pins",
    "provenance",
    "runs",
    "trash",
)


def runs() -> Iterator[CheckResult]:
    """Runs that go on, and those whose controller is gone."""
    states: Counter[str] = Counter()
    died = []
    for run in _runs.stored_runs():
        told = _runs.standing(run)
        states[told.state] += 1
        if told.state == _runs.DIED:
            died.append(told)
    for one in died[:_SHOWN]:
        whose = "" if one.run.owner in (None, os.geteuid()) else f" of {user_name(one.run.owner)}"
        yield note(
            "runs",
            f"run {one.run.id}{whose} died: {one.why or 'nothing is heard of it'}",
            one.again or f"furu status {one.run.id}",
        )
    if len(died) > _SHOWN:
        yield note(
            "runs", f"{count(len(died) - _SHOWN, 'other run')} died", "furu runs --state died"
        )
    told_states = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    if not died:
        yield ok(
            "runs", f"{count(states.total(), 'run')}{': ' if told_states else ''}{told_states}"
        )


def attempts() -> Iterator[CheckResult]:
    """Nodes that are computed, or whose last attempt was lost."""
    states: Counter[str] = Counter()
    lost: list[StoredNode] = []
    looked = 0
    for node in _attempted():
        looked += 1
        if looked > _LOOKS:
            break
        state = node.info().state
        states[state.value] += 1
        if state is NodeState.LOST:
            lost.append(node)
    more = f" (of the first {_LOOKS:,} looked at)" if looked > _LOOKS else ""
    if lost:
        names = ", ".join(node.name for node in lost[:_SHOWN])
        names += ", ..." if len(lost) > _SHOWN else ""
        yield note(
            "attempts",
            f"{count(len(lost), 'node')} {'has' if len(lost) == 1 else 'have'} attempts or jobs that are gone{more}: "
            f"{names}; whoever needs them computes them",
            "furu ls --state lost",
        )
    rest = {
        name: states[name]
        for name in sorted(states)
        if name not in ("done", "lost") and states[name]
    }
    if rest or not lost:
        told = (
            ", ".join(f"{number} {name}" for name, number in rest.items())
            or "nobody computes anything"
        )
        yield ok("attempts", f"{told}{more}")


def _attempted() -> Iterator[StoredNode]:
    for cls in _stored_nodes.classes():
        for node_hash in cls.attempted():
            yield StoredNode(cls, node_hash)


def passing_files() -> Iterator[CheckResult]:
    """Files and folders that exist for a moment, and are left where a process was killed in it."""
    left = [path for path in _passing() if (_age(path) or 0.0) > _OLD_SECS]
    if not left:
        yield ok("leftovers", "no process left files behind when it was killed")
        return
    bytes_left = sum((_space.below(path).bytes for path in left), 0)
    shown = " ".join(shlex.quote(path) for path in left[:_SHOWN])
    more = f", of which the first {_SHOWN} stand below" if len(left) > _SHOWN else ""
    yield note(
        "leftovers",
        f"{count(len(left), 'leftover')} of processes that were killed, "
        f"{size(bytes_left)}, which nothing needs{more}",
        f"rm -r {shown}",
    )


def _age(path: str) -> float | None:
    with suppress(OSError):
        return _liveness.lease_age(path)
    return None


def _passing() -> Iterator[str]:
    store = str(_settings.settings().path)
    folders: Iterable[str] = (
        store,
        *(f"{store}/{name}" for name in _FOLDERS),
        *(cls.folder for cls in _stored_nodes.classes()),
    )
    for folder in folders:
        with suppress(OSError):
            for name in sorted(_files.list_folder(folder)):
                if name.startswith(_PASSING) or (name.startswith(".") and name.endswith(".tmp")):
                    yield f"{folder}/{name}"


def trash() -> Iterator[CheckResult]:
    """How much is in the trash."""
    removals = _trash.removals()
    total = _space.Space()
    for removal in removals:
        total += _space.below(removal.folder)
        if total.inodes > _MOST:
            break
    if not removals:
        yield ok("trash", "it is empty")
        return
    least = "at least " if total.inodes > _MOST else ""
    days = _settings.settings().trash_days
    text = (
        f"{count(len(removals), 'removal')} with {least}{size(total.bytes)} in {total.inodes:,} files, kept for "
        f"{days:g} days"
    )
    if total.bytes > 1 << 30 or total.inodes > _MOST:
        yield note("trash", text, "furu rm --empty")
    else:
        yield ok("trash", f"{text}; furu rm --empty frees them")
