"""Which modules a hit and a miss pass: what somebody has to read who wants to know what happens.

`docs/code.md` has both walks in words.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import furu_core
from furu_core import Furu

FURU = str(Path(furu_core.__file__).parent) + os.sep
# What every module may ask, and what a reader takes for granted: a setting, in whose name code runs, a file's contents, a
# record's lines.
SERVICES = {"_settings._settings", "_files", "_store._record_file", "_context._context"}


class Squared(Furu[dict[str, int]]):
    x: int

    def _create(self) -> dict[str, int]:
        return {"square": self.x**2}


def callers(call: Callable[[], Any]) -> set[tuple[str, str]]:
    """The modules of furu-core that a call passes, each with the module that calls it."""
    found: set[tuple[str, str]] = set()

    def look(frame: FrameType, event: str, arg: object) -> None:
        module = _module(frame)
        if event == "call" and module:
            caller = frame.f_back
            while caller is not None and not _module(caller):
                caller = caller.f_back
            found.add((module, "" if caller is None else _module(caller)))

    sys.setprofile(look)
    try:
        call()
    finally:
        sys.setprofile(None)
    return found


def _module(frame: FrameType) -> str:
    """The module of furu-core that a frame runs; empty for code of others."""
    file = frame.f_code.co_filename
    if not file.startswith(FURU):
        return ""
    return file.removeprefix(FURU).removesuffix(".py").replace(os.sep, ".")


@pytest.mark.usefixtures("store")
def test_a_hit_passes_five_modules_in_three_rooms() -> None:
    Squared(x=1).get()
    node = Squared(x=1)
    assert node.furu_hash
    passed = {module for module, _ in callers(node.get)} - SERVICES
    assert passed == {
        "_furu",
        "_compute._hit",
        "_store._layout",
        "_store._manifest",
        "_codecs._load",
    }


# The rooms in which it is decided what happens to a node that is computed, and the modules of them that a miss passes.
WAY = {
    "_furu",
    "_compute._hit",
    "_compute._compute_or_wait",
    "_compute._acquire",
    "_compute._compute",
    "_compute._process_state",
    "_compute._open_files",
    "_attempts._claims",
    "_attempts._records",
    "_attempts._lease",
    "_attempts._checkpoints",
    "_attempts._publishing",
    "_store._layout",
    "_store._published",
    "_store._manifest",
}
# What is done once in a process and store, and is only looked up afterwards.
ONCE = {"_store._format"}
# The other rooms that a miss asks for something, and by which of their modules it enters them.
DOORS = {
    "_config": {"_config._identity", "_config._objects", "_config._class_record", "_config._dependencies"},
    "_forms": {"_forms._pack", "_forms._python_text"},
    "_output": {"_output._spool", "_output._logging", "_output._capture"},
    "_codecs": {"_codecs._store", "_codecs._load"},
    "_code": {"_code._loaded"},
    "_provenance": {"_provenance"},
    "_costs": {"_costs"},
    "_background": {"_background"},
    "_process_ids": {"_process_ids"},
    "_text": {"_text"},
}  # fmt: skip


@pytest.mark.usefixtures("store")
def test_a_miss_passes_fifteen_modules_where_it_is_decided_and_enters_other_rooms_by_their_doors() -> (
    None
):
    for x in range(3):  # what is done once in a process is done
        Squared(x=x).get()
    node = Squared(x=3)
    assert node.furu_hash
    calls = callers(node.get)
    passed = {module for module, _ in calls} - SERVICES - ONCE
    deciding = {"_furu", "_compute", "_attempts", "_store"}
    assert {module for module in passed if module.partition(".")[0] in deciding} == WAY
    doors: dict[str, set[str]] = {}
    for module, caller in calls:
        room = module.partition(".")[0]
        if module in passed and room not in deciding and caller.partition(".")[0] in deciding:
            doors.setdefault(room, set()).add(module)
    assert doors == DOORS
