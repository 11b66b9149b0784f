"""Runs in a store that cannot be written: where all is there, it is loaded, and nothing tells of the run."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from typing import Final, Self

from furu_core._config._grid import Roots
from furu_core._config._objects import short_name
from furu_core._executors._run import Event, Run, RunState, RunStatus, runs_folder
from furu_core._settings import _settings
from furu_core._store._layout import ref_of
from furu_core._store._published import found_ref
from furu_core._text import count
from furu_core.errors import FuruStoreError

_log = logging.getLogger("furu.run")

_READ_ONLY: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_SHOWN: Final = 5  # roots that would have to be computed


def instead_of(error: FuruStoreError, roots: Roots) -> Run:
    """The run of roots that are all there, for which an executor could not make a folder.

    Args:
        error: what the executor raised.
        roots: what was asked for.

    Raises:
        FuruStoreError: `error`, unless it says that the store is only read; then one that says what would have to be
            computed.
    """
    if not _is_of_run_folder(error):
        raise error
    settings = _settings.settings()
    absent = [root for root in roots.items if found_ref(ref_of(root)) is None]
    if absent:
        shown = ", ".join(map(short_name, absent[:_SHOWN]))
        more = f" and {len(absent) - _SHOWN} more" if absent[_SHOWN:] else ""
        raise FuruStoreError(
            f"{count(len(absent), 'root')} of {len(roots.items)} would have to be computed, and the store "
            f"cannot be written: {shown}{more}; {error.message}",
            path=error.path,
            hint="compute in a store of your own, which finds what is there: FURU_PATH=FOLDER "
            f"FURU_ALSO={settings.path}",
        ) from error
    if settings.always_rerun:
        raise error  # what is there is not to be loaded
    _log.warning("all results are there; the run is not recorded: %s", error.message)
    return UnrecordedRun(roots)


def _is_of_run_folder(error: FuruStoreError) -> bool:
    """Whether an error says that the store takes no new run, because it is only read."""
    cause = error.__cause__
    within = str(error.path or "")
    return (
        isinstance(cause, OSError)
        and cause.errno in _READ_ONLY
        and (within == str(runs_folder()) or within.startswith(f"{runs_folder()}/"))
    )


class UnrecordedRun(Run):
    """A run of which all was there when it began, in a store that cannot be written. It has no id, and no folder of its own.

    Args:
        roots: what was asked for.
    """

    def __init__(self, roots: Roots) -> None:
        self.id = ""
        self.folder = runs_folder()
        self.roots = roots

    def wait(self, timeout: float | None = None) -> Self:
        """Return it: it has ended."""
        return self

    def status(self) -> RunStatus:
        """That all its roots are there."""
        number = len(self.roots.items)
        return RunStatus(RunState.DONE, total=number, loaded=number)

    def events(self) -> Iterator[Event]:
        """None."""
        return iter(())

    def cancel(self) -> None:
        """Do nothing: it has ended."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {count(len(self.roots.items), 'root')}>"
