"""A class whose results another one adopts, and what depends on it, in processes that a test starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from furu_core import Furu, field
from furu_core._store._adoption_records import Adoption
from furu_core._upkeep import _adoptions

COUNT = 3


class Old(Furu[Any]):
    learning_rate: float = 0.1
    momentum: float = 0.9
    tags: tuple[str, ...] = field(default=(), omit_default_from_hash=True)

    def _create(self) -> Any:
        (self.furu_dir / "sub").mkdir()
        (self.furu_dir / "sub" / "w.bin").write_bytes(b"w" * 100)
        (self.furu_dir / "last").symlink_to(self.furu_dir / "sub" / "w.bin")
        return {"lr": self.learning_rate, "path": self.furu_dir / "sub", "own": Box({self})}


class Box:
    """No format but a pickle holds it."""

    def __init__(self, config: Any) -> None:
        self.config = config


class New(Furu[Any]):
    lr: float = 0.1
    dropout: float = 0.0
    tags: tuple[str, ...] = field(default=(), omit_default_from_hash=True)

    def _create(self) -> Any:
        raise AssertionError("it is adopted, not computed")


class Report(Furu[float]):
    models: list[Furu[Any]]

    def _create(self) -> float:
        return sum(model.get()["lr"] for model in self.models)


class Above(Furu[float]):
    report: Report

    def _create(self) -> float:
        return self.report.get()


def old() -> list[Any]:
    models = [Old(learning_rate=0.25 * number) for number in range(COUNT)]
    report = Report(models=[*models[:2]])
    return [*models, report, Above(report=report)]


def new() -> list[Any]:
    models = [New(lr=0.25 * number) for number in range(COUNT)]
    report = Report(models=[*models[:2]])
    return [*models, report, Above(report=report)]


def compute() -> None:
    for node in old():
        node.get()


def adoption() -> Adoption:
    return _adoptions.adoption_of(
        Old.__furu_class__.identity_name,
        New,
        map={"learning_rate": "lr"},
        set={},
        drop={"momentum": "0.9"},
    )


def do() -> tuple[int, dict[str, str]]:
    done = _adoptions.adopt(adoption(), lambda plan: None)
    return len(done.aliases), done.failed


def wait_and_do(gate: str) -> int:
    while not os.path.exists(gate):
        pass
    return do()[0]


def undo() -> int:
    return len(_adoptions.undo("Old", "New").aliases)


def values() -> list[Any]:
    return [
        value["lr"] if isinstance(value, dict) else value
        for value in (node.load_existing() for node in new())
    ]


def tree(store: str) -> dict[str, str]:
    """All that is below the data of a store, folders included."""
    data = Path(store, "data")
    return {
        str(path.relative_to(data)): path.read_bytes().hex() if path.is_file() else ""
        for path in sorted(data.rglob("*"))
    }
