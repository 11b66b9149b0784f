"""Graphs of config objects in one file, from which any object can be read without the others.

Each distinct object is one line of JSON and names the objects nested in it by their place. So the
file is as large as the graph, however objects are shared, and reading one object costs as much as
what is nested in it. The first line holds the format's version.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Final, Self

import attrs

from furu_core import _trust
from furu_core._config._class_names import resolve
from furu_core._config._identity import nested
from furu_core._files import store_error
from furu_core._forms._pack import REFERRING, build, closure, node_key, node_record, read_fields
from furu_core._record_format import RecordFormat
from furu_core.errors import FuruValueError

_CHUNK: Final = 1 << 16
_PAUSE_SECS: Final = 0.05


@attrs.frozen
class _Header:
    """The first line of a graph file, which only tells the version."""


_FORMAT: Final = RecordFormat(
    _Header,
    "a graph file",
    version=1,
    key="furu-graph",
    next_step="was it changed? Start the run again",
    next_step_other_version="use the furu that wrote it",
)
_HEADER: Final = _FORMAT.to_bytes(_Header()) + b"\n"


class GraphWriter:
    """Writes config objects to a file, each distinct one once. A file has one writer at a time.

    An existing file is continued; half a line at its end, left by a killed writer, is cut off.

    Args:
        path: the file.

    Raises:
        FuruStoreError: the file cannot be written.
        FuruFormatError: a newer furu wrote it.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from furu_core.workers import GraphReader, GraphWriter
        >>> from furu_testing.nodes import Leaf
        >>> path = Path(tempfile.mkdtemp()) / "graph.jsonl"
        >>> with GraphWriter(path) as writer:
        ...     place = writer.add(Leaf(x=3))
        >>> GraphReader(path).read(place) == Leaf(x=3)
        True
    """

    def __init__(self, path: Path) -> None:
        self._path = os.fspath(path)
        self._places: dict[str, int] = {}
        self._pending: list[bytes] = []
        try:
            self._fd = os.open(
                self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _trust.OWNER_WRITES
            )
            try:
                self._end = self._resume()
            except BaseException:
                os.close(self._fd)
                raise
        except OSError as error:
            raise store_error(error, self._path) from error
        if self._end == 0:
            self._append(_HEADER)
        self._written = self._end - sum(map(len, self._pending))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def add(self, obj: Any) -> int:
        """Add an object and all that is nested in it; `flush` makes them readable.

        Returns:
            The object's place in the file.

        Raises:
            FuruImportNameError: an object's class cannot be imported elsewhere.
            FuruValueError: a field holds a value that has no stable hash.
        """
        for key, node in closure(obj, self._places):
            inner = {node_key(child): self._places[node_key(child)] for child in nested(node)}
            record = {"key": key, "at": inner, **node_record(node, REFERRING)}
            place = self._end
            self._append(json.dumps(record, separators=(",", ":")).encode() + b"\n")
            self._places[key] = place
        return self._places[node_key(obj)]

    def flush(self) -> None:
        """Write what was added, so that readers on other hosts can see it.

        Raises:
            FuruStoreError: the file cannot be written; the next `flush` tries the rest again.
        """
        data = b"".join(self._pending)
        try:
            done = 0
            while done < len(data):
                done += os.pwrite(self._fd, data[done:], self._written + done)
            if data:
                os.fsync(self._fd)  # a network filesystem shows others only what was synced
        except OSError as error:
            raise store_error(error, self._path) from error
        self._written += len(data)
        self._pending.clear()

    def close(self) -> None:
        """Flush, and close the file."""
        try:
            self.flush()
        finally:
            os.close(self._fd)

    def _append(self, line: bytes) -> None:
        self._pending.append(line)
        self._end += len(line)

    def _resume(self) -> int:
        """Read what the file holds, and return the place where writing goes on."""
        place = 0
        with open(self._fd, "rb", closefd=False) as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                if place == 0:
                    _FORMAT.from_bytes(line, self._path)
                else:
                    self._places[json.loads(line)["key"]] = place
                place += len(line)
        os.ftruncate(self._fd, place)
        return place


class GraphReader:
    """Reads config objects from the file of a `GraphWriter`, at the places that it gave.

    Objects that were read stay in memory, since later ones are likely to share them.

    Args:
        path: the file.
        wait_secs: seconds to wait for lines that a network filesystem does not show yet.
    """

    def __init__(self, path: Path, *, wait_secs: float = 0.0) -> None:
        self._path = os.fspath(path)
        self._wait_secs = wait_secs
        self._fd: int | None = None
        self._built: dict[str, Any] = {}
        self._keys: dict[int, str] = {}

    def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def read(self, place: int) -> Any:
        """The object at a place.

        Raises:
            FuruImportNameError: a class cannot be imported here.
            FuruValueError: a class differs from the writer's, so that hashes differ, or the place
                holds no object.
            FuruFormatError: a newer furu wrote the file.
            FuruUntrustedFile: it is of somebody whose code is not to be run.
            FuruStoreError: the file cannot be read.
        """
        records: dict[int, dict[str, Any]] = {}
        stack = [place]
        while stack:
            at = stack[-1]
            if at in self._keys:
                stack.pop()
                continue
            record = records.get(at)
            if record is None:
                record = records[at] = self._record(at)
            todo = [inner for inner in record["at"].values() if inner not in self._keys]
            if any(inner in records for inner in todo):
                raise self._damaged(at, "it contains itself")
            if todo:
                stack.extend(reversed(todo))
                continue
            stack.pop()
            key = record["key"]
            cls = resolve(record["class"], record.get("import"))
            missing: list[str] = []
            fields = read_fields(record, self._built, missing)
            if missing:
                raise self._damaged(at, f"it lacks {missing[0]}")
            self._built[key] = build(cls, fields, expected=key)
            self._keys[at] = key
            del records[at]
        return self._built[self._keys[place]]

    def _record(self, place: int) -> dict[str, Any]:
        line = self._line(place)
        try:
            record: dict[str, Any] = json.loads(line)
            if {"key", "at", "class", "fields"} <= record.keys():
                return record
        except (ValueError, AttributeError):
            pass
        raise self._damaged(place, "it is not what was written")

    def _line(self, place: int) -> bytes:
        """The line at a place, waited for if the file does not reach that far yet."""
        deadline = time.monotonic() + self._wait_secs
        while True:
            try:
                line = self._line_now(place)
            except OSError as error:
                if not isinstance(error, FileNotFoundError) or time.monotonic() >= deadline:
                    raise store_error(error, self._path, doing="read") from error
                line = None
            if line is not None:
                return line
            if time.monotonic() >= deadline:
                raise self._damaged(place, "the file ends before it")
            self.close()  # a network filesystem looks again only when the file is opened again
            time.sleep(_PAUSE_SECS)

    def _line_now(self, place: int) -> bytes | None:
        if self._fd is None:
            self._fd = _trust.open_trusted(self._path)
            header = os.pread(self._fd, len(_HEADER) + 8, 0).partition(b"\n")
            if not header[1]:
                self.close()
                return None
            _FORMAT.from_bytes(header[0], self._path)
        data = b""
        while b"\n" not in data:
            more = os.pread(self._fd, _CHUNK, place + len(data))
            if not more:
                return None
            data += more
        return data[: data.index(b"\n")]

    def _damaged(self, place: int, why: str) -> FuruValueError:
        return FuruValueError(
            f"the node at {place} of {self._path} cannot be read: {why}",
            hint="was the run's folder copied or changed? Start the run again",
        )
