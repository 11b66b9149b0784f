"""What all tests of the conformance suite share: a store, runs with a deadline, commands, marks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from pathlib import Path
from typing import Any, ClassVar, Final

import attrs
import pytest

import furu_core
from furu_core import _registry
from furu_core._executor import Event, EventKind, Executor, Run, RunState
from furu_core._layout import short_name
from furu_core._outcomes import Failure
from furu_core._records import FailureKind
from furu_core._states import StateReader
from furu_core.errors import FuruRunCancelled, FuruRunError
from furu_core.testing import _distribution, _processes
from furu_core.testing._marks import Mark, read_marks, touch
from furu_core.testing._waiting import wait_until

_CLEAN_UP_SECS: Final = 10.0
_FURU: Final = "from furu_core._cli import main; main()"
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


def promise(holds: object, text: str) -> None:
    """Fail a test unless a promise holds.

    Args:
        holds: whether it does.
        text: the promise by its number and in plain words, and what was seen instead.
    """
    __tracebackhide__ = True
    if not holds:
        pytest.fail(text)


class Going:
    """A run in a thread of its own, so that neither `submit` nor `wait` can hang a test."""

    def __init__(self, executor: Executor, roots: Any, patience: float) -> None:
        self.error: BaseException | None = None
        self._run: Run | None = None
        self._patience = patience
        self._submitted = threading.Event()
        self._thread = threading.Thread(
            target=self._go, args=(executor, roots), name="conformance-run", daemon=True
        )
        self._thread.start()

    @property
    def run(self) -> Run:
        """The run, once `submit` has returned it."""
        promise(
            self._submitted.wait(self._patience),
            f"P6: submit() has not returned after {self._patience:g} s",
        )
        if self._run is None:
            assert self.error is not None
            raise self.error
        return self._run

    @property
    def going(self) -> bool:
        """Whether it has not ended."""
        return self._thread.is_alive()

    def finish(self, promised: str = "P6: nothing waits for ever") -> Going:
        """Wait for the end; a run that has none fails the test with what was promised."""
        __tracebackhide__ = True
        self._thread.join(self._patience)
        if self._thread.is_alive():
            stands = "" if self._run is None else f"; it says {self._run.status()}"
            where = "wait" if self._submitted.is_set() else "submit"
            pytest.fail(
                f"{promised}; the run has not ended (its {where}() has not returned) after {self._patience:g} s{stands}"
            )
        return self

    def end(self) -> None:
        """Get rid of it, whatever it does."""
        if self._thread.is_alive() and self._run is not None:
            for _ in range(2):
                with suppress(Exception):  # a broken executor may raise anything
                    self._run.cancel()
        self._thread.join(_CLEAN_UP_SECS)

    def _go(self, executor: Executor, roots: Any) -> None:
        try:
            self._run = executor.submit(roots)
            self._submitted.set()
            self._run.wait()
        except BaseException as error:  # noqa: BLE001 - looked at by whoever waits for the end
            self.error = error
        finally:
            self._submitted.set()


@attrs.frozen
class Said:
    """How a command ended.

    Attributes:
        status: its exit status; negative for the signal that killed it.
        out: its standard output.
        err: its standard error.
    """

    status: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"exit status {self.status}, stdout {self.out!r}, stderr {self.err!r}"


class Command:
    """A `furu run` in a process group of its own."""

    def __init__(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path
    ) -> None:
        # Files, not pipes: a process that is left behind would keep a pipe open.
        self._log = log
        with open(f"{log}.out", "wb") as out, open(f"{log}.err", "wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                preexec_fn=_heed_signals,  # noqa: PLW1509 - it takes no lock
            )

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def finish(self, seconds: float, promised: str) -> Said:
        """Wait for its end; one that does not end fails the test with what was promised."""
        __tracebackhide__ = True
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            said = self.said(0)
            self.end()
            pytest.fail(f"{promised}; it has not ended after {seconds:g} s: {said.err!r}")
        return self.said(status)

    def said(self, status: int) -> Said:
        """What it has written so far."""
        texts = [Path(f"{self._log}.{name}").read_text(errors="replace") for name in ("out", "err")]
        return Said(status, *texts)

    def end(self) -> None:
        """Get rid of it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(_CLEAN_UP_SECS)


def _heed_signals() -> None:
    # A test runner in the background, or under nohup, would hand on that signals are ignored.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


class ConformanceKit:
    """What a suite says of its executor, and what its tests are written with."""

    executor: ClassVar[str | type[Executor]]
    options: ClassVar[Mapping[str, Any]] = {}
    command_options: ClassVar[Sequence[str]] = ()
    lacks: ClassVar[Mapping[str, str]] = {}
    patience_secs: ClassVar[float] = 60.0
    at_once: ClassVar[int] = 2
    other_spec_key: ClassVar[str] = "other"
    width: ClassVar[int] = 100
    depth: ClassVar[int] = 200

    store: Path
    folder: Path
    _started: list[Going | Command]
    _before: frozenset[int]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        unknown = set(cls.lacks) - set(CAPABILITIES)
        if unknown:
            raise TypeError(
                f"{cls.__name__}.lacks names {', '.join(map(repr, sorted(unknown)))}; "
                f"it may name {', '.join(map(repr, CAPABILITIES))}"
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
        for process in _processes.knowing(self.store):
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
        cls = _registry.load_executor(found) if isinstance(found, str) else found
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

    def command(self, roots: str, *arguments: str, **environment: str) -> Command:
        """Start `furu run` for roots that are written in Python, with `nodes` imported."""
        text = f"from furu_core.testing.nodes import *\n\nroots = {roots}\n"
        module = f"experiment_{zlib.crc32(text.encode())}"  # the same for the same roots
        (self.folder / f"{module}.py").write_text(text)
        given = [*self.command_options, *arguments]
        command = Command(
            ["-c", _FURU, "run", f"{module}:roots", "--executor", self.name, *given],
            self.folder,
            {
                **self.environment(),
                # The author's own module may lie where only the test runner finds it.
                "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
                "FURU_PATH": str(self.store),
                "FURU_POLL_INTERVAL_SECS": "0.1",
                **environment,
            },
            self.folder / f"command-{len(self._started)}",
        )
        self._started.append(command)
        return command

    def let_go(self, label: str = "") -> None:
        """Let waiting nodes end, or the one with a label."""
        touch(self.store, f"go-{label}" if label else "go")

    def marks(self, label: str = "") -> list[Mark]:
        """The computations so far, of all nodes or of one."""
        return [mark for mark in read_marks(self.store) if label in ("", mark.label)]

    def times(self) -> dict[str, int]:
        """How often each node was computed."""
        counts: dict[str, int] = {}
        for mark in self.marks():
            counts[mark.label] = counts.get(mark.label, 0) + 1
        return counts

    def await_mark(self, label: str, number: int = 1, *, promised: str = "") -> Mark:
        """Wait until a node is computed for the n-th time."""
        __tracebackhide__ = True
        self.await_that(
            lambda: len(self.marks(label)) >= number,
            f"{promised or 'P6: nothing waits for ever'}; computation {number} of {label!r} has "
            "not begun",
        )
        return next(mark for mark in self.marks(label) if mark.number == number)

    def await_that(self, true: Callable[[], object], promised: str) -> None:
        """Wait until something holds; if it does not in time, fail with what was promised."""
        __tracebackhide__ = True
        try:
            wait_until(promised, true, seconds=self.patience_secs)
        except TimeoutError:
            detail = "".join(f"\n{self._stands(one)}" for one in self._started)
            pytest.fail(f"{promised} after {self.patience_secs:g} s{detail}")

    @staticmethod
    def _stands(one: Going | Command) -> str:
        if isinstance(one, Command):
            return f"the command: {one.said(one.process.poll() or 0)}"
        ended = "goes on" if one.going else f"has ended with {one.error!r}"
        return f"the run {ended}"

    def processes(self) -> list[_processes.Process]:
        """The living processes that the test's runs have started."""
        found = {
            process.pid: process
            for process in [
                *_processes.knowing(self.store),
                *_processes.started_since(self._before),
            ]
        }
        return [
            process
            for pid, process in found.items()
            if not self.belongs_to_cluster(pid, process.command)
        ]

    def nothing_staged(self, promised: str) -> None:
        """See that no attempt has left its staging folder, or its note of a job, behind."""
        __tracebackhide__ = True
        data = self.store / "data"
        left = [
            str(path.relative_to(data))
            for pattern in ("*/files", "submission.json")
            for path in data.glob(f"**/.attempts/*/{pattern}")
        ]
        promise(not left, f"{promised}; left in the store: {', '.join(left)}")

    def nothing_lives(self, promised: str) -> None:
        """See that the processes of a run end."""
        __tracebackhide__ = True
        try:
            wait_until("processes", lambda: not self.processes(), seconds=self.patience_secs / 2)
        except TimeoutError:
            pytest.fail(f"{promised}; left are {', '.join(map(str, self.processes()))}")


def failure_of(error: FuruRunError, node: Any, kind: FailureKind, promised: str) -> Failure:
    """The failure of a node among those of a run, which is to be of a kind."""
    __tracebackhide__ = True
    found = {failure.hash: failure for failure in error.failures}
    promise(
        node.furu_hash in found,
        f"P8: an error names each node that failed; {short_name(node)} is not among the failures "
        f"of: {error}",
    )
    failure: Failure = found[node.furu_hash]
    promise(
        failure.kind is kind,
        f"{promised}; expected a failure of kind {kind.value}, got {failure.kind.value}: {failure}",
    )
    return failure


def kinds(events: Sequence[Event], node: Any) -> list[EventKind]:
    """The kinds of a node's events, in their order."""
    return [event.kind for event in events if event.hash == node.furu_hash]


def says(run: Run, state: RunState) -> None:
    """See that a run says how it ended."""
    __tracebackhide__ = True
    said = run.status().state
    promise(said is state, f"P8: status() tells how the run ended: {state}; it says {said}")
