"""Nodes for tests of `get()`: they count how often they are computed, fail on demand, and so on."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from furu_core import Furu, field

calls: list[str] = []  # the names of what was computed or loaded in this process
hooks: dict[str, Callable[[], Any]] = {}  # what a node does, by its field `hook`


class Point(NamedTuple):
    """A result that JSON alone would turn into a list."""

    x: int
    y: float


class Square(Furu[int]):
    """A trivial node."""

    side: int = 2

    def _create(self) -> int:
        calls.append(f"square {self.side}")
        return self.side**2


class Outer(Furu[int]):
    """A node that depends on another."""

    square: Square = Square()
    plus: int = 1

    def _create(self) -> int:
        calls.append("outer")
        return self.square.get() + self.plus


class Returns(Furu[Any]):
    """Returns a value of some kind."""

    kind: str

    def _create(self) -> Any:
        calls.append(self.kind)
        return VALUES[self.kind](self)


def _file(node: Returns) -> Path:
    path = node.furu_dir / "sub" / "file.txt"
    path.parent.mkdir()
    path.write_text("content")
    return path


VALUES: dict[str, Callable[[Any], Any]] = {
    "none": lambda node: None,
    "int": lambda node: 1,
    "float": lambda node: 0.1,
    "nan": lambda node: float("nan"),
    "str": lambda node: "ü\n\udc80",
    "bytes": lambda node: b"\x00\xff",
    "tuple": lambda node: (1, (2, [3])),
    "int keys": lambda node: {1: "a", (2, 3): "b"},
    "set": lambda node: {1, 2},
    "named tuple": lambda node: Point(1, 2.0),
    "path": _file,
    "paths in a dict": lambda node: {"here": [_file(node)], "elsewhere": Path("/etc/hosts")},
    "folder": lambda node: node.furu_dir,
    "furu object": lambda node: Square(side=7),
}


class Files(Furu[str]):
    """Writes a file, and loads it itself."""

    text: str = "hello"

    def _create(self) -> str:
        calls.append("create")
        (self.furu_dir / "text.txt").write_text(self.text)
        return "what _create returns is not stored"

    def _load(self) -> str:
        calls.append("load")
        return (self.furu_dir / "text.txt").read_text()


class Does(Furu[Any]):
    """Does whatever the test put into `hooks`."""

    hook: str = "default"
    n: int = 0

    def _create(self) -> Any:
        calls.append(f"does {self.hook}")
        return hooks[self.hook]() if self.hook in hooks else None


class Fails(Furu[None]):
    """Raises something."""

    what: str = "ValueError"

    def _create(self) -> None:
        print("about to fail")
        deep_in_the_users_code(self.what)


class Unspeakable(Exception):
    """Cannot say what it is, as one whose code uses an attribute that it lacks."""

    def __str__(self) -> str:
        return self.reason  # type: ignore[attr-defined, no-any-return]


ERRORS: dict[str, Callable[[], BaseException]] = {
    "ValueError": lambda: ValueError("first line\nbad value 42"),
    "KeyboardInterrupt": KeyboardInterrupt,
    "SystemExit": lambda: SystemExit(3),
    "CancelledError": lambda: asyncio.CancelledError("nobody waits any more"),
    "GeneratorExit": GeneratorExit,
    "silent": RuntimeError,
    "odd bytes": lambda: ValueError("bad file caf\udce9.txt"),
    "unspeakable": Unspeakable,
}


def deep_in_the_users_code(what: str) -> None:
    if what == "exit":
        sys.exit("no more")
    error = ERRORS[what]()
    raise error


class Needs(Furu[Any]):
    """Asks for another node."""

    of: Furu[Any]

    def _create(self) -> Any:
        return self.of.get()


class Talks(Furu[None]):
    """Writes into its log in every way."""

    def _create(self) -> None:
        print("printed")
        print("to stderr", file=sys.stderr)
        logging.getLogger("users").info("logged")
        logging.getLogger("users").warning("warned %s", "loudly")


class Resumes(Furu[int]):
    """Counts its attempts in its checkpoint folder and fails until there were enough."""

    attempts: int = 3

    def _create(self) -> int:
        path = self.checkpoint_dir / "count.txt"
        count = int(path.read_text()) if path.exists() else 0
        path.write_text(str(count + 1))
        if count + 1 < self.attempts:
            raise RuntimeError(f"attempt {count + 1}")
        return count + 1


class Plain(Furu[int]):
    """A node whose spec key a test changes."""

    def _create(self) -> int:
        return 1


class Abstract(Furu[int]):
    """A base without `_create`."""

    n: int = 1


class Concrete(Abstract):
    """What can be computed."""

    def _create(self) -> int:
        return self.n


class WrongDependencies(Furu[int]):
    """Its `_dependencies` are whatever the test put into `hooks`."""

    def _dependencies(self) -> Iterable[Furu[Any]]:
        found: Iterable[Furu[Any]] = hooks["dependencies"]()
        return found

    def _create(self) -> int:
        return 1


class Mutates(Furu[int]):
    """Changes its own field, which its hash has taken in."""

    options: dict[str, int] = field(factory=dict)

    def _create(self) -> int:
        self.options["changed"] = 1
        return 1


class MutatesAnother(Furu[int]):
    """Changes a field of a node nested in it."""

    of: Mutates

    def _create(self) -> int:
        self.of.options["changed"] = 1
        return 1


class Notes(Furu[list[str]]):
    """Changes a field that no hash takes in."""

    seen: list[str] = field(factory=list, exclude_from_hash=True)

    def _create(self) -> list[str]:
        self.seen.append("noted")
        return self.seen


class LoadFails(Furu[int]):
    """Cannot load what it made."""

    def _create(self) -> int:
        return 1

    def _load(self) -> int:
        raise LookupError("cannot load it")
