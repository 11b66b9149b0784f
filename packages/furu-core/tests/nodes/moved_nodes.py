"""Nodes whose results move from one store to another, and functions of processes that move them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from furu_core import Furu, use_settings
from furu_core._moving import _exporting, _importing
from furu_core._settings import _settings
from furu_core._status import _stored_nodes
from furu_core._store import _manifest
from furu_core._upkeep import _verify

A_WEEK_AGO = time.time() - 7 * 24 * 3600


class Model:
    """What no open format gives back."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and other.weight == self.weight

    def __hash__(self) -> int:
        return hash(self.weight)


class Part(Furu[int]):
    """A small result."""

    number: int

    def _create(self) -> int:
        print("part", self.number)
        return self.number


class Fit(Furu[Model]):
    """A pickle, files in folders, a program and links."""

    parts: tuple[Part, ...]

    def _create(self) -> Model:
        (self.furu_dir / "deep" / "er").mkdir(parents=True)
        (self.furu_dir / "deep" / "er" / ("long" * 40)).write_text("some text")
        (self.furu_dir / "ünïcode").write_bytes(bytes(5000))
        (self.furu_dir / os.fsdecode(b"odd \xff")).write_text("odd")
        program = self.furu_dir / "program"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        (self.furu_dir / "deep" / "up").symlink_to("../program")
        return Model(float(sum(part.get() for part in self.parts)))


class Report(Furu[str]):
    """Depends on a pickle."""

    fit: Fit

    def _create(self) -> str:
        return f"weight {self.fit.get().weight}"


class Linking(Furu[int]):
    """Plain files, and a link."""

    def _create(self) -> int:
        (self.furu_dir / "deep").mkdir()
        (self.furu_dir / "deep" / "x").write_text("x")
        (self.furu_dir / "file").write_text("a file of some length")
        (self.furu_dir / "inside").symlink_to("deep/x")
        return 5


REPORT = Report(fit=Fit(parts=(Part(number=1), Part(number=2))))


def export(path: Path, *roots: Furu[Any], skip_damaged: bool = False) -> _exporting.Exported:
    """Write results of the current store to a file."""
    done = _exporting.gather(map(_stored_nodes.node_of, roots), skip_damaged=skip_damaged)
    _exporting.write_file(done, str(path), replace=True)
    return done


def take(path: Path, *, trust: bool = False) -> _importing.Imported:
    """Import a file into the current store."""
    with open(path, "rb") as file:
        return _importing.take_in(file, str(path), trust=trust)


def import_file(path: str) -> int:
    """Import a file; how many results were new."""
    return len(take(Path(path)).new)


def export_file(path: str) -> int:
    """Export what this page computes; how many results that are."""
    return len(export(Path(path), REPORT).index.nodes)


def compute() -> str:
    """Compute what this page exports."""
    return REPORT.get()


def judge(path: str) -> dict[str, Any]:
    """What an import that was killed left, and whether the next one finishes it."""
    wrong = [
        folder
        for folder in artifacts()
        if _manifest.check(folder) is None or not os.path.exists(f"{folder}/.furu.json")
    ]
    before = len(artifacts())
    damage = [finding.what for finding in _verify.verify(deep=True).damage]
    for half in _settings.settings().path.rglob("*.tmp"):
        os.utime(half, (A_WEEK_AGO, A_WEEK_AGO))
    found = take(Path(path))
    if len(found.new) + before != len(found.index.nodes):
        wrong.append(f"{before} were there, and {len(found.new)} came")
    damage += [finding.what for finding in _verify.verify(deep=True).damage]
    with use_settings(trust_pickles="all"):
        if REPORT.load_existing() != "weight 3.0" or REPORT.fit.load_existing() != Model(3.0):
            wrong.append("the results are others")
    return {"wrong": wrong + damage, "there": before, "left": left()}


def artifacts() -> list[str]:
    """All results in the current store."""
    return [node.artifact for node in _stored_nodes.nodes_of(_stored_nodes.classes())]


def left() -> list[str]:
    """What an import left of which nobody knows any more."""
    store = _settings.settings().path
    found = [path for path in store.rglob(".*") if path.name.startswith(".removed-")]
    return list(map(str, [*found, *(store / "imports").glob(".*.tmp")]))
