"""The outline of a run: its nodes when it began, by class, and what of it waits for what; `plan.json` in its folder.

Whoever looks at a run from outside learns from it what is still to come, which events do not tell.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any, Final

import attrs

from furu_core._config._objects import ConfigObject, config_class
from furu_core._files import read_file, replace_file

PLAN_FILE: Final = "plan.json"
_VERSION: Final = 1


class Prospect(Enum):
    """What a run is to do with a node, as it knew when it began."""

    COMPUTE = 0
    RERUN = 1  # it has a result, and is computed again
    FAILED = 2  # it failed before, and is not tried again
    ELSEWHERE = 3  # another process computes it
    LOAD = 4  # it is there; in the file only its class's number of them


@attrs.frozen(slots=True)
class OutlinedNode:
    """A node of a run that was not there when the run began.

    Attributes:
        hash: its hash.
        class_name: the name of its class in hashes.
        needs: hashes of the nodes that must be there before, and were not there.
        prospect: what the run is to do with it.
    """

    hash: str
    class_name: str
    needs: tuple[str, ...]
    prospect: Prospect


@attrs.frozen
class RunOutline:
    """What a run had before it when it began.

    Attributes:
        nodes: those that were not there, by their hashes; what a node needs stands before it.
        there: how many nodes of each class were there.
    """

    nodes: dict[str, OutlinedNode] = attrs.field(factory=dict)
    there: dict[str, int] = attrs.field(factory=dict)


def write_outline(
    folder: Path, nodes: Iterable[tuple[ConfigObject, Iterable[str], Prospect]]
) -> None:
    """Write the outline of a run that begins, in place of an earlier one.

    Args:
        folder: the run's folder.
        nodes: each with the hashes of what it depends on; dependencies stand before what needs them.
    """
    classes: dict[type, int] = {}
    there: Counter[int] = Counter()
    indices: dict[str, int] = {}
    listed: list[list[Any]] = []
    for obj, needs, prospect in nodes:
        place = classes.setdefault(type(obj), len(classes))
        if prospect is Prospect.LOAD:
            there[place] += 1
            continue
        indices[obj.furu_hash] = len(listed)
        inside = [indices[one] for one in needs if one in indices]
        listed.append([obj.furu_hash, place, inside, prospect.value])
    told = {
        "furu": _VERSION,
        "classes": [config_class(cls).identity_name for cls in classes],
        "there": [there[place] for place in range(len(classes))],
        "nodes": listed,
    }
    with suppress(OSError):  # a full disk must not end a run whose results may be elsewhere
        replace_file(folder / PLAN_FILE, json.dumps(told, separators=(",", ":")).encode())


def read_outline(folder: Path) -> RunOutline | None:
    """The outline of a run; None where it has none that this furu can read."""
    try:
        told = json.loads(read_file(folder / PLAN_FILE))
        if told["furu"] != _VERSION:
            return None
        names, listed = told["classes"], told["nodes"]
        prospects = list(Prospect)
        hashes = [entry[0] for entry in listed]
        nodes = {
            node_hash: OutlinedNode(
                node_hash, names[place], tuple([hashes[one] for one in needs]), prospects[prospect]
            )
            for node_hash, place, needs, prospect in listed
        }
        there = {name: number for name, number in zip(names, told["there"], strict=True) if number}
        return RunOutline(nodes, there)
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        return None
