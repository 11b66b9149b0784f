"""`furu usage`: where the space in a store went."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import click

import furu_core
from furu_core.command import StoredClass, json_option, print_json, say, size, stored_classes

__all__ = ["usage"]


@click.command("usage")
@click.argument("class_name", metavar="[CLASS]", required=False)
@json_option
def usage(class_name: str | None, as_json: bool) -> None:
    """Show the space that results take, and what unfinished attempts left, by class.

    CLASS is a class name, with as much of its module as is needed. Without it, the store's other
    folders (runs, raw, logs) are shown as well.
    """
    usages = [_usage_of(cls) for cls in stored_classes(class_name)]
    if class_name is None:
        usages += _other_folders()
    usages.sort(key=lambda usage: (-usage.results - usage.attempts, usage.name))
    if as_json:
        print_json([asdict(usage) for usage in usages])
        return
    for usage in (*usages, _total(usages)):
        nodes = f"{usage.nodes}" if usage.nodes else ""
        left = f"{size(usage.attempts)} in attempts" if usage.attempts else ""
        say(f"{size(usage.results):>10} {nodes:>8}  {usage.name}  {left}".rstrip())


@dataclass(frozen=True)
class Usage:
    """What something in the store takes.

    Attributes:
        name: of the class, or the path of another folder.
        nodes: number of results.
        results: bytes that they take.
        attempts: bytes in attempts: of what is being computed, and of what failed.
    """

    name: str
    nodes: int
    results: int
    attempts: int


def _usage_of(cls: StoredClass) -> Usage:
    published = cls.published()
    results = sum(_size_of(f"{cls.folder}/{node_hash}") for node_hash in published)
    return Usage(cls.name, len(published), results, _size_beside(cls.folder))


def _size_beside(folder: str) -> int:
    """The size of what is beside the results of a class: attempts and what belongs to them."""
    beside = [entry for entry in _entries(folder) if entry.name.startswith(".")]
    return sum(_size_of(entry.path) for entry in beside if entry.is_dir())


def _other_folders() -> Iterator[Usage]:
    store = furu_core.settings().path
    for entry in _entries(store):
        if entry.name != "data" and entry.is_dir(follow_symlinks=False):
            yield Usage(f"{entry.name}/", 0, _size_of(entry.path), 0)


def _total(usages: Iterable[Usage]) -> Usage:
    sums = [(usage.nodes, usage.results, usage.attempts) for usage in usages]
    return Usage("in all", *(sum(column) for column in zip((0, 0, 0), *sums, strict=True)))


def _size_of(folder: str | os.PathLike[str]) -> int:
    """The bytes of all files below a folder; links count as themselves."""
    total, pending = 0, [folder]
    while pending:
        for entry in _entries(pending.pop()):
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
                continue
            try:
                total += entry.stat(follow_symlinks=False).st_size
            except FileNotFoundError:  # nodes are computed and deleted meanwhile
                continue
    return total


def _entries(folder: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []
