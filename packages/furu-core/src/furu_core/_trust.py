"""Whose files are loaded that run code when they are loaded: what `FURU_TRUST_PICKLES` says.

A pickle runs whatever its writer put in it. The files of a queue and of a graph are JSON, but say which
functions and classes are imported and called, and with what. So both pass through here, and nothing else
opens them. By default all are loaded but those in results that were imported from another store, which
belong to whoever imported them and were made by nobody knows whom (`_import_records`).

Where the setting says whose, all who could have put such a file there are asked for: its owner, the
owner of its folder, and whoever may write to it. So furu creates these files writable for their owner
alone, whatever the umask. Everything is asked of what was opened, so a file that is exchanged
meanwhile makes no difference. What is refused is left as it is.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from furu_core._files import read_open_file
from furu_core._settings import _settings
from furu_core.errors import FuruUntrustedFile

if TYPE_CHECKING:
    from furu_core import _import_records

# Of files that run code: nobody but the owner can change what is in them.
OWNER_WRITES: Final = 0o644
_ROOT: Final = 0  # can run anything as anybody anyway
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_PLAIN: Final = os.O_RDONLY | os.O_CLOEXEC
_CAREFUL: Final = _PLAIN | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe would wait for a writer
_EVERYBODY: Final = frozenset({_settings.TRUST_ALL, _settings.TRUST_LOCAL})
_DIGITS: Final = 32  # of a hash, which is the name of a result's folder
_HEXADECIMAL: Final = frozenset("0123456789abcdef")
_FOLDER: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC


_last = threading.local()  # the last refusal in this thread, in `error`


def open_trusted(path: str | os.PathLike[str], *, environ: Mapping[str, str] | None = None) -> int:
    """Open a file that may run code when it is loaded, if its writer is trusted.

    Args:
        path: the file.
        environ: where to look for the setting; None for the settings of this process.

    Returns:
        A descriptor for reading, which the caller closes. What is read from it is from the file that
        was examined, whatever stands at the path by then.

    Raises:
        FuruUntrustedFile: `FURU_TRUST_PICKLES` names none of those who could have written it.
        OSError: it is not there, or cannot be read.

    Example:
        >>> import os, tempfile
        >>> from furu_core.codecs import open_trusted
        >>> with tempfile.NamedTemporaryFile() as own, open(open_trusted(own.name), "rb") as file:
        ...     file.read()
        b''
    """
    named = _settings.settings().trust_pickles if environ is None else _settings.trust_in(environ)
    if _settings.TRUST_ALL in named:
        return os.open(path, _PLAIN)
    where = os.fspath(path)
    _refuse_imported(where, named)
    if _settings.TRUST_LOCAL in named:
        return os.open(path, _PLAIN)
    return _open_if_owned(where, named)


def _open_if_owned(where: str, named: frozenset[str]) -> int:
    """Open a file if all who could have put it there are named."""
    folder, name = os.path.split(where)
    holder = os.open(folder or ".", _FOLDER)
    try:
        try:
            descriptor = os.open(name, _CAREFUL, dir_fd=holder)
        except OSError as error:
            error.filename = where
            if error.errno != errno.ELOOP:
                raise
            link = os.stat(name, dir_fd=holder, follow_symlinks=False)
            raise _refused(
                where, link.st_uid, named, "is a symbolic link, behind which anything may be",
                hint=f"put the file itself there, or {_accept(named, None)}",
            ) from None  # fmt: skip
        try:
            _examine(where, named, os.fstat(holder), os.fstat(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor
    finally:
        os.close(holder)


def read_trusted(
    path: str | os.PathLike[str], *, environ: Mapping[str, str] | None = None
) -> bytes:
    """The contents of a file that `open_trusted` opens.

    Raises:
        FuruUntrustedFile, OSError: as for `open_trusted`.
    """
    return read_open_file(open_trusted(path, environ=environ))


def is_trusted_user(uid: int) -> bool:
    """Whether files of a user that run code when they are loaded are loaded."""
    named = _settings.settings().trust_pickles
    return not named.isdisjoint(_EVERYBODY) or uid in _uids(named)


@contextmanager
def no_refusal_swallowed() -> Iterator[None]:
    """Raise what `open_trusted` refused in the enclosed code, also where that code caught it.

    Raises:
        FuruUntrustedFile: it refused a file in this thread.
    """
    before, _last.error = getattr(_last, "error", None), None
    try:
        try:
            yield
        except Exception as error:
            if _last.error in (None, error):
                raise
            raise _last.error from error
        if _last.error is not None:
            raise _last.error
    finally:
        _last.error = before


def origin_of(artifact: str) -> _import_records.ImportOrigin | None:
    """Where the result in a folder was imported from, and whether that is trusted; None where it was not.

    Raises:
        FuruStoreError: the records of imports cannot be read.
    """
    return _origin_of(artifact, _settings.settings().trust_pickles)


def _origin_of(artifact: str, named: frozenset[str]) -> _import_records.ImportOrigin | None:
    from furu_core import _import_records  # jobs open files of no result first

    if not named.isdisjoint(_EVERYBODY):
        return _import_records.origin_of(artifact)
    reader = partial(_read_if_owned, named=named)
    return _import_records.origin_of(artifact, reader, ",".join(sorted(named)))


def _read_if_owned(path: str, *, named: frozenset[str]) -> bytes:
    before = getattr(_last, "error", None)
    try:
        return read_open_file(_open_if_owned(path, named))
    finally:
        _last.error = before  # this refusal is no refusal to load anything


def _artifacts_with(path: str) -> list[str]:
    """The folders that a file is in and that may be a result's."""
    found = []
    # As it is named, too: where a folder of the store is a link to another disk, what it leads to is in no store.
    for parts in (name.split("/") for name in {os.path.realpath(path), os.path.abspath(path)}):
        found += [
            "/".join(parts[: place + 1])
            for place, part in enumerate(parts[:-1])
            if len(part) == _DIGITS and _HEXADECIMAL.issuperset(part)
        ]
    return found


def _refuse_imported(path: str, named: frozenset[str]) -> None:
    """Refuse a file of a result that was imported, unless somebody who is believed said to trust it."""
    origins = [_origin_of(artifact, named) for artifact in _artifacts_with(path)]
    origin = next((one for one in origins if one is not None and not one.trusted), None)
    if origin is None:
        return
    import shlex  # what is not refused needs none
    import time

    where = "a pipe" if origin.source == "-" else origin.source
    when = time.strftime("%Y-%m-%d", time.localtime(origin.time))
    raise _refused(
        path, os.stat(path).st_uid, named,
        f"was imported from {where} on {when} by {origin.user}: who made it is not known here",
        hint=f"if you trust where it comes from to run code as you: furu import --trust "
        f"{shlex.quote(origin.source)}; or set FURU_TRUST_PICKLES=all",
    )  # fmt: skip


def _examine(
    path: str, named: frozenset[str], folder: os.stat_result, file: os.stat_result
) -> None:
    if not stat.S_ISREG(file.st_mode):
        raise _refused(path, file.st_uid, named, "is no plain file", hint="what put it there?")
    trusted = _uids(named)
    if file.st_uid not in trusted:
        owner = user_name(file.st_uid)
        raise _refused(
            path, file.st_uid, named, f"belongs to {owner}",
            hint=f"if you trust {owner} to run code as you, {_accept(named, file.st_uid)}",
        )  # fmt: skip
    if folder.st_uid not in trusted:
        owner = user_name(folder.st_uid)
        raise _refused(
            path, file.st_uid, named,
            f"is in a folder of {owner}, who can put there what was meant for something else",
            hint=f"if you trust {owner} to run code as you, {_accept(named, folder.st_uid)}",
        )  # fmt: skip
    if file.st_mode & _OTHERS_WRITE:
        import shlex  # what is not refused needs none

        raise _refused(
            path, file.st_uid, named, f"can be changed by others (mode {file.st_mode & 0o7777:o})",
            hint=f"if you know that nobody did: chmod go-w {shlex.quote(path)}",
        )  # fmt: skip


def _uids(named: frozenset[str]) -> set[int]:
    others = {_settings.uid_of(name) for name in named - {_settings.TRUST_OWN}}
    return {_ROOT, os.geteuid(), *others}


def _refused(
    path: str, uid: int, named: frozenset[str], why: str, *, hint: str
) -> FuruUntrustedFile:
    setting = ",".join(sorted(named))
    owner = user_name(uid)
    whose = "" if owner in why else f" of {owner}"
    error = _last.error = FuruUntrustedFile(
        f"{path}{whose} was not loaded, as that may run code: FURU_TRUST_PICKLES is {setting}, and the "
        f"file {why}",
        path=path,
        owner=owner,
        hint=hint,
    )
    return error


def _accept(named: frozenset[str], uid: int | None) -> str:
    """What to set to have it loaded."""
    if uid is None:
        return "set FURU_TRUST_PICKLES=all"
    names = sorted({*named - {_settings.TRUST_OWN}, user_name(uid)})
    return f"set FURU_TRUST_PICKLES={','.join(names)}"


def keep_to_owner(path: str | os.PathLike[str]) -> None:
    """Make a file of this user writable for nobody else, as `open_trusted` asks.

    Raises:
        OSError: it is not there, or belongs to somebody else.
    """
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & _OTHERS_WRITE:
        os.chmod(path, mode & ~_OTHERS_WRITE)


def user_name(uid: int) -> str:
    """The name of a user, or the id in digits where this machine knows no name."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
