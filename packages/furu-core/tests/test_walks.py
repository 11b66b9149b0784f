"""Which modules a hit and a miss pass: what somebody has to read who wants to know what happens."""

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


def walk(call: Callable[[], Any]) -> list[str]:
    """The modules of furu-core that a call passes, each as often as it comes back to it."""
    passed: list[str] = []

    def look(frame: FrameType, event: str, arg: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(FURU):
            module = file.removeprefix(FURU).removesuffix(".py").replace(os.sep, ".")
            if not passed or passed[-1] != module:
                passed.append(module)

    sys.setprofile(look)
    try:
        call()
    finally:
        sys.setprofile(None)
    return passed


@pytest.mark.usefixtures("store")
def test_a_hit_passes_five_modules_in_three_rooms() -> None:
    Squared(x=1).get()
    node = Squared(x=1)
    assert node.furu_hash
    passed = set(walk(node.get)) - SERVICES
    assert passed == {
        "_furu",
        "_compute._hit",
        "_store._layout",
        "_store._manifest",
        "_codecs._load",
    }
