"""The record file of a node, `.furu.json`: lines that tell how an attempt began and how it ended.

::

    {"furu":2, ...}                        the claim: who computes what, since when
    <digest> {...manifest}<tab>{...story}  the end: what loading needs; then how it went

The first line is written when an attempt is claimed, and the second one is appended when it ends,
before its folder is renamed to the artifact. So the claim stays readable whatever dies. Of several
second lines the first whole one counts: it is whole if the digest, BLAKE2b with 16 bytes, is that
of the rest of the line. A manifest that is empty means that the attempt has no result.

The holder of an attempt and a process that takes it for dead may both append a line. Whose line
counts is decided by the file, and the holder reads it again before it publishes.
"""

from __future__ import annotations

import os
from typing import Final

import attrs

from furu_core._files import blake2b, read_file, replace_file
from furu_core._store._layout import RECORD_FILE

VERSION: Final = 2
BEGINNING: Final = b'{"furu":%d,' % VERSION
_DIGITS: Final = 32
_OPEN: Final = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_AT_ONCE: Final = 1 << 14


@attrs.frozen(slots=True)
class RecordFile:
    """The parts of a record file, as JSON.

    Attributes:
        claim: how the attempt began.
        manifest: what loading the result needs; empty without a result, and while it runs.
        story: how it went; empty while it runs.
    """

    claim: bytes
    manifest: bytes
    story: bytes


def read(folder: str) -> RecordFile:
    """The record file in the folder of an attempt or artifact.

    Raises:
        FileNotFoundError: there is none.
        OSError: it cannot be read.
    """
    return parse(read_file(f"{folder}/{RECORD_FILE}"))


def parse(data: bytes) -> RecordFile:
    """The parts of a record file, given its contents."""
    end = data.find(b"\n")
    if end < 0:
        return RecordFile(data, b"", b"")
    manifest, _, story = _end_of(data).partition(b"\t")
    return RecordFile(data[:end], manifest, story)


def _end_of(data: bytes) -> bytes:
    """The first whole line after the claim, without its digest; empty where there is none."""
    for line in data.split(b"\n")[1:-1]:
        body = line[_DIGITS + 1 :]
        if body and digest(body) == line[:_DIGITS]:
            return body
    return b""


def digest(data: bytes) -> bytes:
    """The BLAKE2b digest of some bytes as 32 hexadecimal digits."""
    return blake2b(data, digest_size=_DIGITS // 2).hexdigest().encode()


def create(folder: str, claim: bytes) -> bool:
    """Write the first line in the folder of an attempt; of several that try, one succeeds.

    Returns:
        Whether it was written; False where there is one, or the folder is gone.

    Raises:
        OSError: it cannot be written.
    """
    path = f"{folder}/{RECORD_FILE}"
    try:
        descriptor = os.open(path, _CREATE, 0o666)
    except (FileExistsError, FileNotFoundError, NotADirectoryError):
        return False
    try:
        try:
            _write(descriptor, claim + b"\n")
        finally:
            os.close(descriptor)  # a file server may say only now that its disk is full
    except BaseException:
        os.unlink(path)
        raise
    return True


def is_claimed(folder: str) -> bool:
    """Whether the first line was written whole; whoever made the record died or sleeps, if not."""
    try:
        return b"\n" in read_file(f"{folder}/{RECORD_FILE}")
    except (IsADirectoryError, FileNotFoundError):
        return False


def append(folder: str, token: str, manifest: bytes, story: bytes, *, sync: bool = False) -> bool:
    """Append the line that tells how an attempt ended, if the record file is that attempt's.

    Args:
        folder: the attempt's folder.
        token: the attempt's, which is in the first line.
        manifest: what loading the result needs; empty without a result.
        story: how it went.
        sync: have the system write it to the disk as well.

    Returns:
        Whether it is the line that counts. False where another process wrote that the attempt
        ended, and where the folder is another attempt's by now, or gone.

    Raises:
        OSError: it cannot be written.
    """
    try:
        descriptor = os.open(f"{folder}/{RECORD_FILE}", _OPEN)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        so_far = _contents(descriptor)
        if token.encode() not in so_far:
            return False
        body = manifest + b"\t" + story
        torn = b"" if so_far.endswith(b"\n") else b"\n"
        line = b"%s%s %s\n" % (torn, digest(body), body)
        _write(descriptor, line)
        if sync:
            os.fsync(descriptor)
        after = _contents(descriptor)
        is_second = so_far.find(b"\n") == len(so_far) - 1  # nothing came before it
        return (is_second and after == so_far + line) or _end_of(after) == body
    finally:
        os.close(descriptor)


def _contents(descriptor: int) -> bytes:
    data = os.pread(descriptor, _AT_ONCE, 0)
    while len(data) % _AT_ONCE == 0 and (more := os.pread(descriptor, _AT_ONCE, len(data))):
        data += more
    return data


def rewrite(folder: str, claim: bytes, manifest: bytes, story: bytes) -> None:
    """Write the whole record of an attempt anew, whose holder is dead or the caller.

    Raises:
        OSError: it cannot be written.
    """
    replace_file(f"{folder}/{RECORD_FILE}", whole(claim, manifest, story))


def whole(claim: bytes, manifest: bytes, story: bytes) -> bytes:
    """The contents of the record file of an attempt that has ended."""
    body = manifest + b"\t" + story
    return b"%s\n%s %s\n" % (claim, digest(body), body)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:  # on a disk that is nearly full, a part is written before the error comes
        view = view[os.write(descriptor, view) :]
