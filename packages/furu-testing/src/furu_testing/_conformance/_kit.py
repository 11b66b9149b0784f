"""What all tests of the conformance suite share: a store, runs with a deadline, commands, marks."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pytest

import furu_core
from furu_core import Furu
from furu_core.errors import FuruRunCancelled, FuruRunError
from furu_core.executors import Executor, Liveness, Run, Submission, liveness, load_executor
from furu_core.planning import StateReader, short_name
from furu_testing import _marks, _processes
from furu_testing._conformance import _distribution
from furu_testing._conformance._going import Going
from furu_testing._conformance._promises import promise
from furu_testing._conformance._tags import TAGS
from furu_testing._marks import Mark, read_marks
from furu_testing._programs import Program, Said
from furu_testing._waiting import wait_until

#: What an executor may say that it cannot do, in `lacks`.
CAPABILITIES: Final = (
    "background",  # `submit` returns while the run goes on, so `cancel` and `wait` mean something
    "killing",  # a worker may die without the program that runs the graph
    "attribution",  # what a thread or child of a node's code asks for belongs to that node
    "windows",  # option `window_size`
    "keep_going",  # option `keep_going`
    "stopping",  # without it, nothing new is begun after a node has failed for good
    "waiting",  # for nodes that somebody else computes
    "reopening",  # of a dependency that turns out to be bad during the run
    "interrupting",  # Ctrl-C of the command ends what it runs
    "folder",  # workers start in the working directory of the program
)


class ConformanceKit:
    """What a suite says of its executor, and what its tests are written with."""

    executor: str | type[Executor]
    options: Mapping[str, Any] = MappingProxyType({})
    command_options: Sequence[str] = ()
    lacks: Mapping[str, str] = MappingProxyType({})
    own_code: Collection[str] = tuple(TAGS)
    patience_secs: float = 120.0
    at_once: int = 2
    other_spec_key: str = "other"
    width: int = 100
    depth: int = 200

    store: Path
    folder: Path
    _started: list[Going | Program]
    _before: frozenset[int]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        unknown = set(cls.lacks) - set(CAPABILITIES)
        if unknown:
            raise TypeError(
                f"{cls.__name__}.lacks names {', '.join(map(repr, sorted(unknown)))}; "
                f"it may name {', '.join(map(repr, CAPABILITIES))}"
            )
        if isinstance(cls.own_code, str) or (strange := set(cls.own_code) - set(TAGS)):
            given = [cls.own_code] if isinstance(cls.own_code, str) else sorted(strange)
            raise TypeError(
                f"{cls.__name__}.own_code names {', '.join(map(repr, given))}; "
                f"it is a tuple of {', '.join(map(repr, TAGS))}"
            )

    # What authors may override

    def around(self) -> AbstractContextManager[object]:
        """What each test runs in: start here what the executor needs, such as a cluster."""
        return nullcontext()

    def environment(self) -> dict[str, str]:
        """The environment of `furu run`, before the suite adds its own variables."""
        return dict(os.environ)

    def kill_worker(self, mark: Mark) -> None:
        """Kill the process that computes a node, as a machine does that runs out of memory.

        Args:
            mark: what the node wrote down: its pid, its host, and its submission in `facts`.
        """
        os.kill(mark.pid, signal.SIGKILL)

    def belongs_to_cluster(self, pid: int, command: str) -> bool:
        """Whether a process may outlive a run, because the run is not what started it."""
        return False

    def remove(self, node: Furu[Any]) -> None:
        """Remove an artifact of a run that has ended well, which its root being there tells.

        Override it where workers look once more at what they have computed, and would compute it again:
        wait until they have ended.

        Args:
            node: whose artifact.
        """
        node.delete()

    # What tests are written with

    @pytest.fixture(autouse=True)
    def _conformance_store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        assert hasattr(self, "executor"), f"{type(self).__name__} must say its `executor`"
        for name in [name for name in os.environ if name.startswith("FURU_")]:
            monkeypatch.delenv(name)
        self.store = tmp_path / "store"
        self.folder = tmp_path / "project"
        self.folder.mkdir()
        (self.folder / "pyproject.toml").touch()
        monkeypatch.chdir(self.folder)
        self._started = []
        with ExitStack() as stack:
            stack.enter_context(self.settings(path=self.store, poll_interval_secs=0.1))
            if isinstance(self.executor, type):
                _distribution.install(self.executor, tmp_path / "site")
                monkeypatch.syspath_prepend(tmp_path / "site")
            stack.enter_context(self.around())
            self._before = _processes.all_pids()
            stack.callback(self._clean_up)
            yield

    def _clean_up(self) -> None:
        if any(not isinstance(one, Going) or one.going for one in self._started):
            self.let_go()
        for one in self._started:
            one.end()
        for process in _processes.processes_of(self.store):
            if not self.belongs_to_cluster(process.pid, process.command):
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)

    def needs(self, *capabilities: str) -> None:
        """Skip a test where the executor says that it lacks something."""
        for capability in capabilities:
            assert capability in CAPABILITIES
            if capability in self.lacks:
                pytest.skip(f"{self.name} lacks {capability}: {self.lacks[capability]}")

    def needs_at_once(self, number: int) -> None:
        """Skip a test where fewer nodes are computed at once."""
        if self.at_once < number:
            pytest.skip(f"{self.name} computes {self.at_once} at once here")

    @property
    def name(self) -> str:
        """The executor's name."""
        return self.executor if isinstance(self.executor, str) else self.executor.name

    @staticmethod
    def settings(**changes: Any) -> AbstractContextManager[Any]:
        """Change settings, as `furu_core.use_settings` does."""
        return furu_core.use_settings(**changes)

    def make_executor(self, **options: Any) -> Executor:
        """The executor with its options, as `furu_core.run` makes it."""
        found = self.executor
        cls = load_executor(found) if isinstance(found, str) else found
        return cls.from_options({**self.options, **options})

    def going(self, roots: Any, **options: Any) -> Going:
        """Start a run, which goes on meanwhile."""
        going = Going(self.make_executor(**options), roots, self.patience_secs)
        self._started.append(going)
        return going

    def completed(self, roots: Any, *, promised: str = "", **options: Any) -> Run:
        """A run that has ended well."""
        __tracebackhide__ = True
        return self.well_ended(self.going(roots, **options), promised=promised)

    def well_ended(self, going: Going, *, promised: str = "") -> Run:
        """The run, when it has ended well and all of its roots are there."""
        __tracebackhide__ = True
        going.finish(promised or "P6: nothing waits for ever")
        self.in_order()
        promised = promised or "P5: nodes that do not fail are computed"
        promise(
            going.error is None,
            f"{promised}; the run raised {type(going.error).__name__}: {going.error}",
        )
        run = going.run
        reader = StateReader()
        absent = [short_name(root) for root in run.roots.items if not reader.done(root)]
        promise(
            not absent,
            "P8: a run whose roots are not all there ends in an error; wait() returned and there "
            f"is no artifact of {', '.join(absent[:5])}",
        )
        return run

    def in_order(self) -> None:
        """See that no node began too early."""
        __tracebackhide__ = True
        early = [f"{mark.label} before {mark.missing}" for mark in self.marks() if mark.missing]
        promise(
            not early,
            "P3: a node begins when all that it needs is there; begun too early: "
            f"{'; '.join(early[:5])}",
        )

    def failed(self, roots: Any, *, promised: str = "", **options: Any) -> FuruRunError:
        """The error of a run that has failed."""
        __tracebackhide__ = True
        return self.badly_ended(self.going(roots, **options), promised=promised)

    def badly_ended(self, going: Going, *, promised: str = "") -> FuruRunError:
        """The error of a run, when it has ended with one."""
        __tracebackhide__ = True
        going.finish(promised or "P6: nothing waits for ever")
        promised = promised or "P8: a run whose roots are not all there ends in an error"
        promise(going.error is not None, f"{promised}; wait() returned as if all were well")
        error = going.error
        promise(
            isinstance(error, FuruRunError) and not isinstance(error, FuruRunCancelled),
            f"P8: a run that fails raises FuruRunError, which says which nodes failed and why; "
            f"it raised {type(error).__name__}: {error}",
        )
        assert isinstance(error, FuruRunError)
        return error

    def command(self, roots: str, *arguments: str, **environment: str) -> Program:
        """Start `furu run` for roots that are written in Python, with `nodes` imported."""
        text = f"from furu_testing.nodes import *\n\nroots = {roots}\n"
        module = f"experiment_{zlib.crc32(text.encode())}"  # the same for the same roots
        (self.folder / f"{module}.py").write_text(text)
        given = [*self.command_options, *arguments]
        command = Program(
            self.folder,
            *("-m", "furu_core", "run", f"{module}:roots", "--executor", self.name, *given),
            environment={
                **self.environment(),
                # The author's own module may lie where only the test runner finds it.
                "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
                "FURU_PATH": str(self.store),
                "FURU_POLL_INTERVAL_SECS": "0.1",
                **environment,
            },
        )
        self._started.append(command)
        return command

    def ended(self, command: Program, promised: str = "P6: nothing waits for ever") -> Said:
        """How a command ended; one that does not end fails the test with what was promised."""
        __tracebackhide__ = True
        try:
            return command.finish(self.patience_secs)
        except AssertionError as error:
            command.end()
            pytest.fail(f"{promised}; {error}")

    def let_go(self, label: str = "") -> None:
        """Let waiting nodes end, or the one with a label."""
        _marks.let_go(self.store, label)

    def marks(self, label: str = "") -> list[Mark]:
        """The computations so far, of all nodes or of one."""
        return [mark for mark in read_marks(self.store) if label in ("", mark.label)]

    def times(self) -> dict[str, int]:
        """How often each node was computed."""
        return _marks.times(self.store)

    def await_mark(self, label: str, number: int = 1, *, promised: str = "") -> Mark:
        """Wait until a node is computed for the n-th time."""
        __tracebackhide__ = True

        def found() -> list[Mark]:
            return [mark for mark in self.marks(label) if mark.number == number]

        promised = promised or "P6: nothing waits for ever"
        self.await_that(found, f"{promised}; computation {number} of {label!r} has not begun")
        return found()[0]

    def await_that(
        self, true: Callable[[], object], promised: str, *, after_the_end: bool = False
    ) -> None:
        """Wait until something holds; if it does not in time, fail with what was promised.

        Args:
            true: whether it holds.
            promised: the promise, and what is missing.
            after_the_end: it may also come to hold when all runs of the test have ended.
        """
        __tracebackhide__ = True
        over = False

        def holds() -> bool:
            nonlocal over
            over = not after_the_end and not self._goes_on()
            return bool(true())

        if not _comes_true(lambda: holds() or over, self.patience_secs) or not true():
            how_long = ", and nothing goes on" if over else f" after {self.patience_secs:g} s"
            stand = "".join(f"; {self._stands(one)}" for one in self._started)
            pytest.fail(f"{promised}{how_long}{stand}")

    def _goes_on(self) -> bool:
        return not self._started or any(
            one.going if isinstance(one, Going) else one.process.poll() is None
            for one in self._started
        )

    @staticmethod
    def _stands(one: Going | Program) -> str:
        if isinstance(one, Program):
            return f"the command: {one.said(one.process.poll() or 0)}"
        ended = "goes on" if one.going else f"has ended with {one.error!r}"
        return f"the run {ended}"

    def processes(self) -> list[_processes.Process]:
        """The living processes that the test's runs have started."""
        found = {
            process.pid: process
            for process in [
                *_processes.processes_of(self.store),
                *_processes.started_since(self._before),
            ]
        }
        return [
            process
            for pid, process in found.items()
            if not self.belongs_to_cluster(pid, process.command)
        ]

    def nothing_staged(self, promised: str) -> None:
        """See that no attempt has left files, a record without an end, or the note of a job."""
        __tracebackhide__ = True
        if not _comes_true(lambda: not self._staged(), self.patience_secs / 2):
            left = [str(path.relative_to(self.store)) for path in self._staged()]
            pytest.fail(f"{promised}; left in the store: {', '.join(left)}")

    def _staged(self) -> list[Path]:
        beside = [
            path for path in (self.store / "data").glob("**/.*.*") if _BESIDE.match(path.name)
        ]
        unended = [path for path in beside if path.name.rpartition(".")[2].isdecimal()]
        notes = [path for path in beside if path.name.endswith(".job")]
        return [
            *(path for path in unended if _has_files(path)),
            *(path for path in notes if not _is_of_the_past(path)),
        ]

    def nothing_lives(self, promised: str) -> None:
        """See that the processes of a run end."""
        __tracebackhide__ = True
        if not _comes_true(lambda: not self.processes(), self.patience_secs / 2):
            pytest.fail(f"{promised}; left are {', '.join(map(str, self.processes()))}")


_BESIDE = re.compile(r"\.[0-9a-f]{32}\.")


def _has_files(attempt: Path) -> bool:
    """Whether an attempt holds more than the record of how it ended, and its log."""
    try:
        names = set(os.listdir(attempt))
        ended = (attempt / ".furu.json").read_bytes().count(b"\n") > 1
    except (FileNotFoundError, NotADirectoryError):
        return False  # it was published or removed in this moment; or only its number is kept
    return not ended or not names <= {".furu.json", ".furu.log"}


def _is_of_the_past(note: Path) -> bool:
    """Whether a job that was submitted for a node is known to be gone."""
    said = json.loads(note.read_text())
    submission = Submission(said["executor"], said["id"], said["restarts"])
    return liveness([submission])[submission] is Liveness.GONE


def _comes_true(true: Callable[[], object], seconds: float) -> bool:
    try:
        # Each look reads all processes, or all of a store.
        wait_until("it", true, seconds=seconds, pause_secs=0.2)
    except TimeoutError:
        return False
    return True
