"""Which classes, nodes and runs the store has, by the names of folders alone.

Listing costs one listing for each folder, and no `stat` for a node.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import attrs

from furu_core._files import store_error
from furu_core._settings import _settings
from furu_core._store import _format1
from furu_core._store._layout import attempted_in, runs_dir, without_hashes
from furu_core._text import did_you_mean
from furu_core.errors import FuruStoreError, FuruUsageError


@attrs.frozen
class ClassFolder:
    """The folder of a class that has nodes.

    Attributes:
        name: the name of the class in hashes: ``exp.train:Train``.
        path: the folder.
        names: what is in it.
    """

    name: str
    path: str
    names: list[str] = attrs.field(repr=False)


def class_folders(
    refused: Callable[[FuruStoreError], object], store: Path | None = None
) -> Iterator[ClassFolder]:
    """The folders of all classes that have nodes in a store, by name.

    Args:
        refused: called with the error for a folder within the store that cannot be read.
        store: the current one if None.

    Raises:
        FuruStoreError: the store cannot be read.
    """
    root = f"{_settings.settings().path if store is None else store}/data"
    pending = [""]
    while pending:
        below = pending.pop()
        try:
            names = os.listdir(f"{root}/{below}")
        except FileNotFoundError:
            continue
        except OSError as error:
            if below and isinstance(error, NotADirectoryError):
                continue
            unreadable = store_error(error, f"{root}/{below}", doing="read")
            if not below:
                raise unreadable from error
            refused(unreadable)
            continue
        others = without_hashes(names)
        if (
            len(others) < len(names)
            or _format1.ATTEMPTS in others
            or any(name.startswith(".") and attempted_in([name]) for name in others)
        ):
            yield ClassFolder(class_in(below), f"{root}/{below.rstrip('/')}", names)
        inner = [
            f"{below}{name}/"
            for name in others
            if not name.startswith(".") and os.path.isdir(f"{root}/{below}{name}")
        ]
        pending.extend(sorted(inner, reverse=True))


def class_in(below: str) -> str:
    """The name of a class by its folder below `data`, such as ``exp/train/Train/``."""
    *modules, qualname = (
        re.sub("%([0-9A-F]{2,})", lambda match: chr(int(match[1], 16)), part)
        for part in below.rstrip("/").split("/")
    )
    return f"{'.'.join(modules)}:{qualname}"


def run_ids() -> list[str]:
    """The ids of the runs in the current store, the newest first.

    Raises:
        FuruStoreError: the store cannot be read.
    """
    try:
        names = os.listdir(runs_dir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise store_error(error, runs_dir(), doing="read") from error
    return sorted((name for name in names if not name.startswith(".")), reverse=True)


def runs_called(name: str, known: Iterable[str]) -> list[str]:
    """Those of some ids of runs that a name means: the one that it is, else all that begin or end so."""
    known = list(known)
    if name in known:
        return [name]
    return [one for one in known if name and (one.startswith(name) or one.endswith(name))]


def no_run(name: str, known: Iterable[str]) -> FuruUsageError:
    """The error of a name that means no run."""
    return FuruUsageError(
        f"the store {_settings.settings().path} has no run {name!r}{did_you_mean(name, known)}",
        hint="`furu runs` lists all runs; is FURU_PATH the right one?",
    )
