"""Nodes that count what they compute, and functions that processes run which are killed meanwhile."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

from furu_core import Furu
from furu_core._attempts import _publishing
from furu_core._codecs._load import load as load_result
from furu_core._settings import _settings
from furu_core._store import _manifest

HASH_DIGITS = 32
AN_AGE_AGO = time.time() - 7 * 24 * 3600


def outside() -> Path:
    """The folder beside the store where nodes leave traces that no store code touches."""
    return _settings.settings().path.parent


def count(name: str) -> None:
    """Note that a node's code ran to its end."""
    with open(outside() / "computed", "ab", buffering=0) as file:
        file.write(name.encode() + b"\n")


def counts() -> Counter[str]:
    """How often each node's code has run to its end."""
    try:
        return Counter((outside() / "computed").read_text().split())
    except FileNotFoundError:
        return Counter()


def generation() -> int:
    """Which of several results that would be right a node computes now."""
    path = outside() / "generation"
    return int(path.read_text()) if path.exists() else 1


class Leaf(Furu[dict]):
    seed: int

    def _create(self) -> dict:
        value = {"seed": self.seed, "of": generation(), "list": [self.seed] * 50}
        count(f"leaf-{self.seed}")
        return value


class Files(Furu[int]):
    """Writes files and folders, and loads them itself."""

    leaf: Leaf

    def _create(self) -> int:
        seed = self.leaf.get()["seed"]
        (self.furu_dir / "deep" / "er").mkdir(parents=True)
        (self.furu_dir / "deep" / "er" / "seed.txt").write_text(str(seed))
        (self.furu_dir / "large.bin").write_bytes(bytes(100_000))
        os.symlink("deep/er/seed.txt", self.furu_dir / "latest")
        count(f"files-{seed}")
        return seed

    def _load(self) -> int:
        assert (self.furu_dir / "large.bin").stat().st_size == 100_000
        return int((self.furu_dir / "latest").read_text())

    def _validate(self) -> bool:
        return self.get() == self.leaf.seed


class Top(Furu[list]):
    parts: tuple[Files, ...]
    more: Leaf

    def _create(self) -> list:
        value = [part.get() for part in self.parts] + [self.more.get()["seed"]]
        count("top")
        return value


STEPS = 4


class Steps(Furu[list]):
    """Goes on where an earlier attempt stopped."""

    name: str = "one"

    def _create(self) -> list:
        done = self.checkpoint_dir / "done"
        value = [int(step) for step in done.read_text().split()] if done.exists() else []
        for step in range(len(value), STEPS):
            value.append(step)
            fresh = self.checkpoint_dir / "fresh"
            fresh.write_text(" ".join(map(str, value)))
            os.replace(fresh, done)
            count(f"{self.name}-{step}")
        count(f"steps:{self.name}")
        return value


def _roots(what: str) -> list[tuple[Furu[Any], Any, str]]:
    """The nodes of one experiment, each with its value and the name it counts under."""
    if what == "steps":
        return [(Steps(), list(range(STEPS)), "steps:one")]
    if what == "leaf":
        return [(Leaf(seed=1), None, "leaf-1")]
    leaf = Leaf(seed=1)
    files = Files(leaf=leaf)
    if what == "files":
        return [(leaf, None, "leaf-1"), (files, 1, "files-1")]
    top = Top(parts=(files,), more=leaf)
    return [(leaf, None, "leaf-1"), (files, 1, "files-1"), (top, [1, 1], "top")]


def compute(what: str) -> Any:
    """Ask for the last root as a user would."""
    return _roots(what)[-1][0].get()


def right(node: Furu[Any], expected: Any, value: Any) -> bool:
    """Whether a value is what the node computes, in any generation."""
    if isinstance(node, Leaf):
        one = {"seed": node.seed, "list": [node.seed] * 50}
        return any(value == {**one, "of": which} for which in (1, 2))
    return value == expected


def artifacts() -> list[str]:
    """All folders of the store that its layout calls artifacts."""
    found = []
    for parent, folders, _ in os.walk(_settings.settings().path / "data"):
        names = [name for name in folders if len(name) == HASH_DIGITS]
        found += [os.path.join(parent, name) for name in names]
        folders[:] = [name for name in folders if name not in names and not name.startswith(".")]
    return found


def attempts_left() -> list[str]:
    """Whatever is beside artifacts, of which nothing is to stay after success."""
    left = []
    for parent, folders, files in os.walk(_settings.settings().path / "data"):
        if len(os.path.basename(parent)) == HASH_DIGITS:
            folders.clear()
            continue
        left += [os.path.join(parent, name) for name in folders + files if name.startswith(".")]
        folders[:] = [name for name in folders if not name.startswith(".")]
    return left


def inspect_and_finish(what: str) -> dict[str, Any]:
    """Judge what a killed process left, run the same again, and judge that."""
    wrong = []
    for folder in artifacts():
        manifest = _manifest.check(folder)
        if manifest is None:
            wrong.append(f"{folder} is listed and has no manifest")
        elif manifest.result is not None:
            load_result(manifest.result, f"{folder}/{manifest.prefix}", folder, manifest.value)
    roots = _roots(what)
    before = counts()
    published = {name for node, _, name in roots if node.exists()}
    if what == "leaf":
        published = {"leaf-1"}  # by the run before, and it was to be replaced
    elif len(artifacts()) != len(published):
        wrong.append(f"artifacts {artifacts()} but published {published}")
    for node, expected, _ in reversed(roots):
        value = node.get()
        if not right(node, expected, value):
            wrong.append(f"{node!r} is {value!r}")
    after = counts() - before
    for _, _, name in roots:
        if after[name] != (name not in published):
            wrong.append(f"{name} was computed {after[name]} times, published: {published}")
    left = sweep_when_old(what)
    return {"wrong": wrong, "published": sorted(published), "left": left}


def sweep_when_old(what: str) -> list[str]:
    """Let a week pass for what was left, compute something new in each folder, and see what stays."""
    for path in attempts_left():
        for folder, _, files in os.walk(path, topdown=False):
            for name in files:
                os.utime(f"{folder}/{name}", (AN_AGE_AGO, AN_AGE_AGO), follow_symlinks=False)
            os.utime(folder, (AN_AGE_AGO, AN_AGE_AGO))
    _publishing._swept.clear()  # as in another process
    if what == "steps":
        Steps(name="another").get()
    else:
        files = Files(leaf=Leaf(seed=2))
        Top(parts=(files,), more=files.leaf).get()
    return attempts_left()
