"""Files that grow by whole lines, also where a disk becomes full or a writer is killed in one."""

from __future__ import annotations

import os
from typing import Final

_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


class LineFile:
    """Appends lines to a file that nobody else appends to at the same time.

    A line of which only a part could be written ends before the next one begins, so it costs readers
    itself alone. They are to leave out what they cannot read.

    Args:
        path: the file.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._fd = os.open(path, _FLAGS, 0o666)
        self._torn = self._ends_in_a_line()  # whoever wrote before may have been killed in it

    def append(self, line: bytes) -> None:
        """Append a line.

        Args:
            line: without its end.

        Raises:
            OSError: it could not be written, or only a part of it: the disk is full, for instance.
        """
        data = memoryview((b"\n" if self._torn else b"") + line + b"\n")
        try:
            while data:
                data = data[os.write(self._fd, data) :]
            self._torn = False
        except OSError:
            self._torn = self._ends_in_a_line()
            raise

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _ends_in_a_line(self) -> bool:
        size = os.fstat(self._fd).st_size
        return size > 0 and os.pread(self._fd, 1, size - 1) != b"\n"


def read_lines(path: str | os.PathLike[str]) -> list[bytes]:
    """The lines of such a file, without their ends; one that is being written is left out.

    Raises:
        OSError: there is no such file, or it cannot be read.
    """
    with open(path, "rb") as file:
        return file.read().split(b"\n")[:-1]
