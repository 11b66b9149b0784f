"""The checks in their order: of the store, which jobs make as well, and of all else."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator

from furu_core._doctor import (
    _filesystem,
    _installation,
    _probe_folder,
    _project,
    _remains,
    _room,
)
from furu_core._doctor._installation import SettingOrigin
from furu_core._doctor._results import CheckResult, caught, note, ok, problem, warning
from furu_core._files import store_error
from furu_core._plugins import InstalledPlugin
from furu_core._settings import _settings
from furu_core._store import _format

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


def store_checks(*, now: Callable[[], float] = time.time) -> Iterator[CheckResult]:
    """Whether the store, or the folder in which it would be made, is fit for furu, as this host sees it.

    Args:
        now: this host's clock.

    Example:
        >>> from furu_core.checks import store_checks
        >>> {result.check for result in store_checks()} >= {"store", "files", "clock"}
        True
    """
    store = str(_settings.settings().path)
    try:
        where = _probe_folder.place()
        os.listdir(where)
        _format.refuse_newer()
    except OSError as error:
        told = store_error(error, store, doing="read")
        yield problem("store", told.message, told.hint)
        return
    if where == store:
        yield ok("store", store)
    else:
        yield note(
            "store", f"there is no {store} yet; the first result makes it", "furu run MODULE:TARGET"
        )
    yield from caught("also", _also())
    yield from caught("mount", _filesystem.mount(where))
    yield from caught("space", _room.space(where))
    yield from caught("quota", _room.quota(where))
    try:
        with _probe_folder.probe_folder() as folder:
            yield from _filesystem.operations(folder)
            yield from caught("locks", _filesystem.locks(folder))
            yield from caught("clock", _filesystem.clock(folder, now))
            if where == store:
                yield from caught("sharing", _room.access(store, folder))
    except OSError as error:
        told = store_error(OSError(error.errno, error.strerror), where)
        if error.errno in _READ_ONLY:
            yield problem("store", f"it can only be read: {told.message}", told.hint)
        else:
            yield problem("store", told.message, told.hint)
    yield from caught("leftovers", _probe_folder.leftovers())


def _also() -> Iterator[CheckResult]:
    """Whether the stores in which results are only looked for are there, and can be read."""
    for store in _settings.settings().also:
        try:
            os.listdir(f"{store}/data")
        except (FileNotFoundError, NotADirectoryError):
            yield warning(
                "also", f"{store} is no store: nothing is found there", "correct FURU_ALSO"
            )
        except OSError as error:
            told = store_error(error, store, doing="read")
            yield problem("also", told.message, "ask its owner, or take it out of FURU_ALSO")
        else:
            yield ok("also", f"results are looked for in {store}, too")


def all_checks(
    plugins: Callable[[], list[InstalledPlugin]],
    settings: list[SettingOrigin],
) -> Iterator[CheckResult]:
    """All checks that need no other distribution.

    Args:
        plugins: imports and lists the plugins.
        settings: from `setting_origins`.
    """
    yield from installation_checks(plugins)
    yield from _installation.settings(settings)
    yield from caught("store", store_checks())
    yield from caught("project", _project.project())
    if not _can_be_read():
        return  # which was told
    yield from caught("classes", _project.classes())
    yield from caught("runs", _remains.runs())
    yield from caught("attempts", _remains.attempts())
    yield from caught("leftovers", _remains.passing_files())
    yield from caught("trash", _remains.trash())


def _can_be_read() -> bool:
    try:
        os.listdir(_probe_folder.place())
    except OSError:
        return False
    return True


def installation_checks(plugins: Callable[[], list[InstalledPlugin]]) -> Iterator[CheckResult]:
    """Python, the packages of furu, and plugins."""
    yield from _installation.python()
    yield from caught("packages", _installation.packages(_installation.installed_packages()))
    yield from caught("plugins", _installation.plugins(plugins()))
