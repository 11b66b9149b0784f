"""Machines as a store sees them: processes that a test may kill, stop and continue."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import attrs
import pytest

from furu_testing._waiting import WAIT_SECS

_UNSHARE: Final = ("unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")


@attrs.frozen
class KillAtEvent:
    """Death by SIGKILL right before the n-th change or listing of files below a folder.

    Attributes:
        number: counts from 1.
        below: the folder.
    """

    number: int
    below: Path

    def to_json(self) -> dict[str, Any]:
        return {"at_event": self.number, "below": str(self.below)}


@attrs.frozen
class KillAtLine:
    """Death by SIGKILL right before the n-th line of some files that had not run before.

    Attributes:
        number: counts from 1.
        files: the source files whose lines count.
    """

    number: int
    files: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"at_line": self.number, "files": self.files}


@attrs.frozen
class ChildExit:
    """How a child ended.

    Attributes:
        status: the exit status, negative for the signal that killed it.
        value: what its function returned.
        steps: how many events or lines `KillAtEvent` or `KillAtLine` counted.
        error: the class name of the exception that its function raised; empty for none.
        message: the exception's text.
        traceback: and where it was raised.
    """

    status: int
    value: Any = None
    steps: int = 0
    error: str = ""
    message: str = ""
    traceback: str = ""

    @property
    def killed(self) -> bool:
        """Whether SIGKILL ended it."""
        return self.status == -signal.SIGKILL


class Child:
    """A process of a `Host` that runs one function."""

    def __init__(self, host: Host, pid: int) -> None:
        self._host = host
        self.pid = pid

    def kill(self) -> None:
        """Kill it."""
        self._host.ask(do="signal", pid=self.pid, signal=signal.SIGKILL)

    def kill_after(self, seconds: float) -> None:
        """Kill it when some time has passed, unless it ends before."""
        self._host.ask(do="kill after", pid=self.pid, seconds=seconds)

    def stop(self) -> None:
        """Suspend it, heartbeat and all, as a machine that stalls does."""
        self._host.ask(do="signal", pid=self.pid, signal=signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._host.ask(do="signal", pid=self.pid, signal=signal.SIGCONT)

    def wait(self, seconds: float = WAIT_SECS) -> ChildExit:
        """How it ended.

        Raises:
            TimeoutError: it did not within that time.
        """
        answer = self._host.ask(do="wait", pid=self.pid, seconds=seconds)
        if not answer.pop("ended"):
            raise TimeoutError(f"waited {seconds:g} s for the end of process {self.pid}")
        return ChildExit(**answer)

    def result(self, seconds: float = WAIT_SECS) -> Any:
        """What its function returned.

        Raises:
            AssertionError: it raised or was killed.
            TimeoutError: it did not end in time.
        """
        ended = self.wait(seconds)
        assert ended.status == 0, ended.traceback or f"the child ended with status {ended.status}"
        return ended.value


class Kills:
    """Numbers of events or lines before which a function is killed, in one process after another.

    Iterate over it, start a process that is to die at the number, and wait for it with `wait`. It ends with the
    first process that came to its end by itself.

    Args:
        first: the first number.
        apart: the distance from one number to the next.
        at_least: the lowest number at which a process may come to its end.

    Raises:
        AssertionError: a process failed otherwise, or came to its end too early.

    Example:
        >>> import tempfile
        >>> kills = Kills(at_least=2)
        >>> with tempfile.TemporaryDirectory() as folder, Host(Path(folder)) as host:
        ...     for number in kills:
        ...         die = KillAtEvent(number, Path(folder))
        ...         ended = kills.wait(host.start("os:mkdir", f"{folder}/{number}", die=die))
        ...         number, ended.killed
        (1, True)
        (2, False)
    """

    def __init__(self, *, first: int = 1, apart: int = 1, at_least: int) -> None:
        self._numbers = itertools.count(first, apart)
        self._at_least = at_least
        self._waited: list[ChildExit] = []

    def __iter__(self) -> Iterator[int]:
        for number in self._numbers:
            yield number
            assert self._waited, "nobody waited for a process that was to be killed"
            ended = self._waited.pop()
            if not ended.killed:
                assert ended.status == 0, ended.traceback
                assert number >= self._at_least, f"only those before {number} were killed"
                return

    def wait(self, child: Child) -> ChildExit:
        """How a process ended that was to be killed."""
        self._waited = [child.wait()]
        return self._waited[0]


class Host:
    """A machine as seen by a store: it starts processes that a test may kill, stop and continue.

    Processes are forked from a warm one, which takes milliseconds. Use it as a context manager.

    Args:
        store: the store of its processes.
        modules: modules to import beforehand.
        sys_path: folders where its processes find modules.
        name: the host's own name; with one, its processes live in a PID namespace of their own, and
            processes of other hosts cannot be looked up, as on another machine.
        settings: settings of its processes, by their names in lower case.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, Host(Path(folder)) as host:
        ...     child = host.start("os:getcwd")
        ...     child.result() == os.getcwd()
        True
    """

    def __init__(
        self,
        store: Path,
        *,
        modules: Sequence[str] = (),
        sys_path: Sequence[Path] = (),
        name: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.store = store
        self._settings = {"path": str(store), **(settings or {})}
        command = [sys.executable, "-m", "furu_testing._fork_server", *modules]
        if name is not None:
            # The shell that sets the name is replaced, so the server is process 1 of its namespace.
            script = 'hostname "$0" && exec "$@"'
            command = [*_UNSHARE, "sh", "-c", script, name, *command]
        env = {key: value for key, value in os.environ.items() if not key.startswith("FURU_")}
        path = [*map(str, sys_path), *filter(None, [env.get("PYTHONPATH")])]
        env |= {"PYTHONPATH": os.pathsep.join(path), "FURU_PATH": str(store)}
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        self._server = subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
        )
        try:
            self._answer()
        except BaseException:
            self.close()
            raise

    def start(
        self,
        call: str,
        *args: object,
        die: KillAtEvent | KillAtLine | None = None,
        **settings: object,
    ) -> Child:
        """Run a function in a process of its own.

        Args:
            call: ``module:function``.
            args: its arguments, which must be JSON values, as what it returns.
            die: when the process kills itself.
            settings: settings that differ for this process.
        """
        answer = self.ask(
            do="start",
            call=call,
            args=args,
            settings={**self._settings, **settings},
            die=None if die is None else die.to_json(),
        )
        return Child(self, answer["pid"])

    def run(self, call: str, *args: object, **settings: object) -> Any:
        """Run a function in a process of its own, and return what it returned."""
        return self.start(call, *args, **settings).result()  # type: ignore[arg-type]

    def ask(self, **request: object) -> dict[str, Any]:
        """Send the server a request, see `furu_testing._fork_server`."""
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(request).encode() + b"\n")
        self._server.stdin.flush()
        return self._answer()

    def log(self) -> str:
        """What its processes have written to their standard output and error."""
        return os.pread(self._log.fileno(), 1 << 24, 0).decode(errors="replace")

    def crash(self) -> None:
        """Kill the server, and with it all processes of a host that has a name."""
        self._server.kill()
        self._server.wait()

    def close(self) -> None:
        """End the server, and with it all processes of a host that has a name."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        with suppress(BrokenPipeError):
            self._server.stdin.close()
        try:
            self._server.wait(10)
        except subprocess.TimeoutExpired:
            self.crash()
        self._server.stdout.close()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            error.add_note(self.log())
        self.close()

    def _answer(self) -> dict[str, Any]:
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        if not line:
            raise RuntimeError(f"the process server has ended:\n{self.log()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@cache
def _lacks_namespaces() -> str:
    try:
        subprocess.run(
            [*_UNSHARE, "sh", "-c", "hostname elsewhere"], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "needs namespaces: run as root on Linux with `unshare` (util-linux)"
    return ""


def needs_namespaces() -> None:
    """Skip where processes cannot get a host name and PID namespace of their own."""
    if reason := _lacks_namespaces():
        pytest.skip(reason)
