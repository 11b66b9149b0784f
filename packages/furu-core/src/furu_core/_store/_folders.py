"""Which classes, nodes and runs the store has, by the names of folders alone.

Listing costs one listing for each folder, and no `stat` for a node.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import attrs

from furu_core._files import store_error
from furu_core._settings import _settings
from furu_core._store import _format1, _further_stores
from furu_core._store._layout import attempted_in, runs_dir, without_hashes
from furu_core._text import RUN_PREFIX, did_you_mean
from furu_core.errors import FuruStoreError, FuruUsageError

_RUN_ID: Final = re.compile(r"\d{8}-[0-9a-f-]*")  # or the beginning of one


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


def run_ids(store: Path | None = None) -> list[str]:
    """The ids of the runs in a store, the newest first.

    Args:
        store: the current one if None.

    Raises:
        FuruStoreError: the store cannot be read.
    """
    folder = runs_dir() if store is None else f"{store}/runs"
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise store_error(error, folder, doing="read") from error
    return sorted((name for name in names if not name.startswith(".")), reverse=True)


def runs_called(name: str, known: Iterable[str]) -> list[str]:
    """Those of some ids of runs that a name means: the one that it is, else all that begin or end so."""
    known = list(known)
    if name in known:
        return [name]
    return [one for one in known if name and (one.startswith(name) or one.endswith(name))]


def with_run_prefix(name: str) -> str:
    """A name with `run:` before it, if it looks like the id of a run or its beginning; else as it is.

    Example:
        >>> [with_run_prefix(name) for name in ("20261128-1530", "Train", "20261128")]
        ['run:20261128-1530', 'Train', '20261128']
    """
    return f"{RUN_PREFIX}{name}" if _RUN_ID.fullmatch(name) else name


def refuse_run_elsewhere(name: str) -> None:
    """Raise where a name means a run of a store that is only read, and none of the current one.

    Raises:
        FuruUsageError: it does.
        FuruStoreError: a store cannot be read.
    """
    if runs_called(name, run_ids()):
        return
    for store in _further_stores.further_stores():
        if found := runs_called(name, run_ids(store)):
            raise FuruUsageError(
                f"the run {found[0]} is not in {_settings.settings().path}, but in another store, which is only "
                f"read: {store}/runs/{found[0]}",
                hint=f"`furu status {found[0]}` tells how it stands; for all else set FURU_PATH to {store}",
            )


def no_run(name: str, known: Iterable[str]) -> FuruUsageError:
    """The error of a name that means no run.

    Raises:
        FuruUsageError, FuruStoreError: as `refuse_run_elsewhere`.
    """
    refuse_run_elsewhere(name)
    return FuruUsageError(
        f"the store {_settings.settings().path} has no run {name!r}{did_you_mean(name, known)}",
        hint="`furu runs` lists all runs; is FURU_PATH the right one?",
    )
