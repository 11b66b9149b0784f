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
from typing import Final

import attrs

from furu_core._config._objects import ConfigObject, config_class
from furu_core._files import read_file, replace_file

PLAN_FILE: Final = "plan.json"
_VERSION: Final = 1


class Prospect(Enum):
    """What a run is to do with a node, as it knew when it began."""

    COMPUTE = "compute"
    RERUN = "rerun"  # it has a result, and is computed again
    FAILED = "failed"  # it failed before, and is not tried again
    ELSEWHERE = "elsewhere"  # another process computes it
    LOAD = "load"  # it is there; of those, the file only has their number


@attrs.frozen
class RunOutline:
    """What a run had before it when it began: column by column, since there may be very many nodes.

    Attributes:
        classes: the names of its classes in hashes.
        there: for each of them how many nodes were there.
        hashes: those of the nodes that were not there; what a node needs stands before it.
        places: the class of each, by its place among `classes`.
        needs: for each the places among `hashes` of what it needs; only those that were not there.
        prospects: what the run is to do with those of them that it is not just to compute, by place.
    """

    classes: list[str] = attrs.field(factory=list)
    there: list[int] = attrs.field(factory=list)
    hashes: list[str] = attrs.field(factory=list)
    places: list[int] = attrs.field(factory=list)
    needs: list[list[int]] = attrs.field(factory=list)
    prospects: dict[int, Prospect] = attrs.field(factory=dict)


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
    made = RunOutline()
    for obj, needs, prospect in nodes:
        place = classes.setdefault(type(obj), len(classes))
        if prospect is Prospect.LOAD:
            there[place] += 1
            continue
        index = indices[obj.furu_hash] = len(indices)
        made.places.append(place)
        made.needs.append([indices[one] for one in needs if one in indices])
        if prospect is not Prospect.COMPUTE:
            made.prospects[index] = prospect
    told = {
        "furu": _VERSION,
        "classes": [config_class(cls).identity_name for cls in classes],
        "there": [there[place] for place in range(len(classes))],
        "hashes": list(indices),
        "places": made.places,
        "needs": made.needs,
        "prospects": {index: prospect.value for index, prospect in made.prospects.items()},
    }
    with suppress(OSError):  # a full disk must not end a run whose results may be elsewhere
        replace_file(folder / PLAN_FILE, json.dumps(told, separators=(",", ":")).encode())


def read_outline(folder: Path) -> RunOutline | None:
    """The outline of a run; None where it has none that this furu can read."""
    try:
        told = json.loads(read_file(folder / PLAN_FILE))
        if told["furu"] != _VERSION:
            return None
        prospects = {int(index): Prospect(value) for index, value in told["prospects"].items()}
        outline = RunOutline(
            told["classes"],
            told["there"],
            told["hashes"],
            told["places"],
            told["needs"],
            prospects,
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
    whole = len(outline.hashes) == len(outline.places) == len(outline.needs)
    return outline if whole and len(outline.classes) == len(outline.there) else None
