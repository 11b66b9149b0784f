"""A folder in which a doctor tries things, which goes with it, or with the next one after a `kill -9`.

It lies in the store, or beside a store that is not there yet. Whose it is, and for how many seconds it may be needed,
stands in its name, so that it is known from the moment at which there is a folder, on a full disk as well::

    .furu-doctor-<host, boot and namespace>-<pid>-<start>-<seconds>-<token>/
"""

from __future__ import annotations

import os
import re
import shlex
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import attrs

from furu_core._attempts import _liveness
from furu_core._doctor._results import CheckResult, note, ok
from furu_core._files import list_folder, remove_tree
from furu_core._process_ids import process_is_gone, this_process
from furu_core._settings import _settings

PREFIX: Final = ".furu-doctor-"
_NAME: Final = re.compile(rf"{re.escape(PREFIX)}([0-9a-f]{{8}})-(\d+)-(\w*)-(\d+)-[0-9a-f]+")
_SECS: Final = 600.0  # for so long a doctor may take that submits nothing


def place() -> str:
    """The store, or where there is none yet, the folder in which it would be made.

    Raises:
        OSError: it may not be looked at, or something that is no folder stands in the way.
    """
    folder = str(_settings.settings().path)
    while True:
        try:
            os.lstat(folder)
        except FileNotFoundError:
            folder = os.path.dirname(folder)
        else:
            break
    try:
        os.stat(f"{folder}/.")  # which fails for a file, and a link that leads nowhere
    except OSError as error:
        raise OSError(error.errno, error.strerror, folder) from None
    return folder


@contextmanager
def probe_folder(secs: float = _SECS) -> Iterator[str]:
    """A new folder in the store, or beside a store that is not there yet, which is removed afterwards.

    Args:
        secs: for how long it may be needed; a later doctor that cannot look up this process takes it for left
            behind after that.

    Raises:
        OSError: it cannot be made.
    """
    me = this_process()
    start = me.start if me.start.isalnum() else ""  # elsewhere than on Linux it is no single word
    whose = f"{_here()}-{me.pid}-{start}-{secs:.0f}"
    folder = f"{place()}/{PREFIX}{whose}-{os.urandom(4).hex()}"
    try:
        os.mkdir(folder)
        yield folder
    finally:
        remove_tree(folder)


def leftovers() -> Iterator[CheckResult]:
    """Remove what earlier doctors left, and tell of it."""
    where = place()
    for name in sorted(list_folder(where)):
        folder = f"{where}/{name}"
        if not name.startswith(PREFIX) or not _is_left(name, folder):
            continue
        remove_tree(folder)
        if os.path.lexists(folder):
            yield note(
                "leftovers",
                f"an earlier doctor left {folder}, which cannot be removed",
                f"rm -r {shlex.quote(folder)}",
            )
        else:
            yield ok("leftovers", f"removed {folder}, which an earlier doctor left")


def _here() -> str:
    me = this_process()
    return f"{zlib.crc32(f'{me.host} {me.boot} {me.pid_namespace}'.encode()):08x}"


def _is_left(name: str, folder: str) -> bool:
    """Whether the doctor of a folder is gone."""
    told = _NAME.fullmatch(name)
    if told is None:
        return False  # of a furu that names them in another way
    here, pid, start, secs = told.groups()
    gone = None
    if here == _here():
        gone = process_is_gone(attrs.evolve(this_process(), pid=int(pid), start=start))
    if gone is None:
        age = _liveness.lease_age(folder)
        gone = age is not None and age > float(secs)
    return gone
