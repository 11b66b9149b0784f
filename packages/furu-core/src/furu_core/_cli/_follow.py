"""`furu log -f`: what a node prints, while it prints it, from one attempt to the next."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from furu_core._attempts import _attempts, _records
from furu_core._cli._output import FAILED, NodeOutput, say
from furu_core._executors._run import EventKind
from furu_core._runs import _runs
from furu_core._runs._runs import RUNNING, EventReader, StoredRun
from furu_core._status._states import NodeState
from furu_core._status._stored_nodes import StoredNode
from furu_core._store._layout import LOG_FILE
from furu_core.errors import FuruStoreError, FuruUsageError

_LOOK_SECS: Final = 0.1
_CHUNK: Final = 1 << 16
_ENOUGH: Final = 64  # bytes by which a line is known
_COMPUTING: Final = frozenset({NodeState.RUNNING, NodeState.QUEUED})


def follow(node: StoredNode) -> int:
    """Print what a node prints until it has ended, whichever attempt it is; an exit status.

    Args:
        node: the node.

    Raises:
        FuruUsageError: it has no attempt, and nobody is about to compute it.
    """
    number = _newest(node)
    if number is None and not _is_done(node) and node.info().state not in _COMPUTING:
        raise FuruUsageError(
            f"{node.name} has no log, and nobody computes it",
            hint=f"`furu show {node.hash[:12]}` tells how it stands",
        )
    run = _RunOfNode(node)
    while True:
        if number is not None:
            _Attempt(node, number).follow()
        if _is_done(node):
            if number is None or number != _published(node):  # another attempt than was followed
                _Attempt(node, _published(node)).follow()
            return 0
        before = number
        while (number := _newest(node)) == before or number is None:
            if _is_done(node):
                break
            if node.info().state not in _COMPUTING and run.leaves_it():
                return FAILED
            time.sleep(_LOOK_SECS)
        if before is not None and number not in (None, before):
            say(f"--- attempt {number} ---", err=True)


def _is_done(node: StoredNode) -> bool:
    return os.path.isdir(node.artifact)


def _newest(node: StoredNode) -> int | None:
    return max(_attempts.numbers(node), default=None)


def _published(node: StoredNode) -> int:
    """The number of the attempt that became the artifact."""
    number = node.record().get("number")
    return number if isinstance(number, int) else 1


class _Attempt:
    """The output of one attempt: where it goes to, and how much of it was printed.

    Of a line that was written over, such as that of a progress bar, the log that is kept has the last state alone.
    So what was printed before is found there by the number of lines, and not by that of bytes.
    """

    def __init__(self, node: StoredNode, number: int) -> None:
        self._node = node
        self._number = number
        self._folder = node.attempt(number)
        self._printed = 0  # bytes of the file that is read
        self._lines = 0  # that ended
        self._state_bytes = 0  # of the last line, since it was last written over
        self._state_end = b""  # the last ones of these
        self._is_kept = False  # whether that file is the log

    def follow(self) -> None:
        """Print what there is and what comes, until the attempt has ended."""
        with NodeOutput() as output:
            while True:
                ended = self._has_ended()
                kept = self._kept()
                if kept is not None:
                    if not self._is_kept:
                        self._go_over_to(kept, output)
                    data = _read(kept, self._printed)
                else:
                    data = self._from_spool()
                    self._note(data)
                self._printed += len(data)
                output.write(data)
                if data:
                    continue
                if ended:
                    return
                time.sleep(_LOOK_SECS)

    def _note(self, data: bytes) -> None:
        """Note where in the lines the printing has come to."""
        self._lines += data.count(b"\n")
        state = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if state:
            self._state_bytes, self._state_end = 0, b""
        self._state_bytes += len(data) - state
        self._state_end = (self._state_end + data[state:][-_ENOUGH:])[-_ENOUGH:]

    def _go_over_to(self, log: Path, output: NodeOutput) -> None:
        """Find what was printed in the log; a line that became another one there is printed anew over the last."""
        self._is_kept = True
        line = _after_lines(log, self._lines)
        self._printed = line + self._state_bytes
        if (
            _read(log, self._printed - len(self._state_end), len(self._state_end))
            != self._state_end
        ):
            self._printed = line
            output.write(b"\r")

    def _kept(self) -> Path | None:
        """The log in the folder of the attempt, or in what became of it; None while it runs."""
        path = Path(self._folder) / LOG_FILE
        if path.exists():
            return path
        path = _attempts.published_log(Path(self._node.artifact))
        return path if path.exists() and _published(self._node) == self._number else None

    def _from_spool(self) -> bytes:
        """What was added to the file that the running node prints to.

        Another node has that file once the log of this one is kept, so that is looked at afterwards.
        """
        with suppress(OSError, FuruStoreError, ValueError):
            record = _records.read(self._folder)
            if record.log:
                data = _read(Path(_attempts.output_file(record)), self._printed)
                still = _records.read(self._folder)
                if still.ended is None and self._kept() is None:
                    return data
        return b""

    def _has_ended(self) -> bool:
        if _is_done(self._node):
            return True
        if _newest(self._node) != self._number:
            return True
        return self._node.info().state is not NodeState.RUNNING


class _RunOfNode:
    """The run that computes a node, and whether it is through with it."""

    def __init__(self, node: StoredNode) -> None:
        self._node = node
        self._run: StoredRun | None = None
        self._events: EventReader | None = None

    def leaves_it(self) -> bool:
        """Whether no further attempt is to come, as far as the run of the last one tells."""
        if self._run is None:
            run_id = self._node.record().get("run_id")
            with suppress(FuruUsageError):
                self._run = _runs.find_run(run_id, also=True) if run_id else None
            if self._run is None:
                return True
            self._events = EventReader(self._run.folder)
        assert self._events is not None
        self._events.update()
        story = self._events.story(self._node.hash)
        given_up = {EventKind.NODE_FAILED.value, EventKind.NODE_CANCELLED.value}
        if story is not None and story.kind in given_up:
            return True
        return _runs.standing(self._run, self._events).state != RUNNING


def _read(path: Path, start: int, size: int = _CHUNK) -> bytes:
    with suppress(OSError), path.open("rb") as file:
        file.seek(start)
        return file.read(size)
    return b""


def _after_lines(path: Path, lines: int) -> int:
    """Where the line begins that so many lines of a file come before; its end if there are fewer."""
    place = 0
    while lines and (data := _read(path, place)):
        found = data.count(b"\n")
        if found >= lines:
            return place + len(b"\n".join(data.split(b"\n", lines)[:lines])) + 1
        lines -= found
        place += len(data)
    return place
