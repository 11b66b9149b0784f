"""Pins: what users want kept, with all that it was made of.

::

    <store>/pins/<id>.json    a pin

They stand beside the results and are in no record of theirs.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Final

import attrs

from furu_core import _files, _trust
from furu_core._executors import _run
from furu_core._files import store_errors
from furu_core._record_format import RecordFormat
from furu_core._runs._runs import find_run
from furu_core._settings import _settings
from furu_core._status import _stored_nodes
from furu_core._status._links import LinkReader
from furu_core._status._stored_nodes import StoredClass, StoredNode
from furu_core._text import RUN_PREFIX, count, is_called
from furu_core.errors import FuruUsageError

FOLDER: Final = "pins"
_SUFFIX: Final = ".json"


class Pinned(Enum):
    """What a pin keeps."""

    NODE = "node"
    CLASS = "class"
    RUN = "run"


@attrs.frozen
class Pin:
    """A user's word that something shall be kept.

    Attributes:
        id: the name of its record.
        what: the kind of what is kept.
        name: the hash of a node, the name of a class in hashes, or the id of a run.
        shown: its name for people.
        reason: why, in the user's words; may be empty.
        user: who said so.
        time: when.
    """

    id: str
    what: Pinned
    name: str
    shown: str
    reason: str
    user: str
    time: float

    def __str__(self) -> str:
        """What is pinned, by whom and why."""
        why = f": {self.reason}" if self.reason else ""
        return f"{self.shown}, pinned by {self.user}{why}"


_FORMAT: Final = RecordFormat(
    Pin,
    "the record of a pin",
    version=1,
    key="furu",
    next_step="remove it, and pin once more",
)


def pins() -> list[Pin]:
    """All pins in the current store, in the order of their times.

    Raises:
        FuruStoreError: one cannot be read, so it is not known what it keeps.
    """
    folder = _folder()
    found = []
    with store_errors(folder, doing="read"):
        for name in sorted(_files.list_folder(folder)):
            if name.endswith(_SUFFIX) and not name.startswith("."):
                with suppress(FileNotFoundError):  # taken back in this moment
                    found.append(_FORMAT.read(f"{folder}/{name}"))
    return found


def pin(name: str, reason: str = "") -> list[Pin]:
    """Pin what a name means; the pins that were made.

    Args:
        name: a node as `find` takes it, a class, or ``run:`` and a run as `find_run` takes it.
        reason: why.

    Raises:
        FuruUsageError: it means nothing in the store, or several runs or nodes.
        FuruStoreError: the store cannot be written.
    """
    folder = _folder()
    made = []
    for what, identity, shown in _meant(name):
        now = time.time()
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now)) + f"{now % 1:.6f}"[1:]
        one = Pin(
            f"{stamp}-{secrets.token_hex(3)}",
            *(what, identity, shown, reason, _trust.user_name(os.getuid()), now),
        )
        with store_errors(folder):
            os.makedirs(folder, exist_ok=True)
            _FORMAT.create(f"{folder}/{one.id}{_SUFFIX}", one)
        made.append(one)
    return made


def unpin(name: str) -> list[Pin]:
    """Take back all pins that a name means; which.

    Args:
        name: as `pin` takes it, or the id of a pin.

    Raises:
        FuruUsageError: it means none, or those of several nodes or runs.
        FuruStoreError: the store cannot be written.
    """
    known = pins()
    found = [one for one in known if _is_meant(one, name.strip())]
    if len({(one.what, one.name) for one in found}) != 1:
        listed = ", ".join(dict.fromkeys(one.shown for one in found))
        raise FuruUsageError(
            f"{name!r} means {listed}" if found else f"nothing is pinned that {name!r} means",
            hint="give more of the name" if found else "`furu pin --list` lists what is pinned",
        )
    for one in found:
        path = f"{_folder()}/{one.id}{_SUFFIX}"
        with store_errors(path, doing="remove"), suppress(FileNotFoundError):
            os.unlink(path)
    return found


def roots_of(one: Pin) -> list[str]:
    """The hashes of the nodes from which a pin keeps everything."""
    match one.what:
        case Pinned.NODE:
            return [one.name]
        case Pinned.CLASS:
            stored = [cls for cls in _stored_nodes.classes() if cls.name == one.name]
            return [node.hash for node in _stored_nodes.nodes_of(stored)]
        case Pinned.RUN:
            return nodes_of_run(_run.runs_folder() / one.name)


def nodes_of_run(folder: Path) -> list[str]:
    """The hashes of a run's roots and of what it needed and computed, as its folder tells."""
    found: dict[str, None] = {}
    with suppress(FileNotFoundError):
        record = _run.RUN_RECORD.read(folder / _run.RUN_FILE)
        found |= dict.fromkeys(root.hash for root in record.roots)
    needed = _run.needed_nodes(folder)
    if needed is None:
        needed = [event.hash for event in _run.read_events(folder) if event.hash]
    return list(found | dict.fromkeys(needed))


def refuse_pinned(nodes: Iterable[StoredNode]) -> None:
    """Refuse to remove what a pin keeps.

    Raises:
        FuruUsageError: a pin keeps one of the nodes; the message names the pin.
        FuruStoreError: it is not known what pins keep.
    """
    known = pins()
    if not known:
        return
    links = LinkReader()
    kept: dict[str, Pin] = {}
    for one in known:
        pending = roots_of(one)
        while pending:
            node_hash = pending.pop()
            if node_hash not in kept:
                kept[node_hash] = one
                there = links.of(node_hash)
                pending += there.below if there is not None else ()
    refused = [node for node in nodes if node.hash in kept]
    if not refused:
        return
    node, keeper = refused[0], kept[refused[0].hash]
    if keeper.name != node.hash:
        said = f"{node.name} is kept by a pin, {keeper}"
    else:
        said = f"{node.name} is pinned by {keeper.user}"
        said += f": {keeper.reason}" if keeper.reason else ""
    if refused[1:]:
        said += f"; pins keep {count(len(refused) - 1, 'more node')} of these"
    raise FuruUsageError(said, hint=f"`furu unpin {keeper.id}` takes the pin back")


def _folder() -> str:
    return f"{_settings.settings().path}/{FOLDER}"


def _meant(name: str) -> list[tuple[Pinned, str, str]]:
    if name.startswith(RUN_PREFIX):
        run_id = find_run(name).id
        return [(Pinned.RUN, run_id, f"{RUN_PREFIX}{run_id}")]
    return [
        (Pinned.CLASS, one.name, one.name)
        if isinstance(one, StoredClass)
        else (Pinned.NODE, one.hash, one.name)
        for one in _stored_nodes.classes_or_nodes([name])
    ]


def _is_meant(one: Pin, name: str) -> bool:
    if one.id == name or one.shown == name:
        return True
    match one.what:
        case Pinned.CLASS:
            return is_called(one.name, name)
        case Pinned.NODE:
            digits = name.rpartition("(")[2].rstrip(")…")
            return bool(digits) and one.name.startswith(digits)
        case Pinned.RUN:
            return name.startswith(RUN_PREFIX) and one.shown.startswith(name)
