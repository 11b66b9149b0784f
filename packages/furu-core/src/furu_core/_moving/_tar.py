"""Archives as tar files: what is written, any `tar` reads; of what is read, nothing but that is taken.

Python's `tarfile` follows whatever an archive says, in a dozen dialects: links, devices, sparse files, headers of
any size. The reader here knows the one form that the writer makes, plain files with an extended header where a
name is long or odd, and refuses all else. It makes no file: it tells what comes next, and hands out its bytes.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Final

import attrs

from furu_core._moving._archive import refused

BLOCK: Final = 512
_RECORD: Final = 20 * BLOCK  # a tar file's size is a multiple of this
_CHUNK: Final = 1 << 20
_PLAIN, _EXTENDED = b"0", b"x"
_EXTENDED_LIMIT: Final = 64 << 10
_MEMORY_LIMIT: Final = 512 << 20  # that an .xz file may ask for
_EXECUTABLE: Final = 0o100
SUFFIXES: Final = {".gz": "gz", ".tgz": "gz", ".bz2": "bz2", ".xz": "xz", ".txz": "xz"}
_UNPACK: Final = "decompress it with another program, and import what that gives"
_CUT_OFF: Final = "it ends before its end: the file was cut off"


# Writing


class TarWriter:
    """Writes a tar file; the same members give the same bytes.

    Args:
        file: where to.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = 0

    def begin(self, name: str, size: int, *, executable: bool = False) -> None:
        """Write the header of a member, whose bytes follow with `write`, and then `end`."""
        info = tarfile.TarInfo(name)
        info.size = size
        info.mode = 0o755 if executable else 0o644
        self.write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))

    def write(self, data: bytes) -> None:
        """Write bytes of a member."""
        self._file.write(data)
        self._size += len(data)

    def end(self) -> None:
        """Fill up what follows a member."""
        self.write(bytes(-self._size % BLOCK))

    def close(self) -> None:
        """Write the end of the archive; the file stays open."""
        self.write(bytes(2 * BLOCK))
        self.write(bytes(-self._size % _RECORD))


@contextmanager
def compressed(file: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """A file that compresses what is written to it, by the suffix of its name, without name and time."""
    kind = SUFFIXES.get(name[name.rfind(".") :] if "." in name else "")
    if kind == "gz":
        import gzip

        with gzip.GzipFile("", "wb", 6, file, mtime=0) as gz:
            yield _as_file(gz)
    elif kind == "bz2":
        import bz2  # some Pythons are built without it, and without the other one

        with bz2.BZ2File(file, "wb") as bz:
            yield _as_file(bz)
    elif kind == "xz":
        import lzma

        with lzma.LZMAFile(file, "wb") as xz:
            yield _as_file(xz)
    else:
        yield file


def _as_file(made: Any) -> BinaryIO:
    file: BinaryIO = made  # whose types do not say so
    return file


# Reading


@attrs.frozen
class Header:
    """The header of a plain file in an archive.

    Attributes:
        name: its name.
        size: how many bytes follow.
        executable: whether its owner may execute it.
    """

    name: str
    size: int
    executable: bool


class TarReader:
    """Reads a tar file that `TarWriter` wrote, from its beginning to its end.

    Args:
        file: the file, compressed or not.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._stream = _Stream(file)
        self._read = 0
        self._left = 0
        self._padding = 0

    def next(self) -> Header:
        """The header of the next member; the bytes of the one before must have been read.

        Raises:
            FuruArchiveError: nothing of the kind comes next.
        """
        assert not self._left
        if any(self._exactly(self._padding)):
            raise refused("between two of its files is something that no tar file has there")
        name, size, kind, mode = _header(self._exactly(BLOCK))
        if kind == _EXTENDED:
            if size > _EXTENDED_LIMIT:
                raise refused(f"a header in it has {size:,} bytes")
            told = _extended(self._exactly(size))
            if any(self._exactly(-size % BLOCK)):
                raise refused("a header in it is malformed")
            name, size, kind, mode = _header(self._exactly(BLOCK))
            name = told.get(b"path", name)
            size = _number(told[b"size"]) if b"size" in told else size
        text = name.decode("utf-8", "surrogateescape")
        if kind != _PLAIN:
            raise refused(
                f"{text!r:.200} in it is no plain file, or not as `furu export` writes it"
            )
        self._left, self._padding = size, -size % BLOCK
        return Header(text, size, bool(mode & _EXECUTABLE))

    def contents(self) -> Iterator[bytes]:
        """The bytes of the member, in pieces.

        Raises:
            FuruArchiveError: the archive ends before.
        """
        while self._left:
            data = self._exactly(min(self._left, _CHUNK))
            self._left -= len(data)
            yield data

    def end(self) -> None:
        """Make sure that the archive ends here.

        Raises:
            FuruArchiveError: something follows.
        """
        if any(self._exactly(self._padding)) or any(self._exactly(2 * BLOCK)):
            raise refused("after the last of its files something else follows")
        if any(self._exactly(-self._read % _RECORD)) or not self._stream.is_at_end():
            raise refused("something follows after its end")

    def _exactly(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._read += size
        if len(data) != size:
            raise refused(_CUT_OFF)
        return data


def _header(block: bytes) -> tuple[bytes, int, bytes, int]:
    """Name, size, kind and mode in a header."""
    said, summed = block[148:156], sum(block) - sum(block[148:156]) + 8 * ord(" ")
    if not any(block):
        raise refused("it ends before all that its index tells")
    if block[257:265] != b"ustar\x0000" or _octal(said[:6]) != summed:
        raise refused("it is no tar file, or not one that `furu export` wrote")
    name, before = block[:100].rstrip(b"\0"), block[345:500].rstrip(b"\0")
    return (
        (before + b"/" + name if before else name),
        _octal(block[124:136].rstrip(b"\0 ")),
        block[156:157],
        _octal(block[100:108].rstrip(b"\0 ")),
    )


def _extended(data: bytes) -> dict[bytes, bytes]:
    """What an extended header tells: records of a length, a blank, a key, ``=``, a value and a line's end."""
    found: dict[bytes, bytes] = {}
    while data:
        digits, _, _ = data.partition(b" ")
        length = _number(digits)
        key, equals, value = data[len(digits) + 1 : length - 1].partition(b"=")
        known = key in (b"path", b"size") or (key, value) == (b"hdrcharset", b"BINARY")
        if not equals or data[length - 1 : length] != b"\n" or not known or key in found:
            raise refused("a header in it tells more than `furu export` writes")
        found[key] = value
        data = data[length:]
    return found


def _octal(digits: bytes) -> int:
    try:
        if digits.isdigit():
            return int(digits, 8)
    except ValueError:
        pass
    raise refused("a number in one of its headers is malformed")


def _number(digits: bytes) -> int:
    if digits.isdigit() and len(digits) < 19:
        return int(digits)
    raise refused("a number in one of its headers is malformed")


class _Stream:
    """The bytes of a file, decompressed if it is compressed: one stream, and nothing after it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        begins = file.read(6)
        self._decompressor: Any = None
        self._errors: tuple[type[Exception], ...] = (zlib.error, OSError, EOFError)
        try:
            if begins.startswith(b"\x1f\x8b"):
                self._decompressor = zlib.decompressobj(31)
            elif begins.startswith(b"BZh"):
                import bz2

                self._decompressor = bz2.BZ2Decompressor()
            elif begins == b"\xfd7zXZ\0":
                import lzma

                self._errors += (lzma.LZMAError,)
                self._decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY_LIMIT)
        except ImportError as error:
            raise refused(f"this Python cannot decompress it ({error})", _UNPACK) from None
        self._raw = begins  # read, and not decompressed

    def read(self, size: int) -> bytes:
        """So many bytes, or fewer at the end."""
        parts = []
        while size > 0 and (data := self._some(size)):
            parts.append(data)
            size -= len(data)
        return b"".join(parts)

    def is_at_end(self) -> bool:
        """Whether nothing follows in the file itself, once `read` gave less than asked for."""
        unused = b"" if self._decompressor is None else self._decompressor.unused_data
        return not (self._some(1) or unused or self._raw or self._file.read(1))

    def _some(self, size: int) -> bytes:
        if self._decompressor is None:
            raw, self._raw = self._raw[:size], self._raw[size:]
            return raw or self._file.read(min(size, _CHUNK))
        while not self._decompressor.eof:
            data = self._decompressed(size)
            if data:
                return data
            if self._decompressor.eof:
                break
            if not self._raw:
                self._raw = self._file.read(_CHUNK)
                if not self._raw:
                    raise refused(_CUT_OFF)
        return b""

    def _decompressed(self, size: int) -> bytes:
        """Some bytes out of what was read; what is not decompressed yet is kept."""
        one = self._decompressor
        raw, self._raw = self._raw, b""
        try:
            data: bytes = one.decompress(raw, size)
        except self._errors as error:
            raise refused(f"it cannot be decompressed: {error}") from None
        if hasattr(one, "unconsumed_tail"):
            self._raw = one.unconsumed_tail
        return data
